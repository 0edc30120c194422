/* Keys for tests, made on the spot: authorities, certificates, files of pre-shared keys. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* A directory of its own under $TMPDIR; its path lives until keys_end(). */
const char *keys_begin(void);
void keys_end(void);

/* The path of a file there; valid until the next 8 calls. */
const char *keys_path(const char *name);

/* NAME.pem and NAME.key: an authority. */
void keys_authority(const char *name);

enum keys_flags {
	KEYS_EXPIRED     = 1,
	KEYS_ONLY_SERVER = 2,   /* not good for a client */
};

/* NAME.pem and NAME.key: a certificate for the host dns, signed by an authority, or by
 * itself where that is NULL. */
void keys_certificate(const char *name, const char *dns, const char *authority, unsigned flags);

/* AUTHORITY.crl: a list on which the certificate stands. */
void keys_revoke(const char *name, const char *authority);

/* A file with this text and mode. */
void keys_file(const char *name, const char *text, unsigned mode);
