/* The vDSO of a task that arrives.
 *
 * The task has pointers into the vDSO it was started with. Where that image is
 * this kernel's own, the stub's vDSO moves to the old place, its data pages with
 * it. Where it is another, this kernel's stays out of the way, and the old image
 * comes back as ordinary memory whose functions jump there. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>

#include "libcor/base/cleanup.h"
#include "libcor/base/error.h"
#include "libcor/task/rebuild_private.h"
#include "libcor/task/vdso.h"

#define MARGIN (64u << 20)
#define LARGEST (1u << 20)      /* no vDSO is that large */

struct parts {
	struct cor_range part[8];
	unsigned n;
};

static bool part_of_vdso(enum cor_range_kind kind)
{
	return kind == COR_RANGE_VDSO || kind == COR_RANGE_VVAR;
}

static int pick(const struct cor_layout *l, struct parts *p, struct cor_error *err)
{
	p->n = 0;
	for (size_t i = 0; i < l->n; i++) {
		if (!part_of_vdso(l->ranges[i].kind))
			continue;
		if (p->n == ARRAY_SIZE(p->part))
			return cor_fail(err, -EOPNOTSUPP, "the vDSO is in more than %zu parts",
					ARRAY_SIZE(p->part));
		p->part[p->n++] = l->ranges[i];
	}
	return 0;
}

static const struct cor_range *code_of(const struct parts *p)
{
	for (unsigned i = 0; i < p->n; i++)
		if (p->part[i].kind == COR_RANGE_VDSO)
			return &p->part[i];
	return NULL;
}

/* Same parts, same sizes, same distances. */
static bool same_shape(const struct parts *a, const struct parts *b)
{
	if (a->n != b->n)
		return false;
	for (unsigned i = 0; i < a->n; i++)
		if (a->part[i].kind != b->part[i].kind ||
		    a->part[i].start - a->part[0].start != b->part[i].start - b->part[0].start ||
		    a->part[i].end - a->part[i].start != b->part[i].end - b->part[i].start)
			return false;
	return true;
}

static int read_code(struct cor_rebuild *rb, const struct cor_range *code, unsigned char **out,
		     struct cor_error *err)
{
	size_t len = code->end - code->start;
	_cleanup_free_ unsigned char *copy = malloc(len);
	struct iovec here = { copy, len }, there = { (void *)code->start, len };

	if (!copy)
		return cor_fail(err, -ENOMEM, "out of memory");
	if (process_vm_readv(rb->pid, &here, 1, &there, 1, 0) != (ssize_t)len)
		return cor_fail_errno(err, "cannot read this kernel's vDSO");
	*out = take_ptr(copy);
	return 0;
}

static int move_parts(struct cor_batch *b, struct parts *p, uint64_t to, struct cor_error *err)
{
	uint64_t from = p->part[0].start;
	int r = 0;

	for (unsigned i = 0; i < p->n && r >= 0; i++) {
		struct cor_range *x = &p->part[i];
		uint64_t len = x->end - x->start, at = to + (x->start - from);

		r = cor_batch_add(b, COR_BATCH_OK, SYS_mremap,
				  COR_ARGS(x->start, len, len, MREMAP_MAYMOVE | MREMAP_FIXED, at), err,
				  "move the vDSO from %#lx to %#lx", (unsigned long)x->start,
				  (unsigned long)at);
		x->start = at;
		x->end = at + len;
	}
	return r < 0 ? r : 0;
}

static uint64_t span(const struct parts *p)
{
	return p->part[p->n - 1].end - p->part[0].start;
}

static int find_room(struct cor_memory_job *job, uint64_t len, uint64_t *at, struct cor_error *err)
{
	uint64_t s, e;

	/* the runner has come since all was read */
	cor_runner_range(job->rb->runner, &s, &e);
	if (cor_layout_add(&job->all, s, e, COR_RANGE_OTHER) < 0)
		return cor_fail(err, -ENOMEM, "out of memory");
	*at = cor_layout_hole(&job->all, len, MARGIN);
	if (!*at)
		*at = cor_layout_hole(&job->all, len, 0);
	return *at ? 0 : cor_fail(err, -ENOMEM, "there is no room for this kernel's vDSO");
}

static int move_home(struct cor_memory_job *job, struct parts *own, uint64_t to,
		     struct cor_error *err)
{
	uint64_t from = own->part[0].start, len = span(own), spare;
	int r = 0;

	if (from == to)
		return 0;
	/* mremap refuses to move a mapping onto itself */
	if (from < to + len && to < from + len) {
		r = find_room(job, len, &spare, err);
		if (r == 0)
			r = move_parts(job->rb->batch, own, spare, err);
	}
	return r < 0 ? r : move_parts(job->rb->batch, own, to, err);
}

static bool in_the_way(const struct cor_memory_job *job, const struct parts *own)
{
	const Cor__Task__Memory *m = job->memory;

	for (size_t i = 0; i < m->n_vmas; i++)
		if (m->vmas[i]->start < own->part[own->n - 1].end &&
		    own->part[0].start < m->vmas[i]->end)
			return true;
	return false;
}

/* A thread may have been stopped anywhere in the old vDSO: it goes on in the old
 * code, unless the jumps were written over just that place. */
static int check_threads(const struct cor_memory_job *job, const unsigned char *now,
			 size_t now_len, uint64_t old_base, struct cor_error *err)
{
	const Cor__Task__Image *image = job->image;
	struct cor_vdso old, new;
	struct user_regs_struct regs;

	if (cor_vdso_parse(&old, job->memory->vdso.data, job->memory->vdso.len, err) < 0 ||
	    cor_vdso_parse(&new, now, now_len, err) < 0)
		return -ENOEXEC;
	for (size_t i = 0; i < image->n_threads; i++) {
		if (image->threads[i]->regs.len != sizeof(regs))
			continue;
		memcpy(&regs, image->threads[i]->regs.data, sizeof(regs));
		if (regs.rip >= old_base && cor_vdso_in_jump(&old, &new, regs.rip - old_base))
			return cor_fail(err, -EAGAIN, "thread %d was stopped at the entry of a vDSO "
					"function that must be redirected", image->threads[i]->tid);
	}
	return 0;
}

static int redirect_old(struct cor_memory_job *job, const struct cor_range *own,
			const unsigned char *now, const struct cor_range *old,
			struct cor_error *err)
{
	const ProtobufCBinaryData *image = &job->memory->vdso;
	size_t now_len = own->end - own->start;
	int r;

	if (image->len > old->end - old->start || image->len > LARGEST)
		return cor_fail(err, -EPROTO, "the image's vDSO is larger than its mapping");
	r = check_threads(job, now, now_len, old->start, err);
	if (r < 0)
		return r;
	job->old_vdso = malloc(image->len);
	if (!job->old_vdso)
		return cor_fail(err, -ENOMEM, "out of memory");
	memcpy(job->old_vdso, image->data, image->len);
	job->old_vdso_at = old->start;
	r = cor_vdso_redirect(job->old_vdso, image->len, old->start, now, now_len, own->start, err);
	return r < 0 ? r : 0;
}

static int place_foreign(struct cor_memory_job *job, struct parts *own, const unsigned char *now,
			 const struct parts *old, struct cor_error *err)
{
	const struct cor_range *code = code_of(old);
	uint64_t at;
	int r = 0;

	if (in_the_way(job, own)) {
		r = find_room(job, span(own), &at, err);
		if (r == 0)
			r = move_parts(job->rb->batch, own, at, err);
	}
	if (r == 0 && code)
		r = redirect_old(job, code_of(own), now, code, err);
	return r;
}

int cor_rebuild_place_vdso(struct cor_memory_job *job, struct cor_error *err)
{
	const ProtobufCBinaryData *image = &job->memory->vdso;
	_cleanup_free_ unsigned char *now = NULL;
	struct cor_layout theirs = { 0 };
	struct parts own, old;
	int r = cor_layout_add_image(&theirs, job->memory);
	bool same;

	if (r < 0)
		cor_fail(err, r, "out of memory");
	if (r == 0)
		r = pick(&job->stub, &own, err);
	if (r == 0)
		r = pick(&theirs, &old, err);
	cor_layout_clear(&theirs);
	if (r < 0)
		return r;
	if (!code_of(&own))
		return code_of(&old) ? cor_fail(err, -ENOTSUP, "this kernel gives no vDSO, which the "
						"task needs") : 0;
	r = read_code(job->rb, code_of(&own), &now, err);
	if (r < 0)
		return r;
	same = same_shape(&own, &old) && !job->rb->foreign_vdso &&
		image->len == code_of(&own)->end - code_of(&own)->start &&
		!memcmp(image->data, now, image->len);
	if (same)
		return move_home(job, &own, old.part[0].start, err);
	return place_foreign(job, &own, now, &old, err);
}
