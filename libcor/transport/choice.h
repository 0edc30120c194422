/* Which transports a session's page lanes may use, best first. As text it is a list of
 * names with commas or spaces between them:
 *
 *	verbs, fabric:verbs        these, the first one that both hosts have
 *	!fabric:verbs              what is used otherwise, without this one
 *
 * "tcp" is the last of every list, named or not: it is always there, carries the
 * control channel, and is where a lost lane is replaced.
 */
#pragma once

#include <cor/error.h>
#include <stdbool.h>
#include <stddef.h>

#define COR_TRANSPORTS     8
#define COR_TRANSPORT_TEXT 32   /* a name, NUL included */

struct cor_transports {
	unsigned n;
	bool tcp_named;         /* tcp was wished for, and is not only the last resort */
	char name[COR_TRANSPORTS][COR_TRANSPORT_TEXT];
};

/* What is used where nobody says otherwise: adapters that do RDMA, by their own
 * library, then TCP. What does it in software is not among them. */
extern const struct cor_transports cor_transports_default;

/* Parses text; base is what names with a "!" are taken out of. -EINVAL, with the name:
 * it is no transport; both kinds of names; too many; tcp cannot be left out. */
int cor_transports_parse(const char *text, const struct cor_transports *base,
			 struct cor_transports *out, struct cor_error *err);

bool cor_transports_have(const struct cor_transports *t, const char *name);

/* Is name one that could be had, on some host? */
bool cor_transport_is_known(const char *name);

/* Is there code for it in here? */
bool cor_transport_is_built(const char *name);

/* Is it built in, and does the host have what it stands on as far as a glance tells?
 * Loads nothing: whether it can really be had shows when it is opened. */
bool cor_transport_plausible(const char *name);

/* Could it be opened on this host? Opens nothing for good, but may load a library. 0;
 * -errno with the reason. */
int cor_transport_probe(const char *name, struct cor_error *err);
