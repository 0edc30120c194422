/* libfabric: connections where the provider makes none (FI_EP_RDM). Whoever listens
 * has an endpoint, the front, whose name is its address. A peer makes its endpoint and
 * hails the front with a greeting and its own name; if it is admitted, an endpoint
 * made for it answers with its name. */
#include "libcor/transport/fabric_base.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/epoll.h>

#include "libcor/base/cleanup.h"
#include "libcor/base/error.h"
#include "libcor/base/io.h"

/* How long a peer that hails us may take to be reached: accept() waits for that. */
#define ANSWER_MS 2000u

/* What a hail begins with; the peer may be no cor at all. */
static const uint8_t hail_magic[7] = { 'c', 'o', 'r', 'h', 'a', 'i', 'l' };

int fabric_rdm_listen(struct fabric *f, struct cor_rdma_address *address, struct cor_error *err)
{
	struct epoll_event watch = { .events = EPOLLIN };
	int r = fabric_qp_new(f, f->info, &f->front, err);

	if (r < 0)
		return r;
	if (epoll_ctl(f->epoll, EPOLL_CTL_ADD, f->front->fd, &watch) < 0)
		return cor_fail_errno(err, "epoll_ctl");
	r = fabric_name(f, &f->front->ep->fid, address);
	if (r < 0)
		return fabric_fail(f, err, r, "");
	/* what is waited for is told only once it has been asked for */
	fabric_arm(&f->front->base);
	return 0;
}

static void pause_for(struct fabric_qp *q)
{
	struct pollfd p = { .fd = q->fd, .events = POLLIN };

	if (fabric_arm(&q->base) == 0)
		poll(&p, 1, 10);
}

/* Hails whom from q with its name. The hail leaves from q's spare slot, which nothing
 * else uses, so nobody has to wait until it has gone. */
static int send_hail(struct fabric_qp *q, const struct cor_rdma_greeting *g, fi_addr_t whom,
		     uint64_t until)
{
	void *desc = fi_mr_desc((struct fid_mr *)q->slots.handle);
	struct fabric_hail *hail = &q->spare->hail;
	int r;

	hail->greeting = *g;
	memcpy(hail->greeting.reserved, hail_magic, sizeof(hail_magic));
	r = fabric_name(fabric_of(q->base.device), &q->ep->fid, &hail->from);
	if (r < 0)
		return r;
	while ((r = (int)fi_send(q->ep, hail, sizeof(*hail), desc, whom, NULL)) == -FI_EAGAIN) {
		/* the peer is being reached; to read no completions is to get on with it */
		fi_cq_read(q->cq, NULL, 0);
		if (cor_now_ns() > until)
			return -ETIMEDOUT;
		pause_for(q);
	}
	return r;
}

/* The first message that comes to q; later ones stay where they are. */
static int await_answer(struct fabric_qp *q, union fabric_slot **answer, uint64_t until)
{
	for (;;) {
		struct fi_cq_data_entry e;
		int n = fabric_qp_complete(q, &e, 1);

		if (n < 0)
			return n;
		if (n > 0 && e.flags & FI_RECV) {
			*answer = e.op_context;
			return e.len == sizeof((*answer)->hail) ? 0 : -EPROTO;
		}
		if (cor_now_ns() > until)
			return -ETIMEDOUT;
		if (n == 0)
			pause_for(q);
	}
}

int fabric_rdm_insert(struct fabric *f, const struct cor_rdma_address *a, fi_addr_t *out)
{
	const struct fabric_name *name;
	size_t len;

	if (fabric_name_check(a, &name, &len) < 0)
		return -EPROTO;
	if (name->format == FI_ADDR_STR && fabric_shm_out_of_reach((const char *)name->bytes))
		return -EHOSTUNREACH;
	return fi_av_insert(f->av, name->bytes, 1, out, 0, NULL) == 1 ? 0 : -EPROTO;
}

static bool is_hail(const struct fi_cq_data_entry *e, const union fabric_slot *slot)
{
	return e->flags & FI_RECV && e->len == sizeof(slot->hail) &&
	       memcmp(slot->hail.greeting.reserved, hail_magic, sizeof(hail_magic)) == 0;
}

static uint64_t deadline(unsigned ms)
{
	return cor_now_ns() + ms * UINT64_C(1000000);
}

static int answer_hail(struct fabric *f, const struct fabric_hail *hail, struct fabric_qp **out)
{
	struct fabric_qp *q;
	int r = fabric_qp_new(f, f->info, &q, NULL);

	if (r < 0)
		return r;
	r = fabric_rdm_insert(f, &hail->from, &q->peer);
	if (r == 0)
		r = send_hail(q, &hail->greeting, q->peer, deadline(ANSWER_MS));
	if (r < 0) {
		fabric_qp_free(q);
		return r;
	}
	q->greeting = hail->greeting;
	memset(q->greeting.reserved, 0, sizeof(q->greeting.reserved));
	*out = q;
	return 0;
}

int fabric_rdm_accept(struct fabric *f, bool (*admit)(void *, const struct cor_rdma_greeting *),
		      void *arg, struct fabric_qp **out)
{
	for (;;) {
		struct fi_cq_data_entry e;
		union fabric_slot *slot;
		struct fabric_hail hail;
		bool welcome;
		int n = fabric_qp_complete(f->front, &e, 1);

		if (n <= 0 && fabric_arm(&f->front->base) == 0)
			return -EAGAIN;
		if (n < 0)
			return -EAGAIN;         /* the front is lost: nobody comes any more */
		if (n == 0 || !(e.flags & FI_RECV))
			continue;
		slot = e.op_context;
		hail = slot->hail;
		welcome = is_hail(&e, slot);
		fabric_qp_repost(f->front, slot);
		if (welcome && admit(arg, &hail.greeting) && answer_hail(f, &hail, out) == 0)
			return 0;
	}
}

int fabric_rdm_connect(struct fabric *f, const struct cor_rdma_greeting *g, unsigned timeout_ms,
		       struct fabric_qp **out, struct cor_error *err)
{
	uint64_t until = deadline(timeout_ms);
	union fabric_slot *answer = NULL;
	struct fabric_qp *q;
	int r = fabric_qp_new(f, f->info, &q, err);

	if (r < 0)
		return r;
	r = send_hail(q, g, f->listener, until);
	if (r == 0)
		r = await_answer(q, &answer, until);
	if (r == 0 && memcmp(answer->hail.greeting.reserved, hail_magic, sizeof(hail_magic)) != 0)
		r = -EPROTO;
	if (r == 0)
		r = fabric_rdm_insert(f, &answer->hail.from, &q->peer);
	if (r == 0)
		r = fabric_qp_repost(q, answer);
	if (r < 0) {
		fabric_qp_free(q);
		return fabric_fail(f, err, r, r == -ETIMEDOUT ? "the peer does not answer" : "");
	}
	*out = q;
	return 0;
}
