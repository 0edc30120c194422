/* The table of mechanisms, and which of them a session has; see mechanism.h. */
#include "libcor/names/mechanism.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "libcor/base/error.h"
#include "libcor/names/files.h"
#include "libcor/names/home/wire.h"
#include "libcor/names/pump/wire.h"
#include "libcor/paging/reach.h"
#include "libcor/paging/wire.h"
#include "libcor/task/capture.h"

const struct cor_mechanism_info cor_mechanism_table[COR_MECHANISMS] = {
	[COR_MECHANISM_PAGING]      = { "paging", COR_PAGING_VERSION, true,
					"memory, by reference" },
	[COR_MECHANISM_TASK]        = { "task", COR_TASK_VERSION, true,
					"threads, mappings, signals, timers" },
	[COR_MECHANISM_DESCRIPTORS] = { "descriptors", COR_DESCRIPTORS_VERSION, true,
					"the descriptor table, devices, shared memory" },
	[COR_MECHANISM_FILES]       = { "files", COR_FILES_VERSION, false,
					"open files and directories" },
	[COR_MECHANISM_HOME]        = { "home", COR_HOME_VERSION, false,
					"files that stay where they are, served from there" },
	[COR_MECHANISM_EVENTS]      = { "events", 1, false,
					"eventfd, timerfd, signalfd, epoll, inotify" },
	[COR_MECHANISM_PIPES]       = { "pipes", 1, false, "pipes and FIFOs" },
	[COR_MECHANISM_SOCKETS]     = { "sockets", 1, false, "UNIX sockets" },
	[COR_MECHANISM_TCP]         = { "tcp", 1, false, "TCP sockets" },
	[COR_MECHANISM_UDP]         = { "udp", 1, false, "UDP sockets" },
	[COR_MECHANISM_PUMP]        = { "pump", COR_PUMP_VERSION, false,
					"pipes and UNIX sockets to other processes, which stay there" },
	[COR_MECHANISM_STANDIN]     = { "stand-in", 1, false,
					"the task's place at home: its parent, signals to its PID" },
	[COR_MECHANISM_TERMINALS]   = { "terminals", 1, false, "the controlling terminal" },
	[COR_MECHANISM_HOST_NAME]   = { "host-name", 1, false,
					"the name of the host, which stays that of the home" },
	[COR_MECHANISM_FORWARD]     = { "forward", 2, false,
					"TCP and UDP sockets whose address stays: from there (needs pump)" },
	[COR_MECHANISM_COMPRESS]    = { "compress", 1, false,
					"pages, where the link is slower than LZ4" },
	[COR_MECHANISM_ONE_SIDED]   = { "one-sided", COR_REACH_VERSION, false,
					"faults read by RDMA straight from the frozen task's memory" },
	[COR_MECHANISM_MAPPED]      = { "mapped-files", 1, false,
					"files that are mapped shared (needs home)" },
	[COR_MECHANISM_SECCOMP]     = { "seccomp", 1, false,
					"filters of system calls" },
};

void cor_mechanisms_init(struct cor_mechanisms *m, cor_mechanism_set off_here,
			 cor_mechanism_set off_asked)
{
	*m = (struct cor_mechanisms){ 0 };
	for (unsigned i = 0; i < COR_MECHANISMS; i++) {
		if (cor_mechanism_table[i].essential)
			continue;
		if (off_here >> i & 1)
			m->state[i] = COR_MECHANISM_OFF_HERE;
		else if (off_asked >> i & 1)
			m->state[i] = COR_MECHANISM_OFF_ASKED;
	}
}

void cor_mechanisms_offered(struct cor_mechanisms *m, const char *name, uint32_t version)
{
	int i = cor_mechanism_find(name);

	if (i >= 0)
		m->peer_version[i] = version;
}

int cor_mechanisms_settle(struct cor_mechanisms *m, const char *peer, struct cor_error *err)
{
	snprintf(m->peer, sizeof(m->peer), "%s", peer);
	for (unsigned i = 0; i < COR_MECHANISMS; i++) {
		const struct cor_mechanism_info *info = &cor_mechanism_table[i];

		if (m->state[i] != COR_MECHANISM_IS_ON || m->peer_version[i] == info->version)
			continue;
		m->state[i] = m->peer_version[i] ? COR_MECHANISM_OFF_VERSION :
						   COR_MECHANISM_OFF_PEER;
		if (info->essential)
			return cor_fail(err, -EPROTONOSUPPORT, "mechanism %s: %s has version %u, "
					"this host has %u", info->name, peer, m->peer_version[i],
					info->version);
	}
	return 0;
}

bool cor_mechanism_on(const struct cor_mechanisms *m, enum cor_mechanism which)
{
	return !m || m->state[which] == COR_MECHANISM_IS_ON;
}

int cor_mechanism_require(const struct cor_mechanisms *m, enum cor_mechanism which,
			  const char *what, struct cor_error *err)
{
	const char *name = cor_mechanism_table[which].name;

	if (cor_mechanism_on(m, which))
		return 0;
	switch (m->state[which]) {
	case COR_MECHANISM_OFF_ASKED:
		return cor_fail(err, -EOPNOTSUPP, "%s needs the mechanism %s, which this migration "
				"goes without", what, name);
	case COR_MECHANISM_OFF_PEER:
		return cor_fail(err, -EOPNOTSUPP, "%s needs the mechanism %s, which %s does not "
				"have or has switched off", what, name, m->peer);
	case COR_MECHANISM_OFF_VERSION:
		return cor_fail(err, -EOPNOTSUPP, "%s needs the mechanism %s, which %s has in "
				"version %u, this host in version %u", what, name, m->peer,
				m->peer_version[which], cor_mechanism_table[which].version);
	default:
		return cor_fail(err, -EOPNOTSUPP, "%s needs the mechanism %s, which is switched off "
				"on this host", what, name);
	}
}

const char *cor_mechanism_state_text(const struct cor_mechanisms *m, enum cor_mechanism which,
				     char *buf, size_t size)
{
	switch (m->state[which]) {
	case COR_MECHANISM_IS_ON:
		return "on";
	case COR_MECHANISM_OFF_HERE:
		return "off on this host";
	case COR_MECHANISM_OFF_ASKED:
		return "off for this migration";
	case COR_MECHANISM_OFF_PEER:
		snprintf(buf, size, "off on %s", m->peer);
		return buf;
	case COR_MECHANISM_OFF_VERSION:
		snprintf(buf, size, "version %u on %s, %u here", m->peer_version[which], m->peer,
			 cor_mechanism_table[which].version);
		return buf;
	}
	return "";
}

int cor_mechanism_find(const char *name)
{
	for (int i = 0; i < COR_MECHANISMS; i++)
		if (strcmp(cor_mechanism_table[i].name, name) == 0)
			return i;
	return -ENOENT;
}

const char *cor_mechanisms_optional(char *buf, size_t size)
{
	size_t len = 0;

	buf[0] = 0;
	for (unsigned i = 0; i < COR_MECHANISMS && len < size; i++)
		if (!cor_mechanism_table[i].essential)
			len += (size_t)snprintf(buf + len, size - len, "%s%s", len ? ", " : "",
						cor_mechanism_table[i].name);
	return buf;
}

int cor_mechanisms_parse(const char *list, cor_mechanism_set *out, struct cor_error *err)
{
	cor_mechanism_set set = 0;
	char name[32], names[256];

	for (const char *at = list; *at; at += *at == ',') {
		size_t len = strcspn(at, ",");
		int i;

		snprintf(name, sizeof(name), "%.*s", (int)(len < 31 ? len : 31), at);
		at += len;
		i = cor_mechanism_find(name);
		if (i < 0)
			return cor_fail(err, -EINVAL, "there is no mechanism \"%s\"; these can be "
					"switched off: %s", name,
					cor_mechanisms_optional(names, sizeof(names)));
		if (cor_mechanism_table[i].essential)
			return cor_fail(err, -EINVAL, "nothing moves without the mechanism %s; these "
					"can be switched off: %s", name,
					cor_mechanisms_optional(names, sizeof(names)));
		set |= 1u << i;
	}
	*out = set;
	return 0;
}
