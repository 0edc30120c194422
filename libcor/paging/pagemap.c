/* Presence of pages; see pagemap.h. */
#include "libcor/paging/pagemap.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "libcor/base/cleanup.h"
#include "libcor/base/compat.h"

#define PAGE (UINT64_C(1) << COR_PAGE_SHIFT)

/* Behind this no user memory can be: x86-64 with four levels of page tables.
 * PAGEMAP_SCAN refuses a range that reaches further. */
#define ADDRESS_END UINT64_C(0x7ffffffff000)

/* Regions asked for at once: 6 KiB of stack. */
#define REGIONS 256

/* Bits of a /proc/PID/pagemap entry. */
#define PM_PRESENT (UINT64_C(1) << 63)
#define PM_SWAPPED (UINT64_C(1) << 62)
#define PM_FILE    (UINT64_C(1) << 61)
#define PM_GUARD   (UINT64_C(1) << 58)   /* 6.15; zero before */

/* Does the kernel know these categories? Asked of an empty range. */
static bool scan_knows(int fd, uint64_t categories)
{
	struct page_region region;
	struct pm_scan_arg arg = {
		.size = sizeof(arg), .start = 0, .end = PAGE,
		.vec = (uintptr_t)&region, .vec_len = 1,
		.category_inverted = categories, .category_mask = categories,
		.return_mask = PAGE_IS_PRESENT,
	};

	return ioctl(fd, PAGEMAP_SCAN, &arg) >= 0;
}

int cor_pagemap_open(struct cor_pagemap *out, int proc_dir)
{
	struct cor_pagemap p = { .not_data = PAGE_IS_FILE | PAGE_IS_PFNZERO };

	p.fd = openat(proc_dir, "pagemap", O_RDONLY | O_CLOEXEC);
	if (p.fd < 0)
		return -errno;
	p.scan = scan_knows(p.fd, p.not_data);
	if (p.scan && scan_knows(p.fd, p.not_data | PAGE_IS_GUARD))
		p.not_data |= PAGE_IS_GUARD;
	*out = p;
	return 0;
}

void cor_pagemap_close(struct cor_pagemap *p)
{
	cor_closep(&p->fd);
	p->fd = -1;
}

bool cor_runs_add(struct cor_page_run *runs, unsigned max, unsigned *n,
		  uint64_t start, uint64_t end, uint64_t *done)
{
	while (start < end) {
		struct cor_page_run *last = *n ? &runs[*n - 1] : NULL;
		uint32_t have = last && last->offset + last->npages * PAGE == start ? last->npages : 0;
		uint64_t take = COR_MIN((end - start) >> COR_PAGE_SHIFT, (uint64_t)UINT32_MAX - have);

		if (have && take) {
			last->npages += (uint32_t)take;
		} else {
			if (*n == max)
				break;
			take = COR_MIN((end - start) >> COR_PAGE_SHIFT, (uint64_t)UINT32_MAX);
			runs[(*n)++] = (struct cor_page_run){ .offset = start, .npages = (uint32_t)take };
		}
		start += take * PAGE;
	}
	*done = start;
	return start >= end;
}

static int runs_by_scan(const struct cor_pagemap *p, uint64_t start, uint64_t end,
			struct cor_page_run *runs, unsigned max, uint64_t *next)
{
	struct page_region found[REGIONS];
	unsigned n = 0;

	while (start < end) {
		struct pm_scan_arg arg = {
			.size = sizeof(arg), .start = start, .end = end,
			.vec = (uintptr_t)found, .vec_len = REGIONS,
			.category_inverted = p->not_data, .category_mask = p->not_data,
			.category_anyof_mask = PAGE_IS_PRESENT | PAGE_IS_SWAPPED,
			.return_mask = PAGE_IS_PRESENT | PAGE_IS_SWAPPED,
		};
		int r = ioctl(p->fd, PAGEMAP_SCAN, &arg);

		if (r < 0 && errno == EINTR)
			continue;
		if (r < 0)
			return -errno;
		for (int i = 0; i < r; i++)
			if (!cor_runs_add(runs, max, &n, found[i].start, found[i].end, next))
				return (int)n;
		start = arg.walk_end;
	}
	*next = end;
	return (int)n;
}

static int runs_by_entries(const struct cor_pagemap *p, uint64_t start, uint64_t end,
			   struct cor_page_run *runs, unsigned max, uint64_t *next)
{
	uint64_t entry[512];
	unsigned n = 0;

	while (start < end) {
		size_t want = COR_MIN((size_t)((end - start) >> COR_PAGE_SHIFT), ARRAY_SIZE(entry));
		ssize_t got = pread(p->fd, entry, want * sizeof(entry[0]),
				    (off_t)((start >> COR_PAGE_SHIFT) * sizeof(entry[0])));

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return -errno;
		if (got < (ssize_t)sizeof(entry[0]))
			return -ESRCH;      /* the address space has ended */
		for (size_t i = 0; i < (size_t)got / sizeof(entry[0]); i++, start += PAGE) {
			if (!(entry[i] & (PM_PRESENT | PM_SWAPPED)) || (entry[i] & (PM_FILE | PM_GUARD)))
				continue;
			if (!cor_runs_add(runs, max, &n, start, start + PAGE, next))
				return (int)n;
		}
	}
	*next = end;
	return (int)n;
}

int cor_pagemap_runs(const struct cor_pagemap *p, uint64_t start, uint64_t end,
		     struct cor_page_run *runs, unsigned max, uint64_t *next)
{
	uint64_t last = COR_MIN(end, ADDRESS_END), seen = start;
	int n = 0;

	if (start < last)
		n = p->scan ? runs_by_scan(p, start, last, runs, max, &seen) :
			      runs_by_entries(p, start, last, runs, max, &seen);
	if (n < 0)
		return n;
	*next = start >= last || seen == last ? end : seen;
	return n;
}

bool cor_pagemap_is_guard(const struct cor_pagemap *p, uint64_t addr)
{
	uint64_t entry;

	if (pread(p->fd, &entry, sizeof(entry), (off_t)((addr >> COR_PAGE_SHIFT) * sizeof(entry))) !=
	    (ssize_t)sizeof(entry))
		return false;
	return !(entry & PM_PRESENT) && (entry & PM_GUARD);
}
