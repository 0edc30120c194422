/* libfabric: connections as the provider makes them (FI_EP_MSG). */
#include "libcor/transport/fabric_base.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/epoll.h>

#include "libcor/base/cleanup.h"
#include "libcor/base/error.h"
#include "libcor/base/io.h"

/* An entry of an event queue and what the peer has sent along. */
union entry {
	struct fi_eq_cm_entry cm;
	uint8_t room[sizeof(struct fi_eq_cm_entry) + 256];
};

int fabric_msg_listen(struct fabric *f, struct cor_rdma_address *address, struct cor_error *err)
{
	struct fi_eq_attr attr = { .wait_obj = FI_WAIT_FD };
	int r = fi_eq_open(f->fabric, &attr, &f->eq, NULL);

	if (r == 0)
		r = fi_passive_ep(f->fabric, f->info, &f->pep, NULL);
	if (r == 0)
		r = fi_pep_bind(f->pep, &f->eq->fid, 0);
	if (r == 0)
		r = fi_listen(f->pep);
	if (r == 0)
		r = fabric_name(f, &f->pep->fid, address);
	if (r == 0)
		r = fabric_watch(f->epoll, &f->eq->fid);
	return r < 0 ? fabric_fail(f, err, r, "") : 0;
}

/* A connection request. Whoever is not admitted, or cannot be served, is refused. */
static void take_request(struct fabric *f, const union entry *e, size_t len,
			 bool (*admit)(void *, const struct cor_rdma_greeting *), void *arg)
{
	struct cor_rdma_greeting g;
	struct epoll_event watch = { .events = EPOLLIN };
	struct fabric_qp *q = NULL;
	int r = -ECONNREFUSED;

	if (len >= offsetof(struct fi_eq_cm_entry, data) + sizeof(g)) {
		memcpy(&g, e->cm.data, sizeof(g));
		if (admit(arg, &g))
			r = fabric_qp_new(f, e->cm.info, &q, NULL);
	}
	if (r == 0 && epoll_ctl(f->epoll, EPOLL_CTL_ADD, q->fd, &watch) < 0)
		r = -errno;
	if (r == 0)
		r = fi_accept(q->ep, NULL, 0);
	if (r < 0) {
		fi_reject(f->pep, e->cm.info->handle, NULL, 0);
		if (q)
			fabric_qp_free(q);
	} else {
		q->greeting = g;
		TAILQ_INSERT_TAIL(&f->coming, q, link);
	}
	f->lib.freeinfo(e->cm.info);
}

/* 1: connected, 0: not yet, -errno: it failed. */
static int look_at(struct fabric_qp *q)
{
	union entry e;
	uint32_t event;
	ssize_t n = fi_eq_read(q->eq, &event, &e, sizeof(e), 0);

	if (n == -FI_EAGAIN)
		return 0;
	if (n == -FI_EAVAIL) {
		struct fi_eq_err_entry failed = { 0 };

		fi_eq_readerr(q->eq, &failed, 0);
		return failed.err ? -failed.err : -ECONNREFUSED;
	}
	if (n < 0)
		return (int)n;
	return event == FI_CONNECTED ? 1 : -ECONNREFUSED;
}

static void leave(struct fabric *f, struct fabric_qp *q)
{
	TAILQ_REMOVE(&f->coming, q, link);
	epoll_ctl(f->epoll, EPOLL_CTL_DEL, q->fd, NULL);
}

static struct fabric_qp *next_connected(struct fabric *f)
{
	struct fabric_qp *q, *next;

	for (q = TAILQ_FIRST(&f->coming); q; q = next) {
		int r = look_at(q);

		next = TAILQ_NEXT(q, link);
		if (r == 0)
			continue;
		leave(f, q);
		if (r > 0)
			return q;
		fabric_qp_free(q);
	}
	return NULL;
}

/* Is there something that the descriptor will not tell? */
static bool must_look(struct fabric *f)
{
	struct fid *fid = &f->eq->fid;
	struct fabric_qp *q;

	if (fabric_must_look(f, &fid, 1))
		return true;
	TAILQ_FOREACH(q, &f->coming, link) {
		fid = &q->eq->fid;
		if (fabric_must_look(f, &fid, 1))
			return true;
	}
	return false;
}

int fabric_msg_accept(struct fabric *f, bool (*admit)(void *, const struct cor_rdma_greeting *),
		      void *arg, struct fabric_qp **out)
{
	do {
		union entry e;
		uint32_t event;
		ssize_t n = fi_eq_read(f->eq, &event, &e, sizeof(e), 0);

		if (n == -FI_EAVAIL) {
			struct fi_eq_err_entry failed = { 0 };

			fi_eq_readerr(f->eq, &failed, 0);
		} else if (n > 0 && event == FI_CONNREQ) {
			take_request(f, &e, (size_t)n, admit, arg);
		}
		*out = next_connected(f);
		if (*out)
			return 0;
	} while (must_look(f));
	return -EAGAIN;
}

static void wait_event(struct fabric *f, struct fabric_qp *q, int ms)
{
	struct pollfd p = { .fd = q->fd, .events = POLLIN };
	struct fid *fid = &q->eq->fid;

	if (!fabric_must_look(f, &fid, 1))
		poll(&p, 1, ms);
}

int fabric_msg_connect(struct fabric *f, const struct cor_rdma_greeting *g, unsigned timeout_ms,
		       struct fabric_qp **out, struct cor_error *err)
{
	uint64_t until = cor_now_ns() + timeout_ms * UINT64_C(1000000);
	struct fabric_qp *q;
	int r = fabric_qp_new(f, f->info, &q, err);

	if (r < 0)
		return r;
	r = fi_connect(q->ep, f->info->dest_addr, g, sizeof(*g));
	while (r == 0 && (r = look_at(q)) == 0) {
		if (cor_now_ns() >= until) {
			r = -ETIMEDOUT;
			break;
		}
		wait_event(f, q, 10);
	}
	if (r < 0) {
		fabric_qp_free(q);
		return fabric_fail(f, err, r, r == -ECONNREFUSED ? "the peer refuses" : "");
	}
	*out = q;
	return 0;
}
