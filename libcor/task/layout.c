/* Address ranges: what is mapped, and where there is room; see layout.h. */
#include "libcor/task/layout.h"

#include <cor/cor.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "libcor/base/cleanup.h"
#include "libcor/base/error.h"
#include "libcor/base/io.h"

#define LOWEST   0x10000ull             /* where every host allows it: vm.mmap_min_addr */
#define HIGHEST  0x7ffffffff000ull      /* 47 bits less the guard page */
#define TABLE_SPAN (2ull << 20)         /* of one page table */
#define TASK_MAX 0x100000000000000ull   /* 57 bits less one: five-level page tables */

void cor_layout_clear(struct cor_layout *l)
{
	free(l->ranges);
	memset(l, 0, sizeof(*l));
}

int cor_layout_add(struct cor_layout *l, uint64_t start, uint64_t end, enum cor_range_kind kind)
{
	if (l->n == l->room) {
		size_t room = l->room ? l->room * 2 : 64;
		struct cor_range *bigger = reallocarray(l->ranges, room, sizeof(*bigger));

		if (!bigger)
			return -ENOMEM;
		l->ranges = bigger;
		l->room = room;
	}
	l->ranges[l->n++] = (struct cor_range){ start, end, kind };
	return 0;
}

static enum cor_range_kind kind_of(const char *line)
{
	if (strstr(line, " [vdso]"))
		return COR_RANGE_VDSO;
	if (strstr(line, " [vvar"))
		return COR_RANGE_VVAR;
	if (strstr(line, " [vsyscall]"))
		return COR_RANGE_VSYSCALL;
	return COR_RANGE_OTHER;
}

int cor_layout_read(struct cor_layout *l, pid_t pid, struct cor_error *err)
{
	_cleanup_free_ char *text = NULL;
	char path[32], *save = NULL, *line;
	int r;

	snprintf(path, sizeof(path), "/proc/%d/maps", pid);
	r = cor_slurp(AT_FDCWD, path, &text, NULL);
	if (r < 0)
		return cor_fail_code(err, r, "cannot read %s", path);
	for (line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		uint64_t start, end;

		if (sscanf(line, "%" SCNx64 "-%" SCNx64, &start, &end) != 2)
			return cor_fail(err, -EIO, "%s has the odd line '%s'", path, line);
		if (kind_of(line) == COR_RANGE_VSYSCALL)
			continue;
		r = cor_layout_add(l, start, end, kind_of(line));
		if (r < 0)
			return cor_fail_code(err, r, "no memory for %s", path);
	}
	return 0;
}

int cor_layout_add_image(struct cor_layout *l, const Cor__Task__Memory *m)
{
	int r = 0;

	for (size_t i = 0; i < m->n_vmas && r == 0; i++) {
		const Cor__Task__Vma *v = m->vmas[i];
		enum cor_range_kind kind = COR_RANGE_OTHER;

		if (v->kind == COR__TASK__VMA_KIND__VDSO)
			kind = COR_RANGE_VDSO;
		else if (v->kind == COR__TASK__VMA_KIND__VVAR)
			kind = COR_RANGE_VVAR;
		r = cor_layout_add(l, v->start, v->end, kind);
	}
	return r;
}

static int by_start(const void *a, const void *b)
{
	const struct cor_range *x = a, *y = b;

	return x->start < y->start ? -1 : x->start > y->start;
}

uint64_t cor_layout_hole(struct cor_layout *l, size_t len, uint64_t margin)
{
	const uint64_t highest = HIGHEST;
	uint64_t behind = LOWEST, best = 0;

	qsort(l->ranges, l->n, sizeof(*l->ranges), by_start);
	/* the highest: low addresses are where programs ask for exact places */
	for (size_t i = 0; i <= l->n && behind < highest; i++) {
		uint64_t next = i < l->n ? COR_MIN(l->ranges[i].start, highest) : highest;

		if (next > behind && next - behind >= len + 2 * margin)
			best = (next - margin - len) & ~(uint64_t)(COR_PAGE_SIZE - 1);
		if (i < l->n)
			behind = COR_MAX(behind, l->ranges[i].end);
	}
	return best;
}

/* Where the next range of l, which is sorted, begins that ends behind at. */
static uint64_t next_range(const struct cor_layout *l, uint64_t at)
{
	const uint64_t highest = HIGHEST;

	for (size_t i = 0; i < l->n; i++)
		if (l->ranges[i].end > at)
			return COR_MIN(l->ranges[i].start, highest);
	return highest;
}

uint64_t cor_layout_hole_behind(struct cor_layout *l, const Cor__Task__Memory *m, size_t len,
				uint64_t margin)
{
	uint64_t best = 0;

	qsort(l->ranges, l->n, sizeof(*l->ranges), by_start);
	for (size_t i = 0; i < m->n_vmas; i++) {
		const Cor__Task__Vma *v = m->vmas[i];
		uint64_t at = v->end + COR_PAGE_SIZE;
		bool heap = v->start <= m->start_brk && m->start_brk <= v->end;

		if (!heap && at + len + margin <= next_range(l, v->end) &&
		    (at + len - 1) / TABLE_SPAN == (v->end - 1) / TABLE_SPAN)
			best = at;
	}
	return best;
}

bool cor_layout_vdso(const struct cor_layout *l, uint64_t *start, uint64_t *end)
{
	bool found = false;

	for (size_t i = 0; i < l->n; i++) {
		const struct cor_range *r = &l->ranges[i];

		if (r->kind != COR_RANGE_VDSO && r->kind != COR_RANGE_VVAR)
			continue;
		*start = found ? COR_MIN(*start, r->start) : r->start;
		*end = found ? COR_MAX(*end, r->end) : r->end;
		found = true;
	}
	return found;
}

static int check_vma(const Cor__Task__Memory *m, const Cor__Task__Vma *v, uint64_t behind,
		     struct cor_error *err)
{
	uint64_t low = (v->start | v->end | v->pgoff) & (COR_PAGE_SIZE - 1);
	uint64_t at = v->start;

	if (low || v->start >= v->end || v->end > TASK_MAX || v->start < behind)
		return cor_fail(err, -EPROTO, "the image's mapping %#" PRIx64 "-%#" PRIx64
				" is malformed or out of order", v->start, v->end);
	if (v->prot & ~(uint32_t)(PROT_READ | PROT_WRITE | PROT_EXEC))
		return cor_fail(err, -EPROTO, "the image's mapping %#" PRIx64
				" has protection %#x", v->start, v->prot);
	if ((v->kind == COR__TASK__VMA_KIND__FILE_PRIVATE ||
	     v->kind == COR__TASK__VMA_KIND__FILE_SHARED) && v->file >= m->n_files)
		return cor_fail(err, -EPROTO, "the image's mapping %#" PRIx64
				" is of file %u of %zu", v->start, v->file, m->n_files);
	if ((v->kind == COR__TASK__VMA_KIND__SHMEM ||
	     v->kind == COR__TASK__VMA_KIND__SHMEM_PRIVATE) &&
	    (v->object == 0 || v->object > m->n_objects))
		return cor_fail(err, -EPROTO, "the image's mapping %#" PRIx64
				" is of object %u of %zu", v->start, v->object, m->n_objects);
	for (size_t i = 0; i < v->n_written; i++) {
		const Cor__Task__Run *r = v->written[i];
		uint64_t len = (uint64_t)r->npages * COR_PAGE_SIZE;

		if (r->start % COR_PAGE_SIZE || !len || r->start < at || r->start > v->end ||
		    len > v->end - r->start)
			return cor_fail(err, -EPROTO, "the image's mapping %#" PRIx64
					" has a run of pages outside it", v->start);
		at = r->start + len;
	}
	return 0;
}

uint64_t cor_layout_lowest(void)
{
	_cleanup_free_ char *text = NULL;
	unsigned long long lowest;

	if (cor_slurp(AT_FDCWD, "/proc/sys/vm/mmap_min_addr", &text, NULL) < 0 ||
	    sscanf(text, "%llu", &lowest) != 1)
		return LOWEST;
	/* 0 is a null pointer to the kernel's calls, and to us */
	return COR_MAX((uint64_t)lowest, (uint64_t)COR_PAGE_SIZE);
}

int cor_layout_check(const Cor__Task__Memory *m, uint64_t lowest, struct cor_error *err)
{
	uint64_t behind = 0;
	int r = 0;

	/* the kernel gives those to the privileged only, as the stub may still be when it maps
	 * what an ordinary user's task will have */
	if (m->n_vmas && m->vmas[0]->start < lowest)
		return cor_fail(err, -EPROTO, "the task's mapping at %#" PRIx64 " is lower than "
				"vm.mmap_min_addr allows here: %" PRIu64, m->vmas[0]->start, lowest);
	for (size_t i = 0; i < m->n_vmas && r == 0; i++) {
		r = check_vma(m, m->vmas[i], behind, err);
		behind = m->vmas[i]->end;
	}
	if (r == 0 && m->n_objects > UINT16_MAX)        /* a lane names objects with 16 bits */
		r = cor_fail(err, -EPROTO, "the image has %zu shared memory objects", m->n_objects);
	/* dense, so that object n is the nth */
	for (size_t i = 0; i < m->n_objects && r == 0; i++)
		if (m->objects[i]->id != i + 1)
			r = cor_fail(err, -EPROTO, "the image's object %zu has number %u",
				     i + 1, m->objects[i]->id);
	if (r == 0 && m->n_files && m->exe >= m->n_files)
		r = cor_fail(err, -EPROTO, "the image's executable is file %u of %zu", m->exe,
			     m->n_files);
	return r;
}
