/* Packets that come for addresses which are on their way to another host: kept while
 * nobody has the address, then sent after it, so that nobody has to send them again
 * (a peer would wait 200 ms or more before it does). What is lost nevertheless is what
 * TCP is for.
 *
 * AF_PACKET sockets (packet(7)) on the address's interface and on loopback, for
 * clients on this very host. One thread makes all the calls. */
#pragma once

#include <cor/error.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>

#include "libcor/names/net/address.h"

struct cor_packet_hold;

/* Keeps what begins a TCP connection with one of the addresses, from now on. */
int cor_packet_hold_new(struct cor_packet_hold **out, const struct cor_address *addresses,
			unsigned n, struct cor_error *err);
/* What is still held is dropped. NULL allowed. */
void cor_packet_hold_free(struct cor_packet_hold *h);

/* From now on everything that comes for them. */
int cor_packet_hold_all(struct cor_packet_hold *h);

/* Where address i is now: the hardware address of the interface that has it. */
void cor_packet_hold_next(struct cor_packet_hold *h, unsigned i, const uint8_t hwaddr[6]);

/* Sends on what has come so far. The number of packets. */
unsigned cor_packet_hold_forward(struct cor_packet_hold *h);

/* What to wait for, for more: at most COR_PACKET_HOLD_FDS entries; how many. */
#define COR_PACKET_HOLD_FDS 17
unsigned cor_packet_hold_poll(const struct cor_packet_hold *h, struct pollfd *out);
