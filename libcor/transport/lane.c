/* Connecting and accepting; see lane.h. */
#include <config.h>

#include "libcor/transport/lane.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "libcor/base/cleanup.h"
#include "libcor/base/error.h"
#include "libcor/base/io.h"
#include "libcor/transport/stream_fault.h"
#include "libcor/transport/tcp.h"
#include "libcor/transport/transport.h"

static void tls_freep(struct cor_tls **t)
{
	cor_tls_free(*t);
}

/* Tests say what shall go wrong. On failure *s has been closed. */
static int spoil(struct cor_stream **s, const char *variable, enum cor_connection_kind kind,
		 struct cor_error *err)
{
#ifdef COR_FAULT_POINTS
	return cor_fault_apply(s, getenv(variable), kind, err);
#else
	return 0;
#endif
}

/* What carries bytes, whatever they are. */
static int wire(struct cor_stream **out, int sock, enum cor_connection_kind kind,
		struct cor_error *err)
{
	struct cor_stream *s;
	int r;

	cor_transport_tcp.tune(sock, kind);
	r = cor_stream_tcp(&s, sock, err);
	if (r == 0)
		r = spoil(&s, "COR_WIRE_FAULT", kind, err);
	if (r == 0)
		*out = s;
	return r;
}

int cor_lane_accept(struct cor_stream **out, int sock, enum cor_connection_kind kind,
		    struct cor_error *err)
{
	struct cor_stream *s;
	int r = wire(&s, sock, kind, err);

	if (r == 0)
		r = spoil(&s, "COR_STREAM_FAULT", kind, err);
	if (r == 0)
		*out = s;
	return r;
}

int cor_lane_accept_tls(struct cor_stream **out, int sock, enum cor_connection_kind kind,
			const struct cor_tls *keys, struct cor_error *err)
{
	struct cor_stream *s = NULL;
	int r = wire(&s, sock, kind, err);

	return r < 0 ? r : cor_stream_tls(out, s, keys, true, NULL, err);
}

int cor_lane_admit(struct cor_stream **lane, enum cor_connection_kind kind, int status,
		   struct cor_error *err)
{
	struct cor_preamble_reply reply;
	int r;

	cor_preamble_reply_make(&reply, status);
	r = cor_stream_write(*lane, &reply, sizeof(reply));
	if (r < 0 || status < 0) {
		cor_stream_close(*lane);
		return r < 0 ? cor_fail_code(err, r, "answering the peer") : 0;
	}
	return spoil(lane, "COR_STREAM_FAULT", kind, err);
}

/* Anybody on the way can have written an answer in the clear. */
static int exchange(const struct cor_lane_options *o, int sock, struct cor_error *err)
{
	struct cor_preamble p;
	int r;

	cor_preamble_make(&p, o->kind, o->index, o->session, o->encrypted ? NULL : o->secret);
	p.security = o->encrypted ? COR_SECURITY_TLS : COR_SECURITY_CLEAR;
	r = cor_preamble_exchange(sock, &p, o->timeout_ms, err);
	explicit_bzero(&p, sizeof(p));
	if (r < 0 && o->encrypted && cor_preamble_status_ends(r))
		return cor_fail(err, -EPROTO, "a word on how the session ended came in the clear, "
				"and is not believed");
	return r;
}

/* The answer inside the encryption. */
static int await_admission(struct cor_stream *s, uint64_t deadline, struct cor_error *err)
{
	struct cor_preamble_reply reply;
	size_t got = 0;
	int r = cor_stream_read_by(s, &reply, sizeof(reply), &got, deadline);

	/* it has seen our key only now */
	if (r == -EPROTO)
		return cor_fail(err, -EKEYREJECTED, "the peer does not take our key");
	if (r < 0)
		return cor_fail_code(err, r == -ENODATA || r == -EPIPE ? -ECONNRESET : r,
				     "waiting for the peer's answer");
	return cor_preamble_reply_check(&reply, err);
}

/* Puts TLS over *s. On failure *s has been closed. */
static int encrypt(const struct cor_lane_options *o, struct cor_stream **s, struct cor_error *err)
{
	_cleanup_(tls_freep) struct cor_tls *secret = NULL;
	uint64_t deadline = cor_now_ns() + o->timeout_ms * UINT64_C(1000000);
	_cleanup_stream_ struct cor_stream *wire = take_ptr(*s), *tls = NULL;
	int r = 0;

	if (o->session)
		r = cor_tls_from_secret(&secret, o->session, o->secret, o->kind, o->index, err);
	if (r == 0)
		r = cor_stream_tls(&tls, take_ptr(wire), secret ?: o->keys, false,
				   secret ? NULL : o->psk, err);
	if (r == 0)
		r = cor_stream_tls_handshake(tls, deadline, err);
	if (r == 0 && !secret && o->verify)
		r = o->verify(o->arg, tls, err);
	if (r == 0)
		r = await_admission(tls, deadline, err);
	if (r == 0)
		*s = take_ptr(tls);
	return r;
}

int cor_lane_connect(struct cor_stream **out, const struct cor_lane_options *o,
		     struct cor_error *err)
{
	const struct cor_transport_ops *t = &cor_transport_tcp;
	_cleanup_close_ int sock = -1;
	struct cor_stream *s = NULL;
	int r = t->connect(o->addrport, o->timeout_ms, &sock, err);

	if (r < 0)
		return r;
	if (o->silence_s)
		cor_tcp_give_up_after(sock, o->silence_s);
	r = exchange(o, sock, err);
	if (r == 0)
		r = wire(&s, take_fd(&sock), o->kind, err);
	if (r == 0 && o->encrypted)
		r = encrypt(o, &s, err);
	if (r == 0)
		r = spoil(&s, "COR_STREAM_FAULT", o->kind, err);
	if (r < 0)
		return cor_fail_prefix(err, r, "%s", o->addrport);
	*out = s;
	return 0;
}
