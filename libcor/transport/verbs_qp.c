/* libibverbs: queue pairs. See verbs_base.h. */
#include "libcor/transport/verbs_base.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "libcor/base/cleanup.h"
#include "libcor/base/error.h"

#define BATCH 16u
/* Of writes and messages one in so many tells when it is finished: enough to know how
 * much room there is. */
#define SIGNAL_EVERY 16u
/* Events that are no completions are looked at so often while nothing completes. */
#define LOOK_EVERY 64u

/* What a work request's number says about it. */
#define WR_READ    (1ull << 63)         /* the cookie is in the lower bits */
#define WR_RECEIVE (1ull << 62)         /* the slot is */

int verbs_nonblocking(int fd)
{
	int flags = fcntl(fd, F_GETFL);

	return flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0 ? -errno : 0;
}

int verbs_qp_lose(struct verbs_qp *q, int code)
{
	int none = 0;

	atomic_compare_exchange_strong(&q->lost, &none, code);
	return atomic_load(&q->lost);
}

static const struct verbs_lib *lib_of(const struct verbs_qp *q)
{
	return &verbs_of(q->base.device)->lib;
}

/* ---- life ----------------------------------------------------------------------- */

static int post_slot(struct verbs_qp *q, unsigned i)
{
	struct ibv_sge sge = { (uintptr_t)&q->slots[i], sizeof(q->slots[i]), q->mr->lkey };
	struct ibv_recv_wr wr = { .wr_id = WR_RECEIVE | i, .sg_list = &sge, .num_sge = 1 }, *bad;

	return -ibv_post_recv(q->id->qp, &wr, &bad);
}

static int make_queues(struct verbs *v, struct verbs_qp *q)
{
	struct ibv_qp_init_attr a = {
		.qp_context = q, .qp_type = IBV_QPT_RC,
		.cap = { .max_send_wr = VERBS_DEPTH, .max_recv_wr = VERBS_SLOTS,
			 .max_send_sge = 1, .max_recv_sge = 1,
			 .max_inline_data = sizeof(struct rdma_message) },
	};

	q->channel = v->lib.ibv_create_comp_channel(v->context);
	if (!q->channel)
		return -errno;
	if (verbs_nonblocking(q->channel->fd) < 0)
		return -errno;
	q->cq = v->lib.ibv_create_cq(v->context, VERBS_DEPTH + VERBS_SLOTS, q, q->channel, 0);
	if (!q->cq)
		return -errno;
	a.send_cq = a.recv_cq = q->cq;
	q->send_inline = true;
	if (v->lib.rdma_create_qp(q->id, v->pd, &a) == 0)
		return 0;
	/* not every adapter has messages inline: they are sent from registered memory then */
	a.cap.max_inline_data = 0;
	q->send_inline = false;
	return v->lib.rdma_create_qp(q->id, v->pd, &a) < 0 ? -errno : 0;
}

static int make_slots(struct verbs *v, struct verbs_qp *q)
{
	size_t size = (VERBS_SLOTS + VERBS_DEPTH) * sizeof(*q->slots);
	void *m;
	int r = 0;

	if (posix_memalign(&m, 4096, size) != 0)
		return -ENOMEM;
	q->slots = memset(m, 0, size);
	q->mr = v->lib.reg_mr(v->pd, m, size, IBV_ACCESS_LOCAL_WRITE);
	if (!q->mr)
		return -errno;
	for (unsigned i = 0; i < VERBS_SLOTS && r == 0; i++)
		r = post_slot(q, i);
	return r;
}

/* The kernel's own descriptors are what epoll waits for. */
static int watch(const struct verbs_qp *q, int fd)
{
	struct epoll_event e = { .events = EPOLLIN };

	return epoll_ctl(q->fd, EPOLL_CTL_ADD, fd, &e) < 0 ? -errno : 0;
}

int verbs_qp_new(struct verbs *v, struct rdma_cm_id *id, struct verbs_qp **out,
		 struct cor_error *err)
{
	struct verbs_qp *q = calloc(1, sizeof(*q));
	int r;

	if (!q) {
		v->lib.rdma_destroy_id(id);
		return cor_fail(err, -ENOMEM, "verbs: out of memory");
	}
	q->base = (struct cor_rdma_qp){ .ops = v->base.ops, .device = &v->base };
	q->id = id;
	q->fd = epoll_create1(EPOLL_CLOEXEC);
	r = q->fd < 0 ? -errno : make_queues(v, q);
	if (r == 0)
		r = make_slots(v, q);
	if (r == 0)
		r = watch(q, q->channel->fd);
	if (r == 0)
		r = verbs_nonblocking(v->context->async_fd);
	if (r == 0)
		r = watch(q, v->context->async_fd);
	if (r < 0) {
		verbs_qp_free(q);
		return cor_fail_code(err, r, "%s: a queue pair", v->context->device->name);
	}
	*out = q;
	return 0;
}

int verbs_qp_watch(struct verbs_qp *q, struct rdma_event_channel *events)
{
	if (!events)
		return -ENOMEM;
	q->events = events;
	if (q->id->channel != events && lib_of(q)->rdma_migrate_id(q->id, events) < 0)
		return -errno;
	if (verbs_nonblocking(events->fd) < 0)
		return -errno;
	return watch(q, events->fd);
}

void verbs_qp_free(struct verbs_qp *q)
{
	const struct verbs_lib *lib = lib_of(q);

	if (q->id && q->id->qp)
		lib->rdma_destroy_qp(q->id);
	if (q->cq && q->unacked)
		lib->ibv_ack_cq_events(q->cq, q->unacked);
	if (q->cq)
		lib->ibv_destroy_cq(q->cq);
	if (q->channel)
		lib->ibv_destroy_comp_channel(q->channel);
	if (q->id)
		lib->rdma_destroy_id(q->id);
	if (q->events)
		lib->rdma_destroy_event_channel(q->events);
	if (q->mr)
		lib->ibv_dereg_mr(q->mr);
	cor_closep(&q->fd);
	free(q->slots);
	free(q);
}

void verbs_disconnect(struct cor_rdma_qp *qp)
{
	struct verbs_qp *q = verbs_qp_of(qp);

	lib_of(q)->rdma_disconnect(q->id);
	verbs_qp_free(q);
}

/* ---- posting -------------------------------------------------------------------- */

/* Posts wr. What tells when it is finished is noted, since with it all before it are. */
static int post(struct verbs_qp *q, struct ibv_send_wr *wr)
{
	struct ibv_send_wr *bad;
	int r;

	if (atomic_load_explicit(&q->lost, memory_order_relaxed))
		return atomic_load(&q->lost);
	if (q->posted - q->finished >= VERBS_DEPTH)
		return -EAGAIN;
	if (++q->unsignalled >= SIGNAL_EVERY)
		wr->send_flags |= IBV_SEND_SIGNALED;
	r = ibv_post_send(q->id->qp, wr, &bad);
	if (r) {
		q->unsignalled--;
		return r == ENOMEM ? -EAGAIN : verbs_qp_lose(q, r > 0 ? -r : -EIO);
	}
	q->posted++;
	if (wr->send_flags & IBV_SEND_SIGNALED) {
		q->signalled[(q->first_signalled + q->nsignalled++) % VERBS_DEPTH] = q->posted;
		q->unsignalled = 0;
	}
	return 0;
}

int verbs_read(struct cor_rdma_qp *qp, const struct cor_rdma_memory *local, void *to,
	       size_t len, const struct cor_rdma_remote *from, uint64_t cookie)
{
	struct ibv_mr *mr = local->handle;
	struct ibv_sge sge = { (uintptr_t)to, (uint32_t)len, mr->lkey };
	struct ibv_send_wr wr = {
		.wr_id = WR_READ | cookie, .sg_list = &sge, .num_sge = 1,
		.opcode = IBV_WR_RDMA_READ, .send_flags = IBV_SEND_SIGNALED,
		.wr.rdma = { .remote_addr = from->addr, .rkey = (uint32_t)from->key },
	};

	return post(verbs_qp_of(qp), &wr);
}

static int send_message(struct verbs_qp *q, const struct rdma_message *m)
{
	/* free again when this place in the queue is */
	struct rdma_message *room = &q->slots[VERBS_SLOTS + q->posted % VERBS_DEPTH];
	struct ibv_sge sge = { (uintptr_t)m, sizeof(*m), q->mr->lkey };
	struct ibv_send_wr wr = { .sg_list = &sge, .num_sge = 1, .opcode = IBV_WR_SEND };

	if (q->posted - q->finished >= VERBS_DEPTH)
		return -EAGAIN;
	if (q->send_inline) {
		wr.send_flags = IBV_SEND_INLINE;
	} else {
		*room = *m;
		sge.addr = (uintptr_t)room;
	}
	return post(q, &wr);
}

int verbs_write(struct cor_rdma_qp *qp, const struct cor_rdma_memory *local, const void *from,
		size_t len, const struct cor_rdma_remote *to, const uint32_t *note)
{
	struct verbs_qp *q = verbs_qp_of(qp);
	struct ibv_mr *mr = local->handle;
	bool iwarp = verbs_of(qp->device)->iwarp;
	struct ibv_sge sge = { (uintptr_t)from, (uint32_t)len, mr->lkey };
	struct ibv_send_wr wr = {
		.sg_list = &sge, .num_sge = 1, .opcode = IBV_WR_RDMA_WRITE,
		.wr.rdma = { .remote_addr = to->addr, .rkey = (uint32_t)to->key },
	};
	int r;

	if (note && !iwarp) {
		wr.opcode = IBV_WR_RDMA_WRITE_WITH_IMM;
		wr.imm_data = htobe32(*note);
	}
	/* iWARP's writes carry no note: a message follows, and there must be room for both */
	if (note && iwarp && q->posted - q->finished + 2 > VERBS_DEPTH)
		return -EAGAIN;
	r = post(q, &wr);
	if (r == 0 && note && iwarp) {
		const struct rdma_message m = { .kind = RDMA_NOTE, .note = *note };

		r = send_message(q, &m);
		if (r == -EAGAIN)
			r = verbs_qp_lose(q, -EIO);
	}
	return r;
}

int verbs_send(struct cor_rdma_qp *qp, const void *message, size_t len)
{
	struct rdma_message m;

	rdma_message_make(&m, message, len);
	return send_message(verbs_qp_of(qp), &m);
}

/* ---- completions ------------------------------------------------------------------ */

/* An adapter's asynchronous event may concern any queue pair of this process on it. */
static void look_at_async(struct verbs_qp *q)
{
	struct verbs *v = verbs_of(q->base.device);
	struct ibv_async_event e;

	while (v->lib.ibv_get_async_event(v->context, &e) == 0) {
		struct verbs_qp *whose = NULL;

		switch (e.event_type) {
		case IBV_EVENT_QP_FATAL:
		case IBV_EVENT_QP_REQ_ERR:
		case IBV_EVENT_QP_ACCESS_ERR:
			whose = e.element.qp->qp_context;
			break;
		case IBV_EVENT_CQ_ERR:
			whose = e.element.cq->cq_context;
			break;
		case IBV_EVENT_DEVICE_FATAL:
		case IBV_EVENT_PORT_ERR:
			whose = q;
			break;
		default:
			break;
		}
		if (whose)
			verbs_qp_lose(whose, e.event_type == IBV_EVENT_PORT_ERR ? -ENETDOWN : -EIO);
		v->lib.ibv_ack_async_event(&e);
	}
}

/* Has its connection ended? */
static void look_at_connection(struct verbs_qp *q)
{
	struct verbs *v = verbs_of(q->base.device);
	struct rdma_cm_event *e;

	while (v->lib.rdma_get_cm_event(q->events, &e) == 0) {
		enum rdma_cm_event_type type = e->event;

		v->lib.rdma_ack_cm_event(e);
		if (type == RDMA_CM_EVENT_DISCONNECTED || type == RDMA_CM_EVENT_DEVICE_REMOVAL ||
		    type == RDMA_CM_EVENT_TIMEWAIT_EXIT)
			verbs_qp_lose(q, type == RDMA_CM_EVENT_DEVICE_REMOVAL ? -ENODEV : -ECONNRESET);
	}
}

static void look_elsewhere(struct verbs_qp *q)
{
	look_at_async(q);
	if (q->events)
		look_at_connection(q);
}

static int completion_error(enum ibv_wc_status status)
{
	switch (status) {
	case IBV_WC_WR_FLUSH_ERR:       return -ECONNRESET;
	case IBV_WC_RETRY_EXC_ERR:      return -ETIMEDOUT;
	case IBV_WC_REM_ACCESS_ERR:     return -EACCES;
	default:                        return -EIO;
	}
}

/* All work requests up to the oldest that tells are finished. */
static void finish_one(struct verbs_qp *q)
{
	if (!q->nsignalled)
		return;
	q->finished = q->signalled[q->first_signalled];
	q->first_signalled = (q->first_signalled + 1) % VERBS_DEPTH;
	q->nsignalled--;
}

/* 1: *out is an event, 0: nothing for the caller, -errno. */
static int receive(struct verbs_qp *q, const struct ibv_wc *wc, struct cor_rdma_event *out)
{
	unsigned i = (unsigned)(wc->wr_id & ~WR_RECEIVE);
	int r = 1;

	if (wc->opcode == IBV_WC_RECV_RDMA_WITH_IMM) {
		out->kind = COR_RDMA_NOTE;
		out->note = be32toh(wc->imm_data);
	} else {
		r = rdma_message_take(&q->slots[i], wc->byte_len, out);
	}
	return r < 0 ? r : post_slot(q, i) ?: 1;
}

static int take(struct verbs_qp *q, const struct ibv_wc *wc, struct cor_rdma_event *out)
{
	if (wc->status != IBV_WC_SUCCESS)
		return completion_error(wc->status);
	if (wc->wr_id & WR_RECEIVE)
		return receive(q, wc, out);
	finish_one(q);
	if (!(wc->wr_id & WR_READ))
		return 0;
	out->kind = COR_RDMA_READ;
	out->cookie = wc->wr_id & ~WR_READ;
	return 1;
}

int verbs_poll(struct cor_rdma_qp *qp, struct cor_rdma_event *events, unsigned max)
{
	struct verbs_qp *q = verbs_qp_of(qp);
	struct ibv_wc wc[BATCH];
	unsigned out = 0;
	int n = atomic_load(&q->lost), r = 0;

	if (n < 0)
		return n;
	n = ibv_poll_cq(q->cq, (int)COR_MIN(max, BATCH), wc);
	if (n < 0)
		return verbs_qp_lose(q, -EIO);
	if (n > 0) {
		q->armed = false;
		q->empty = 0;
	} else if (++q->empty % LOOK_EVERY == 0) {
		look_elsewhere(q);
	}
	for (int i = 0; i < n && r >= 0; i++) {
		r = take(q, &wc[i], &events[out]);
		out += r > 0;
	}
	if (r < 0)
		verbs_qp_lose(q, r);
	/* what came before it was lost is still good */
	return out ? (int)out : atomic_load(&q->lost);
}

/* ---- waiting -------------------------------------------------------------------- */

int verbs_fd(struct cor_rdma_qp *qp)
{
	return verbs_qp_of(qp)->fd;
}

int verbs_arm(struct cor_rdma_qp *qp)
{
	struct verbs_qp *q = verbs_qp_of(qp);
	const struct verbs_lib *lib = lib_of(q);
	struct ibv_cq *cq;
	void *context;

	if (atomic_load(&q->lost))
		return -EAGAIN;
	if (q->armed)
		return 0;
	while (lib->ibv_get_cq_event(q->channel, &cq, &context) == 0)
		q->unacked++;
	if (ibv_req_notify_cq(q->cq, 0) != 0)
		return verbs_qp_lose(q, -EIO), -EAGAIN;
	q->armed = true;
	/* what has come before is not told of */
	return -EAGAIN;
}
