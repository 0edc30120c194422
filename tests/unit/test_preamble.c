/* The preamble, TCP addresses, listening and connecting. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "libcor/base/cleanup.h"
#include "libcor/base/io.h"
#include "libcor/transport/lane.h"
#include "libcor/transport/preamble.h"
#include "libcor/transport/tcp.h"
#include "libcor/transport/transport.h"

static const uint8_t session[COR_SESSION_ID] = { 1, 2, 3 };
static const uint8_t secret[COR_SECRET] = { 9, 8, 7 };

static void socket_pair(int sv[2])
{
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv), 0);
}

static void addresses_are_taken_apart(void **state)
{
	static const struct { const char *text, *host, *port; } ok[] = {
		{ "127.0.0.1:80", "127.0.0.1", "80" }, { "[::1]:7000", "::1", "7000" },
		{ "[fe80::1%eth0]:1", "fe80::1%eth0", "1" }, { "host.example:65535", "host.example", "65535" },
		{ ":0", "", "0" }, { "*:9", "", "9" },
	};

	for (unsigned i = 0; i < ARRAY_SIZE(ok); i++) {
		struct cor_addrport a;

		assert_int_equal(cor_addrport_parse(ok[i].text, &a, NULL), 0);
		assert_string_equal(a.host, ok[i].host);
		assert_string_equal(a.port, ok[i].port);
	}
}

static void bad_addresses_are_refused(void **state)
{
	static const char *const bad[] = {
		"", "host", "host:", "host:x", "host:65536", "host:-1", "host:1:2", "::1:80", "[::1]",
		"[::1]80", "[]:80", "[::1", "host:123456", "host: 80",
		"[[f]:2", "[f:2", "f]:2",
	};

	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
		struct cor_addrport a;
		struct cor_error err;

		assert_int_equal(cor_addrport_parse(bad[i], &a, &err), -EINVAL);
		assert_int_equal(err.code, -EINVAL);
	}
}

static void long_host_is_refused(void **state)
{
	struct cor_addrport a;
	char text[400];

	memset(text, 'h', sizeof(text));
	strcpy(text + 300, ":80");
	assert_int_equal(cor_addrport_parse(text, &a, NULL), -EINVAL);
}

static void preamble_survives_the_wire(void **state)
{
	struct cor_preamble sent, got;
	int sv[2];

	socket_pair(sv);
	cor_preamble_make(&sent, COR_CONN_BULK, 3, session, secret);
	assert_int_equal(cor_write_full(sv[0], &sent, sizeof(sent)), 0);
	assert_int_equal(cor_preamble_read(sv[1], 1000, &got, NULL), 0);
	assert_memory_equal(&sent, &got, sizeof(sent));
	assert_int_equal(cor_preamble_check(&got, session, secret), 0);
	close(sv[0]);
	close(sv[1]);
}

static void wrong_secret_and_session_are_told_apart(void **state)
{
	uint8_t other[COR_SECRET] = { 9, 8, 7 };
	struct cor_preamble p;

	other[COR_SECRET - 1] = 1;
	cor_preamble_make(&p, COR_CONN_DEMAND, 0, session, other);
	assert_int_equal(cor_preamble_check(&p, session, secret), -EPERM);
	cor_preamble_make(&p, COR_CONN_DEMAND, 0, other, secret);
	assert_int_equal(cor_preamble_check(&p, session, secret), -ENOENT);
}

static void malformed_preambles_are_refused(void **state)
{
	static const unsigned offsets[] = { 0, 7, 8, 9, 10, 12, 15 };
	struct cor_preamble p, out;

	for (unsigned i = 0; i < ARRAY_SIZE(offsets); i++) {
		cor_preamble_make(&p, COR_CONN_BULK, 0, session, secret);
		((uint8_t *)&p)[offsets[i]] ^= 0x40;
		assert_int_equal(cor_preamble_parse(&p, &out), -EPROTO);
	}
	cor_preamble_make(&p, 0, 0, NULL, NULL);
	assert_int_equal(cor_preamble_parse(&p, &out), -EPROTO);
	cor_preamble_make(&p, COR_CONN_PUMP + 1, 0, NULL, NULL);
	assert_int_equal(cor_preamble_parse(&p, &out), -EPROTO);
}

static void reader_takes_single_bytes_and_no_more(void **state)
{
	struct cor_preamble_reader reader = COR_PREAMBLE_READER_INIT;
	struct cor_preamble p, got;
	char extra = 'x', c = 0;
	int sv[2];

	socket_pair(sv);
	cor_preamble_make(&p, COR_CONN_CONTROL, 0, NULL, NULL);
	for (size_t i = 0; i < sizeof(p); i++) {
		assert_int_equal(cor_preamble_reader_feed(&reader, sv[1], &got), 0);
		assert_int_equal(write(sv[0], (char *)&p + i, 1), 1);
	}
	assert_int_equal(write(sv[0], &extra, 1), 1);
	assert_int_equal(cor_preamble_reader_feed(&reader, sv[1], &got), 1);
	assert_int_equal(read(sv[1], &c, 1), 1);
	assert_int_equal(c, 'x');
	close(sv[0]);
	close(sv[1]);
}

static void reader_sees_an_early_end(void **state)
{
	struct cor_preamble_reader reader = COR_PREAMBLE_READER_INIT;
	struct cor_preamble got;
	int sv[2];

	socket_pair(sv);
	assert_int_equal(write(sv[0], "corpage", 7), 7);
	close(sv[0]);
	assert_int_equal(cor_preamble_reader_feed(&reader, sv[1], &got), -ECONNRESET);
	close(sv[1]);
}

static void silent_peer_times_out(void **state)
{
	struct cor_preamble got;
	struct cor_error err;
	int sv[2];

	socket_pair(sv);
	assert_int_equal(cor_preamble_read(sv[1], 20, &got, &err), -ETIMEDOUT);
	close(sv[0]);
	close(sv[1]);
}

static void refusal_reaches_the_connecting_side(void **state)
{
	struct cor_preamble p;
	struct cor_error err;
	int sv[2];

	socket_pair(sv);
	cor_preamble_make(&p, COR_CONN_DEMAND, 0, session, secret);
	assert_int_equal(cor_preamble_answer(sv[1], -EPERM), 0);
	assert_int_equal(cor_preamble_exchange(sv[0], &p, 1000, &err), -EPERM);
	assert_non_null(strstr(err.text, "refused"));
	close(sv[0]);
	close(sv[1]);
}

static void garbage_instead_of_an_answer_is_a_protocol_error(void **state)
{
	struct cor_preamble p;
	int sv[2];

	socket_pair(sv);
	cor_preamble_make(&p, COR_CONN_DEMAND, 0, session, secret);
	assert_int_equal(write(sv[1], "HTTP/1.1", 8), 8);
	assert_int_equal(cor_preamble_exchange(sv[0], &p, 1000, NULL), -EPROTO);
	close(sv[0]);
	close(sv[1]);
}

struct acceptor { int listener; int status; int got; };

static void *accept_one(void *arg)
{
	struct acceptor *a = arg;
	struct pollfd p = { .fd = a->listener, .events = POLLIN };
	struct cor_preamble pre;

	poll(&p, 1, 5000);
	_cleanup_close_ int fd = cor_tcp_accept(a->listener, NULL);

	a->got = cor_preamble_read(fd, 5000, &pre, NULL);
	if (a->got == 0)
		a->got = pre.kind;
	cor_preamble_answer(fd, a->status);
	return NULL;
}

static void secret_in_the_clear_before_tls_is_refused(void **state)
{
	struct cor_preamble p, out;

	cor_preamble_make(&p, COR_CONN_BULK, 0, session, NULL);
	p.security = COR_SECURITY_TLS;
	assert_int_equal(cor_preamble_parse(&p, &out), 0);
	/* the secret is proved later */
	assert_int_equal(cor_preamble_check(&out, session, secret), 0);
	cor_preamble_make(&p, COR_CONN_BULK, 0, session, secret);
	p.security = COR_SECURITY_TLS;
	assert_int_equal(cor_preamble_parse(&p, &out), -EPROTO);
	p.security = COR_SECURITY_TLS + 1;
	assert_int_equal(cor_preamble_parse(&p, &out), -EPROTO);
}

/* A refusal in the clear must not end a session that is told to be encrypted. */
static void word_of_the_end_in_the_clear_is_not_believed(void **state)
{
	static const int words[] = { -ECANCELED, -EALREADY, -ENOTRECOVERABLE, -EOWNERDEAD };

	for (unsigned i = 0; i < ARRAY_SIZE(words); i++) {
		struct acceptor a = { .listener = -1, .status = words[i] };
		int port = cor_tcp_listen("127.0.0.1:0", &a.listener, NULL);
		struct cor_lane_options o = {
			.kind = COR_CONN_CONTROL, .session = session, .secret = secret,
			.timeout_ms = 5000, .encrypted = true,
		};
		struct cor_stream *lane = NULL;
		struct cor_error err;
		char where[64];
		pthread_t th;

		snprintf(where, sizeof(where), "127.0.0.1:%d", port);
		o.addrport = where;
		assert_int_equal(pthread_create(&th, NULL, accept_one, &a), 0);
		assert_int_equal(cor_lane_connect(&lane, &o, &err), -EPROTO);
		pthread_join(th, NULL);
		assert_non_null(strstr(err.text, "not believed"));
		assert_null(lane);
		close(a.listener);
	}
}

static void lane_connects_over_tcp(void **state)
{
	struct acceptor a = { .listener = -1 };
	int port = cor_tcp_listen("127.0.0.1:0", &a.listener, NULL);
	struct cor_lane_options o = {
		.kind = COR_CONN_DEMAND, .session = session, .secret = secret, .timeout_ms = 5000,
	};
	struct cor_stream *lane = NULL;
	char where[64];
	pthread_t th;

	assert_true(port > 0);
	snprintf(where, sizeof(where), "127.0.0.1:%d", port);
	o.addrport = where;
	assert_int_equal(pthread_create(&th, NULL, accept_one, &a), 0);
	assert_int_equal(cor_lane_connect(&lane, &o, NULL), 0);
	pthread_join(th, NULL);
	assert_int_equal(a.got, COR_CONN_DEMAND);
	assert_int_equal(fcntl(lane->in_fd, F_GETFL) & O_NONBLOCK, 0);
	assert_int_equal(fcntl(lane->in_fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
	cor_stream_close(lane);
	close(a.listener);
}

static void refused_lane_leaves_nothing_behind(void **state)
{
	struct acceptor a = { .listener = -1, .status = -ENOENT };
	int port = cor_tcp_listen("[::1]:0", &a.listener, NULL);
	struct cor_lane_options o = {
		.kind = COR_CONN_BULK, .index = 1, .session = session, .secret = secret,
		.timeout_ms = 5000,
	};
	struct cor_stream *lane = NULL;
	struct cor_error err;
	char where[64];
	pthread_t th;

	if (port < 0)
		skip();          /* a kernel without IPv6 */
	snprintf(where, sizeof(where), "[::1]:%d", port);
	o.addrport = where;
	assert_int_equal(pthread_create(&th, NULL, accept_one, &a), 0);
	assert_int_equal(cor_lane_connect(&lane, &o, &err), -ENOENT);
	pthread_join(th, NULL);
	assert_null(lane);
	assert_non_null(strstr(err.text, where));
	close(a.listener);
}

static void closed_port_is_refused_by_name(void **state)
{
	int listener = -1, port = cor_tcp_listen("127.0.0.1:0", &listener, NULL), fd;
	struct cor_error err;
	char where[64];

	assert_true(port > 0);
	close(listener);
	snprintf(where, sizeof(where), "127.0.0.1:%d", port);
	assert_int_equal(cor_tcp_connect(where, 1000, &fd, &err), -ECONNREFUSED);
	assert_non_null(strstr(err.text, where));
}

static void connect_times_out(void **state)
{
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct sockaddr_in sin = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(sin);
	int fill[4] = { -1, -1, -1, -1 }, r = 0;
	char where[64];

	/* a listener that accepts nothing: once its queue is full, connecting hangs */
	assert_int_equal(bind(listener, (struct sockaddr *)&sin, sizeof(sin)), 0);
	assert_int_equal(listen(listener, 0), 0);
	assert_int_equal(getsockname(listener, (struct sockaddr *)&sin, &len), 0);
	snprintf(where, sizeof(where), "127.0.0.1:%d", ntohs(sin.sin_port));
	for (unsigned i = 0; i < ARRAY_SIZE(fill) && r == 0; i++)
		r = cor_tcp_connect(where, 50, &fill[i], NULL);
	assert_int_equal(r, -ETIMEDOUT);
	for (unsigned i = 0; i < ARRAY_SIZE(fill); i++)
		if (fill[i] >= 0)
			close(fill[i]);
	close(listener);
}

static void unknown_transport_is_none(void **state)
{
	assert_ptr_equal(cor_transport_find("tcp"), &cor_transport_tcp);
	assert_null(cor_transport_find("carrier-pigeon"));
}

static void secrets_differ(void **state)
{
	uint8_t a[COR_SECRET], b[COR_SECRET];

	assert_int_equal(cor_secret_make(a, sizeof(a), NULL), 0);
	assert_int_equal(cor_secret_make(b, sizeof(b), NULL), 0);
	assert_false(cor_secret_equal(a, b, sizeof(a)));
	memcpy(b, a, sizeof(b));
	assert_true(cor_secret_equal(a, b, sizeof(a)));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(addresses_are_taken_apart),
		cmocka_unit_test(bad_addresses_are_refused),
		cmocka_unit_test(long_host_is_refused),
		cmocka_unit_test(preamble_survives_the_wire),
		cmocka_unit_test(wrong_secret_and_session_are_told_apart),
		cmocka_unit_test(malformed_preambles_are_refused),
		cmocka_unit_test(reader_takes_single_bytes_and_no_more),
		cmocka_unit_test(reader_sees_an_early_end),
		cmocka_unit_test(silent_peer_times_out),
		cmocka_unit_test(refusal_reaches_the_connecting_side),
		cmocka_unit_test(garbage_instead_of_an_answer_is_a_protocol_error),
		cmocka_unit_test(secret_in_the_clear_before_tls_is_refused),
		cmocka_unit_test(word_of_the_end_in_the_clear_is_not_believed),
		cmocka_unit_test(lane_connects_over_tcp),
		cmocka_unit_test(refused_lane_leaves_nothing_behind),
		cmocka_unit_test(closed_port_is_refused_by_name),
		cmocka_unit_test(connect_times_out),
		cmocka_unit_test(unknown_transport_is_none),
		cmocka_unit_test(secrets_differ),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
