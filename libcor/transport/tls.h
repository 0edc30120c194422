/* Keys, and streams that are encrypted with them: TLS 1.3 by GnuTLS.
 *
 * A struct cor_tls is what one side shows and believes. There are two kinds:
 *
 *	keys of a host     X.509 (a certificate that the peer verifies, and the authorities
 *	                   that sign the peer's) and pre-shared keys of a file in psktool(1)'s
 *	                   format, or one of them; for a session's first control channel
 *	a secret           256 bits that both sides have been told already, in a control
 *	                   channel or by a ticket; for lanes
 *
 * Both give forward secrecy: every handshake makes a Diffie-Hellman key of its own, and
 * there are no session tickets. The handshake is done by whoever calls, step by step
 * where it must not wait; then the stream is one like any other (stream.h).
 */
#pragma once

#include <cor/error.h>
#include <stdbool.h>
#include <stdint.h>

#include "libcor/transport/preamble.h"
#include "libcor/transport/stream.h"

struct cor_tls;

#define COR_TLS_NAME        128  /* an identity, NUL included */
#define COR_TLS_FINGERPRINT 32   /* SHA-256 of a certificate */

/* Paths; what is NULL or empty is not there. */
struct cor_tls_files {
	const char *certificate;  /* PEM: ours, then those that lead to the authority's */
	const char *key;          /* PEM: its private key; needed with it */
	const char *ca;           /* PEM: authorities whose certificates we believe */
	const char *crl;          /* PEM: what they have revoked */
	const char *psk;          /* identities and keys: psktool(1) */
};

/* Reads the files. Those with a secret (key, psk) must belong to root or to us, and
 * nobody else may read or write them: -EPERM. -EINVAL: one of them makes no sense, or
 * they do not belong together; -ENOENT, -EACCES and others. */
int cor_tls_load(struct cor_tls **out, const struct cor_tls_files *files, struct cor_error *err);

/* secret, as the key of that identity on the wire: which session, and which of its
 * connections. So who answers for one cannot be made to answer for another. */
int cor_tls_from_secret(struct cor_tls **out, const uint8_t session[COR_SESSION_ID],
			const uint8_t secret[COR_SECRET], enum cor_connection_kind kind,
			uint8_t index, struct cor_error *err);

/* Forgets the keys. Streams made with t go on, once their handshake is done. NULL allowed. */
void cor_tls_free(struct cor_tls *t);

/* Does the file of pre-shared keys have this identity? */
bool cor_tls_has_psk(const struct cor_tls *t, const char *identity);
bool cor_tls_has_certificate(const struct cor_tls *t);

/* A stream over inner that waits for its handshake. psk: the identity that a client
 * shows, out of the file; NULL: the certificate, or, of a secret, its own. server:
 * psk must be NULL. Takes ownership of inner, also on failure; t is borrowed until the
 * handshake is done. */
int cor_stream_tls(struct cor_stream **out, struct cor_stream *inner, const struct cor_tls *t,
		   bool server, const char *psk, struct cor_error *err);

/* One step. 0: done; -EAGAIN: call again when in_fd is readable; -errno with the reason:
 * -EKEYREJECTED (the peer does not take our key, or has not ours), -ENOKEY (it shows no
 * key), -EPROTO, -ECONNRESET and others; then only close is allowed. A handshake sends
 * little, so sending is not worth an -EAGAIN of its own. */
int cor_stream_tls_step(struct cor_stream *s, struct cor_error *err);

/* The whole of it, until the deadline (CLOCK_MONOTONIC, ns): also -ETIMEDOUT. */
int cor_stream_tls_handshake(struct cor_stream *s, uint64_t deadline_ns, struct cor_error *err);

/* Who the peer has proved to be, once the handshake is done. */
struct cor_tls_peer {
	char psk[COR_TLS_NAME];         /* the identity whose key it has; "": by certificate */
	bool trusted;                   /* its certificate comes from one of our authorities, and
					   is good for its side (client or server) today */
	char why[160];                  /* if it is not: the reason */
	char subject[COR_TLS_NAME];     /* the certificate's, for messages */
	uint8_t fingerprint[COR_TLS_FINGERPRINT];
};

/* Fills *out. 0 or -errno. */
int cor_stream_tls_peer(struct cor_stream *s, struct cor_tls_peer *out, struct cor_error *err);

/* Is name (or IP address) one that the peer's certificate is for? Wildcards are not. */
bool cor_stream_tls_named(struct cor_stream *s, const char *name);

/* 64 hexadecimal digits, with colons between bytes or without. -EINVAL. */
int cor_tls_fingerprint_parse(const char *text, uint8_t out[COR_TLS_FINGERPRINT]);

/* The key of identity in a file of psktool(1), of which text is the content: lines of
 * IDENTITY:HEX, or #HEX:HEX where the identity has odd characters. Stores at most size
 * bytes and returns the key's length; -ENOENT: there is no such identity; -EINVAL: a
 * line makes no sense (*line: which one). identity NULL: all lines are checked. */
int cor_psk_find(const char *text, const char *identity, uint8_t *key, unsigned size,
		 unsigned *line);
