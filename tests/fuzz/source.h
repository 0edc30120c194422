/* A memory source for page lanes: what a page holds follows from its number, so
 * that requests find data, zeros, holes, errors and the source's end. */
#pragma once

#include <errno.h>

#include "libcor/paging/source.h"
#include "tests/fuzz/fuzz.h"

static inline int fuzz_source_read(struct cor_source *s, uint16_t object, uint64_t offset,
				   unsigned npages, void *buf)
{
	const uint64_t page = (uint64_t)1 << COR_PAGE_SHIFT;
	unsigned kind = offset >> COR_PAGE_SHIFT & 15, n = npages < 3 ? npages : 3;

	if (object == 7)
		return -ESRCH;
	if (kind >= 4)
		return kind == 4 ? -EIO : 0;
	memset(buf, (int)kind, n * page);
	return (int)n;
}

static inline int fuzz_source_presence(struct cor_source *s, uint16_t object, uint64_t offset,
				       uint64_t npages, struct cor_page_run *runs, unsigned max,
				       uint64_t *next)
{
	uint64_t step = (npages + 1) / 2;
	unsigned n = object < 3 ? object : max;

	if (object == 7)
		return -EIO;
	if (object == 8)
		n = step = 0;   /* gets nowhere */
	for (unsigned i = 0; i < n; i++)
		runs[i] = (struct cor_page_run){ .offset = offset, .npages = 1 };
	*next = offset + (step << COR_PAGE_SHIFT);
	return (int)n;
}

static inline void fuzz_source_close(struct cor_source *s)
{
	free(s);
}

static inline struct cor_source *fuzz_source(void)
{
	static const struct cor_source_ops ops = {
		.name = "fuzz", .read = fuzz_source_read, .presence = fuzz_source_presence,
		.close = fuzz_source_close,
	};
	struct cor_source *s = malloc(sizeof(*s));

	FUZZ_CHECK(s);
	s->ops = &ops;
	return s;
}
