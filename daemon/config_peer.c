/* Peers in cord's configuration; see config.h. */
#include <cap-ng.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/address.h"
#include "daemon/config_private.h"
#include "libcor/base/cleanup.h"
#include "libcor/base/error.h"

static struct cord_peer *find(struct cord_config *c, const char *name)
{
	for (unsigned i = 0; i < c->npeers; i++)
		if (!strcmp(c->peers[i].name, name))
			return &c->peers[i];
	return NULL;
}

/* The peer of that name, made where there is none yet. */
static struct cord_peer *provide(struct reading *r, const char *name)
{
	struct cord_config *c = r->config;
	struct cord_peer *p = find(c, name), *more;

	if (p)
		return p;
	if (!*name || strlen(name) >= sizeof(p->name) || strpbrk(name, " \t")) {
		config_bad(r, "a peer's name is one word of at most 63 letters, not", name);
		return NULL;
	}
	more = reallocarray(c->peers, c->npeers + 1, sizeof(*more));
	if (!more) {
		r->failed = cor_fail(r->err, -ENOMEM, "out of memory");
		return NULL;
	}
	c->peers = more;
	p = &c->peers[c->npeers++];
	memset(p, 0, sizeof(*p));
	strcpy(p->name, name);
	/* all but root */
	p->users.n = 1;
	p->users.range[0].from = 1;
	p->users.range[0].to = UINT32_MAX - 1;
	return p;
}

static int set_address(struct reading *r, struct cord_peer *p, const char *value)
{
	if (strlen(value) >= sizeof(p->address) || !cord_address_valid(value))
		return config_bad(r, "a peer's address is ADDR:PORT, not", value);
	if (p->address[0])
		return config_bad(r, "this peer is named twice:", p->name);
	strcpy(p->address, value);
	return 1;
}

int config_peer_add(struct reading *r, const char *name, const char *value)
{
	struct cord_peer *p = provide(r, name);

	return p ? set_address(r, p, value) : 0;
}

static int set_text(struct reading *r, char *out, size_t size, const char *value)
{
	if (!*value || strlen(value) >= size)
		return config_bad(r, "this is empty or too long:", value);
	strcpy(out, value);
	return 1;
}

static int set_fingerprint(struct reading *r, struct cord_peer *p, const char *value)
{
	if (cor_tls_fingerprint_parse(value, p->fingerprint) < 0)
		return config_bad(r, "a fingerprint is 64 hexadecimal digits (SHA-256), not", value);
	p->has_fingerprint = true;
	return 1;
}

static int set_ids(struct reading *r, struct cord_ids *out, bool group, const char *value)
{
	const char *bad = value;
	unsigned len = 0;
	char word[64];

	if (cord_ids_parse(value, group, out, &bad, &len) == 0)
		return 1;
	snprintf(word, sizeof(word), "%.*s", (int)COR_MIN(len, 60u), bad);
	return config_bad(r, group ? "this is no group here, and no range of group IDs:" :
			  "this is no user here, and no range of user IDs:", word);
}

static int set_capabilities(struct reading *r, struct cord_peer *p, const char *value)
{
	uint64_t set = 0;

	if (!strcmp(value, "*")) {
		p->capabilities = UINT64_MAX;
		return 1;
	}
	while (*value) {
		size_t skip = strspn(value, ", \t"), len = strcspn(value + skip, ", \t");
		char word[32];
		int cap;

		value += skip;
		if (!len)
			break;
		snprintf(word, sizeof(word), "%.*s", (int)COR_MIN(len, sizeof(word) - 1), value);
		cap = capng_name_to_capability(word);
		if (cap < 0)
			return config_bad(r, "this is no capability:", word);
		set |= UINT64_C(1) << cap;
		value += len;
	}
	p->capabilities = set;
	return 1;
}

static int set_without(struct reading *r, struct cord_peer *p, const char *value)
{
	struct cor_error why = COR_ERROR_INIT;

	if (cor_mechanisms_parse(value, &p->without, &why) < 0)
		return config_bad(r, why.text, value);
	return 1;
}

int config_peer_set(struct reading *r, const char *peer, const char *key, const char *value)
{
	struct cord_peer *p = provide(r, peer);

	if (!p)
		return 0;
	if (!strcmp(key, "address"))
		return set_address(r, p, value);
	if (!strcmp(key, "identity"))
		return set_text(r, p->identity, sizeof(p->identity), value);
	if (!strcmp(key, "as"))
		return set_text(r, p->as, sizeof(p->as), value);
	if (!strcmp(key, "fingerprint"))
		return set_fingerprint(r, p, value);
	if (!strcmp(key, "users"))
		return set_ids(r, &p->users, false, value);
	if (!strcmp(key, "groups"))
		return set_ids(r, &p->groups, true, value);
	if (!strcmp(key, "capabilities"))
		return set_capabilities(r, p, value);
	if (!strcmp(key, "without"))
		return set_without(r, p, value);
	return config_bad(r, "this key is not known:", key);
}
