/* What cord remembers of a migration. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <signal.h>
#include <string.h>

#include "daemon/record.h"

#define ID "000102030405060708090a0b0c0d0e0f"
#define SECRET ID ID

static int setup_role(void **state, bool source)
{
	static struct record r;

	*state = &r;
	return record_init(&r, source);
}

static int setup_source(void **state)
{
	return setup_role(state, true);
}

static int setup_destination(void **state)
{
	return setup_role(state, false);
}

static int teardown(void **state)
{
	record_clear(*state);
	return 0;
}

static int tell(int (*how)(struct record *, const json_t *), struct record *r, const char *text)
{
	json_t *message = json_loads(text, 0, NULL);
	int code = how(r, message);

	json_decref(message);
	return code;
}

static json_int_t number(const struct record *r, const char *key)
{
	return json_integer_value(json_object_get(r->figures, key));
}

static void keeps_the_latest_figures(void **state)
{
	struct record *r = *state;

	tell(record_status, r, "{\"type\":\"status\",\"state\":\"paging\",\"faults\":3}");
	tell(record_status, r, "{\"type\":\"status\",\"faults\":5,\"freeze_us\":800}");
	assert_int_equal(r->state, SESSION_PAGING);
	assert_int_equal(number(r, "faults"), 5);
	assert_int_equal(number(r, "freeze_us"), 800);
}

static void refuses_an_unknown_state(void **state)
{
	struct record *r = *state;

	assert_int_equal(tell(record_status, r, "{\"state\":\"dreaming\",\"faults\":3}"), -EINVAL);
	assert_int_equal(r->state, SESSION_PREPARE);
	assert_int_equal(number(r, "faults"), 0);
}

static void shows_every_figure_of_the_contract(void **state)
{
	static const char *const keys[] = {
		"pid", "destination_pid", "freeze_us", "drain_us", "pages", "pages_demand",
		"pages_prefetched", "pages_zero", "bytes_wire", "fault_us",
	};
	json_t *o = record_json(*state);

	for (size_t i = 0; i < sizeof(keys) / sizeof(*keys); i++)
		assert_non_null(json_object_get(o, keys[i]));
	assert_non_null(json_object_get(json_object_get(o, "fault_us"), "p99"));
	json_decref(o);
}

static void takes_a_session_once(void **state)
{
	struct record *r = *state;

	assert_int_equal(tell(record_session, r, "{\"id\":\"" ID "\",\"secret\":\"" SECRET "\"}"), 0);
	assert_true(r->takes_lanes);
	assert_string_equal(r->id, ID);
	assert_int_equal(r->session[15], 15);
	assert_int_equal(r->secret[31], 15);
	assert_int_equal(tell(record_session, r, "{\"id\":\"" ID "\",\"secret\":\"" SECRET "\"}"),
			 -EINVAL);
}

static void refuses_a_session_without_a_whole_secret(void **state)
{
	struct record *r = *state;

	assert_int_equal(tell(record_session, r, "{\"id\":\"" ID "\",\"secret\":\"00\"}"), -EINVAL);
	assert_int_equal(tell(record_session, r, "{\"id\":\"" ID "\"}"), -EINVAL);
	assert_false(r->takes_lanes);
}

static void never_shows_the_secret(void **state)
{
	struct record *r = *state;
	char *text;
	json_t *o;

	tell(record_session, r, "{\"id\":\"" ID "\",\"secret\":\"" SECRET "\"}");
	o = record_json(r);
	text = json_dumps(o, 0);
	assert_null(strstr(text, SECRET));
	free(text);
	json_decref(o);
}

static void takes_no_lanes_once_it_ended(void **state)
{
	struct record *r = *state;

	tell(record_session, r, "{\"id\":\"" ID "\",\"secret\":\"" SECRET "\"}");
	assert_int_equal(tell(record_result, r, "{\"ok\":true,\"exit\":0}"), 0);
	assert_false(r->takes_lanes);
	assert_int_equal(r->state, SESSION_RELEASED);
}

static void counts_the_first_result_only(void **state)
{
	struct record *r = *state;

	assert_int_equal(tell(record_result, r, "{\"ok\":false,\"exit\":1,\"error\":\"no\"}"), 0);
	assert_int_equal(tell(record_result, r, "{\"ok\":true,\"exit\":0}"), -EINVAL);
	assert_false(r->ok);
	assert_int_equal(r->state, SESSION_ABORTED);
}

static void a_worker_killed_before_commit_has_failed(void **state)
{
	struct record *r = *state;

	record_worker_died(r, SIGSEGV, true);
	assert_true(r->ended);
	assert_int_equal(r->exit, 1);
	assert_non_null(strstr(json_string_value(json_object_get(r->figures, "error")),
			       "the worker ended unexpectedly, signal 11"));
}

static void a_worker_killed_after_commit_has_lost_the_task(void **state)
{
	struct record *r = *state;

	tell(record_status, r, "{\"state\":\"commit\"}");
	record_worker_died(r, SIGKILL, true);
	assert_int_equal(r->exit, 3);
	assert_int_equal(r->state, SESSION_LOST);
}

static void an_arrival_may_end_well_by_its_exit_status(void **state)
{
	struct record *r = *state;

	tell(record_status, r, "{\"state\":\"paging\"}");
	record_worker_died(r, 0, true);
	assert_true(r->ok);
	assert_int_equal(r->state, SESSION_RELEASED);
}

static void a_worker_killed_after_the_release_harmed_nobody(void **state)
{
	struct record *r = *state;

	tell(record_status, r, "{\"state\":\"released\"}");
	record_worker_died(r, SIGKILL, true);
	assert_true(r->ok);
	assert_int_equal(r->exit, 0);
	assert_int_equal(r->state, SESSION_RELEASED);
}

static void an_arrival_that_never_ran_has_failed_in_any_case(void **state)
{
	struct record *r = *state;

	record_worker_died(r, 0, true);
	assert_false(r->ok);
	assert_int_equal(r->state, SESSION_ABORTED);
}

static void answers_nothing_while_it_lives(void **state)
{
	assert_int_equal(record_outcome(*state), 0);
}

static void answers_how_it_ended(void **state)
{
	static const struct { const char *result; int outcome; } ends[] = {
		{ "{\"ok\":true,\"exit\":0}", -EALREADY },
		{ "{\"ok\":false,\"exit\":1}", -ECANCELED },
		{ "{\"ok\":false,\"exit\":3}", -ENOTRECOVERABLE },
	};

	for (unsigned i = 0; i < 3; i++) {
		struct record r;

		assert_int_equal(record_init(&r, false), 0);
		assert_int_equal(tell(record_result, &r, ends[i].result), 0);
		assert_int_equal(record_outcome(&r), ends[i].outcome);
		record_clear(&r);
	}
}

/* It may have resumed the task: that it was aborted would be a guess. */
static void a_dead_worker_does_not_answer_aborted(void **state)
{
	struct record *r = *state;

	record_worker_died(r, SIGKILL, true);
	assert_int_equal(r->state, SESSION_ABORTED);
	assert_int_equal(record_outcome(r), -EOWNERDEAD);
}

static void a_source_in_doubt_is_committed_but_not_resumed(void **state)
{
	struct record *r = *state;

	assert_int_equal(tell(record_status, r, "{\"state\":\"in-doubt\"}"), 0);
	assert_true(record_committed(r));
	assert_false(record_resumed(r));
}

static void shows_names_that_are_not_utf8(void **state)
{
	struct record *r = *state;

	record_set_text(r, "comm", "a\xff");
	assert_string_equal(json_string_value(json_object_get(r->figures, "comm")), "a?");
}

int main(void)
{
#define S(f) cmocka_unit_test_setup_teardown(f, setup_source, teardown)
#define D(f) cmocka_unit_test_setup_teardown(f, setup_destination, teardown)
	const struct CMUnitTest tests[] = {
		S(keeps_the_latest_figures),
		S(refuses_an_unknown_state),
		S(shows_every_figure_of_the_contract),
		D(takes_a_session_once),
		D(refuses_a_session_without_a_whole_secret),
		D(never_shows_the_secret),
		D(takes_no_lanes_once_it_ended),
		S(counts_the_first_result_only),
		S(a_worker_killed_before_commit_has_failed),
		S(a_worker_killed_after_commit_has_lost_the_task),
		D(an_arrival_may_end_well_by_its_exit_status),
		D(a_worker_killed_after_the_release_harmed_nobody),
		D(an_arrival_that_never_ran_has_failed_in_any_case),
		D(answers_nothing_while_it_lives),
		D(answers_how_it_ended),
		D(a_dead_worker_does_not_answer_aborted),
		S(a_source_in_doubt_is_committed_but_not_resumed),
		S(shows_names_that_are_not_utf8),
	};
#undef S
#undef D
	return cmocka_run_group_tests(tests, NULL, NULL);
}
