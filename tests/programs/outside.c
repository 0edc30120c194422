/* outside [-p FILE] [KIND...]: descriptors whose other side is in another process, which
 * stays where it is. What is written comes back; each round is a few bytes, or many. */
#include "check.h"
#include "peer.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>

struct there {
	int to, from;           /* what we write and read */
	uint64_t bytes;         /* that have gone there and come back */
};

/* len bytes go, and come back, whatever the portions. */
static void go_round(struct there *t, size_t len, const char *what)
{
	static unsigned char out[8192], in[8192];
	size_t sent = 0, got = 0;

	check_fill(out, len, t->bytes);
	while (got < len && !check_failed()) {
		struct pollfd p[] = { { .fd = t->from, .events = POLLIN },
				      { .fd = sent < len ? t->to : -1, .events = POLLOUT } };
		ssize_t n;

		if (poll(p, 2, 60000) == 0)
			check_fail("%s: nothing comes back", what);
		if (p[1].revents) {
			n = write(t->to, out + sent, len - sent);
			check(n > 0 || errno == EINTR, "%s: writing: %s", what, strerror(errno));
			sent += n > 0 ? (size_t)n : 0;
		}
		if (p[0].revents) {
			n = read(t->from, in + got, sizeof(in) - got);
			check(n > 0 || (n < 0 && errno == EINTR), "%s: reading gives %zd: %s", what, n,
			      strerror(errno));
			got += n > 0 ? (size_t)n : 0;
		}
	}
	check(got <= len, "%s: %zu bytes came back for %zu", what, got, len);
	check(check_differs(in, len, t->bytes) < 0, "%s: what came back is not what went", what);
	t->bytes += len;
}

/* ---- pipes ------------------------------------------------------------------------------ */

static struct there g_pipe;

static void pipe_setup(void)
{
	int to[2], from[2];

	need(!pipe2(to, O_CLOEXEC) && !pipe(from));
	need(fcntl(from[0], F_SETPIPE_SZ, 8192) == 8192);
	if (!start_peer()) {
		close(to[1]);
		close(from[0]);
		peer_echo(to[0], from[1]);
	}
	close(to[0]);
	close(from[1]);
	g_pipe = (struct there){ to[1], from[0], 0 };
}

static void pipe_verify(void)
{
	struct stat st;

	go_round(&g_pipe, 1, "a pipe");
	go_round(&g_pipe, 5000, "a pipe");
	check(fcntl(g_pipe.from, F_GETPIPE_SZ) == 8192, "a pipe: another size");
	check(fcntl(g_pipe.to, F_GETFD) == FD_CLOEXEC && fcntl(g_pipe.from, F_GETFD) == 0,
	      "a pipe: other flags");
	check(fstat(g_pipe.to, &st) == 0 && S_ISFIFO(st.st_mode) && st.st_uid == geteuid() &&
	      (st.st_mode & 0777) == 0600, "a pipe: another owner, or mode %o", st.st_mode);
}

/* The peer ends behind the last byte. */
static void pipe_finish(void)
{
	char c;

	close(g_pipe.to);
	check(read(g_pipe.from, &c, 1) == 0, "a pipe: no end of file");
}

/* Two open file descriptions of one end, one of them twice. */
static struct there g_twice;
static int g_again, g_dup;

static void twice_setup(void)
{
	int to[2], from[2];
	char path[40];

	need(!pipe(to) && !pipe(from));
	if (!start_peer()) {
		close(to[1]);
		close(from[0]);
		peer_echo(to[0], from[1]);
	}
	close(to[0]);
	close(from[1]);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", to[1]);
	g_again = open(path, O_WRONLY | O_NONBLOCK);
	g_dup = dup(to[1]);
	need(g_again >= 0 && g_dup >= 0);
	g_twice = (struct there){ to[1], from[0], 0 };
}

static void twice_verify(void)
{
	int ends[] = { g_twice.to, g_again, g_dup };

	for (unsigned i = 0; i < 3; i++) {
		g_twice.to = ends[i];
		go_round(&g_twice, 100 + i, "a pipe's end, open twice");
	}
	g_twice.to = ends[0];
	check(!(fcntl(g_dup, F_GETFL) & O_NONBLOCK) && (fcntl(g_again, F_GETFL) & O_NONBLOCK),
	      "a pipe's end, open twice: other flags");
	/* a flag of the open file description */
	need(fcntl(g_dup, F_SETFL, O_NONBLOCK) == 0);
	check(fcntl(g_twice.to, F_GETFL) & O_NONBLOCK, "duplicates no longer share their flags");
	need(fcntl(g_dup, F_SETFL, 0) == 0);
}

static void twice_finish(void)
{
	char c;

	close(g_twice.to);
	close(g_dup);
	close(g_again);
	check(read(g_twice.from, &c, 1) == 0, "a pipe's end, open twice: no end of file");
}

/* Packets keep their bounds both ways. */
static struct there g_packets;

static void packets_setup(void)
{
	int to[2], from[2];
	char packet[PIPE_BUF];
	ssize_t n;

	need(!pipe2(to, O_DIRECT) && !pipe2(from, O_DIRECT));
	if (!start_peer()) {
		close(to[1]);
		close(from[0]);
		while ((n = read(to[0], packet, sizeof(packet))) > 0 &&
		       write(from[1], packet, (size_t)n) == n)
			;
		_exit(0);
	}
	close(to[0]);
	close(from[1]);
	g_packets = (struct there){ to[1], from[0], 0 };
}

static void packets_verify(void)
{
	static const size_t lengths[] = { 1, 100, PIPE_BUF, 7 };
	char packet[PIPE_BUF];

	for (unsigned i = 0; i < 4; i++) {
		memset(packet, (int)i, lengths[i]);
		check(write(g_packets.to, packet, lengths[i]) == (ssize_t)lengths[i],
		      "packets: writing: %s", strerror(errno));
	}
	for (unsigned i = 0; i < 4; i++) {
		ssize_t n = read(g_packets.from, packet, sizeof(packet));

		check(n == (ssize_t)lengths[i] && packet[0] == (char)i,
		      "packet %u came back with %zd bytes instead of %zu", i, n, lengths[i]);
	}
	check(fcntl(g_packets.to, F_GETFL) & O_DIRECT, "packets: another mode");
}

static void packets_finish(void)
{
	char c;

	close(g_packets.to);
	check(read(g_packets.from, &c, 1) == 0, "packets: no end of file");
}

/* FIFOs, whose writers come and go. */
static struct there g_fifo;
static char g_dir[] = "/tmp/cor-outside.XXXXXX", g_path[2][64];

static void fifo_peer(void)
{
	char buf[4096];
	int from = open(g_path[0], O_RDONLY), to;
	ssize_t n;

	close(g_fifo.to);
	close(g_fifo.from);
	/* opens the way back anew for each portion */
	while ((n = read(from, buf, sizeof(buf))) > 0) {
		to = open(g_path[1], O_WRONLY);
		if (to < 0 || write(to, buf, (size_t)n) != n)
			_exit(1);
		close(to);
	}
	_exit(0);
}

static void fifo_setup(void)
{
	int both;

	need(mkdtemp(g_dir));
	for (unsigned i = 0; i < 2; i++) {
		snprintf(g_path[i], sizeof(g_path[i]), "%s/%u", g_dir, i);
		need(!mkfifo(g_path[i], 0600));
	}
	both = g_fifo.to = open(g_path[0], O_RDWR);
	g_fifo.from = open(g_path[1], O_RDONLY | O_NONBLOCK);
	if (!start_peer())
		fifo_peer();
	/* in this order: a peer that finds no writer takes it for the end */
	g_fifo.to = open(g_path[0], O_WRONLY);
	close(both);
	need(g_fifo.to >= 0 && g_fifo.from >= 0);
}

static void fifo_verify(void)
{
	char out[16], in[16];
	size_t got = 0;
	int len;

	len = snprintf(out, sizeof(out), "%llu", (unsigned long long)g_fifo.bytes++);
	check(write(g_fifo.to, out, (size_t)len) == len, "a FIFO: writing: %s", strerror(errno));
	for (unsigned i = 0; got < (size_t)len && i < 6000 && !check_failed(); i++) {
		ssize_t n = read(g_fifo.from, in + got, sizeof(in) - got);

		check(n >= 0 || errno == EAGAIN, "a FIFO: reading: %s", strerror(errno));
		if (n > 0)
			got += (size_t)n;
		else
			usleep(10000);  /* 0: no writer just now; EAGAIN: nothing yet */
	}
	check(got == (size_t)len && !memcmp(in, out, got), "a FIFO: %.*s came back for %s",
	      (int)got, in, out);
}

static void fifo_finish(void)
{
	close(g_fifo.to);
	close(g_fifo.from);
	unlink(g_path[0]);
	unlink(g_path[1]);
	rmdir(g_dir);
}

/* ---- UNIX sockets ------------------------------------------------------------------------- */

static struct there g_stream;

static void stream_setup(void)
{
	int pair[2], size = 50000;

	need(!socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair));
	if (!start_peer()) {
		close(pair[0]);
		peer_echo(pair[1], pair[1]);
	}
	close(pair[1]);
	need(!setsockopt(pair[0], SOL_SOCKET, SO_SNDBUF, &size, sizeof(size)));
	g_stream = (struct there){ pair[0], pair[0], 0 };
}

static void stream_verify(void)
{
	struct ucred peer;
	socklen_t len = sizeof(peer);
	int size = 0;

	go_round(&g_stream, 1, "a UNIX stream");
	go_round(&g_stream, 5000, "a UNIX stream");
	check(fcntl(g_stream.to, F_GETFD) == FD_CLOEXEC, "a UNIX stream: other flags");
	check(!getsockopt(g_stream.to, SOL_SOCKET, SO_PEERCRED, &peer, &len) &&
	      peer.uid == geteuid() && peer.gid == getegid(), "a UNIX stream: another peer");
	len = sizeof(size);
	check(!getsockopt(g_stream.to, SOL_SOCKET, SO_SNDBUF, &size, &len) && size == 100000,
	      "a UNIX stream: its buffer has %d bytes", size);
}

/* A half-close: the peer still sends what it has, and then ends. */
static void stream_finish(void)
{
	char c = 'z';

	need(write(g_stream.to, &c, 1) == 1 && !shutdown(g_stream.to, SHUT_WR));
	check(read(g_stream.from, &c, 1) == 1 && c == 'z', "a UNIX stream: the last byte is lost");
	check(read(g_stream.from, &c, 1) == 0, "a UNIX stream: no end of file");
}

/* Messages: each comes back as it went, also an empty one. */
static struct { int fd, type; } g_messages[] = { { -1, SOCK_SEQPACKET }, { -1, SOCK_DGRAM } };

static void message_peer(int fd)
{
	static char buf[100000];
	ssize_t n;

	while ((n = recv(fd, buf, sizeof(buf), 0)) >= 0) {
		/* datagrams have no end of their own; one of packets looks like an empty one */
		if ((n == 3 && !memcmp(buf, "end", 3)) || send(fd, buf, (size_t)n, MSG_NOSIGNAL) < 0)
			break;
	}
	_exit(0);
}

static void messages_setup(unsigned i)
{
	int pair[2];

	need(!socketpair(AF_UNIX, g_messages[i].type, 0, pair));
	if (!start_peer()) {
		close(pair[0]);
		message_peer(pair[1]);
	}
	close(pair[1]);
	g_messages[i].fd = pair[0];
}

static void messages_verify(unsigned i)
{
	static const size_t lengths[] = { 1, 0, 70000, 333 };
	static unsigned char out[70000], in[100000];
	int fd = g_messages[i].fd;

	for (unsigned k = 0; k < 4; k++) {
		check_fill(out, lengths[k], k);
		check(send(fd, out, lengths[k], 0) == (ssize_t)lengths[k], "messages: sending: %s",
		      strerror(errno));
	}
	for (unsigned k = 0; k < 4; k++) {
		ssize_t n = recv(fd, in, sizeof(in), 0);

		check(n == (ssize_t)lengths[k] && check_differs(in, lengths[k], k) < 0,
		      "message %u came back with %zd bytes instead of %zu", k, n, lengths[k]);
	}
}

static void packet_setup(void) { messages_setup(0); }
static void packet_verify(void) { messages_verify(0); }
static void datagram_setup(void) { messages_setup(1); }
static void datagram_verify(void) { messages_verify(1); }

static void datagram_finish(void)
{
	check(send(g_messages[1].fd, "end", 3, 0) == 3, "datagrams: %s", strerror(errno));
}

static const struct check_kind KINDS[] = {
	{ "pipe", pipe_setup, pipe_verify, pipe_finish },
	{ "twice", twice_setup, twice_verify, twice_finish },
	{ "packets", packets_setup, packets_verify, packets_finish },
	{ "fifo", fifo_setup, fifo_verify, fifo_finish },
	{ "unix-stream", stream_setup, stream_verify, stream_finish },
	{ "unix-seqpacket", packet_setup, packet_verify, NULL },
	{ "unix-datagram", datagram_setup, datagram_verify, datagram_finish },
};

int main(int argc, char **argv)
{
	check_kinds(argc, argv, "outside", KINDS, sizeof(KINDS) / sizeof(*KINDS));
}
