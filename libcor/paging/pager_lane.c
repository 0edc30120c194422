/* A lane: a connection to the page server with its queue of unanswered requests
 * and the reply that is coming in. Payload goes straight from the socket into a
 * page-aligned buffer, from which the kernel copies it into the task. */
#include "libcor/paging/pager_private.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "libcor/base/cleanup.h"
#include "libcor/base/error.h"
#include "libcor/base/io.h"
#include "libcor/paging/check.h"
#include "libcor/paging/pack.h"
#include "libcor/paging/reach.h"

#define SEND_BATCH 32u
/* One-sided reads that take so many times as long as asking are tried with one page in so many. */
#define REACH_SLOW 4u
#define REACH_TRY  256u
/* Nor is it known how long asking takes where that is not done now and then. */
#define REACH_LEARN 8u
/* More than that says something of the scheduler. */
#define LATE_NS (2 * UINT64_C(1000000))

/* Memory that the demand path must not fault on; locking is as far as allowed. */
static void *locked_pages(size_t npages)
{
	void *m = mmap(NULL, npages << COR_PAGE_SHIFT, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);

	if (m == MAP_FAILED)
		return NULL;
	(void)!mlock(m, npages << COR_PAGE_SHIFT);
	return m;
}

static struct pager_lane *lane_new(struct cor_stream *stream, enum cor_connection_kind kind)
{
	struct pager_lane *l = calloc(1, sizeof(*l));

	if (!l)
		return NULL;
	l->buf_pages = kind == COR_CONN_DEMAND ? PAGER_PIECE : PAGER_RUN;
	l->buf = locked_pages(l->buf_pages);
	if (!l->buf) {
		free(l);
		return NULL;
	}
	l->stream = stream;
	l->one_sided = cor_stream_is_reach(stream);
	l->kind = kind;
	l->open = l->readable = true;
	return l;
}

void pager_lane_free(struct pager_lane *l)
{
	if (!l)
		return;
	munmap(l->buf, (size_t)l->buf_pages << COR_PAGE_SHIFT);
	if (l->plain)
		munmap(l->plain, (size_t)l->buf_pages << COR_PAGE_SHIFT);
	cor_stream_close(l->stream);
	free(l);
}

int pager_lane_open(struct cor_pager *p, struct cor_stream *stream,
		    enum cor_connection_kind kind, struct cor_error *err)
{
	_cleanup_stream_ struct cor_stream *owned = stream;
	struct pager_lane **at = NULL;

	if (kind != COR_CONN_DEMAND && kind != COR_CONN_BULK)
		return cor_fail(err, -EINVAL, "a lane is for demand or for bulk");
	for (unsigned i = 0; i < PAGER_LANES && !at; i++) {
		struct pager_lane *old = p->lanes[i];

		if (old && (old->open || old->polled || old->polled_out))
			continue;
		pager_lane_free(old);
		p->lanes[i] = NULL;
		at = &p->lanes[i];
	}
	if (!at)
		return cor_fail(err, -EMFILE, "the pager has %u lanes already", PAGER_LANES);
	*at = lane_new(stream, kind);
	if (!*at)
		return cor_fail(err, -ENOMEM, "out of memory for a lane");
	take_ptr(owned);
	atomic_fetch_add(&p->nlanes[kind], 1);
	if (p->running)
		pager_poll_lane(p, *at);
	return 0;
}

/* A lane that is no connection of the kernel's may not notice that the source is out
 * of reach: without one that does, it is as good as lost. */
static void lose_the_deaf(struct cor_pager *p)
{
	for (unsigned i = 0; i < PAGER_LANES; i++)
		if (p->lanes[i] && p->lanes[i]->open && p->lanes[i]->stream->rank == 0)
			return;
	for (unsigned i = 0; i < PAGER_LANES; i++)
		if (p->lanes[i])
			pager_lane_lost(p, p->lanes[i]);
}

void pager_probe_lanes(struct cor_pager *p)
{
	for (unsigned i = 0; i < PAGER_LANES; i++) {
		struct pager_lane *l = p->lanes[i];

		if (l && l->open && l->stream->rank && pager_lane_unanswered(l) &&
		    cor_now_ns() - pager_lane_oldest(l)->sent_at > PAGER_SILENCE_NS)
			pager_lane_lost(p, l);
	}
}

void pager_lane_lost(struct cor_pager *p, struct pager_lane *l)
{
	bool hears;

	if (!l->open)
		return;
	hears = l->stream->rank == 0;
	l->open = l->readable = false;
	atomic_fetch_sub(&p->nlanes[l->kind], 1);
	while (pager_lane_unanswered(l)) {
		struct pager_request *rq = pager_lane_oldest(l);

		l->head++;
		if (rq->slot) {
			p->asked--;
			pager_fault_lost(p, rq->slot);
		}
		pager_request_end(p, rq);
	}
	cor_stream_shutdown(l->stream);
	pager_unpoll(p, l);
	cor_stream_close(l->stream);
	l->stream = NULL;
	if (hears)
		lose_the_deaf(p);
	pager_notify(p);
}

/* A lane of the kind, of the highest rank there is, that answers whatever is asked. */
static struct pager_lane *best_lane(struct cor_pager *p, enum cor_connection_kind kind)
{
	struct pager_lane *best = NULL;

	for (unsigned i = 0; i < PAGER_LANES; i++) {
		struct pager_lane *l = p->lanes[i];

		if (l && l->open && l->kind == kind && !l->one_sided &&
		    (!best || l->stream->rank > best->stream->rank))
			best = l;
	}
	return best;
}

struct pager_lane *pager_demand_lane(struct cor_pager *p)
{
	return best_lane(p, COR_CONN_DEMAND) ?: best_lane(p, COR_CONN_BULK);
}

/* A provider whose reads wait until the owner's thread looks has it look once in a while
 * (reach_owner.c): then asking is faster by far. It is tried again now and then. */
static bool is_slow(struct cor_pager *p, struct pager_lane *l)
{
	const struct pager_lane *asking;

	if (l->mean_ns <= PAGER_NEAR_NS || !cor_reach_waits(l->stream))
		return false;
	asking = pager_demand_lane(p);
	if (!asking)
		return false;
	l->spared++;
	if (l->mean_ns > REACH_SLOW * asking->best_ns)
		return l->spared % REACH_TRY;
	return l->spared % REACH_LEARN == 0;
}

struct pager_lane *pager_reach_lane(struct cor_pager *p, uint16_t object, uint64_t offset)
{
	for (unsigned i = 0; i < PAGER_LANES; i++) {
		struct pager_lane *l = p->lanes[i];

		if (l && l->open && l->one_sided && cor_reach_has(l->stream, object, offset))
			return is_slow(p, l) ? NULL : l;
	}
	return NULL;
}

unsigned pager_bulk_rank(struct cor_pager *p)
{
	struct pager_lane *l = best_lane(p, COR_CONN_BULK);

	return l ? l->stream->rank : 0;
}

struct pager_request *pager_lane_request(struct pager_lane *l)
{
	struct pager_request *rq = &l->queue[l->tail % PAGER_DEPTH];

	if (pager_lane_unanswered(l) == PAGER_DEPTH)
		return NULL;
	memset(rq, 0, sizeof(*rq));
	return rq;
}

void pager_lane_push(struct cor_pager *p, struct pager_lane *l)
{
	struct pager_request *rq = &l->queue[l->tail % PAGER_DEPTH];

	if (p->check)
		rq->wire.flags |= COR_PAGE_CHECKED;
	rq->sent_at = cor_now_ns();
	if (p->may_pack && l->kind == COR_CONN_BULK && !rq->slot && rq->wire.op == COR_PAGE_READ &&
	    pager_hungry(p, rq->sent_at))
		rq->wire.flags |= COR_PAGE_MAY_PACK;
	l->tail++;
}

/* The ring may not tell of what has come while the stream was used. To ask the stream is to
 * prepare for sleep, which costs several calls: faults are not held up by that. */
static void look_again(struct pager_lane *l)
{
	if (!l->stream->ops->pending)
		return;
	if (l->kind == COR_CONN_DEMAND)
		l->unwatched = true;    /* it is looked at in this turn, or in the next */
	else
		l->readable |= cor_stream_pending(l->stream);
}

void pager_lane_flush(struct cor_pager *p, struct pager_lane *l)
{
	struct cor_page_request out[SEND_BATCH];

	while (l->open && !l->blocked && l->sent != l->tail) {
		unsigned n = COR_MIN(l->tail - l->sent, SEND_BATCH);
		struct iovec iov = { (char *)out + l->partial, n * sizeof(*out) - l->partial };
		ssize_t r;

		for (unsigned i = 0; i < n; i++)
			out[i] = l->queue[(l->sent + i) % PAGER_DEPTH].wire;
		r = cor_stream_send(l->stream, &iov, 1, COR_STREAM_NOWAIT);
		if (r == -EAGAIN) {
			l->blocked = true;
			pager_poll_lane_out(p, l);
			return;
		}
		if (r < 0) {
			pager_lane_lost(p, l);
			return;
		}
		l->partial += (unsigned)r;
		l->sent += l->partial / sizeof(*out);
		l->partial %= sizeof(*out);
		look_again(l);
	}
}

/* What may follow the header: taken along in the same call. Bytes of a later
 * reply that come with it are carried over. */
static size_t expected_payload(struct pager_lane *l)
{
	const struct pager_request *rq = pager_lane_oldest(l);

	if (!pager_lane_unanswered(l) || rq->wire.op != COR_PAGE_READ)
		return 0;
	return (size_t)COR_MIN(rq->wire.npages - l->answered, l->buf_pages) << COR_PAGE_SHIFT;
}

/* Moves what was carried over into the header, then into the payload. */
static void take_header(struct pager_lane *l)
{
	size_t n = COR_MIN(l->carry, sizeof(l->reply) - l->header_got);

	memcpy((char *)&l->reply + l->header_got, l->buf + l->carry_at, n);
	l->header_got += n;
	l->carry_at += n;
	l->carry -= n;
}

static void take_payload(struct pager_lane *l)
{
	size_t n = COR_MIN(l->carry, l->need);

	if (l->carry_at)
		memmove(l->buf, l->buf + l->carry_at, n);
	l->got = n;
	l->carry_at += n;
	l->carry -= n;
}

static ssize_t receive(struct pager_lane *l)
{
	unsigned flags = COR_STREAM_NOWAIT | (l->spinning ? COR_STREAM_SPIN : 0);
	struct iovec iov[2] = {
		{ (char *)&l->reply + l->header_got, sizeof(l->reply) - l->header_got },
		{ l->buf, 0 },
	};

	if (l->phase == LANE_PAYLOAD) {
		iov[1] = (struct iovec){ l->buf + l->got, l->need - l->got };
		return cor_stream_receive(l->stream, iov + 1, 1, flags);
	}
	iov[1].iov_len = expected_payload(l);
	return cor_stream_receive(l->stream, iov, iov[1].iov_len ? 2 : 1, flags);
}

static void received(struct pager_lane *l, size_t n)
{
	size_t head;

	if (l->phase == LANE_PAYLOAD) {
		l->got += n;
		return;
	}
	head = COR_MIN(n, sizeof(l->reply) - l->header_got);
	l->header_got += head;
	l->carry_at = 0;
	l->carry = n - head;
}

static void nap(struct pager_lane *l, bool on)
{
	if (on != l->naps)
		l->naps = cor_stream_worth(l->stream, on ? PAGER_NAP_BYTES : 1) && on;
}

/* Of pages: the answer about presence is small, however many it is about. */
static uint64_t bytes_on_their_way(const struct pager_lane *l)
{
	uint64_t pages = 0;

	for (unsigned i = l->head; i != l->sent; i++) {
		const struct cor_page_request *q = &l->queue[i % PAGER_DEPTH].wire;

		pages += q->op == COR_PAGE_READ ? q->npages : 0;
	}
	return pages << COR_PAGE_SHIFT;
}

/* In the midst of a drain the pager is not woken for each segment, but for several runs, or
 * when a little time has passed: to be woken costs as much as to place a run, and the sender
 * pays as well where both are on one host, since it is the one that wakes. Not where little
 * has come since the last time: a slow link brings less in a nap than is worth one. */
static void wait_for_more(struct pager_lane *l)
{
	l->readable = false;
	l->unwatched = l->spinning;
	nap(l, l->kind == COR_CONN_BULK && l->heard >= PAGER_NAP_LEAST &&
	    bytes_on_their_way(l) >= 2 * PAGER_NAP_BYTES);
	l->heard = 0;
}

uint64_t pager_nap(const struct cor_pager *p)
{
	for (unsigned i = 0; i < PAGER_LANES; i++)
		if (p->lanes[i] && p->lanes[i]->open && p->lanes[i]->naps)
			return PAGER_NAP_NS;
	return UINT64_MAX;
}

void pager_nap_over(struct cor_pager *p)
{
	for (unsigned i = 0; i < PAGER_LANES; i++)
		if (p->lanes[i] && p->lanes[i]->open && p->lanes[i]->naps)
			p->lanes[i]->readable = true;
}

/* 1: a whole reply is there, 0: no more to read now, -errno: the lane is lost. */
static int fetch_reply(struct cor_pager *p, struct pager_lane *l)
{
	for (;;) {
		ssize_t n;

		if (l->phase == LANE_HEADER)
			take_header(l);
		if (l->phase == LANE_HEADER && l->header_got == sizeof(l->reply)) {
			if (!pager_reply_valid(l))
				return -EPROTO;
			l->phase = LANE_PAYLOAD;
			take_payload(l);
		}
		if (l->phase == LANE_PAYLOAD && l->got == l->need)
			return 1;
		n = receive(l);
		if (n == -EAGAIN) {
			wait_for_more(l);
			return 0;
		}
		if (n <= 0)
			return n ? (int)n : -EPIPE;
		PAGER_COUNT(p, bytes_wire, (uint64_t)n);
		l->heard += (size_t)n;
		received(l, (size_t)n);
	}
}

/* The round trip of a page at its best: sinks at once, rises slowly, so that
 * delays by the scheduler do not count. */
static uint64_t best_of(uint64_t known, uint64_t rtt)
{
	return !known || rtt < known ? rtt : known + (rtt - known) / 64;
}

static uint64_t mean_of(uint64_t known, uint64_t rtt)
{
	return known ? known - known / 16 + rtt / 16 : rtt;
}

static void measure(struct cor_pager *p, struct pager_lane *l, const struct pager_request *rq)
{
	uint64_t rtt = cor_now_ns() - rq->sent_at;

	p->asked--;
	p->rtt_ns = best_of(p->rtt_ns, rtt);
	l->best_ns = best_of(l->best_ns, rtt);
	l->mean_ns = mean_of(l->mean_ns, COR_MIN(rtt, LATE_NS));
}

static void reply_done(struct cor_pager *p, struct pager_lane *l)
{
	struct pager_request *rq = pager_lane_oldest(l);
	bool last = l->reply.flags & COR_PAGE_LAST;

	l->answered += l->reply.npages;
	l->phase = LANE_HEADER;
	l->header_got = 0;
	if (!last)
		return;
	l->answered = 0;
	l->head++;
	pager_request_end(p, rq);
	/* nothing more is due: the lane's end, if it comes, makes the ring say so */
	if (!pager_lane_unanswered(l) && !l->carry) {
		nap(l, false);
		l->readable = false;
		look_again(l);
	}
}

/* Nothing of a spoiled reply is used: what it was for is asked for again. -EBADMSG: the
 * lane brings too many of them, or the answer to more than pages is missing. */
static int take_spoiled(struct cor_pager *p, struct pager_lane *l)
{
	struct pager_request *rq = pager_lane_oldest(l);

	PAGER_COUNT(p, pages_corrupt, l->reply.status == COR_PAGE_RUNS ? 0 : l->reply.npages);
	if (rq->wire.op != COR_PAGE_READ || ++l->spoiled == PAGER_SPOILED)
		return -EBADMSG;
	if (rq->slot) {
		p->asked--;
		pager_fault_lost(p, rq->slot);
		rq->slot = NULL;
	}
	reply_done(p, l);
	return 0;
}

/* From here on it is like any other data. */
static bool unpack(struct cor_pager *p, struct pager_lane *l)
{
	if (!l->plain)
		l->plain = locked_pages(l->buf_pages);
	if (!l->plain || !cor_unpack(l->buf, l->need, l->plain, (size_t)l->reply.npages << COR_PAGE_SHIFT))
		return false;
	PAGER_COUNT(p, pages_packed, l->reply.npages);
	l->reply.status = COR_PAGE_DATA;
	l->data = l->plain;
	return true;
}

bool pager_lane_work(struct cor_pager *p, struct pager_lane *l)
{
	int r;

	if (l->phase != LANE_REPLY) {
		r = fetch_reply(p, l);
		if (r < 0)
			pager_lane_lost(p, l);
		if (r <= 0)
			return r < 0;
		if (p->check && !cor_page_intact(&l->reply, l->buf, l->need)) {
			if (take_spoiled(p, l) < 0)
				pager_lane_lost(p, l);
			return true;
		}
		l->spoiled = 0;
		l->data = l->buf;
		if (l->reply.status == COR_PAGE_PACKED && !unpack(p, l)) {
			pager_lane_lost(p, l);
			return true;
		}
		l->phase = LANE_REPLY;
		l->placed = 0;
		if (pager_lane_oldest(l)->slot)
			measure(p, l, pager_lane_oldest(l));
	}
	if (!pager_reply(p, l))
		return !p->stalled;
	reply_done(p, l);
	return true;
}
