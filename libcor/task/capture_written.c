/* Pages of private file mappings that were written to: they no longer are the
 * file's. Only those mappings are walked, never anonymous memory, whose size
 * must not count in the freeze. */
#include "libcor/task/capture_private.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "libcor/base/cleanup.h"
#include "libcor/base/compat.h"
#include "libcor/base/error.h"
#include "libcor/task/pb.h"

#define PAGE 4096ull
#define REGIONS 256

#define PM_PRESENT (1ull << 63)
#define PM_SWAPPED (1ull << 62)
#define PM_FILE    (1ull << 61)

/* Adds [start, end), joined with the run before where they touch. */
static int add_run(Cor__Task__Vma *v, uint64_t start, uint64_t end)
{
	Cor__Task__Run *last = v->n_written ? v->written[v->n_written - 1] : NULL;

	if (last && last->start + last->npages * PAGE == start) {
		last->npages += (uint32_t)((end - start) / PAGE);
		return 0;
	}
	last = pb_add(&v->written, &v->n_written, Cor__Task__Run, cor__task__run__init);
	if (!last)
		return -ENOMEM;
	last->start = start;
	last->npages = (uint32_t)((end - start) / PAGE);
	return 0;
}

/* PAGEMAP_SCAN (6.7): present or swapped, and not the file's. */
static int scan(int pagemap, Cor__Task__Vma *v)
{
	struct page_region got[REGIONS];
	struct pm_scan_arg a = {
		.size = sizeof(a), .start = v->start, .end = v->end,
		.vec = (uintptr_t)got, .vec_len = REGIONS,
		.category_inverted = PAGE_IS_FILE, .category_mask = PAGE_IS_FILE,
		.category_anyof_mask = PAGE_IS_PRESENT | PAGE_IS_SWAPPED,
		.return_mask = PAGE_IS_PRESENT | PAGE_IS_SWAPPED,
	};

	while (a.start < a.end) {
		int n = ioctl(pagemap, PAGEMAP_SCAN, &a);

		if (n < 0)
			return -errno;
		for (int i = 0; i < n; i++)
			if (add_run(v, got[i].start, got[i].end) < 0)
				return -ENOMEM;
		if (a.walk_end <= a.start)
			break;
		a.start = a.walk_end;
	}
	return 0;
}

/* For kernels without it: one word a page. */
static int read_entries(int pagemap, Cor__Task__Vma *v)
{
	uint64_t e[512];

	for (uint64_t at = v->start; at < v->end;) {
		size_t want = COR_MIN((v->end - at) / PAGE, (uint64_t)ARRAY_SIZE(e));
		ssize_t n = pread(pagemap, e, want * sizeof(*e), (off_t)(at / PAGE * sizeof(*e)));

		if (n <= 0)
			return n < 0 ? -errno : -EIO;
		for (size_t i = 0; i < (size_t)n / sizeof(*e); i++, at += PAGE)
			if ((e[i] & (PM_PRESENT | PM_SWAPPED)) && !(e[i] & PM_FILE) &&
			    add_run(v, at, at + PAGE) < 0)
				return -ENOMEM;
	}
	return 0;
}

static int find_written(struct cor_capture *c, Cor__Task__Vma *v)
{
	int r = scan(c->pagemap, v);

	return r == -ENOTTY || r == -EINVAL ? read_entries(c->pagemap, v) : r;
}

static uint64_t count_pages(const Cor__Task__Vma *v)
{
	uint64_t n = 0;

	for (size_t i = 0; i < v->n_written; i++)
		n += v->written[i]->npages;
	return n;
}

static int add_pages(struct cor_capture *c, uint64_t addr, const void *data, size_t len,
		     struct cor_error *err)
{
	Cor__Task__PageData *p = pb_add(&c->image->pages, &c->image->n_pages, Cor__Task__PageData,
					cor__task__page_data__init);

	if (!p || pb_bytes(&p->data, data, len) < 0)
		return cor_capture_no_memory(c, err);
	p->addr = addr;
	return 0;
}

/* The skeleton's copy of the page at addr, which its reader has; or NULL. *at goes
 * along with ascending addresses. */
static const void *known_page(const Cor__Task__Image *skeleton, uint64_t addr, size_t *at)
{
	while (skeleton && *at < skeleton->n_pages) {
		const Cor__Task__PageData *p = skeleton->pages[*at];

		if (addr < p->addr)
			return NULL;
		if (addr < p->addr + p->data.len)
			return p->data.data + (addr - p->addr);
		++*at;
	}
	return NULL;
}

/* The pages of a run that differ from what the skeleton had. */
static int add_changed(struct cor_capture *c, const Cor__Task__Run *run, const uint8_t *data,
		       size_t *at, struct cor_error *err)
{
	uint32_t from = 0;
	int r = 0;

	for (uint32_t i = 0; i <= run->npages && r == 0; i++) {
		const void *known = i < run->npages ?
			known_page(c->skeleton, run->start + i * PAGE, at) : NULL;

		if (i < run->npages && (!known || memcmp(known, data + i * PAGE, PAGE)))
			continue;
		if (i > from)
			r = add_pages(c, run->start + from * PAGE, data + from * PAGE,
				      (i - from) * PAGE, err);
		from = i + 1;
	}
	return r;
}

static int copy_run(struct cor_capture *c, const Cor__Task__Run *run, size_t *at,
		    struct cor_error *err)
{
	size_t len = run->npages * PAGE;
	_cleanup_free_ uint8_t *data = malloc(len);
	int r;

	if (!data)
		return cor_capture_no_memory(c, err);
	r = cor_capture_read(c, run->start, data, len);
	if (r < 0 && !c->t)
		return 0;       /* a running task may have unmapped it just now */
	if (r < 0)
		return cor_fail_code(err, r, "process %d: cannot read %u written pages at %#lx", c->pid,
				     run->npages, (unsigned long)run->start);
	return add_changed(c, run, data, at, err);
}

int cor_capture_written(struct cor_capture *c, struct cor_error *err)
{
	Cor__Task__Memory *m = c->image->memory;
	size_t at = 0;
	int r = 0;

	if (c->pagemap < 0)
		c->pagemap = openat(c->proc, "pagemap", O_RDONLY | O_CLOEXEC);
	if (c->pagemap < 0)
		return cor_fail_errno(err, "cannot open /proc/%d/pagemap", c->pid);
	for (size_t i = 0; i < m->n_vmas && !r; i++) {
		Cor__Task__Vma *v = m->vmas[i];

		if (v->kind != COR__TASK__VMA_KIND__FILE_PRIVATE &&
		    v->kind != COR__TASK__VMA_KIND__SHMEM_PRIVATE)
			continue;
		r = find_written(c, v);
		if (r < 0)
			return cor_fail_code(err, r, "process %d: cannot find the written pages of %#lx",
					     c->pid, (unsigned long)v->start);
		v->written_lazy = count_pages(v) > c->o.inline_written_max;
		for (size_t k = 0; k < v->n_written && !v->written_lazy && !r; k++)
			r = copy_run(c, v->written[k], &at, err);
	}
	return r;
}
