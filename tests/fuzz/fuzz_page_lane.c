/* A lane of the page server: requests that come in pieces, end in the middle, or
 * are none. Its thread runs here, when all has been sent; replies are thrown away.
 * Byte 0 says into what pieces the rest is cut. */
#include <pthread.h>

#include "libcor/paging/server.h"
#include "tests/fuzz/socket.h"
#include "tests/fuzz/source.h"

static struct {
	void *(*run)(void *arg);
	void *arg;
} thread;

int __wrap_pthread_create(pthread_t *t, const pthread_attr_t *attr, void *(*run)(void *),
			  void *arg);
int __wrap_pthread_create(pthread_t *t, const pthread_attr_t *attr, void *(*run)(void *),
			  void *arg)
{
	*t = pthread_self();
	thread.run = run;
	thread.arg = arg;
	return 0;
}

int __wrap_pthread_setname_np(pthread_t t, const char *name);
int __wrap_pthread_setname_np(pthread_t t, const char *name)
{
	return 0;
}

int __wrap_pthread_join(pthread_t t, void **result);
int __wrap_pthread_join(pthread_t t, void **result)
{
	return 0;
}

static ssize_t throw_away(struct cor_stream *s, const struct iovec *iov, unsigned niov,
			  unsigned flags)
{
	size_t n = 0;

	for (unsigned i = 0; i < niov; i++)
		n += iov[i].iov_len;
	return (ssize_t)n;
}

/* Packets, so that each piece is read by itself. */
static int send_all(const uint8_t *data, size_t size, size_t piece)
{
	int sv[2];

	FUZZ_CHECK(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sv) == 0);
	for (size_t sent = 0; sent < size; sent += piece) {
		size_t n = size - sent < piece ? size - sent : piece;

		FUZZ_CHECK(send(sv[1], data + sent, n, MSG_NOSIGNAL) == (ssize_t)n);
	}
	close(sv[1]);
	return sv[0];
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct cor_page_server_stats stats;
	struct cor_page_server *ps;
	struct cor_stream_ops ops;
	struct cor_stream *lane;

	if (!size)
		return 0;
	size = size < 512 ? size : 512;
	lane = stream_of(send_all(data + 1, size - 1, data[0] % 40u + 5));
	ops = *lane->ops;
	ops.send = throw_away;
	lane->ops = &ops;
	FUZZ_CHECK(cor_page_server_new(&ps, fuzz_source(), NULL) == 0);
	FUZZ_CHECK(cor_page_server_add_lane(ps, lane, COR_CONN_BULK, NULL) == 0);
	thread.run(thread.arg);
	cor_page_server_stats(ps, &stats);
	FUZZ_CHECK(stats.lanes == 0 && stats.requests_bulk <= size / 16);
	cor_page_server_free(ps);
	return 0;
}
