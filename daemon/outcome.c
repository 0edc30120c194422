/* See outcome.h. */
#include "daemon/outcome.h"

#include "daemon/spawn.h"
#include "libcor/base/io.h"
#include "libcor/transport/lane.h"

static int tell(const void *arg)
{
	const struct outcome *o = arg;
	struct cor_stream *s;
	struct cor_tls *keys;

	if (cor_tls_from_secret(&keys, o->session, o->secret, COR_CONN_CONTROL, o->index, NULL) < 0 ||
	    cor_lane_accept_tls(&s, o->sock, COR_CONN_CONTROL, keys, NULL) < 0)
		return 1;
	if (cor_stream_tls_handshake(s, cor_now_ns() + o->timeout_s * UINT64_C(1000000000), NULL) < 0)
		return 1;
	return cor_lane_admit(&s, COR_CONN_CONTROL, o->status, NULL) < 0;
}

pid_t outcome_tell(const struct outcome *o)
{
	return spawn_worker("cord-outcome", &o->sock, 1, tell, o);
}
