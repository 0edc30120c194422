/* Replies of a page server to the pager. The pager runs here without its thread
 * and without a userfaultfd: faults and the prefetcher ask, the input answers,
 * and says what becomes of each page that is installed.
 *
 * The input: fates of installations (8 bytes), number of faults, then records:
 * how, status, flags, pages (2), error (4); with how & 4 a whole header instead. With the
 * highest bit of the fates the source may pack pages. */
#include <errno.h>

#include "libcor/base/io.h"
#include "libcor/paging/check.h"
#include "libcor/paging/pager_private.h"
#include "libcor/paging/uffd.h"
#include "tests/fuzz/socket.h"

#define WHOLE_AT    0x700000000000ull   /* every page holds data */
#define WHOLE_PAGES 300u
#define MAP_AT      0x500000000000ull   /* asked for what it holds */
#define MAP_PAGES   40000u

static uint64_t fates;
static unsigned ninstalls;

static enum cor_uffd_result fate(uint64_t dst, uint64_t len, uint64_t *done)
{
	enum cor_uffd_result r = fates >> (ninstalls++ % 16 * 4) & 15;

	FUZZ_CHECK(!((dst | len) & (PAGE - 1)) && len);
	FUZZ_CHECK((dst >= WHOLE_AT && dst + len <= WHOLE_AT + WHOLE_PAGES * PAGE) ||
		   (dst >= MAP_AT && dst + len <= MAP_AT + MAP_PAGES * PAGE));
	*done = 0;
	if (r > COR_UFFD_BAD || (r == COR_UFFD_PARTIAL && len == PAGE))
		r = COR_UFFD_DONE;
	if (r == COR_UFFD_DONE)
		*done = len;
	else if (r == COR_UFFD_PARTIAL)
		*done = PAGE;
	return r;
}

enum cor_uffd_result __wrap_cor_uffd_copy(int fd, uint64_t dst, const void *src, uint64_t len,
					  uint64_t *done);
enum cor_uffd_result __wrap_cor_uffd_copy(int fd, uint64_t dst, const void *src, uint64_t len,
					  uint64_t *done)
{
	for (uint64_t at = 0; at < len && !(fates >> 63); at += PAGE - 1)
		FUZZ_CHECK(((const volatile uint8_t *)src)[at] == 'd');
	return fate(dst, len, done);
}

enum cor_uffd_result __wrap_cor_uffd_zero(int fd, uint64_t dst, uint64_t len, uint64_t *done);
enum cor_uffd_result __wrap_cor_uffd_zero(int fd, uint64_t dst, uint64_t len, uint64_t *done)
{
	return fate(dst, len, done);
}

enum cor_uffd_result __wrap_cor_uffd_poison(int fd, uint64_t dst, uint64_t len, uint64_t *done);
enum cor_uffd_result __wrap_cor_uffd_poison(int fd, uint64_t dst, uint64_t len, uint64_t *done)
{
	return fate(dst, len, done);
}

void __wrap_cor_uffd_wake(int fd, uint64_t dst, uint64_t len);
void __wrap_cor_uffd_wake(int fd, uint64_t dst, uint64_t len) {}

/* There is no ring, and there are no events. */
int __wrap_pager_ring_init(struct cor_pager *p, struct cor_error *err);
int __wrap_pager_ring_init(struct cor_pager *p, struct cor_error *err)
{
	return 0;
}

void __wrap_pager_poll_lane(struct cor_pager *p, struct pager_lane *l);
void __wrap_pager_poll_lane(struct cor_pager *p, struct pager_lane *l) {}
void __wrap_pager_poll_lane_out(struct cor_pager *p, struct pager_lane *l);
void __wrap_pager_poll_lane_out(struct cor_pager *p, struct pager_lane *l) {}
void __wrap_pager_unpoll(struct cor_pager *p, void *what);
void __wrap_pager_unpoll(struct cor_pager *p, void *what) {}
void __wrap_pager_mm_read(struct cor_pager *p, struct pager_mm *mm);
void __wrap_pager_mm_read(struct cor_pager *p, struct pager_mm *mm) {}

struct end {
	struct pager_lane *lane;
	int peer;
};

static struct end lane_open(struct cor_pager *p, enum cor_connection_kind kind)
{
	struct fuzz_peer peer = fuzz_peer_open();
	struct end e = { .peer = peer.theirs };

	FUZZ_CHECK(pager_lane_open(p, peer.ours, kind, NULL) == 0);
	for (unsigned i = 0; i < PAGER_LANES; i++)
		if (p->lanes[i] && p->lanes[i]->stream == peer.ours)
			e.lane = p->lanes[i];
	return e;
}

static struct cor_pager *pager_new(void)
{
	const struct cor_region whole = { .start = WHOLE_AT, .len = WHOLE_PAGES * PAGE, .whole = true,
					  .offset = WHOLE_AT, };
	const struct cor_region map = { .start = MAP_AT, .len = MAP_PAGES * PAGE, .object = 1,
					.shared = true };
	struct cor_pager *p;

	FUZZ_CHECK(cor_pager_new(&p, NULL, NULL) == 0);
	FUZZ_CHECK(cor_pager_add_region(p, &whole, NULL) == 0);
	FUZZ_CHECK(cor_pager_add_region(p, &map, NULL) == 0);
	atomic_store(&p->state, COR_PAGER_PAGING);
	atomic_store(&p->prefetch, true);
	return p;
}

/* What the pager's thread does in one turn. */
static void turn(struct cor_pager *p, struct end *e)
{
	for (unsigned i = 0; i < 200; i++) {
		e->lane->readable = true;
		if (!e->lane->open || !pager_lane_work(p, e->lane))
			break;
	}
	p->stalled = false;
	pager_fault_work(p);
	pager_fault_send(p);
	pager_prefetch_step(p);
	pager_check_done(p);
}

/* Takes the pager's requests off the socket, so that it never fills up. */
static void discard(const struct end *e)
{
	char buf[4096];

	while (recv(e->peer, buf, sizeof(buf), MSG_DONTWAIT) > 0)
		;
}

static void say(struct cor_pager *p, struct end *e, const void *data, size_t len)
{
	while (len && e->lane->open) {
		ssize_t n = send(e->peer, data, len, MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n > 0) {
			data = (const char *)data + n;
			len -= (size_t)n;
		} else if (errno != EAGAIN) {
			return;
		}
		turn(p, e);
		discard(e);
		if (n <= 0 && e->lane->phase == LANE_REPLY)
			return;         /* it waits for something else */
	}
}

static struct cor_page_reply make_reply(struct fuzz_input *in, struct end *e, uint8_t how)
{
	const struct pager_request *rq = pager_lane_oldest(e->lane);
	struct cor_page_reply re = { 0 };

	if (how & 4) {
		fuzz_take(in, &re, sizeof(re));
		return re;
	}
	re.status = fuzz_u8(in);
	re.flags = fuzz_u8(in);
	fuzz_take(in, &re.npages, 2);
	fuzz_take(in, &re.error, 4);
	re.object = rq->wire.object;
	re.offset = rq->wire.offset + (e->lane->answered << COR_PAGE_SHIFT);
	return re;
}

static uint8_t payload[PAGER_RUN * 4096];

static size_t payload_len(uint64_t len)
{
	return len < sizeof(payload) ? len : sizeof(payload);
}

static void answer(struct cor_pager *p, struct end *e, struct fuzz_input *in, uint8_t how)
{
	struct cor_page_reply re = make_reply(in, e, how);
	size_t len = 0;

	if (re.status == COR_PAGE_DATA) {
		len = payload_len(re.npages * PAGE);
		memset(payload, 'd', len);
	} else if (re.status == COR_PAGE_RUNS) {
		len = payload_len(re.npages * sizeof(struct cor_page_run));
		memset(payload, 0, len);
		fuzz_take(in, payload, len < in->size ? len : in->size);
	}
	if (p->check && !(how & 0x10)) {
		re.flags |= COR_PAGE_CHECKED;
		re.check = cor_page_check(&re, payload, len);
	}
	say(p, e, &re, sizeof(re));
	say(p, e, payload, len);
}

static void check(struct cor_pager *p)
{
	struct cor_paging_stats stats;
	struct cor_error why = COR_ERROR_INIT;

	cor_pager_stats(p, &stats);
	FUZZ_CHECK(stats.pages_demand + stats.pages_prefetched <= WHOLE_PAGES + MAP_PAGES);
	FUZZ_CHECK(stats.pages_total <= WHOLE_PAGES + MAP_PAGES);
	if (cor_pager_state(p, &why) == COR_PAGER_FAILED)
		FUZZ_CHECK(why.code < 0 && why.text[0]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input in = { data, size };
	struct cor_pager *p = pager_new();
	struct end ends[2] = { lane_open(p, COR_CONN_DEMAND), lane_open(p, COR_CONN_BULK) };
	unsigned nfaults;

	fates = fuzz_u64(&in);
	cor_pager_pack(p, fates >> 63);
	p->hungry = true;
	p->hungry_since = cor_now_ns();
	ninstalls = 0;
	nfaults = fuzz_u8(&in);
	cor_pager_check(p, nfaults & 0x80);
	nfaults %= 8;
	for (unsigned i = 0; i < nfaults; i++)
		pager_fault_new(p, p->root, (i & 1 ? MAP_AT : WHOLE_AT) + i * 7 * PAGE, 1);
	turn(p, &ends[0]);
	for (unsigned i = 0; in.size && i < 16; i++) {
		uint8_t how = fuzz_u8(&in);

		answer(p, &ends[how & 1], &in, how);
		if (how & 8)
			pager_fault_new(p, p->root, WHOLE_AT + how * PAGE, 2);
	}
	check(p);
	for (unsigned i = 0; i < 2; i++) {
		pager_lane_lost(p, ends[i].lane);       /* as the thread does when it leaves */
		close(ends[i].peer);
	}
	cor_pager_free(p);
	return 0;
}
