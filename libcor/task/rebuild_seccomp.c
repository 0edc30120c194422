/* The filters of system calls of an arriving task, installed by its threads. Ours stay
 * suspended until a thread is let go (seccomp.h). */
#include "libcor/task/rebuild_private.h"

#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>

#include "libcor/base/error.h"
#include "libcor/task/seccomp.h"

/* How many filters, the oldest, all threads have in common: these are the same for the kernel
 * as well, so that SECCOMP_FILTER_FLAG_TSYNC goes on to be possible. */
static size_t in_common(const Cor__Task__Image *image)
{
	const Cor__Task__Thread *leader = image->threads[0];
	size_t n = leader->n_filters;

	for (size_t i = 1; i < image->n_threads; i++) {
		const Cor__Task__Thread *t = image->threads[i];
		size_t k = 0;

		while (k < n && k < t->n_filters && t->filters[k] == leader->filters[k])
			k++;
		n = k;
	}
	return n;
}

static int add_filter(struct cor_rebuild *rb, const Cor__Task__SeccompFilter *f, uint32_t flags,
		      struct cor_error *err)
{
	struct { uint16_t len, pad[3]; uint64_t program; } prog = {
		.len = (uint16_t)(f->program.len / sizeof(struct sock_filter)),
	};
	uint64_t at;
	int r = cor_batch_reserve(rb->batch, 1, f->program.len + sizeof(prog) + 64, err);

	if (r == 0)
		r = cor_batch_data(rb->batch, f->program.data, f->program.len, &prog.program, err);
	if (r == 0)
		r = cor_batch_data(rb->batch, &prog, sizeof(prog), &at, err);
	if (r == 0)
		r = cor_batch_add(rb->batch, COR_BATCH_OK, SYS_seccomp,
				  COR_ARGS(SECCOMP_SET_MODE_FILTER, f->flags | flags, at), err,
				  "install a seccomp filter of %zu instructions",
				  f->program.len / sizeof(struct sock_filter));
	return r < 0 ? r : 0;
}

static int suspend(const struct cor_rebuild *rb, struct cor_error *err)
{
	for (unsigned i = 0; i < rb->nthreads; i++)
		if (ptrace(PTRACE_SETOPTIONS, rb->threads[i].outer, NULL,
			   PTRACE_O_EXITKILL | PTRACE_O_SUSPEND_SECCOMP) < 0)
			return cor_fail_errno(err, "seccomp filters cannot be suspended here");
	return 0;
}

int cor_rebuild_filters(struct cor_rebuild *rb, const Cor__Task__Image *image,
			struct cor_error *err)
{
	size_t common = in_common(image);
	int r = cor_seccomp_any(image) ? suspend(rb, err) : 0;

	cor_batch_thread(rb->batch, rb->pid);
	for (size_t k = 0; k < common && r == 0; k++)
		r = add_filter(rb, image->filters[image->threads[0]->filters[k]],
			       SECCOMP_FILTER_FLAG_TSYNC, err);
	if (r == 0 && common)
		r = cor_batch_flush(rb->batch, err);
	for (unsigned i = 0; i < rb->nthreads && r == 0; i++) {
		const Cor__Task__Thread *t = image->threads[i];

		cor_batch_thread(rb->batch, rb->threads[i].outer);
		for (size_t k = common; k < t->n_filters && r == 0; k++)
			r = add_filter(rb, image->filters[t->filters[k]], 0, err);
		if (r == 0 && t->n_filters > common)
			r = cor_batch_flush(rb->batch, err);
	}
	return r;
}
