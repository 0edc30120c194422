/* Pages by one-sided reads; every test over each transport that can be had here. */
#include <errno.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <cmocka.h>

#include "libcor/base/io.h"
#include "libcor/paging/check.h"
#include "libcor/paging/reach.h"
#include "libcor/paging/wire.h"
#include "tests/unit/rdma_fixture.h"

#define P       4096u
#define CHUNKS  8u
#define BOUND   (3 * COR_REACH_CHUNK)
#define HOLE    17u             /* the page of each chunk that is never touched */
#define PER     (unsigned)(COR_REACH_CHUNK / P)

struct owned {
	struct pair *pair;
	unsigned char *mem;     /* CHUNKS of them, aligned */
	void *map;
	struct cor_source *source;
	struct cor_reach_own own;
	struct cor_reach_owner *owner;
	struct cor_stream *lane;
};

static size_t map_size(void)
{
	return (CHUNKS + 1) * COR_REACH_CHUNK;
}

static int setup(void **state)
{
	struct owned *o = test_calloc(1, sizeof(*o));
	struct cor_reach_options options = { .bound = BOUND };

	o->map = mmap(NULL, map_size(), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert_ptr_not_equal(o->map, MAP_FAILED);
	/* a huge page has no holes */
	madvise(o->map, map_size(), MADV_NOHUGEPAGE);
	o->mem = (unsigned char *)(((uintptr_t)o->map + COR_REACH_CHUNK - 1) & ~(COR_REACH_CHUNK - 1));
	for (unsigned i = 0; i < CHUNKS * PER; i++)
		if (i % PER != HOLE)
			memset(o->mem + (size_t)i * P, (int)(i * 7 + i / PER + 1), P);
	assert_int_equal(pair_setup((void **)&o->pair), 0);
	assert_int_equal(cor_source_process(&o->source, getpid(), NULL), 0);
	cor_reach_own_init(&o->own, o->pair->active);
	options.source = o->source;
	options.registrar = &o->own.base;
	/* who connects speaks first, as iWARP has it */
	assert_int_equal(cor_reach_owner_new(&o->owner, o->pair->out, &options, NULL), 0);
	o->pair->out = NULL;
	*state = o;
	return 0;
}

static int setup_lane(void **state)
{
	struct owned *o;

	setup(state);
	o = *state;
	assert_int_equal(cor_stream_reach(&o->lane, o->pair->in, 5000, NULL), 0);
	o->pair->in = NULL;
	return 0;
}

static int teardown(void **state)
{
	struct owned *o = *state;

	cor_stream_close(o->lane);
	cor_reach_owner_free(o->owner);
	cor_source_close(o->source);
	pair_teardown((void **)&o->pair);
	munmap(o->map, map_size());
	test_free(o);
	return 0;
}

static uint64_t at(const struct owned *o, unsigned chunk, unsigned page)
{
	return (uintptr_t)o->mem + chunk * COR_REACH_CHUNK + page * P;
}

/* Faults there, as a pager does, until the page can be had. */
static bool comes(struct owned *o, uint64_t offset)
{
	uint64_t until = cor_now_ns() + 5 * UINT64_C(1000000000);

	while (!cor_reach_has(o->lane, 0, offset)) {
		struct pollfd p = { .fd = o->lane->in_fd, .events = POLLIN };
		char byte;
		struct iovec iov = { &byte, 1 };

		if (cor_now_ns() > until ||
		    cor_stream_receive(o->lane, &iov, 1, COR_STREAM_NOWAIT) != -EAGAIN)
			return false;
		poll(&p, 1, 1);
	}
	return true;
}

static void ask(struct owned *o, uint8_t op, uint64_t offset, uint32_t npages, uint8_t flags)
{
	struct cor_page_request q = { .op = op, .flags = flags, .npages = npages, .offset = offset };

	assert_int_equal(cor_stream_write(o->lane, &q, sizeof(q)), 0);
}

/* The next reply; data: its payload. */
static struct cor_page_reply hear(struct owned *o, unsigned char *data)
{
	struct cor_page_reply re;

	assert_int_equal(cor_stream_read(o->lane, &re, sizeof(re)), 0);
	assert_int_equal(re.status, COR_PAGE_DATA);
	assert_int_equal(cor_stream_read(o->lane, data, re.npages * P), 0);
	return re;
}

static void a_page_is_read(void **state)
{
	struct owned *o = *state;
	static unsigned char page[16 * P];
	struct cor_page_reply re;

	assert_true(comes(o, at(o, 1, 5)));
	ask(o, COR_PAGE_READ, at(o, 1, 5), 1, 0);
	re = hear(o, page);
	assert_int_equal(re.flags, COR_PAGE_LAST);
	assert_int_equal(re.npages, 1);
	assert_int_equal(re.offset, at(o, 1, 5));
	assert_memory_equal(page, (void *)(uintptr_t)at(o, 1, 5), P);
}

static void one_fault_does_not_ask_for_a_chunk(void **state)
{
	struct owned *o = *state;
	struct cor_reach_stats st;

	for (unsigned i = 0; i < CHUNKS; i++)
		assert_false(cor_reach_has(o->lane, 0, at(o, i, 0)));
	assert_true(comes(o, at(o, 0, 1)));
	cor_reach_owner_stats(o->owner, &st);
	assert_int_equal(st.chunks, 1);
}

static bool is_resident(void *page)
{
	unsigned char vec;

	assert_int_equal(mincore(page, P, &vec), 0);
	return vec & 1;
}

static void what_was_never_touched_stays_so(void **state)
{
	struct owned *o = *state;

	assert_true(comes(o, at(o, 2, 0)));
	assert_true(cor_reach_has(o->lane, 0, at(o, 2, HOLE + 1)));
	assert_false(cor_reach_has(o->lane, 0, at(o, 2, HOLE)));
	assert_false(is_resident((void *)(uintptr_t)at(o, 2, HOLE)));
}

static void shared_memory_is_not_to_be_had(void **state)
{
	struct owned *o = *state;

	assert_true(comes(o, at(o, 2, 0)));
	assert_false(cor_reach_has(o->lane, 1, at(o, 2, 0)));
}

static void answers_keep_their_order(void **state)
{
	struct owned *o = *state;
	static unsigned char page[16 * P];

	assert_true(comes(o, at(o, 0, 0)));
	/* more than there are slots */
	for (unsigned i = 0; i < 40; i++) {
		if (i >= 20)
			assert_int_equal(hear(o, page).offset, at(o, 0, 20 + i - 20));
		ask(o, COR_PAGE_READ, at(o, 0, 20 + i), 1, 0);
	}
	for (unsigned i = 20; i < 40; i++) {
		assert_int_equal(hear(o, page).offset, at(o, 0, 20 + i));
		assert_memory_equal(page, (void *)(uintptr_t)at(o, 0, 20 + i), P);
	}
}

static void a_long_run_comes_in_pieces(void **state)
{
	struct owned *o = *state;
	static unsigned char run[64 * P];
	struct cor_page_reply re;
	unsigned got = 0;

	assert_true(comes(o, at(o, 3, 32)));
	ask(o, COR_PAGE_READ, at(o, 3, 32), 63, 0);
	do {
		re = hear(o, run + got * P);
		assert_int_equal(re.offset, at(o, 3, 32 + got));
		got += re.npages;
	} while (!(re.flags & COR_PAGE_LAST));
	assert_int_equal(got, 63);
	assert_memory_equal(run, (void *)(uintptr_t)at(o, 3, 32), 63 * P);
}

static void checks_are_made_when_asked_for(void **state)
{
	struct owned *o = *state;
	static unsigned char page[16 * P];
	struct cor_page_reply re;

	assert_true(comes(o, at(o, 0, 2)));
	ask(o, COR_PAGE_READ, at(o, 0, 2), 1, COR_PAGE_CHECKED);
	re = hear(o, page);
	assert_true(cor_page_intact(&re, page, P));
}

static void the_bound_is_kept_over_all_of_it(void **state)
{
	struct owned *o = *state;
	static unsigned char page[16 * P];
	struct cor_reach_stats st;

	for (unsigned round = 0; round < 2; round++) {
		for (unsigned i = 0; i < CHUNKS; i++) {
			uint64_t offset = at(o, i, 100 + round);

			assert_true(comes(o, offset));
			ask(o, COR_PAGE_READ, offset, 1, 0);
			hear(o, page);
			assert_memory_equal(page, (void *)(uintptr_t)offset, P);
		}
	}
	cor_reach_owner_stats(o->owner, &st);
	assert_true(st.pinned_max <= BOUND);
	assert_true(st.pinned_max > COR_REACH_CHUNK);
	assert_true(st.chunks > CHUNKS);
}

static void the_last_used_chunk_is_kept(void **state)
{
	struct owned *o = *state;

	assert_true(comes(o, at(o, 0, 0)));
	for (unsigned i = 1; i < CHUNKS; i++) {
		assert_true(comes(o, at(o, i, 0)));
		assert_true(cor_reach_has(o->lane, 0, at(o, 0, i)));
	}
}

static void what_is_not_to_be_had_costs_the_lane(void **state)
{
	struct owned *o = *state;
	struct cor_page_request q = { .op = COR_PAGE_READ, .npages = 1, .offset = at(o, 0, HOLE) };
	struct cor_page_reply re;

	assert_true(comes(o, at(o, 0, 0)));
	cor_stream_write(o->lane, &q, sizeof(q));
	assert_int_equal(cor_stream_read(o->lane, &re, sizeof(re)), -EPROTO);
	assert_false(cor_reach_has(o->lane, 0, at(o, 0, 0)));
}

/* ---- a pager that makes no sense ------------------------------------------------------- */

static int setup_bare(void **state)
{
	struct cor_rdma_event e;
	struct owned *o;

	setup(state);
	o = *state;
	pair_await(o->pair, o->pair->in, &e);
	assert_int_equal(e.bytes[0], REACH_HELLO);
	return 0;
}

static void say(struct owned *o, enum reach_kind kind, uint64_t offset)
{
	struct reach_message m = { .kind = kind, .offset = offset };

	assert_int_equal(o->pair->ops->send(o->pair->in, &m, sizeof(m)), 0);
}

/* Messages up to the last one of an answer; bytes that they name. */
static uint64_t answered(struct owned *o)
{
	struct reach_message m;
	uint64_t bytes = 0;

	do {
		struct cor_rdma_event e;

		pair_await(o->pair, o->pair->in, &e);
		assert_int_equal(e.len, sizeof(m));
		memcpy(&m, e.bytes, sizeof(m));
		assert_int_equal(m.kind, REACH_RANGE);
		bytes += m.len;
	} while (m.left);
	return bytes;
}

static void the_owner_keeps_its_bound(void **state)
{
	struct owned *o = *state;
	struct cor_reach_stats st;
	uint64_t bytes = 0;

	for (unsigned i = 0; i < CHUNKS; i++) {
		say(o, REACH_WANT, at(o, i, 0));
		bytes += answered(o);
	}
	assert_true(bytes <= BOUND);
	cor_reach_owner_stats(o->owner, &st);
	assert_int_equal(st.pinned, bytes);
	assert_true(st.pinned_max <= BOUND);
}

static void what_is_dropped_is_free_again(void **state)
{
	struct owned *o = *state;
	struct cor_reach_stats st;

	for (unsigned i = 0; i < CHUNKS; i++) {
		say(o, REACH_WANT, at(o, i, 0));
		assert_int_equal(answered(o), COR_REACH_CHUNK - P);
		say(o, REACH_DROP, at(o, i, 0));
	}
	say(o, REACH_WANT, at(o, 0, 0));
	answered(o);
	cor_reach_owner_stats(o->owner, &st);
	assert_int_equal(st.pinned, COR_REACH_CHUNK - P);
}

static void where_there_is_nothing_nothing_is_to_be_had(void **state)
{
	struct owned *o = *state;

	say(o, REACH_WANT, COR_REACH_CHUNK);
	assert_int_equal(answered(o), 0);
}

#define OVER(test, setup) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		OVER(a_page_is_read, setup_lane),
		OVER(one_fault_does_not_ask_for_a_chunk, setup_lane),
		OVER(what_was_never_touched_stays_so, setup_lane),
		OVER(shared_memory_is_not_to_be_had, setup_lane),
		OVER(answers_keep_their_order, setup_lane),
		OVER(a_long_run_comes_in_pieces, setup_lane),
		OVER(checks_are_made_when_asked_for, setup_lane),
		OVER(the_bound_is_kept_over_all_of_it, setup_lane),
		OVER(the_last_used_chunk_is_kept, setup_lane),
		OVER(what_is_not_to_be_had_costs_the_lane, setup_lane),
		OVER(the_owner_keeps_its_bound, setup_bare),
		OVER(what_is_dropped_is_free_again, setup_bare),
		OVER(where_there_is_nothing_nothing_is_to_be_had, setup_bare),
	};
	int failed = 0;

	for (unsigned i = 0; pair_transports[i]; i++) {
		pair_transport = pair_transports[i];
		if (pair_available(pair_transport))
			failed += cmocka_run_group_tests_name(pair_transport, tests, NULL, NULL);
	}
	return failed;
}
