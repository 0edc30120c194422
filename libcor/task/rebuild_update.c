/* rebuild's memory phase in two steps: built from the skeleton while the task
 * still ran, brought up to the image in the freeze. Mappings that are the same
 * stay; anonymous ones may have come, any may have gone. Whatever else differs is
 * -ESTALE: built anew. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>

#include "libcor/base/cleanup.h"
#include "libcor/base/error.h"
#include "libcor/task/rebuild_private.h"

static bool same_runs(const Cor__Task__Vma *a, const Cor__Task__Vma *b)
{
	if (a->n_written != b->n_written)
		return false;
	for (size_t i = 0; i < a->n_written; i++)
		if (a->written[i]->start != b->written[i]->start ||
		    a->written[i]->npages != b->written[i]->npages)
			return false;
	return true;
}

/* Written pages that travel in the image are written again in any case; where they
 * are lazy they have mappings of their own. */
static bool same_vma(const Cor__Task__Vma *a, const Cor__Task__Vma *b)
{
	return a->start == b->start && a->end == b->end && a->prot == b->prot &&
	       a->kind == b->kind && a->flags == b->flags && a->pgoff == b->pgoff &&
	       a->file == b->file && a->object == b->object &&
	       a->written_lazy == b->written_lazy && (!a->written_lazy || same_runs(a, b)) &&
	       strcmp(a->name, b->name) == 0;
}

static bool same_file(const Cor__Task__File *a, const Cor__Task__File *b)
{
	if (strcmp(a->path, b->path) || a->use != b->use || a->ino != b->ino)
		return false;
	return a->use == COR__TASK__FILE_USE__FILE_ITSELF ||
	       (a->size == b->size && a->mtime_ns == b->mtime_ns);
}

static bool same_files(const Cor__Task__Memory *a, const Cor__Task__Memory *b)
{
	if (b->n_files < a->n_files || a->exe != b->exe || a->n_objects || b->n_objects)
		return false;
	for (size_t i = 0; i < a->n_files; i++)
		if (!same_file(a->files[i], b->files[i]))
			return false;
	return true;
}

/* Every page that was written ahead must still be one that was written: one that
 * has become the file's again cannot be taken back. */
static bool all_still_written(const Cor__Task__Image *built, const Cor__Task__Memory *m)
{
	size_t vma = 0, run = 0;

	for (size_t i = 0; i < built->n_pages; i++) {
		uint64_t from = built->pages[i]->addr, to = from + built->pages[i]->data.len;

		while (from < to) {
			const Cor__Task__Vma *v;

			while (vma < m->n_vmas && m->vmas[vma]->end <= from) {
				vma++;
				run = 0;
			}
			v = vma < m->n_vmas ? m->vmas[vma] : NULL;
			while (v && run < v->n_written &&
			       v->written[run]->start + v->written[run]->npages * 4096ull <= from)
				run++;
			if (!v || run >= v->n_written || v->written[run]->start > from)
				return false;
			from = v->written[run]->start + v->written[run]->npages * 4096ull;
		}
	}
	return true;
}

static bool same_bounds(const Cor__Task__Memory *a, const Cor__Task__Memory *b)
{
	return a->start_code == b->start_code && a->end_code == b->end_code &&
	       a->start_data == b->start_data && a->end_data == b->end_data &&
	       a->start_brk == b->start_brk && a->brk == b->brk &&
	       a->start_stack == b->start_stack && a->arg_start == b->arg_start &&
	       a->arg_end == b->arg_end && a->env_start == b->env_start &&
	       a->env_end == b->env_end && a->auxv.len == b->auxv.len &&
	       (!a->auxv.len || memcmp(a->auxv.data, b->auxv.data, a->auxv.len) == 0);
}

static bool hits_runner(const struct cor_rebuild *rb, const Cor__Task__Vma *v)
{
	uint64_t start, end;

	cor_runner_range(rb->runner, &start, &end);
	return v->start < end && start < v->end;
}

/* Of two ascending lists, calls gone for what is only in a, come for what is only in b. */
static int compare(const Cor__Task__Memory *a, const Cor__Task__Memory *b, void *arg,
		   int (*gone)(void *arg, const Cor__Task__Vma *v),
		   int (*come)(void *arg, const Cor__Task__Vma *v))
{
	size_t i = 0, k = 0;
	int r = 0;

	while (r == 0 && (i < a->n_vmas || k < b->n_vmas)) {
		const Cor__Task__Vma *x = i < a->n_vmas ? a->vmas[i] : NULL;
		const Cor__Task__Vma *y = k < b->n_vmas ? b->vmas[k] : NULL;

		if (x && y && same_vma(x, y)) {
			i++;
			k++;
		} else if (x && (!y || x->start <= y->start)) {
			r = gone ? gone(arg, x) : 0;
			i++;
		} else {
			r = come ? come(arg, y) : 0;
			k++;
		}
	}
	return r;
}

struct update {
	struct cor_memory_job *job;
	struct cor_error *err;
	bool changed;
};

static bool is_vdso(const Cor__Task__Vma *v)
{
	return v->kind == COR__TASK__VMA_KIND__VDSO || v->kind == COR__TASK__VMA_KIND__VVAR;
}

static int may_go(void *arg, const Cor__Task__Vma *v)
{
	((struct update *)arg)->changed = true;
	return is_vdso(v) ? -ESTALE : 0;
}

static int may_come(void *arg, const Cor__Task__Vma *v)
{
	struct update *u = arg;

	u->changed = true;
	return v->kind == COR__TASK__VMA_KIND__ANON && !hits_runner(u->job->rb, v) ? 0 : -ESTALE;
}

/* Its regions go with it. */
static int go(void *arg, const Cor__Task__Vma *v)
{
	struct update *u = arg;
	struct cor_memory_job *job = u->job;
	unsigned kept = 0;
	int r;

	for (unsigned i = 0; i < job->nregions; i++)
		if (job->regions[i].start < v->start || job->regions[i].start >= v->end)
			job->regions[kept++] = job->regions[i];
	job->nregions = kept;
	r = cor_batch_add(job->rb->batch, COR_BATCH_OK, SYS_munmap,
			  COR_ARGS(v->start, v->end - v->start), u->err, "unmap %#lx",
			  (unsigned long)v->start);
	return r < 0 ? r : 0;
}

static int come(void *arg, const Cor__Task__Vma *v)
{
	struct update *u = arg;

	return cor_rebuild_map_vma(u->job, v, u->err);
}

static int apply(struct update *u, const Cor__Task__Memory *built)
{
	struct cor_memory_job *job = u->job;
	int r;

	if (u->changed) {
		/* all that goes before what comes: they may overlap */
		r = compare(built, job->memory, u, go, NULL);
		if (r == 0)
			r = compare(built, job->memory, u, NULL, come);
		if (r < 0)
			return r;
	}
	r = same_bounds(built, job->memory) ? 0 : cor_rebuild_set_mm(job, u->err);
	if (r < 0 || !u->changed)
		return r;       /* the bounds can wait for the threads' calls */
	return cor_batch_flush(job->rb->batch, u->err);
}

int cor_rebuild_memory_update(struct cor_rebuild *rb, const Cor__Task__Image *built,
			      const Cor__Task__Image *image, const bool *file_ok,
			      struct cor_region **regions, unsigned *nregions,
			      struct cor_error *err)
{
	struct cor_memory_job job = {
		.rb = rb, .image = image, .memory = image->memory, .file_ok = file_ok,
	};
	struct update u = { .job = &job, .err = err };
	int r;

	if (rb->stage != COR_REBUILD_MEMORY)
		return cor_fail(err, -EINVAL, "process %d has no memory yet", rb->inner_pid);
	r = cor_layout_check(image->memory, rb->lowest, err);
	if (r < 0)
		return r;
	if (!same_files(built->memory, image->memory) ||
	    built->memory->thp_disable != image->memory->thp_disable ||
	    built->identity->personality != image->identity->personality ||
	    !all_still_written(built, image->memory) ||
	    compare(built->memory, image->memory, &u, may_go, may_come) < 0)
		return cor_fail(err, -ESTALE, "the task has changed since it was built");
	job.regions = *regions;
	job.nregions = job.room = *nregions;
	r = apply(&u, built->memory);
	*regions = job.regions;
	*nregions = job.nregions;
	return r < 0 ? r : cor_rebuild_write_pages(&job, err);
}
