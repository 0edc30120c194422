/* This host's keys ([keys] of the configuration), and by which key a peer is known
 * ([peer NAME]). */
#pragma once

#include <cor/error.h>
#include <stdbool.h>

#include "daemon/config.h"
#include "libcor/transport/tls.h"

/* Are there any? Then nothing is spoken in the clear, to nobody. */
bool cord_keys_set(const struct cord_config *c);

/* Reads them; cor_tls_load()'s errors. To be freed as soon as the handshake is done. */
int cord_keys_load(const struct cord_config *c, struct cor_tls **out, struct cor_error *err);

/* The identity that this host shows to peer (NULL: one that is not listed) by a pre-shared
 * key; NULL: it shows its certificate. */
const char *cord_keys_psk(const struct cord_config *c, const struct cor_tls *keys,
			  const struct cord_peer *peer);

/* The connecting side: is the one at the other end whom dest (a peer's name, or an
 * ADDR:PORT) means? -EKEYREJECTED with a sentence that says what is wrong. */
int cord_keys_verify(const struct cord_config *c, const char *dest, struct cor_stream *s,
		     struct cor_error *err);

/* The accepting side: which peer is it? -EKEYREJECTED: none that is listed. */
int cord_keys_identify(const struct cord_config *c, struct cor_stream *s,
		       const struct cord_peer **out, struct cor_error *err);
