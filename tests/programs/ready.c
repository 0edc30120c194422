/* ready [-p FILE] [KIND...]: what can be read can be read. Once the task has been told that
 * something of another process, which stays where it is, waits to be read, it looks without
 * a pause whether it still does, and then reads it without waiting. */
#include "check.h"
#include "peer.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#define HEED_NS  UINT64_C(30000000)
#define LARGEST  3000

struct end {
	int to, from;           /* what we write and read */
	bool socket;
	uint64_t round;
};

static bool readable(int fd, int timeout_ms)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	int r;

	do
		r = poll(&p, 1, timeout_ms);
	while (r < 0 && errno == EINTR);
	return r == 1 && (p.revents & POLLIN);
}

static void still_there(const struct end *e, const unsigned char *want, size_t len)
{
	unsigned char got[LARGEST];
	int waiting = 0;

	check(readable(e->from, 0), "poll: there is nothing to read any more");
	check(ioctl(e->from, FIONREAD, &waiting) == 0 && waiting == (int)len,
	      "FIONREAD gives %d, and not %zu", waiting, len);
	if (e->socket)
		check(recv(e->from, got, sizeof(got), MSG_PEEK | MSG_DONTWAIT) == (ssize_t)len &&
		      !memcmp(got, want, len), "what is peeked is something else");
}

static void verify(struct end *e)
{
	static unsigned char out[LARGEST], in[LARGEST + 1];
	size_t len = 1 + e->round * 41 % LARGEST;
	uint64_t until;
	int waiting = 0;
	ssize_t n;

	check_fill(out, len, e->round++);
	check(write(e->to, out, len) == (ssize_t)len, "write: %s", strerror(errno));
	/* a stream may come in pieces */
	while (waiting < (int)len && !check_failed()) {
		check(readable(e->from, 20000), "nothing came");
		check(ioctl(e->from, FIONREAD, &waiting) == 0, "FIONREAD: %s", strerror(errno));
	}
	for (until = check_now_ns(CLOCK_MONOTONIC) + HEED_NS;
	     !check_failed() && check_now_ns(CLOCK_MONOTONIC) < until;)
		still_there(e, out, len);
	if (check_failed())
		return;
	need(fcntl(e->from, F_SETFL, fcntl(e->from, F_GETFL) | O_NONBLOCK) == 0);
	n = read(e->from, in, sizeof(in));
	check(n == (ssize_t)len && check_differs(in, len, e->round - 1) < 0,
	      "read gives %zd instead of %zu: %s", n, len, n < 0 ? strerror(errno) : "other bytes");
	need(fcntl(e->from, F_SETFL, fcntl(e->from, F_GETFL) & ~O_NONBLOCK) == 0);
}

/* Sends back what comes, as it comes. */
static void echo(int from, int to)
{
	static char buf[2 * LARGEST];
	ssize_t n;

	while ((n = read(from, buf, sizeof(buf))) > 0 && write(to, buf, (size_t)n) == n)
		;
	_exit(0);
}

/* What the peer sends back of what is written to ours comes to ours. */
static void with_peer(struct end *e, int ours, int theirs)
{
	if (!start_peer()) {
		close(ours);
		echo(theirs, theirs);
	}
	close(theirs);
	*e = (struct end){ .to = ours, .from = ours, .socket = true };
}

/* ---- pipes ---------------------------------------------------------------------------------- */

static struct end g_pipe, g_packets;

static void pipes(struct end *e, int flags)
{
	int to[2], from[2];

	need(!pipe2(to, O_CLOEXEC) && !pipe2(from, O_CLOEXEC | flags));
	if (!start_peer()) {
		close(to[1]);
		close(from[0]);
		echo(to[0], from[1]);
	}
	close(to[0]);
	close(from[1]);
	*e = (struct end){ .to = to[1], .from = from[0] };
}

static void pipe_setup(void) { pipes(&g_pipe, 0); }
static void pipe_verify(void) { verify(&g_pipe); }
static void packets_setup(void) { pipes(&g_packets, O_DIRECT); }
static void packets_verify(void) { verify(&g_packets); }

/* ---- UNIX sockets --------------------------------------------------------------------------- */

static struct end g_stream, g_seqpacket, g_datagram;

static void pair(struct end *e, int type)
{
	int ends[2];

	need(!socketpair(AF_UNIX, type, 0, ends));
	with_peer(e, ends[0], ends[1]);
}

static void stream_setup(void) { pair(&g_stream, SOCK_STREAM); }
static void stream_verify(void) { verify(&g_stream); }
static void seqpacket_setup(void) { pair(&g_seqpacket, SOCK_SEQPACKET); }
static void seqpacket_verify(void) { verify(&g_seqpacket); }
static void datagram_setup(void) { pair(&g_datagram, SOCK_DGRAM); }
static void datagram_verify(void) { verify(&g_datagram); }

/* Nothing tells the peer that the task has gone. */
static void datagram_finish(void)
{
	check(write(g_datagram.to, "", 0) == 0, "datagrams: %s", strerror(errno));
}

/* ---- TCP, UDP ------------------------------------------------------------------------------- */

static struct end g_tcp, g_udp;

/* A socket that is bound to a port of 127.0.0.1. */
static int bound(int type, struct sockaddr_in *at)
{
	int fd = socket(AF_INET, type, 0);
	socklen_t len = sizeof(*at);

	*at = (struct sockaddr_in){ .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	need(fd >= 0 && !bind(fd, (struct sockaddr *)at, sizeof(*at)) &&
	     !getsockname(fd, (struct sockaddr *)at, &len));
	return fd;
}

static void tcp_setup(void)
{
	struct sockaddr_in at;
	int listener = bound(SOCK_STREAM, &at), fd = socket(AF_INET, SOCK_STREAM, 0), theirs;

	need(!listen(listener, 1) && !connect(fd, (struct sockaddr *)&at, sizeof(at)));
	theirs = accept(listener, NULL, NULL);
	need(theirs >= 0);
	close(listener);
	with_peer(&g_tcp, fd, theirs);
}

static void tcp_verify(void) { verify(&g_tcp); }

static void udp_setup(void)
{
	struct sockaddr_in ours, theirs;
	int fd = bound(SOCK_DGRAM, &ours), peer = bound(SOCK_DGRAM, &theirs);

	need(!connect(fd, (struct sockaddr *)&theirs, sizeof(theirs)) &&
	     !connect(peer, (struct sockaddr *)&ours, sizeof(ours)));
	with_peer(&g_udp, fd, peer);
}

static void udp_verify(void) { verify(&g_udp); }

static void udp_finish(void)
{
	check(write(g_udp.to, "", 0) == 0, "UDP: %s", strerror(errno));
}

/* ---- streams that have ended ---------------------------------------------------------------- */

/* Who has been told of the end (POLLRDHUP, POLLHUP) may take it that all is there, and a read
 * that gives less than was asked for as the last. One each round, all of them made in the
 * beginning: through each the peer says, when asked, so many bytes, and is done. */
#define ENDINGS    100u
#define ENDED_NS   UINT64_C(100000000)
#define GAP_NS     UINT64_C(5000000)
#define SPOKEN_MAX 400000u

struct endings {
	int fd[ENDINGS];
	int ask;                /* the number of a pipe that is to end; of a stream: 0, itself */
	unsigned at;
};

static struct endings g_tcp_ended, g_stream_ended, g_pipe_ended;

static size_t spoken(const struct endings *e, unsigned at)
{
	/* of a UNIX socket: what its buffer holds */
	return 1000 + (size_t)at * 96731 % (e == &g_tcp_ended ? SPOKEN_MAX : 100000);
}

static void speak(const struct endings *e, const int *theirs)
{
	static unsigned char out[SPOKEN_MAX + 1000];
	struct pollfd p[ENDINGS];
	char asked;

	for (unsigned i = 0; i < ENDINGS; i++)
		p[i] = (struct pollfd){ .fd = theirs[i], .events = POLLIN };
	for (unsigned left = ENDINGS; left && poll(p, ENDINGS, -1) > 0;)
		for (unsigned i = 0; i < ENDINGS; i++) {
			if (!p[i].revents)
				continue;
			if (read(p[i].fd, &asked, 1) != 1)
				_exit(0);
			check_fill(out, spoken(e, i), i);
			need(write(p[i].fd, out, spoken(e, i)) == (ssize_t)spoken(e, i));
			need(!shutdown(p[i].fd, SHUT_WR));
			p[i].fd = -1;
			left--;
		}
}

static void ended_with(struct endings *e, const int *theirs)
{
	if (start_peer()) {
		for (unsigned i = 0; i < ENDINGS; i++)
			close(theirs[i]);
		return;
	}
	for (unsigned i = 0; i < ENDINGS; i++)
		close(e->fd[i]);
	speak(e, theirs);
	_exit(0);
}

/* The kernel makes room for who reads a lot. */
static void grow(int fd, int theirs)
{
	static char buf[SPOKEN_MAX];
	int room = 0;
	socklen_t len = sizeof(room);

	for (unsigned i = 0; i < 100 && room < (int)(4 * SPOKEN_MAX); i++) {
		while (send(theirs, buf, sizeof(buf), MSG_DONTWAIT) > 0)
			;
		while (recv(fd, buf, sizeof(buf), MSG_DONTWAIT) > 0)
			;
		need(!getsockopt(fd, SOL_SOCKET, SO_RCVBUF, &room, &len));
	}
	need(room >= (int)(4 * SPOKEN_MAX));
	/* what was on its way when there was nothing more to read */
	check_sleep_ms(1);
	while (recv(fd, buf, sizeof(buf), MSG_DONTWAIT) > 0)
		;
}

/* Of every other one the task itself has chosen how much it holds. */
static void tcp_ended_setup(void)
{
	int theirs[ENDINGS], room = 4 * SPOKEN_MAX;
	struct sockaddr_in at;
	int listener = bound(SOCK_STREAM, &at);

	need(!listen(listener, 1));
	for (unsigned i = 0; i < ENDINGS; i++) {
		int fd = socket(AF_INET, SOCK_STREAM, 0);

		if (i % 2)
			need(!setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof(room)));
		need(!connect(fd, (struct sockaddr *)&at, sizeof(at)));
		g_tcp_ended.fd[i] = fd;
		need((theirs[i] = accept(listener, NULL, NULL)) >= 0);
		if (i % 2 == 0)
			grow(fd, theirs[i]);
	}
	close(listener);
	ended_with(&g_tcp_ended, theirs);
}

static void stream_ended_setup(void)
{
	int theirs[ENDINGS], ends[2];

	for (unsigned i = 0; i < ENDINGS; i++) {
		need(!socketpair(AF_UNIX, SOCK_STREAM, 0, ends));
		g_stream_ended.fd[i] = ends[0];
		theirs[i] = ends[1];
	}
	ended_with(&g_stream_ended, theirs);
}

/* All are full, and end when they are asked to. */
static void pipe_ended_setup(void)
{
	static unsigned char out[SPOKEN_MAX + 1000];
	int theirs[ENDINGS], ends[2], ask[2];
	unsigned char which;

	need(!pipe2(ask, O_CLOEXEC));
	for (unsigned i = 0; i < ENDINGS; i++) {
		size_t len = spoken(&g_pipe_ended, i);

		need(!pipe2(ends, O_CLOEXEC) && fcntl(ends[1], F_SETPIPE_SZ, 1 << 18) > 0);
		check_fill(out, len, i);
		need(write(ends[1], out, len) == (ssize_t)len);
		g_pipe_ended.fd[i] = ends[0];
		theirs[i] = ends[1];
	}
	g_pipe_ended.ask = ask[1];
	if (!start_peer()) {
		close(ask[1]);
		for (unsigned i = 0; i < ENDINGS; i++)
			close(g_pipe_ended.fd[i]);
		while (read(ask[0], &which, 1) == 1)
			close(theirs[which]);
		_exit(0);
	}
	close(ask[0]);
	for (unsigned i = 0; i < ENDINGS; i++)
		close(theirs[i]);
}

static bool has_ended(int fd, int timeout_ms)
{
	struct pollfd p = { .fd = fd, .events = POLLRDHUP };
	int r;

	do
		r = poll(&p, 1, timeout_ms);
	while (r < 0 && errno == EINTR);
	return r == 1 && (p.revents & (POLLRDHUP | POLLHUP));
}

/* Reads it as who knows that the end is there. */
static void take_all(int fd, size_t len, unsigned seed)
{
	static unsigned char in[SPOKEN_MAX + 1000];
	const size_t most = 16384;
	size_t got = 0;
	ssize_t n;

	do {
		n = read(fd, in + got, sizeof(in) - got < most ? sizeof(in) - got : most);
		got += n > 0 ? (size_t)n : 0;
	} while (n == (ssize_t)most);
	check(got == len && check_differs(in, len, seed) < 0,
	      "a stream that had ended gave %zu of its %zu bytes, then %zd (%s)", got, len, n,
	      n < 0 ? strerror(errno) : "no error");
}

/* Until it has stood still for a moment, as it does when it moves; not for long. */
static void await_gap(void)
{
	uint64_t now = check_now_ns(CLOCK_MONOTONIC), until = now + ENDED_NS, last;

	do {
		last = now;
		now = check_now_ns(CLOCK_MONOTONIC);
	} while (now < until && now - last < GAP_NS);
}

static void ended_verify(struct endings *e)
{
	unsigned char which = (unsigned char)e->at;
	int fd;

	if (e->at == ENDINGS)
		return;
	fd = e->fd[e->at];
	need(fcntl(fd, F_SETFL, O_NONBLOCK) == 0);
	check(write(e->ask ?: fd, &which, 1) == 1, "write: %s", strerror(errno));
	check(has_ended(fd, 20000), "it does not end");
	await_gap();
	if (!check_failed())
		take_all(fd, spoken(e, e->at), e->at);
	e->at++;
}

static void tcp_ended_verify(void) { ended_verify(&g_tcp_ended); }
static void stream_ended_verify(void) { ended_verify(&g_stream_ended); }
static void pipe_ended_verify(void) { ended_verify(&g_pipe_ended); }

static const struct check_kind KINDS[] = {
	{ "pipe", pipe_setup, pipe_verify, NULL },
	{ "packets", packets_setup, packets_verify, NULL },
	{ "unix-stream", stream_setup, stream_verify, NULL },
	{ "unix-seqpacket", seqpacket_setup, seqpacket_verify, NULL },
	{ "unix-datagram", datagram_setup, datagram_verify, datagram_finish },
	{ "tcp", tcp_setup, tcp_verify, NULL },
	{ "udp", udp_setup, udp_verify, udp_finish },
	{ "tcp-ended", tcp_ended_setup, tcp_ended_verify, NULL },
	{ "stream-ended", stream_ended_setup, stream_ended_verify, NULL },
	{ "pipe-ended", pipe_ended_setup, pipe_ended_verify, NULL },
};

int main(int argc, char **argv)
{
	check_kinds(argc, argv, "ready", KINDS, sizeof(KINDS) / sizeof(*KINDS));
}
