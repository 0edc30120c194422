/* Equal steps in a thread's faults (libcor/paging/trend.c). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "libcor/paging/trend.h"

#define PAGE0 0x7f0000000ull

static bool everything(void *arg, uint64_t from, uint64_t to)
{
	return true;
}

/* But what is adjacent. */
static bool nothing(void *arg, uint64_t from, uint64_t to)
{
	return from == to;
}

static bool fault(struct cor_trends *ts, uint64_t page)
{
	return cor_trend_fault(ts, 1, PAGE0 + page, nothing, NULL);
}

static void three_equal_steps_make_a_trend(void **state)
{
	struct cor_trends ts = { 0 };

	assert_false(fault(&ts, 0));
	assert_false(fault(&ts, 8));
	assert_true(fault(&ts, 16));
	assert_int_equal(cor_trend_of(&ts, 1)->step, 8);
}

static void it_may_go_down(void **state)
{
	struct cor_trends ts = { 0 };

	fault(&ts, 100);
	fault(&ts, 97);
	assert_true(fault(&ts, 94));
	assert_int_equal(cor_trend_of(&ts, 1)->step, -3);
	assert_true(fault(&ts, 91));
}

static void the_next_fault_may_be_several_steps_on(void **state)
{
	struct cor_trends ts = { 0 };

	fault(&ts, 0);
	fault(&ts, 8);
	fault(&ts, 16);
	assert_true(fault(&ts, 16 + 5 * 8));
	assert_int_equal(cor_trend_of(&ts, 1)->step, 8);
	assert_false(fault(&ts, 16 + 5 * 8 + 4));
}

static void a_fault_elsewhere_ends_it(void **state)
{
	struct cor_trends ts = { 0 };

	fault(&ts, 0);
	fault(&ts, 8);
	fault(&ts, 16);
	assert_false(fault(&ts, 1000));
	assert_int_equal(cor_trend_depth(cor_trend_of(&ts, 1)), 0);
}

static void random_faults_make_none(void **state)
{
	static const uint64_t pages[] = { 5, 900, 17, 333, 334, 12, 48, 47, 600, 2 };
	struct cor_trends ts = { 0 };

	for (unsigned i = 0; i < sizeof(pages) / sizeof(*pages); i++)
		assert_false(fault(&ts, pages[i]));
}

static void the_same_page_again_is_no_step(void **state)
{
	struct cor_trends ts = { 0 };

	for (unsigned i = 0; i < 4; i++)
		assert_false(fault(&ts, 7));
}

static void page_by_page_goes_on_behind_what_is_there(void **state)
{
	struct cor_trends ts = { 0 };

	cor_trend_fault(&ts, 1, PAGE0, everything, NULL);
	assert_false(cor_trend_fault(&ts, 1, PAGE0 + 64, everything, NULL));
	assert_true(cor_trend_fault(&ts, 1, PAGE0 + 256, everything, NULL));
	assert_true(cor_trend_fault(&ts, 1, PAGE0 + 257, everything, NULL));
	assert_int_equal(cor_trend_of(&ts, 1)->step, 1);
}

static void a_gap_on_the_way_ends_page_by_page(void **state)
{
	struct cor_trends ts = { 0 };

	fault(&ts, 0);
	fault(&ts, 1);
	assert_true(fault(&ts, 2));
	assert_false(cor_trend_fault(&ts, 1, PAGE0 + 500, nothing, NULL));
}

static void depth_grows_with_confirmation(void **state)
{
	struct cor_trends ts = { 0 };
	unsigned last = 0;

	fault(&ts, 0);
	fault(&ts, 10);
	assert_int_equal(cor_trend_depth(cor_trend_of(&ts, 1)), 0);
	for (unsigned i = 2; i < 10; i++) {
		unsigned depth;

		fault(&ts, i * 10);
		depth = cor_trend_depth(cor_trend_of(&ts, 1));
		assert_true(depth >= last && depth <= COR_TREND_DEPTH);
		last = depth;
	}
	assert_int_equal(last, COR_TREND_DEPTH);
}

static void threads_are_told_apart(void **state)
{
	struct cor_trends ts = { 0 };

	for (unsigned i = 0; i < 3; i++) {
		cor_trend_fault(&ts, 1, PAGE0 + i * 4, nothing, NULL);
		cor_trend_fault(&ts, 2, PAGE0 + 5000 - i * 9, nothing, NULL);
	}
	assert_int_equal(cor_trend_of(&ts, 1)->step, 4);
	assert_int_equal(cor_trend_of(&ts, 2)->step, -9);
}

static void the_least_recent_thread_is_forgotten(void **state)
{
	struct cor_trends ts = { 0 };

	for (uint32_t tid = 1; tid <= COR_TRENDS; tid++)
		cor_trend_fault(&ts, tid, PAGE0, nothing, NULL);
	cor_trend_fault(&ts, 1, PAGE0 + 1, nothing, NULL);
	cor_trend_fault(&ts, 100, PAGE0, nothing, NULL);
	assert_non_null(cor_trend_of(&ts, 1));
	assert_null(cor_trend_of(&ts, 2));
	assert_non_null(cor_trend_of(&ts, 100));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(three_equal_steps_make_a_trend),
		cmocka_unit_test(it_may_go_down),
		cmocka_unit_test(the_next_fault_may_be_several_steps_on),
		cmocka_unit_test(a_fault_elsewhere_ends_it),
		cmocka_unit_test(random_faults_make_none),
		cmocka_unit_test(the_same_page_again_is_no_step),
		cmocka_unit_test(page_by_page_goes_on_behind_what_is_there),
		cmocka_unit_test(a_gap_on_the_way_ends_page_by_page),
		cmocka_unit_test(depth_grows_with_confirmation),
		cmocka_unit_test(threads_are_told_apart),
		cmocka_unit_test(the_least_recent_thread_is_forgotten),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
