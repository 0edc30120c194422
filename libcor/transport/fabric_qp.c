/* libfabric: endpoints as queue pairs. See fabric_base.h. */
#include "libcor/transport/fabric_base.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "libcor/base/cleanup.h"
#include "libcor/base/error.h"

#define BATCH 16u

/* Looks at the event queue only so often while nothing completes: it costs a call. */
#define LOOK_EVERY 64u

/* Where a provider has nothing to wait for, a timer wakes us to look: soon at first,
 * at last every WAIT_NS << WAIT_STEPS. */
#define WAIT_NS    50000u
#define WAIT_STEPS 6u

int fabric_qp_repost(struct fabric_qp *q, union fabric_slot *slot)
{
	ssize_t r = fi_recv(q->ep, slot, sizeof(*slot),
			    fi_mr_desc((struct fid_mr *)q->slots.handle), FI_ADDR_UNSPEC, slot);

	return r < 0 ? (int)r : 0;
}

/* No more than we use: a provider sets aside room for all of it in the completion queue. */
static void limit_sizes(struct fi_info *info)
{
	info->tx_attr->size = COR_MIN(info->tx_attr->size, (size_t)COR_RDMA_POSTED + COR_RDMA_UNREAD);
	info->rx_attr->size = COR_MIN(info->rx_attr->size, (size_t)FABRIC_SLOTS);
}

static int open_queues(struct fabric *f, struct fabric_qp *q, const struct fi_info *info)
{
	struct fi_cq_attr cq = { .size = info->tx_attr->size + info->rx_attr->size,
				 .format = FI_CQ_FORMAT_DATA, .wait_obj = FI_WAIT_FD };
	struct fi_eq_attr eq = { .wait_obj = FI_WAIT_FD };
	int r;

	if (!(f->base.caps & COR_RDMA_EVENTS))
		cq.wait_obj = FI_WAIT_NONE;
	r = fi_cq_open(f->domain, &cq, &q->cq, NULL);
	if (r == 0)
		r = fi_ep_bind(q->ep, &q->cq->fid, FI_TRANSMIT | FI_SELECTIVE_COMPLETION);
	if (r == 0)
		r = fi_ep_bind(q->ep, &q->cq->fid, FI_RECV);
	if (r == 0 && f->connected) {
		r = fi_eq_open(f->fabric, &eq, &q->eq, NULL);
		if (r == 0)
			r = fi_ep_bind(q->ep, &q->eq->fid, 0);
	} else if (r == 0) {
		r = fi_ep_bind(q->ep, &f->av->fid, 0);
	}
	return r < 0 ? r : fi_enable(q->ep);
}

static int open_fd(struct fabric *f, struct fabric_qp *q)
{
	int r;

	q->timed = !(f->base.caps & COR_RDMA_EVENTS);
	if (q->timed)
		q->fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	else
		q->fd = epoll_create1(EPOLL_CLOEXEC);
	if (q->fd < 0)
		return -errno;
	if (q->timed)
		return 0;
	r = fabric_watch(q->fd, &q->cq->fid);
	if (r == 0 && q->eq)
		r = fabric_watch(q->fd, &q->eq->fid);
	return r;
}

static int post_slots(struct fabric *f, struct fabric_qp *q, struct cor_error *err)
{
	size_t size = (FABRIC_SLOTS + 1) * sizeof(*q->slot);
	void *m;
	int r;

	if (posix_memalign(&m, 4096, size) != 0)
		return -ENOMEM;
	memset(m, 0, size);
	q->slot = m;
	q->spare = q->slot + FABRIC_SLOTS;
	r = fabric_enroll(&f->base, m, size, COR_RDMA_LOCAL, &q->slots, err);
	for (unsigned i = 0; r == 0 && i < FABRIC_SLOTS; i++)
		r = fabric_qp_repost(q, &q->slot[i]);
	return r;
}

int fabric_qp_new(struct fabric *f, struct fi_info *info, struct fabric_qp **out,
		  struct cor_error *err)
{
	struct fabric_qp *q = calloc(1, sizeof(*q));
	int r;

	if (!q)
		return cor_fail(err, -ENOMEM, "libfabric: out of memory");
	q->base = (struct cor_rdma_qp){ .ops = f->base.ops, .device = &f->base };
	q->fd = -1;
	q->peer = FI_ADDR_UNSPEC;
	limit_sizes(info);
	r = fi_endpoint(f->domain, info, &q->ep, q);
	if (r == 0)
		r = open_queues(f, q, info);
	if (r == 0)
		r = open_fd(f, q);
	if (r == 0)
		r = post_slots(f, q, NULL);
	if (r < 0) {
		fabric_qp_free(q);
		return fabric_fail(f, err, r, "");
	}
	*out = q;
	return 0;
}

void fabric_qp_free(struct fabric_qp *q)
{
	if (q->ep)
		fi_close(&q->ep->fid);
	if (q->slots.handle)
		fabric_forget(q->base.device, &q->slots);
	if (q->cq)
		fi_close(&q->cq->fid);
	if (q->eq)
		fi_close(&q->eq->fid);
	cor_closep(&q->fd);
	free(q->slot);
	free(q);
}

void fabric_disconnect(struct cor_rdma_qp *qp)
{
	struct fabric_qp *q = fabric_qp_of(qp);

	if (q->eq && !q->lost)
		fi_shutdown(q->ep, 0);
	fabric_qp_free(q);
}

int fabric_qp_lose(struct fabric_qp *q, int code)
{
	if (!q->lost)
		q->lost = code > -256 && code < 0 ? code : -EIO;
	return q->lost;
}

/* ---- posting -------------------------------------------------------------------- */

/* Some providers (verbs) take up what has completed only when they are asked, and are
 * full after a few operations until then: reading nothing is asking. */
#define TRIES 16u

/* Posts by op(q, m, flags); is it worth another try? */
static int post(struct fabric_qp *q, ssize_t (*op)(struct fabric_qp *, const void *, uint64_t),
		const void *m, uint64_t flags)
{
	ssize_t r = q->lost;

	for (unsigned i = 0; i < TRIES && !q->lost; i++) {
		r = op(q, m, flags);
		if (r != -FI_EAGAIN)
			break;
		fi_cq_read(q->cq, NULL, 0);
	}
	if (r == 0 || q->lost)
		return q->lost;
	return r == -FI_EAGAIN ? -EAGAIN : fabric_qp_lose(q, (int)r);
}

static ssize_t post_read(struct fabric_qp *q, const void *m, uint64_t flags)
{
	return fi_readmsg(q->ep, m, flags);
}

static ssize_t post_write(struct fabric_qp *q, const void *m, uint64_t flags)
{
	return fi_writemsg(q->ep, m, flags);
}

static ssize_t post_message(struct fabric_qp *q, const void *m, uint64_t flags)
{
	return fi_inject(q->ep, m, sizeof(struct rdma_message), q->peer);
}

/* Contexts of reads are odd, those of messages are addresses. */
static void *read_context(uint64_t cookie)
{
	return (void *)(uintptr_t)(cookie << 1 | 1);
}

int fabric_read(struct cor_rdma_qp *qp, const struct cor_rdma_memory *local, void *to,
		size_t len, const struct cor_rdma_remote *from, uint64_t cookie)
{
	struct fabric_qp *q = fabric_qp_of(qp);
	void *desc = fi_mr_desc((struct fid_mr *)local->handle);
	struct iovec iov = { to, len };
	struct fi_rma_iov rma = { .addr = from->addr, .len = len, .key = from->key };
	struct fi_msg_rma m = { .msg_iov = &iov, .desc = &desc, .iov_count = 1, .addr = q->peer,
				.rma_iov = &rma, .rma_iov_count = 1,
				.context = read_context(cookie) };

	return post(q, post_read, &m, FI_COMPLETION);
}

int fabric_write(struct cor_rdma_qp *qp, const struct cor_rdma_memory *local, const void *from,
		 size_t len, const struct cor_rdma_remote *to, const uint32_t *note)
{
	struct fabric_qp *q = fabric_qp_of(qp);
	void *desc = fi_mr_desc((struct fid_mr *)local->handle);
	struct iovec iov = { (void *)from, len };
	struct fi_rma_iov rma = { .addr = to->addr, .len = len, .key = to->key };
	struct fi_msg_rma m = { .msg_iov = &iov, .desc = &desc, .iov_count = 1, .addr = q->peer,
				.rma_iov = &rma, .rma_iov_count = 1, .data = note ? *note : 0 };

	bool noteless = note && fabric_of(qp->device)->noteless;
	int r;

	r = post(q, post_write, &m, note && !noteless ? FI_REMOTE_CQ_DATA : 0);
	if (r == 0 && noteless) {
		const struct rdma_message n = { .kind = RDMA_NOTE, .note = *note };

		/* there is no way back for the data */
		while ((r = post(q, post_message, &n, 0)) == -EAGAIN)
			;
	}
	return r;
}

int fabric_send(struct cor_rdma_qp *qp, const void *message, size_t len)
{
	struct fabric_qp *q = fabric_qp_of(qp);
	struct rdma_message m;

	rdma_message_make(&m, message, len);
	return post(q, post_message, &m, 0);
}

/* ---- completions ------------------------------------------------------------------ */

/* Has the connection ended? */
static int look_at_events(struct fabric_qp *q)
{
	struct fi_eq_cm_entry entry;
	uint32_t event;
	ssize_t n;

	if (!q->eq)
		return 0;
	n = fi_eq_read(q->eq, &event, &entry, sizeof(entry), 0);
	if (n >= 0 && event == FI_SHUTDOWN)
		return fabric_qp_lose(q, -ECONNRESET);
	if (n == -FI_EAVAIL) {
		struct fi_eq_err_entry e = { 0 };

		fi_eq_readerr(q->eq, &e, 0);
		return fabric_qp_lose(q, e.err ? -e.err : -EIO);
	}
	return 0;
}

static int completion_error(struct fabric_qp *q)
{
	struct fi_cq_err_entry e = { 0 };

	fi_cq_readerr(q->cq, &e, 0);
	/* what was under way when the connection ended is flushed as cancelled */
	if (e.err == FI_ECANCELED)
		look_at_events(q);
	return fabric_qp_lose(q, e.err == FI_ECANCELED ? -ECONNRESET : -e.err);
}

int fabric_qp_complete(struct fabric_qp *q, struct fi_cq_data_entry *entries, unsigned max)
{
	ssize_t n;

	if (q->lost)
		return q->lost;
	n = fi_cq_read(q->cq, entries, max);
	if (n > 0) {
		q->empty = q->idle = 0;
		return (int)n;
	}
	if (n == -FI_EAVAIL)
		return completion_error(q);
	if (n < 0 && n != -FI_EAGAIN)
		return fabric_qp_lose(q, (int)n);
	return ++q->empty % LOOK_EVERY == 0 ? look_at_events(q) : 0;
}

static int take_message(struct fabric_qp *q, const struct fi_cq_data_entry *e,
			struct cor_rdma_event *out)
{
	union fabric_slot *slot = e->op_context;
	int r = rdma_message_take(&slot->message, e->len, out);

	return r < 0 ? r : fabric_qp_repost(q, slot);
}

int fabric_poll(struct cor_rdma_qp *qp, struct cor_rdma_event *events, unsigned max)
{
	struct fabric_qp *q = fabric_qp_of(qp);
	const struct fabric *f = fabric_of(qp->device);
	struct fi_cq_data_entry e[BATCH];
	unsigned n = 0;
	int got = fabric_qp_complete(q, e, COR_MIN(max, BATCH)), r = 0;

	for (int i = 0; i < got && r == 0; i++) {
		struct cor_rdma_event *out = &events[n];

		if (e[i].flags & FI_REMOTE_WRITE) {
			out->kind = COR_RDMA_NOTE;
			out->note = (uint32_t)e[i].data;
			n++;
			if (f->info->mode & FI_RX_CQ_DATA)
				r = fabric_qp_repost(q, e[i].op_context);
		} else if (e[i].flags & FI_RECV) {
			r = take_message(q, &e[i], out);
			n++;
		} else if (e[i].flags & FI_READ) {
			out->kind = COR_RDMA_READ;
			out->cookie = (uintptr_t)e[i].op_context >> 1;
			n++;
		}
	}
	if (r < 0)
		return fabric_qp_lose(q, r);
	return got < 0 ? got : (int)n;
}

/* ---- waiting -------------------------------------------------------------------- */

int fabric_fd(struct cor_rdma_qp *qp)
{
	return fabric_qp_of(qp)->fd;
}

static int arm_timer(struct fabric_qp *q)
{
	unsigned step = COR_MIN(q->idle / 8, WAIT_STEPS);
	struct itimerspec t = { .it_value.tv_nsec = WAIT_NS << step };

	q->idle++;
	return timerfd_settime(q->fd, 0, &t, NULL) < 0 ? -errno : 0;
}

int fabric_arm(struct cor_rdma_qp *qp)
{
	struct fabric_qp *q = fabric_qp_of(qp);
	struct fid *fids[] = { &q->cq->fid, q->eq ? &q->eq->fid : NULL };

	if (q->lost)
		return -EAGAIN;
	if (q->timed)
		return arm_timer(q);
	if (!fabric_must_look(fabric_of(qp->device), fids, q->eq ? 2 : 1))
		return 0;
	look_at_events(q);
	return -EAGAIN;
}
