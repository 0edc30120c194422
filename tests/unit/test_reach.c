/* Pages by one-sided reads; every test over each transport that can be had here. */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "libcor/paging/check.h"
#include "libcor/paging/reach.h"
#include "libcor/paging/wire.h"
#include "tests/unit/rdma_fixture.h"

#define P      4096u
#define NPAGES 64u
#define BASE   0x500000000000ull
#define GAP    (16 * P)                 /* between the two ranges */
#define HALF   (NPAGES / 2 * P)

struct owned {
	struct pair *pair;
	unsigned char *mem;
	struct cor_rdma_memory memory;
	struct cor_stream *lane;
	pthread_t thread;
	atomic_bool stop;
};

static void *attend(void *arg)
{
	struct owned *o = arg;

	cor_reach_attend(o->pair->in, &o->stop);
	return NULL;
}

/* Two ranges, with a gap between them. */
static int setup(void **state)
{
	struct owned *o = test_calloc(1, sizeof(*o));
	struct cor_reach_range ranges[2] = { { .offset = BASE, .len = HALF },
					     { .offset = BASE + HALF + GAP, .len = HALF } };

	assert_int_equal(pair_setup((void **)&o->pair), 0);
	o->mem = pages(NPAGES);
	for (unsigned i = 0; i < NPAGES * P; i++)
		o->mem[i] = (unsigned char)(i * 7 + i / P);
	assert_int_equal(o->pair->ops->enroll(o->pair->passive, o->mem, NPAGES * P,
					      COR_RDMA_REMOTE_READ, &o->memory, NULL), 0);
	for (unsigned i = 0; i < 2; i++) {
		ranges[i].remote = o->memory.remote + i * HALF;
		ranges[i].key = o->memory.key;
	}
	assert_int_equal(cor_reach_offer(o->pair->in, ranges, 2, NULL), 0);
	assert_int_equal(pthread_create(&o->thread, NULL, attend, o), 0);
	assert_int_equal(cor_stream_reach(&o->lane, o->pair->out, 5000, NULL), 0);
	o->pair->out = NULL;
	*state = o;
	return 0;
}

static int teardown(void **state)
{
	struct owned *o = *state;

	cor_stream_close(o->lane);
	atomic_store(&o->stop, !o->pair->tells_the_end);
	pthread_join(o->thread, NULL);
	o->pair->ops->forget(o->pair->passive, &o->memory);
	pair_teardown((void **)&o->pair);
	free(o->mem);
	test_free(o);
	return 0;
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
	if (re.status == COR_PAGE_DATA)
		assert_int_equal(cor_stream_read(o->lane, data, re.npages * P), 0);
	return re;
}

static void a_page_is_read(void **state)
{
	struct owned *o = *state;
	static unsigned char page[16 * P];
	struct cor_page_reply re;

	ask(o, COR_PAGE_READ, BASE + 5 * P, 1, 0);
	re = hear(o, page);
	assert_int_equal(re.status, COR_PAGE_DATA);
	assert_int_equal(re.flags, COR_PAGE_LAST);
	assert_int_equal(re.npages, 1);
	assert_int_equal(re.offset, BASE + 5 * P);
	assert_memory_equal(page, o->mem + 5 * P, P);
}

static void the_second_range_begins_behind_the_gap(void **state)
{
	struct owned *o = *state;
	static unsigned char page[16 * P];

	ask(o, COR_PAGE_READ, BASE + HALF + GAP, 1, 0);
	assert_int_equal(hear(o, page).status, COR_PAGE_DATA);
	assert_memory_equal(page, o->mem + HALF, P);
}

static void answers_keep_their_order(void **state)
{
	struct owned *o = *state;
	static unsigned char page[16 * P];

	/* more than there are slots */
	for (unsigned i = 0; i < 20; i++)
		ask(o, COR_PAGE_READ, BASE + i * P, 1, 0);
	for (unsigned i = 0; i < 20; i++) {
		assert_int_equal(hear(o, page).offset, BASE + i * P);
		assert_memory_equal(page, o->mem + i * P, P);
	}
}

static void a_long_run_comes_in_pieces(void **state)
{
	struct owned *o = *state;
	static unsigned char run[NPAGES * P];
	struct cor_page_reply re;
	unsigned got = 0;

	ask(o, COR_PAGE_READ, BASE + P, NPAGES / 2 - 1, 0);
	do {
		re = hear(o, run + got * P);
		assert_int_equal(re.status, COR_PAGE_DATA);
		assert_int_equal(re.offset, BASE + P + got * P);
		got += re.npages;
	} while (!(re.flags & COR_PAGE_LAST));
	assert_int_equal(got, NPAGES / 2 - 1);
	assert_memory_equal(run, o->mem + P, got * P);
}

static void a_run_ends_where_memory_does(void **state)
{
	struct owned *o = *state;
	static unsigned char run[NPAGES * P];
	struct cor_page_reply re;

	ask(o, COR_PAGE_READ, BASE + HALF - P, 3, 0);
	re = hear(o, run);
	assert_int_equal(re.status, COR_PAGE_DATA);
	assert_int_equal(re.npages, 1);
	assert_int_equal(re.flags, 0);
	re = hear(o, run);
	assert_int_equal(re.status, COR_PAGE_ERROR);
	assert_int_equal(re.error, EFAULT);
	assert_int_equal(re.npages, 2);
	assert_int_equal(re.flags, COR_PAGE_LAST);
	/* and the lane goes on */
	ask(o, COR_PAGE_READ, BASE, 1, 0);
	assert_int_equal(hear(o, run).status, COR_PAGE_DATA);
}

static void presence_is_not_known(void **state)
{
	struct owned *o = *state;
	struct cor_page_reply re;

	ask(o, COR_PAGE_PRESENCE, BASE, NPAGES, 0);
	re = hear(o, NULL);
	assert_int_equal(re.status, COR_PAGE_ERROR);
	assert_int_equal(re.error, EOPNOTSUPP);
}

static void checks_are_made_when_asked_for(void **state)
{
	struct owned *o = *state;
	static unsigned char page[16 * P];
	struct cor_page_reply re;

	ask(o, COR_PAGE_READ, BASE + 2 * P, 1, COR_PAGE_CHECKED);
	re = hear(o, page);
	assert_true(cor_page_intact(&re, page, P));
}

static void nonsense_is_not_offered(void **state)
{
	struct owned *o = *state;
	struct cor_reach_range odd = { .offset = BASE + 1, .len = P };
	struct cor_reach_range twice[] = { { .offset = BASE, .len = 2 * P },
					   { .offset = BASE + P, .len = P } };

	assert_int_equal(cor_reach_offer(o->pair->in, &odd, 1, NULL), -EINVAL);
	assert_int_equal(cor_reach_offer(o->pair->in, twice, 2, NULL), -EINVAL);
	assert_int_equal(cor_reach_offer(o->pair->in, twice, 0, NULL), -EINVAL);
}

#define OVER(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		OVER(a_page_is_read), OVER(the_second_range_begins_behind_the_gap),
		OVER(answers_keep_their_order), OVER(a_long_run_comes_in_pieces),
		OVER(a_run_ends_where_memory_does), OVER(presence_is_not_known),
		OVER(checks_are_made_when_asked_for), OVER(nonsense_is_not_offered),
	};
	int failed = 0;

	for (unsigned i = 0; pair_transports[i]; i++) {
		pair_transport = pair_transports[i];
		if (pair_available(pair_transport))
			failed += cmocka_run_group_tests_name(pair_transport, tests, NULL, NULL);
	}
	return failed;
}
