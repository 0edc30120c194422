/* The source's side of agreeing on a transport, and its lanes. */
#include "daemon/source/source.h"

#include <errno.h>
#include <string.h>

#include "daemon/control.h"
#include "daemon/record.h"
#include "libcor/base/cleanup.h"
#include "libcor/base/error.h"
#include "libcor/transport/stream_rdma.h"

void source_transport_set(struct source *s, const char *name)
{
	snprintf(s->transport, sizeof(s->transport), "%s", name);
	json_object_set_new(s->session.figures, "transport", json_string(name));
}

void source_offer_transports(struct source *s, struct source_offer *o, Cor__Control__Hello *h)
{
	for (unsigned i = 0; i < s->transports.n; i++)
		o->list[i] = s->transports.name[i];
	h->transports = o->list;
	h->n_transports = s->transports.n;
}

/* What the user named, and nothing else, is an order: that the other host does not know
 * it is for the user to hear before anything moves another way. */
static int check_order(struct source *s, const struct cor_transports *common,
		       struct cor_error *err)
{
	const char *asked = s->args->transport;

	if (!asked[0] || strchr(asked, '!') || common->n > 1 || s->transports.n == 1)
		return 0;
	if (s->transports.tcp_named)
		return 0;
	return cor_fail(err, -EPROTONOSUPPORT, "%s does not have the transport %s", s->args->dest,
			asked);
}

int source_agree_transports(struct source *s, const Cor__Control__Hello *reply,
			    struct cor_error *err)
{
	struct cor_transports common = { .tcp_named = s->transports.tcp_named };
	int r;

	for (unsigned i = 0; i < s->transports.n; i++) {
		bool both = strcmp(s->transports.name[i], "tcp") == 0;

		for (size_t k = 0; k < reply->n_transports && !both; k++)
			both = strcmp(reply->transports[k], s->transports.name[i]) == 0;
		if (both)
			strcpy(common.name[common.n++], s->transports.name[i]);
	}
	r = check_order(s, &common, err);
	if (r == 0)
		s->transports = common;
	return r;
}

/* ---- setting one up ---------------------------------------------------------------- */

struct invitation {
	struct cor_rdma_address address;
	uint8_t token[COR_RDMA_TOKEN];
};

static int take_invitation(const Cor__Control__Transport *t, struct invitation *out,
			   struct cor_error *err)
{
	if (t->refusal[0])
		return cor_fail(err, -ENODEV, "%s", t->refusal);
	if (t->address.len != sizeof(out->address) || t->token.len != sizeof(out->token))
		return cor_fail(err, -EPROTO, "the peer's invitation makes no sense");
	memcpy(&out->address, t->address.data, sizeof(out->address));
	memcpy(out->token, t->token.data, sizeof(out->token));
	return 0;
}

/* Asks the destination to listen. A broken control channel is *broken. */
static int ask_invitation(struct source *s, const char *name, bool one_sided,
			  struct invitation *out, bool *broken, struct cor_error *err)
{
	Cor__Control__Transport ask = COR__CONTROL__TRANSPORT__INIT, *answer;
	int r;

	ask.name = (char *)name;
	ask.one_sided = one_sided;
	r = control_send(s->control, CONTROL_TRANSPORT, &ask.base, err);
	if (r == 0)
		r = control_expect_message(s->control, CONTROL_TRANSPORT, ANSWER_TIMEOUT_MS,
					   &cor__control__transport__descriptor, &answer, err);
	*broken = r < 0;
	if (r < 0)
		return r;
	r = take_invitation(answer, out, err);
	cor__control__transport__free_unpacked(answer, NULL);
	return r;
}

/* The tracer, which has the control channel, for the serving part, which has the lanes. */
int source_answer_transport(struct source *s, const json_t *ask)
{
	char address[2 * sizeof(struct cor_rdma_address) + 1], token[2 * COR_RDMA_TOKEN + 1];
	const char *name = json_string_value(json_object_get(ask, "transport"));
	struct cor_error err = COR_ERROR_INIT;
	bool one_sided = json_is_true(json_object_get(ask, "one_sided")), broken = false;
	struct invitation in;
	int r = ask_invitation(s, name ?: "", one_sided, &in, &broken, &err);

	if (r < 0)
		return source_link_say(s->link, json_pack("{s:i, s:s, s:b}", "code", r, "error",
							  err.text, "broken", broken), NULL, 0);
	hex_encode(address, (const uint8_t *)&in.address, sizeof(in.address));
	hex_encode(token, in.token, sizeof(in.token));
	r = source_link_say(s->link, json_pack("{s:i, s:s, s:s}", "code", 0, "address", address,
					       "token", token), NULL, 0);
	explicit_bzero(&in, sizeof(in));
	explicit_bzero(token, sizeof(token));
	return r;
}

/* The serving part's way to it. */
static int get_invitation(struct source *s, const char *name, bool one_sided,
			  struct invitation *out, bool *broken, struct cor_error *err)
{
	json_auto_t *m = NULL;
	const char *address, *token, *why;
	int r = source_link_say(s->link, json_pack("{s:s, s:b}", "transport", name, "one_sided",
						   one_sided), NULL, 0);

	if (r == 0)
		r = source_link_hear(s->link, &m, NULL, NULL);
	*broken = r < 0 || json_is_true(json_object_get(m, "broken"));
	if (r < 0)
		return cor_fail_code(err, r, "the tracer");
	r = (int)json_integer_value(json_object_get(m, "code"));
	why = json_string_value(json_object_get(m, "error"));
	if (r < 0)
		return cor_fail(err, r, "%s", why ?: "the peer refuses");
	address = json_string_value(json_object_get(m, "address"));
	token = json_string_value(json_object_get(m, "token"));
	if (!address || !token ||
	    hex_decode((uint8_t *)&out->address, address, sizeof(out->address)) < 0 ||
	    hex_decode(out->token, token, sizeof(out->token)) < 0)
		return cor_fail(err, -EPROTO, "the tracer's invitation makes no sense");
	return 0;
}

static int connect_qp(struct source *s, struct cor_rdma *device, const struct invitation *in,
		      enum transport_purpose purpose, struct cor_rdma_qp **qp,
		      struct cor_error *err)
{
	struct cor_rdma_greeting g = { .purpose = purpose };
	int r;

	memcpy(g.token, in->token, sizeof(g.token));
	r = device->ops->connect(device, &g, (unsigned)CONNECT_TIMEOUT_MS, qp, err);
	explicit_bzero(&g, sizeof(g));
	return r;
}

static int connect_staged(struct source *s, struct cor_rdma *device,
			  const struct invitation *in, enum transport_purpose purpose,
			  struct cor_stream **out, struct cor_error *err)
{
	struct cor_rdma_qp *qp;
	int r = connect_qp(s, device, in, purpose, &qp, err);

	if (r < 0)
		return r;
	return cor_stream_rdma(out, qp, COR_RDMA_ROOM_REQUESTS, (unsigned)CONNECT_TIMEOUT_MS,
			       err);
}

static int set_up(struct source *s, const char *name, bool *broken, struct cor_error *err)
{
	_cleanup_stream_ struct cor_stream *demand = NULL, *bulk = NULL;
	const struct cor_rdma_ops *ops;
	struct cor_rdma *device;
	const char *provider;
	struct invitation in;
	int r;

	ops = cor_rdma_find(name, &provider);
	if (!ops)
		return cor_fail(err, -ENOTSUP, "cor was built without it");
	r = get_invitation(s, name, false, &in, broken, err);
	if (r == 0)
		r = ops->open(provider, &in.address, &device, err);
	if (r < 0)
		return r;
	r = connect_staged(s, device, &in, TRANSPORT_DEMAND, &demand, err);
	if (r == 0)
		r = connect_staged(s, device, &in, TRANSPORT_BULK, &bulk, err);
	explicit_bzero(&in, sizeof(in));
	cor_rdma_unref(device);         /* the lanes have theirs */
	if (r < 0)
		return r;
	s->fast_demand = take_ptr(demand);
	s->fast_bulk = take_ptr(bulk);
	return 0;
}

static int set_up_reach(struct source *s, bool *broken, struct cor_error *err)
{
	const struct cor_rdma_ops *ops;
	struct cor_rdma *device;
	struct cor_rdma_qp *qp;
	const char *provider;
	struct invitation in;
	int r;

	ops = cor_rdma_find("verbs", &provider);
	r = get_invitation(s, "verbs", true, &in, broken, err);
	if (r == 0)
		r = ops->open(provider, &in.address, &device, err);
	if (r < 0)
		return r;
	r = connect_qp(s, device, &in, TRANSPORT_REACH, &qp, err);
	explicit_bzero(&in, sizeof(in));
	if (r == 0)
		r = source_reach_begin(s, device, qp, err);
	cor_rdma_unref(device);         /* the owner has its own */
	return r;
}

/* Besides; without it a fault is answered by the page server. */
static int connect_reach(struct source *s, const char *transport, struct cor_error *err)
{
	struct cor_error why = COR_ERROR_INIT;
	bool broken = false;
	int r = source_reach_wanted(s, transport) ? set_up_reach(s, &broken, &why) : -ENOENT;

	if (broken) {
		*err = why;
		return r;
	}
	if (r < 0 && why.text[0])
		session_warn(&s->session, "one-sided demand cannot be set up: %s", why.text);
	json_object_set_new(s->session.figures, "one_sided", json_boolean(r == 0));
	return 0;
}

int source_connect_transport(struct source *s, struct cor_error *err)
{
	for (unsigned i = 0; i < s->transports.n; i++) {
		const char *name = s->transports.name[i];
		struct cor_error why = COR_ERROR_INIT;
		bool broken = false;
		int r;

		if (strcmp(name, "tcp") == 0)
			break;
		r = set_up(s, name, &broken, &why);
		if (r == 0) {
			source_transport_set(s, name);
			return connect_reach(s, name, err);
		}
		if (broken) {
			*err = why;
			return r;
		}
		session_warn(&s->session, "the transport %s cannot be set up: %s", name, why.text);
	}
	source_transport_set(s, "tcp");
	return 0;
}
