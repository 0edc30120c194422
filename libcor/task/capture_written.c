/* Pages of private file mappings that were written to: they no longer are the
 * file's. Only those mappings are walked, never anonymous memory, whose size
 * must not count in the freeze. */
#include "libcor/task/capture_base.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/uio.h>
#include <unistd.h>

#include "libcor/base/cleanup.h"
#include "libcor/base/compat.h"
#include "libcor/base/error.h"
#include "libcor/base/pagemap_bits.h"
#include "libcor/task/pb.h"

#define PAGE 4096ull
#define REGIONS 256

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

/* Runs of [start, end) belong to the mappings from first on, which lie without a gap. */
static int add_region(Cor__Task__Vma **v, uint64_t start, uint64_t end)
{
	for (; start < end; v++) {
		uint64_t to = COR_MIN(end, (*v)->end);

		if (start >= to)
			continue;
		if (add_run(*v, start, to) < 0)
			return -ENOMEM;
		start = to;
	}
	return 0;
}

/* PAGEMAP_SCAN (6.7): present or swapped, and not the file's. The n mappings lie
 * without a gap: a program's or a library's segments cost one call. */
static int scan(int pagemap, Cor__Task__Vma **v, size_t n)
{
	struct page_region got[REGIONS];
	struct pm_scan_arg a = {
		.size = sizeof(a), .start = v[0]->start, .end = v[n - 1]->end,
		.vec = (uintptr_t)got, .vec_len = REGIONS,
		.category_inverted = PAGE_IS_FILE, .category_mask = PAGE_IS_FILE,
		.category_anyof_mask = PAGE_IS_PRESENT | PAGE_IS_SWAPPED,
		.return_mask = PAGE_IS_PRESENT | PAGE_IS_SWAPPED,
	};

	while (a.start < a.end) {
		int found = ioctl(pagemap, PAGEMAP_SCAN, &a);

		if (found < 0)
			return -errno;
		for (int i = 0; i < found; i++)
			if (add_region(v, got[i].start, got[i].end) < 0)
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

static bool may_be_written(const Cor__Task__Vma *v)
{
	return v->kind == COR__TASK__VMA_KIND__FILE_PRIVATE ||
	       v->kind == COR__TASK__VMA_KIND__SHMEM_PRIVATE;
}

/* How many of the mappings from v on are to be looked at and lie without a gap. */
static size_t without_gap(Cor__Task__Vma **v, size_t n)
{
	size_t k = 0;

	while (k < n && may_be_written(v[k]) && (!k || v[k]->start == v[k - 1]->end))
		k++;
	return k;
}

static int find_written(struct cor_capture *c, Cor__Task__Vma **v, size_t n)
{
	int r = scan(c->pagemap, v, n);

	if (r != -ENOTTY && r != -EINVAL)
		return r;
	r = 0;
	for (size_t i = 0; i < n && !r; i++)
		r = read_entries(c->pagemap, v[i]);
	return r;
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
static int add_changed(struct cor_capture *c, uint64_t start, uint32_t npages, const uint8_t *data,
		       size_t *at, struct cor_error *err)
{
	uint32_t from = 0;
	int r = 0;

	for (uint32_t i = 0; i <= npages && r == 0; i++) {
		const void *known = i < npages ? known_page(c->skeleton, start + i * PAGE, at) : NULL;

		if (i < npages && (!known || memcmp(known, data + i * PAGE, PAGE)))
			continue;
		if (i > from)
			r = add_pages(c, start + from * PAGE, data + from * PAGE, (i - from) * PAGE,
				      err);
		from = i + 1;
	}
	return r;
}

/* Runs that are read together: short enough to stay in the processor's cache until
 * they have been compared. */
#define GATHER_PAGES 64u
#define GATHER_RUNS  64u

struct gathering {
	struct cor_capture *c;
	size_t at;                      /* of the skeleton's pages, ascending */
	struct { uint64_t start; uint32_t npages; bool gone; } runs[GATHER_RUNS];
	unsigned n, npages;
	uint8_t *data;                  /* GATHER_PAGES pages */
};

/* One call for all; where it fails (PROT_NONE), one for each. */
static int read_runs(struct gathering *g, struct cor_error *err)
{
	struct iovec here = { g->data, g->npages * PAGE }, there[GATHER_RUNS];
	uint8_t *to = g->data;

	for (unsigned i = 0; i < g->n; i++)
		there[i] = (struct iovec){ (void *)(uintptr_t)g->runs[i].start,
					   g->runs[i].npages * PAGE };
	if (process_vm_readv(g->c->pid, &here, 1, there, g->n, 0) == (ssize_t)here.iov_len)
		return 0;
	for (unsigned i = 0; i < g->n; i++) {
		int r = cor_capture_read(g->c, g->runs[i].start, to, there[i].iov_len);

		if (r < 0 && g->c->t)
			return cor_fail_code(err, r, "process %d: cannot read %u written pages at %#lx",
					     g->c->pid, g->runs[i].npages,
					     (unsigned long)g->runs[i].start);
		/* a running task may have unmapped it just now */
		g->runs[i].gone = r < 0;
		to += there[i].iov_len;
	}
	return 0;
}

static int put_down(struct gathering *g, struct cor_error *err)
{
	const uint8_t *data = g->data;
	int r = g->n ? read_runs(g, err) : 0;

	for (unsigned i = 0; i < g->n && !r; i++) {
		if (!g->runs[i].gone)
			r = add_changed(g->c, g->runs[i].start, g->runs[i].npages, data, &g->at, err);
		data += g->runs[i].npages * PAGE;
	}
	g->n = g->npages = 0;
	return r;
}

static int gather(struct gathering *g, const Cor__Task__Run *run, struct cor_error *err)
{
	for (uint32_t done = 0; done < run->npages;) {
		uint32_t n = COR_MIN(run->npages - done, GATHER_PAGES - g->npages);

		g->runs[g->n].start = run->start + done * PAGE;
		g->runs[g->n].npages = n;
		g->runs[g->n++].gone = false;
		g->npages += n;
		done += n;
		if (g->n == GATHER_RUNS || g->npages == GATHER_PAGES) {
			int r = put_down(g, err);

			if (r < 0)
				return r;
		}
	}
	return 0;
}

static int copy_written(struct cor_capture *c, struct cor_error *err)
{
	Cor__Task__Memory *m = c->image->memory;
	struct gathering g = { .c = c, .data = malloc(GATHER_PAGES * PAGE) };
	int r = g.data ? 0 : cor_capture_no_memory(c, err);

	for (size_t i = 0; i < m->n_vmas && !r; i++) {
		Cor__Task__Vma *v = m->vmas[i];

		v->written_lazy = count_pages(v) > c->o.inline_written_max;
		for (size_t k = 0; k < v->n_written && !v->written_lazy && !r; k++)
			r = gather(&g, v->written[k], err);
	}
	if (!r)
		r = put_down(&g, err);
	free(g.data);
	return r;
}

int cor_capture_written(struct cor_capture *c, struct cor_error *err)
{
	Cor__Task__Memory *m = c->image->memory;
	int r;

	if (c->pagemap < 0)
		c->pagemap = openat(c->proc, "pagemap", O_RDONLY | O_CLOEXEC);
	if (c->pagemap < 0)
		return cor_fail_errno(err, "cannot open /proc/%d/pagemap", c->pid);
	for (size_t i = 0, n; i < m->n_vmas; i += n ? n : 1) {
		n = without_gap(m->vmas + i, m->n_vmas - i);
		r = n ? find_written(c, m->vmas + i, n) : 0;
		if (r < 0)
			return cor_fail_code(err, r, "process %d: cannot find the written pages of %#lx",
					     c->pid, (unsigned long)m->vmas[i]->start);
	}
	return copy_written(c, err);
}
