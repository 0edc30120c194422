/* The gate of an export: listens, reads preambles without letting a slow or
 * silent peer hold up the others, and admits who has the secret. */
#pragma once

#include <cor/error.h>
#include <stdint.h>

#include "libcor/transport/preamble.h"
#include "libcor/transport/stream.h"
#include "libcor/transport/transport.h"

struct cor_gate;

struct cor_gate_options {
	const struct cor_transport_ops *transport; /* COR_TRANSPORT_ENCRYPTED: TLS is demanded */
	const char *listen;                     /* ADDR:PORT */
	unsigned expire_s;                      /* 0: never */
	uint8_t session[COR_SESSION_ID];
	uint8_t secret[COR_SECRET];

	/* Called by the gate's thread: a connection has been admitted and answered.
	 * Takes ownership of lane; must not call the gate. */
	void (*admit)(void *arg, struct cor_stream *lane, enum cor_connection_kind kind);
	void *arg;
};

/* Listens. Returns the port, or -errno. Nothing is admitted before cor_gate_open(). */
int cor_gate_new(struct cor_gate **out, const struct cor_gate_options *o, struct cor_error *err);

/* Starts the thread. */
int cor_gate_open(struct cor_gate *g, struct cor_error *err);

/* Another identity and secret: whoever comes with the old ones is turned away from now on,
 * and no admit() for them runs any more. */
void cor_gate_renew(struct cor_gate *g, const uint8_t session[COR_SESSION_ID],
		    const uint8_t secret[COR_SECRET]);

/* Connections turned away so far. */
uint64_t cor_gate_refused(const struct cor_gate *g);

/* Stops listening and joins the thread; no admit() runs after that. NULL allowed. */
void cor_gate_free(struct cor_gate *g);
