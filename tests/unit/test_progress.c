/* The progress line and the numbers in it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "tools/output.h"
#include "tools/progress.h"

static const struct progress_view half = {
	.comm = "python3", .peer = "b", .state = "paging", .pid = 42,
	.done = 500, .total = 1000, .faults = 7, .rate = 256,
};

static void shows_share_rate_faults_and_time_left(void **state)
{
	char line[256];

	progress_line(line, sizeof(line), 120, &half);
	assert_non_null(strstr(line, "python3 (42) to b: paging"));
	assert_non_null(strstr(line, " 50 %"));
	assert_non_null(strstr(line, "500/1000 pages"));
	assert_non_null(strstr(line, "1.0 MiB/s"));
	assert_non_null(strstr(line, "7 faults"));
	assert_non_null(strstr(line, "ETA 0:02"));
}

static void fills_half_of_the_bar_at_half_of_the_pages(void **state)
{
	char line[256];

	progress_line(line, sizeof(line), 200, &half);
	assert_non_null(strstr(line, "[####################--------------------]"));
}

static void never_is_wider_than_the_terminal(void **state)
{
	char line[256];

	for (unsigned width = 1; width < 160; width++) {
		progress_line(line, sizeof(line), width, &half);
		assert_true(strlen(line) <= width);
	}
}

static void drops_the_bar_where_there_is_no_room(void **state)
{
	char line[256];

	progress_line(line, sizeof(line), 36, &half);
	assert_null(strchr(line, '['));
	assert_non_null(strstr(line, " 50 %"));
}

static void prefers_the_bar_to_figures(void **state)
{
	char line[256];

	progress_line(line, sizeof(line), 60, &half);
	assert_non_null(strchr(line, '['));
	assert_non_null(strstr(line, " 50 %"));
	assert_null(strstr(line, "ETA"));
}

static void shows_the_state_alone_before_the_pages_are_known(void **state)
{
	struct progress_view v = half;
	char line[256];

	v.total = 0;
	v.state = "prepare";
	progress_line(line, sizeof(line), 120, &v);
	assert_string_equal(line, "python3 (42) to b: prepare ");
}

static void stops_at_a_hundred(void **state)
{
	struct progress_view v = half;
	char line[256];

	v.done = 3000;
	progress_line(line, sizeof(line), 200, &v);
	assert_non_null(strstr(line, "100 %"));
	assert_null(strstr(line, "ETA"));
}

static void writes_bytes_in_binary_units(void **state)
{
	char buf[32];

	assert_string_equal(output_bytes(buf, sizeof(buf), 0), "0 B");
	assert_string_equal(output_bytes(buf, sizeof(buf), 1023), "1023 B");
	assert_string_equal(output_bytes(buf, sizeof(buf), 1536), "1.5 KiB");
	assert_string_equal(output_bytes(buf, sizeof(buf), 5.0 * (1u << 30)), "5.0 GiB");
}

static void writes_times_in_fitting_units(void **state)
{
	char buf[32];

	assert_string_equal(output_us(buf, sizeof(buf), 812), "812 us");
	assert_string_equal(output_us(buf, sizeof(buf), 81200), "81.2 ms");
	assert_string_equal(output_us(buf, sizeof(buf), 8120000), "8.12 s");
}

static void shows_no_control_characters_of_others(void **state)
{
	json_t *o = json_pack("{s:[{s:s}]}", "tasks", "comm", "a\033[2Jb\n");

	output_clean(o);
	assert_string_equal(output_text(json_array_get(json_object_get(o, "tasks"), 0), "comm"),
			    "a?[2Jb?");
	json_decref(o);
}

static void takes_numbers_with_a_fraction(void **state)
{
	json_t *o = json_pack("{s:f, s:i}", "p50", 30.7, "max", 120);

	assert_int_equal(output_number(o, "p50"), 30);
	assert_int_equal(output_number(o, "max"), 120);
	assert_int_equal(output_number(o, "none"), 0);
	json_decref(o);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(shows_share_rate_faults_and_time_left),
		cmocka_unit_test(fills_half_of_the_bar_at_half_of_the_pages),
		cmocka_unit_test(never_is_wider_than_the_terminal),
		cmocka_unit_test(drops_the_bar_where_there_is_no_room),
		cmocka_unit_test(prefers_the_bar_to_figures),
		cmocka_unit_test(shows_the_state_alone_before_the_pages_are_known),
		cmocka_unit_test(stops_at_a_hundred),
		cmocka_unit_test(writes_bytes_in_binary_units),
		cmocka_unit_test(writes_times_in_fitting_units),
		cmocka_unit_test(shows_no_control_characters_of_others),
		cmocka_unit_test(takes_numbers_with_a_fraction),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
