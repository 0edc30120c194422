/* A TCP connection moves from one host to another with its address: the client, on a
 * third host, must not be able to tell. */
#include "net_fixture.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "libcor/base/cleanup.h"
#include "libcor/names/net/address.h"
#include "libcor/names/file_ops.h"
#include "libcor/names/net/tcp_repair.h"

#define V4 "10.9.0.99/24"
#define V6 "fd09::99/64"

/* One connection under test: client and server end, and what moves. */
static int client = -1, listener = -1, server = -1, moved = -1, rtnl = -1;
static Cor__Names__OpenFile file;
static Cor__Names__Connection connection;
static struct cor_address address;
static struct cor_error err;

static void check(int r)
{
	if (r < 0)
		fail_msg("%s (%d)", err.text, r);
}

static void close_one(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

static void nonblocking(int fd)
{
	assert_int_equal(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
}

static socklen_t floating(const char *text, uint16_t port, struct sockaddr_storage *ss)
{
	socklen_t len;

	check(cor_address_parse(text, &address, &err));
	cor_inet_addr_sockaddr(&address.host, htons(port), ss, &len);
	return len;
}

static int announce(const struct cor_address *a)
{
	int fd = cor_address_announcer(), r = cor_address_announce(a, fd, &err);

	close(fd);
	return r;
}

static void on_source(const char *text)
{
	struct sockaddr_storage ss;
	socklen_t len = floating(text, 0, &ss);
	int one = 1;

	net_ip(SOURCE, "addr add %s dev eth0 %s", text, ss.ss_family == AF_INET6 ? "nodad" : "");
	net_enter(SOURCE);
	rtnl = cor_rtnl_open();
	assert_true(rtnl >= 0);
	check(cor_address_locate(&address, rtnl, &err));
	check(announce(&address));
	listener = socket(ss.ss_family, SOCK_STREAM, 0);
	setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	assert_int_equal(bind(listener, (struct sockaddr *)&ss, len), 0);
	assert_int_equal(listen(listener, 8), 0);
}

static void connect_client(void)
{
	struct sockaddr_storage ss;
	socklen_t len = sizeof(ss);

	assert_int_equal(getsockname(listener, (struct sockaddr *)&ss, &len), 0);
	net_enter(CLIENT);
	client = socket(ss.ss_family, SOCK_STREAM, 0);
	assert_int_equal(connect(client, (struct sockaddr *)&ss, len), 0);
	server = accept(listener, NULL, NULL);
	assert_true(server >= 0);
}

static void name(int fd, bool peer, ProtobufCBinaryData *out)
{
	struct sockaddr_storage ss;
	socklen_t len = sizeof(ss);

	if ((peer ? getpeername : getsockname)(fd, (struct sockaddr *)&ss, &len) == 0)
		assert_int_equal(cor_file_bytes(out, &ss, len), 0);
}

static void begin(const char *text)
{
	net_ready();
	cor__names__open_file__init(&file);
	cor__names__connection__init(&connection);
	file.connection = &connection;
	file.type = SOCK_STREAM;
	on_source(text);
	file.domain = address.host.family;
	connect_client();
}

/* Reads the server's end on the source; nothing reaches it from here on. */
static void leave(void)
{
	name(server, false, &file.address);
	name(server, true, &file.peer_address);
	assert_int_equal(cor_tcp_silence(server, -1), 0);
	check(cor_tcp_read(server, 5, &connection, &err));
}

/* Makes it again, first without the address, then awake with it. */
static void arrive(void)
{
	net_enter(DESTINATION);
	close(rtnl);
	rtnl = cor_rtnl_open();
	moved = socket(file.domain, SOCK_STREAM | SOCK_NONBLOCK, 0);
	assert_true(moved >= 0);
	check(cor_tcp_build(moved, 5, &file, &err));
	assert_int_equal(cor_tcp_unchanged(server, &connection, 0), 0);
	net_enter(SOURCE);
	close(rtnl);
	rtnl = cor_rtnl_open();
	check(cor_address_remove(&address, rtnl, &err));
	net_enter(DESTINATION);
	close(rtnl);
	rtnl = cor_rtnl_open();
	check(cor_address_place(&address, rtnl, NULL, &err));
	check(cor_address_add(&address, rtnl, &err));
	check(cor_tcp_wake(moved, 5, &file, &err));
	check(announce(&address));
	close_one(&server);
}

static void move(void)
{
	leave();
	arrive();
}

static int teardown(void **state)
{
	close_one(&client);
	close_one(&listener);
	close_one(&server);
	close_one(&moved);
	if (rtnl >= 0) {
		net_enter(DESTINATION);
		close_one(&rtnl);
		rtnl = cor_rtnl_open();
		cor_address_remove(&address, rtnl, NULL);
		net_enter(SOURCE);
		close_one(&rtnl);
		rtnl = cor_rtnl_open();
		cor_address_remove(&address, rtnl, NULL);
		close_one(&rtnl);
	}
	free(file.address.data);
	free(file.peer_address.data);
	free(connection.sent.data);
	free(connection.unsent.data);
	free(connection.unread.data);
	return 0;
}

/* fd must become readable (or end) within a second. */
static void await(int fd, short what)
{
	struct pollfd p = { .fd = fd, .events = what };

	assert_int_equal(poll(&p, 1, 2000), 1);
	assert_true(p.revents & what);
}

static void says(int from, int to, const char *text)
{
	char buf[64] = "";
	size_t len = strlen(text);

	assert_int_equal(send(from, text, len, 0), (ssize_t)len);
	for (size_t done = 0; done < len; ) {
		ssize_t n;

		await(to, POLLIN);
		n = recv(to, buf + done, len - done, 0);
		assert_true(n > 0);
		done += (size_t)n;
	}
	assert_string_equal(buf, text);
}

static void ends(int fd)
{
	char c;

	await(fd, POLLIN);
	assert_int_equal(recv(fd, &c, 1, 0), 0);
}

static struct tcp_info info_of(int fd)
{
	struct tcp_info info = { 0 };
	socklen_t len = sizeof(info);

	assert_int_equal(getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len), 0);
	return info;
}

static void await_state(int fd, unsigned state)
{
	for (unsigned i = 0; i < 2000 && info_of(fd).tcpi_state != state; i++)
		usleep(1000);
	assert_int_equal(info_of(fd).tcpi_state, state);
}

/* ---- the tests --------------------------------------------------------------------- */

static void both_ways(const char *text)
{
	struct tcp_info before, after;

	begin(text);
	says(client, server, "before");
	says(server, client, "answer");
	before = info_of(server);
	move();
	says(moved, client, "hello");
	says(client, moved, "goes on");
	after = info_of(moved);
	assert_int_equal(after.tcpi_state, TCP_ESTABLISHED);
	assert_int_equal(after.tcpi_options, before.tcpi_options);
	assert_int_equal(after.tcpi_snd_wscale, before.tcpi_snd_wscale);
	assert_int_equal(after.tcpi_rcv_wscale, before.tcpi_rcv_wscale);
	assert_int_equal(after.tcpi_snd_mss, before.tcpi_snd_mss);
	close_one(&moved);
	ends(client);
}

static void idle_v4(void **state) { both_ways(V4); }
static void idle_v6(void **state) { both_ways(V6); }

/* A listener for both families: its connections have IPv4 addresses within IPv6. */
static void mapped(void **state)
{
	struct sockaddr_in6 any = { .sin6_family = AF_INET6, .sin6_port = htons(7000) };
	struct sockaddr_storage ss;
	socklen_t len;
	int both;

	begin(V4);
	net_enter(SOURCE);
	both = socket(AF_INET6, SOCK_STREAM, 0);
	assert_int_equal(bind(both, (struct sockaddr *)&any, sizeof(any)), 0);
	assert_int_equal(listen(both, 1), 0);
	close_one(&client);
	close_one(&server);
	len = floating(V4, 7000, &ss);
	check(cor_address_locate(&address, rtnl, &err));
	net_enter(CLIENT);
	client = socket(AF_INET, SOCK_STREAM, 0);
	assert_int_equal(connect(client, (struct sockaddr *)&ss, len), 0);
	server = accept(both, NULL, NULL);
	close(both);
	file.domain = AF_INET6;
	move();
	says(moved, client, "hello");
	says(client, moved, "goes on");
	/* half-closed as well: the packet is IPv4 */
	shutdown(client, SHUT_WR);
	ends(moved);
}

/* Bytes that tell their place. */
static void fill(char *buf, size_t from, size_t len)
{
	for (size_t i = 0; i < len; i++)
		buf[i] = (char)((from + i) * 2654435761u >> 13);
}

/* As much as goes. */
static size_t stuff(int fd)
{
	char buf[4096];
	size_t total = 0;
	ssize_t n;

	nonblocking(fd);
	for (;;) {
		fill(buf, total, sizeof(buf));
		n = send(fd, buf, sizeof(buf), 0);
		if (n < 0)
			return total;
		total += (size_t)n;
	}
}

static void gets(int fd, size_t done, size_t to)
{
	char buf[4096], want[4096];

	while (done < to) {
		ssize_t n;

		await(fd, POLLIN);
		n = recv(fd, buf, COR_MIN(sizeof(buf), to - done), 0);
		assert_true(n > 0);
		fill(want, done, (size_t)n);
		assert_memory_equal(buf, want, n);
		done += (size_t)n;
	}
}

static void gets_all(int fd, size_t total)
{
	gets(fd, 0, total);
}

static void full_send_queue(void **state)
{
	size_t total;

	begin(V4);
	total = stuff(server);
	usleep(20000);
	leave();
	assert_true(connection.unsent.len > 0);
	arrive();
	gets_all(client, total);
	says(moved, client, "more");
	says(client, moved, "and back");
}

static void unread(void **state)
{
	size_t total;

	begin(V4);
	total = stuff(client);
	usleep(20000);
	leave();
	assert_true(connection.unread.len > 0 && connection.recv_window < 65536);
	arrive();
	gets_all(moved, total);
	says(moved, client, "more");
}

static void autotuning_stays(void **state)
{
	int lock = -1, size, was;
	socklen_t len = sizeof(lock);

	begin(V4);
	len = sizeof(was);
	getsockopt(server, SOL_SOCKET, SO_RCVBUF, &was, &len);
	move();
	assert_int_equal(getsockopt(moved, SOL_SOCKET, 72 /* SO_BUF_LOCK */, &lock, &len), 0);
	assert_int_equal(lock, 0);
	getsockopt(moved, SOL_SOCKET, SO_RCVBUF, &size, &len);
	assert_int_equal(size, was);
}

/* The peer has ended, with bytes before that are not read. */
static void close_wait(void **state)
{
	begin(V4);
	assert_int_equal(send(client, "last words", 10, 0), 10);
	shutdown(client, SHUT_WR);
	await_state(server, TCP_CLOSE_WAIT);
	move();
	assert_int_equal(info_of(moved).tcpi_state, TCP_CLOSE_WAIT);
	says(moved, client, "still here");
	{
		char buf[16] = "";

		assert_int_equal(recv(moved, buf, sizeof(buf), 0), 10);
		assert_string_equal(buf, "last words");
	}
	ends(moved);
	close_one(&moved);
	ends(client);
}

static void close_wait_v6(void **state)
{
	begin(V6);
	shutdown(client, SHUT_WR);
	await_state(server, TCP_CLOSE_WAIT);
	move();
	ends(moved);
	says(moved, client, "still here");
}

/* We have ended, and the peer has acknowledged that. */
static void fin_wait(void **state)
{
	begin(V4);
	says(server, client, "no more");
	shutdown(server, SHUT_WR);
	await_state(server, TCP_FIN_WAIT2);
	move();
	await_state(moved, TCP_FIN_WAIT2);
	says(client, moved, "but I have");
	ends(client);
	shutdown(client, SHUT_WR);
	ends(moved);
	assert_int_equal(send(moved, "x", 1, MSG_NOSIGNAL), -1);
	assert_int_equal(errno, EPIPE);
}

/* We have ended behind a full queue. */
static void fin_behind_unsent(void **state)
{
	size_t total;

	begin(V4);
	total = stuff(server);
	shutdown(server, SHUT_WR);
	usleep(20000);
	move();
	assert_int_equal(info_of(moved).tcpi_state, TCP_FIN_WAIT1);
	gets_all(client, total);
	ends(client);
	await_state(moved, TCP_FIN_WAIT2);
	says(client, moved, "thanks");
}

/* Both have ended, ours is not acknowledged: the peer's address is cut off. */
static void last_ack(void **state)
{
	begin(V4);
	shutdown(client, SHUT_WR);
	await_state(server, TCP_CLOSE_WAIT);
	net_ip(CLIENT, "link set to%d down", SOURCE);
	assert_int_equal(send(server, "bye", 3, 0), 3);
	shutdown(server, SHUT_WR);
	assert_int_equal(info_of(server).tcpi_state, TCP_LAST_ACK);
	move();
	net_ip(CLIENT, "link set to%d up", SOURCE);
	{
		char buf[8] = "";

		await(client, POLLIN);
		assert_int_equal(recv(client, buf, sizeof(buf), 0), 3);
	}
	ends(client);
	ends(moved);
}

/* The connection is being made: the SYN has had no answer yet. */
static void syn_sent(void **state)
{
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(7001) };
	struct sockaddr_storage from;
	socklen_t len;
	int at, answer = -1, e = -1;
	socklen_t elen = sizeof(e);

	begin(V4);
	close_one(&server);
	net_enter(CLIENT);
	inet_pton(AF_INET, "10.9.0.1", &to.sin_addr);
	at = socket(AF_INET, SOCK_STREAM, 0);
	assert_int_equal(bind(at, (struct sockaddr *)&to, sizeof(to)), 0);
	assert_int_equal(listen(at, 1), 0);
	assert_int_equal(cor_tcp_gate(at), 0);
	net_enter(SOURCE);
	server = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
	len = floating(V4, 0, &from);
	check(cor_address_locate(&address, rtnl, &err));
	assert_int_equal(bind(server, (struct sockaddr *)&from, len), 0);
	assert_int_equal(connect(server, (struct sockaddr *)&to, sizeof(to)), -1);
	assert_int_equal(errno, EINPROGRESS);
	name(server, false, &file.address);
	assert_int_equal(cor_file_bytes(&file.peer_address, &to, sizeof(to)), 0);
	assert_int_equal(cor_tcp_silence(server, -1), 0);
	check(cor_tcp_read(server, 5, &connection, &err));
	assert_int_equal(connection.state, TCP_SYN_SENT);
	cor_tcp_ungate(at);
	arrive();
	await(moved, POLLOUT);
	assert_int_equal(getsockopt(moved, SOL_SOCKET, SO_ERROR, &e, &elen), 0);
	assert_int_equal(e, 0);
	answer = accept(at, NULL, NULL);
	says(moved, answer, "hello");
	says(answer, moved, "welcome");
	close(answer);
	close(at);
}

static void urgent_is_refused(void **state)
{
	begin(V4);
	assert_int_equal(send(client, "ab!", 3, MSG_OOB), 3);
	await(server, POLLPRI);
	assert_int_equal(cor_tcp_silence(server, -1), 0);
	assert_int_equal(cor_tcp_read(server, 5, &connection, &err), -EOPNOTSUPP);
	assert_non_null(strstr(err.text, "descriptor 5"));
	assert_non_null(strstr(err.text, "urgent"));
	cor_tcp_unsilence(server, 1);
	says(server, client, "goes on");
}

/* Read, and then it stays after all: what came meanwhile is sent again. */
static void stays(void **state)
{
	int reuse = 0, silencer;
	socklen_t len = sizeof(reuse);

	begin(V4);
	says(client, server, "before");
	name(server, false, &file.address);
	silencer = cor_tcp_silencer();
	assert_int_equal(cor_tcp_silence(server, silencer), 0);
	check(cor_tcp_read(server, 5, &connection, &err));
	assert_int_equal(send(client, "lost", 4, 0), 4);
	usleep(10000);
	assert_int_equal(cor_tcp_unchanged(server, &connection, 0), 0);
	cor_tcp_unsilence(server, 1);
	if (silencer >= 0)
		close(silencer);
	assert_int_equal(getsockopt(server, SOL_SOCKET, SO_REUSEADDR, &reuse, &len), 0);
	assert_int_equal(reuse, 1);
	await(server, POLLIN);
	{
		char buf[8] = "";

		assert_int_equal(recv(server, buf, sizeof(buf), 0), 4);
		assert_string_equal(buf, "lost");
	}
	says(server, client, "answer");
}

/* A packet that still gets in is noticed. */
static void changed(void **state)
{
	begin(V4);
	assert_int_equal(cor_tcp_silence(server, -1), 0);
	check(cor_tcp_read(server, 5, &connection, &err));
	cor_tcp_ungate(server);
	assert_int_equal(send(client, "x", 1, 0), 1);
	usleep(20000);
	assert_int_equal(cor_tcp_unchanged(server, &connection, 0), -EAGAIN);
}

/* The server's end has been read when an acknowledgement still gets in, for the client has read
 * what was there. Returns how much that was, of total. */
static size_t acknowledge_late(size_t total)
{
	size_t there;
	int unsent;

	leave();
	assert_true(connection.unsent.len > 0);
	there = total - connection.sent.len - connection.unsent.len;
	assert_true(there > 0);
	cor_tcp_ungate(server);
	gets(client, 0, there);
	for (unsigned i = 0; i < 2000; i++) {
		assert_int_equal(ioctl(server, SIOCOUTQNSD, &unsent), 0);
		if ((size_t)unsent < connection.unsent.len)
			break;
		usleep(1000);
	}
	assert_true((size_t)unsent < connection.unsent.len);
	return there;
}

/* What it asks for is not sent, and so need not be known over there. */
static void acknowledged_late(void **state)
{
	size_t total, there;

	begin(V4);
	total = stuff(server);
	there = acknowledge_late(total);
	assert_int_equal(cor_tcp_silence(server, -1), 0);
	arrive();
	gets(client, there, total);
	says(moved, client, "hello");
	says(client, moved, "goes on");
}

/* Nor is it forgotten where the connection stays after all. */
static void acknowledged_late_and_stays(void **state)
{
	size_t total, there;

	begin(V4);
	total = stuff(server);
	name(server, false, &file.address);
	there = acknowledge_late(total);
	cor_tcp_unsilence(server, 1);
	gets(client, there, total);
	says(server, client, "goes on");
}

/* But if it is sent again after all, the new place has not sent it. */
static void sent_again_is_noticed(void **state)
{
	begin(V4);
	stuff(server);
	leave();
	assert_true(connection.unsent.len > 0);
	cor_tcp_ungate(server);
	gets(client, 0, 4096);
	for (unsigned i = 0; i < 3000 && !cor_tcp_sent_again(server); i++) {
		gets(client, 4096 * (i + 1), 4096 * (i + 2));
		usleep(10000);
	}
	assert_true(cor_tcp_sent_again(server) > 0);
	assert_int_equal(cor_tcp_unchanged(server, &connection, 0), -EAGAIN);
}

/* A gated listener answers no new client, and completes the one that had begun. */
static void gate(void **state)
{
	struct sockaddr_storage ss;
	socklen_t len = sizeof(ss);
	int late, waits;

	begin(V4);
	getsockname(listener, (struct sockaddr *)&ss, &len);
	assert_int_equal(cor_tcp_gate(listener), 0);
	says(client, server, "goes on");
	net_enter(CLIENT);
	late = socket(ss.ss_family, SOCK_STREAM | SOCK_NONBLOCK, 0);
	assert_int_equal(connect(late, (struct sockaddr *)&ss, len), -1);
	usleep(20000);
	assert_int_equal(info_of(late).tcpi_state, TCP_SYN_SENT);
	waits = (int)info_of(listener).tcpi_unacked;
	assert_int_equal(waits, 0);
	cor_tcp_ungate(listener);
	await(late, POLLOUT);
	assert_int_equal(info_of(late).tcpi_state, TCP_ESTABLISHED);
	close(late);
}

#define TEST(f) cmocka_unit_test_teardown(f, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(idle_v4), TEST(idle_v6), TEST(mapped), TEST(full_send_queue), TEST(unread),
		TEST(autotuning_stays), TEST(close_wait), TEST(close_wait_v6), TEST(fin_wait),
		TEST(fin_behind_unsent), TEST(last_ack), TEST(syn_sent), TEST(urgent_is_refused),
		TEST(stays), TEST(changed), TEST(acknowledged_late),
		TEST(acknowledged_late_and_stays), TEST(sent_again_is_noticed),
		TEST(gate),
	};

	return cmocka_run_group_tests(tests, net_setup, net_teardown);
}
