/* rebuild: threads that sleep, set up ahead of the freeze by what is known of them then. In it,
 * of those that have not run since nothing is left to do.
 *
 * The task's memory is not here yet, and its pager does not run: what would read or write there
 * must wait. A thread's rseq area the kernel writes to whenever it goes back to user space; the
 * pages of zeros that makes are taken away again. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>

#include "libcor/base/cleanup.h"
#include "libcor/base/error.h"
#include "libcor/base/io.h"
#include "libcor/task/rebuild_private.h"
#include "libcor/task/restart.h"

#define SOON_NS 10000000u

/* Where pages of zeros can be taken away as if they had never been. */
static const Cor__Task__Vma *rseq_vma(const Cor__Task__Memory *m, const Cor__Task__Thread *t)
{
	const Cor__Task__Vma *v = cor_rebuild_vma_at(m, t->rseq);

	return v && v->kind == COR__TASK__VMA_KIND__ANON && t->rseq_len <= v->end - t->rseq &&
	       !(v->flags & COR__TASK__VMA_FLAG__LOCKED) ? v : NULL;
}

/* As it was announced, which is what has been permitted. Securebits are told by the thread only. */
static bool same_owner(const Cor__Task__Image *skeleton, const Cor__Task__Thread *t)
{
	for (size_t i = 0; i < skeleton->n_threads; i++) {
		Cor__Task__Credentials said;

		if (skeleton->threads[i]->tid != t->tid || !skeleton->threads[i]->creds || !t->creds)
			continue;
		said = *skeleton->threads[i]->creds;
		said.securebits = t->creds->securebits;
		return cor_creds_same(&said, t->creds);
	}
	return false;
}

static bool can_be_set_up(const Cor__Task__Image *skeleton, const Cor__Task__Thread *t)
{
	return t->regs.len == sizeof(struct user_regs_struct) && !t->seccomp && !t->n_pending &&
	       same_owner(skeleton, t) && (!t->rseq || rseq_vma(skeleton->memory, t));
}

/* A call to begin again that touches no memory of the task's. */
static bool can_begin(const Cor__Task__Thread *t)
{
	struct user_regs_struct regs;

	memcpy(&regs, t->regs.data, sizeof(regs));
	return t->remaining_ns > SOON_NS &&
	       ((regs.orig_rax == SYS_nanosleep && !regs.rsi) ||
		(regs.orig_rax == SYS_clock_nanosleep && !regs.r10));
}

static struct cor_rebuild_thread *find(struct cor_rebuild *rb, int32_t inner)
{
	for (unsigned i = 1; i < rb->nthreads; i++)
		if (rb->threads[i].inner == inner)
			return &rb->threads[i];
	return NULL;
}

/* The calls of all. */
static int add_all(struct cor_rebuild *rb, const Cor__Task__Image *skeleton,
		   const Cor__Task__Sleepers *s, uint64_t from_ns, struct cor_error *err)
{
	struct cor_creds_now now;
	int r = 0;

	cor_creds_read(&now, rb->status);
	for (size_t i = 0; i < s->n_threads && r == 0; i++) {
		Cor__Task__Thread *t = s->threads[i];
		struct cor_rebuild_thread *thread = find(rb, t->tid);
		uint64_t late = cor_now_ns() - from_ns;

		if (!thread || thread->ahead || !can_be_set_up(skeleton, t))
			continue;
		thread->ahead = t;
		t->remaining_ns -= COR_MIN(late, t->remaining_ns);
		cor_batch_thread(rb->batch, thread->outer);
		r = cor_rebuild_add_thread(rb, t, &now, err);
		if (r == 0 && t->restart == COR__TASK__RESTART_KIND__RESTART_BLOCK && can_begin(t))
			r = cor_rebuild_begin_call(rb, (unsigned)(thread - rb->threads), t, err);
	}
	return r < 0 ? r : cor_batch_flush(rb->batch, err);
}

/* Page by page: a kernel that takes page tables away with what was in them (from 6.14 on) does so
 * for 2 MiB and more, and to have one made anew in the freeze may cost more than its pages. */
static int drop_zeros(struct cor_rebuild *rb, const Cor__Task__Image *skeleton,
		      struct cor_error *err)
{
	int r = 0;

	cor_batch_thread(rb->batch, rb->pid);
	for (unsigned i = 1; i < rb->nthreads && r >= 0; i++) {
		const Cor__Task__Thread *t = rb->threads[i].ahead;
		uint64_t first, end;

		if (!t || !t->rseq || !rseq_vma(skeleton->memory, t))
			continue;
		first = t->rseq & ~(uint64_t)(COR_PAGE_SIZE - 1);
		end = t->rseq + t->rseq_len;
		r = cor_batch_add(rb->batch, COR_BATCH_OK, SYS_madvise,
				  COR_ARGS(first, end - first, MADV_DONTNEED), err,
				  "empty the page at %#lx", (unsigned long)first);
	}
	return r < 0 ? r : cor_batch_flush(rb->batch, err);
}

/* Its registers, where it has begun its call or has none to begin. */
static int set_up(struct cor_rebuild *rb, unsigned i, struct cor_error *err)
{
	struct cor_rebuild_thread *thread = &rb->threads[i];
	const Cor__Task__Thread *t = thread->ahead;
	int r;

	if (!t || (t->restart == COR__TASK__RESTART_KIND__RESTART_BLOCK &&
		   thread->waited != COR_RESTARTBLOCK))
		return 0;
	r = cor_rebuild_registers(rb, i, t, err);
	if (r == 0)
		r = cor_rebuild_thread_outside(rb, thread, t, err);
	thread->ready = r == 0;
	return r;
}

int cor_rebuild_threads_asleep(struct cor_rebuild *rb, const Cor__Task__Image *skeleton,
			       const Cor__Task__Sleepers *s, uint64_t from_ns, struct cor_error *err)
{
	int r = rb->stage == COR_REBUILD_MEMORY && rb->status ? 0 :
		cor_fail(err, -EINVAL, "process %d has no threads yet", rb->inner_pid);

	if (r == 0)
		r = add_all(rb, skeleton, s, from_ns, err);
	rb->begun_ns = cor_now_ns();
	if (r == 0)
		r = drop_zeros(rb, skeleton, err);
	for (unsigned i = 1; i < rb->nthreads && r == 0; i++)
		r = set_up(rb, i, err);
	return r;
}

/* ---- in the freeze -------------------------------------------------------------- */

static bool fits(const struct cor_rebuild *rb, const struct cor_rebuild_thread *thread,
		 const Cor__Task__Image *image)
{
	const Cor__Task__Thread *was = thread->ahead;

	for (size_t i = 1; i < image->n_threads; i++) {
		const Cor__Task__Thread *is = image->threads[i];

		if (is->tid == thread->inner)
			return is == was ||
			       (is->rseq == was->rseq && is->rseq_len == was->rseq_len &&
				is->rseq_sig == was->rseq_sig && cor_creds_same(is->creds, was->creds));
	}
	return false;
}

int cor_rebuild_threads_fit(const struct cor_rebuild *rb, const Cor__Task__Image *image,
			    struct cor_error *err)
{
	for (unsigned i = 1; i < rb->nthreads; i++)
		if (rb->threads[i].ahead &&
		    (image->n_filters || !fits(rb, &rb->threads[i], image)))
			return cor_fail(err, -ESTALE, "thread %d has changed since it was made",
					rb->threads[i].inner);
	return 0;
}
