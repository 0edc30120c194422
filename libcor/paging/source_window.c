/* A memory source: a window of another source's address space. It is a fence as
 * well: a peer that holds a ticket for the window can read nothing around it. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "libcor/base/cleanup.h"
#include "libcor/base/error.h"
#include "libcor/paging/source.h"

#define PAGE (UINT64_C(1) << COR_PAGE_SHIFT)

struct window_source {
	struct cor_source base;
	struct cor_source *inner;
	uint64_t start, len;
};

static int window_read(struct cor_source *s, uint16_t object, uint64_t offset,
		       unsigned npages, void *buf)
{
	struct window_source *w = (struct window_source *)s;

	if (object != 0)
		return -ENOENT;
	if (offset >= w->len)
		return 0;
	npages = (unsigned)COR_MIN((uint64_t)npages, (w->len - offset) / PAGE);
	return w->inner->ops->read(w->inner, 0, w->start + offset, npages, buf);
}

static int window_presence(struct cor_source *s, uint16_t object, uint64_t offset,
			   uint64_t npages, struct cor_page_run *runs, unsigned max,
			   uint64_t *next)
{
	struct window_source *w = (struct window_source *)s;
	uint64_t end = offset + npages * PAGE, inside, seen;
	int n;

	if (object != 0)
		return -ENOENT;
	if (offset >= w->len) {
		*next = end;
		return 0;
	}
	inside = COR_MIN(npages, (w->len - offset) / PAGE);
	n = w->inner->ops->presence(w->inner, 0, w->start + offset, inside, runs, max, &seen);
	if (n < 0)
		return n;
	for (int i = 0; i < n; i++)
		runs[i].offset -= w->start;
	seen -= w->start;
	*next = seen == offset + inside * PAGE ? end : seen;
	return n;
}

static void window_close(struct cor_source *s)
{
	struct window_source *w = (struct window_source *)s;

	cor_source_close(w->inner);
	free(w);
}

static const struct cor_source_ops window_ops = {
	.name = "window",
	.read = window_read,
	.presence = window_presence,
	.close = window_close,
};

int cor_source_window(struct cor_source **out, struct cor_source *inner, uint64_t base,
		      uint64_t len, struct cor_error *err)
{
	struct window_source *w;

	if (len == 0 || (base | len) % PAGE || base + len < base) {
		cor_source_close(inner);
		return cor_fail(err, -EINVAL, "0x%" PRIx64 " and 0x%" PRIx64 " bytes from there are "
				"not whole pages", base, len);
	}
	w = calloc(1, sizeof(*w));
	if (!w) {
		cor_source_close(inner);
		return cor_fail(err, -ENOMEM, "a window of memory: out of memory");
	}
	*w = (struct window_source){
		.base.ops = &window_ops, .inner = inner, .start = base, .len = len,
	};
	*out = &w->base;
	return 0;
}
