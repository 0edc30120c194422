/* rebuild: the caller and the stub's threads on one processor, before all others there; see
 * rebuild.h. They wait for each other at every step. Left to the scheduler, a thread that goes on
 * is sent to another processor and must be waited for there: behind whom that runs, or until it
 * has woken up. */
#include <fcntl.h>
#include <inttypes.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "libcor/base/cleanup.h"
#include "libcor/base/io.h"
#include "libcor/task/rebuild_private.h"

/* The least: what an administrator has put in real time stays before us. */
#define PRIORITY 1

/* Its time in real time is limited, and a signal tells when it is over. */
static bool limited(pid_t pid)
{
	struct rlimit l;

	return prlimit(pid, RLIMIT_RTTIME, NULL, &l) < 0 || l.rlim_cur != RLIM_INFINITY;
}

static bool may_be_limited(const Cor__Task__Identity *id)
{
	return id->n_limits > RLIMIT_RTTIME && id->limits[RLIMIT_RTTIME]->cur != RLIM_INFINITY;
}

bool cor_cpu_mask_read(pid_t tid, struct cor_cpu_mask *m)
{
	memset(m->bits, 0, sizeof(m->bits));
	m->len = syscall(SYS_sched_getaffinity, tid, sizeof(m->bits), m->bits);
	return m->len > 0;
}

void cor_cpu_mask_set(pid_t tid, const struct cor_cpu_mask *m)
{
	syscall(SYS_sched_setaffinity, tid, m->len, m->bits);
}

static bool first(pid_t tid)
{
	return sched_setscheduler(tid, SCHED_FIFO,
				  &(struct sched_param){ .sched_priority = PRIORITY }) == 0;
}

static bool only_on(pid_t tid, unsigned cpu, const struct cor_cpu_mask *allowed)
{
	struct cor_cpu_mask one = { .len = allowed->len };

	if (cpu / 8 >= (unsigned)one.len || !(allowed->bits[cpu / 8] & 1u << cpu % 8))
		return false;
	one.bits[cpu / 8] = (unsigned char)(1u << cpu % 8);
	cor_cpu_mask_set(tid, &one);
	return true;
}

static void slack_path(char path[48], pid_t tid)
{
	snprintf(path, 48, "/proc/%d/timerslack_ns", tid);
}

static bool read_slack(pid_t tid, uint64_t *ns)
{
	_cleanup_free_ char *text = NULL;
	char path[48], *end;

	slack_path(path, tid);
	if (cor_slurp(AT_FDCWD, path, &text, NULL) < 0)
		return false;
	*ns = strtoull(text, &end, 10);
	return end != text;
}

void cor_turns_put_slack(const struct cor_turns *turns, const struct cor_rebuild_thread *thread,
			 uint64_t ns)
{
	char path[48], text[24];

	/* those that we have put first come back to it by themselves; one that was born of them
	 * has none to come back to */
	if (!turns->stub || !ns || (thread->first && ns == turns->slack_ns))
		return;
	slack_path(path, thread->outer);
	snprintf(text, sizeof(text), "%" PRIu64, ns);
	cor_spew(AT_FDCWD, path, text);
}

void cor_rebuild_turns_ahead(struct cor_rebuild *rb, const Cor__Task__Image *skeleton)
{
	struct cor_turns *t = &rb->turns;

	if (t->stub || sched_getscheduler(0) != SCHED_OTHER || limited(0) || limited(rb->pid) ||
	    may_be_limited(skeleton->identity) || !cor_cpu_mask_read(0, &t->caller_mask) ||
	    !cor_cpu_mask_read(rb->pid, &t->stub_mask) || !read_slack(rb->pid, &t->slack_ns))
		return;
	t->stub = first(rb->pid);
	for (unsigned i = 0; t->stub && i < rb->nthreads; i++)
		if (!rb->threads[i].ready)
			rb->threads[i].first = first(rb->threads[i].outer);
}

void cor_rebuild_turns_begin(struct cor_rebuild *rb)
{
	struct cor_turns *t = &rb->turns;
	int cpu = sched_getcpu();

	if (!t->stub || t->caller || cpu < 0 || !first(0))
		return;
	t->caller = true;
	/* its processors are the task's already */
	if (rb->stage >= COR_REBUILD_READY)
		return;
	if (only_on(0, (unsigned)cpu, &t->caller_mask))
		only_on(rb->pid, (unsigned)cpu, &t->stub_mask);
}

void cor_rebuild_turns_end(struct cor_rebuild *rb)
{
	struct cor_turns *t;

	if (!rb || !rb->turns.caller)
		return;
	t = &rb->turns;
	sched_setscheduler(0, SCHED_OTHER, &(struct sched_param){ 0 });
	cor_cpu_mask_set(0, &t->caller_mask);
	t->caller = false;
}
