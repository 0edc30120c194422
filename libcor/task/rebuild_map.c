/* Every mapping of an arriving task, and the list of those that are lazy. */
#include <errno.h>
#include <inttypes.h>
#include <linux/prctl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "libcor/base/cleanup.h"
#include "libcor/base/compat.h"
#include "libcor/base/error.h"
#include "libcor/task/rebuild_private.h"

static int add_region(struct cor_memory_job *job, const struct cor_region *r,
		      struct cor_error *err)
{
	if (job->nregions == job->room) {
		unsigned room = job->room ? job->room * 2 : 64;
		struct cor_region *bigger = reallocarray(job->regions, room, sizeof(*bigger));

		if (!bigger)
			return cor_fail(err, -ENOMEM, "out of memory");
		job->regions = bigger;
		job->room = room;
	}
	job->regions[job->nregions++] = *r;
	return 0;
}

/* flags: on top of MAP_FIXED_NOREPLACE, which is replaced by MAP_FIXED where
 * given. A batch's number is no success code here: 0 or -errno. */
static int add_mmap(struct cor_memory_job *job, const Cor__Task__Vma *v, uint64_t start,
		    uint64_t len, int flags, int fd, uint64_t off, struct cor_error *err)
{
	int r;

	if (!(flags & MAP_FIXED))
		flags |= MAP_FIXED_NOREPLACE;
	if (v->flags & COR__TASK__VMA_FLAG__NORESERVE)
		flags |= MAP_NORESERVE;
	r = cor_batch_add(job->rb->batch, COR_BATCH_EXACT, SYS_mmap,
			  COR_ARGS(start, len, v->prot, (uint64_t)flags, (uint64_t)fd, off), err,
			  "map %#" PRIx64 "-%#" PRIx64 " %s", start, start + len, v->name);
	return r < 0 ? r : 0;
}

static int map_lazy(struct cor_memory_job *job, const Cor__Task__Vma *v, uint64_t start,
		    uint64_t len, int flags, bool whole, struct cor_error *err)
{
	const struct cor_region region = { .start = start, .len = len, .offset = start,
					   .whole = whole };
	int r = add_mmap(job, v, start, len, MAP_PRIVATE | MAP_ANONYMOUS | flags, -1, 0, err);

	return r < 0 ? r : add_region(job, &region, err);
}

static int map_anon(struct cor_memory_job *job, const Cor__Task__Vma *v, struct cor_error *err)
{
	int flags = v->flags & COR__TASK__VMA_FLAG__GROWSDOWN ? MAP_GROWSDOWN | MAP_STACK : 0;

	return map_lazy(job, v, v->start, v->end - v->start, flags, false, err);
}

/* Runs of pages that are no more the file's or object's: anonymous memory over it. */
static int map_runs(struct cor_memory_job *job, const Cor__Task__Vma *v, struct cor_error *err)
{
	int r = 0;

	for (size_t i = 0; i < v->n_written && r == 0; i++) {
		uint64_t start = v->written[i]->start;
		uint64_t len = (uint64_t)v->written[i]->npages * COR_PAGE_SIZE;

		if (v->written_lazy)
			r = map_lazy(job, v, start, len, MAP_FIXED, true, err);
		else
			r = add_mmap(job, v, start, len,
				     MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0, err);
	}
	return r;
}

static int map_file(struct cor_memory_job *job, const Cor__Task__Vma *v, struct cor_error *err)
{
	bool shared = v->kind == COR__TASK__VMA_KIND__FILE_SHARED;
	uint64_t len = v->end - v->start;
	int r;

	/* one that is mapped shared may have been found by its name */
	if (shared ? job->file_fds[v->file] < 0 : !job->file_ok[v->file])
		return map_lazy(job, v, v->start, len, 0, true, err);
	r = add_mmap(job, v, v->start, len, shared ? MAP_SHARED : MAP_PRIVATE,
		     job->file_fds[v->file], v->pgoff, err);
	/* what is not lazy is written over the file's pages later */
	if (r == 0 && v->written_lazy)
		r = map_runs(job, v, err);
	return r;
}

static int add_object_region(struct cor_memory_job *job, const Cor__Task__Vma *v,
			     uint64_t start, uint64_t end, struct cor_error *err)
{
	const struct cor_region region = {
		.start = start, .len = end - start, .offset = v->pgoff + (start - v->start),
		.object = (uint16_t)v->object, .shared = true,
	};

	return end > start ? add_region(job, &region, err) : 0;
}

/* All of v that is not written privately. */
static int add_object_regions(struct cor_memory_job *job, const Cor__Task__Vma *v,
			      struct cor_error *err)
{
	uint64_t at = v->start;
	int r = 0;

	for (size_t i = 0; i < v->n_written && r == 0; i++) {
		const Cor__Task__Run *run = v->written[i];

		r = add_object_region(job, v, at, run->start, err);
		at = run->start + (uint64_t)run->npages * COR_PAGE_SIZE;
	}
	return r < 0 ? r : add_object_region(job, v, at, v->end, err);
}

static int map_object(struct cor_memory_job *job, const Cor__Task__Vma *v, struct cor_error *err)
{
	const Cor__Task__Object *o = job->memory->objects[v->object - 1];
	bool private = v->kind == COR__TASK__VMA_KIND__SHMEM_PRIVATE;
	int r;

	if (v->object > job->nobjects)
		return cor_fail(err, -EINVAL, "no descriptor was given for shared memory object %u (%s)",
				v->object, o->name);
	r = add_mmap(job, v, v->start, v->end - v->start, private ? MAP_PRIVATE : MAP_SHARED,
		     job->object_fds[v->object - 1], v->pgoff, err);
	/* its bytes are there already where read(2) must see them */
	if (r == 0 && !o->has_descriptor)
		r = add_object_regions(job, v, err);
	/* written in place, such a page would make a zero page in the object first */
	if (r == 0 && private)
		r = map_runs(job, v, err);
	return r;
}

/* Where the kernel's own vDSO went elsewhere, the old one is ordinary memory. A
 * thread in the midst of the old code must find its data pages readable: in
 * zeros it reads "no clock here" and makes the system call. */
static int map_old_vdso(struct cor_memory_job *job, const Cor__Task__Vma *v,
			struct cor_error *err)
{
	if (!job->old_vdso)
		return 0;
	return add_mmap(job, v, v->start, v->end - v->start, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0, err);
}

static int map_one(struct cor_memory_job *job, const Cor__Task__Vma *v, struct cor_error *err)
{
	switch (v->kind) {
	case COR__TASK__VMA_KIND__ANON:
		return map_anon(job, v, err);
	case COR__TASK__VMA_KIND__FILE_PRIVATE:
	case COR__TASK__VMA_KIND__FILE_SHARED:
		return map_file(job, v, err);
	case COR__TASK__VMA_KIND__SHMEM:
	case COR__TASK__VMA_KIND__SHMEM_PRIVATE:
		return map_object(job, v, err);
	case COR__TASK__VMA_KIND__VDSO:
	case COR__TASK__VMA_KIND__VVAR:
		return map_old_vdso(job, v, err);
	default:
		return cor_fail(err, -EPROTO, "the image's mapping %#" PRIx64 " is of the unknown kind %d",
				v->start, (int)v->kind);
	}
}

static const struct { uint32_t flag; int advice; const char *what; } advices[] = {
	{ COR__TASK__VMA_FLAG__DONTFORK,   MADV_DONTFORK,   "keep from children" },
	{ COR__TASK__VMA_FLAG__WIPEONFORK, MADV_WIPEONFORK, "wipe in children" },
	{ COR__TASK__VMA_FLAG__DONTDUMP,   MADV_DONTDUMP,   "keep out of core dumps" },
	{ COR__TASK__VMA_FLAG__HUGEPAGE,   MADV_HUGEPAGE,   NULL },
	{ COR__TASK__VMA_FLAG__NOHUGEPAGE, MADV_NOHUGEPAGE, NULL },
	{ COR__TASK__VMA_FLAG__SEQ_READ,   MADV_SEQUENTIAL, NULL },
	{ COR__TASK__VMA_FLAG__RAND_READ,  MADV_RANDOM,     NULL },
	{ COR__TASK__VMA_FLAG__MERGEABLE,  MADV_MERGEABLE,  NULL },
};

static int set_flags(struct cor_memory_job *job, const Cor__Task__Vma *v, struct cor_error *err)
{
	struct cor_batch *b = job->rb->batch;
	uint64_t len = v->end - v->start;
	int r = 0;

	for (size_t i = 0; i < ARRAY_SIZE(advices) && r >= 0; i++)
		if (v->flags & advices[i].flag)
			/* without a name: only a matter of speed */
			r = cor_batch_add(b, advices[i].what ? COR_BATCH_OK : COR_BATCH_ANY,
					  SYS_madvise, COR_ARGS(v->start, len, (uint64_t)advices[i].advice),
					  err, "%s %#" PRIx64, advices[i].what ? advices[i].what : "advise",
					  v->start);
	if (r >= 0 && (v->flags & COR__TASK__VMA_FLAG__LOCKED))
		r = cor_batch_add(b, COR_BATCH_OK, SYS_mlock2, COR_ARGS(v->start, len, MLOCK_ONFAULT),
				  err, "lock %#" PRIx64 " in memory", v->start);
	return r < 0 ? r : 0;
}

static int set_name(struct cor_memory_job *job, const Cor__Task__Vma *v, struct cor_error *err)
{
	static const char prefix[] = "[anon:";
	size_t n = strlen(v->name), k = sizeof(prefix) - 1;
	char name[128] = "";
	uint64_t at;
	int r;

	if (strncmp(v->name, prefix, k) || v->name[n - 1] != ']' || n - k - 1 >= 80)
		return 0;
	memcpy(name, v->name + k, n - k - 1);
	r = cor_batch_data(job->rb->batch, name, strlen(name) + 1, &at, err);
	if (r == 0)
		r = cor_batch_add(job->rb->batch, COR_BATCH_ANY, SYS_prctl,
				  COR_ARGS(PR_SET_VMA, PR_SET_VMA_ANON_NAME, v->start,
					   v->end - v->start, at), err, "name %#" PRIx64, v->start);
	return r < 0 ? r : 0;
}

int cor_rebuild_map_vma(struct cor_memory_job *job, const Cor__Task__Vma *v,
			struct cor_error *err)
{
	int r = map_one(job, v, err);

	if (v->kind == COR__TASK__VMA_KIND__VDSO || v->kind == COR__TASK__VMA_KIND__VVAR)
		return r;
	if (r == 0)
		r = set_flags(job, v, err);
	return r < 0 ? r : set_name(job, v, err);
}

int cor_rebuild_map(struct cor_memory_job *job, struct cor_error *err)
{
	const Cor__Task__Memory *m = job->memory;
	int r = 0;

	for (size_t i = 0; i < m->n_vmas && r == 0; i++)
		r = cor_rebuild_map_vma(job, m->vmas[i], err);
	return r;
}
