/* One channel of the pump: an end here, its peer on the other host, and what is on its
 * way between them. No I/O but the end's own, no policy: the process around it (pump/pump.h)
 * says when.
 *
 * Each side has two halves. The reading half takes from its end what goes to the peer;
 * the writing half gives its end what came. They end by what happens (the table in
 * pump/channel.c), independent of each other: a half-close travels, and so does that
 * nobody reads any more.
 */
#pragma once

#include <cor/error.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "libcor/names/files.pb-c.h"
#include "libcor/names/pump/end.h"
#include "libcor/names/pump/queue.h"
#include "libcor/names/pump/wire.h"

#define COR_PUMP_WINDOW  (256u << 10)   /* positions that a side holds of one way */
/* A message that is larger than the window must still be taken whole. */
#define COR_PUMP_MESSAGE_MAX (4u << 20)

struct cor_pump_channel {
	uint16_t id;
	struct cor_pump_end end;
	struct cor_pump_queue out;      /* from our end: what the peer has not confirmed */
	struct cor_pump_queue in;       /* for our end: not delivered yet */
	bool reading_over, writing_over;
	bool peer_over;                 /* the peer's END has come: its reading half is over */
	bool gone;                      /* our end takes nothing any more: said with each ACK */
	bool incomplete;                /* in begins with a part of a message */

	/* of the present connection */
	bool     live;                  /* the peer's first ACK has come */
	uint64_t sent;                  /* of out: up to here */
	uint64_t limit;                 /* the peer takes up to here */
	bool     told;                  /* our first ACK has gone out */
	uint64_t told_received, told_limit;
	bool     told_gone;
};

/* Both halves are over, and nothing is on its way: all that is left is to remember it. */
bool cor_pump_channel_is_over(const struct cor_pump_channel *c);

/* Its END is queued at once for a half that it never has. */
int cor_pump_channel_begin(struct cor_pump_channel *c);
void cor_pump_channel_clear(struct cor_pump_channel *c);

/* A connection was made: both sides begin with an ACK. */
void cor_pump_channel_attach(struct cor_pump_channel *c);

/* --- the end ------------------------------------------------------------------ */

/* What epoll(7) said of it. */
void cor_pump_channel_events(struct cor_pump_channel *c, uint32_t events);

/* There is no end any more, and there has been none. */
void cor_pump_channel_fail(struct cor_pump_channel *c);

/* Takes from the end what there is, as the window allows; all: everything, window or
 * not (the task stands still). True: something has changed. */
bool cor_pump_channel_read(struct cor_pump_channel *c, bool all);

/* Away, once the task has ended: has nobody else its side? Then the peer is told, unless an
 * event has done that. */
void cor_pump_channel_orphan(struct cor_pump_channel *c);

/* Gives it what came. True: something has changed. */
bool cor_pump_channel_write(struct cor_pump_channel *c);

/* --- the peer ------------------------------------------------------------------- */

/* A frame of this channel that came, with its payload. -EPROTO: it makes no sense;
 * -ENOMEM. */
int cor_pump_channel_take(struct cor_pump_channel *c, const struct cor_pump_frame *f,
			  const void *payload);

/* Writes the next frame that may go out into buf, of size COR_PUMP_FRAME_MAX. Its
 * length, or 0: none now. */
#define COR_PUMP_FRAME_MAX (sizeof(struct cor_pump_frame) + COR_PUMP_DATA_MAX)
size_t cor_pump_channel_give(struct cor_pump_channel *c, uint8_t *buf);

/* --- moving on ------------------------------------------------------------------ */

/* What is on its way, of a channel whose task stands still; malloc. */
int cor_pump_channel_save(const struct cor_pump_channel *c, Cor__Names__PumpState **out);
/* The same in a channel that has just been made. -EPROTO, -ENOMEM. */
int cor_pump_channel_load(struct cor_pump_channel *c, const Cor__Names__PumpState *state);
/* The first of what waits at home, in the state of a channel that is to be made away: from
 * some position up to COR_PUMP_AHEAD_END, from where home will count. */
#define COR_PUMP_AHEAD_MAX (64u << 10)  /* bytes of it; of messages one */
#define COR_PUMP_AHEAD_ENDED (6u << 20) /* the same of a stream that has ended */
#define COR_PUMP_AHEAD_END (8u << 20)
/* Home: its end throws that away before it reads. -EPROTO. */
int cor_pump_channel_ahead(struct cor_pump_channel *c, const Cor__Names__PumpState *state);
/* What the task has not read of its own end comes before what waits for it. event: what
 * stands behind each of messages (0: nothing does, they are a stream), with its address
 * as the payload if that is COR_PUMP_DATAGRAM. */
int cor_pump_state_prepend(Cor__Names__PumpState *state, Cor__Names__Message *const *messages,
			   size_t n, enum cor_pump_event event);
