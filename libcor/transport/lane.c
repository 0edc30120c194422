/* Connecting and accepting; see lane.h. */
#include <config.h>

#include "libcor/transport/lane.h"

#include <stdlib.h>
#include <string.h>

#include "libcor/base/cleanup.h"
#include "libcor/base/error.h"
#include "libcor/transport/stream_fault.h"
#include "libcor/transport/tcp.h"
#include "libcor/transport/transport.h"

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

int cor_lane_accept(struct cor_stream **out, int sock, enum cor_connection_kind kind,
		    struct cor_error *err)
{
	struct cor_stream *s;
	int r;

	cor_transport_tcp.tune(sock, kind);
	r = cor_stream_tcp(&s, sock, err);
	if (r == 0)
		r = spoil(&s, "COR_WIRE_FAULT", kind, err);
	if (r == 0)
		r = spoil(&s, "COR_STREAM_FAULT", kind, err);
	if (r == 0)
		*out = s;
	return r;
}

int cor_lane_connect(struct cor_stream **out, const struct cor_lane_options *o,
		     struct cor_error *err)
{
	const struct cor_transport_ops *t = &cor_transport_tcp;
	_cleanup_close_ int sock = -1;
	struct cor_preamble p;
	int r = t->connect(o->addrport, o->timeout_ms, &sock, err);

	if (r < 0)
		return r;
	if (o->silence_s)
		cor_tcp_give_up_after(sock, o->silence_s);
	cor_preamble_make(&p, o->kind, o->index, o->session, o->secret);
	r = cor_preamble_exchange(sock, &p, o->timeout_ms, err);
	explicit_bzero(&p, sizeof(p));
	if (r == 0)
		r = cor_lane_accept(out, take_fd(&sock), o->kind, err);
	return r < 0 ? cor_fail_prefix(err, r, "%s", o->addrport) : 0;
}
