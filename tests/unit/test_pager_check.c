/* Replies that are spoiled on their way: none of it is installed, all of it comes in
 * the end. */
#include "tests/unit/pager_fixture.h"

#include <string.h>

#include "libcor/transport/stream_fault.h"
#include "tests/stream.h"

static unsigned wrong_pages(struct lazy *l)
{
	unsigned wrong = 0;

	for (uint64_t i = 0; i < NPAGES; i++)
		wrong += !page_is(l, l->mem, i, i);
	return wrong;
}

static int demand_spoils_a_page(void **state)
{
	return lazy_setup_spoiled(state, "demand:corrupt@1000");
}

static void spoiled_page_of_a_fault_is_asked_for_again(void **state)
{
	struct lazy *l = *state;

	cor_pager_check(l->pager, true);
	lazy_start(l);
	assert_true(page_is(l, l->mem, 7, 7));
	assert_int_equal(l->toy.asked[7], 2);
	assert_int_equal(lazy_stats(l).pages_corrupt, 1);
	assert_int_equal(cor_pager_lanes(l->pager, COR_CONN_DEMAND), 1);
}

/* The other tests would prove nothing where the spoiled byte is not in a page. */
static void spoiled_page_is_installed_without_the_check(void **state)
{
	struct lazy *l = *state;

	lazy_start(l);
	assert_false(page_is(l, l->mem, 7, 7));
	assert_int_equal(lazy_stats(l).pages_corrupt, 0);
}

static int bulk_spoils_some(void **state)
{
	return lazy_setup_spoiled(state, "bulk:corrupt@100000+900000");
}

static void drain_over_a_bad_lane_is_whole(void **state)
{
	struct lazy *l = *state;

	cor_pager_check(l->pager, true);
	lazy_start(l);
	cor_pager_prefetch(l->pager, true);
	lazy_await(l, COR_PAGER_DRAINED);
	assert_int_equal(wrong_pages(l), 0);
	assert_true(lazy_stats(l).pages_corrupt > 0);
}

static int demand_turns_data_into_an_error(void **state)
{
	/* the status of the first reply */
	return lazy_setup_spoiled(state, "demand:corrupt");
}

static void spoiled_header_is_not_believed(void **state)
{
	struct lazy *l = *state;

	cor_pager_check(l->pager, true);
	lazy_start(l);
	/* over the bulk lane, in the end */
	assert_true(page_is(l, l->mem, 7, 7));
	assert_int_equal(cor_pager_state(l->pager, NULL), COR_PAGER_PAGING);
}

static int presence_is_spoiled(void **state)
{
	return lazy_setup_spoiled(state, "bulk:corrupt@40");        /* in the first run */
}

static void spoiled_presence_map_closes_the_lane(void **state)
{
	struct lazy *l = *state;

	cor_pager_check(l->pager, true);
	lazy_start(l);
	cor_pager_prefetch(l->pager, true);
	lazy_await_lanes(l, COR_CONN_BULK, 0);
	assert_int_equal(cor_pager_add_lane(l->pager, stream_of(toy_connect(&l->toy, COR_CONN_BULK)),
					    COR_CONN_BULK, NULL), 0);
	lazy_await(l, COR_PAGER_DRAINED);
	assert_int_equal(wrong_pages(l), 0);
}

static int bulk_spoils_everything(void **state)
{
	return lazy_setup_spoiled(state, "bulk:corrupt@2000+4096");
}

static void lane_that_spoils_everything_is_closed(void **state)
{
	struct lazy *l = *state;

	cor_pager_check(l->pager, true);
	lazy_start(l);
	cor_pager_prefetch(l->pager, true);
	lazy_await_lanes(l, COR_CONN_BULK, 0);
	assert_int_equal(lazy_stats(l).pages_prefetched, 0);
	assert_true(page_is(l, l->mem, 7, 7));
}

#define pager_test(f, setup) cmocka_unit_test_setup_teardown(f, setup, lazy_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		pager_test(spoiled_page_of_a_fault_is_asked_for_again, demand_spoils_a_page),
		pager_test(spoiled_page_is_installed_without_the_check, demand_spoils_a_page),
		pager_test(drain_over_a_bad_lane_is_whole, bulk_spoils_some),
		pager_test(spoiled_header_is_not_believed, demand_turns_data_into_an_error),
		pager_test(spoiled_presence_map_closes_the_lane, presence_is_spoiled),
		pager_test(lane_that_spoils_everything_is_closed, bulk_spoils_everything),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
