/* The request lines of the control socket. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "daemon/request.h"

static int parse(struct request *q, const char *line, struct cor_error *err)
{
	return request_parse(q, line, strlen(line), err);
}

static void assert_refused(const char *line, const char *word)
{
	struct request q = { .pid = 4711 };
	struct cor_error err = COR_ERROR_INIT;

	assert_int_equal(parse(&q, line, &err), -EINVAL);
	if (!strstr(err.text, word))
		fail_msg("%s: no \"%s\" in: %s", line, word, err.text);
	assert_int_equal(q.pid, 4711);
}

static void reads_a_whole_migrate(void **state)
{
	struct request q;

	assert_int_equal(parse(&q, "{\"command\":\"migrate\",\"pid\":12,\"dest\":\"h:1\","
			       "\"wait\":\"resumed\",\"prefetch\":false,\"transport\":\"tcp\"}",
			       NULL), 0);
	assert_int_equal(q.command, REQUEST_MIGRATE);
	assert_int_equal(q.pid, 12);
	assert_string_equal(q.dest, "h:1");
	assert_false(q.wait_drained);
	assert_int_equal(q.prefetch, 0);
	assert_string_equal(q.transport, "tcp");
}

static void migrate_waits_for_the_drain_unless_told(void **state)
{
	struct request q;

	assert_int_equal(parse(&q, "{\"command\":\"migrate\",\"pid\":12,\"dest\":\"h:1\"}", NULL), 0);
	assert_true(q.wait_drained);
	assert_int_equal(q.prefetch, -1);
	assert_string_equal(q.transport, "");
}

static void migrate_goes_without_mechanisms(void **state)
{
	struct request q;

	assert_int_equal(parse(&q, "{\"command\":\"migrate\",\"pid\":12,\"dest\":\"h:1\","
			       "\"without\":\"files,udp\"}", NULL), 0);
	assert_int_equal(q.without, 1u << COR_MECHANISM_FILES | 1u << COR_MECHANISM_UDP);
	assert_refused("{\"command\":\"migrate\",\"pid\":12,\"dest\":\"h:1\","
		       "\"without\":\"files,luck\"}", "luck");
	assert_refused("{\"command\":\"migrate\",\"pid\":12,\"dest\":\"h:1\","
		       "\"without\":\"task\"}", "task");
	assert_refused("{\"command\":\"migrate\",\"pid\":12,\"dest\":\"h:1\","
		       "\"without\":7}", "without");
}

static void migrate_expects_what_leads_outside(void **state)
{
	struct request q;

	assert_int_equal(parse(&q, "{\"command\":\"migrate\",\"pid\":12,\"dest\":\"h:1\"}", NULL), 0);
	assert_false(q.outside);
	assert_int_equal(parse(&q, "{\"command\":\"migrate\",\"pid\":12,\"dest\":\"h:1\","
			       "\"outside\":true}", NULL), 0);
	assert_true(q.outside);
	assert_refused("{\"command\":\"migrate\",\"pid\":12,\"dest\":\"h:1\","
		       "\"outside\":1}", "outside");
}

static void ps_and_status_are_the_same(void **state)
{
	struct request q;

	assert_int_equal(parse(&q, "{\"command\":\"ps\"}", NULL), 0);
	assert_int_equal(q.command, REQUEST_STATUS);
	assert_int_equal(parse(&q, "{\"command\":\"status\",\"id\":\"0ab\"}", NULL), 0);
	assert_int_equal(q.command, REQUEST_STATUS);
	assert_string_equal(q.id, "0ab");
}

static void cancel_needs_an_id(void **state)
{
	assert_refused("{\"command\":\"cancel\"}", "id");
}

static void refuses_what_is_no_object(void **state)
{
	assert_refused("nothing", "not JSON");
	assert_refused("[1]", "object");
	assert_refused("{}", "command");
	assert_refused("{\"command\":\"dance\"}", "dance");
}

static void refuses_what_is_no_pid(void **state)
{
	assert_refused("{\"command\":\"migrate\",\"dest\":\"h:1\"}", "pid");
	assert_refused("{\"command\":\"migrate\",\"pid\":\"1\",\"dest\":\"h:1\"}", "pid");
	assert_refused("{\"command\":\"migrate\",\"pid\":0,\"dest\":\"h:1\"}", "pid");
	assert_refused("{\"command\":\"migrate\",\"pid\":-1,\"dest\":\"h:1\"}", "pid");
	assert_refused("{\"command\":\"migrate\",\"pid\":4294967297,\"dest\":\"h:1\"}", "pid");
}

static void refuses_a_missing_destination(void **state)
{
	assert_refused("{\"command\":\"migrate\",\"pid\":1}", "dest");
	assert_refused("{\"command\":\"migrate\",\"pid\":1,\"dest\":\"\"}", "dest");
}

static void refuses_texts_that_do_not_fit(void **state)
{
	char line[512];

	snprintf(line, sizeof(line), "{\"command\":\"migrate\",\"pid\":1,\"dest\":\"%0300d\"}", 1);
	assert_refused(line, "dest");
	assert_refused("{\"command\":\"status\",\"id\":\"000000000000000000000000000000000\"}", "id");
}

static void refuses_an_id_of_other_than_digits(void **state)
{
	assert_refused("{\"command\":\"status\",\"id\":\"../x\"}", "identity");
}

static void refuses_another_wait(void **state)
{
	assert_refused("{\"command\":\"migrate\",\"pid\":1,\"dest\":\"h:1\",\"wait\":\"never\"}",
		       "wait");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reads_a_whole_migrate),
		cmocka_unit_test(migrate_waits_for_the_drain_unless_told),
		cmocka_unit_test(migrate_goes_without_mechanisms),
		cmocka_unit_test(migrate_expects_what_leads_outside),
		cmocka_unit_test(ps_and_status_are_the_same),
		cmocka_unit_test(cancel_needs_an_id),
		cmocka_unit_test(refuses_what_is_no_object),
		cmocka_unit_test(refuses_what_is_no_pid),
		cmocka_unit_test(refuses_a_missing_destination),
		cmocka_unit_test(refuses_texts_that_do_not_fit),
		cmocka_unit_test(refuses_an_id_of_other_than_digits),
		cmocka_unit_test(refuses_another_wait),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
