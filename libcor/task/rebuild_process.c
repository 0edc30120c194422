/* What all threads of a process share: signal actions, umask, directory, and
 * what is set from outside: limits, scheduling. */
#include <errno.h>
#include <fcntl.h>
#include <linux/membarrier.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#include "libcor/base/cleanup.h"
#include "libcor/base/compat.h"
#include "libcor/base/error.h"
#include "libcor/base/io.h"
#include "libcor/task/rebuild_private.h"

#define IOPRIO_WHO_PROCESS 1
#define SIGSET_BYTES 8

/* The kernel's struct sigaction. */
struct action { uint64_t handler, flags, restorer, mask; };

static int add_action(struct cor_rebuild *rb, int sig, const Cor__Task__SigAction *a,
		      struct cor_error *err)
{
	const struct action k = { a->handler, a->flags, a->restorer, a->mask };
	uint64_t at;
	int r = cor_batch_data(rb->batch, &k, sizeof(k), &at, err);

	if (r == 0)
		r = cor_batch_add(rb->batch, COR_BATCH_OK, SYS_rt_sigaction,
				  COR_ARGS((uint64_t)sig, at, 0, SIGSET_BYTES), err,
				  "set the action of signal %d", sig);
	return r < 0 ? r : 0;
}

int cor_rebuild_actions(struct cor_rebuild *rb, const Cor__Task__Image *image,
			struct cor_error *err)
{
	int r = 0;

	for (size_t i = 0; i < image->n_actions && i < 64 && r == 0; i++) {
		int sig = (int)i + 1;

		if (sig == SIGKILL || sig == SIGSTOP)
			continue;
		/* as the stub has it */
		if (!image->actions[i]->handler && !image->actions[i]->flags &&
		    !image->actions[i]->mask)
			continue;
		r = add_action(rb, sig, image->actions[i], err);
	}
	return r;
}

static int add_membarrier(struct cor_rebuild *rb, uint32_t registered, struct cor_error *err)
{
	int r = 0;

	for (unsigned bit = 0; bit < 32 && r >= 0; bit++)
		if (registered >> bit & 1)
			r = cor_batch_add(rb->batch, COR_BATCH_OK, SYS_membarrier,
					  COR_ARGS(1u << bit), err, "register for membarrier %#x",
					  1u << bit);
	return r < 0 ? r : 0;
}

int cor_rebuild_process(struct cor_rebuild *rb, const Cor__Task__Image *image,
			struct cor_error *err)
{
	const Cor__Task__Identity *id = image->identity;
	struct cor_batch *b = rb->batch;
	uint64_t at;
	int r = cor_batch_add(b, COR_BATCH_OK, SYS_umask, COR_ARGS(id->umask), err, "set the umask");

	if (r >= 0 && id->cwd[0])
		r = cor_batch_data(b, id->cwd, strlen(id->cwd) + 1, &at, err);
	if (r >= 0 && id->cwd[0])
		r = cor_batch_add(b, COR_BATCH_OK, SYS_chdir, COR_ARGS(at), err,
				  "change to the directory %s", id->cwd);
	if (r >= 0)
		r = cor_batch_add(b, COR_BATCH_OK, SYS_prctl,
				  COR_ARGS(PR_SET_CHILD_SUBREAPER, id->child_subreaper), err,
				  "set the subreaper flag");
	return r < 0 ? r : add_membarrier(rb, id->membarrier, err);
}

/* --- from outside ------------------------------------------------------------ */

/* As asked for; where the hard limit cannot be raised, as much as there is. */
static void set_limit(pid_t pid, int resource, const Cor__Task__Limit *l)
{
	struct rlimit want = { l->cur, l->max }, now;

	if (prlimit(pid, (__rlimit_resource_t)resource, &want, NULL) == 0)
		return;
	if (prlimit(pid, (__rlimit_resource_t)resource, NULL, &now) < 0)
		return;
	want.rlim_max = COR_MIN(want.rlim_max, now.rlim_max);
	want.rlim_cur = COR_MIN(want.rlim_cur, want.rlim_max);
	prlimit(pid, (__rlimit_resource_t)resource, &want, NULL);
}

static void write_number(pid_t pid, const char *file, const char *format, long value)
{
	char path[64], text[32];

	snprintf(path, sizeof(path), "/proc/%d/%s", pid, file);
	snprintf(text, sizeof(text), format[0] == 'x' ? "%#lx" : "%ld", value);
	/* lowering the OOM score wants a privilege; neither keeps the task from working */
	cor_spew(AT_FDCWD, path, text);
}

struct sched {
	uint32_t size, policy;
	uint64_t flags;
	int32_t  nice;
	uint32_t priority;
	uint64_t runtime, deadline, period;
};

static int set_scheduling(pid_t tid, const Cor__Task__Thread *t, struct cor_error *err)
{
	const struct sched s = {
		.size = sizeof(s), .policy = t->sched_policy, .flags = t->sched_flags,
		.nice = t->nice, .priority = (uint32_t)t->sched_priority,
	};
	bool real_time = t->sched_policy == SCHED_FIFO || t->sched_policy == SCHED_RR;

	if (syscall(SYS_sched_setattr, tid, &s, 0) == 0)
		return 0;
	if (!real_time) {
		/* as it may be here, but not as the stub was */
		sched_setscheduler(tid, SCHED_OTHER, &(struct sched_param){ 0 });
		setpriority(PRIO_PROCESS, (id_t)tid, COR_MAX(t->nice, 0));
		return 0;
	}
	return cor_fail_errno(err, "cannot give thread %d its real-time priority %d", t->tid,
			      t->sched_priority);
}

/* Where none of its CPUs is here, it may use all. */
static void set_affinity(const struct cor_rebuild *rb, pid_t tid, const Cor__Task__Thread *t)
{
	struct cor_cpu_mask now = rb->turns.stub_mask, want;
	bool any = false;

	if (!rb->turns.stub && !cor_cpu_mask_read(tid, &now))
		return;
	want = now;
	for (long i = 0; i < want.len; i++) {
		want.bits[i] &= (size_t)i < t->affinity.len ? t->affinity.data[i] : 0;
		any |= want.bits[i] != 0;
	}
	if (rb->turns.stub || (any && memcmp(want.bits, now.bits, (size_t)now.len) != 0))
		cor_cpu_mask_set(tid, any ? &want : &now);
}

void cor_rebuild_limits(struct cor_rebuild *rb, const Cor__Task__Image *image)
{
	const Cor__Task__Identity *id = image->identity;

	for (size_t i = 0; i < id->n_limits && i < RLIM_NLIMITS; i++)
		if (!rb->outside_set || rb->limits[i].rlim_cur != id->limits[i]->cur ||
		    rb->limits[i].rlim_max != id->limits[i]->max)
			set_limit(rb->pid, (int)i, id->limits[i]);
}

/* Again only if they are others. */
static void set_numbers(struct cor_rebuild *rb, const Cor__Task__Identity *id)
{
	if (!rb->outside_set || rb->oom_score_adj != id->oom_score_adj)
		write_number(rb->pid, "oom_score_adj", "d", id->oom_score_adj);
	if (id->coredump_filter && (!rb->outside_set || rb->coredump_filter != id->coredump_filter))
		write_number(rb->pid, "coredump_filter", "x", id->coredump_filter);
	rb->oom_score_adj = id->oom_score_adj;
	rb->coredump_filter = id->coredump_filter;
	rb->outside_set = true;
}

void cor_rebuild_outside_ahead(struct cor_rebuild *rb, const Cor__Task__Image *skeleton)
{
	/* the limits as it was born with them: the task's own could be in our way */
	for (int i = 0; i < RLIM_NLIMITS; i++)
		if (prlimit(rb->pid, (__rlimit_resource_t)i, NULL, &rb->limits[i]) < 0)
			return;
	set_numbers(rb, skeleton->identity);
}

int cor_rebuild_thread_outside(const struct cor_rebuild *rb,
			       const struct cor_rebuild_thread *thread, const Cor__Task__Thread *t,
			       struct cor_error *err)
{
	int r = set_scheduling(thread->outer, t, err);

	cor_turns_put_slack(&rb->turns, thread, t->timerslack);
	set_affinity(rb, thread->outer, t);
	if (t->ioprio)
		syscall(SYS_ioprio_set, IOPRIO_WHO_PROCESS, thread->outer, t->ioprio);
	return r;
}

int cor_rebuild_outside(struct cor_rebuild *rb, const Cor__Task__Image *image,
			struct cor_error *err)
{
	int r = 0;

	set_numbers(rb, image->identity);
	for (unsigned i = 0; i < rb->nthreads && r == 0; i++)
		if (!cor_rebuild_is_ready(rb, i, image->threads[i]))
			r = cor_rebuild_thread_outside(rb, &rb->threads[i], image->threads[i], err);
	return r;
}
