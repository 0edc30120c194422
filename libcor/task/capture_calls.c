/* What only the task can say: one list of injected calls in its leader and a
 * short one in every other thread, all at once. */
#include "libcor/task/capture_base.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>

#include "libcor/base/cleanup.h"
#include "libcor/base/compat.h"
#include "libcor/base/error.h"
#include "libcor/base/io.h"
#include "libcor/task/pb.h"

struct kernel_sigaction {       /* rt_sigaction(2)'s own layout */
	uint64_t handler, flags, restorer, mask;
};

/* Calls of every thread, and where they write. */
enum { T_ALTSTACK, T_TID_ADDRESS, T_TIMERSLACK, T_PDEATHSIG, T_SECUREBITS, T_CALLS };
struct thread_answers {
	stack_t  altstack;
	uint64_t tid_address;
	uint64_t pdeathsig;
};

/* More calls of the leader, behind those. */
enum { P_BRK = T_CALLS, P_DUMPABLE, P_SUBREAPER, P_PERSONALITY, P_MEMBARRIER, P_THP, P_CHILDREN,
       P_ITIMER, P_ACTION = P_ITIMER + 3, P_TIMER = P_ACTION + 64 };
struct process_answers {
	struct itimerval itimer[3];
	struct kernel_sigaction action[64];
	struct itimerspec timer[];
};

struct cor_capture_batch {
	struct cor_capture *c;
	struct cor_runner *r;
	struct cor_runner_job *jobs;
	unsigned *of;                           /* of which thread each is: not of those asleep */
	unsigned njobs;
	struct thread_answers *threads;         /* in the room */
	struct process_answers *process;        /* in the room */
	struct cor_proc_timer *timers;
	unsigned ntimers;
	struct cor_running *running;
};

static int list_timers(struct cor_capture_batch *b, struct cor_error *err)
{
	_cleanup_free_ char *text = NULL;
	struct cor_proc_timer t;
	const char *p;
	int r = cor_capture_slurp(b->c, "timers", &text, NULL, err);

	if (r < 0)
		return r;
	p = text;
	while ((r = cor_parse_timer(&p, &t)) == 1) {
		struct cor_proc_timer *bigger = realloc(b->timers, (b->ntimers + 1) * sizeof(t));

		if (!bigger)
			return cor_capture_no_memory(b->c, err);
		b->timers = bigger;
		bigger[b->ntimers++] = t;
	}
	return r < 0 ? cor_fail(err, r, "/proc/%d/timers cannot be understood", b->c->pid) : 0;
}

static void put(struct cor_call *call, long nr, uint64_t a, uint64_t b, uint64_t c, uint64_t d)
{
	*call = (struct cor_call){ .nr = (uint64_t)nr, .arg = { a, b, c, d } };
}

static void ask_thread(const struct cor_runner *r, struct cor_call *call, struct thread_answers *a)
{
	put(&call[T_ALTSTACK], SYS_sigaltstack, 0, cor_runner_remote(r, &a->altstack), 0, 0);
	put(&call[T_TID_ADDRESS], SYS_prctl, PR_GET_TID_ADDRESS,
	    cor_runner_remote(r, &a->tid_address), 0, 0);
	put(&call[T_TIMERSLACK], SYS_prctl, PR_GET_TIMERSLACK, 0, 0, 0);
	put(&call[T_PDEATHSIG], SYS_prctl, PR_GET_PDEATHSIG, cor_runner_remote(r, &a->pdeathsig), 0, 0);
	put(&call[T_SECUREBITS], SYS_prctl, PR_GET_SECUREBITS, 0, 0, 0);
}

static void ask_process(struct cor_capture_batch *b, struct cor_call *call)
{
	struct process_answers *a = b->process;

	put(&call[P_BRK], SYS_brk, 0, 0, 0, 0);
	put(&call[P_DUMPABLE], SYS_prctl, PR_GET_DUMPABLE, 0, 0, 0);
	put(&call[P_SUBREAPER], SYS_prctl, PR_GET_CHILD_SUBREAPER,
	    cor_runner_remote(b->r, &b->threads[0].pdeathsig) + 4, 0, 0);
	put(&call[P_PERSONALITY], SYS_personality, 0xffffffff, 0, 0, 0);
	put(&call[P_MEMBARRIER], SYS_membarrier, MEMBARRIER_CMD_GET_REGISTRATIONS, 0, 0, 0);
	put(&call[P_THP], SYS_prctl, PR_GET_THP_DISABLE, 0, 0, 0);
	/* whether there is any: it takes nothing from them */
	put(&call[P_CHILDREN], SYS_waitid, P_ALL, 0, 0,
	    WEXITED | WSTOPPED | WCONTINUED | WNOHANG | WNOWAIT | __WALL);
	for (unsigned i = 0; i < 3; i++)
		put(&call[P_ITIMER + i], SYS_getitimer, i, cor_runner_remote(b->r, &a->itimer[i]), 0, 0);
	for (unsigned i = 0; i < 64; i++)
		put(&call[P_ACTION + i], SYS_rt_sigaction, i + 1, 0,
		    cor_runner_remote(b->r, &a->action[i]), 8);
	for (unsigned i = 0; i < b->ntimers; i++)
		put(&call[P_TIMER + i], SYS_timer_gettime, (uint64_t)b->timers[i].id,
		    cor_runner_remote(b->r, &a->timer[i]), 0, 0);
}

static size_t room_needed(const struct cor_capture_batch *b)
{
	size_t n = b->njobs;

	return n * T_CALLS * sizeof(struct cor_call) +
	       (P_TIMER - T_CALLS + b->ntimers) * sizeof(struct cor_call) +
	       n * sizeof(struct thread_answers) + sizeof(struct process_answers) +
	       b->ntimers * sizeof(struct itimerspec);
}

static void ask_all(struct cor_capture_batch *b)
{
	struct cor_call *call = cor_runner_room(b->r);
	unsigned n = b->njobs, leader = P_TIMER + b->ntimers;

	b->threads = (void *)(call + leader + (size_t)(n - 1) * T_CALLS);
	b->process = (void *)(b->threads + n);
	for (unsigned i = 0; i < n; i++) {
		const struct cor_tracee_thread *th = &b->c->t->threads[b->of[i]];

		b->jobs[i].tid = th->tid;
		b->jobs[i].calls = call;
		b->jobs[i].n = i ? T_CALLS : leader;
		b->jobs[i].was = &th->regs;
		b->jobs[i].mask = th->sigmask;
		ask_thread(b->r, call, &b->threads[i]);
		if (!i)
			ask_process(b, call);
		call += b->jobs[i].n;
	}
}

/* ---- answers -------------------------------------------------------------------- */

static void take_thread(Cor__Task__Thread *th, const struct cor_call *call,
			const struct thread_answers *a)
{
	th->sas_sp = (uintptr_t)a->altstack.ss_sp;
	th->sas_flags = (uint32_t)a->altstack.ss_flags;
	th->sas_size = a->altstack.ss_size;
	th->clear_child_tid = a->tid_address;
	th->timerslack = (uint64_t)COR_MAX(call[T_TIMERSLACK].ret, (int64_t)0);
	th->pdeathsig = (uint32_t)a->pdeathsig;
	th->creds->securebits = (uint32_t)COR_MAX(call[T_SECUREBITS].ret, (int64_t)0);
}

static int take_actions(struct cor_capture_batch *b, struct cor_error *err)
{
	Cor__Task__Image *image = b->c->image;

	for (unsigned i = 0; i < 64; i++) {
		const struct kernel_sigaction *k = &b->process->action[i];
		Cor__Task__SigAction *a = pb_add(&image->actions, &image->n_actions, Cor__Task__SigAction,
						 cor__task__sig_action__init);

		if (!a)
			return cor_capture_no_memory(b->c, err);
		a->handler = k->handler;
		a->flags = k->flags;
		a->restorer = k->restorer;
		a->mask = k->mask;
		b->c->action_flags[i] = k->flags;
	}
	return 0;
}

static uint64_t us(const struct timeval *tv)
{
	return (uint64_t)tv->tv_sec * 1000000 + (uint64_t)tv->tv_usec;
}

static uint64_t ns(const struct timespec *ts)
{
	return (uint64_t)ts->tv_sec * 1000000000 + (uint64_t)ts->tv_nsec;
}

static int take_itimers(struct cor_capture_batch *b, struct cor_error *err)
{
	Cor__Task__Image *image = b->c->image;

	for (unsigned i = 0; i < 3; i++) {
		Cor__Task__IntervalTimer *t = pb_add(&image->itimers, &image->n_itimers,
						     Cor__Task__IntervalTimer,
						     cor__task__interval_timer__init);

		if (!t)
			return cor_capture_no_memory(b->c, err);
		t->interval_us = us(&b->process->itimer[i].it_interval);
		t->value_us = us(&b->process->itimer[i].it_value);
	}
	return 0;
}

static pid_t inner_tid(const struct cor_tracee *t, pid_t tid)
{
	for (unsigned i = 0; i < t->nthreads; i++)
		if (t->threads[i].tid == tid)
			return t->threads[i].inner_tid;
	return 0;
}

static int take_timers(struct cor_capture_batch *b, struct cor_error *err)
{
	const struct cor_call *call = b->jobs[0].calls + P_TIMER;
	Cor__Task__Image *image = b->c->image;

	for (unsigned i = 0; i < b->ntimers; i++) {
		const struct cor_proc_timer *p = &b->timers[i];
		Cor__Task__PosixTimer *t = pb_add(&image->timers, &image->n_timers, Cor__Task__PosixTimer,
						  cor__task__posix_timer__init);

		if (!t)
			return cor_capture_no_memory(b->c, err);
		if (call[i].ret < 0)
			return cor_fail_code(err, (int)call[i].ret, "process %d: cannot read its timer %d",
					     b->c->pid, p->id);
		t->id = p->id;
		t->clock = p->clock;
		t->notify = p->notify;
		t->signo = p->signo;
		t->value = p->value;
		t->tid = p->notify & SIGEV_THREAD_ID ? inner_tid(b->c->t, p->target) : 0;
		t->interval_ns = ns(&b->process->timer[i].it_interval);
		t->remaining_ns = ns(&b->process->timer[i].it_value);
	}
	return 0;
}

static int take_all(struct cor_capture_batch *b, struct cor_error *err)
{
	const struct cor_call *call = b->jobs[0].calls;
	Cor__Task__Identity *id = b->c->image->identity;
	int r;

	for (unsigned i = 0; i < b->njobs; i++)
		take_thread(b->c->image->threads[b->of[i]], b->jobs[i].calls, &b->threads[i]);
	b->c->image->memory->brk = (uint64_t)call[P_BRK].ret;
	b->c->image->memory->thp_disable = call[P_THP].ret > 0 ? (uint32_t)call[P_THP].ret : 0;
	id->dumpable = (uint32_t)COR_MAX(call[P_DUMPABLE].ret, (int64_t)0);
	id->child_subreaper = (uint32_t)(b->threads[0].pdeathsig >> 32);
	id->personality = (uint32_t)call[P_PERSONALITY].ret;
	id->membarrier = call[P_MEMBARRIER].ret > 0 ? (uint32_t)call[P_MEMBARRIER].ret : 0;
	/* a task that traces others is told of them as of children: the files decide */
	r = call[P_CHILDREN].ret == -ECHILD ? 0 : cor_refuse_children(b->c, err);
	if (!r)
		r = take_actions(b, err);
	if (!r)
		r = take_itimers(b, err);
	return r ? r : take_timers(b, err);
}

/* A syscall instruction in the vDSO, which has been read already. */
static uint64_t find_insn(const struct cor_capture *c)
{
	const Cor__Task__Memory *m = c->image->memory;
	const ProtobufCBinaryData *vdso = c->skeleton ? &c->skeleton->memory->vdso : &m->vdso;
	const uint8_t *p = vdso->len ? memmem(vdso->data, vdso->len, "\x0f\x05", 2) : NULL;

	for (size_t i = 0; p && i < m->n_vmas; i++)
		if (m->vmas[i]->kind == COR__TASK__VMA_KIND__VDSO)
			return m->vmas[i]->start + (uint64_t)(p - vdso->data);
	return cor_find_syscall_insn(c->pid);
}

/* The runner stays: the ghost is better off without the calls that would take it away. */
static int start(struct cor_capture_batch *b, struct cor_error *err)
{
	struct cor_tracee *t = b->c->t;
	int r = cor_runner_unmap(take_ptr(t->runner), t->pid, err);

	if (!r)
		r = cor_runner_map(&t->runner, t->pid, find_insn(b->c), 0, room_needed(b), err);
	if (r < 0)
		return r;
	b->r = t->runner;
	cor_runner_know_caught(b->r, b->c->status.sig_caught);
	ask_all(b);
	b->c->calls_ns = cor_now_ns();
	return cor_runner_start_many(b->r, b->jobs, b->njobs, 0, &b->running, err);
}

static void free_batch(struct cor_capture_batch *b)
{
	free(b->jobs);
	free(b->of);
	free(b->timers);
	free(b);
}

int cor_capture_calls_start(struct cor_capture *c, struct cor_error *err)
{
	struct cor_capture_batch *b = calloc(1, sizeof(*b));
	int r;

	if (!b)
		return cor_capture_no_memory(c, err);
	b->c = c;
	b->jobs = calloc(c->t->nthreads, sizeof(*b->jobs));
	b->of = calloc(c->t->nthreads, sizeof(*b->of));
	r = b->jobs && b->of ? list_timers(b, err) : cor_capture_no_memory(c, err);
	for (unsigned i = 0; !r && i < c->t->nthreads; i++)
		if (!c->image->threads[i]->asleep)
			b->of[b->njobs++] = i;
	if (!r)
		r = start(b, err);
	if (r < 0)
		free_batch(b);
	else
		c->calls = b;
	return r;
}

int cor_capture_calls_take(struct cor_capture *c, struct cor_error *err)
{
	struct cor_capture_batch *b = take_ptr(c->calls);
	int r = cor_runner_await_many(b->running, err);

	if (!r)
		r = take_all(b, err);
	free_batch(b);
	return r;
}

void cor_capture_calls_drop(struct cor_capture *c)
{
	struct cor_capture_batch *b = take_ptr(c->calls);

	if (!b)
		return;
	cor_runner_await_many(b->running, NULL);
	free_batch(b);
}

/* ---- of a single thread --------------------------------------------------------- */

size_t cor_capture_calls_room(void)
{
	return T_CALLS * sizeof(struct cor_call) + sizeof(struct thread_answers);
}

int cor_capture_calls_alone(struct cor_capture *c, struct cor_runner *r, struct cor_error *err)
{
	const struct cor_tracee_thread *th = &c->t->threads[0];
	struct cor_call *call = cor_runner_room(r);
	struct thread_answers *a = (void *)(call + T_CALLS);
	struct cor_runner_job job = { .tid = th->tid, .calls = call, .n = T_CALLS, .was = &th->regs,
				      .mask = th->sigmask };
	int rc;

	ask_thread(r, call, a);
	rc = cor_runner_run_many(r, &job, 1, 0, err);
	if (rc == 0)
		take_thread(c->image->threads[0], call, a);
	return rc;
}
