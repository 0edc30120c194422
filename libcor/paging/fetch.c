/* Fetching pages over a lane, synchronously; see fetch.h. */
#include "libcor/paging/fetch.h"

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "libcor/base/cleanup.h"
#include "libcor/base/error.h"
#include "libcor/paging/check.h"
#include "libcor/paging/wire.h"

#define PAGE ((size_t)1 << COR_PAGE_SHIFT)

/* Pages in one request, and requests in flight: the server is reading the next
 * while one is on its way. */
#define REQUEST 64u
#define WINDOW  4u

/* Spoiled replies before we give up. */
#define SPOILED_MAX 8u

struct fetch {
	struct cor_stream *lane;
	uint16_t object;
	uint64_t asked;         /* offset behind what was asked for */
	uint64_t due;           /* offset of the next page to come */
	uint64_t end;
	unsigned in_flight;     /* requests */
	bool check;
	unsigned spoiled;       /* replies */
	bool again;             /* from .resume on, once nothing is in flight */
	uint64_t resume;
	int failed;             /* sink's or the source's first error: read on, hand on no more */
	int (*sink)(void *arg, uint64_t offset, const void *data, uint32_t npages);
	void *arg;
	void *buf;              /* REQUEST pages */
	struct cor_error *err;
};

static uint64_t request_end(const struct fetch *f, uint64_t offset)
{
	return offset + COR_MIN(f->end - offset, (uint64_t)REQUEST * PAGE);
}

static int ask(struct fetch *f)
{
	struct cor_page_request q[WINDOW];
	unsigned n = 0;
	int r;

	while (f->in_flight < WINDOW && f->asked < f->end && !f->failed && !f->again) {
		uint64_t end = request_end(f, f->asked);

		q[n++] = (struct cor_page_request){
			.op = COR_PAGE_READ, .object = f->object, .offset = f->asked,
			.npages = (uint32_t)((end - f->asked) / PAGE),
			.flags = f->check ? COR_PAGE_CHECKED : 0,
		};
		f->asked = end;
		f->in_flight++;
	}
	if (n == 0)
		return 0;
	r = cor_stream_write(f->lane, q, n * sizeof(q[0]));
	if (r < 0)
		return cor_fail_code(f->err, r, "asking for pages over the lane");
	return 0;
}

/* A reply continues its request where the last one ended, and ends within it. */
static bool reply_fits(const struct fetch *f, const struct cor_page_reply *h, uint64_t until)
{
	uint64_t most = (until - f->due) / PAGE;        /* an end may lie behind 2^64 */
	bool last = h->flags & COR_PAGE_LAST;

	return h->object == f->object && h->offset == f->due && h->npages > 0 &&
	       h->npages <= most && last == (h->npages == most);
}

static void deliver(struct fetch *f, const struct cor_page_reply *h, const void *data)
{
	int r;

	if (f->failed || f->again)
		return;
	r = f->sink(f->arg, h->offset, data, h->npages);
	if (r < 0)
		f->failed = cor_fail_code(f->err, r, "storing the pages at 0x%" PRIx64, h->offset);
}

/* The rest of what is in flight is read and thrown away, then we ask from here on. */
static int take_spoiled(struct fetch *f, const struct cor_page_reply *h)
{
	if (++f->spoiled > SPOILED_MAX)
		return cor_fail(f->err, -EBADMSG, "the lane spoils what comes over it: the pages at 0x%"
				PRIx64 " came wrong %u times", h->offset, f->spoiled);
	if (!f->again && !f->failed) {
		f->again = true;
		f->resume = h->offset;
	}
	return 0;
}

static int take_reply(struct fetch *f, uint64_t until)
{
	struct cor_page_reply h;
	int r = cor_stream_read(f->lane, &h, sizeof(h));

	if (r == 0 && !reply_fits(f, &h, until))
		return cor_fail(f->err, -EPROTO, "the lane brought a reply that answers "
				"no request of ours");
	if (r == 0 && h.status == COR_PAGE_DATA)
		r = cor_stream_read(f->lane, f->buf, h.npages * PAGE);
	if (r < 0)
		return cor_fail_code(f->err, r == -ENODATA ? -EPIPE : r,
				     "reading pages from the lane");
	if (f->check && !cor_page_intact(&h, f->buf, h.status == COR_PAGE_DATA ? h.npages * PAGE : 0)) {
		r = take_spoiled(f, &h);
		f->due += (uint64_t)h.npages * PAGE;
		return r;
	}
	switch (h.status) {
	case COR_PAGE_DATA:
		deliver(f, &h, f->buf);
		break;
	case COR_PAGE_ZERO:
		deliver(f, &h, NULL);
		break;
	case COR_PAGE_GONE:
		if (!f->failed && !f->again)
			f->failed = cor_fail(f->err, -ENOENT, "the source has no memory at 0x%" PRIx64,
					     h.offset);
		break;
	case COR_PAGE_ERROR:
		if (!f->failed && !f->again)
			f->failed = cor_fail_code(f->err, h.error && h.error < 4096 ? -(int)h.error : -EIO,
						  "the source cannot read its memory at 0x%" PRIx64,
						  h.offset);
		break;
	default:
		return cor_fail(f->err, -EPROTO, "the lane brought a reply of unknown kind %u",
				h.status);
	}
	f->due += (uint64_t)h.npages * PAGE;
	return 0;
}

static int run(struct fetch *f)
{
	while (f->in_flight || f->again || (f->asked < f->end && !f->failed)) {
		uint64_t until;
		int r;

		if (f->again && !f->in_flight) {
			f->asked = f->due = f->resume;
			f->again = false;
		}
		r = ask(f);
		until = request_end(f, f->due);
		while (r == 0 && f->due < until)
			r = take_reply(f, until);
		if (r < 0)
			return r;
		f->in_flight--;
	}
	return f->failed;
}

int cor_fetch(struct cor_stream *lane, uint16_t object, uint64_t offset, uint64_t npages,
	      bool check,
	      int (*sink)(void *arg, uint64_t offset, const void *data, uint32_t npages),
	      void *arg, struct cor_error *err)
{
	_cleanup_free_ void *buf = NULL;
	struct fetch f = {
		.lane = lane, .object = object, .asked = offset, .due = offset,
		.check = check, .sink = sink, .arg = arg, .err = err,
	};

	if (offset % PAGE || npages > (UINT64_MAX - offset) / PAGE)
		return cor_fail(err, -EINVAL, "0x%" PRIx64 " is not where pages can be", offset);
	if (posix_memalign(&buf, PAGE, REQUEST * PAGE) != 0)
		return cor_fail(err, -ENOMEM, "fetching pages: out of memory");
	f.buf = buf;
	f.end = offset + npages * PAGE;
	return run(&f);
}
