/* What all streams have in common; see stream.h. */
#include "libcor/transport/stream.h"

#include <errno.h>
#include <poll.h>

#include "libcor/base/cleanup.h"
#include "libcor/base/io.h"

void cor_stream_close(struct cor_stream *s)
{
	if (s)
		s->ops->close(s);
}

int cor_stream_await(struct cor_stream *s, uint64_t deadline_ns)
{
	if (cor_stream_pending(s))
		return 0;
	for (;;) {
		struct pollfd p = { .fd = s->in_fd, .events = POLLIN };
		uint64_t now = deadline_ns ? cor_now_ns() : 0;
		uint64_t left_ms = now < deadline_ns ? (deadline_ns - now + 999999) / 1000000 : 0;
		int r = poll(&p, 1, deadline_ns ? (int)COR_MIN(left_ms, (uint64_t)INT32_MAX) : -1);

		if (r > 0)
			return 0;
		if (r == 0 && left_ms <= INT32_MAX)
			return -ETIMEDOUT;
		if (r < 0 && errno != EINTR)
			return -errno;
	}
}

int cor_stream_read_by(struct cor_stream *s, void *buf, size_t len, size_t *got,
		       uint64_t deadline_ns)
{
	while (*got < len) {
		struct iovec iov = { (char *)buf + *got, len - *got };
		ssize_t n = cor_stream_receive(s, &iov, 1, deadline_ns ? COR_STREAM_NOWAIT : 0);
		int r;

		if (n == 0)
			return *got ? -EPIPE : -ENODATA;
		if (n > 0) {
			*got += (size_t)n;
			continue;
		}
		if (n != -EAGAIN)
			return (int)n;
		r = cor_stream_await(s, deadline_ns);
		if (r < 0)
			return r;
	}
	return 0;
}

int cor_stream_read(struct cor_stream *s, void *buf, size_t len)
{
	size_t got = 0;

	return cor_stream_read_by(s, buf, len, &got, 0);
}

int cor_stream_writev(struct cor_stream *s, struct iovec *iov, unsigned n)
{
	while (n) {
		ssize_t sent = cor_stream_send(s, iov, n, 0);

		if (sent < 0)
			return (int)sent;
		while (n && (size_t)sent >= iov->iov_len) {
			sent -= (ssize_t)iov->iov_len;
			iov++;
			n--;
		}
		if (n) {
			iov->iov_base = (char *)iov->iov_base + sent;
			iov->iov_len -= (size_t)sent;
		}
	}
	return 0;
}

int cor_stream_write(struct cor_stream *s, const void *buf, size_t len)
{
	struct iovec iov = { (void *)buf, len };

	return len ? cor_stream_writev(s, &iov, 1) : 0;
}
