/* A memory source for tests, told page by page what to hold: D data (its bytes
 * are the page's number), Z zeros, G no memory, E a read error, X the source has
 * ended. Reads at most three pages at once. */
#pragma once

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "libcor/paging/pagemap.h"
#include "libcor/paging/source.h"

struct fake_source {
	struct cor_source base;
	const char *pages;
	int *closed;
};

static inline int fake_read(struct cor_source *s, uint16_t object, uint64_t offset,
			    unsigned npages, void *buf)
{
	const struct fake_source *f = (struct fake_source *)s;
	uint64_t first = offset >> COR_PAGE_SHIFT;
	int n = 0;

	while (n < 3 && (unsigned)n < npages && first + (unsigned)n < strlen(f->pages)) {
		char kind = f->pages[first + (unsigned)n];

		if (kind != 'D' && kind != 'Z') {
			if (n)
				break;
			return kind == 'G' ? 0 : kind == 'E' ? -EIO : -ESRCH;
		}
		memset((char *)buf + n * 4096, kind == 'D' ? (int)(first + (unsigned)n) + 1 : 0, 4096);
		n++;
	}
	return n;
}

static inline int fake_presence(struct cor_source *s, uint16_t object, uint64_t offset,
				uint64_t npages, struct cor_page_run *runs, unsigned max,
				uint64_t *next)
{
	const struct fake_source *f = (struct fake_source *)s;
	uint64_t end = offset + (npages << COR_PAGE_SHIFT);
	unsigned n = 0;

	if (object)
		return -ENOENT;
	if (max > 2)
		max = 2;         /* so that several replies are needed */
	*next = end;
	for (uint64_t o = offset; o < end && o >> COR_PAGE_SHIFT < strlen(f->pages); o += 4096)
		if (f->pages[o >> COR_PAGE_SHIFT] == 'D' &&
		    !cor_runs_add(runs, max, &n, o, o + 4096, 0, next))
			return (int)n;
	*next = end;
	return (int)n;
}

static inline void fake_close(struct cor_source *s)
{
	struct fake_source *f = (struct fake_source *)s;

	if (f->closed)
		++*f->closed;
	free(f);
}

static const struct cor_source_ops fake_ops = {
	.name = "fake", .read = fake_read, .presence = fake_presence, .close = fake_close,
};

static inline struct cor_source *fake_source(const char *pages, int *closed)
{
	struct fake_source *f = calloc(1, sizeof(*f));

	if (!f)
		abort();
	f->base.ops = &fake_ops;
	f->pages = pages;
	f->closed = closed;
	return &f->base;
}
