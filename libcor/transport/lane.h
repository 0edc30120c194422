/* Connections to another host's cord or exporter, from the connecting to a stream that
 * is ready for its own protocol. */
#pragma once

#include <cor/error.h>
#include <stdint.h>

#include "libcor/transport/preamble.h"
#include "libcor/transport/stream.h"

struct cor_lane_options {
	const char *addrport;
	enum cor_connection_kind kind;
	uint8_t index;                  /* which of several bulk lanes */
	const uint8_t *session;         /* COR_SESSION_ID bytes; NULL: none yet (a control channel) */
	const uint8_t *secret;          /* COR_SECRET bytes; NULL with session */
	unsigned timeout_ms;            /* for connecting, and for the answer, each */
	unsigned silence_s;             /* cor_tcp_give_up_after(); 0: the default */
};

/* Connects, exchanges the preamble, and tunes the connection for its kind. Errors: the
 * transport's; the peer's refusal (preamble.h). */
int cor_lane_connect(struct cor_stream **out, const struct cor_lane_options *o,
		     struct cor_error *err);

/* The accepting side: a stream over sock, a connected socket behind its answered
 * preamble, tuned for its kind. Takes ownership of sock, also on failure. */
int cor_lane_accept(struct cor_stream **out, int sock, enum cor_connection_kind kind,
		    struct cor_error *err);
