/* Pages of something with a descriptor: a file or a shared memory object. */
#pragma once

#include <stdint.h>
#include <sys/types.h>

#include "libcor/paging/wire.h"

/* Reads npages pages at byte offset of fd; the rest of a last, partial page is
 * zero. Returns the number of pages; 0: offset is at or behind the end; -errno. */
int cor_fd_read_pages(int fd, uint64_t offset, unsigned npages, void *buf);

/* Runs of pages of fd in [start, end) that hold data (lseek(2), SEEK_DATA);
 * as cor_pagemap_runs(). Run offsets and *next count from base in fd, which
 * need not be page aligned. */
int cor_fd_runs(int fd, uint64_t base, uint64_t start, uint64_t end,
		struct cor_page_run *runs, unsigned max, uint64_t *next);
