/* Who the task is: its place among processes, limits, credentials, clocks. */
#include "libcor/task/capture_base.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "libcor/base/cleanup.h"
#include "libcor/base/error.h"
#include "libcor/base/io.h"
#include "libcor/task/pb.h"
#include "libcor/task/uts.h"

static long number_in(struct cor_capture *c, const char *name, int base)
{
	_cleanup_free_ char *text = NULL;

	return cor_slurp(c->proc, name, &text, NULL) < 0 ? 0 : strtol(text, NULL, base);
}

static uint64_t limit_value(const char *text)
{
	while (*text == ' ')
		text++;
	return *text == 'u' ? RLIM_INFINITY : strtoull(text, NULL, 10);
}

/* Limit i as /proc/PID/limits shows it to everybody: a heading, then a line for
 * each in the order of their numbers, the soft and the hard one in columns of 20
 * behind one of 25 (proc(5)). */
static bool limit_in_text(const char *text, int i, struct rlimit *out)
{
	for (int line = 0; text && line <= i; line++) {
		text = strchr(text, '\n');
		text = text ? text + 1 : NULL;
	}
	if (!text || strcspn(text, "\n") < 26 + 21 + 1)
		return false;
	out->rlim_cur = limit_value(text + 26);
	out->rlim_max = limit_value(text + 26 + 21);
	return true;
}

/* prlimit(2) of a process of another user needs CAP_SYS_RESOURCE. */
static int read_limits(struct cor_capture *c, Cor__Task__Identity *id, struct cor_error *err)
{
	_cleanup_free_ char *text = NULL;

	for (int i = 0; i < RLIM_NLIMITS; i++) {
		Cor__Task__Limit *l = pb_add(&id->limits, &id->n_limits, Cor__Task__Limit,
					     cor__task__limit__init);
		struct rlimit rl;

		if (!l)
			return cor_capture_no_memory(c, err);
		if (prlimit(c->pid, (enum __rlimit_resource)i, NULL, &rl) < 0) {
			if (!text && cor_slurp(c->proc, "limits", &text, NULL) < 0)
				return cor_fail_errno(err, "cannot read /proc/%d/limits", c->pid);
			if (!limit_in_text(text, i, &rl))
				return cor_fail(err, -EPROTO, "process %d: limit %d cannot be read",
						c->pid, i);
		}
		l->cur = rl.rlim_cur;
		l->max = rl.rlim_max;
	}
	return 0;
}

static int read_cwd(struct cor_capture *c, Cor__Task__Identity *id, struct cor_error *err)
{
	char path[PATH_MAX];
	ssize_t n = readlinkat(c->proc, "cwd", path, sizeof(path));

	if (n < 0)
		return cor_fail_errno(err, "cannot read /proc/%d/cwd", c->pid);
	return pb_text(&id->cwd, path, (size_t)n) < 0 ? cor_capture_no_memory(c, err) : 0;
}

static int read_once(struct cor_capture *c, Cor__Task__Identity *id, struct cor_error *err)
{
	const Cor__Task__Identity *s = c->skeleton ? c->skeleton->identity : NULL;
	struct cor_uts uts = { 0 };
	int r = 0;

	if (s) {
		id->oom_score_adj = s->oom_score_adj;
		id->coredump_filter = s->coredump_filter;
		id->personality = s->personality;
		snprintf(uts.node, sizeof(uts.node), "%s", s->hostname);
		snprintf(uts.domain, sizeof(uts.domain), "%s", s->domainname);
	} else {
		id->oom_score_adj = (int32_t)number_in(c, "oom_score_adj", 10);
		id->coredump_filter = (uint32_t)number_in(c, "coredump_filter", 16);
		id->personality = (uint32_t)number_in(c, "personality", 16);
		r = cor_uts_read(c->proc, &uts, err);
	}
	if (r < 0)
		return r;
	if (pb_text(&id->hostname, uts.node, strlen(uts.node)) < 0 ||
	    pb_text(&id->domainname, uts.domain, strlen(uts.domain)) < 0)
		return cor_capture_no_memory(c, err);
	return 0;
}

int cor_capture_identity(struct cor_capture *c, struct cor_error *err)
{
	Cor__Task__Identity *id = pb_sub(c->image->identity, Cor__Task__Identity,
					 cor__task__identity__init);
	int r;

	if (!id)
		return cor_capture_no_memory(c, err);
	id->pid = c->status.ns_pid;
	id->pgid = c->status.ns_pgid;
	id->sid = c->status.ns_sid;
	id->ppid = c->status.ns_depth <= 1 ? c->status.ppid : 0;
	id->umask = c->status.umask;
	c->image->stopped = c->t ? c->t->threads[0].group_stop : c->status.state == 'T';
	r = read_cwd(c, id, err);
	if (!r)
		r = read_once(c, id, err);
	if (!r)
		r = read_limits(c, id, err);
	return r;
}

void cor_capture_credentials(Cor__Task__Credentials *out, const struct cor_proc_status *st)
{
	out->uid = st->uid[0];
	out->euid = st->uid[1];
	out->suid = st->uid[2];
	out->fsuid = st->uid[3];
	out->gid = st->gid[0];
	out->egid = st->gid[1];
	out->sgid = st->gid[2];
	out->fsgid = st->gid[3];
	out->cap_inheritable = st->cap_inh;
	out->cap_permitted = st->cap_prm;
	out->cap_effective = st->cap_eff;
	out->cap_bounding = st->cap_bnd;
	out->cap_ambient = st->cap_amb;
	out->no_new_privs = st->no_new_privs;
}

int cor_capture_clock(struct cor_capture *c, struct cor_error *err)
{
	Cor__Task__Clock *k = pb_sub(c->image->clock, Cor__Task__Clock, cor__task__clock__init);
	_cleanup_free_ char *offsets = NULL, *boot = NULL;

	if (!k)
		return cor_capture_no_memory(c, err);
	if (c->skeleton) {
		const Cor__Task__Clock *s = c->skeleton->clock;

		k->monotonic_offset_ns = s->monotonic_offset_ns;
		k->boottime_offset_ns = s->boottime_offset_ns;
		return pb_text(&k->boot_id, s->boot_id, strlen(s->boot_id)) < 0 ?
			cor_capture_no_memory(c, err) : 0;
	}
	/* kernels without time namespaces have no such file, and no offsets */
	if (!cor_slurp(c->proc, "timens_offsets", &offsets, NULL) &&
	    cor_parse_timens(offsets, &k->monotonic_offset_ns, &k->boottime_offset_ns) < 0)
		return cor_fail(err, -EINVAL, "/proc/%d/timens_offsets cannot be understood", c->pid);
	if (cor_slurp(AT_FDCWD, "/proc/sys/kernel/random/boot_id", &boot, NULL) < 0)
		return 0;
	return pb_text(&k->boot_id, boot, strcspn(boot, "\n")) < 0 ? cor_capture_no_memory(c, err) : 0;
}
