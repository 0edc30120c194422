/* Whoever connects to a home where there are keys proves by TLS's handshake that it has the
 * link's secret. A step at a time: it may be slow, or nobody. */
#include <errno.h>
#include <utlist.h>

#include "libcor/base/cleanup.h"
#include "libcor/base/io.h"
#include "libcor/names/pump/private.h"
#include "libcor/transport/lane.h"

void pump_greet_begin(struct pump *p, int sock)
{
	struct cor_stream *stream;
	struct cor_tls *keys;
	_cleanup_close_ int fd = sock;

	if (cor_tls_from_secret(&keys, p->id, p->secret, COR_CONN_PUMP, 0, NULL) < 0)
		return;
	if (cor_lane_accept_tls(&stream, take_fd(&fd), COR_CONN_PUMP, keys, NULL) < 0) {
		cor_tls_free(keys);
		return;
	}
	pump_conn_add(p, stream, keys);
}

int pump_greet(struct pump *p, struct pump_conn *c)
{
	int r = cor_stream_tls_step(c->stream, NULL);

	if (r < 0)
		return r;
	/* what is admitted may be polled by another descriptor */
	pump_conn_unwatch(p, c);
	r = cor_lane_admit(&c->stream, COR_CONN_PUMP, 0, NULL);
	if (r < 0) {
		c->stream = NULL;
		return r;
	}
	cor_tls_free(c->keys);
	c->keys = NULL;
	c->state = PUMP_CONN_HELLO;
	return pump_conn_watch(p, c);
}

uint64_t pump_greet_due(const struct pump *p)
{
	const struct pump_conn *c;
	uint64_t due = UINT64_MAX;

	DL_FOREACH(p->conns, c)
		if (c->state == PUMP_CONN_GREETING)
			due = COR_MIN(due, c->deadline_ns);
	return due;
}

void pump_greet_expire(struct pump *p, uint64_t now)
{
	struct pump_conn *c, *next;

	DL_FOREACH_SAFE(p->conns, c, next)
		if (c->state == PUMP_CONN_GREETING && c->deadline_ns <= now)
			pump_conn_free(p, c);
}
