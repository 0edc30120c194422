/* See privilege.h. */
#include "daemon/privilege.h"

#include <cap-ng.h>
#include <errno.h>
#include <stdbool.h>

#include "daemon/keys.h"
#include "daemon/log.h"
#include "libcor/base/cleanup.h"
#include "libcor/base/error.h"

/* For cord's own work. */
static const unsigned needed[] = {
	/* tracing tasks of others, their PIDs, their namespaces */
	CAP_SYS_PTRACE, CAP_CHECKPOINT_RESTORE, CAP_SYS_ADMIN, CAP_SYS_CHROOT, CAP_KILL,
	/* becoming whose the task is, and no more */
	CAP_SETUID, CAP_SETGID, CAP_SETPCAP,
	/* its files, here and for it elsewhere (libcor/names/home/process.c) */
	CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH, CAP_FOWNER, CAP_CHOWN, CAP_FSETID,
	CAP_LINUX_IMMUTABLE, CAP_MKNOD,
	/* its limits, priorities and locked memory */
	CAP_SYS_RESOURCE, CAP_SYS_NICE, CAP_IPC_LOCK,
	/* its connections and addresses */
	CAP_NET_ADMIN, CAP_NET_RAW, CAP_NET_BIND_SERVICE,
};

static bool is_needed(unsigned cap)
{
	for (unsigned i = 0; i < ARRAY_SIZE(needed); i++)
		if (needed[i] == cap)
			return true;
	return false;
}

/* What arriving tasks may have; all: whatever there is. */
static uint64_t arriving(const struct cord_config *c)
{
	uint64_t caps = 0;

	if (!cord_keys_set(c))
		return UINT64_MAX;
	for (unsigned i = 0; i < c->npeers; i++)
		caps |= cord_ids_have(&c->peers[i].users, 0) ? UINT64_MAX : c->peers[i].capabilities;
	return caps;
}

int privilege_limit(const struct cord_config *c, struct cor_error *err)
{
	uint64_t keep = arriving(c);
	unsigned dropped = 0;

	if (keep == UINT64_MAX || capng_get_caps_process() < 0)
		return 0;
	for (unsigned cap = 0; cap <= CAP_LAST_CAP; cap++) {
		if (is_needed(cap) || (keep >> cap & 1) ||
		    !capng_have_capability(CAPNG_PERMITTED, cap))
			continue;
		capng_update(CAPNG_DROP, CAPNG_EFFECTIVE | CAPNG_PERMITTED | CAPNG_INHERITABLE, cap);
		dropped++;
	}
	/* the bounding set is the tasks': what they execute is as it was */
	if (dropped && capng_apply(CAPNG_SELECT_CAPS) < 0)
		return cor_fail(err, -EPERM, "capabilities that are not needed cannot be given up");
	cord_log(CORD_LOG_DEBUG, NULL, "%u capabilities are given up", dropped);
	return 0;
}
