/* TCP connections that stay where they are when the task moves: what their ends
 * (pump/end_tcp.c, pump/end_listener.c) and the pump process share.
 *
 * Home holds the task's own socket. Where the task is it has a connection, in a
 * namespace of the away pump's (pump/net.h), whose other side is the pump's. A listening
 * socket stays too: home accepts, a channel begins for each connection (COR_PUMP_CAME),
 * and the away pump connects to the task's listener there, from the peer's address.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "libcor/names/net/inet_addr.h"
#include "libcor/names/pump/end.h"
#include "libcor/names/pump/net.h"

/* Of a connection or a listener. */
struct cor_pump_tcp {
	const struct cor_pump_net *net;         /* away */
	struct cor_inet_addr ours, theirs;      /* the task's side, as home has it */
	int      domain;
	uint64_t inode;         /* of the task's side; 0: none, or not accepted yet */
	bool     closed;        /* nobody has the task's side any more */

	/* away, connections */
	bool     accepted;      /* the task has it, or had */
	uint64_t given;         /* bytes that were written to it */
	uint8_t *early;         /* all of them, as long as the task has not accepted it */
	size_t   nearly;
	uint8_t *pending;       /* frozen: the last of them, which have not arrived */
	size_t   npending;
	bool     silent;        /* frozen: sends nothing new */
	uint64_t arrived;       /* frozen: bytes that the task's side had received by then, a FIN
				   not counted */

	/* home, listeners: a client is there. Takes fd; queues what tells the peer. -errno. */
	int  (*came)(void *arg, int fd, struct cor_pump_queue *q);
	void  *arg;
};

#define COR_PUMP_EARLY_MAX 65536u

void cor_pump_tcp_free(struct cor_pump_tcp *t);

/* e->tcp of a channel, in net (home: NULL). -EPROTO, -ENOMEM. */
int cor_pump_tcp_begin(struct cor_pump_end *e, const struct cor_pump_net *net,
		       const Cor__Names__PumpChannel *ch);

/* A client of a listener of the task, away: connects e to that listener. -errno. */
int cor_pump_tcp_call(struct cor_pump_end *e, const struct cor_pump_net *net,
		      const Cor__Names__PumpChannel *ch);

/* The same at home: e is fd. */
void cor_pump_tcp_answer(struct cor_pump_end *e, int fd);

/* The task has it now. */
void cor_pump_tcp_accepted(struct cor_pump_end *e, uint64_t inode);

/* Tells the kernel to acknowledge what has come. */
void cor_pump_tcp_acknowledge(const struct cor_pump_end *e);

/* Nothing is sent any more; what has not arrived of what was written is found out when
 * it is known how much has (received): t->pending. Undone by _go_on(). -errno; -EAGAIN: more
 * has arrived since that was looked at (the kernel delivers when it gets to it). */
int cor_pump_tcp_hush(struct cor_pump_end *e);
int cor_pump_tcp_leftover(struct cor_pump_end *e, uint64_t received);
void cor_pump_tcp_go_on(struct cor_pump_end *e);

extern const struct cor_pump_end_ops cor_pump_end_tcp, cor_pump_end_listener,
	cor_pump_end_home_listener;
