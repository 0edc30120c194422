/* Who a home pump takes for its peer: a process of its own, to which the test hands
 * connections as cord does. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "libcor/base/cleanup.h"
#include "libcor/base/error.h"
#include "libcor/base/io.h"
#include "libcor/names/pump/pump.h"
#include "libcor/transport/lane.h"
#include "libcor/transport/tcp.h"

struct home {
	char dir[64], path[256], addrport[32];
	uint8_t id[COR_SESSION_ID], secret[COR_SECRET];
	int listener, control;
	pid_t pid;
	pthread_t porter;
};

/* What cord does: reads the preamble, and hands the connection over. */
static void *hand_over(void *arg)
{
	struct home *h = arg;
	int fd;

	while ((fd = accept4(h->listener, NULL, NULL, SOCK_CLOEXEC)) >= 0) {
		struct cor_preamble p;
		int sock = cor_pump_connect(h->path, NULL);

		if (cor_preamble_read(fd, 5000, &p, NULL) == 0)
			cor_pump_tell(sock, COR_PUMP_CONNECTION, 0, &p, sizeof(p), fd);
		close(sock);
		close(fd);
	}
	return NULL;
}

static void run_pump(const struct home *h, int control)
{
	Cor__Names__PumpLink link = COR__NAMES__PUMP_LINK__INIT;
	struct cor_pump_plan plan = { .side = COR_PUMP_HOME, .dir = h->dir, .link = &link,
				      .control = control, .give_up_s = 60, .connect_s = 1,
				      .silence_s = 10 };

	link.id = (ProtobufCBinaryData){ sizeof(h->id), (uint8_t *)h->id };
	link.secret = (ProtobufCBinaryData){ sizeof(h->secret), (uint8_t *)h->secret };
	close(h->listener);
	close(h->control);
	_exit(cor_pump_run(&plan));
}

static int set_up(void **state)
{
	struct home *h = calloc(1, sizeof(*h));
	Cor__Names__PumpLink *about = NULL;
	int pair[2], port;

	assert_non_null(h);
	snprintf(h->dir, sizeof(h->dir), "/tmp/cor-greet.XXXXXX");
	assert_non_null(mkdtemp(h->dir));
	assert_int_equal(cor_secret_make(h->id, sizeof(h->id), NULL), 0);
	assert_int_equal(cor_secret_make(h->secret, sizeof(h->secret), NULL), 0);
	cor_pump_home_path(h->dir, h->id, h->path, sizeof(h->path));
	port = cor_tcp_listen("127.0.0.1:0", &h->listener, NULL);
	assert_true(port > 0);
	fcntl(h->listener, F_SETFL, 0);
	snprintf(h->addrport, sizeof(h->addrport), "127.0.0.1:%d", port);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	h->control = pair[0];
	h->pid = fork();
	if (h->pid == 0)
		run_pump(h, pair[1]);
	close(pair[1]);
	/* it answers, so it listens */
	assert_int_equal(cor_pump_ask(h->control, COR_PUMP_DESCRIBE, NULL, NULL, 0, &about, NULL, NULL,
				      NULL), 0);
	cor__names__pump_link__free_unpacked(about, NULL);
	assert_int_equal(pthread_create(&h->porter, NULL, hand_over, h), 0);
	*state = h;
	return 0;
}

static int tear_down(void **state)
{
	struct home *h = *state;

	shutdown(h->listener, SHUT_RDWR);
	pthread_join(h->porter, NULL);
	close(h->listener);
	close(h->control);
	kill(h->pid, SIGKILL);
	waitpid(h->pid, NULL, 0);
	unlink(h->path);
	rmdir(h->dir);
	free(h);
	return 0;
}

static int call(struct home *h, const uint8_t *secret, bool encrypted, struct cor_stream **out)
{
	const struct cor_lane_options o = {
		.addrport = h->addrport, .kind = COR_CONN_PUMP, .session = h->id, .secret = secret,
		.timeout_ms = 5000, .encrypted = encrypted,
	};

	return cor_lane_connect(out, &o, NULL);
}

/* HELLO, and home's in answer. */
static void assert_greets(struct cor_stream *s)
{
	struct cor_pump_frame f = { .type = COR_PUMP_HELLO, .arg = COR_PUMP_AWAY,
				    .length = sizeof(struct cor_pump_hello) };
	struct cor_pump_hello hello = { .version = COR_PUMP_VERSION, .epoch = 1 };
	uint64_t deadline = cor_now_ns() + UINT64_C(5000000000);
	size_t got = 0;

	assert_int_equal(cor_stream_write(s, &f, sizeof(f)), 0);
	assert_int_equal(cor_stream_write(s, &hello, sizeof(hello)), 0);
	assert_int_equal(cor_stream_read_by(s, &f, sizeof(f), &got, deadline), 0);
	assert_int_equal(f.type, COR_PUMP_HELLO);
	assert_int_equal(f.arg, COR_PUMP_HOME);
	got = 0;
	assert_int_equal(cor_stream_read_by(s, &hello, sizeof(hello), &got, deadline), 0);
	assert_int_equal(hello.status, 0);
}

static void test_a_peer_with_the_secret_is_greeted(void **state)
{
	struct home *h = *state;

	for (int encrypted = 0; encrypted <= 1; encrypted++) {
		_cleanup_stream_ struct cor_stream *s = NULL;

		assert_int_equal(call(h, h->secret, encrypted, &s), 0);
		assert_string_equal(s->ops->name, encrypted ? "tls" : "tcp");
		assert_greets(s);
	}
}

static void test_another_secret_is_refused(void **state)
{
	struct home *h = *state;
	_cleanup_stream_ struct cor_stream *s = NULL;
	uint8_t other[COR_SECRET];

	memcpy(other, h->secret, sizeof(other));
	other[COR_SECRET - 1] ^= 1;
	assert_int_equal(call(h, other, false, &s), -EPERM);
	assert_int_equal(call(h, other, true, &s), -EKEYREJECTED);
	assert_int_equal(call(h, h->secret, true, &s), 0);
	assert_greets(s);
}

/* It has answered the preamble; now it says nothing, or what is no handshake. */
static int half_open(struct home *h)
{
	struct cor_preamble p;
	int sock;

	assert_int_equal(cor_tcp_connect(h->addrport, 5000, &sock, NULL), 0);
	cor_preamble_make(&p, COR_CONN_PUMP, 0, h->id, NULL);
	p.security = COR_SECURITY_TLS;
	assert_int_equal(cor_preamble_exchange(sock, &p, 5000, NULL), 0);
	fcntl(sock, F_SETFL, 0);
	return sock;
}

static void assert_closed(int sock)
{
	char byte;
	ssize_t n;

	/* an alert of TLS's may come first */
	while ((n = recv(sock, &byte, 1, 0)) > 0)
		;
	assert_true(n == 0 || errno == ECONNRESET);
}

static void test_whoever_says_nothing_holds_nobody_up(void **state)
{
	struct home *h = *state;
	_cleanup_stream_ struct cor_stream *s = NULL;
	_cleanup_close_ int slow = half_open(h);

	assert_int_equal(call(h, h->secret, true, &s), 0);
	assert_greets(s);
	/* after connect_s */
	assert_closed(slow);
}

static void test_no_handshake_no_frames(void **state)
{
	struct home *h = *state;
	struct cor_pump_frame f = { .type = COR_PUMP_HELLO, .arg = COR_PUMP_AWAY,
				    .length = sizeof(struct cor_pump_hello) };
	struct cor_pump_hello hello = { .version = COR_PUMP_VERSION, .epoch = 1 };
	_cleanup_close_ int sock = half_open(h);
	uint8_t first = 0;

	assert_int_equal(send(sock, &f, sizeof(f), MSG_NOSIGNAL), sizeof(f));
	send(sock, &hello, sizeof(hello), MSG_NOSIGNAL);
	if (recv(sock, &first, 1, 0) == 1)
		assert_int_equal(first, 21);    /* an alert */
	assert_closed(sock);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_a_peer_with_the_secret_is_greeted, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_another_secret_is_refused, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_whoever_says_nothing_holds_nobody_up, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_no_handshake_no_frames, set_up, tear_down),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
