/* What a pump process does for TCP sockets that stay at home (pump/tcp.h): channels that
 * come and go with the clients of a listening socket, and the look that the away pump
 * takes at its namespace.
 *
 * Home makes a channel for each client and says so by an event of the listener's channel
 * (COR_PUMP_CAME), behind which it may speak of it. A side for which it is over says
 * COR_PUMP_CLOSED; when both have, it is forgotten and its number free. About a channel
 * that one side has forgotten it says so again.
 */
#pragma once

#include "libcor/names/pump/private.h"
#include "libcor/names/pump/tcp.h"

/* Numbers of channels that come and go; those of a capture are smaller. */
#define PUMP_PASSING_FROM 2048u
#define PUMP_PASSING_MAX  16384u        /* at a time */

static inline bool pump_is_tcp(const struct pump_slot *s)
{
	return s->channel.end.ops == &cor_pump_end_tcp && s->channel.end.tcp;
}

/* The away pump's namespace is there; e of a channel of kind is in it. */
int  pump_forward_enter(struct pump *p, const Cor__Names__PumpChannel *ch,
			struct cor_pump_end *e, struct cor_error *err);
/* In which order channels are made: connections find the port free, clients that wait
 * find the listener. */
unsigned pump_forward_rank(const Cor__Names__PumpChannel *ch);
#define PUMP_FORWARD_RANKS 3

/* A slot was made or taken. */
void pump_forward_begin(struct pump *p, struct pump_slot *s);

/* A connection was made. */
void pump_forward_attach(struct pump *p);
/* May frames of s go out yet? */
bool pump_forward_may_speak(struct pump *p, const struct pump_slot *s);
/* A CLOSED that is due, into buf; its length, or 0. */
size_t pump_forward_close(struct pump_slot *s, uint8_t *buf);
/* What came: a client, an end, a frame of a channel that is not there. -EPROTO, -ENOMEM. */
int  pump_forward_came(struct pump *p, struct pump_slot *s, const void *payload, size_t len);
void pump_forward_closed(struct pump_slot *s);
/* Forgets what both sides have closed. */
void pump_forward_reap(struct pump *p);

/* Away: what has the task accepted, closed, not read? */
void pump_forward_look(struct pump *p);
void pump_forward_tick(struct pump *p);
bool pump_forward_has_tick(const struct pump *p);
/* The task stands still: all that it has written is taken, and what it has not got yet
 * is known (cor_pump_tcp's pending). -EAGAIN. */
int  pump_forward_freeze(struct pump *p);
void pump_forward_thaw(struct pump *p);
