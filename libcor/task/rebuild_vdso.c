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
	if (!*at || cor_layout_add(&job->all, *at, *at + len, COR_RANGE_OTHER) < 0)
		return cor_fail(err, -ENOMEM, "there is no room for another vDSO");
	return 0;
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

/* A second copy of the old vDSO, without jumps, and with zeros where its data was. */
static int make_spare(struct cor_memory_job *job, const struct parts *old, uint64_t *shift,
		      struct cor_error *err)
{
	uint64_t at;
	int r = find_room(job, span(old), &at, err);

	if (r < 0)
		return r;
	*shift = at - old->part[0].start;
	for (unsigned i = 0; i < old->n && r >= 0; i++) {
		const struct cor_range *p = &old->part[i];
		bool code = p->kind == COR_RANGE_VDSO;

		r = cor_batch_add(job->rb->batch, COR_BATCH_EXACT, SYS_mmap,
				  COR_ARGS(p->start + *shift, p->end - p->start,
					   code ? PROT_READ | PROT_EXEC : PROT_READ,
					   MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, ~0ull),
				  err, "map a copy of the old vDSO");
	}
	job->spare_vdso_at = code_of(old)->start + *shift;
	return r < 0 ? r : 0;
}

/* A thread may have been stopped anywhere in the old vDSO: it goes on in the old
 * code. Where a jump was written over just that place, it does so in the copy. */
static int detour_threads(struct cor_memory_job *job, const unsigned char *now, size_t now_len,
			  const struct parts *old, struct cor_error *err)
{
	const Cor__Task__Image *image = job->image;
	uint64_t base = code_of(old)->start, shift = 0;
	struct cor_rebuild *rb = job->rb;
	struct cor_vdso from, to;
	int r = cor_vdso_parse(&from, job->memory->vdso.data, job->memory->vdso.len, err);

	if (r == 0)
		r = cor_vdso_parse(&to, now, now_len, err);
	rb->detours = calloc(image->n_threads + 1, sizeof(*rb->detours));
	if (r == 0 && !rb->detours)
		r = cor_fail(err, -ENOMEM, "out of memory");
	for (size_t i = 0; i < image->n_threads && r == 0; i++) {
		struct user_regs_struct regs;

		if (image->threads[i]->regs.len != sizeof(regs))
			continue;
		memcpy(&regs, image->threads[i]->regs.data, sizeof(regs));
		if (regs.rip < base || !cor_vdso_in_jump(&from, &to, regs.rip - base))
			continue;
		if (!shift)
			r = make_spare(job, old, &shift, err);
		rb->detours[rb->ndetours++] = (struct cor_detour){ regs.rip, regs.rip + shift };
	}
	return r;
}

static int redirect_old(struct cor_memory_job *job, const struct cor_range *own,
			const unsigned char *now, const struct parts *parts,
			struct cor_error *err)
{
	const ProtobufCBinaryData *image = &job->memory->vdso;
	const struct cor_range *old = code_of(parts);
	size_t now_len = own->end - own->start;
	int r;

	if (image->len > old->end - old->start || image->len > LARGEST)
		return cor_fail(err, -EPROTO, "the image's vDSO is larger than its mapping");
	r = detour_threads(job, now, now_len, parts, err);
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
	uint64_t at;
	int r = 0;

	if (in_the_way(job, own)) {
		r = find_room(job, span(own), &at, err);
		if (r == 0)
			r = move_parts(job->rb->batch, own, at, err);
	}
	if (r == 0 && code_of(old))
		r = redirect_old(job, code_of(own), now, old, err);
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
