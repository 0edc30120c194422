/* tcp [-p FILE] [-l] ROLE KIND ADDRESS PORT
 *
 * Both ends of TCP connections that one of them moves with: "serve" is the task, at
 * ADDRESS, "visit" its peer elsewhere. Both verify every byte. Each ends on SIGTERM
 * with its verdict. */
#include "visit.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/ip.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#define CHUNK 1024
#define MANY  1000

/* ---- sockets ---------------------------------------------------------------------- */

static int fresh(void)
{
	int fd = visit_socket(SOCK_STREAM), one = 1;

	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	return fd;
}

static int listening(void)
{
	int fd = fresh();

	need(!bind(fd, (struct sockaddr *)&visit_address, visit_length));
	need(!listen(fd, 128));
	return fd;
}

static int accepted(int listener)
{
	int fd;

	do
		fd = accept(listener, NULL, NULL);
	while (fd < 0 && errno == EINTR && !check_stopping());
	need(fd >= 0 || check_stopping());
	return fd;
}

static int connected(void)
{
	int fd = fresh();

	need(!connect(fd, (struct sockaddr *)&visit_address, visit_length));
	return fd;
}

static void no_delay(int fd)
{
	int one = 1;

	need(!setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)));
}

static void nonblocking(int fd)
{
	need(!fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK));
}

/* All of it, or a failure. False: the peer has ended, or we are to. */
static bool put(int fd, const void *data, size_t len)
{
	for (size_t done = 0; done < len && !check_failed(); ) {
		ssize_t n = send(fd, (const char *)data + done, len - done, MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			check(visit_stops_soon(), "send: %s", strerror(errno));
			return false;
		}
		done += (size_t)n;
	}
	return true;
}

static bool get(int fd, void *data, size_t len)
{
	for (size_t done = 0; done < len && !check_failed(); ) {
		ssize_t n = recv(fd, (char *)data + done, len - done, 0);

		if (n < 0 && errno == EINTR && !check_stopping())
			continue;
		if (n <= 0) {
			check(n == 0 || visit_stops_soon(), "recv: %s", strerror(errno));
			return false;
		}
		done += (size_t)n;
	}
	return !check_failed();
}

/* ---- streams in one direction --------------------------------------------------------- */

/* Sends the pattern without end; every_ms: between chunks, 0: as fast as it goes. */
static void pour(int fd, unsigned every_ms)
{
	char data[CHUNK];

	for (uint64_t at = 0; !check_stopping(); at += CHUNK) {
		check_fill(data, sizeof(data), at * 7919);
		if (!put(fd, data, sizeof(data)))
			return;
		check_beat();
		if (every_ms)
			check_sleep_ms(every_ms);
	}
}

static void drink(int fd, unsigned every_ms)
{
	char data[CHUNK];

	for (uint64_t at = 0; !check_stopping(); at += CHUNK) {
		if (!get(fd, data, sizeof(data))) {
			check(visit_stops_soon(), "the stream ended after %llu bytes",
			      (unsigned long long)at);
			return;
		}
		check(check_differs(data, sizeof(data), at * 7919) < 0,
		      "wrong bytes in the chunk at %llu", (unsigned long long)at);
		check_beat();
		if (every_ms)
			check_sleep_ms(every_ms);
	}
}

static void unread_serve(void) { drink(accepted(listening()), 2); }
static void unread_visit(void) { pour(connected(), 0); }
static void unsent_serve(void) { pour(accepted(listening()), 0); }
static void unsent_visit(void) { drink(connected(), 2); }

/* The peer has ended its direction. */
static void ended_serve(void)
{
	int fd = accepted(listening());
	char c;

	need(get(fd, &c, 1));
	need(recv(fd, &c, 1, 0) == 0);
	pour(fd, 2);
	check(check_failed() || recv(fd, &c, 1, MSG_DONTWAIT) == 0, "its end was forgotten");
}

static void ended_visit(void)
{
	int fd = connected();

	need(put(fd, "x", 1) && !shutdown(fd, SHUT_WR));
	drink(fd, 0);
}

/* The task has. */
static void ending_serve(void)
{
	int fd = accepted(listening());

	need(put(fd, "x", 1) && !shutdown(fd, SHUT_WR));
	drink(fd, 0);
	check(send(fd, "x", 1, MSG_NOSIGNAL) == -1 && errno == EPIPE, "it can write again");
}

static void ending_visit(void)
{
	int fd = connected();
	char c;

	need(get(fd, &c, 1) && recv(fd, &c, 1, 0) == 0);
	pour(fd, 2);
}

/* ---- questions and answers ------------------------------------------------------------- */

static void echo(int fd)
{
	char data[CHUNK];

	while (!check_stopping()) {
		if (!get(fd, data, sizeof(data)) || !put(fd, data, sizeof(data)))
			break;
		check_beat();
	}
	check(visit_stops_soon(), "the peer has ended");
}

static bool ask(int fd, uint64_t round)
{
	char data[CHUNK];

	check_fill(data, sizeof(data), round * 104729);
	if (!put(fd, data, sizeof(data)) || !get(fd, data, sizeof(data)))
		return false;
	check(check_differs(data, sizeof(data), round * 104729) < 0, "another answer in round %llu",
	      (unsigned long long)round);
	return true;
}

static void asks(int fd)
{
	for (uint64_t round = 0; !check_stopping(); round++) {
		if (!ask(fd, round))
			break;
		check_beat();
		check_sleep_ms(1);
	}
	check(visit_stops_soon(), "the server has ended");
}

static void echo_serve(void)
{
	int fd = accepted(listening());

	no_delay(fd);
	echo(fd);
}

static void echo_visit(void)
{
	int fd = connected();

	no_delay(fd);
	asks(fd);
}

/* The task is the one that has connected, from its address. */
static void client_serve(void)
{
	struct sockaddr_storage to = visit_address;
	int fd = fresh();

	need(!bind(fd, (struct sockaddr *)&visit_address, visit_length));
	if (to.ss_family == AF_INET6)
		((struct sockaddr_in6 *)&to)->sin6_addr.s6_addr[15] = 3;
	else
		inet_pton(AF_INET, "10.123.0.3", &((struct sockaddr_in *)&to)->sin_addr);
	need(!connect(fd, (struct sockaddr *)&to, visit_length));
	no_delay(fd);
	asks(fd);
}

static void client_visit(void)
{
	struct sockaddr_storage any = visit_address;
	int listener = fresh(), fd;

	if (any.ss_family == AF_INET6)
		((struct sockaddr_in6 *)&any)->sin6_addr = in6addr_any;
	else
		((struct sockaddr_in *)&any)->sin_addr.s_addr = INADDR_ANY;
	need(!bind(listener, (struct sockaddr *)&any, visit_length) && !listen(listener, 1));
	fd = accepted(listener);
	no_delay(fd);
	echo(fd);
}

/* ---- options ------------------------------------------------------------------------------ */

static const struct { int level, name, value; const char *label; } g_options[] = {
#define OPTION(level, name, value) { level, name, value, #name }
	OPTION(SOL_SOCKET, SO_KEEPALIVE, 1), OPTION(SOL_SOCKET, SO_REUSEADDR, 1),
	OPTION(SOL_SOCKET, SO_OOBINLINE, 1), OPTION(SOL_SOCKET, SO_RCVLOWAT, 7),
	OPTION(SOL_SOCKET, SO_PRIORITY, 3), OPTION(SOL_SOCKET, SO_MARK, 77),
	OPTION(SOL_SOCKET, SO_SNDBUF, 60000), OPTION(SOL_SOCKET, SO_RCVBUF, 70000),
	OPTION(IPPROTO_IP, IP_TOS, 0x10), OPTION(IPPROTO_IP, IP_TTL, 33),
	OPTION(IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_DO),
	OPTION(IPPROTO_TCP, TCP_NODELAY, 1), OPTION(IPPROTO_TCP, TCP_KEEPIDLE, 123),
	OPTION(IPPROTO_TCP, TCP_KEEPINTVL, 12), OPTION(IPPROTO_TCP, TCP_KEEPCNT, 3),
	OPTION(IPPROTO_TCP, TCP_USER_TIMEOUT, 54321), OPTION(IPPROTO_TCP, TCP_NOTSENT_LOWAT, 9000),
	OPTION(IPPROTO_TCP, TCP_LINGER2, 17), OPTION(IPPROTO_TCP, TCP_SYNCNT, 4),
#undef OPTION
};
#define NOPTIONS (sizeof(g_options) / sizeof(g_options[0]))

static int option(int fd, unsigned i)
{
	int value = -1;
	socklen_t len = sizeof(value);

	check(!getsockopt(fd, g_options[i].level, g_options[i].name, &value, &len), "%s: %s",
	      g_options[i].label, strerror(errno));
	return value;
}

/* As much of the connection as can be seen. */
static void same_connection(int fd, const struct tcp_info *was)
{
	struct tcp_info info;
	socklen_t len = sizeof(info);

	check(!getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len), "TCP_INFO");
	check(info.tcpi_state == TCP_ESTABLISHED, "state %d", info.tcpi_state);
	check(info.tcpi_options == was->tcpi_options, "options %#x became %#x", was->tcpi_options,
	      info.tcpi_options);
	check(info.tcpi_snd_wscale == was->tcpi_snd_wscale &&
	      info.tcpi_rcv_wscale == was->tcpi_rcv_wscale, "window scales changed");
	check(info.tcpi_snd_mss == was->tcpi_snd_mss, "segments of %u became %u", was->tcpi_snd_mss,
	      info.tcpi_snd_mss);
}

static void options_serve(void)
{
	struct linger linger = { .l_onoff = 1, .l_linger = 5 };
	struct sockaddr_storage ours, theirs, now;
	socklen_t len = sizeof(ours);
	int fd = accepted(listening()), was[NOPTIONS];
	struct tcp_info info;
	char data[CHUNK], name[16];

	for (unsigned i = 0; i < NOPTIONS; i++)
		need(!setsockopt(fd, g_options[i].level, g_options[i].name, &g_options[i].value,
				 sizeof(int)));
	/* IP_TOS has changed SO_PRIORITY */
	need(!setsockopt(fd, SOL_SOCKET, SO_PRIORITY, &(int){ 3 }, sizeof(int)));
	for (unsigned i = 0; i < NOPTIONS; i++)
		was[i] = option(fd, i);
	need(!setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger)));
	need(!setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, "reno", 4));
	need(!getsockname(fd, (struct sockaddr *)&ours, &len));
	need(!getpeername(fd, (struct sockaddr *)&theirs, &len));
	need(get(fd, data, sizeof(data)) && put(fd, data, sizeof(data)));
	len = sizeof(info);
	need(!getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len));
	while (!check_stopping() && get(fd, data, sizeof(data)) && put(fd, data, sizeof(data))) {
		for (unsigned i = 0; i < NOPTIONS; i++)
			check(option(fd, i) == was[i], "%s: %d became %d", g_options[i].label, was[i],
			      option(fd, i));
		len = sizeof(linger);
		check(!getsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, &len) && linger.l_onoff &&
		      linger.l_linger == 5, "SO_LINGER");
		len = sizeof(name);
		check(!getsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, name, &len) &&
		      !strcmp(name, "reno"), "TCP_CONGESTION");
		len = sizeof(now);
		check(!getsockname(fd, (struct sockaddr *)&now, &len) && !memcmp(&now, &ours, len),
		      "another address");
		len = sizeof(now);
		check(!getpeername(fd, (struct sockaddr *)&now, &len) && !memcmp(&now, &theirs, len),
		      "another peer");
		same_connection(fd, &info);
		check_beat();
	}
	check(visit_stops_soon(), "the peer has ended");
}

/* ---- many, with epoll --------------------------------------------------------------------- */

static bool answer(int fd)
{
	char c[256];
	ssize_t n;

	while ((n = recv(fd, c, sizeof(c), 0)) > 0)
		if (!put(fd, c, (size_t)n))
			return false;
	check(n == 0 || errno == EAGAIN, "recv: %s", strerror(errno));
	return n < 0;
}

/* Edge-triggered: what has come while it stood still must be told. */
static void many_serve(void)
{
	int listener = listening(), set = epoll_create1(EPOLL_CLOEXEC);
	struct epoll_event e = { .events = EPOLLIN | EPOLLET, .data.fd = listener };
	struct epoll_event events[64];

	nonblocking(listener);
	need(!epoll_ctl(set, EPOLL_CTL_ADD, listener, &e));
	while (!check_stopping()) {
		int n = epoll_wait(set, events, 64, 100), fd;

		for (int i = 0; i < n; i++) {
			if (events[i].data.fd != listener) {
				if (!answer(events[i].data.fd))
					close(events[i].data.fd);
				continue;
			}
			while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
				e.data.fd = fd;
				need(!epoll_ctl(set, EPOLL_CTL_ADD, fd, &e));
			}
			check(errno == EAGAIN || errno == ECONNABORTED, "accept: %s",
			      strerror(errno));
		}
		check_beat();
	}
}

/* Waits for the answer with a bound: a connection that is forgotten does not end. */
static bool answered(int fd, char want)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	char c = 0;
	int r;

	do
		r = poll(&p, 1, 10000);
	while (r < 0 && errno == EINTR && !check_stopping());
	if (check_stopping())
		return false;
	check((r == 1 && recv(fd, &c, 1, 0) == 1 && c == want) || visit_stops_soon(), "no answer: %s",
	      r ? strerror(errno) : "in 10 s");
	return !check_failed();
}

static void visit_many(unsigned n)
{
	int fds[MANY];

	for (unsigned i = 0; i < n; i++) {
		fds[i] = connected();
		no_delay(fds[i]);
	}
	for (unsigned round = 0; !check_stopping() && !check_failed(); round++) {
		for (unsigned i = 0; i < n; i++)
			put(fds[i], &(char){ (char)(round + i) }, 1);
		for (unsigned i = 0; i < n; i++)
			if (!answered(fds[i], (char)(round + i)))
				break;
		check_beat();
		check_sleep_ms(1);
	}
}

static void many_visit(void) { visit_many(MANY); }
static void edge_visit(void) { visit_many(20); }

/* ---- what the kernel holds back ------------------------------------------------------------ */

#define CORKED 40

/* Byte at of connection i. */
static char corked_byte(unsigned i, uint64_t at)
{
	return (char)(check_mix(((uint64_t)i << 40) + at / 8) >> at % 8 * 8);
}

/* Little pieces, which the kernel sends when a timer of the connection's tells it to (TCP_CORK):
 * of some the time is always near. */
static void corked_serve(void)
{
	int listener = listening(), fds[CORKED], one = 1;
	uint64_t at[CORKED] = { 0 };
	char data[100];

	for (unsigned i = 0; i < CORKED; i++) {
		unsigned char who;

		fds[i] = accepted(listener);
		need(get(fds[i], &who, 1) && who == i);
		need(!setsockopt(fds[i], IPPROTO_TCP, TCP_CORK, &one, sizeof(one)));
	}
	for (unsigned i = 0; !check_stopping(); i = (i + 1) % CORKED) {
		for (size_t k = 0; k < sizeof(data); k++)
			data[k] = corked_byte(i, at[i] + k);
		if (!put(fds[i], data, sizeof(data)))
			return;
		at[i] += sizeof(data);
		check_beat();
		check_sleep_ms(1);
	}
}

static void corked_take(int fd, unsigned i, uint64_t *at)
{
	char data[CHUNK];
	ssize_t n = recv(fd, data, sizeof(data), 0);

	check(n > 0 || visit_stops_soon(), "connection %u: %s", i, n ? strerror(errno) : "ended");
	for (ssize_t k = 0; k < n && !check_failed(); k++, ++*at)
		check(data[k] == corked_byte(i, *at), "connection %u: a wrong byte at %llu", i,
		      (unsigned long long)*at);
	check_beat();
}

static void corked_visit(void)
{
	struct pollfd p[CORKED];
	uint64_t at[CORKED] = { 0 };

	for (unsigned i = 0; i < CORKED; i++) {
		p[i] = (struct pollfd){ .fd = connected(), .events = POLLIN };
		need(put(p[i].fd, &(char){ (char)i }, 1));
	}
	while (!check_stopping() && !check_failed()) {
		poll(p, CORKED, 100);
		for (unsigned i = 0; i < CORKED && !check_failed(); i++)
			if (p[i].revents)
				corked_take(p[i].fd, i, &at[i]);
	}
}

/* Short connections, one behind the other: none may be refused or reset. */
static void short_visit(void)
{
	while (!check_stopping() && !check_failed()) {
		int fd = fresh();
		char c = 'x';

		no_delay(fd);
		if (connect(fd, (struct sockaddr *)&visit_address, visit_length) < 0) {
			check(visit_stops_soon(), "connect: %s", strerror(errno));
		} else {
			put(fd, &c, 1);
			answered(fd, c);
			shutdown(fd, SHUT_WR);
			check(recv(fd, &c, 1, 0) == 0 || visit_stops_soon(), "no end: %s",
			      strerror(errno));
		}
		close(fd);
		check_beat();
	}
}

/* ---- datagrams ---------------------------------------------------------------------------- */

/* Any may be lost; none may be another one's, or come from elsewhere. */
static void udp_serve(void)
{
	int fd = visit_socket(SOCK_DGRAM);
	struct timeval second = { .tv_sec = 1 };

	need(fd >= 0 && !bind(fd, (struct sockaddr *)&visit_address, visit_length));
	need(!setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &second, sizeof(second)));
	while (!check_stopping()) {
		struct sockaddr_storage from;
		socklen_t len = sizeof(from);
		char data[CHUNK];
		ssize_t n = recvfrom(fd, data, sizeof(data), 0, (struct sockaddr *)&from, &len);

		if (n >= 0)
			sendto(fd, data, (size_t)n, 0, (struct sockaddr *)&from, len);
		else
			check(errno == EAGAIN || errno == EINTR, "recvfrom: %s", strerror(errno));
		check_beat();
	}
}

static void udp_visit(void)
{
	int fd = visit_socket(SOCK_DGRAM);
	struct timeval patience = { .tv_usec = 20000 };
	uint64_t lost = 0, round;

	/* connected: what comes from another address is not heard */
	need(fd >= 0 && !connect(fd, (struct sockaddr *)&visit_address, visit_length));
	need(!setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)));
	for (round = 0; !check_stopping(); round++) {
		uint64_t answer = 0;

		check(send(fd, &round, sizeof(round), 0) == sizeof(round), "send: %s", strerror(errno));
		if (recv(fd, &answer, sizeof(answer), 0) == sizeof(answer)) {
			check(answer <= round, "an answer to no question");
			check_beat();
		} else {
			lost++;
		}
		check_sleep_ms(1);
	}
	check(lost < 20 + round / 10, "%llu of %llu were lost", (unsigned long long)lost,
	      (unsigned long long)round);
}

/* ---- the whole -------------------------------------------------------------------------- */

static const struct visit_kind kinds[] = {
	{ "echo", echo_serve, echo_visit },
	{ "options", options_serve, echo_visit },
	{ "unread", unread_serve, unread_visit },
	{ "unsent", unsent_serve, unsent_visit },
	{ "ended", ended_serve, ended_visit },
	{ "ending", ending_serve, ending_visit },
	{ "client", client_serve, client_visit },
	{ "edge", many_serve, edge_visit },
	{ "short", many_serve, short_visit },
	{ "corked", corked_serve, corked_visit },
	{ "udp", udp_serve, udp_visit },
	{ "many", many_serve, many_visit },
};
#define NKINDS (sizeof(kinds) / sizeof(kinds[0]))

int main(int argc, char **argv)
{
	/* "many" has a test of its own: it takes a while */
	return visit_main(argc, argv, "tcp", kinds, NKINDS, NKINDS - 1);
}
