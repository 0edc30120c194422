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
static char g_path[2][64];

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
	for (unsigned i = 0; i < 2; i++) {
		snprintf(g_path[i], sizeof(g_path[i]), "/tmp/cor-outside.%d.%u", (int)getpid(), i);
		need(!mkfifo(g_path[i], 0600));
	}
	g_fifo.to = open(g_path[0], O_RDWR);
	g_fifo.from = open(g_path[1], O_RDONLY | O_NONBLOCK);
	if (!start_peer())
		fifo_peer();
	close(g_fifo.to);
	g_fifo.to = open(g_path[0], O_WRONLY);
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
}

static const struct check_kind KINDS[] = {
	{ "pipe", pipe_setup, pipe_verify, pipe_finish },
	{ "twice", twice_setup, twice_verify, twice_finish },
	{ "packets", packets_setup, packets_verify, packets_finish },
	{ "fifo", fifo_setup, fifo_verify, fifo_finish },
};

int main(int argc, char **argv)
{
	check_kinds(argc, argv, "outside", KINDS, sizeof(KINDS) / sizeof(*KINDS));
}
