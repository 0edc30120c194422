/* The destination's side of agreeing on a transport: it listens, and takes the lanes. */
#include "daemon/destination/destination.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "daemon/control.h"
#include "daemon/session/transport.h"
#include "libcor/base/cleanup.h"
#include "libcor/base/error.h"
#include "libcor/paging/reach.h"
#include "libcor/transport/stream_rdma.h"

/* ---- HELLO ---------------------------------------------------------------------- */

static bool permitted(const struct destination *d, const char *name)
{
	const struct cord_config *c = d->args->config;

	return session_fabrics(c) &&
	       (!c->paging.transports_only || cor_transports_have(&c->paging.transports, name));
}

void destination_offer_transports(struct destination *d, const Cor__Control__Hello *ask,
				  struct destination_offer *o, Cor__Control__Hello *reply)
{
	size_t n = COR_MIN(ask->n_transports, ARRAY_SIZE(o->list));

	reply->n_transports = 0;
	reply->transports = o->list;
	for (size_t i = 0; i < n; i++)
		if (cor_transport_is_known(ask->transports[i]) &&
		    permitted(d, ask->transports[i]) &&
		    cor_transport_plausible(ask->transports[i]))
			reply->transports[reply->n_transports++] = ask->transports[i];
}

/* ---- listening -------------------------------------------------------------------- */

/* This host's address as the source reached it. */
static int own_address(const struct destination *d, char *text, size_t size,
		       struct cor_error *err)
{
	union {
		struct sockaddr sa;
		struct sockaddr_in in;
		struct sockaddr_in6 in6;
	} a = { 0 };
	socklen_t len = sizeof(a);
	bool done = false;

	if (getsockname(d->control->in_fd, &a.sa, &len) < 0)
		return cor_fail_errno(err, "the control connection's address");
	if (a.sa.sa_family == AF_INET)
		done = inet_ntop(AF_INET, &a.in.sin_addr, text, (socklen_t)size);
	else if (a.sa.sa_family == AF_INET6 && IN6_IS_ADDR_V4MAPPED(&a.in6.sin6_addr))
		done = inet_ntop(AF_INET, &a.in6.sin6_addr.s6_addr[12], text, (socklen_t)size);
	else if (a.sa.sa_family == AF_INET6)
		done = inet_ntop(AF_INET6, &a.in6.sin6_addr, text, (socklen_t)size);
	return done ? 0 : cor_fail(err, -EAFNOSUPPORT, "the control connection has no IP address");
}

static int listen_on(struct destination *d, const char *name, struct destination_rdma *on,
		     struct cor_rdma_address *address, struct cor_error *err)
{
	const struct cor_rdma_ops *ops;
	char host[INET6_ADDRSTRLEN];
	const char *provider;
	int r;

	cor_rdma_unref(on->device);     /* of an attempt before */
	on->device = NULL;
	ops = cor_rdma_find(name, &provider);
	if (!ops)
		return cor_fail(err, -ENOTSUP, "the transport %s is not offered", name);
	r = cor_secret_make(on->token, sizeof(on->token), err);
	if (r == 0)
		r = own_address(d, host, sizeof(host), err);
	if (r == 0)
		r = ops->listen(provider, host, &on->device, address, err);
	return r;
}

/* One-sided demand has come to terms as a mechanism; its adapter is that of the lanes, by
 * whichever library they use it. */
static bool may(const struct destination *d, const char *name, bool one_sided)
{
	if (!one_sided)
		return permitted(d, name);
	return strcmp(name, "verbs") == 0 && session_fabrics(d->args->config) &&
	       cor_mechanism_on(&d->mechanisms, COR_MECHANISM_ONE_SIDED);
}

int destination_hear_transport(struct destination *d, const struct control_message *m,
			       struct cor_error *err)
{
	Cor__Control__Transport answer = COR__CONTROL__TRANSPORT__INIT, *ask;
	struct cor_rdma_address address = { 0 };
	struct cor_error why = COR_ERROR_INIT;
	struct destination_rdma *on;
	char name[COR_TRANSPORT_TEXT];
	bool one_sided;

	ask = control_unpack(m, &cor__control__transport__descriptor, err);
	if (!ask)
		return -EPROTO;
	snprintf(name, sizeof(name), "%s", ask->name);
	one_sided = ask->one_sided;
	cor__control__transport__free_unpacked(ask, NULL);
	on = one_sided ? &d->reach : &d->rdma;
	answer.name = name;
	if (!may(d, name, one_sided)) {
		answer.refusal = (char *)"it is not offered";
	} else if (listen_on(d, name, on, &address, &why) < 0) {
		answer.refusal = why.text[0] ? why.text : (char *)"it cannot be had";
	} else {
		if (!one_sided)
			json_object_set_new(d->session.figures, "transport", json_string(name));
		answer.address = (ProtobufCBinaryData){ sizeof(address), (uint8_t *)&address };
		answer.token = (ProtobufCBinaryData){ sizeof(on->token), on->token };
	}
	return control_send(d->control, CONTROL_TRANSPORT, &answer.base, err);
}

/* ---- lanes ------------------------------------------------------------------------ */

static bool admit(void *arg, const struct cor_rdma_greeting *g)
{
	const struct destination_rdma *on = arg;

	return cor_secret_equal(g->token, on->token, sizeof(on->token));
}

static void take_reach(struct destination *d, struct cor_rdma_qp *qp)
{
	struct cor_stream *s;

	if (cor_stream_reach(&s, qp, d->args->config->timeouts.connect_s * 1000, NULL) < 0)
		return;         /* faults have other ways */
	if (d->paging) {
		cor_stream_close(s);
		return;
	}
	cor_stream_close(d->one_sided);
	d->one_sided = s;
	json_object_set_new(d->session.figures, "one_sided", json_true());
}

static void take_staged(struct destination *d, struct cor_rdma_qp *qp, bool bulk)
{
	struct cor_stream *s, **slot = bulk ? &d->fast_bulk : &d->fast_demand;

	if (cor_stream_rdma(&s, qp, bulk ? COR_RDMA_ROOM_BULK : COR_RDMA_ROOM_DEMAND,
			    d->args->config->timeouts.connect_s * 1000, NULL) < 0)
		return;         /* the source has noticed as well */
	if (d->paging) {
		cor_stream_close(s);
		return;
	}
	cor_stream_close(*slot);
	*slot = s;
}

int destination_rdma_fd(const struct destination_rdma *on)
{
	return on->device ? on->device->ops->listen_fd(on->device) : -1;
}

void destination_accept_rdma(struct destination *d, struct destination_rdma *on)
{
	struct cor_rdma_greeting g;
	struct cor_rdma_qp *qp;

	while (on->device && on->device->ops->accept(on->device, admit, on, &qp, &g) == 0) {
		if (on == &d->reach && g.purpose == TRANSPORT_REACH)
			take_reach(d, qp);
		else if (on == &d->rdma && (g.purpose == TRANSPORT_DEMAND || g.purpose == TRANSPORT_BULK))
			take_staged(d, qp, g.purpose == TRANSPORT_BULK);
		else
			qp->ops->disconnect(qp);
	}
}
