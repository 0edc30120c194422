/* The decorator that changes, loses and cuts; see stream_fault.h. */
#include "libcor/transport/stream_fault.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "libcor/base/cleanup.h"
#include "libcor/base/error.h"

#define PARTS 8u

struct spoiled {
	struct cor_stream stream;
	struct cor_stream *inner;
	struct cor_fault_counts own, *counts;
	struct cor_fault faults[COR_FAULTS_MAX];
	unsigned n;
	uint64_t at;                    /* bytes received from inner */
	uint32_t to_drop, to_change, to_keep;   /* of what comes next */
	size_t kept_at, kept;           /* bytes that come once more */
	uint8_t keep[COR_FAULT_BYTES_MAX];
	bool ended;
	int idle[2];                    /* of a stall: the connection, and what took its place */
};

static struct spoiled *spoiled(const struct cor_stream *s)
{
	return (struct spoiled *)s;
}

/* The peer does not notice: its connection stays open, in a descriptor that nobody
 * uses. Behind ours is another one, on which nothing happens. */
static void stall(struct spoiled *s)
{
	int pair[2];

	if (s->idle[0] >= 0 || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		return;
	s->idle[0] = fcntl(s->inner->in_fd, F_DUPFD_CLOEXEC, 0);
	s->idle[1] = pair[1];
	dup2(pair[0], s->inner->in_fd);
	if (s->inner->out_fd != s->inner->in_fd)
		dup2(pair[0], s->inner->out_fd);
	close(pair[0]);
}

/* What is due here happens, and is put off until it is due again. */
static void happen(struct spoiled *s)
{
	for (unsigned i = 0; i < s->n; i++) {
		struct cor_fault *f = &s->faults[i];

		if (f->at != s->at)
			continue;
		f->at = f->every ? f->at + f->every : UINT64_MAX;
		s->counts->faults++;
		switch (f->action) {
		case COR_FAULT_CORRUPT:
			s->to_change = f->argument;
			break;
		case COR_FAULT_DROP:
			s->to_drop = f->argument;
			break;
		case COR_FAULT_DUPLICATE:
			s->to_keep = f->argument;
			s->kept_at = s->kept = 0;
			break;
		case COR_FAULT_CUT:
			cor_stream_shutdown(s->inner);
			s->ended = true;
			break;
		case COR_FAULT_TRUNCATE:
			s->ended = true;
			break;
		case COR_FAULT_STALL:
			stall(s);
			break;
		case COR_FAULT_DELAY:
			break;
		}
	}
}

/* Bytes that can be received before something happens, in its course or anew. */
static size_t undisturbed(const struct spoiled *s)
{
	uint64_t n = SIZE_MAX;

	for (unsigned i = 0; i < s->n; i++)
		n = COR_MIN(n, s->faults[i].at - s->at);
	n = s->to_change ? COR_MIN(n, (uint64_t)s->to_change) : n;
	n = s->to_keep ? COR_MIN(n, (uint64_t)s->to_keep) : n;
	return s->to_drop ? COR_MIN(n, (uint64_t)s->to_drop) : n;
}

/* The first n bytes that came in are those of iov. */
static void spoil(struct spoiled *s, const struct iovec *iov, size_t n)
{
	for (; n; iov++) {
		size_t part = COR_MIN(iov->iov_len, n);
		uint8_t *p = iov->iov_base;

		for (size_t i = 0; s->to_change && i < part; i++)
			p[i] ^= 0x55;
		if (s->to_keep) {
			memcpy(s->keep + s->kept, p, part);
			s->kept += part;
		}
		s->to_change -= COR_MIN(s->to_change, (uint32_t)part);
		s->to_keep -= COR_MIN(s->to_keep, (uint32_t)part);
		n -= part;
	}
}

static ssize_t receive_once_more(struct spoiled *s, const struct iovec *iov)
{
	size_t n = COR_MIN(iov->iov_len, s->kept);

	memcpy(iov->iov_base, s->keep + s->kept_at, n);
	s->kept_at += n;
	s->kept -= n;
	return (ssize_t)n;
}

static ssize_t receive_undisturbed(struct spoiled *s, const struct iovec *iov, unsigned n,
				   unsigned flags)
{
	size_t limit = undisturbed(s), room = 0;
	struct iovec part[PARTS];
	unsigned k = 0;
	ssize_t r;

	for (; k < COR_MIN(n, PARTS) && room < limit; k++) {
		part[k] = (struct iovec){ iov[k].iov_base, COR_MIN(iov[k].iov_len, limit - room) };
		room += part[k].iov_len;
	}
	r = cor_stream_receive(s->inner, part, k, flags);
	if (r > 0) {
		s->at += (uint64_t)r;
		spoil(s, part, (size_t)r);
	}
	return r;
}

static ssize_t drop_some(struct spoiled *s, unsigned flags)
{
	uint8_t nowhere[4096];
	struct iovec iov = { nowhere, COR_MIN(undisturbed(s), sizeof(nowhere)) };
	ssize_t r = cor_stream_receive(s->inner, &iov, 1, flags);

	if (r > 0) {
		s->at += (uint64_t)r;
		s->to_drop -= (uint32_t)r;
	}
	return r;
}

static bool comes_once_more(const struct spoiled *s)
{
	return s->kept && !s->to_keep;
}

static ssize_t fault_receive(struct cor_stream *stream, const struct iovec *iov, unsigned n,
			     unsigned flags)
{
	struct spoiled *s = spoiled(stream);
	ssize_t r;

	for (;;) {
		if (comes_once_more(s)) {
			r = receive_once_more(s, iov);
			break;
		}
		happen(s);
		if (s->ended)
			return 0;
		if (!s->to_drop) {
			r = receive_undisturbed(s, iov, n, flags);
			break;
		}
		r = drop_some(s, flags);
		if (r <= 0)
			break;
	}
	if (r > 0)
		s->counts->received += (uint64_t)r;
	return r;
}

static ssize_t fault_send(struct cor_stream *stream, const struct iovec *iov, unsigned n,
			  unsigned flags)
{
	struct spoiled *s = spoiled(stream);
	ssize_t r = cor_stream_send(s->inner, iov, n, flags);

	if (r > 0)
		s->counts->sent += (uint64_t)r;
	return r;
}

static bool fault_pending(const struct cor_stream *stream)
{
	const struct spoiled *s = spoiled(stream);

	return comes_once_more(s) || s->ended || cor_stream_pending(s->inner);
}

static void fault_shutdown(struct cor_stream *stream)
{
	cor_stream_shutdown(spoiled(stream)->inner);
}

static void fault_close(struct cor_stream *stream)
{
	struct spoiled *s = spoiled(stream);

	cor_stream_close(s->inner);
	cor_closep(&s->idle[0]);
	cor_closep(&s->idle[1]);
	free(s);
}

static const struct cor_stream_ops fault_ops = {
	.name = "fault",
	.receive = fault_receive,
	.send = fault_send,
	.pending = fault_pending,
	.shutdown = fault_shutdown,
	.close = fault_close,
};

int cor_stream_fault(struct cor_stream **out, struct cor_stream *inner,
		     const struct cor_fault *faults, unsigned n, struct cor_fault_counts *counts,
		     struct cor_error *err)
{
	struct spoiled *s = n <= COR_FAULTS_MAX ? calloc(1, sizeof(*s)) : NULL;

	if (!s) {
		cor_stream_close(inner);
		return cor_fail(err, n > COR_FAULTS_MAX ? -E2BIG : -ENOMEM,
				"a connection with %u faults cannot be made", n);
	}
	s->stream = (struct cor_stream){ &fault_ops, inner->in_fd, inner->out_fd, inner->rank };
	s->inner = inner;
	s->counts = counts ? counts : &s->own;
	s->idle[0] = s->idle[1] = -1;
	s->n = n;
	for (unsigned i = 0; i < n; i++) {
		s->faults[i] = faults[i];
		s->faults[i].argument = COR_MIN(faults[i].argument, COR_FAULT_BYTES_MAX);
	}
	*out = &s->stream;
	return 0;
}
