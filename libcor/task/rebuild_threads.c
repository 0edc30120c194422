/* rebuild's thread phase: threads with their TIDs, and all that belongs to a
 * thread or its process besides memory. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include "libcor/base/cleanup.h"
#include "libcor/base/compat.h"
#include "libcor/base/error.h"
#include "libcor/base/io.h"
#include "libcor/task/ptrace_wait.h"
#include "libcor/task/rebuild_creds.h"
#include "libcor/task/rebuild_private.h"

#define THREAD_FLAGS (CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | \
		      CLONE_SYSVSEM | CLONE_PTRACE)
#define STOP_NS 10000000000ull

/* --- threads -------------------------------------------------------------------- */

/* CLONE_PTRACE: they are ours from birth and stop before their first instruction. */
static int clone_all(struct cor_rebuild *rb, const Cor__Task__Image *image,
		     struct cor_error *err)
{
	int r = 0;

	for (size_t i = 1; i < image->n_threads && r >= 0; i++) {
		struct { struct clone_args a; uint64_t tid; } c = {
			.a = { .flags = THREAD_FLAGS, .set_tid_size = 1 },
			.tid = (uint64_t)image->threads[i]->tid,
		};
		uint64_t at;

		r = cor_batch_reserve(rb->batch, 1, sizeof(c) + 64, err);
		if (r == 0)
			r = cor_batch_data(rb->batch, &c.tid, sizeof(c.tid), &at, err);
		if (r < 0)
			return r;
		c.a.set_tid = at;
		r = cor_batch_data(rb->batch, &c.a, sizeof(c.a), &at, err);
		if (r == 0)
			r = cor_batch_add(rb->batch, COR_BATCH_OK, SYS_clone3,
					  COR_ARGS(at, sizeof(c.a)), err, "make the thread %d",
					  image->threads[i]->tid);
	}
	return r < 0 ? r : cor_batch_flush(rb->batch, err);
}

/* The thread's number in its innermost PID namespace. */
static pid_t inner_tid(pid_t pid, const char *outer)
{
	_cleanup_free_ char *text = NULL;
	char path[64], *p, *end;

	snprintf(path, sizeof(path), "/proc/%d/task/%.16s/status", pid, outer);
	if (cor_slurp(AT_FDCWD, path, &text, NULL) < 0)
		return -1;
	p = strstr(text, "\nNSpid:");
	if (!p)
		return -1;
	end = strchrnul(p + 1, '\n');
	*end = 0;
	p = strrchr(p, '\t');
	return p ? (pid_t)atoi(p + 1) : -1;
}

static int learn_outer(struct cor_rebuild *rb, struct cor_error *err)
{
	_cleanup_closedir_ DIR *dir = NULL;
	unsigned found = 0;
	struct dirent *e;
	char path[32];

	snprintf(path, sizeof(path), "/proc/%d/task", rb->pid);
	dir = opendir(path);
	if (!dir)
		return cor_fail_errno(err, "cannot read %s", path);
	while ((e = readdir(dir))) {
		pid_t outer = (pid_t)atoi(e->d_name), inner;

		if (outer <= 0)
			continue;
		inner = rb->pid_ns ? inner_tid(rb->pid, e->d_name) : outer;
		for (unsigned i = 0; i < rb->nthreads; i++)
			if (rb->threads[i].inner == inner) {
				rb->threads[i].outer = outer;
				found++;
			}
	}
	if (found != rb->nthreads)
		return cor_fail(err, -EIO, "process %d has %u threads instead of %u", rb->inner_pid,
				found, rb->nthreads);
	return 0;
}

static int make_threads(struct cor_rebuild *rb, const Cor__Task__Image *image,
			struct cor_error *err)
{
	int r = 0;

	rb->threads = calloc(image->n_threads, sizeof(*rb->threads));
	if (!rb->threads)
		return cor_fail(err, -ENOMEM, "out of memory");
	rb->nthreads = (unsigned)image->n_threads;
	for (unsigned i = 0; i < rb->nthreads; i++)
		rb->threads[i].inner = image->threads[i]->tid;
	rb->threads[0].outer = rb->pid;
	if (rb->nthreads > 1) {
		r = clone_all(rb, image, err);
		if (r == 0)
			r = learn_outer(rb, err);
	}
	for (unsigned i = 1; i < rb->nthreads && r == 0; i++) {
		int status;

		r = cor_ptrace_wait(rb->threads[i].outer, STOP_NS, &status);
		if (r < 0)
			cor_fail_code(err, r, "the new thread %d does not stop",
				      rb->threads[i].inner);
	}
	return r;
}

/* --- what each thread does for itself --------------------------------------------- */

static int add_areas(struct cor_batch *b, const Cor__Task__Thread *t, struct cor_error *err)
{
	const struct { uint64_t sp; int32_t flags, pad; uint64_t size; } stack = {
		.sp = t->sas_sp, .size = t->sas_size,
		/* not SS_ONSTACK, which is a state and no setting */
		.flags = (int32_t)(t->sas_flags & ~(uint32_t)SS_ONSTACK),
	};
	uint64_t at;
	int r = 0;

	if (t->robust_list)
		r = cor_batch_add(b, COR_BATCH_OK, SYS_set_robust_list,
				  COR_ARGS(t->robust_list, t->robust_len), err,
				  "set thread %d's robust list", t->tid);
	if (r >= 0)
		r = cor_batch_data(b, &stack, sizeof(stack), &at, err);
	if (r >= 0)
		r = cor_batch_add(b, COR_BATCH_OK, SYS_sigaltstack, COR_ARGS(at), err,
				  "set thread %d's signal stack", t->tid);
	if (r >= 0)
		r = cor_batch_add(b, COR_BATCH_OK, SYS_set_tid_address, COR_ARGS(t->clear_child_tid),
				  err, "set thread %d's TID address", t->tid);
	if (r >= 0 && t->rseq)
		r = cor_batch_add(b, COR_BATCH_OK, SYS_rseq,
				  COR_ARGS(t->rseq, t->rseq_len, 0, t->rseq_sig), err,
				  "register thread %d's rseq area", t->tid);
	return r < 0 ? r : 0;
}

static int add_traits(struct cor_batch *b, const Cor__Task__Thread *t, struct cor_error *err)
{
	char name[16] = "";
	uint64_t at;
	int r;

	strncpy(name, t->comm, sizeof(name) - 1);
	r = cor_batch_data(b, name, sizeof(name), &at, err);
	if (r == 0)
		r = cor_batch_add(b, COR_BATCH_OK, SYS_prctl, COR_ARGS(PR_SET_NAME, at), err,
				  "name thread %d", t->tid);
	if (r >= 0 && t->timerslack)
		r = cor_batch_add(b, COR_BATCH_ANY, SYS_prctl,
				  COR_ARGS(PR_SET_TIMERSLACK, t->timerslack), err, "set the timer slack");
	return r < 0 ? r : 0;
}

/* Only a thread itself may queue what came from the kernel or another process. */
static int add_pending(struct cor_batch *b, const Cor__Task__Image *image,
		       const Cor__Task__Thread *t, bool process, struct cor_error *err)
{
	size_t n = process ? image->n_pending : t->n_pending;
	int r = 0;

	for (size_t i = 0; i < n && r >= 0; i++) {
		const ProtobufCBinaryData *d = process ? &image->pending[i] : &t->pending[i];
		const uint64_t pid = (uint64_t)image->threads[0]->tid, tid = (uint64_t)t->tid;
		int32_t sig;
		uint64_t at;

		if (d->len != sizeof(siginfo_t))
			return cor_fail(err, -EPROTO, "a pending signal of thread %d has %zu bytes",
					t->tid, d->len);
		memcpy(&sig, d->data, sizeof(sig));
		r = cor_batch_data(b, d->data, d->len, &at, err);
		if (r == 0 && process)
			r = cor_batch_add(b, COR_BATCH_OK, SYS_rt_sigqueueinfo,
					  COR_ARGS(pid, (uint64_t)sig, at), err,
					  "queue the pending signal %d", sig);
		else if (r == 0)
			r = cor_batch_add(b, COR_BATCH_OK, SYS_rt_tgsigqueueinfo,
					  COR_ARGS(pid, tid, (uint64_t)sig, at), err,
					  "queue thread %d's pending signal %d", t->tid, sig);
	}
	return r < 0 ? r : 0;
}

/* The last ones: a change of credentials resets the first two. */
static int add_last(struct cor_rebuild *rb, const Cor__Task__Image *image,
		    const Cor__Task__Thread *t, bool leader, struct cor_error *err)
{
	struct cor_batch *b = rb->batch;
	int r = 0;

	/* 2 can be had only from the kernel, for a set-user-ID program */
	if (leader && image->identity->dumpable < 2)
		r = cor_batch_add(b, COR_BATCH_OK, SYS_prctl,
				  COR_ARGS(PR_SET_DUMPABLE, image->identity->dumpable), err,
				  "set whether the process can be dumped");
	if (r >= 0 && t->pdeathsig)
		r = cor_batch_add(b, COR_BATCH_OK, SYS_prctl, COR_ARGS(PR_SET_PDEATHSIG, t->pdeathsig),
				  err, "set thread %d's parent-death signal", t->tid);
	if (r >= 0 && leader)
		r = cor_rebuild_trap_action(rb, image, err);
	return r < 0 ? r : 0;
}

static int run_thread(struct cor_rebuild *rb, const Cor__Task__Image *image, unsigned i,
		      const struct cor_creds_now *now, struct cor_error *err)
{
	const Cor__Task__Thread *t = image->threads[i];
	int r;

	cor_batch_thread(rb->batch, rb->threads[i].outer);
	r = add_areas(rb->batch, t, err);
	if (r == 0)
		r = add_traits(rb->batch, t, err);
	if (r == 0)
		r = add_pending(rb->batch, image, t, false, err);
	if (r == 0 && i == 0)
		r = add_pending(rb->batch, image, t, true, err);
	if (r == 0 && t->creds)
		r = cor_creds_add(rb->batch, now, t->creds, err);
	if (r == 0)
		r = add_last(rb, image, t, i == 0, err);
	return r < 0 ? r : cor_batch_flush(rb->batch, err);
}

/* What concerns the whole process; the leader's, in one list with its own. */
static int add_process(struct cor_rebuild *rb, const Cor__Task__Image *image,
		       struct cor_error *err)
{
	int r;

	cor_batch_thread(rb->batch, rb->pid);
	r = cor_rebuild_actions(rb, image, err);
	if (r == 0)
		r = cor_rebuild_process(rb, image, err);
	return r < 0 ? r : cor_rebuild_timers(rb, image, err);
}

static int run_threads(struct cor_rebuild *rb, const Cor__Task__Image *image,
		       struct cor_error *err)
{
	_cleanup_free_ char *status = NULL;
	struct cor_creds_now now;
	char path[32];
	int r;

	snprintf(path, sizeof(path), "/proc/%d/status", rb->pid);
	r = cor_slurp(AT_FDCWD, path, &status, NULL);
	if (r < 0)
		return cor_fail_code(err, r, "cannot read %s", path);
	cor_creds_read(&now, status);
	/* the leader last: it gives up privileges that process-wide settings want */
	for (unsigned i = rb->nthreads; i-- > 0 && r == 0;) {
		if (i == 0)
			r = add_process(rb, image, err);
		if (r == 0)
			r = run_thread(rb, image, i, &now, err);
	}
	return r;
}

/* --- registers ------------------------------------------------------------------ */

static int remove_runner(struct cor_rebuild *rb, struct cor_error *err)
{
	struct cor_runner *runner = take_ptr(rb->runner);

	cor_batch_free(take_ptr(rb->batch));
	return cor_runner_unmap(runner, rb->pid, err);
}

static int set_registers(struct cor_rebuild *rb, const Cor__Task__Image *image,
			 struct cor_error *err)
{
	struct user_regs_struct regs;
	int r = 0;

	for (unsigned i = rb->nthreads; i-- > 0 && r == 0;) {
		const Cor__Task__Thread *t = image->threads[i];

		r = cor_rebuild_begin_call(rb, rb->threads[i].outer, t, &regs, err);
		if (r == 0 && i == 0)
			r = remove_runner(rb, err);
		if (r == 0)
			r = cor_rebuild_registers(rb->threads[i].outer, t, &regs, err);
	}
	return r;
}

static int check(const struct cor_rebuild *rb, const Cor__Task__Image *image,
		 struct cor_error *err)
{
	if (rb->stage != COR_REBUILD_MEMORY)
		return cor_fail(err, -EINVAL, "process %d has no memory yet, or threads already",
				rb->inner_pid);
	if (!image->identity || !image->n_threads || image->threads[0]->tid != rb->inner_pid)
		return cor_fail(err, -EPROTO, "the image's first thread is not process %d's leader",
				rb->inner_pid);
	for (size_t i = 0; i < image->n_threads; i++)
		if (image->threads[i]->regs.len != sizeof(struct user_regs_struct))
			return cor_fail(err, -EPROTO, "the image's thread %d has registers of %zu bytes",
					image->threads[i]->tid, image->threads[i]->regs.len);
	return 0;
}

int cor_rebuild_threads(struct cor_rebuild *rb, const Cor__Task__Image *image,
			struct cor_error *err)
{
	int r = check(rb, image, err);

	if (r == 0)
		r = make_threads(rb, image, err);
	if (r == 0)
		cor_rebuild_limits(rb, image);
	if (r == 0)
		r = run_threads(rb, image, err);
	if (r == 0)
		r = cor_rebuild_outside(rb, image, err);
	if (r == 0)
		r = set_registers(rb, image, err);
	if (r == 0) {
		rb->stopped = image->stopped;
		rb->stage = COR_REBUILD_READY;
	}
	return r;
}
