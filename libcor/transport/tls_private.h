/* What tls.c (keys) and stream_tls.c (streams) share. */
#pragma once

#include <gnutls/gnutls.h>

#include "libcor/transport/tls.h"

struct cor_tls {
	gnutls_certificate_credentials_t cert;  /* NULL: no certificate and no authorities */
	bool has_certificate;
	char *psk;              /* the file's text; NULL: none */
	size_t psk_len;
	bool is_secret;         /* then only these: */
	char identity[COR_TLS_NAME];
	uint8_t secret[COR_SECRET];
};

/* The key of identity, of at most size bytes; its length or -ENOENT. */
int cor_tls_key(const struct cor_tls *t, const char *identity, uint8_t *key, unsigned size);
