/* Presence of pages; see pagemap.h. */
#include "libcor/paging/pagemap.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "libcor/base/cleanup.h"
#include "libcor/base/compat.h"
#include "libcor/base/pagemap_bits.h"

#define PAGE (UINT64_C(1) << COR_PAGE_SHIFT)

/* Behind this no user memory can be: x86-64 with four levels of page tables.
 * PAGEMAP_SCAN refuses a range that reaches further. */
#define ADDRESS_END UINT64_C(0x7ffffffff000)

/* Regions asked for at once: 6 KiB of stack. */
#define REGIONS 256

/* Pages found in one call, some 40 microseconds: a kernel without preemption does not
 * let go of the processor in it, and somebody may want it who has a page to read. */
#define FOUND 512u

/* Of /proc/kpageflags. */
#define KPF_THP       (UINT64_C(1) << 22)
#define KPF_ZERO_PAGE (UINT64_C(1) << 24)

#define HUGE_PAGES (1u << (COR_HUGE_SHIFT - COR_PAGE_SHIFT))

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
	struct cor_pagemap p = { .not_data = PAGE_IS_FILE | PAGE_IS_PFNZERO, .kpageflags = -1 };

	p.fd = openat(proc_dir, "pagemap", O_RDONLY | O_CLOEXEC);
	if (p.fd < 0)
		return -errno;
	p.scan = scan_knows(p.fd, p.not_data);
	if (p.scan && scan_knows(p.fd, p.not_data | PAGE_IS_GUARD))
		p.not_data |= PAGE_IS_GUARD;
	/* not for everyone; without it no page counts as huge */
	if (!p.scan)
		p.kpageflags = open("/proc/kpageflags", O_RDONLY | O_CLOEXEC);
	*out = p;
	return 0;
}

void cor_pagemap_close(struct cor_pagemap *p)
{
	cor_closep(&p->fd);
	cor_closep(&p->kpageflags);
	p->fd = p->kpageflags = -1;
}

bool cor_runs_add(struct cor_page_run *runs, unsigned max, unsigned *n,
		  uint64_t start, uint64_t end, uint32_t flags, uint64_t *done)
{
	while (start < end) {
		struct cor_page_run *last = *n ? &runs[*n - 1] : NULL;
		bool joins = last && last->flags == flags && last->offset + last->npages * PAGE == start;
		uint32_t have = joins ? last->npages : 0;
		uint64_t take = COR_MIN((end - start) >> COR_PAGE_SHIFT, (uint64_t)UINT32_MAX - have);

		if (have && take) {
			last->npages += (uint32_t)take;
		} else {
			if (*n == max)
				break;
			take = COR_MIN((end - start) >> COR_PAGE_SHIFT, (uint64_t)UINT32_MAX);
			runs[(*n)++] = (struct cor_page_run){
				.offset = start, .npages = (uint32_t)take, .flags = flags };
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
			.vec = (uintptr_t)found, .vec_len = REGIONS, .max_pages = FOUND,
			.category_inverted = p->not_data, .category_mask = p->not_data,
			.category_anyof_mask = PAGE_IS_PRESENT | PAGE_IS_SWAPPED,
			.return_mask = PAGE_IS_PRESENT | PAGE_IS_SWAPPED | PAGE_IS_HUGE,
		};
		int r = ioctl(p->fd, PAGEMAP_SCAN, &arg);

		if (r < 0 && errno == EINTR)
			continue;
		if (r < 0)
			return -errno;
		for (int i = 0; i < r; i++)
			if (!cor_runs_add(runs, max, &n, found[i].start, found[i].end,
					  found[i].categories & PAGE_IS_HUGE ? COR_RUN_HUGE : 0, next))
				return (int)n;
		start = arg.walk_end;
	}
	*next = end;
	return (int)n;
}

/* Is the page whose entry this is the first one of a transparent huge page? */
static bool begins_huge(const struct cor_pagemap *p, uint64_t entry)
{
	uint64_t frame = entry & PM_FRAME, flags;

	if (!(entry & PM_PRESENT) || !frame || frame % HUGE_PAGES || p->kpageflags < 0)
		return false;
	return pread(p->kpageflags, &flags, sizeof(flags), (off_t)(frame * sizeof(flags))) ==
	       (ssize_t)sizeof(flags) && (flags & (KPF_THP | KPF_ZERO_PAGE)) == KPF_THP;
}

static int runs_by_entries(const struct cor_pagemap *p, uint64_t start, uint64_t end,
			   struct cor_page_run *runs, unsigned max, uint64_t *next)
{
	uint64_t entry[512];
	uint32_t flags = 0;
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
			if (start % (HUGE_PAGES * PAGE) == 0)
				flags = begins_huge(p, entry[i]) ? COR_RUN_HUGE : 0;
			if (!(entry[i] & (PM_PRESENT | PM_SWAPPED)) || (entry[i] & (PM_FILE | PM_GUARD)))
				continue;
			if (!cor_runs_add(runs, max, &n, start, start + PAGE, flags, next))
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

uint64_t cor_pagemap_swapped(const struct cor_pagemap *p, uint64_t addr, unsigned npages)
{
	uint64_t entry[64], found = 0;
	ssize_t n = pread(p->fd, entry, npages * sizeof(entry[0]),
			  (off_t)((addr >> COR_PAGE_SHIFT) * sizeof(entry[0])));

	for (unsigned i = 0; n > 0 && i < (size_t)n / sizeof(entry[0]); i++)
		if ((entry[i] & (PM_PRESENT | PM_SWAPPED | PM_FILE)) == PM_SWAPPED)
			found |= UINT64_C(1) << i;
	return found;
}

bool cor_pagemap_is_guard(const struct cor_pagemap *p, uint64_t addr)
{
	uint64_t entry;

	if (pread(p->fd, &entry, sizeof(entry), (off_t)((addr >> COR_PAGE_SHIFT) * sizeof(entry))) !=
	    (ssize_t)sizeof(entry))
		return false;
	return !(entry & PM_PRESENT) && (entry & PM_GUARD);
}
