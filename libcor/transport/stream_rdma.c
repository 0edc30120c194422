/* A byte stream over a queue pair; see stream_rdma.h. */
#include "libcor/transport/stream_rdma.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include "libcor/base/cleanup.h"
#include "libcor/base/error.h"
#include "libcor/base/io.h"

#define MAGIC 0x63727331u       /* "crs1" */

/* Notes that are not acknowledged: the peer has room for more messages than these, its
 * own acknowledgements to come. */
#define NOTES     (COR_RDMA_UNREAD * 3 / 4)
/* What was taken out is told when it is so much of the window. */
#define ACK_SHARE 4u

/* Who connected and hears nothing for so long nudges the peer, and then after twice as long. */
#define NUDGE_NS (50 * UINT64_C(1000000))

#define ROOM_MAX (64u << 20)
#define FULL     (UINT64_MAX - 1)       /* of an eventfd: not writable */

struct hello {
	uint32_t magic;
	uint32_t room;
	uint64_t addr;
	uint64_t key;
} __attribute__((packed));
_Static_assert(sizeof(struct hello) == 24, "told in one message");

struct taken {
	uint32_t bytes;
	uint32_t notes;
} __attribute__((packed));

struct ring {
	unsigned char *data;
	uint32_t size;          /* a power of two */
	uint64_t head, tail;    /* bytes taken out, bytes put in, in all */
	struct cor_rdma_memory memory;
};

struct rdma_stream {
	struct cor_stream base;
	struct cor_rdma_qp *qp;
	const struct cor_rdma_ops *ops;
	struct ring in;         /* the peer writes into it */
	struct ring out;        /* the peer's as it will be, for what is on its way */
	struct cor_rdma_remote peer;    /* where that is */
	unsigned notes;         /* on their way */
	struct taken owed;      /* taken out, and not told */
	bool blocked;           /* a sender found no room: out_fd is not writable */
	bool agreed;            /* the peer's hello has come */
	int lost;
	int wake;               /* readable: shut down */
	atomic_bool down;
};

static struct rdma_stream *stream_of(struct cor_stream *s)
{
	return (struct rdma_stream *)s;
}

/* ---- what comes in -------------------------------------------------------------- */

static int take_hello(struct rdma_stream *s, const struct cor_rdma_event *e)
{
	struct hello h;

	memcpy(&h, e->bytes, COR_MIN(e->len, (unsigned)sizeof(h)));
	if (e->len != sizeof(h) || h.magic != MAGIC || h.room < 4096 || h.room > ROOM_MAX ||
	    h.room & (h.room - 1))
		return -EPROTO;
	s->out.size = h.room;
	s->peer = (struct cor_rdma_remote){ h.addr, h.key };
	s->agreed = true;
	return 0;
}

static int take_ack(struct rdma_stream *s, const struct cor_rdma_event *e)
{
	struct taken t;
	uint64_t n;

	if (e->len != sizeof(t))
		return -EPROTO;
	memcpy(&t, e->bytes, sizeof(t));
	if (t.bytes > s->out.tail - s->out.head || t.notes > s->notes)
		return -EPROTO;
	s->out.head += t.bytes;
	s->notes -= t.notes;
	if (s->blocked && read(s->base.out_fd, &n, sizeof(n)) < 0)
		return -errno;
	s->blocked = false;
	return 0;
}

static int take(struct rdma_stream *s, const struct cor_rdma_event *e)
{
	if (e->kind == COR_RDMA_MSG)
		return s->agreed ? take_ack(s, e) : take_hello(s, e);
	if (e->kind != COR_RDMA_NOTE || e->note == 0 ||
	    e->note > s->in.size - (s->in.tail - s->in.head))
		return -EPROTO;
	s->in.tail += e->note;
	s->owed.notes++;
	return 0;
}

/* Everything that has come. 1: something did, 0, or -errno: the stream is lost. */
static int look(struct rdma_stream *s)
{
	struct cor_rdma_event e[8];
	int n = s->lost ?: s->ops->poll(s->qp, e, ARRAY_SIZE(e)), r = 0;

	for (int i = 0; i < n && r == 0; i++)
		r = take(s, &e[i]);
	if (n < 0 || r < 0)
		s->lost = n < 0 ? n : r;
	return s->lost ?: n > 0;
}

/* ---- receiving ------------------------------------------------------------------ */

static size_t take_out(struct rdma_stream *s, const struct iovec *iov, unsigned n)
{
	size_t total = 0;

	for (unsigned i = 0; i < n; i++) {
		size_t done = 0;

		while (done < iov[i].iov_len && s->in.head != s->in.tail) {
			uint32_t at = s->in.head & (s->in.size - 1);
			size_t len = COR_MIN(s->in.tail - s->in.head, (uint64_t)(s->in.size - at));

			len = COR_MIN(len, iov[i].iov_len - done);
			memcpy((char *)iov[i].iov_base + done, s->in.data + at, len);
			s->in.head += len;
			done += len;
		}
		total += done;
	}
	s->owed.bytes += (uint32_t)total;
	return total;
}

/* Tells the peer what was taken out, when it is worth a message. That there is no room
 * for one now does no harm: the next one tells more. */
static void acknowledge(struct rdma_stream *s)
{
	if (s->owed.bytes < s->in.size / ACK_SHARE && s->owed.notes < NOTES / ACK_SHARE)
		return;
	if (s->ops->send(s->qp, &s->owed, sizeof(s->owed)) == 0)
		s->owed = (struct taken){ 0, 0 };
}

static ssize_t rdma_receive(struct cor_stream *base, const struct iovec *iov, unsigned n,
			    unsigned flags)
{
	struct rdma_stream *s = stream_of(base);
	size_t got;

	while (s->in.head == s->in.tail) {
		int r = atomic_load(&s->down) ? -ECONNRESET : look(s);

		acknowledge(s);         /* that there was no room for before */
		if (r == -ECONNRESET)
			return 0;
		if (r < 0)
			return r;
		if (r > 0)
			continue;
		if (!(flags & COR_STREAM_NOWAIT))
			cor_rdma_wait(s->qp, s->wake, -1);
		else if (flags & COR_STREAM_SPIN || s->ops->arm(s->qp) == 0)
			return -EAGAIN;
	}
	got = take_out(s, iov, n);
	acknowledge(s);
	return (ssize_t)got;
}

static bool rdma_pending(const struct cor_stream *base)
{
	const struct rdma_stream *s = (const struct rdma_stream *)base;

	/* what poll() has not been asked for may not wake the descriptor */
	return s->in.head != s->in.tail || s->lost || s->ops->arm(s->qp) < 0;
}

/* ---- sending -------------------------------------------------------------------- */

/* Copies into the ring, up to its end; bytes. */
static size_t put_in(struct rdma_stream *s, const struct iovec *iov, unsigned n)
{
	uint32_t at = s->out.tail & (s->out.size - 1);
	size_t room = s->out.size - (s->out.tail - s->out.head), done = 0;

	room = COR_MIN(room, (size_t)(s->out.size - at));
	for (unsigned i = 0; i < n && done < room; i++) {
		size_t len = COR_MIN(iov[i].iov_len, room - done);

		memcpy(s->out.data + at + done, iov[i].iov_base, len);
		done += len;
	}
	return done;
}

/* Bytes sent, 0: there is no room, or -errno. */
static ssize_t send_some(struct rdma_stream *s, const struct iovec *iov, unsigned n)
{
	uint32_t at = s->out.tail & (s->out.size - 1), len;
	struct cor_rdma_remote to = { s->peer.addr + at, s->peer.key };
	int r;

	if (s->lost)
		return s->lost;
	if (s->notes == NOTES)
		return 0;
	len = (uint32_t)put_in(s, iov, n);
	if (len == 0)
		return 0;
	r = s->ops->write(s->qp, &s->out.memory, s->out.data + at, len, &to, &len);
	if (r < 0)
		return r == -EAGAIN ? 0 : (s->lost = r);
	s->out.tail += len;
	s->notes++;
	return len;
}

static ssize_t rdma_send(struct cor_stream *base, const struct iovec *iov, unsigned n,
			 unsigned flags)
{
	struct rdma_stream *s = stream_of(base);

	for (;;) {
		ssize_t sent = send_some(s, iov, n);
		int r;

		if (sent != 0)
			return sent;
		r = atomic_load(&s->down) ? -EPIPE : look(s);
		if (r < 0)
			return r;
		if (r > 0)
			continue;
		if (!(flags & COR_STREAM_NOWAIT)) {
			cor_rdma_wait(s->qp, s->wake, -1);
		} else if (s->ops->arm(s->qp) == 0) {
			uint64_t fill = FULL;

			if (!s->blocked && write(s->base.out_fd, &fill, sizeof(fill)) < 0)
				return -errno;
			s->blocked = true;
			return -EAGAIN;
		}
	}
}

/* ---- life ----------------------------------------------------------------------- */

static void rdma_shutdown(struct cor_stream *base)
{
	struct rdma_stream *s = stream_of(base);
	uint64_t one = 1;

	atomic_store(&s->down, true);
	(void)!write(s->wake, &one, sizeof(one));
}

static void drop_ring(struct rdma_stream *s, struct cor_rdma *device, struct ring *r)
{
	if (r->memory.handle)
		s->ops->forget(device, &r->memory);
	if (r->data)
		munmap(r->data, r->size);
}

static void rdma_close(struct cor_stream *base)
{
	struct rdma_stream *s = stream_of(base);
	struct cor_rdma *device = s->qp->device;

	/* nothing may still be written when the rings go */
	s->ops->disconnect(s->qp);
	drop_ring(s, device, &s->in);
	drop_ring(s, device, &s->out);
	cor_rdma_unref(device);
	cor_closep(&s->base.out_fd);
	cor_closep(&s->wake);
	free(s);
}

static const struct cor_stream_ops rdma_stream_ops = {
	.name = "rdma",
	.receive = rdma_receive,
	.send = rdma_send,
	.pending = rdma_pending,
	.shutdown = rdma_shutdown,
	.close = rdma_close,
};

static int make_ring(struct rdma_stream *s, struct ring *r, size_t size, unsigned access,
		     struct cor_error *err)
{
	void *m = mmap(NULL, size, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);

	if (m == MAP_FAILED)
		return cor_fail(err, -ENOMEM, "out of memory for a lane's buffer");
	r->data = m;
	r->size = (uint32_t)size;
	return s->ops->enroll(s->qp->device, m, size, access, &r->memory, err);
}

static int say_hello(struct rdma_stream *s)
{
	struct hello h = { MAGIC, s->in.size, s->in.memory.remote, s->in.memory.key };

	return s->ops->send(s->qp, &h, sizeof(h));
}

/* Acknowledges nothing. Soft-iWARP does not notice what comes while its side of the connection
 * is still being made, until more comes. */
static void nudge(struct rdma_stream *s)
{
	static const struct taken nothing;

	(void)!s->ops->send(s->qp, &nothing, sizeof(nothing));
}

static int hear_hello(struct rdma_stream *s, uint64_t until)
{
	uint64_t pause = NUDGE_NS, nudge_at = cor_now_ns() + pause;

	while (!s->agreed) {
		int r = look(s);
		uint64_t now = cor_now_ns();

		if (r < 0)
			return r;
		if (r > 0)
			continue;
		if (now > until)
			return -ETIMEDOUT;
		if (now > nudge_at && !s->qp->accepted) {
			nudge(s);
			nudge_at = now + (pause *= 2);
		}
		cor_rdma_wait(s->qp, s->wake, 10);
	}
	return 0;
}

/* Both tell the other where to write, who connected first; then each has a ring like the
 * peer's. */
static int agree(struct rdma_stream *s, unsigned timeout_ms, struct cor_error *err)
{
	uint64_t until = cor_now_ns() + timeout_ms * UINT64_C(1000000);
	bool second = s->qp->accepted;
	int r = second ? 0 : say_hello(s);

	if (r == 0)
		r = hear_hello(s, until);
	if (r == 0 && second)
		r = say_hello(s);
	if (r == -ETIMEDOUT)
		return cor_fail(err, r, "the peer did not say where its lane begins");
	if (r < 0)
		return cor_fail_code(err, r, "agreeing on a lane's buffers");
	return make_ring(s, &s->out, s->out.size, COR_RDMA_LOCAL, err);
}

int cor_stream_rdma(struct cor_stream **out, struct cor_rdma_qp *qp, size_t room,
		    unsigned timeout_ms, struct cor_error *err)
{
	struct rdma_stream *s = calloc(1, sizeof(*s));
	int r;

	if (!s) {
		qp->ops->disconnect(qp);
		return cor_fail(err, -ENOMEM, "out of memory for a lane");
	}
	s->base.ops = &rdma_stream_ops;
	s->base.rank = 1;
	s->qp = qp;
	s->ops = qp->ops;
	cor_rdma_ref(qp->device);
	s->base.in_fd = s->ops->fd(qp);
	s->base.out_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	s->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (s->base.out_fd < 0 || s->wake < 0)
		r = cor_fail_errno(err, "creating a lane's eventfds");
	else
		r = make_ring(s, &s->in, room, COR_RDMA_LOCAL | COR_RDMA_REMOTE_WRITE, err);
	if (r == 0)
		r = agree(s, timeout_ms, err);
	if (r < 0) {
		rdma_close(&s->base);
		return r;
	}
	*out = &s->base;
	return 0;
}
