/* Whether cord can serve with its configuration; see config.h. */
#include <errno.h>
#include <string.h>

#include "daemon/address.h"
#include "daemon/config.h"
#include "daemon/keys.h"
#include "libcor/base/error.h"

/* They are read only when they are needed, and once at the start, to see that they can. */
static int check_keys(const struct cord_config *c, struct cor_error *err)
{
	struct cor_tls *loaded;
	int r;

	if (!cord_keys_set(c)) {
		if (c->keys.key[0] || c->keys.ca[0] || c->keys.crl[0] || c->keys.identity[0])
			return cor_fail(err, -EINVAL, "[keys] has neither a certificate nor pre-shared "
					"keys (psk)");
		return 0;
	}
	r = cord_keys_load(c, &loaded, err);
	if (r == 0)
		cor_tls_free(loaded);
	return r;
}

static const char *proven_name(const struct cord_peer *p)
{
	return p->identity[0] ? p->identity : p->name;
}

static int check_peers(const struct cord_config *c, struct cor_error *err)
{
	bool keys = cord_keys_set(c);

	for (unsigned i = 0; i < c->npeers; i++) {
		const struct cord_peer *p = &c->peers[i];

		if (!keys && (p->has_fingerprint || p->identity[0] || p->as[0]))
			return cor_fail(err, -EINVAL, "peer %s is to prove who it is, but this host "
					"has no keys ([keys])", p->name);
		if (p->as[0] && !c->keys.psk[0])
			return cor_fail(err, -EINVAL, "peer %s is to be shown the identity %s, but no "
					"file of pre-shared keys is given ([keys] psk)", p->name, p->as);
		for (unsigned k = 0; k < i; k++)
			if (!strcmp(proven_name(p), proven_name(&c->peers[k])))
				return cor_fail(err, -EINVAL, "peers %s and %s have the same identity",
						c->peers[k].name, p->name);
	}
	return 0;
}

int cord_config_check(const struct cord_config *c, struct cor_error *err)
{
	int r;

	if (c->control[0] != '/')
		return cor_fail(err, -EINVAL,
				"the control socket's path must be absolute, not \"%s\"",
				c->control);
	if (c->state_dir[0] != '/')
		return cor_fail(err, -EINVAL,
				"the state directory's path must be absolute, not \"%s\"",
				c->state_dir);
	if (!cord_address_valid(c->listen))
		return cor_fail(err, -EINVAL, "the address to listen on is ADDR:PORT, not \"%s\"",
				c->listen);
	r = check_keys(c, err);
	if (r == 0)
		r = check_peers(c, err);
	if (r < 0)
		return r;
	r = cord_address_is_loopback(c->listen);
	if (r < 0)
		return cor_fail(err, r, "the address to listen on, \"%s\", cannot be resolved",
				c->listen);
	if (!r && !c->insecure && !cord_keys_set(c))
		return cor_fail(err, -EACCES,
				"%s is not a loopback address, and without keys cord serves "
				"loopback only (--insecure serves it in the clear)", c->listen);
	return 0;
}
