/* Floors of the network: ping-pong of 16 bytes against a page, and a stream. */
#include <err.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bench/floor.h"
#include "libcor/base/io.h"

#define PAGE  4096u
#define CHUNK (256u << 10)

/* All of it; spinning when flags is MSG_DONTWAIT. */
static int recv_all(int sock, void *buf, size_t len, int flags)
{
	for (size_t have = 0; have < len; ) {
		ssize_t n = recv(sock, (char *)buf + have, len - have, flags);

		if (n > 0)
			have += (size_t)n;
		else if (!n || (errno != EAGAIN && errno != EINTR))
			return -1;
	}
	return 0;
}

static void answer(int sock, int flags)
{
	static char page[PAGE], rq[16];

	while (!recv_all(sock, rq, sizeof(rq), flags))
		if (cor_write_full(sock, page, PAGE))
			break;
	_exit(0);
}

static void ping(struct report *r, const char *name, unsigned count, int flags)
{
	static char page[PAGE], rq[16];
	struct cor_hist h;
	int pair[2];
	pid_t pid;

	tcp_pair(pair);
	pid = fork_child();
	if (!pid) {
		close(pair[0]);
		answer(pair[1], flags);
	}
	close(pair[1]);
	cor_hist_init(&h);
	for (unsigned i = 0; i < count; i++) {
		uint64_t start = cor_now_ns();

		if (cor_write_full(pair[0], rq, sizeof(rq)) || recv_all(pair[0], page, PAGE, flags))
			err(1, "ping-pong");
		cor_hist_add(&h, cor_now_ns() - start);
	}
	close(pair[0]);
	end_child(pid);
	report_latency(r, name, &h);
}

void floor_ping(struct report *r, unsigned count)
{
	ping(r, "TCP 16 B -> 4 KiB, both spinning", count, MSG_DONTWAIT);
	ping(r, "TCP 16 B -> 4 KiB, both blocking", count, 0);
}

double floor_stream_gbs(size_t bytes)
{
	char *buf = calloc(1, CHUNK);
	uint64_t start;
	int pair[2];
	pid_t pid;

	if (!buf)
		err(1, "buffer");
	memset(buf, 1, CHUNK);
	tcp_pair(pair);
	start = cor_now_ns();
	pid = fork_child();
	if (!pid) {
		close(pair[0]);
		for (size_t sent = 0; sent < bytes; sent += CHUNK)
			if (cor_write_full(pair[1], buf, CHUNK))
				_exit(1);
		_exit(0);
	}
	close(pair[1]);
	for (size_t have = 0; have < bytes; have += CHUNK)
		if (cor_read_full(pair[0], buf, CHUNK))
			errx(1, "the stream ended early");
	start = cor_now_ns() - start;
	close(pair[0]);
	end_child(pid);
	free(buf);
	return (double)bytes / (double)start;
}
