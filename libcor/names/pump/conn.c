/* A pump's connections to its peer: HELLO, ATTACH, and the channels' frames in both
 * directions; see pump/wire.h. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <utlist.h>

#include "libcor/base/cleanup.h"
#include "libcor/base/error.h"
#include "libcor/base/io.h"
#include "libcor/names/pump/forward.h"
#include "libcor/names/pump/private.h"

#define BUFFER (4 * COR_PUMP_FRAME_MAX)
#define CONNS_MAX 8             /* at home, attached or not */
#define AGAIN_NS UINT64_C(500000000)

struct pump_conn *pump_conn_attached(struct pump *p)
{
	struct pump_conn *c;

	DL_FOREACH(p->conns, c)
		if (c->state == PUMP_CONN_ATTACHED)
			return c;
	return NULL;
}

int pump_conn_watch(struct pump *p, struct pump_conn *c)
{
	uint32_t events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET;
	int r = pump_watch(p, c->stream->in_fd, events, &c->watch);

	if (r == 0 && c->stream->out_fd != c->stream->in_fd)
		r = pump_watch(p, c->stream->out_fd, events, &c->watch);
	return r;
}

void pump_conn_unwatch(struct pump *p, struct pump_conn *c)
{
	epoll_ctl(p->epoll, EPOLL_CTL_DEL, c->stream->in_fd, NULL);
	if (c->stream->out_fd != c->stream->in_fd)
		epoll_ctl(p->epoll, EPOLL_CTL_DEL, c->stream->out_fd, NULL);
}

void pump_conn_free(struct pump *p, struct pump_conn *c)
{
	DL_DELETE(p->conns, c);
	if (c->stream) {
		pump_conn_unwatch(p, c);
		cor_stream_close(c->stream);
	}
	cor_tls_free(c->keys);
	free(c->in);
	free(c->out);
	free(c);
	p->connect_ns = cor_now_ns() + AGAIN_NS;
}

/* ---- out --------------------------------------------------------------------------------- */

static void flush(struct pump_conn *c)
{
	while (c->writable && c->out_start < c->out_end) {
		struct iovec iov = { c->out + c->out_start, c->out_end - c->out_start };
		ssize_t n = cor_stream_send(c->stream, &iov, 1, COR_STREAM_NOWAIT);

		if (n > 0)
			c->out_start += (size_t)n;
		else if (n == -EAGAIN)
			c->writable = false;
		else
			c->out_start = c->out_end;      /* receiving will tell of the loss */
	}
	if (c->out_start == c->out_end)
		c->out_start = c->out_end = 0;
}

static void put(struct pump_conn *c, enum cor_pump_frame_type type, uint8_t arg, uint64_t at,
		const void *payload, size_t length)
{
	struct cor_pump_frame f = { .type = (uint8_t)type, .arg = arg,
				    .length = (uint32_t)length, .at = at };

	/* said only where nothing else is, or as the last word */
	if (BUFFER - c->out_end < sizeof(f) + length)
		return;
	memcpy(c->out + c->out_end, &f, sizeof(f));
	if (length)
		memcpy(c->out + c->out_end + sizeof(f), payload, length);
	c->out_end += sizeof(f) + length;
	flush(c);
}

static void say_hello(struct pump *p, struct pump_conn *c, int status)
{
	struct cor_pump_hello h = { .version = COR_PUMP_VERSION, .status = (int16_t)status,
				    .epoch = p->epoch };

	put(c, COR_PUMP_HELLO, (uint8_t)p->plan->side, 0, &h, sizeof(h));
}

bool pump_conn_pump_out(struct pump *p)
{
	struct pump_conn *c = pump_conn_attached(p);
	bool gave = true;
	struct pump_slot *s;

	if (!c)
		return false;
	flush(c);
	/* a frame of each in turn: one that has much holds nobody up */
	while (gave && BUFFER - c->out_end >= COR_PUMP_FRAME_MAX) {
		gave = false;
		DL_FOREACH(p->slots, s) {
			if (BUFFER - c->out_end < COR_PUMP_FRAME_MAX)
				break;
			size_t n = !pump_forward_may_speak(p, s) ? 0 :
				   cor_pump_channel_give(&s->channel, c->out + c->out_end);

			n = n ?: pump_forward_close(s, c->out + c->out_end);

			c->out_end += n;
			gave |= n > 0;
		}
	}
	flush(c);
	return gave && c->writable;
}

/* ---- in ---------------------------------------------------------------------------------- */

static void attach(struct pump *p, struct pump_conn *c)
{
	struct pump_conn *other, *next;
	struct pump_slot *s;

	DL_FOREACH_SAFE(p->conns, other, next)
		if (other != c && other->state == PUMP_CONN_ATTACHED)
			pump_conn_free(p, other);
	DL_FOREACH(p->slots, s)
		cor_pump_channel_attach(&s->channel);
	pump_forward_attach(p);
	c->state = PUMP_CONN_ATTACHED;
	p->alone_since_ns = 0;
}

static int on_hello(struct pump *p, struct pump_conn *c, const struct cor_pump_frame *f,
		    const void *payload)
{
	struct cor_pump_hello h;

	memcpy(&h, payload, sizeof(h));
	if (c->state != PUMP_CONN_HELLO || f->arg == p->plan->side)
		return -EPROTO;
	if (p->plan->side == COR_PUMP_HOME) {
		int status = h.version != COR_PUMP_VERSION ? -EPROTONOSUPPORT :
			     h.epoch < p->epoch ? -ESTALE : 0;

		say_hello(p, c, status);
		if (status < 0)
			return status;
	} else if (h.status < 0) {
		return h.status;
	} else if (h.version != COR_PUMP_VERSION) {
		return -EPROTONOSUPPORT;
	}
	c->epoch = h.epoch;
	c->state = PUMP_CONN_READY;
	if (p->plan->side == COR_PUMP_AWAY)
		pump_control_reached(p, 0, NULL);
	return 0;
}

static int on_attach(struct pump *p, struct pump_conn *c, const struct cor_pump_frame *f)
{
	if (p->plan->side != COR_PUMP_HOME || c->state != PUMP_CONN_READY || f->at > UINT32_MAX)
		return -EPROTO;
	if (f->at < p->epoch)
		return -ESTALE;
	p->epoch = (uint32_t)f->at;
	p->started = true;
	p->tick_ns = 0;
	attach(p, c);
	return 0;
}

/* One that we have forgotten: it is over for both then. */
static int say_closed(struct pump_conn *c, const struct cor_pump_frame *f)
{
	struct cor_pump_frame closed = { .type = COR_PUMP_CLOSED, .channel = f->channel };

	if (f->channel < PUMP_PASSING_FROM)
		return -EPROTO;
	if (f->type == COR_PUMP_CLOSED || BUFFER - c->out_end < sizeof(closed))
		return 0;
	memcpy(c->out + c->out_end, &closed, sizeof(closed));
	c->out_end += sizeof(closed);
	return 0;
}

static int on_channel(struct pump *p, struct pump_conn *c, const struct cor_pump_frame *f,
		      const void *payload)
{
	struct pump_slot *s;
	int r;

	if (c->state != PUMP_CONN_ATTACHED)
		return -EPROTO;
	s = pump_slot_find(p, f->channel);
	if (!s)
		return say_closed(c, f);
	if (f->type == COR_PUMP_CLOSED) {
		pump_forward_closed(s);
		return 0;
	}
	r = cor_pump_channel_take(&s->channel, f, payload);
	if (r == 0 && f->type == COR_PUMP_EVENT && f->arg == COR_PUMP_CAME)
		r = pump_forward_came(p, s, payload, f->length);
	return r;
}

static int on_frame(struct pump *p, struct pump_conn *c, const struct cor_pump_frame *f,
		    const void *payload)
{
	switch (f->type) {
	case COR_PUMP_HELLO:
		return on_hello(p, c, f, payload);
	case COR_PUMP_ATTACH:
		return on_attach(p, c, f);
	case COR_PUMP_BYE:
		if (p->plan->side != COR_PUMP_HOME || c->state != PUMP_CONN_ATTACHED)
			return -EPROTO;
		p->bye = true;
		return 0;
	default:
		return on_channel(p, c, f, payload);
	}
}

/* All whole frames that are there. */
static int parse(struct pump *p, struct pump_conn *c)
{
	size_t at = 0;
	int r = 0;

	while (r == 0 && !p->ending && c->have - at >= sizeof(struct cor_pump_frame)) {
		struct cor_pump_frame f;

		r = cor_pump_frame_parse(c->in + at, &f);
		if (r < 0 || c->have - at < sizeof(f) + f.length)
			break;
		r = on_frame(p, c, &f, c->in + at + sizeof(f));
		at += sizeof(f) + f.length;
	}
	memmove(c->in, c->in + at, c->have - at);
	c->have -= at;
	return r;
}

/* What a lost connection means. r: why, as the peer or the network has it. */
static void lost(struct pump *p, struct pump_conn *c, int r)
{
	bool bye = c->bye;

	pump_conn_free(p, c);
	if (p->plan->side != COR_PUMP_AWAY)
		return;
	pump_control_reached(p, r, NULL);
	/* home has closed behind our last word; or another host has the task */
	if (p->started && (bye || r == -ESTALE))
		p->ending = true;
}

static void greet(struct pump *p, struct pump_conn *c)
{
	int r = pump_greet(p, c);

	if (r == -EAGAIN)
		c->readable = false;
	else if (r < 0)
		lost(p, c, r);
}

static void receive(struct pump *p, struct pump_conn *c)
{
	struct iovec iov = { c->in + c->have, BUFFER - c->have };
	ssize_t n = cor_stream_receive(c->stream, &iov, 1, COR_STREAM_NOWAIT);
	int r;

	if (n == -EAGAIN) {
		c->readable = false;
		return;
	}
	if (n <= 0) {
		lost(p, c, n < 0 ? (int)n : -ECONNRESET);
		return;
	}
	c->have += (size_t)n;
	r = parse(p, c);
	if (r < 0)
		lost(p, c, r);
}

static void take_in(struct pump *p, struct pump_conn *c)
{
	if (c->state == PUMP_CONN_GREETING)
		greet(p, c);
	else
		receive(p, c);
}

bool pump_conn_pump_in(struct pump *p)
{
	struct pump_conn *c, *next;
	bool more = false;

	/* what came while the task stands still is the next host's to take */
	if (p->frozen)
		return false;
	DL_FOREACH_SAFE(p->conns, c, next)
		if (c->readable)
			take_in(p, c);
	DL_FOREACH(p->conns, c)
		more |= c->readable;
	return more;
}

/* ---- life -------------------------------------------------------------------------------- */

void pump_conn_add(struct pump *p, struct cor_stream *stream, struct cor_tls *keys)
{
	struct pump_conn *c = calloc(1, sizeof(*c)), *other;
	int n;

	if (!c) {
		cor_stream_close(stream);
		cor_tls_free(keys);
		return;
	}
	c->watch = (struct pump_watch){ PUMP_WATCH_CONN, c };
	c->stream = stream;
	c->keys = keys;
	c->state = keys ? PUMP_CONN_GREETING : PUMP_CONN_HELLO;
	c->deadline_ns = cor_now_ns() + p->plan->connect_s * UINT64_C(1000000000);
	c->readable = c->writable = true;
	c->in = malloc(BUFFER);
	c->out = malloc(BUFFER);
	DL_APPEND(p->conns, c);
	if (!c->in || !c->out || pump_conn_watch(p, c) < 0) {
		pump_conn_free(p, c);
		return;
	}
	DL_COUNT(p->conns, other, n);
	/* those that only ask whether we are here make room for those that follow */
	if (n > CONNS_MAX)
		pump_conn_free(p, p->conns->state == PUMP_CONN_ATTACHED ? p->conns->next : p->conns);
	if (p->plan->side == COR_PUMP_AWAY)
		say_hello(p, c, 0);
}

void pump_conn_advance(struct pump *p)
{
	struct pump_conn *c = p->conns;

	if (p->plan->side != COR_PUMP_AWAY || !p->started || p->frozen || !c)
		return;
	if (c->state == PUMP_CONN_READY) {
		attach(p, c);
		put(c, COR_PUMP_ATTACH, 0, p->epoch, NULL, 0);
	}
	if (c->state == PUMP_CONN_ATTACHED && !c->bye && pump_is_over(p)) {
		struct pump_slot *s;

		/* their last ACKs first */
		pump_conn_pump_out(p);
		DL_FOREACH(p->slots, s)
			if (s->channel.told_received != s->channel.in.end)
				return;
		if (BUFFER - c->out_end < sizeof(struct cor_pump_frame))
			return;
		put(c, COR_PUMP_BYE, 0, 0, NULL, 0);
		c->bye = true;
	}
}
