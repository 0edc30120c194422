/* The clocks of a task that moves: what a peer may claim. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>

#include "daemon/session/clock.h"

static void offsets_make_up_for_the_difference(void **state)
{
	const struct session_clocks theirs = { 1000, 5000 }, ours = { 4000, 4000 };
	struct session_clocks o;

	assert_int_equal(session_clocks_offsets(&theirs, &ours, 20, &o, NULL), 0);
	assert_int_equal(o.monotonic_ns, -2980);
	assert_int_equal(o.boottime_ns, 1020);
}

static void impossible_clocks_are_refused(void **state)
{
	static const struct session_clocks wrong[] = {
		{ INT64_MAX, 0 }, { 0, INT64_MAX }, { INT64_MIN, 0 }, { 0, -1 },
	};
	const struct session_clocks ours = { 10, 10 };
	struct session_clocks o = { 7, 7 };

	for (unsigned i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
		assert_int_equal(session_clocks_offsets(&wrong[i], &ours, 1000, &o, NULL), -EPROTO);
	assert_true(o.monotonic_ns == 7 && o.boottime_ns == 7);
}

static void own_clocks_tell_the_same_time(void **state)
{
	struct session_clocks now, later;
	Cor__Task__Clock none = COR__TASK__CLOCK__INIT;

	assert_int_equal(session_clocks_initial(&now, NULL), 0);
	assert_int_equal(session_clocks_of_task(&none, &later, NULL), 0);
	assert_true(later.monotonic_ns >= now.monotonic_ns);
	assert_true(later.boottime_ns >= now.boottime_ns);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(offsets_make_up_for_the_difference),
		cmocka_unit_test(impossible_clocks_are_refused),
		cmocka_unit_test(own_clocks_tell_the_same_time),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
