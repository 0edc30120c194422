/* UDP sockets that stay where they are when the task moves: what their ends
 * (pump/end_udp.c, pump/end_home_udp.c) share.
 *
 * Home holds the task's own socket, and so the unread datagrams in it. Where the task is
 * it has one of its own, alone in a namespace (pump/tun.h) whose device is the away
 * pump's end. Each side stops taking while it has 256 KiB of datagrams that the other has
 * not confirmed; they wait in the socket or the device then, which lose what is too
 * much, as they would have done without us.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "libcor/names/net/inet_addr.h"
#include "libcor/names/pump/end.h"
#include "libcor/names/pump/net.h"

#define COR_UDP_SOURCES 2               /* one of each family */

struct cor_pump_udp {
	int      domain;
	bool     v6only;
	bool     any;                   /* it has bound no address, only a port */
	struct cor_inet_addr ours;      /* the task's side, as home has it */
	struct cor_inet_addr theirs;    /* of one that is connected at home; else of family 0 */
	struct sockaddr_storage address;        /* ours, as it was bound */
	socklen_t address_len;
	struct cor_inet_addr sources[COR_UDP_SOURCES];  /* of one that has bound none: what the
					   kernel at home might take; port 0 */
	unsigned nsources;
	uint8_t *buf;                   /* a packet */

	/* away */
	struct cor_pump_net *net;       /* its own */

	/* home */
	bool     asks;                  /* its options are ours now */
	bool     refused;               /* that its peer is not there is to be told */
};

/* e->udp of a channel. -EPROTO, -ENOMEM. */
int cor_pump_udp_begin(struct cor_pump_end *e, const Cor__Names__PumpChannel *ch);
void cor_pump_udp_free(struct cor_pump_udp *u);

extern const struct cor_pump_end_ops cor_pump_end_udp, cor_pump_end_home_udp;
