/* Streams: what all of them promise, over a socket and through the decorators that
 * spoil what is received. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "libcor/base/cleanup.h"
#include "libcor/base/io.h"
#include "libcor/transport/stream_fault.h"
#include "libcor/transport/tcp.h"
#include "tests/stream.h"

#define MS 1000000ull

struct ends {
	struct cor_stream *ours;
	int theirs;
};

static int set_up(void **state)
{
	static struct ends e;
	int sv[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv), 0);
	e = (struct ends){ stream_of(sv[0]), sv[1] };
	*state = &e;
	return 0;
}

static int tear_down(void **state)
{
	struct ends *e = *state;

	cor_stream_close(e->ours);
	cor_closep(&e->theirs);
	return 0;
}

static void say(struct ends *e, const char *text)
{
	assert_int_equal(cor_write_full(e->theirs, text, strlen(text)), 0);
}

/* Everything up to the end, or up to what would wait. */
static const char *hear(struct ends *e)
{
	static char buf[256];
	size_t got = 0;
	ssize_t n;

	do {
		/* two buffers, of odd sizes */
		struct iovec iov[2] = { { buf + got, 3 }, { buf + got + 3, 5 } };

		n = cor_stream_receive(e->ours, iov, 2, COR_STREAM_NOWAIT);
		got += n > 0 ? (size_t)n : 0;
	} while (n > 0);
	assert_true(n == 0 || n == -EAGAIN);
	buf[got] = 0;
	return buf;
}

static void spoil(struct ends *e, const char *text)
{
	assert_int_equal(cor_fault_apply(&e->ours, text, COR_CONN_BULK, NULL), 0);
}

/* --- what every stream promises ------------------------------------------------- */

static void end_before_and_in_the_middle_differ(void **state)
{
	struct ends *e = *state;
	char buf[4];

	say(e, "ab");
	shutdown(e->theirs, SHUT_WR);
	assert_int_equal(cor_stream_read(e->ours, buf, 4), -EPIPE);
	assert_int_equal(cor_stream_read(e->ours, buf, 4), -ENODATA);
}

static void deadline_ends_a_read(void **state)
{
	struct ends *e = *state;
	uint64_t from = cor_now_ns();
	size_t got = 0;
	char buf[4];

	say(e, "ab");
	assert_int_equal(cor_stream_read_by(e->ours, buf, 4, &got, from + 20 * MS), -ETIMEDOUT);
	assert_int_equal(got, 2);
	assert_true(cor_now_ns() - from >= 20 * MS);
	say(e, "cd");
	assert_int_equal(cor_stream_read_by(e->ours, buf, 4, &got, cor_now_ns() + 1000 * MS), 0);
	assert_memory_equal(buf, "abcd", 4);
}

static void *read_slowly(void *arg)
{
	char buf[1000];
	ssize_t n;
	size_t total = 0;

	while ((n = read(*(int *)arg, buf, sizeof(buf))) > 0)
		total += (size_t)n;
	return (void *)total;
}

static void all_is_written_in_parts(void **state)
{
	static char big[3 << 20];
	struct ends *e = *state;
	struct iovec iov[] = { { big, 1 << 20 }, { big, 7 }, { big, sizeof(big) } };
	pthread_t reader;
	void *total;

	assert_int_equal(pthread_create(&reader, NULL, read_slowly, &e->theirs), 0);
	assert_int_equal(cor_stream_writev(e->ours, iov, 3), 0);
	cor_stream_shutdown(e->ours);
	pthread_join(reader, &total);
	assert_int_equal((size_t)total, (4 << 20) + 7);
}

static void full_stream_does_not_wait_when_told(void **state)
{
	static char big[1 << 20];
	struct ends *e = *state;
	struct iovec iov = { big, sizeof(big) };
	ssize_t n;

	do
		n = cor_stream_send(e->ours, &iov, 1, COR_STREAM_NOWAIT);
	while (n > 0);
	assert_int_equal(n, -EAGAIN);
}

static void *receive_one(void *arg)
{
	char c;
	struct iovec iov = { &c, 1 };

	return (void *)cor_stream_receive(arg, &iov, 1, 0);
}

static void shutdown_wakes_who_sleeps(void **state)
{
	struct ends *e = *state;
	pthread_t sleeper;
	void *n;

	assert_int_equal(pthread_create(&sleeper, NULL, receive_one, e->ours), 0);
	poll(NULL, 0, 10);
	cor_stream_shutdown(e->ours);
	pthread_join(sleeper, &n);
	assert_int_equal((ssize_t)n, 0);
}

/* --- decorators ------------------------------------------------------------------ */

static void decorated_stream_without_faults_is_the_same(void **state)
{
	struct cor_fault_counts counts = { 0 };
	struct ends *e = *state;

	assert_int_equal(cor_stream_fault(&e->ours, e->ours, NULL, 0, &counts, NULL), 0);
	say(e, "abcdefghijklmnop");
	assert_string_equal(hear(e), "abcdefghijklmnop");
	assert_int_equal(cor_stream_write(e->ours, "abc", 3), 0);
	assert_int_equal(counts.received, 16);
	assert_int_equal(counts.sent, 3);
	assert_int_equal(counts.faults, 0);
	cor_stream_close(e->ours);      /* before the counts go */
	e->ours = NULL;
}

static void bytes_are_changed_where_told(void **state)
{
	struct ends *e = *state;

	spoil(e, "bulk:corrupt@3=2");
	say(e, "0123456789");
	assert_string_equal(hear(e), "012fa56789");     /* '3' ^ 0x55, '4' ^ 0x55 */
}

static void fault_comes_again(void **state)
{
	struct ends *e = *state;

	spoil(e, "all:drop@1+4");
	say(e, "0123456789");
	assert_string_equal(hear(e), "0234678");
}

static void dropped_bytes_are_missing(void **state)
{
	struct ends *e = *state;

	spoil(e, "bulk:drop@2=5");
	say(e, "0123");
	assert_string_equal(hear(e), "01");
	say(e, "456789");
	assert_string_equal(hear(e), "789");
}

static void duplicated_bytes_come_twice(void **state)
{
	struct ends *e = *state;

	spoil(e, "bulk:duplicate@1=4");
	say(e, "012");
	assert_string_equal(hear(e), "012");
	say(e, "3456");
	assert_string_equal(hear(e), "34123456");
}

static void bytes_that_come_again_are_pending(void **state)
{
	struct ends *e = *state;
	char buf[2];

	spoil(e, "bulk:duplicate=2");
	say(e, "01");
	assert_false(cor_stream_pending(e->ours));
	assert_int_equal(cor_stream_read(e->ours, buf, 2), 0);
	assert_true(cor_stream_pending(e->ours));
}

static void cut_ends_both_directions(void **state)
{
	struct ends *e = *state;
	char c;

	spoil(e, "bulk:cut@4");
	say(e, "0123456789");
	assert_string_equal(hear(e), "0123");
	assert_int_equal(cor_stream_write(e->ours, "x", 1), -EPIPE);
	assert_int_equal(read(e->theirs, &c, 1), 0);
}

static void truncation_ends_one_direction(void **state)
{
	struct ends *e = *state;
	char c = 0;

	spoil(e, "bulk:truncate@4");
	say(e, "0123456789");
	assert_string_equal(hear(e), "0123");
	assert_int_equal(cor_stream_write(e->ours, "x", 1), 0);
	assert_int_equal(read(e->theirs, &c, 1), 1);
}

static void stalled_stream_is_silent_and_open(void **state)
{
	struct ends *e = *state;
	struct pollfd p;

	spoil(e, "bulk:stall@4");
	say(e, "0123456789");
	assert_string_equal(hear(e), "0123");
	p = (struct pollfd){ e->ours->in_fd, POLLIN, 0 };
	assert_int_equal(poll(&p, 1, 10), 0);
	say(e, "still open");
	p = (struct pollfd){ e->theirs, POLLIN, 0 };
	assert_int_equal(poll(&p, 1, 10), 0);
}

static void delayed_bytes_come_late_and_whole(void **state)
{
	struct ends *e = *state;
	uint64_t from = cor_now_ns();
	char buf[10];

	spoil(e, "bulk:delay=30000");
	say(e, "01234");
	assert_string_equal(hear(e), "");
	assert_false(cor_stream_pending(e->ours));
	say(e, "56789");
	assert_int_equal(cor_stream_read(e->ours, buf, 10), 0);
	assert_memory_equal(buf, "0123456789", 10);
	assert_true(cor_now_ns() - from >= 30 * MS);
}

static void delayed_stream_wakes_who_polls(void **state)
{
	struct ends *e = *state;
	struct pollfd p;

	spoil(e, "bulk:delay=20000");
	say(e, "late");
	assert_string_equal(hear(e), "");
	p = (struct pollfd){ e->ours->in_fd, POLLIN, 0 };
	assert_int_equal(poll(&p, 1, 5000), 1);
	assert_string_equal(hear(e), "late");
	/* and is quiet again */
	assert_int_equal(poll(&p, 1, 5), 0);
	shutdown(e->theirs, SHUT_WR);
	assert_int_equal(cor_stream_await(e->ours, cor_now_ns() + 5000 * MS), 0);
	assert_string_equal(hear(e), "");
}

static void faults_are_for_their_kind(void **state)
{
	static const char text[] = "control:cut@9,demand:delay=5,bulk:corrupt@7+8=9,all:stall";
	struct cor_fault f[COR_FAULTS_MAX];

	assert_int_equal(cor_fault_parse(NULL, COR_CONN_BULK, f, NULL), 0);
	assert_int_equal(cor_fault_parse(text, COR_CONN_BULK, f, NULL), 2);
	assert_int_equal(f[0].action, COR_FAULT_CORRUPT);
	assert_int_equal(f[0].at, 7);
	assert_int_equal(f[0].every, 8);
	assert_int_equal(f[0].argument, 9);
	assert_int_equal(f[1].action, COR_FAULT_STALL);
	assert_int_equal(cor_fault_parse(text, COR_CONN_CONTROL, f, NULL), 2);
	assert_int_equal(f[0].action, COR_FAULT_CUT);
	assert_int_equal(f[0].at, 9);
}

static void what_is_no_fault_is_refused(void **state)
{
	static const char *const bad[] = {
		"bulk", "bulk:", "bulk:burn", "lane:cut", "bulk:cut@", "bulk:cut@x", "bulk:cut;",
		"bulk:drop=70000", "bulk:cut,,", "bulk:cut@99999999999999999999", "bulkcut",
	};
	struct cor_fault f[COR_FAULTS_MAX];

	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
		struct cor_error err = COR_ERROR_INIT;

		assert_int_equal(cor_fault_parse(bad[i], COR_CONN_BULK, f, &err), -EINVAL);
		assert_non_null(strstr(err.text, bad[i]));
	}
}

/* --- what is worth waking for ----------------------------------------------------- */

/* Over TCP, since other sockets take no hint. */
static int set_up_tcp(void **state)
{
	static struct ends e;
	struct cor_error err = COR_ERROR_INIT;
	_cleanup_close_ int listener = -1;
	char where[32];
	int port = cor_tcp_listen("127.0.0.1:0", &listener, &err), sock, theirs = -1;

	assert_true(port > 0);
	snprintf(where, sizeof(where), "127.0.0.1:%d", port);
	assert_int_equal(cor_tcp_connect(where, 1000, &theirs, &err), 0);
	while ((sock = cor_tcp_accept(listener, &err)) == -EAGAIN)
		poll(&(struct pollfd){ .fd = listener, .events = POLLIN }, 1, 1000);
	assert_true(sock >= 0);
	e = (struct ends){ stream_of(sock), theirs };
	*state = &e;
	return 0;
}

/* Loopback delivers within the call that sends; the rest is for a machine under load. */
static bool tells(const struct ends *e, int ms)
{
	return poll(&(struct pollfd){ .fd = e->ours->in_fd, .events = POLLIN | POLLRDHUP }, 1, ms);
}

static void few_bytes_are_not_told_of(void **state)
{
	struct ends *e = *state;

	assert_true(cor_stream_worth(e->ours, 6));
	say(e, "abcde");
	assert_false(tells(e, 20));
	say(e, "f");
	assert_true(tells(e, 1000));
	assert_string_equal(hear(e), "abcdef");
}

static void few_bytes_can_be_had_all_the_same(void **state)
{
	struct ends *e = *state;

	assert_true(cor_stream_worth(e->ours, 1 << 20));
	say(e, "abc");
	tells(e, 20);
	assert_string_equal(hear(e), "abc");
}

static void bytes_that_are_there_are_told_of_when_they_are_worth_it(void **state)
{
	struct ends *e = *state;

	assert_true(cor_stream_worth(e->ours, 1 << 20));
	say(e, "abc");
	assert_false(tells(e, 20));
	assert_true(cor_stream_worth(e->ours, 1));
	assert_true(tells(e, 1000));
}

static void the_end_is_told_of_always(void **state)
{
	struct ends *e = *state;

	assert_true(cor_stream_worth(e->ours, 1 << 20));
	say(e, "abc");
	assert_false(tells(e, 20));
	shutdown(e->theirs, SHUT_WR);
	assert_true(tells(e, 1000));
}

#define tcp_test(f) cmocka_unit_test_setup_teardown(f, set_up_tcp, tear_down)
#define stream_test(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		stream_test(end_before_and_in_the_middle_differ),
		stream_test(deadline_ends_a_read),
		stream_test(all_is_written_in_parts),
		stream_test(full_stream_does_not_wait_when_told),
		stream_test(shutdown_wakes_who_sleeps),
		stream_test(decorated_stream_without_faults_is_the_same),
		stream_test(bytes_are_changed_where_told),
		stream_test(fault_comes_again),
		stream_test(dropped_bytes_are_missing),
		stream_test(duplicated_bytes_come_twice),
		stream_test(bytes_that_come_again_are_pending),
		stream_test(cut_ends_both_directions),
		stream_test(truncation_ends_one_direction),
		stream_test(stalled_stream_is_silent_and_open),
		stream_test(delayed_bytes_come_late_and_whole),
		stream_test(delayed_stream_wakes_who_polls),
		tcp_test(few_bytes_are_not_told_of),
		tcp_test(few_bytes_can_be_had_all_the_same),
		tcp_test(bytes_that_are_there_are_told_of_when_they_are_worth_it),
		tcp_test(the_end_is_told_of_always),
		cmocka_unit_test(faults_are_for_their_kind),
		cmocka_unit_test(what_is_no_fault_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
