/* Frames of the control channel: round trips, and what a peer may send instead. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <endian.h>
#include <errno.h>
#include <limits.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "daemon/control.h"
#include "libcor/base/cleanup.h"
#include "libcor/transport/stream_fault.h"
#include "tests/stream.h"

static int set_up(void **state)
{
	static struct cor_stream *ends[2];
	int sv[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv), 0);
	ends[0] = stream_of(sv[0]);
	ends[1] = stream_of(sv[1]);
	*state = ends;
	return 0;
}

static int tear_down(void **state)
{
	struct cor_stream **sv = *state;

	cor_stream_close(sv[0]);
	cor_stream_close(sv[1]);
	return 0;
}

static void message_survives_the_wire(void **state)
{
	Cor__Control__Commit sent = COR__CONTROL__COMMIT__INIT, *got;
	struct control_message m;
	struct cor_stream **sv = *state;

	sent.epoch = 42;
	assert_int_equal(control_send(sv[0], CONTROL_COMMIT, &sent.base, NULL), 0);
	assert_int_equal(control_expect(sv[1], CONTROL_COMMIT, 1000, &m, NULL), 0);
	got = control_unpack(&m, &cor__control__commit__descriptor, NULL);
	assert_non_null(got);
	assert_int_equal(got->epoch, 42);
	cor__control__commit__free_unpacked(got, NULL);
	control_message_done(&m);
}

static void other_message_is_named(void **state)
{
	struct cor_error err = COR_ERROR_INIT;
	struct control_message m;
	struct cor_stream **sv = *state;

	assert_int_equal(control_send(sv[0], CONTROL_READY, NULL, NULL), 0);
	assert_int_equal(control_expect(sv[1], CONTROL_COMMIT, 1000, &m, &err), -EPROTO);
	assert_non_null(strstr(err.text, "ready where commit was due"));
}

static void abort_becomes_its_error(void **state)
{
	const struct cor_error why = { .code = -ENOSPC, .text = "no room" };
	struct cor_error err = COR_ERROR_INIT;
	struct control_message m;
	struct cor_stream **sv = *state;

	control_send_abort(sv[0], &why);
	assert_int_equal(control_expect(sv[1], CONTROL_COMMIT, 1000, &m, &err), -ENOSPC);
	assert_string_equal(err.text, "no room");
}

/* Neither success nor a number that is no errno, and never without a sentence. */
static void abort_is_always_a_failure(void **state)
{
	static const int codes[] = { 0, 7, INT_MIN, -5000 };
	struct cor_stream **sv = *state;

	for (unsigned i = 0; i < ARRAY_SIZE(codes); i++) {
		const struct cor_error why = { .code = codes[i] };
		struct cor_error err = COR_ERROR_INIT;
		struct control_message m;

		control_send_abort(sv[0], &why);
		assert_int_equal(control_expect(sv[1], CONTROL_COMMIT, 1000, &m, &err), -EIO);
		assert_int_equal(err.code, -EIO);
		assert_true(err.text[0]);
	}
}

static void assert_refused(struct cor_stream **sv, const struct control_frame *frame, int code)
{
	struct control_frame f = *frame;
	struct control_message m;

	control_frame_seal(&f, NULL, 0);
	assert_int_equal(send(sv[0]->out_fd, &f, sizeof(f), 0), sizeof(f));
	shutdown(sv[0]->out_fd, SHUT_WR);
	assert_int_equal(control_receive(sv[1], 1000, &m, NULL), code);
}

static void other_version_is_refused(void **state)
{
	const struct control_frame f = { .type = htole16(CONTROL_HELLO), .version = htole16(1) };

	assert_refused(*state, &f, -EPROTO);
}

static void too_large_a_body_is_refused(void **state)
{
	struct control_frame f = { .length = htole32(CONTROL_BODY_MAX + 1),
				   .type = htole16(CONTROL_IMAGE),
				   .version = htole16(CONTROL_VERSION) };

	assert_refused(*state, &f, -EPROTO);
}

static void only_a_task_may_be_large(void **state)
{
	struct control_frame f = { .length = htole32(CONTROL_SMALL_MAX + 1),
				   .type = htole16(CONTROL_HELLO),
				   .version = htole16(CONTROL_VERSION) };

	assert_refused(*state, &f, -EPROTO);
}

/* A header costs its sender nothing, and us no more than what follows it. */
static void memory_is_taken_as_bytes_come(void **state)
{
	struct control_frame f = { .length = htole32(CONTROL_BODY_MAX),
				   .type = htole16(CONTROL_IMAGE),
				   .version = htole16(CONTROL_VERSION) };
	struct rlimit before, little;

#ifdef __SANITIZE_ADDRESS__
	skip();         /* it takes memory of its own, and ends where it cannot */
#endif
	getrlimit(RLIMIT_DATA, &before);
	little = before;
	little.rlim_cur = CONTROL_BODY_MAX / 2;
	setrlimit(RLIMIT_DATA, &little);
	assert_refused(*state, &f, -ENOTCONN);
	setrlimit(RLIMIT_DATA, &before);
}

static void end_inside_a_message_is_an_error(void **state)
{
	const struct control_frame f = { .length = htole32(4), .version = htole16(CONTROL_VERSION) };

	assert_refused(*state, &f, -ENOTCONN);
}

/* A byte of the header, then one of the body. */
static void spoiled_message_is_refused(void **state)
{
	static const char *const where[] = { "control:corrupt@0", "control:corrupt@5",
					     "control:corrupt@25" };
	Cor__Control__Commit sent = COR__CONTROL__COMMIT__INIT;

	sent.epoch = 42;
	for (unsigned i = 0; i < ARRAY_SIZE(where); i++) {
		struct cor_error err = COR_ERROR_INIT;
		struct cor_stream **sv = *state;
		struct control_message m;

		assert_int_equal(cor_fault_apply(&sv[1], where[i], COR_CONN_CONTROL, NULL), 0);
		assert_int_equal(control_send(sv[0], CONTROL_COMMIT, &sent.base, NULL), 0);
		assert_int_equal(control_receive(sv[1], 1000, &m, &err), -EBADMSG);
		assert_non_null(strstr(err.text, "spoiled"));
		tear_down(state);
		set_up(state);
	}
}

#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(message_survives_the_wire), T(other_message_is_named), T(abort_becomes_its_error),
		T(abort_is_always_a_failure), T(other_version_is_refused),
		T(too_large_a_body_is_refused), T(only_a_task_may_be_large),
		T(memory_is_taken_as_bytes_come), T(end_inside_a_message_is_an_error),
		T(spoiled_message_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
