/* The seam between what speaks a protocol over a connection (page lanes, the control
 * channel) and what carries its bytes: a connected byte stream. One ops struct, one
 * file per backend:
 *
 *	stream_tcp.c      straight system calls on a socket
 *	stream_tls.c      TLS 1.3 over another stream (tls.h)
 *	stream_fault.c    a decorator that loses, changes and cuts (tests)
 *	stream_delay.c    a decorator that delays (tests)
 *
 * A backend embeds struct cor_stream as its first member. A decorator is a backend
 * that holds another stream; each sees only the one it holds.
 *
 * One thread receives from a stream and one, the same or another, sends. Only
 * shutdown may be called by any thread at any time before close.
 *
 * What is no byte stream, such as one-sided reads of registered memory, is not for
 * this seam: that is another kind of lane.
 */
#pragma once

#include <cor/error.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

struct cor_stream;

enum cor_stream_flags {
	COR_STREAM_NOWAIT = 1,  /* -EAGAIN rather than sleep */
	/* To receive, besides: whoever asks will soon ask again, so after -EAGAIN in_fd need
	 * not tell of what comes next. He asks once without this before he sleeps. */
	COR_STREAM_SPIN   = 2,
};

struct cor_stream_ops {
	const char *name;       /* for messages: lower-case letters */

	/* Receives at least a byte into n > 0 buffers, filled in order; iov is the
	 * caller's and left alone. Returns the number of bytes, 0 when the peer has
	 * ended, or -errno. -EAGAIN, with COR_STREAM_NOWAIT alone, means that nothing is
	 * left, neither here nor in the kernel: in_fd will become readable for what
	 * comes next. Never -EINTR. */
	ssize_t (*receive)(struct cor_stream *s, const struct iovec *iov, unsigned n,
			   unsigned flags);

	/* Sends at least a byte of n > 0 buffers and returns how many were taken, or
	 * -errno; never -EINTR, and no SIGPIPE. After -EAGAIN (with COR_STREAM_NOWAIT
	 * alone) out_fd will become writable; the next send must begin with the same
	 * bytes and be at least as long, since some of them may be on their way. */
	ssize_t (*send)(struct cor_stream *s, const struct iovec *iov, unsigned n,
			unsigned flags);

	/* Are there bytes to receive that in_fd does not show (decrypted already, say)?
	 * Asked before poll(2) on in_fd by who has not received until -EAGAIN. NULL: there
	 * never are. */
	bool (*pending)(const struct cor_stream *s);

	/* How many bytes are worth waking for: with fewer, in_fd need not tell of them. A hint,
	 * which holds until it is given anew (at first 1); the stream's end is told of always.
	 * NULL: in_fd tells of each byte. */
	void (*worth)(struct cor_stream *s, size_t bytes);

	/* Ends both directions: a receive or send that sleeps returns, later ones fail.
	 * Any thread. The stream must still be closed. */
	void (*shutdown)(struct cor_stream *s);

	/* Frees the stream with everything that it holds. */
	void (*close)(struct cor_stream *s);
};

struct cor_stream {
	const struct cor_stream_ops *ops;
	/* The stream's descriptors, for poll(2), epoll(7) and io_uring alone. The same
	 * one as a rule. */
	int in_fd;              /* POLLIN: receive would do something */
	int out_fd;             /* POLLOUT: send would */
	unsigned rank;          /* of two lanes to one source the one of higher rank is used */
};

/* A stream over sock, a connected stream socket, which becomes blocking. Takes
 * ownership of sock, also on failure. */
int cor_stream_tcp(struct cor_stream **out, int sock, struct cor_error *err);

static inline ssize_t cor_stream_receive(struct cor_stream *s, const struct iovec *iov, unsigned n,
					 unsigned flags)
{
	return s->ops->receive(s, iov, n, flags);
}

static inline ssize_t cor_stream_send(struct cor_stream *s, const struct iovec *iov, unsigned n,
				      unsigned flags)
{
	return s->ops->send(s, iov, n, flags);
}

static inline bool cor_stream_pending(const struct cor_stream *s)
{
	return s->ops->pending && s->ops->pending(s);
}

/* Does the stream take the hint? */
static inline bool cor_stream_worth(struct cor_stream *s, size_t bytes)
{
	if (s->ops->worth)
		s->ops->worth(s, bytes);
	return s->ops->worth;
}

static inline void cor_stream_shutdown(struct cor_stream *s)
{
	s->ops->shutdown(s);
}

/* NULL allowed. */
void cor_stream_close(struct cor_stream *s);

/* Receives all of len bytes, however long it takes. 0; -ENODATA: the peer ended
 * before the first byte; -EPIPE: in the middle; -errno. */
int cor_stream_read(struct cor_stream *s, void *buf, size_t len);

/* The same with a deadline (CLOCK_MONOTONIC in ns; 0: none): -ETIMEDOUT. *got, the
 * number of bytes that are there already, grows; so it can be called again. */
int cor_stream_read_by(struct cor_stream *s, void *buf, size_t len, size_t *got,
		       uint64_t deadline_ns);

/* Sends all of it, however long it takes; iov is used up. 0 or -errno. */
int cor_stream_writev(struct cor_stream *s, struct iovec *iov, unsigned n);
int cor_stream_write(struct cor_stream *s, const void *buf, size_t len);

/* Waits until there is something to receive (or the end), until the deadline at the
 * most (0: none). 0, -ETIMEDOUT or -errno. */
int cor_stream_await(struct cor_stream *s, uint64_t deadline_ns);

static inline void cor_stream_closep(struct cor_stream **s)
{
	cor_stream_close(*s);
}

#define _cleanup_stream_ __attribute__((cleanup(cor_stream_closep)))
