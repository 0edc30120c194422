/* See keys.h. */
#include "daemon/keys.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "libcor/base/cleanup.h"
#include "libcor/base/error.h"
#include "libcor/transport/tcp.h"

bool cord_keys_set(const struct cord_config *c)
{
	return c->keys.certificate[0] || c->keys.psk[0];
}

int cord_keys_load(const struct cord_config *c, struct cor_tls **out, struct cor_error *err)
{
	const struct cor_tls_files files = {
		.certificate = c->keys.certificate, .key = c->keys.key, .ca = c->keys.ca,
		.crl = c->keys.crl, .psk = c->keys.psk,
	};

	return cor_tls_load(out, &files, err);
}

const char *cord_keys_psk(const struct cord_config *c, const struct cor_tls *keys,
			  const struct cord_peer *peer)
{
	if (peer && peer->as[0])
		return peer->as;
	if (cor_tls_has_certificate(keys))
		return NULL;
	return c->keys.identity[0] ? c->keys.identity : c->name;
}

static const char *proven_name(const struct cord_peer *p)
{
	return p->identity[0] ? p->identity : p->name;
}

static bool has_fingerprint(const struct cord_peer *p, const struct cor_tls_peer *shown)
{
	return memcmp(p->fingerprint, shown->fingerprint, sizeof(p->fingerprint)) == 0;
}

/* Does this certificate belong to peer? A fingerprint needs no authority. */
static bool is_of(const struct cord_peer *p, struct cor_stream *s, const struct cor_tls_peer *shown)
{
	if (p->has_fingerprint)
		return has_fingerprint(p, shown);
	return shown->trusted && cor_stream_tls_named(s, proven_name(p));
}

static void put_fingerprint(char out[3 * COR_TLS_FINGERPRINT], const struct cor_tls_peer *shown)
{
	for (unsigned i = 0; i < COR_TLS_FINGERPRINT; i++)
		sprintf(out + 2 * i, "%02x", shown->fingerprint[i]);
}

/* Says what is wrong with a certificate that belongs to nobody we know. */
static int reject(const struct cor_tls_peer *shown, const char *expected, struct cor_error *err)
{
	char print[3 * COR_TLS_FINGERPRINT];

	put_fingerprint(print, shown);
	if (!shown->trusted)
		return cor_fail(err, -EKEYREJECTED, "the key that %s shows (%s, fingerprint %s) is "
				"a stranger's: %s", expected, shown->subject, print, shown->why);
	return cor_fail(err, -EKEYREJECTED, "the certificate that %s shows (%s, fingerprint %s) has "
			"another name", expected, shown->subject, print);
}

int cord_keys_verify(const struct cord_config *c, const char *dest, struct cor_stream *s,
		     struct cor_error *err)
{
	const struct cord_peer *peer = cord_config_find_peer(c, dest);
	struct cor_tls_peer shown;
	struct cor_addrport where;
	int r = cor_stream_tls_peer(s, &shown, err);

	if (r < 0)
		return r;
	/* it has the key that only the two of us have */
	if (shown.psk[0])
		return 0;
	if (peer)
		return is_of(peer, s, &shown) ? 0 : reject(&shown, dest, err);
	r = cor_addrport_parse(dest, &where, err);
	if (r < 0)
		return r;
	return shown.trusted && cor_stream_tls_named(s, where.host) ? 0 : reject(&shown, dest, err);
}

static int identify_psk(const struct cord_config *c, const char *identity,
			const struct cord_peer **out, struct cor_error *err)
{
	for (unsigned i = 0; i < c->npeers; i++) {
		if (strcmp(proven_name(&c->peers[i]), identity) != 0)
			continue;
		*out = &c->peers[i];
		return 0;
	}
	return cor_fail(err, -EKEYREJECTED, "it has the key of \"%s\", which is the identity of no "
			"peer here", identity);
}

int cord_keys_identify(const struct cord_config *c, struct cor_stream *s,
		       const struct cord_peer **out, struct cor_error *err)
{
	struct cor_tls_peer shown;
	int r = cor_stream_tls_peer(s, &shown, err);

	if (r < 0)
		return r;
	if (shown.psk[0])
		return identify_psk(c, shown.psk, out, err);
	for (unsigned i = 0; i < c->npeers; i++) {
		if (!is_of(&c->peers[i], s, &shown))
			continue;
		*out = &c->peers[i];
		return 0;
	}
	r = reject(&shown, "it", err);
	if (shown.trusted)
		r = cor_fail(err, r, "its certificate (%s) has the name of no peer here", shown.subject);
	return r;
}
