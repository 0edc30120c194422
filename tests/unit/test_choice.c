/* Lists of transports. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "libcor/transport/choice.h"

static void parse(const char *text, const char *const *names, unsigned n)
{
	struct cor_transports t;

	assert_int_equal(cor_transports_parse(text, &cor_transports_default, &t, NULL), 0);
	assert_int_equal(t.n, n);
	for (unsigned i = 0; i < n; i++)
		assert_string_equal(t.name[i], names[i]);
}

#define PARSES(text, ...) do { \
	const char *const names_[] = { __VA_ARGS__ }; \
	parse(text, names_, sizeof(names_) / sizeof(names_[0])); \
} while (0)

static void names_in_order(void **state)
{
	PARSES("verbs", "verbs", "tcp");
	PARSES("fabric:tcp, verbs", "fabric:tcp", "verbs", "tcp");
	PARSES(" fabric:tcp;ofi_rxm\tfabric:shm,", "fabric:tcp;ofi_rxm", "fabric:shm", "tcp");
	PARSES("verbs,verbs", "verbs", "tcp");
}

static void nothing_behind_tcp(void **state)
{
	PARSES("tcp", "tcp");
	PARSES("verbs,tcp,fabric:shm", "verbs", "tcp");
}

static void names_to_leave_out(void **state)
{
	PARSES("!verbs", "fabric:verbs", "fabric:efa", "tcp");
	PARSES("!verbs,!fabric:verbs, !fabric:efa", "tcp");
	PARSES("!fabric:shm", "verbs", "fabric:verbs", "fabric:efa", "tcp");
}

static void refuse(const char *text, int code, const char *word)
{
	struct cor_transports t = { .n = 77 };
	struct cor_error err = COR_ERROR_INIT;

	assert_int_equal(cor_transports_parse(text, &cor_transports_default, &t, &err), code);
	assert_non_null(strstr(err.text, word));
	assert_int_equal(t.n, 77);
}

static void bad_lists_are_named(void **state)
{
	refuse("pigeon", -EINVAL, "\"pigeon\"");
	refuse("verbs,!tcp", -EINVAL, "tcp cannot be left out");
	refuse("verbs,!fabric:tcp", -EINVAL, "not both");
	refuse("", -EINVAL, "empty");
	refuse(" , ", -EINVAL, "empty");
	refuse("fabric", -EINVAL, "\"fabric\"");
	refuse("fabric:", -EINVAL, "\"fabric:\"");
	refuse("!", -EINVAL, "\"\"");
	refuse("fabric:0123456789012345678901234567890123456789", -EINVAL, "there is no transport");
	refuse("fabric:a fabric:b fabric:c fabric:d fabric:e fabric:f fabric:g fabric:h", -E2BIG,
	       "more than");
}

static void tcp_can_always_be_had(void **state)
{
	struct cor_error err = COR_ERROR_INIT;

	assert_int_equal(cor_transport_probe("tcp", &err), 0);
	assert_true(cor_transport_probe("fabric:pigeon", &err) < 0);
	assert_string_not_equal(err.text, "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names_in_order),
		cmocka_unit_test(nothing_behind_tcp),
		cmocka_unit_test(names_to_leave_out),
		cmocka_unit_test(bad_lists_are_named),
		cmocka_unit_test(tcp_can_always_be_had),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
