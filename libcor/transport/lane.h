/* Connections to another host's cord or exporter, from the connecting to a stream that
 * is ready for its own protocol. */
#pragma once

#include <cor/error.h>
#include <stdint.h>

#include "libcor/transport/preamble.h"
#include "libcor/transport/stream.h"
#include "libcor/transport/tls.h"

struct cor_lane_options {
	const char *addrport;
	enum cor_connection_kind kind;
	uint8_t index;                  /* which of several bulk lanes */
	const uint8_t *session;         /* COR_SESSION_ID bytes; NULL: none yet (a control channel) */
	const uint8_t *secret;          /* COR_SECRET bytes; NULL with session */
	unsigned timeout_ms;            /* for connecting, for the answer, for a handshake, each */
	unsigned silence_s;             /* cor_tcp_give_up_after(); 0: the default */

	bool encrypted;                 /* by TLS: with keys, or, where there is a session, its secret */
	const struct cor_tls *keys;
	const char *psk;                /* cor_stream_tls() */
	/* Called when the peer has shown its key, before anything else is believed or said:
	 * 0, or the error of the connection. Not for a secret, which says enough. */
	int (*verify)(void *arg, struct cor_stream *s, struct cor_error *err);
	void *arg;
};

/* Connects, exchanges the preamble, shakes hands, and tunes the connection for its kind.
 * Errors: the transport's; the peer's refusal (preamble.h); of TLS, cor_stream_tls_step()'s.
 * A refusal that says how a session has ended (cor_preamble_status_ends()) is authentic:
 * where encrypted, others are -EPROTO. */
int cor_lane_connect(struct cor_stream **out, const struct cor_lane_options *o,
		     struct cor_error *err);

/* The accepting side: a stream over sock, a connected socket behind its answered
 * preamble, tuned for its kind. Takes ownership of sock, also on failure. */
int cor_lane_accept(struct cor_stream **out, int sock, enum cor_connection_kind kind,
		    struct cor_error *err);

/* The same where the preamble said TLS: the stream waits for its handshake
 * (cor_stream_tls_step()), and must then be admitted or refused. */
int cor_lane_accept_tls(struct cor_stream **out, int sock, enum cor_connection_kind kind,
			const struct cor_tls *keys, struct cor_error *err);

/* Tells the peer behind its handshake that it may go on (status 0), or why not; then *lane
 * has been closed, as on failure. */
int cor_lane_admit(struct cor_stream **lane, enum cor_connection_kind kind, int status,
		   struct cor_error *err);
