/* Encrypted connections on their way into a session. Each has said in its preamble that it
 * belongs here, and must now prove the session's secret: a TLS handshake, in steps that
 * never wait. Who does not finish in time, or has another secret, is closed. */
#pragma once

#include <cor/error.h>
#include <stdint.h>

#include "libcor/transport/lane.h"

#define DOORS_MAX 8     /* at once; of more, the oldest goes */

struct door {
	struct cor_stream *stream;
	struct cor_tls *keys;
	enum cor_connection_kind kind;
	uint64_t deadline;      /* CLOCK_MONOTONIC, ns */
	char from[64];          /* the peer's address, for messages */
};

struct doors {
	int fd;                 /* readable when one may be further along: for poll(2) */
	unsigned n;
	struct door list[DOORS_MAX];    /* oldest first */
};

int  doors_init(struct doors *d, struct cor_error *err);
void doors_close(struct doors *d);

/* Another one. Takes sock. */
int  doors_open(struct doors *d, int sock, enum cor_connection_kind kind, uint8_t index,
		const uint8_t session[COR_SESSION_ID], const uint8_t secret[COR_SECRET],
		unsigned timeout_s, struct cor_error *err);

/* Looks at all. 1: *out has proved itself, and is the caller's; -errno: one was closed,
 * *err says whose; both are to be followed by another call. 0: nothing more just now. */
int  doors_next(struct doors *d, struct cor_stream **out, enum cor_connection_kind *kind,
		struct cor_error *err);
