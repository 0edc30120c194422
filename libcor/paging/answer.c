/* Answers to page requests; see answer.h and, for the protocol, wire.h. */
#include "libcor/paging/answer.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <time.h>

#include "libcor/base/cleanup.h"
#include "libcor/base/error.h"
#include "libcor/base/io.h"
#include "libcor/paging/check.h"
#include "libcor/paging/pack.h"
#include "libcor/paging/pagemap.h"

#define PAGE ((size_t)1 << COR_PAGE_SHIFT)

/* Pages read before they are sent: few enough to stay in the processor's cache
 * between process_vm_readv and sendmsg, enough for both to be worth their call. */
#define CHUNK 64u

/* Runs in one reply. */
#define RUNS_MAX 4096u
static_assert(RUNS_MAX * sizeof(struct cor_page_run) <= CHUNK * ((size_t)1 << COR_PAGE_SHIFT),
	      "runs share the page buffer");

struct cor_answer {
	struct cor_source *source;
	struct cor_answer_counters *counters;
	struct cor_stream *lane;
	uint8_t *data;                          /* CHUNK pages */
	struct cor_page_reply head[CHUNK];      /* one reply for each stretch of like pages */
	unsigned nheads;
	struct iovec iov[2 * CHUNK];
	struct cor_packer *packer;              /* NULL: not asked for yet */
};

int cor_answer_new(struct cor_answer **out, struct cor_source *source, struct cor_stream *lane,
		   struct cor_answer_counters *counters, struct cor_error *err)
{
	struct cor_answer *a = calloc(1, sizeof(*a));

	if (!a)
		return cor_fail(err, -ENOMEM, "a page lane: out of memory");
	a->source = source;
	a->counters = counters;
	a->lane = lane;
	a->data = mmap(NULL, CHUNK * PAGE, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	if (a->data == MAP_FAILED) {
		free(a);
		return cor_fail(err, -ENOMEM, "a page lane's buffer: out of memory");
	}
	*out = a;
	return 0;
}

void cor_answer_free(struct cor_answer *a)
{
	if (!a)
		return;
	munmap(a->data, CHUNK * PAGE);
	cor_packer_free(a->packer);
	free(a);
}

static void count(_Atomic uint64_t *counter, uint64_t n)
{
	atomic_fetch_add_explicit(counter, n, memory_order_relaxed);
}

/* Sends it all; iov is used up. *sent: how many bytes, NULL allowed. */
static int send_all(struct cor_answer *a, struct iovec *iov, unsigned n, size_t *sent)
{
	size_t len = 0;
	int r;

	for (unsigned i = 0; i < n; i++)
		len += iov[i].iov_len;
	r = cor_stream_writev(a->lane, iov, n);
	if (r == 0)
		count(&a->counters->bytes_sent, len);
	if (sent)
		*sent = len;
	return r;
}

/* Most pages that are not zero show it in their first bytes. */
static bool page_is_zero(const void *page)
{
	const uint64_t *w = __builtin_assume_aligned(page, 64);

	for (size_t i = 0; i < PAGE / sizeof(*w); i += 8)
		if (w[i] | w[i + 1] | w[i + 2] | w[i + 3] | w[i + 4] | w[i + 5] | w[i + 6] | w[i + 7])
			return false;
	return true;
}

/* Adds npages to the last reply if they are like its own, else to a new one. */
static void add_pages(struct cor_answer *a, const struct cor_page_request *q, uint64_t offset,
		      enum cor_page_status status, uint32_t npages, int error)
{
	struct cor_page_reply *last = a->nheads ? &a->head[a->nheads - 1] : NULL;

	if (last && last->status == status && last->error == (uint32_t)error) {
		last->npages += npages;
		return;
	}
	a->head[a->nheads++] = (struct cor_page_reply){
		.status = (uint8_t)status, .object = q->object, .npages = npages,
		.offset = offset, .error = (uint32_t)error,
	};
}

/* Reads n pages from page first of q on and describes them in a->head. */
static void read_chunk(struct cor_answer *a, const struct cor_page_request *q, uint32_t first,
		       uint32_t n)
{
	const struct cor_source_ops *ops = a->source->ops;
	uint32_t i = 0;

	a->nheads = 0;
	while (i < n) {
		uint64_t offset = q->offset + (uint64_t)(first + i) * PAGE;
		int got = ops->read(a->source, q->object, offset, n - i, a->data + i * PAGE);

		if (got == 0) {
			add_pages(a, q, offset, COR_PAGE_GONE, 1, 0);
			i++;
		} else if (got < 0) {
			/* a source that has ended will not come back for the next page */
			uint32_t failed = got == -ESRCH ? n - i : 1;

			add_pages(a, q, offset, COR_PAGE_ERROR, failed, -got);
			i += failed;
		}
		for (; got > 0 && i < n; got--, i++, offset += PAGE)
			add_pages(a, q, offset, page_is_zero(a->data + i * PAGE) ? COR_PAGE_ZERO :
				  COR_PAGE_DATA, 1, 0);
	}
}

/* The last touch: nothing of the header changes behind it. */
static void add_check(struct cor_page_reply *head, const void *data, size_t len)
{
	head->flags |= COR_PAGE_CHECKED;
	head->check = cor_page_check(head, data, len);
}

/* Is there a packer, for one who may have pages packed? */
static bool may_be_packed(struct cor_answer *a, const struct cor_page_request *q)
{
	if (!(q->flags & COR_PAGE_MAY_PACK))
		return false;
	if (!a->packer)
		a->packer = cor_packer_new(CHUNK * PAGE);
	return a->packer != NULL;
}

/* The payload of a reply with data; packed, if that pays. */
static struct iovec payload(struct cor_answer *a, struct cor_page_reply *h, const void *data, bool pack)
{
	size_t len = h->npages * PAGE, n;
	const void *packed;

	count(&a->counters->pages_sent, h->npages);
	n = pack ? cor_pack(a->packer, data, len, &packed) : 0;
	if (!n)
		return (struct iovec){ (void *)data, len };
	h->status = COR_PAGE_PACKED;
	h->packed = (uint32_t)n;
	count(&a->counters->pages_packed, h->npages);
	return (struct iovec){ (void *)packed, n };
}

/* Of this thread. */
static uint64_t cpu_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
	return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

/* Sends what read_chunk() has described. */
static int send_chunk(struct cor_answer *a, const struct cor_page_request *q, bool last)
{
	bool may_pack = may_be_packed(a, q);
	bool pack = may_pack && cor_packer_begin(a->packer, cor_now_ns());
	const uint8_t *data = a->data;
	unsigned niov = 0;
	size_t sent;
	int r;

	for (unsigned i = 0; i < a->nheads; i++) {
		struct cor_page_reply *h = &a->head[i];
		struct iovec body = { 0 };

		if (last && i == a->nheads - 1)
			h->flags |= COR_PAGE_LAST;
		if (h->status == COR_PAGE_DATA)
			body = payload(a, h, data, pack);
		else if (h->status == COR_PAGE_ZERO)
			count(&a->counters->pages_zero, h->npages);
		if (q->flags & COR_PAGE_CHECKED)
			add_check(h, body.iov_base, body.iov_len);
		a->iov[niov++] = (struct iovec){ h, sizeof(*h) };
		if (body.iov_len)
			a->iov[niov++] = body;
		data += h->npages * PAGE;
	}
	r = send_all(a, a->iov, niov, &sent);
	if (may_pack)
		cor_packer_sent(a->packer, sent, cor_now_ns(), cpu_ns());
	return r;
}

static int answer_read(struct cor_answer *a, const struct cor_page_request *q)
{
	for (uint32_t done = 0; done < q->npages; ) {
		uint32_t n = COR_MIN(q->npages - done, CHUNK);
		int r;

		read_chunk(a, q, done, n);
		done += n;
		r = send_chunk(a, q, done == q->npages);
		if (r < 0)
			return r;
	}
	return 0;
}

/* Runs of data in [offset, end): as ops->presence, which not every source has. */
static int find_runs(struct cor_answer *a, uint16_t object, uint64_t offset, uint64_t end,
		     uint64_t *next)
{
	struct cor_page_run *runs = (struct cor_page_run *)a->data;
	unsigned n = 0;

	if (a->source->ops->presence)
		return a->source->ops->presence(a->source, object, offset,
						(end - offset) >> COR_PAGE_SHIFT, runs, RUNS_MAX, next);
	cor_runs_add(runs, RUNS_MAX, &n, offset, end, 0, next);
	return (int)n;
}

static int answer_presence(struct cor_answer *a, const struct cor_page_request *q)
{
	uint64_t offset = q->offset, end = q->offset + (uint64_t)q->npages * PAGE;

	do {
		struct cor_page_reply head = { .object = q->object, .offset = offset };
		uint64_t next = end;
		int n = offset < end ? find_runs(a, q->object, offset, end, &next) : 0, r;

		if (n >= 0 && next <= offset && offset < end)
			n = -EIO;       /* a source that gets nowhere must not keep us */
		if (n < 0) {
			head.status = COR_PAGE_ERROR;
			head.error = (uint32_t)-n;
			next = end;
			n = 0;
		} else {
			head.status = COR_PAGE_RUNS;
			head.npages = (uint32_t)n;
		}
		if (next >= end)
			head.flags |= COR_PAGE_LAST;
		if (q->flags & COR_PAGE_CHECKED)
			add_check(&head, a->data, (size_t)n * sizeof(struct cor_page_run));
		a->iov[0] = (struct iovec){ &head, sizeof(head) };
		a->iov[1] = (struct iovec){ a->data, (size_t)n * sizeof(struct cor_page_run) };
		r = send_all(a, a->iov, n ? 2 : 1, NULL);
		if (r < 0)
			return r;
		offset = next;
	} while (offset < end);
	return 0;
}

int cor_answer_request(struct cor_answer *a, const struct cor_page_request *q)
{
	if (q->offset % PAGE || (q->flags & ~(COR_PAGE_CHECKED | COR_PAGE_MAY_PACK)) ||
	    q->offset + (uint64_t)q->npages * PAGE < q->offset)
		return -EPROTO;
	if (q->op == COR_PAGE_PRESENCE)
		return answer_presence(a, q);
	if (q->op != COR_PAGE_READ || q->npages == 0 || q->npages > COR_PAGE_MAX_RUN)
		return -EPROTO;
	return answer_read(a, q);
}
