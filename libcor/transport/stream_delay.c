/* The decorator that delays; see stream_fault.h. What has come in is kept in a queue
 * until its time. Behind in_fd is an epoll descriptor: it is readable when something new
 * has come in or something is due. */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/queue.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "libcor/base/cleanup.h"
#include "libcor/base/error.h"
#include "libcor/base/io.h"
#include "libcor/transport/stream_fault.h"

#define CHUNK    65536u
#define HELD_MAX (8u << 20)

struct chunk {
	STAILQ_ENTRY(chunk) link;
	uint64_t due;           /* CLOCK_MONOTONIC, ns */
	ssize_t result;         /* 0 or less: how it ended */
	size_t at, len;
	uint8_t data[CHUNK];
};

struct delayed {
	struct cor_stream stream;
	struct cor_stream *inner;
	uint64_t until_at, delay_ns;
	uint64_t received;
	int timer;
	bool over;              /* inner has ended or failed */
	size_t held;
	STAILQ_HEAD(, chunk) queue;
};

static struct delayed *delayed(const struct cor_stream *s)
{
	return (struct delayed *)s;
}

/* Reads what has come in, as far as there is room. */
static int take_in(struct delayed *d)
{
	while (!d->over && d->held < HELD_MAX) {
		struct chunk *c = malloc(sizeof(*c));
		struct iovec iov;
		ssize_t n;

		if (!c)
			return -ENOMEM;
		iov = (struct iovec){ c->data, sizeof(c->data) };
		n = cor_stream_receive(d->inner, &iov, 1, COR_STREAM_NOWAIT);
		if (n == -EAGAIN) {
			free(c);
			return 0;
		}
		c->at = 0;
		c->len = n > 0 ? (size_t)n : 0;
		c->result = n;
		c->due = cor_now_ns() + (d->received < d->until_at ? 0 : d->delay_ns);
		d->received += c->len;
		d->held += c->len;
		d->over = n <= 0;
		STAILQ_INSERT_TAIL(&d->queue, c, link);
	}
	return 0;
}

static struct chunk *due(struct delayed *d)
{
	struct chunk *c = STAILQ_FIRST(&d->queue);

	return c && c->due <= cor_now_ns() ? c : NULL;
}

/* The epoll descriptor shall not say again what is now being looked at. */
static void quieten(struct delayed *d)
{
	struct epoll_event events[2];
	uint64_t n;

	(void)!read(d->timer, &n, sizeof(n));
	epoll_wait(d->stream.in_fd, events, 2, 0);
}

static void arm(struct delayed *d)
{
	struct chunk *c = STAILQ_FIRST(&d->queue);
	struct itimerspec when = { 0 };

	if (c) {
		when.it_value.tv_sec = (time_t)(c->due / 1000000000u);
		when.it_value.tv_nsec = (long)(c->due % 1000000000u);
	}
	timerfd_settime(d->timer, TFD_TIMER_ABSTIME, &when, NULL);
}

static ssize_t hand_out(struct delayed *d, struct chunk *c, const struct iovec *iov)
{
	size_t n = COR_MIN(iov->iov_len, c->len - c->at);

	if (c->result <= 0)
		return c->result;       /* it stays: the end is the end */
	memcpy(iov->iov_base, c->data + c->at, n);
	c->at += n;
	d->held -= n;
	if (c->at == c->len) {
		STAILQ_REMOVE_HEAD(&d->queue, link);
		free(c);
	}
	return (ssize_t)n;
}

static ssize_t delay_receive(struct cor_stream *stream, const struct iovec *iov, unsigned n,
			     unsigned flags)
{
	struct delayed *d = delayed(stream);

	for (;;) {
		struct pollfd p = { .fd = stream->in_fd, .events = POLLIN };
		struct chunk *c;
		int r;

		quieten(d);     /* first: what comes later wakes again */
		r = take_in(d);
		c = due(d);
		if (r < 0 && !c)
			return r;
		if (c)
			return hand_out(d, c, iov);
		arm(d);
		if (flags & COR_STREAM_NOWAIT)
			return -EAGAIN;
		if (poll(&p, 1, -1) < 0 && errno != EINTR)
			return -errno;
	}
}

static ssize_t delay_send(struct cor_stream *stream, const struct iovec *iov, unsigned n,
			  unsigned flags)
{
	return cor_stream_send(delayed(stream)->inner, iov, n, flags);
}

static bool delay_pending(const struct cor_stream *stream)
{
	return due(delayed(stream)) || cor_stream_pending(delayed(stream)->inner);
}

static void delay_shutdown(struct cor_stream *stream)
{
	cor_stream_shutdown(delayed(stream)->inner);
}

static void delay_close(struct cor_stream *stream)
{
	struct delayed *d = delayed(stream);

	while (!STAILQ_EMPTY(&d->queue)) {
		struct chunk *c = STAILQ_FIRST(&d->queue);

		STAILQ_REMOVE_HEAD(&d->queue, link);
		free(c);
	}
	cor_closep(&d->stream.in_fd);
	cor_closep(&d->timer);
	cor_stream_close(d->inner);
	free(d);
}

static const struct cor_stream_ops delay_ops = {
	.name = "delay",
	.receive = delay_receive,
	.send = delay_send,
	.pending = delay_pending,
	.shutdown = delay_shutdown,
	.close = delay_close,
};

static int watch(struct delayed *d, int fd)
{
	struct epoll_event e = { .events = EPOLLIN | EPOLLRDHUP | EPOLLET };

	return epoll_ctl(d->stream.in_fd, EPOLL_CTL_ADD, fd, &e) < 0 ? -errno : 0;
}

int cor_stream_delay(struct cor_stream **out, struct cor_stream *inner, uint64_t at,
		     uint32_t delay_us, struct cor_error *err)
{
	struct delayed *d = calloc(1, sizeof(*d));
	int r;

	if (!d) {
		cor_stream_close(inner);
		return cor_fail(err, -ENOMEM, "a delayed connection: out of memory");
	}
	STAILQ_INIT(&d->queue);
	d->inner = inner;
	d->until_at = at;
	d->delay_ns = delay_us * UINT64_C(1000);
	d->stream = (struct cor_stream){ &delay_ops, epoll_create1(EPOLL_CLOEXEC), inner->out_fd,
					 inner->rank };
	d->timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	r = d->stream.in_fd < 0 || d->timer < 0 ? -errno : watch(d, inner->in_fd);
	if (r == 0)
		r = watch(d, d->timer);
	if (r < 0) {
		delay_close(&d->stream);
		return cor_fail_code(err, r, "a delayed connection");
	}
	*out = &d->stream;
	return 0;
}
