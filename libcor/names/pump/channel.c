/* See pump/channel.h. */
#include "libcor/names/pump/channel.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "libcor/base/cleanup.h"

/* Told when it has grown by so much, or all has been delivered. */
#define LIMIT_STEP (COR_PUMP_WINDOW / 4)

/* ---- what ends the halves -------------------------------------------------------- */

enum happening {
	OWN_END,        /* our end has given its last byte */
	PEER_GONE,      /* the peer has said that nobody takes what we send */
	PEER_END,       /* all that the peer sends has been delivered */
	OWN_GONE,       /* nobody takes what we give our end */
};

enum {
	SHUT     = 1,   /* the half of our end */
	SAY_END  = 2,   /* to the peer, behind all that is queued */
	SAY_GONE = 4,
};

/* Each ends one half, once; what it does then. */
static const struct {
	bool     reading;
	unsigned actions;
} happenings[] = {
	[OWN_END]   = { true,  SHUT | SAY_END },
	[PEER_GONE] = { true,  SHUT | SAY_END },
	[PEER_END]  = { false, SHUT },
	[OWN_GONE]  = { false, SHUT | SAY_GONE },
};

static int happen(struct cor_pump_channel *c, enum happening what)
{
	bool reading = happenings[what].reading;
	unsigned actions = happenings[what].actions;
	bool *over = reading ? &c->reading_over : &c->writing_over;

	if (*over)
		return 0;
	*over = true;
	if ((actions & SHUT) && c->end.ops)
		c->end.ops->shut(&c->end, reading);
	if (actions & SAY_GONE) {
		c->gone = true;
		cor_pump_queue_drop(&c->in, c->in.end);
	}
	return actions & SAY_END ? cor_pump_queue_event(&c->out, COR_PUMP_END, NULL, 0) : 0;
}

/* ---- life ------------------------------------------------------------------------- */

bool cor_pump_channel_is_over(const struct cor_pump_channel *c)
{
	return c->reading_over && c->writing_over && c->peer_over &&
	       cor_pump_queue_length(&c->out) == 0 && cor_pump_queue_length(&c->in) == 0;
}

int cor_pump_channel_begin(struct cor_pump_channel *c)
{
	return c->end.reads ? 0 : happen(c, OWN_END);
}

void cor_pump_channel_clear(struct cor_pump_channel *c)
{
	cor_pump_end_free(&c->end);
	cor_pump_queue_clear(&c->out);
	cor_pump_queue_clear(&c->in);
}

void cor_pump_channel_attach(struct cor_pump_channel *c)
{
	c->live = c->told = c->told_gone = false;
	c->sent = c->out.start;
	c->limit = c->told_limit = 0;
	c->told_received = c->in.end;
}

/* ---- the end ---------------------------------------------------------------------- */

void cor_pump_channel_events(struct cor_pump_channel *c, uint32_t events)
{
	c->end.readable = c->end.writable = true;
	if (!c->writing_over && c->end.writes && c->end.ops->gone(&c->end, events))
		happen(c, OWN_GONE);
}

void cor_pump_channel_orphan(struct cor_pump_channel *c)
{
	if (!c->writing_over && c->end.ops && c->end.ops->deserted && c->end.ops->deserted(&c->end))
		happen(c, OWN_GONE);
}

void cor_pump_channel_fail(struct cor_pump_channel *c)
{
	happen(c, OWN_END);
	happen(c, OWN_GONE);
}

bool cor_pump_channel_read(struct cor_pump_channel *c, bool all)
{
	bool changed = false;

	if (c->end.ahead && cor_pump_end_forget_ahead(&c->end) < 0)
		return false;
	while (!c->reading_over && c->end.readable) {
		uint64_t have = cor_pump_queue_length(&c->out);
		size_t room = all ? COR_PUMP_DATA_MAX :
			      have < COR_PUMP_WINDOW ? COR_PUMP_WINDOW - have : 0;
		ssize_t n;

		if (room == 0)
			break;
		n = c->end.ops->read(&c->end, &c->out, COR_MIN(room, (size_t)COR_PUMP_DATA_MAX));
		if (n == -EAGAIN) {
			c->end.readable = false;
			break;
		}
		if (n == -ENOMEM)
			break;          /* tried again at the next event */
		changed = true;
		if (n <= 0)
			happen(c, OWN_END);
		if (n == -EPROTO)
			happen(c, OWN_GONE);
		if (!all)
			break;
	}
	return changed;
}

/* Has the last been reached, for which no end is needed? */
static bool deliver_end(struct cor_pump_channel *c)
{
	const struct cor_pump_item *first = cor_pump_queue_at(&c->in, c->in.start);

	if (!first || first->event != COR_PUMP_END)
		return false;
	cor_pump_queue_drop(&c->in, c->in.end);
	happen(c, PEER_END);
	return true;
}

bool cor_pump_channel_write(struct cor_pump_channel *c)
{
	bool changed = false;

	c->incomplete = false;
	while (!c->writing_over && cor_pump_queue_length(&c->in)) {
		ssize_t n;

		if (deliver_end(c))
			return true;
		if (!c->end.writable)
			break;
		n = c->end.ops->write(&c->end, &c->in);
		if (n == -EAGAIN) {
			c->end.writable = false;
			break;
		}
		if (n == -ENODATA) {
			c->incomplete = true;
			break;
		}
		changed = true;
		if (n < 0)
			happen(c, OWN_GONE);
		else
			cor_pump_queue_drop(&c->in, c->in.start + (uint64_t)n);
	}
	return changed;
}

/* ---- what comes ------------------------------------------------------------------- */

static int take_ack(struct cor_pump_channel *c, const struct cor_pump_frame *f,
		    const void *payload)
{
	uint64_t limit;

	memcpy(&limit, payload, sizeof(limit));
	if (f->at < c->out.start || f->at > (c->live ? c->sent : c->out.end))
		return -EPROTO;
	cor_pump_queue_drop(&c->out, f->at);
	if (!c->live)
		c->sent = f->at;
	c->live = true;
	c->limit = limit;
	return f->arg & COR_PUMP_ACK_GONE ? happen(c, PEER_GONE) : 0;
}

/* The part of [at, at + length) that is new, which must begin where the last ended. */
static int skip_known(struct cor_pump_channel *c, uint64_t at, uint64_t length, uint64_t *skip)
{
	if (at > c->in.end || at + length < at || at + length > c->told_limit || !c->told ||
	    (c->peer_over && at + length > c->in.end))
		return -EPROTO;
	*skip = COR_MIN(c->in.end - at, length);
	return 0;
}

static int take_data(struct cor_pump_channel *c, const struct cor_pump_frame *f,
		     const uint8_t *payload)
{
	uint64_t skip;
	int r = skip_known(c, f->at, f->length, &skip);

	if (r == 0)
		r = cor_pump_queue_bytes(&c->in, payload + skip, f->length - skip);
	return r;
}

static int take_event(struct cor_pump_channel *c, const struct cor_pump_frame *f,
		      const void *payload)
{
	uint64_t skip;
	int r = skip_known(c, f->at, 1, &skip);

	if (r < 0 || skip)
		return r;
	r = cor_pump_queue_event(&c->in, (enum cor_pump_event)f->arg, payload, f->length);
	if (r == 0 && f->arg == COR_PUMP_END)
		c->peer_over = true;
	return r;
}

int cor_pump_channel_take(struct cor_pump_channel *c, const struct cor_pump_frame *f,
			  const void *payload)
{
	int r;

	switch (f->type) {
	case COR_PUMP_ACK:
		return take_ack(c, f, payload);
	case COR_PUMP_DATA:
		r = take_data(c, f, payload);
		break;
	case COR_PUMP_EVENT:
		r = take_event(c, f, payload);
		break;
	default:
		return -EPROTO;
	}
	/* taken, so that the peer can forget it, though nobody wants it */
	if (c->writing_over)
		cor_pump_queue_drop(&c->in, c->in.end);
	return r;
}

/* ---- what goes -------------------------------------------------------------------- */

static size_t put_frame(uint8_t *buf, const struct cor_pump_channel *c, uint8_t type, uint8_t arg,
			uint64_t at, const void *payload, size_t length)
{
	struct cor_pump_frame f = { .type = type, .arg = arg, .channel = c->id,
				    .length = (uint32_t)length, .at = at };

	memcpy(buf, &f, sizeof(f));
	if (length)
		memcpy(buf + sizeof(f), payload, length);
	return sizeof(f) + length;
}

static size_t give_ack(struct cor_pump_channel *c, uint8_t *buf)
{
	uint64_t limit = c->in.start + (c->incomplete ? COR_PUMP_MESSAGE_MAX : COR_PUMP_WINDOW);

	limit = COR_MAX(limit, c->told_limit);
	if (c->told && c->told_received == c->in.end && c->told_gone == c->gone &&
	    limit < c->told_limit + LIMIT_STEP)
		return 0;
	c->told = true;
	c->told_received = c->in.end;
	c->told_limit = limit;
	c->told_gone = c->gone;
	return put_frame(buf, c, COR_PUMP_ACK, c->gone ? COR_PUMP_ACK_GONE : 0, c->in.end, &limit,
			 sizeof(limit));
}

size_t cor_pump_channel_give(struct cor_pump_channel *c, uint8_t *buf)
{
	size_t n = give_ack(c, buf);
	const struct cor_pump_item *i;
	uint64_t at = c->sent;

	if (n || !c->live || at >= c->limit)
		return n;
	i = cor_pump_queue_at(&c->out, at);
	if (!i)
		return 0;
	if (i->event) {
		c->sent++;
		return put_frame(buf, c, COR_PUMP_EVENT, i->event, at, i->data, i->len);
	}
	n = (size_t)(COR_MIN(cor_pump_item_end(i), c->limit) - at);
	n = COR_MIN(n, (size_t)COR_PUMP_DATA_MAX);
	c->sent += n;
	return put_frame(buf, c, COR_PUMP_DATA, 0, at, i->data + (at - i->at), n);
}
