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

static const struct check_kind KINDS[] = {
	{ "pipe", pipe_setup, pipe_verify, NULL },
	{ "packets", packets_setup, packets_verify, NULL },
	{ "unix-stream", stream_setup, stream_verify, NULL },
	{ "unix-seqpacket", seqpacket_setup, seqpacket_verify, NULL },
	{ "unix-datagram", datagram_setup, datagram_verify, datagram_finish },
	{ "tcp", tcp_setup, tcp_verify, NULL },
	{ "udp", udp_setup, udp_verify, udp_finish },
};

int main(int argc, char **argv)
{
	check_kinds(argc, argv, "ready", KINDS, sizeof(KINDS) / sizeof(*KINDS));
}
