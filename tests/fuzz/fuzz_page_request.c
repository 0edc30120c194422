/* Requests of a page lane, as its peer sends them: 16 bytes each. The answers are
 * looked at too: headers that cover the request in order without a hole, and
 * exactly one that is the last. */
#include <errno.h>

#include "libcor/paging/answer.h"
#include "libcor/paging/wire.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/source.h"

#define PAGE ((uint64_t)1 << COR_PAGE_SHIFT)

/* What comes out on the lane, taken apart as it comes. */
static struct {
	struct cor_page_request q;
	size_t payload;         /* bytes of it still to come */
	uint8_t header[sizeof(struct cor_page_reply)];
	size_t have;            /* bytes of header */
	uint64_t due;           /* where the next reply begins */
	bool last;
	unsigned calls;
} out;

static void on_reply(const struct cor_page_reply *h)
{
	const struct cor_page_request *q = &out.q;
	uint64_t end = q->offset + q->npages * PAGE;

	FUZZ_CHECK(!out.last);
	out.last = h->flags & COR_PAGE_LAST;
	FUZZ_CHECK(h->object == q->object && !h->packed == (h->status != COR_PAGE_PACKED));
	FUZZ_CHECK(!(h->flags & COR_PAGE_CHECKED) == !(q->flags & COR_PAGE_CHECKED));
	FUZZ_CHECK((h->status == COR_PAGE_ERROR) == (h->error != 0));
	if (q->op == COR_PAGE_PRESENCE) {
		FUZZ_CHECK(h->status == COR_PAGE_RUNS || h->status == COR_PAGE_ERROR);
		FUZZ_CHECK(h->status == COR_PAGE_RUNS || h->npages == 0);
		out.payload = h->npages * sizeof(struct cor_page_run);
		return;
	}
	FUZZ_CHECK((h->status >= COR_PAGE_DATA && h->status <= COR_PAGE_ERROR) ||
		   (h->status == COR_PAGE_PACKED && (q->flags & COR_PAGE_MAY_PACK)));
	FUZZ_CHECK(h->npages > 0 && h->offset == out.due);
	out.due += h->npages * PAGE;
	FUZZ_CHECK(out.due <= end && out.last == (out.due == end));
	if (h->status == COR_PAGE_DATA)
		out.payload = h->npages * PAGE;
	else if (h->status == COR_PAGE_PACKED)
		out.payload = h->packed;
}

static void on_bytes(const uint8_t *p, size_t n)
{
	while (n) {
		size_t room = out.payload ? out.payload : sizeof(out.header) - out.have;
		size_t take = n < room ? n : room;
		struct cor_page_reply h;

		if (out.payload) {
			out.payload -= take;
		} else {
			memcpy(out.header + out.have, p, take);
			out.have += take;
		}
		p += take;
		n -= take;
		if (out.have < sizeof(h))
			continue;
		out.have = 0;
		memcpy(&h, out.header, sizeof(h));
		on_reply(&h);
	}
}

/* The lane: it takes a part now and then. */
static ssize_t take(struct cor_stream *s, const struct iovec *iov, unsigned niov, unsigned flags)
{
	size_t room = out.calls++ % 3 ? SIZE_MAX : 1 + out.calls * 37 % 9000, sent = 0;

	for (unsigned i = 0; i < niov && room; i++) {
		size_t n = iov[i].iov_len < room ? iov[i].iov_len : room;

		on_bytes(iov[i].iov_base, n);
		sent += n;
		room -= n;
	}
	return (ssize_t)sent;
}

static const struct cor_stream_ops ops = { .name = "fuzz", .send = take };
static struct cor_stream lane = { .ops = &ops, .in_fd = -1, .out_fd = -1 };

static bool proper(const struct cor_page_request *q)
{
	if (q->offset % PAGE || (q->flags & ~(COR_PAGE_CHECKED | COR_PAGE_MAY_PACK)) ||
	    q->npages > (UINT64_MAX - q->offset) / PAGE)
		return false;
	return q->op == COR_PAGE_PRESENCE ||
	       (q->op == COR_PAGE_READ && q->npages && q->npages <= COR_PAGE_MAX_RUN);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct cor_source *source = fuzz_source();
	struct cor_answer_counters counters = { 0 };
	struct fuzz_input in = { data, size };
	struct cor_answer *a;
	int r = 0;

	FUZZ_CHECK(cor_answer_new(&a, source, &lane, &counters, NULL) == 0);
	for (unsigned i = 0; i < 8 && r == 0 && in.size >= sizeof(out.q); i++) {
		memset(&out, 0, sizeof(out));
		fuzz_take(&in, &out.q, sizeof(out.q));
		out.due = out.q.offset;
		r = cor_answer_request(a, &out.q);
		FUZZ_CHECK(r == (proper(&out.q) ? 0 : -EPROTO));
		FUZZ_CHECK(r == 0 ? out.last && !out.payload && !out.have : !out.calls);
	}
	cor_answer_free(a);
	cor_source_close(source);
	return 0;
}
