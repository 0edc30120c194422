/* The pager's end of one-sided demand: a stream that answers itself; see reach.h. */

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
#include "libcor/paging/check.h"
#include "libcor/paging/reach.h"
#include "libcor/paging/reach_table.h"

#define PIECE      16u          /* pages of one read: what a pager installs at once */
#define PIECE_SIZE ((size_t)PIECE << COR_PAGE_SHIFT)
#define SLOTS      32u          /* reads at once */
#define FULL       (UINT64_MAX - 1)     /* of an eventfd: not writable */

/* ---- the pager's end -------------------------------------------------------------- */

struct piece {
	struct cor_page_reply reply;
	bool ready;             /* it was read */
};

struct reach {
	struct cor_stream base;
	struct cor_rdma_qp *qp;
	const struct cor_rdma_ops *ops;
	struct reach_table table;
	bool greeted;           /* the owner's HELLO has come */
	/* requests come in: the one that is being taken, and how much of it */
	struct cor_page_request rq;
	size_t rq_got;
	uint32_t rq_posted;     /* pages of it that are posted */
	/* replies go out: [head, tail) are being read or wait to be received */
	struct piece pieces[SLOTS];
	unsigned head, tail;
	size_t taken;           /* bytes of the oldest that were received */
	unsigned char *buf;     /* PIECE_SIZE for each */
	struct cor_rdma_memory memory;
	bool blocked;           /* a sender found no room: out_fd is not writable */
	int lost;
	int wake;               /* readable: shut down */
	atomic_bool down;
};

static struct reach *reach_of(struct cor_stream *s)
{
	return (struct reach *)s;
}

static size_t payload(const struct piece *p)
{
	return p->reply.status == COR_PAGE_DATA ? (size_t)p->reply.npages << COR_PAGE_SHIFT : 0;
}

/* Seals what has come whole. */
static void ready(struct reach *s, unsigned slot)
{
	struct piece *p = &s->pieces[slot];
	struct reach_chunk *c = reach_table_find(&s->table, p->reply.offset);

	if (c && c->reading)
		c->reading--;
	p->ready = true;
	if (p->reply.flags & COR_PAGE_CHECKED)
		p->reply.check = cor_page_check(&p->reply, s->buf + slot * PIECE_SIZE, payload(p));
}

/* Posts the next piece of the request. 0, -EAGAIN: too much is posted, -errno: what is asked
 * for is not to be had here, among others. */
static int post(struct reach *s)
{
	unsigned slot = s->tail % SLOTS;
	struct piece *p = &s->pieces[slot];
	uint64_t at = s->rq.offset + ((uint64_t)s->rq_posted << COR_PAGE_SHIFT);
	struct reach_chunk *c = s->rq.object ? NULL : reach_table_find(&s->table, at);
	const struct reach_range *g = c ? reach_chunk_find(c, at) : NULL;
	struct cor_rdma_remote from;
	uint64_t n;
	int r;

	if (s->rq.op != COR_PAGE_READ || !g)
		return -EPROTO;
	n = COR_MIN((g->offset + g->len - at) >> COR_PAGE_SHIFT, (uint64_t)PIECE);
	n = COR_MIN(n, (uint64_t)(s->rq.npages - s->rq_posted));
	from = (struct cor_rdma_remote){ g->remote.addr + (at - g->offset), g->remote.key };
	r = s->ops->read(s->qp, &s->memory, s->buf + slot * PIECE_SIZE, n << COR_PAGE_SHIFT, &from,
			 slot);
	if (r < 0)
		return r;
	c->reading++;
	*p = (struct piece){ .reply = { .status = COR_PAGE_DATA, .offset = at, .npages = (uint32_t)n,
					.flags = s->rq.flags & COR_PAGE_CHECKED } };
	s->rq_posted += (uint32_t)n;
	if (s->rq_posted == s->rq.npages)
		p->reply.flags |= COR_PAGE_LAST;
	s->tail++;
	return 0;
}

/* Gets on with the request that was taken. False: there is no room for all of it yet. */
static bool pump(struct reach *s)
{
	while (s->rq_got == sizeof(s->rq)) {
		int r;

		if (s->tail - s->head == SLOTS)
			return false;
		r = post(s);
		if (r < 0 && r != -EAGAIN)
			s->lost = r;
		if (r < 0)
			return false;
		if (s->rq_posted == s->rq.npages)
			s->rq_got = s->rq_posted = 0;
	}
	return true;
}

static int take_message(struct reach *s, const struct cor_rdma_event *e)
{
	struct reach_message m;

	if (e->len != sizeof(m))
		return -EPROTO;
	memcpy(&m, e->bytes, sizeof(m));
	if (m.kind == REACH_RANGE && s->greeted)
		return reach_table_take(&s->table, &m);
	/* it may come twice: see reach_owner.c */
	if (m.kind != REACH_HELLO || m.offset != REACH_MAGIC || (s->greeted && s->table.bound != m.len))
		return -EPROTO;
	s->table.bound = m.len;
	s->greeted = true;
	return 0;
}

static int take_event(struct reach *s, const struct cor_rdma_event *e)
{
	struct piece *p = &s->pieces[e->cookie % SLOTS];

	if (e->kind == COR_RDMA_MSG)
		return take_message(s, e);
	if (e->kind != COR_RDMA_READ || e->cookie >= SLOTS || p->ready)
		return -EPROTO;
	ready(s, (unsigned)e->cookie);
	return 0;
}

/* What has come. 1: something did, 0, or -errno: the stream is lost. */
static int look(struct reach *s)
{
	struct cor_rdma_event e[8];
	int n = s->lost ?: s->ops->poll(s->qp, e, ARRAY_SIZE(e)), r = 0;

	if (n < 0)
		return s->lost = n;
	for (int i = 0; i < n && r == 0; i++)
		r = take_event(s, &e[i]);
	if (r < 0)
		return s->lost = r;
	return n > 0;
}

/* ---- requests ---------------------------------------------------------------------- */

static size_t take_request(struct reach *s, const struct iovec *iov, unsigned n)
{
	size_t total = 0;

	for (unsigned i = 0; i < n; i++) {
		size_t done = 0;

		while (done < iov[i].iov_len) {
			size_t len;

			if (!pump(s))
				return total + done;
			len = COR_MIN(iov[i].iov_len - done, sizeof(s->rq) - s->rq_got);
			memcpy((char *)&s->rq + s->rq_got, (char *)iov[i].iov_base + done, len);
			s->rq_got += len;
			done += len;
			if (s->rq_got == sizeof(s->rq) && !s->rq.npages)
				s->lost = -EPROTO;
			if (s->lost)
				return total + done;
		}
		total += done;
	}
	pump(s);
	return total;
}

static ssize_t reach_send(struct cor_stream *base, const struct iovec *iov, unsigned n,
			  unsigned flags)
{
	struct reach *s = reach_of(base);

	for (;;) {
		size_t sent = s->lost ? 0 : take_request(s, iov, n);
		uint64_t fill = FULL;
		int r;

		if (sent)
			return (ssize_t)sent;
		r = atomic_load(&s->down) ? -EPIPE : look(s);
		if (r < 0)
			return r;
		/* room is made by who receives */
		if (flags & COR_STREAM_NOWAIT) {
			if (!s->blocked && write(base->out_fd, &fill, sizeof(fill)) < 0)
				return -errno;
			s->blocked = true;
			return -EAGAIN;
		}
		if (r == 0)
			cor_rdma_wait(s->qp, s->wake, 1);
	}
}

/* ---- replies ------------------------------------------------------------------------ */

static void unblock(struct reach *s)
{
	uint64_t n;

	pump(s);
	if (s->blocked && s->tail - s->head < SLOTS)
		s->blocked = read(s->base.out_fd, &n, sizeof(n)) < 0;
}

/* The bytes of the oldest reply from s->taken on. */
static size_t next_bytes(struct reach *s, const unsigned char **from)
{
	struct piece *p = &s->pieces[s->head % SLOTS];
	size_t head = sizeof(p->reply);

	if (s->head == s->tail || !p->ready)
		return 0;
	if (s->taken < head) {
		*from = (unsigned char *)&p->reply + s->taken;
		return head - s->taken;
	}
	*from = s->buf + (s->head % SLOTS) * PIECE_SIZE + (s->taken - head);
	return head + payload(p) - s->taken;
}

static size_t take_out(struct reach *s, const struct iovec *iov, unsigned n)
{
	size_t total = 0, len;

	for (unsigned i = 0; i < n; i++) {
		const unsigned char *from;
		size_t done = 0;

		while (done < iov[i].iov_len && (len = next_bytes(s, &from))) {
			const struct piece *p = &s->pieces[s->head % SLOTS];

			len = COR_MIN(len, iov[i].iov_len - done);
			memcpy((char *)iov[i].iov_base + done, from, len);
			done += len;
			s->taken += len;
			if (s->taken == sizeof(p->reply) + payload(p)) {
				s->taken = 0;
				s->head++;
			}
		}
		total += done;
	}
	unblock(s);
	return total;
}

static ssize_t reach_receive(struct cor_stream *base, const struct iovec *iov, unsigned n,
			     unsigned flags)
{
	struct reach *s = reach_of(base);

	for (;;) {
		size_t got = take_out(s, iov, n);
		int r;

		if (got)
			return (ssize_t)got;
		r = atomic_load(&s->down) ? -ECONNRESET : look(s);
		if (r < 0)
			return r == -ECONNRESET ? 0 : r;
		if (r > 0)
			continue;
		if (!(flags & COR_STREAM_NOWAIT))
			cor_rdma_wait(s->qp, s->wake, -1);
		else if (flags & COR_STREAM_SPIN || s->ops->arm(s->qp) == 0)
			return -EAGAIN;
	}
}

static bool reach_pending(const struct cor_stream *base)
{
	struct reach *s = (struct reach *)base;
	const unsigned char *from;

	return next_bytes(s, &from) || s->lost || s->ops->arm(s->qp) < 0;
}

/* ---- life --------------------------------------------------------------------------- */

static void reach_shutdown(struct cor_stream *base)
{
	struct reach *s = reach_of(base);
	uint64_t one = 1;

	atomic_store(&s->down, true);
	(void)!write(s->wake, &one, sizeof(one));
}

static void reach_close(struct cor_stream *base)
{
	struct reach *s = reach_of(base);
	struct cor_rdma *device = s->qp->device;

	/* nothing may still be read into the buffer when it goes */
	s->ops->disconnect(s->qp);
	s->ops->forget(device, &s->memory);
	if (s->buf)
		munmap(s->buf, SLOTS * PIECE_SIZE);
	cor_rdma_unref(device);
	cor_closep(&s->base.out_fd);
	cor_closep(&s->wake);
	free(s);
}

static const struct cor_stream_ops reach_ops = {
	.name = "reach",
	.receive = reach_receive,
	.send = reach_send,
	.pending = reach_pending,
	.shutdown = reach_shutdown,
	.close = reach_close,
};

static int hear_hello(struct reach *s, unsigned timeout_ms, struct cor_error *err)
{
	uint64_t until = cor_now_ns() + timeout_ms * UINT64_C(1000000);

	while (!s->greeted) {
		int r = look(s);

		if (r < 0)
			return cor_fail_code(err, r, "the peer's offer of its memory");
		if (r == 0 && cor_now_ns() > until)
			return cor_fail(err, -ETIMEDOUT, "the peer did not offer its memory");
		if (r == 0)
			cor_rdma_wait(s->qp, s->wake, 10);
	}
	return 0;
}

static int say(void *arg, const struct reach_message *m)
{
	struct reach *s = arg;

	return s->ops->send(s->qp, m, sizeof(*m));
}

bool cor_stream_is_reach(const struct cor_stream *s)
{
	return s->ops == &reach_ops;
}

bool cor_reach_waits(struct cor_stream *base)
{
	return !(reach_of(base)->qp->device->caps & COR_RDMA_OFFLOADED);
}

bool cor_reach_has(struct cor_stream *base, uint16_t object, uint64_t offset)
{
	struct reach *s = reach_of(base);
	struct reach_chunk *c;

	/* shared memory is in no address space that could be registered as a whole */
	if (object || s->lost)
		return false;
	c = reach_table_find(&s->table, offset);
	if (!c) {
		reach_table_miss(&s->table, offset);
		return false;
	}
	c->used_ns = cor_now_ns();
	/* the answer may still be coming, a range at a time */
	return !c->wanted && reach_chunk_find(c, offset);
}

static int make_buffer(struct reach *s, struct cor_error *err)
{
	void *m = mmap(NULL, SLOTS * PIECE_SIZE, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);

	if (m == MAP_FAILED)
		return cor_fail(err, -ENOMEM, "out of memory for a lane's buffer");
	s->buf = m;
	return s->ops->enroll(s->qp->device, m, SLOTS * PIECE_SIZE, COR_RDMA_LOCAL, &s->memory, err);
}

int cor_stream_reach(struct cor_stream **out, struct cor_rdma_qp *qp, unsigned timeout_ms,
		     struct cor_error *err)
{
	struct reach *s = calloc(1, sizeof(*s));
	int r;

	if (!s) {
		qp->ops->disconnect(qp);
		return cor_fail(err, -ENOMEM, "out of memory for a lane");
	}
	s->base.ops = &reach_ops;
	s->base.rank = 2;
	s->qp = qp;
	s->ops = qp->ops;
	s->table.say = say;
	s->table.arg = s;
	cor_rdma_ref(qp->device);
	s->base.in_fd = s->ops->fd(qp);
	s->base.out_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	s->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (s->base.out_fd < 0 || s->wake < 0)
		r = cor_fail_errno(err, "creating a lane's eventfds");
	else
		r = hear_hello(s, timeout_ms, err);
	if (r == 0)
		r = make_buffer(s, err);
	if (r < 0) {
		reach_close(&s->base);
		return r;
	}
	*out = &s->base;
	return 0;
}
