/* Mechanisms: what a migration is made of, and what can be left out of it.
 *
 * Each has a version of its own, which both hosts tell in HELLO. Some every
 * migration needs (paging, task, descriptors). The others carry one kind of name
 * each, can be switched off (in the configuration, for one migration), and are off for
 * a session whose peer lacks them or has another version: then a task that needs one
 * is refused by its name, before the freeze, and all others move as ever.
 *
 * To add one: a constant here, a row in mechanism.c, .mechanism in the
 * struct cor_file_ops of the kinds of descriptor that are its own, and whatever else it
 * does asks cor_mechanism_on() first. A change that an older host would not understand
 * raises the version in its row.
 */
#pragma once

#include <cor/error.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum cor_mechanism {
	COR_MECHANISM_PAGING,
	COR_MECHANISM_TASK,
	COR_MECHANISM_DESCRIPTORS,
	COR_MECHANISM_FILES,
	COR_MECHANISM_HOME,
	COR_MECHANISM_EVENTS,
	COR_MECHANISM_PIPES,
	COR_MECHANISM_SOCKETS,
	COR_MECHANISM_TCP,
	COR_MECHANISM_UDP,
	COR_MECHANISM_PUMP,
	COR_MECHANISM_STANDIN,
	COR_MECHANISM_TERMINALS,
	COR_MECHANISM_HOST_NAME,
	COR_MECHANISM_FORWARD,
	COR_MECHANISM_COMPRESS,
	COR_MECHANISM_ONE_SIDED,
	COR_MECHANISM_MAPPED,
	COR_MECHANISM_SECCOMP,
	COR_MECHANISMS
};

/* A set of mechanisms: 1 << enum cor_mechanism each. */
typedef uint32_t cor_mechanism_set;

struct cor_mechanism_info {
	const char *name;       /* in HELLO, in the configuration and on the command line */
	uint32_t    version;
	bool        essential;  /* cannot be switched off */
	const char *what;       /* for --help and the manual: what it carries */
};

extern const struct cor_mechanism_info cor_mechanism_table[COR_MECHANISMS];

/* How a mechanism stands in one session. */
enum cor_mechanism_state {
	COR_MECHANISM_IS_ON,
	COR_MECHANISM_OFF_HERE,         /* by this host's configuration */
	COR_MECHANISM_OFF_ASKED,        /* for this migration (--without) */
	COR_MECHANISM_OFF_PEER,         /* the peer has not offered it */
	COR_MECHANISM_OFF_VERSION,      /* the peer has another version */
};

/* The mechanisms of one session. Begun by cor_mechanisms_init(), settled by the
 * peer's HELLO. NULL in the functions that take it const: all are on. */
struct cor_mechanisms {
	enum cor_mechanism_state state[COR_MECHANISMS];
	uint32_t peer_version[COR_MECHANISMS];
	char     peer[64];              /* its name, for sentences */
};

/* Before the peer has spoken: all are on but those. Essential ones always are. */
void cor_mechanisms_init(struct cor_mechanisms *m, cor_mechanism_set off_here,
			 cor_mechanism_set off_asked);

/* One mechanism that the peer offers; names that are not known here are no error. */
void cor_mechanisms_offered(struct cor_mechanisms *m, const char *name, uint32_t version);

/* When the peer has told all: switches off what it has not. -EPROTONOSUPPORT with the
 * name of an essential one that both hosts do not have in the same version. */
int cor_mechanisms_settle(struct cor_mechanisms *m, const char *peer, struct cor_error *err);

bool cor_mechanism_on(const struct cor_mechanisms *m, enum cor_mechanism which);

/* 0 when it is on; else -EOPNOTSUPP with "WHAT needs the mechanism pipes, which is
 * switched off on this host". what begins the sentence: "descriptor 4 (pipe:[12])". */
int cor_mechanism_require(const struct cor_mechanisms *m, enum cor_mechanism which,
			  const char *what, struct cor_error *err);

/* "on", or why not: "off on this host", "off on B", "version 2 on B, 1 here", ... */
const char *cor_mechanism_state_text(const struct cor_mechanisms *m, enum cor_mechanism which,
				     char *buf, size_t size);

/* -ENOENT: there is none of that name. */
int cor_mechanism_find(const char *name);

/* Reads "files,sockets" into a set. -EINVAL with the name that is not known, or that
 * cannot be switched off, and those that can. */
int cor_mechanisms_parse(const char *list, cor_mechanism_set *out, struct cor_error *err);

/* The names of those that can be switched off: "files, events, ...". */
const char *cor_mechanisms_optional(char *buf, size_t size);
