/* Threads that sleep are read ahead of the freeze; see sleepers.h. */
#include "libcor/task/sleepers.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>

#include "libcor/base/cleanup.h"
#include "libcor/base/io.h"
#include "libcor/task/capture_base.h"
#include "libcor/task/restart.h"

/* Each has a descriptor until the freeze. */
#define SLEEPERS_MAX 256u
/* One look takes so long, and one thread is host for so long, at the most, and a visit more. */
#define LOOK_NS 250000000u
#define HOST_NS 3000000u

struct looking {
	struct cor_capture c;
	struct cor_tracee *host;        /* has mapped the runner, and is stopped meanwhile; or NULL */
	uint64_t host_until_ns;
	struct cor_sleeper *host_sleeper;       /* NULL: it is none */
	struct cor_runner *runner;
	bool failed;
	struct cor_sleepers *out;
};

/* A child that is born meanwhile is not to have it. */
static int map_runner(struct looking *l)
{
	pid_t tid = l->host->threads[0].tid;
	struct cor_call *call;
	uint64_t start, end;
	int r = cor_runner_map_running(&l->runner, tid, cor_find_syscall_insn(l->c.pid),
				       cor_capture_calls_room(), NULL);

	if (r < 0)
		return r;
	cor_runner_know_caught(l->runner, l->c.status.sig_caught);
	cor_runner_range(l->runner, &start, &end);
	call = cor_runner_room(l->runner);
	*call = (struct cor_call){ .nr = SYS_madvise, .arg = { start, end - start, MADV_DONTFORK } };
	r = cor_runner_run(l->runner, tid, call, 1, 0, NULL, NULL);
	return r < 0 ? r : (int)call->ret;
}

static void empty(Cor__Task__Image *image)
{
	for (size_t i = 0; i < image->n_threads; i++)
		cor__task__thread__free_unpacked(image->threads[i], NULL);
	for (size_t i = 0; i < image->n_pending; i++)
		free(image->pending[i].data);
	free(image->threads);
	free(image->pending);
	image->threads = NULL;
	image->pending = NULL;
	image->n_threads = image->n_pending = 0;
}

/* The stopped thread as an image would have it; NULL: it is none of those. */
static Cor__Task__Thread *read_record(struct looking *l)
{
	struct cor_capture *c = &l->c;
	const struct cor_tracee_thread *th = &c->t->threads[0];
	Cor__Task__Thread *record = NULL;
	int r = -EAGAIN;

	if (cor_restart_unseen(&th->regs) && !th->rseq_abort_ip)
		r = cor_capture_threads(c, NULL);
	if (r == 0)
		r = cor_capture_calls_alone(c, l->runner, NULL);
	if (r == 0)
		r = cor_capture_signals(c, NULL);
	if (r == 0 && !c->image->n_pending && !c->image->threads[0]->n_pending) {
		record = c->image->threads[0];
		c->image->n_threads = 0;
	}
	empty(c->image);
	return record;
}

/* False: it could not be told whether the thread runs meanwhile, or when its call ends. */
static bool note(struct cor_sleeper *s, const struct cor_tracee *t)
{
	const struct cor_tracee_thread *th = &t->threads[0];
	struct user_regs_struct regs;

	s->asleep.tid = th->tid;
	if (cor_asleep_mark(&th->regs, &s->asleep.regs)) {
		cor_closep(&s->asleep.schedstat);
		s->asleep.schedstat = -1;
	} else if (s->asleep.schedstat < 0) {
		return false;
	}
	s->call = th->regs.orig_rax;
	s->asleep.sigmask = th->sigmask;
	s->asleep.rseq = th->rseq;
	s->asleep.rseq_len = th->rseq_len;
	s->asleep.rseq_sig = th->rseq_sig;
	if (s->record->restart != COR__TASK__RESTART_KIND__RESTART_BLOCK)
		return true;
	memcpy(&regs, s->record->regs.data, sizeof(regs));
	if (!cor_restart_in_wall_time(&regs))
		return false;
	s->call = regs.orig_rax;        /* where it was restart_syscall(2) already */
	s->until_ns = t->stopping_ns + s->record->remaining_ns;
	return true;
}

/* s: what was read of it; NULL: nothing. */
static void leave(struct cor_tracee *t, struct cor_sleeper *s)
{
	if (s && cor_asleep_marked(&s->asleep))
		ptrace(PTRACE_SETREGS, s->asleep.tid, NULL, &s->asleep.regs);
	else if (s)
		cor_asleep_stopped(&s->asleep);
	cor_tracee_thaw(t);
}

/* The stopped thread of s, which becomes the host where there is none. */
static void take(struct looking *l, struct cor_tracee *t, struct cor_sleeper *s)
{
	struct cor_sleeper *taken = NULL;
	bool is_host = !l->host;

	if (is_host) {
		l->host = t;
		l->host_until_ns = cor_now_ns() + HOST_NS;
		l->failed = map_runner(l) < 0;
	}
	l->c.t = t;
	s->record = l->failed ? NULL : read_record(l);
	l->c.t = NULL;
	if (s->record && note(s, t)) {
		taken = &l->out->list[l->out->n++];
		*taken = *s;
		s->record = NULL;
		s->comm = NULL;
		s->asleep.schedstat = -1;
	}
	if (is_host)
		l->host_sleeper = taken;
	else
		leave(t, taken);
}

static void visit(struct looking *l, pid_t tid)
{
	struct cor_sleeper s = { .asleep.schedstat = cor_asleep_open(l->c.pid, tid) };
	struct cor_tracee *t = NULL;

	/* the name first: a change behind it will be seen */
	s.comm = cor_sleeper_comm(l->c.pid, tid);
	if (s.comm && cor_tracee_visit(&t, l->c.pid, tid, NULL) == 0)
		take(l, t, &s);
	if (s.record)
		cor__task__thread__free_unpacked(s.record, NULL);
	cor_closep(&s.asleep.schedstat);
	free(s.comm);
}

static void leave_host(struct looking *l)
{
	if (!l->host)
		return;
	cor_runner_unmap(take_ptr(l->runner), l->host->threads[0].tid, NULL);
	leave(take_ptr(l->host), take_ptr(l->host_sleeper));
}

static void look_at_all(struct looking *l)
{
	_cleanup_closedir_ DIR *d = NULL;
	uint64_t until = cor_now_ns() + LOOK_NS;
	char path[32];
	struct dirent *e;

	snprintf(path, sizeof(path), "/proc/%d/task", (int)l->c.pid);
	d = opendir(path);
	while (d && !l->failed && l->out->n < SLEEPERS_MAX && cor_now_ns() < until &&
	       (e = readdir(d))) {
		pid_t tid = atoi(e->d_name);

		if (tid > 0 && tid != l->c.pid && cor_asleep_undisturbed(l->c.pid, tid))
			visit(l, tid);
		if (cor_now_ns() > l->host_until_ns)
			leave_host(l);
	}
	leave_host(l);
}

void cor_sleepers_look(pid_t pid, const struct cor_capture_options *o, struct cor_sleepers *out)
{
	struct looking l = { .out = out, .c = { .proc = -1, .mem = -1, .pagemap = -1 } };

	out->list = calloc(SLEEPERS_MAX, sizeof(*out->list));
	if (out->list && cor_capture_begin(&l.c, pid, o, NULL) == 0 && !l.c.status.seccomp) {
		l.c.o.sleepers = NULL;
		look_at_all(&l);
	}
	cor_capture_end(&l.c);
}
