/* Which pages of an address space hold data of their own: present or swapped
 * out, and neither the kernel's zero page, nor a page of a file (which the file
 * has as well), nor a guard page. PAGEMAP_SCAN where the kernel has it (6.7),
 * else /proc/PID/pagemap (Documentation/admin-guide/mm/pagemap.rst). */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "libcor/paging/wire.h"

struct cor_pagemap {
	int      fd;            /* /proc/PID/pagemap */
	bool     scan;          /* PAGEMAP_SCAN works here */
	uint64_t not_data;      /* categories that are no data, as far as this kernel knows them */
	int      kpageflags;    /* tells huge pages where there is no PAGEMAP_SCAN; else -1 */
};

/* Opens the pagemap in proc_dir (/proc/PID). */
int cor_pagemap_open(struct cor_pagemap *out, int proc_dir);
void cor_pagemap_close(struct cor_pagemap *p);

/* Stores up to max runs of data pages in [start, end), ascending, offsets being
 * addresses, and in *next where to go on (end: all was looked at). What lies in a
 * transparent huge page (2 MiB) is in runs of its own, with COR_RUN_HUGE. Returns
 * their number or -errno. Any thread. */
int cor_pagemap_runs(const struct cor_pagemap *p, uint64_t start, uint64_t end,
		     struct cor_page_run *runs, unsigned max, uint64_t *next);

/* Which of npages pages (64 at the most) from addr on are in swap: bit i for the i-th. 0 also
 * where that cannot be told. Any thread. */
uint64_t cor_pagemap_swapped(const struct cor_pagemap *p, uint64_t addr, unsigned npages);

/* Is the page at addr a guard page (MADV_GUARD_INSTALL)? False where that
 * cannot be told. */
bool cor_pagemap_is_guard(const struct cor_pagemap *p, uint64_t addr);

/* Appends [start, end) to runs[0..*n), joining it to the last where they touch and
 * have the same flags (enum cor_run_flags). False when there was no room for all of
 * it; *done is how far it went. */
bool cor_runs_add(struct cor_page_run *runs, unsigned max, unsigned *n,
		  uint64_t start, uint64_t end, uint32_t flags, uint64_t *done);
