/* rebuild's memory phase: the stub's address space becomes the task's. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/prctl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "libcor/base/cleanup.h"
#include "libcor/base/compat.h"
#include "libcor/base/error.h"
#include "libcor/task/rebuild_private.h"

static void clear_job(struct cor_memory_job *job)
{
	free(job->file_fds);
	free(job->object_fds);
	free(job->old_vdso);
	free(job->regions);
	cor_layout_clear(&job->all);
	cor_layout_clear(&job->stub);
}

/* exe and auxv are left as they are. strings: where arguments and environment lie. */
static struct prctl_mm_map bounds(const Cor__Task__Memory *m, bool strings)
{
	return (struct prctl_mm_map){
		.start_code = m->start_code, .end_code = m->end_code,
		.start_data = m->start_data, .end_data = m->end_data,
		/* a skeleton does not know how far the heap reaches */
		.start_brk = m->start_brk, .brk = m->brk ? m->brk : m->start_brk, .start_stack = m->start_stack,
		.arg_start = m->arg_start, .arg_end = strings ? m->arg_end : m->arg_start,
		.env_start = m->env_start, .env_end = strings ? m->env_end : m->env_start,
		.exe_fd = (uint32_t)-1,
	};
}

/* brk, the auxiliary vector and /proc/PID/exe (prctl(2), PR_SET_MM_MAP). Needs the old
 * executable unmapped. Arguments and environment are told later: whoever looks at
 * /proc/PID/cmdline, as ps(1) does, would make pages of zeros there, which for the pager
 * would be pages that have come. */
int cor_rebuild_set_mm(struct cor_memory_job *job, struct cor_error *err)
{
	const Cor__Task__Memory *m = job->memory;
	struct prctl_mm_map map = bounds(m, false);
	struct cor_batch *b = job->rb->batch;
	uint64_t auxv, at;
	int r = cor_batch_reserve(b, 1, m->auxv.len + sizeof(map) + 32, err);

	if (r == 0)
		r = cor_batch_data(b, m->auxv.data, m->auxv.len, &auxv, err);
	if (r < 0)
		return r;
	map.auxv = (void *)auxv;
	map.auxv_size = (uint32_t)m->auxv.len;
	if (job->file_fds && m->n_files && job->file_fds[m->exe] >= 0)
		map.exe_fd = (uint32_t)job->file_fds[m->exe];
	r = cor_batch_data(b, &map, sizeof(map), &at, err);
	if (r == 0)
		r = cor_batch_add(b, COR_BATCH_OK, SYS_prctl,
				  COR_ARGS(PR_SET_MM, PR_SET_MM_MAP, at, sizeof(map)), err,
				  "set the memory map's bounds and executable (%s)",
				  m->n_files ? m->files[m->exe]->path : "none");
	return r < 0 ? r : 0;
}

/* Refused to a task that has more data than its limit now allows: then ps(1) shows its
 * name alone. */
int cor_rebuild_set_strings(struct cor_rebuild *rb, const Cor__Task__Image *image,
			    struct cor_error *err)
{
	struct prctl_mm_map map = bounds(image->memory, true);
	uint64_t at;
	int r = cor_batch_data(rb->batch, &map, sizeof(map), &at, err);

	if (r == 0)
		r = cor_batch_add(rb->batch, COR_BATCH_ANY, SYS_prctl,
				  COR_ARGS(PR_SET_MM, PR_SET_MM_MAP, at, sizeof(map)), err,
				  "set where arguments and environment lie");
	return r < 0 ? r : 0;
}

/* What concerns the address space as a whole, and the end of the stub's own
 * descriptors. */
static int finish_calls(struct cor_memory_job *job, struct cor_error *err)
{
	const Cor__Task__Identity *id = job->image->identity;
	struct cor_batch *b = job->rb->batch;
	int r = cor_rebuild_set_mm(job, err);

	if (r == 0 && id)
		r = cor_batch_add(b, COR_BATCH_OK, SYS_personality, COR_ARGS(id->personality), err,
				  "set the personality %#x", id->personality);
	if (r >= 0)
		r = cor_batch_add(b, COR_BATCH_ANY, SYS_prctl,
				  COR_ARGS(PR_SET_THP_DISABLE, job->memory->thp_disable), err,
				  "switch huge pages");
	if (r >= 0)
		r = cor_batch_add(b, COR_BATCH_OK, SYS_close_range,
				  COR_ARGS((uint64_t)job->rb->max_fd + 1, ~0u), err,
				  "close the stub's own descriptors");
	return r < 0 ? r : cor_batch_flush(b, err);
}

static int write_at(int mem, uint64_t at, const void *data, size_t len, struct cor_error *err)
{
	size_t done = 0;

	while (done < len) {
		ssize_t n = pwrite(mem, (const char *)data + done, len - done, (off_t)(at + done));

		if (n <= 0)
			return cor_fail_errno(err, "cannot write the task's page %#" PRIx64, at + done);
		done += (size_t)n;
	}
	return 0;
}

const Cor__Task__Vma *cor_rebuild_vma_at(const Cor__Task__Memory *m, uint64_t at)
{
	size_t low = 0, high = m->n_vmas;

	while (low < high) {
		size_t mid = (low + high) / 2;

		if (m->vmas[mid]->end <= at)
			low = mid + 1;
		else
			high = mid;
	}
	return low < m->n_vmas && m->vmas[low]->start <= at ? m->vmas[low] : NULL;
}

/* Whether the image's pages at v are ours to write: what is lazy is installed by
 * its pager, since pages written here would not count as pages that came. */
static bool written_here(const struct cor_memory_job *job, const Cor__Task__Vma *v)
{
	if (v->written_lazy)
		return false;
	if (v->kind == COR__TASK__VMA_KIND__FILE_PRIVATE)
		return job->file_ok[v->file];
	return v->kind == COR__TASK__VMA_KIND__SHMEM_PRIVATE;
}

int cor_rebuild_write_pages(struct cor_memory_job *job, struct cor_error *err)
{
	char path[32];
	_cleanup_close_ int mem = -1;
	int r = 0;

	snprintf(path, sizeof(path), "/proc/%d/mem", job->rb->pid);
	mem = open(path, O_RDWR | O_CLOEXEC);
	if (mem < 0)
		return cor_fail_errno(err, "cannot open %s", path);
	if (job->old_vdso)
		r = write_at(mem, job->old_vdso_at, job->old_vdso, job->memory->vdso.len, err);
	if (r == 0 && job->spare_vdso_at)
		r = write_at(mem, job->spare_vdso_at, job->memory->vdso.data,
			     job->memory->vdso.len, err);
	for (size_t i = 0; i < job->image->n_pages && r == 0; i++) {
		const Cor__Task__PageData *p = job->image->pages[i];
		const Cor__Task__Vma *v = cor_rebuild_vma_at(job->memory, p->addr);

		if (!v || p->data.len > v->end - p->addr)
			return cor_fail(err, -EPROTO, "the image has pages at %#" PRIx64
					" in no mapping", p->addr);
		if (written_here(job, v))
			r = write_at(mem, p->addr, p->data.data, p->data.len, err);
	}
	return r;
}

static int check(const struct cor_memory_job *job, struct cor_error *err)
{
	if (job->rb->stage != COR_REBUILD_STUB)
		return cor_fail(err, -EINVAL, "process %d has its memory already", job->rb->inner_pid);
	if (!job->memory || !job->image->identity)
		return cor_fail(err, -EPROTO, "the image has no memory");
	return cor_layout_check(job->memory, job->rb->lowest, err);
}

int cor_rebuild_memory(struct cor_rebuild *rb, const Cor__Task__Image *image,
		       const bool *file_ok, const int *object_fds, unsigned nobjects,
		       struct cor_region **regions, unsigned *nregions, struct cor_error *err)
{
	struct cor_memory_job job = {
		.rb = rb, .image = image, .memory = image->memory,
		.file_ok = file_ok, .nobjects = nobjects,
	};
	int r = check(&job, err);

	if (r == 0)
		r = cor_rebuild_open_files(&job, object_fds, err);
	if (r == 0)
		r = cor_rebuild_take_over(&job, err);
	if (r == 0)
		r = cor_rebuild_place_vdso(&job, err);
	if (r == 0)
		r = cor_rebuild_map(&job, err);
	if (r == 0)
		r = finish_calls(&job, err);
	if (r == 0)
		r = cor_rebuild_write_pages(&job, err);
	if (r == 0) {
		rb->stage = COR_REBUILD_MEMORY;
		*regions = take_ptr(job.regions);
		*nregions = job.nregions;
	}
	clear_job(&job);
	return r;
}
