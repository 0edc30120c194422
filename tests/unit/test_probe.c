/* What the probe finds, and how what is missing is named. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <string.h>
#include <sys/utsname.h>
#include <sys/wait.h>

#include "libcor/base/probe.h"

static void names_the_running_kernel(void **state)
{
	struct cor_features f;
	struct utsname u;

	assert_int_equal(uname(&u), 0);
	assert_int_equal(cor_probe(&f, NULL), 0);
	assert_string_equal(f.kernel, u.release);
}

static void leaves_no_child_behind(void **state)
{
	struct cor_features f;

	assert_int_equal(cor_probe(&f, NULL), 0);
	assert_int_equal(waitpid(-1, NULL, WNOHANG | __WALL), -1);
	assert_int_equal(errno, ECHILD);
}

static void finds_the_same_twice(void **state)
{
	struct cor_features a, b;

	assert_int_equal(cor_probe(&a, NULL), 0);
	assert_int_equal(cor_probe(&b, NULL), 0);
	assert_memory_equal(&a, &b, sizeof(a));
}

static void names_all_that_is_needed_and_missing(void **state)
{
	struct cor_features none = { 0 };
	char names[512];
	unsigned n, needed = 0;
	const struct cor_feature *list = cor_feature_list(&n);

	for (unsigned i = 0; i < n; i++)
		needed += list[i].needed;
	assert_int_equal(cor_features_missing(&none, names, sizeof(names)), needed);
	assert_non_null(strstr(names, "userfaultfd, "));
	assert_non_null(strstr(names, "io_uring"));
	assert_null(strstr(names, "time_ns"));
}

static void counts_what_is_missing_without_room_for_names(void **state)
{
	struct cor_features none = { 0 };
	char small[8], all[512];

	assert_int_equal(cor_features_missing(&none, small, sizeof(small)),
			 cor_features_missing(&none, all, sizeof(all)));
	assert_int_equal(strlen(small), 7);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names_the_running_kernel),
		cmocka_unit_test(leaves_no_child_behind),
		cmocka_unit_test(finds_the_same_twice),
		cmocka_unit_test(names_all_that_is_needed_and_missing),
		cmocka_unit_test(counts_what_is_missing_without_room_for_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
