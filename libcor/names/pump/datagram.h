/* A datagram of a UDP socket on its way through a channel of the pump: its bytes, and
 * behind them an event that tells its addresses (COR_PUMP_DATAGRAM). */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "libcor/names/net/inet_addr.h"
#include "libcor/names/pump/queue.h"
#include "libcor/names/pump/wire.h"

#define COR_DATAGRAM_MAX 65536u         /* bytes; none has more */

struct cor_datagram {
	struct cor_inet_addr ours;      /* of the task's side; family 0: as its socket is bound */
	struct cor_inet_addr theirs;
	bool     refused;               /* none: one to theirs has come to nobody */
	enum cor_pump_peer peer;
	const uint8_t *data;
	size_t   len;
};

/* The event's payload, without a datagram's bytes. */
void cor_datagram_pack(const struct cor_datagram *d, struct cor_pump_datagram *out);
/* The same as it came. out: without bytes. -EPROTO. */
int cor_datagram_unpack(const void *payload, size_t len, struct cor_datagram *out);

/* Into q. The positions that were added; 0: there is no memory, and a hole in q, behind
 * which nothing may follow. */
ssize_t cor_datagram_queue(struct cor_pump_queue *q, const struct cor_datagram *d);

/* What q begins with. *bytes (malloc) has its bytes. The positions that it has in q;
 * *out has family 0 for theirs where these are no datagram. -EAGAIN: no memory; -ENODATA:
 * it has not come yet; -EPIPE: there will be none. */
ssize_t cor_datagram_first(struct cor_pump_queue *q, struct cor_datagram *out, uint8_t **bytes);
