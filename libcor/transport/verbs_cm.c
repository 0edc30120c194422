/* libibverbs: connections by the RDMA connection manager (rdma_cm(7)). */
#include "libcor/transport/verbs_base.h"

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "libcor/base/cleanup.h"
#include "libcor/base/error.h"
#include "libcor/base/io.h"

/* A lost packet is sent again so often before the connection is given up. */
#define RETRIES 7

/* ---- the listening side ------------------------------------------------------------ */

static int parse_host(const char *host, struct sockaddr_storage *out)
{
	struct sockaddr_in *in = (struct sockaddr_in *)out;
	struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)out;

	memset(out, 0, sizeof(*out));
	if (inet_pton(AF_INET, host, &in->sin_addr) == 1)
		out->ss_family = AF_INET;
	else if (inet_pton(AF_INET6, host, &in6->sin6_addr) == 1)
		out->ss_family = AF_INET6;
	else
		return -EINVAL;
	return 0;
}

int verbs_cm_bind(struct verbs *v, const char *host, struct cor_error *err)
{
	struct sockaddr_storage a;

	if (parse_host(host, &a) < 0)
		return cor_fail(err, -EINVAL, "\"%s\" is no numeric address", host);
	if (v->lib.rdma_create_id(v->events, &v->id, NULL, RDMA_PS_TCP) < 0)
		return cor_fail_errno(err, "the RDMA connection manager");
	if (v->lib.rdma_bind_addr(v->id, (struct sockaddr *)&a) < 0)
		return cor_fail_errno(err, "no RDMA adapter has the address %s", host);
	return 0;
}

int verbs_cm_listen(struct verbs *v, struct cor_rdma_address *address, struct cor_error *err)
{
	const struct sockaddr_storage *a = &v->id->route.addr.src_storage;

	if (v->lib.rdma_listen(v->id, 8) < 0)
		return cor_fail_errno(err, "listening for RDMA connections");
	if (verbs_nonblocking(v->events->fd) < 0)
		return cor_fail_errno(err, "the RDMA connection manager's events");
	memset(address, 0, sizeof(*address));
	address->len = a->ss_family == AF_INET ? sizeof(struct sockaddr_in) :
						 sizeof(struct sockaddr_in6);
	memcpy(address->bytes, a, address->len);
	return 0;
}

int verbs_listen_fd(struct cor_rdma *r)
{
	return verbs_of(r)->events->fd;
}

/* RDMA READs are limited to what both adapters can have under way. */
static struct rdma_conn_param parameters(const struct verbs *v)
{
	return (struct rdma_conn_param){
		.responder_resources = (uint8_t)v->reads, .initiator_depth = (uint8_t)v->reads,
		.retry_count = RETRIES, .rnr_retry_count = RETRIES,
	};
}

/* A connection request. Whoever is not admitted, or cannot be served, is refused. */
static void take_request(struct verbs *v, const struct rdma_cm_event *e,
			 bool (*admit)(void *, const struct cor_rdma_greeting *), void *arg)
{
	struct rdma_conn_param param = parameters(v);
	struct cor_rdma_greeting g;
	struct verbs_qp *q;

	memset(&g, 0, sizeof(g));
	if (e->param.conn.private_data_len >= sizeof(g) && e->param.conn.private_data)
		memcpy(&g, e->param.conn.private_data, sizeof(g));
	if (!admit(arg, &g)) {
		v->lib.rdma_reject(e->id, NULL, 0);
		v->lib.rdma_destroy_id(e->id);
		return;
	}
	param.responder_resources = (uint8_t)COR_MIN(v->reads, e->param.conn.initiator_depth);
	param.initiator_depth = (uint8_t)COR_MIN(v->reads, e->param.conn.responder_resources);
	/* the peer's request ends with the identifier */
	if (verbs_qp_new(v, e->id, &q, NULL) < 0)
		return;
	q->greeting = g;
	if (v->lib.rdma_accept(q->id, &param) < 0)
		verbs_qp_free(q);
	else
		TAILQ_INSERT_TAIL(&v->coming, q, link);
}

static struct verbs_qp *coming(struct verbs *v, const struct rdma_cm_id *id)
{
	struct verbs_qp *q;

	TAILQ_FOREACH(q, &v->coming, link)
		if (q->id == id)
			return q;
	return NULL;
}

/* The event queue of the listener tells of those that are still coming, too. A queue
 * pair that is there gets a queue of its own. */
static struct verbs_qp *take_event(struct verbs *v, const struct rdma_cm_event *e,
				   bool (*admit)(void *, const struct cor_rdma_greeting *),
				   void *arg, bool *failed)
{
	struct verbs_qp *q = coming(v, e->id);

	*failed = false;
	if (e->event == RDMA_CM_EVENT_CONNECT_REQUEST)
		take_request(v, e, admit, arg);
	if (!q)
		return NULL;
	TAILQ_REMOVE(&v->coming, q, link);
	*failed = e->event != RDMA_CM_EVENT_ESTABLISHED;
	return q;
}

int verbs_accept(struct cor_rdma *r, bool (*admit)(void *, const struct cor_rdma_greeting *),
		 void *arg, struct cor_rdma_qp **qp, struct cor_rdma_greeting *greeting)
{
	struct verbs *v = verbs_of(r);
	struct rdma_cm_event *e;

	while (v->lib.rdma_get_cm_event(v->events, &e) == 0) {
		bool failed;
		struct verbs_qp *q = take_event(v, e, admit, arg, &failed);

		v->lib.rdma_ack_cm_event(e);
		if (!q)
			continue;
		if (failed || verbs_qp_watch(q, v->lib.rdma_create_event_channel()) < 0) {
			verbs_qp_free(q);
			continue;
		}
		q->base.accepted = true;
		*greeting = q->greeting;
		*qp = &q->base;
		return 0;
	}
	return -EAGAIN;
}

void verbs_cm_close(struct verbs *v)
{
	struct verbs_qp *q;

	while ((q = TAILQ_FIRST(&v->coming))) {
		TAILQ_REMOVE(&v->coming, q, link);
		verbs_qp_free(q);
	}
	if (v->id)
		v->lib.rdma_destroy_id(v->id);
	if (v->events)
		v->lib.rdma_destroy_event_channel(v->events);
}

/* ---- the connecting side ----------------------------------------------------------- */

/* The next event of a channel that one identifier has for itself; -errno where it is
 * not the one that is due. */
static int expect(struct verbs *v, struct rdma_event_channel *events,
		  enum rdma_cm_event_type type, uint64_t until)
{
	struct pollfd p = { .fd = events->fd, .events = POLLIN };
	struct rdma_cm_event *e;
	uint64_t now = cor_now_ns();
	int n = poll(&p, 1, now < until ? (int)((until - now) / 1000000 + 1) : 0), r = 0;

	if (n <= 0)
		return n < 0 ? -errno : -ETIMEDOUT;
	if (v->lib.rdma_get_cm_event(events, &e) < 0)
		return -errno;
	if (e->event == RDMA_CM_EVENT_REJECTED)
		r = -ECONNREFUSED;
	else if (e->event != type)
		r = e->status < 0 ? e->status : -ECONNREFUSED;
	v->lib.rdma_ack_cm_event(e);
	return r;
}

static int resolve(struct verbs *v, struct rdma_event_channel *events, struct rdma_cm_id **out,
		   uint64_t until)
{
	struct rdma_cm_id *id;
	int r;

	if (v->lib.rdma_create_id(events, &id, NULL, RDMA_PS_TCP) < 0)
		return -errno;
	r = v->lib.rdma_resolve_addr(id, NULL, (struct sockaddr *)&v->peer,
				     (int)((until - cor_now_ns()) / 1000000)) < 0 ? -errno : 0;
	if (r == 0)
		r = expect(v, events, RDMA_CM_EVENT_ADDR_RESOLVED, until);
	if (r < 0) {
		v->lib.rdma_destroy_id(id);
		return r;
	}
	*out = id;
	return 0;
}

int verbs_cm_resolve(struct verbs *v, unsigned timeout_ms, struct cor_error *err)
{
	int r = resolve(v, v->events, &v->id, cor_now_ns() + timeout_ms * UINT64_C(1000000));

	return r < 0 ? cor_fail_code(err, r, "no RDMA adapter leads to the peer") : 0;
}

/* Each queue pair has a channel of its own from the beginning. */
static int connect_id(struct verbs *v, struct rdma_event_channel *events,
		      const struct cor_rdma_greeting *g, uint64_t until, struct verbs_qp **out,
		      struct cor_error *err)
{
	struct rdma_conn_param param = parameters(v);
	struct rdma_cm_id *id;
	struct verbs_qp *q;
	int r = resolve(v, events, &id, until);

	if (r < 0)
		return cor_fail_code(err, r, "no RDMA adapter leads to the peer");
	if (id->verbs != v->context) {
		v->lib.rdma_destroy_id(id);
		return cor_fail(err, -EXDEV, "another RDMA adapter leads to the peer now");
	}
	r = v->lib.rdma_resolve_route(id, (int)((until - cor_now_ns()) / 1000000)) < 0 ? -errno :
	    expect(v, events, RDMA_CM_EVENT_ROUTE_RESOLVED, until);
	if (r < 0) {
		v->lib.rdma_destroy_id(id);
		return cor_fail_code(err, r, "no route to the peer's RDMA adapter");
	}
	r = verbs_qp_new(v, id, &q, err);
	if (r < 0)
		return r;
	param.private_data = g;
	param.private_data_len = sizeof(*g);
	r = v->lib.rdma_connect(id, &param) < 0 ? -errno :
	    expect(v, events, RDMA_CM_EVENT_ESTABLISHED, until);
	if (r < 0) {
		verbs_qp_free(q);
		return cor_fail_code(err, r, "connecting to the peer's RDMA adapter");
	}
	*out = q;
	return 0;
}

int verbs_connect(struct cor_rdma *r, const struct cor_rdma_greeting *g, unsigned timeout_ms,
		  struct cor_rdma_qp **qp, struct cor_error *err)
{
	struct verbs *v = verbs_of(r);
	struct rdma_event_channel *events = v->lib.rdma_create_event_channel();
	struct verbs_qp *q = NULL;
	int result;

	if (!events)
		return cor_fail_errno(err, "the RDMA connection manager");
	result = connect_id(v, events, g, cor_now_ns() + timeout_ms * UINT64_C(1000000), &q, err);
	if (result < 0) {
		v->lib.rdma_destroy_event_channel(events);
		return result;
	}
	result = verbs_qp_watch(q, events);
	if (result < 0) {
		verbs_qp_free(q);
		return cor_fail_code(err, result, "the RDMA connection manager's events");
	}
	*qp = &q->base;
	return 0;
}
