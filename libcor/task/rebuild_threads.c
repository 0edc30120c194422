/* rebuild's thread phase: all that belongs to a thread or its process besides memory.
 * The threads themselves are made in rebuild_clone.c. */
#include <errno.h>
#include <fcntl.h>
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
#include "libcor/task/seccomp.h"

/* --- what each thread does for itself --------------------------------------------- */

static int add_areas(struct cor_batch *b, const Cor__Task__Thread *t, bool rseq,
		     struct cor_error *err)
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
	if (r >= 0 && t->rseq && rseq)
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

/* The last ones: a change of credentials resets both. */
static int add_dumpable(struct cor_batch *b, const Cor__Task__Image *image, struct cor_error *err)
{
	int r = 0;

	/* 2 can be had only from the kernel, for a set-user-ID program */
	if (image->identity->dumpable < 2)
		r = cor_batch_add(b, COR_BATCH_OK, SYS_prctl,
				  COR_ARGS(PR_SET_DUMPABLE, image->identity->dumpable), err,
				  "set whether the process can be dumped");
	return r < 0 ? r : 0;
}

static int add_pdeathsig(struct cor_batch *b, const Cor__Task__Thread *t, struct cor_error *err)
{
	int r = 0;

	if (t->pdeathsig)
		r = cor_batch_add(b, COR_BATCH_OK, SYS_prctl, COR_ARGS(PR_SET_PDEATHSIG, t->pdeathsig),
				  err, "set thread %d's parent-death signal", t->tid);
	return r < 0 ? r : 0;
}

/* Those of a thread that are neither signals nor anything of the leader's. */
int cor_rebuild_add_thread(struct cor_rebuild *rb, const Cor__Task__Thread *t,
			   const struct cor_creds_now *now, struct cor_error *err)
{
	int r = add_areas(rb->batch, t, true, err);

	if (r == 0)
		r = add_traits(rb->batch, t, err);
	if (r == 0 && t->creds)
		r = cor_creds_add(rb->batch, now, t->creds, err);
	return r == 0 ? add_pdeathsig(rb->batch, t, err) : r;
}

static bool same_settings(const Cor__Task__Thread *a, const Cor__Task__Thread *b)
{
	return a->sas_sp == b->sas_sp && a->sas_flags == b->sas_flags && a->sas_size == b->sas_size &&
	       a->robust_list == b->robust_list && a->robust_len == b->robust_len &&
	       a->clear_child_tid == b->clear_child_tid && a->timerslack == b->timerslack &&
	       a->pdeathsig == b->pdeathsig && strcmp(a->comm, b->comm) == 0;
}

/* The list of the image's thread i, if it has one. What was made ahead can be made again, but for
 * two things: a registration stays, and who has given up privileges has none to set credentials
 * with. These are the same (rebuild_asleep.c). */
static int add_thread(struct cor_rebuild *rb, const Cor__Task__Image *image, unsigned i,
		      const struct cor_creds_now *now, struct cor_error *err)
{
	const Cor__Task__Thread *t = image->threads[i];
	const Cor__Task__Thread *ahead = rb->threads[i].ahead;
	bool settled = ahead && same_settings(ahead, t);
	int r = 0;

	if (cor_rebuild_is_ready(rb, i, t))
		return 0;
	cor_batch_thread(rb->batch, rb->threads[i].outer);
	if (!settled)
		r = add_areas(rb->batch, t, !ahead, err);
	if (r == 0 && !settled)
		r = add_traits(rb->batch, t, err);
	if (r == 0)
		r = add_pending(rb->batch, image, t, false, err);
	if (r == 0 && i == 0)
		r = add_pending(rb->batch, image, t, true, err);
	if (r == 0 && t->creds && !ahead)
		r = cor_creds_add(rb->batch, now, t->creds, err);
	if (r == 0 && i == 0)
		r = add_dumpable(rb->batch, image, err);
	if (r == 0 && !settled)
		r = add_pdeathsig(rb->batch, t, err);
	return r ? r : cor_rebuild_begin_call(rb, i, t, err);
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
	if (r == 0)
		r = cor_rebuild_set_strings(rb, image, err);
	return r < 0 ? r : cor_rebuild_timers(rb, image, err);
}

static int run_threads(struct cor_rebuild *rb, const Cor__Task__Image *image,
		       struct cor_error *err)
{
	struct cor_creds_now now;
	int r = cor_rebuild_look(rb, err);

	if (r < 0)
		return r;
	r = cor_rebuild_filters(rb, image, err);
	if (r < 0)
		return r;
	cor_creds_read(&now, rb->status);
	/* all at once, but the leader last: it gives up privileges that process-wide
	 * settings want, and a change of credentials undoes some of them */
	for (unsigned i = 1; i < rb->nthreads && r == 0; i++)
		r = add_thread(rb, image, i, &now, err);
	if (r == 0 && rb->nthreads > 1)
		r = cor_batch_flush(rb->batch, err);
	if (r == 0)
		r = add_process(rb, image, err);
	if (r == 0)
		r = add_thread(rb, image, 0, &now, err);
	return r < 0 ? r : cor_batch_flush(rb->batch, err);
}

/* --- registers ------------------------------------------------------------------ */

/* It is unmapped there; what is left of it here can wait. */
static int leave_runner(struct cor_rebuild *rb, struct cor_error *err)
{
	cor_batch_free(take_ptr(rb->batch));
	return cor_runner_leave(rb->runner, rb->pid, err);
}

static int set_registers(struct cor_rebuild *rb, const Cor__Task__Image *image,
			 struct cor_error *err)
{
	int r;

	rb->begun_ns = cor_now_ns();
	rb->waits.list = calloc(rb->nthreads, sizeof(*rb->waits.list));
	if (!rb->waits.list)
		return cor_fail(err, -ENOMEM, "out of memory");
	r = leave_runner(rb, err);
	for (unsigned i = rb->nthreads; i-- > 0 && r == 0;) {
		const Cor__Task__Thread *t = image->threads[i];

		if (!cor_rebuild_is_ready(rb, i, t))
			r = cor_rebuild_registers(rb, i, t, err);
		if (r == 0 && rb->threads[i].until_ns)
			rb->waits.list[rb->waits.n++] = cor_rebuild_wait(rb, i, t);
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
	return cor_seccomp_check(image, err);
}

/* The stub as it is, before any of its credentials change. */
int cor_rebuild_look(struct cor_rebuild *rb, struct cor_error *err)
{
	char path[32];
	int r;

	if (rb->status)
		return 0;
	snprintf(path, sizeof(path), "/proc/%d/status", rb->pid);
	r = cor_slurp(AT_FDCWD, path, &rb->status, NULL);
	return r < 0 ? cor_fail_code(err, r, "cannot read %s", path) : 0;
}

int cor_rebuild_threads_ahead(struct cor_rebuild *rb, const Cor__Task__Image *skeleton,
			      struct cor_error *err)
{
	int r = rb->stage == COR_REBUILD_MEMORY ? 0 :
		cor_fail(err, -EINVAL, "process %d has no memory yet", rb->inner_pid);

	if (r == 0)
		r = cor_rebuild_clone(rb, skeleton, err);
	if (r == 0)
		r = cor_rebuild_look(rb, err);
	if (r == 0)
		cor_rebuild_outside_ahead(rb, skeleton);
	return r;
}

int cor_rebuild_threads(struct cor_rebuild *rb, const Cor__Task__Image *image,
			struct cor_error *err)
{
	int r = check(rb, image, err);

	if (r == 0)
		r = cor_rebuild_clone(rb, image, err);
	if (r == 0) {
		/* what follows ends in registers */
		cor_runner_bare(rb->runner);
		cor_rebuild_limits(rb, image);
	}
	if (r == 0)
		r = run_threads(rb, image, err);
	if (r == 0)
		r = set_registers(rb, image, err);
	/* behind the last call that is waited for: with the task's priority it would come
	 * when that says so, and not when we do */
	if (r == 0)
		r = cor_rebuild_outside(rb, image, err);
	if (r == 0) {
		rb->stopped = image->stopped;
		rb->stage = COR_REBUILD_READY;
	}
	return r;
}
