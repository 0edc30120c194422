/* In the freeze: what was read ahead of threads that have not run since becomes the image's; see
 * sleepers.h. */
#include "libcor/task/sleepers.h"

#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "libcor/base/cleanup.h"
#include "libcor/base/io.h"
#include "libcor/task/capture_base.h"
#include "libcor/task/pb.h"

char *cor_sleeper_comm(pid_t pid, pid_t tid)
{
	char path[64], *text = NULL;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/comm", (int)pid, (int)tid);
	return cor_slurp(AT_FDCWD, path, &text, NULL) < 0 ? NULL : text;
}

struct cor_sleeper *cor_capture_sleeper_of(const struct cor_capture *c,
					   const struct cor_tracee_thread *t)
{
	struct cor_sleepers *s = t->asleep ? c->o.sleepers : NULL;

	_Static_assert(offsetof(struct cor_sleeper, asleep) == 0, "one is where the other is");
	return s ? (struct cor_sleeper *)(uintptr_t)t->asleep : NULL;
}

static bool same_name(const struct cor_sleeper *s, pid_t pid)
{
	_cleanup_free_ char *now = cor_sleeper_comm(pid, s->asleep.tid);

	return now && strcmp(now, s->comm) == 0;
}

static bool same_scheduling(const Cor__Task__Thread *a, pid_t tid)
{
	Cor__Task__Thread b = COR__TASK__THREAD__INIT;
	bool same = cor_capture_scheduling(&b, tid, NULL) == 0 &&
		    a->sched_policy == b.sched_policy && a->sched_priority == b.sched_priority &&
		    a->nice == b.nice && a->sched_flags == b.sched_flags && a->ioprio == b.ioprio &&
		    a->affinity.len == b.affinity.len &&
		    memcmp(a->affinity.data, b.affinity.data, b.affinity.len) == 0;

	free(b.affinity.data);
	return same;
}

/* What others can have changed of it, the rest being as it was since it has not run: its name,
 * its scheduling; seccomp filters are given to all threads by one. */
bool cor_capture_sleeper(struct cor_capture *c, const struct cor_tracee_thread *t)
{
	struct cor_sleeper *s = cor_capture_sleeper_of(c, t);

	if (!s || !s->record || c->status.seccomp || !same_name(s, c->pid) ||
	    !same_scheduling(s->record, t->tid) ||
	    pb_append(&c->image->threads, &c->image->n_threads, s->record) < 0)
		return false;
	s->record->asleep = true;
	s->record = NULL;
	return true;
}
