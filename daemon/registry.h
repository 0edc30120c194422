/* All migrations that cord knows of: their records and their workers. */
#pragma once

#include <cor/error.h>
#include <jansson.h>
#include <stdbool.h>

#include "daemon/loop.h"
#include "daemon/record.h"
#include "daemon/worker.h"
#include "libcor/transport/preamble.h"

struct registry;
struct entry;             /* a record and its worker */

struct registry_env {
	struct loop              *loop;
	const struct worker_ops  *workers;
	const struct cord_config *config;
	int state;                /* the state directory, borrowed */
	/* A record changed. After it ended it may be forgotten any time. */
	void (*changed)(void *arg, struct entry *e);
	/* A task arrived; report is the callee's. */
	void (*arrived)(void *arg, const json_t *message, int report);
	/* Nobody serves the task that came by this session any more: it must not run on.
	 * True: it is certain to be dead soon. */
	bool (*abandoned)(void *arg, const uint8_t session[16]);
	void  *arg;
};

/* *env is copied; what it points to is borrowed. */
int  registry_new(struct registry **out, const struct registry_env *env);
/* Takes over the sessions that an earlier cord has left in the state directory: those
 * that go on with their workers, and how the others ended. Before anything else. */
int  registry_adopt(struct registry *reg);

/* The workers that are left live on. NULL allowed. */
void registry_free(struct registry *reg);

struct registry_source {
	pid_t       pid;
	const char *dest;         /* ADDR:PORT */
	const char *shown;        /* as the client named it */
	const char *transport;    /* "": the best */
	bool        prefetch;
	bool        outside;
	cor_mechanism_set without;
	bool        settle;
	char      **addresses;    /* that move along, NULL at the end; or NULL: none */
	uint64_t    hooks;        /* see programs.h; 0: none */
	uint64_t    epoch;        /* of this hand-over */
	const uint8_t *arrived;   /* the session by which it came here; NULL: by none */
	int64_t     owner;        /* the user whose it must be; -1: anybody's */
};

/* Starts a source worker. -EALREADY: the task is migrating; -EBUSY: too many
 * workers; -errno of fork(2) and others. */
int registry_start_source(struct registry *reg, const struct registry_source *what,
			  struct entry **out, struct cor_error *err);

/* Starts a destination worker on an accepted control connection, which is taken
 * in any case. tls: its handshake is still to come. */
int registry_start_destination(struct registry *reg, int control, bool tls, const char *peer,
			       struct cor_error *err);

/* Whether another destination worker may start: 0 or -EBUSY (too many run, or too many
 * have not yet heard what they are for). */
int registry_room(const struct registry *reg);

/* Hands a lane to the worker whose session it names. check: 0, -ENOENT, -EPERM
 * and, for a lane that may pass, the entry. give: takes fd in any case. */
int registry_lane_check(struct registry *reg, const struct cor_preamble *p, struct entry **out);
int registry_lane_give(struct entry *e, const struct cor_preamble *p, int fd);

/* The session that a source wants to join again. check: 0 and the living entry;
 * -ENOENT, -EPERM, -EBUSY (not now), or how it ended (record_outcome()). registry_lane_give() then
 * hands the new control connection over. */
int registry_rejoin_check(struct registry *reg, const struct cor_preamble *p, struct entry **out);

/* Tells who joins again over sock, inside TLS, how e's session has ended (status). Takes
 * sock. -EBUSY: too many are told just now. */
int registry_tell_outcome(struct registry *reg, const struct entry *e, int sock, uint8_t index,
			  int status);

/* Finds the session whose identity begins with id, the source's before the
 * destination's, of those that uid may see (owner.h). -ENOENT, -ENOTUNIQ. */
int registry_find(const struct registry *reg, uid_t uid, const char *id, struct entry **out);

/* Asks the worker to give up. */
int registry_cancel(struct entry *e);
/* Tells it that the other host is dead. */
int registry_resolve(struct entry *e);

const struct record *entry_record(const struct entry *e);

/* A fresh array of records whose identity begins with id ("": all), oldest first. */
json_t *registry_json(const struct registry *reg, const char *id);

/* A child of cord has ended and was reaped; status: wait(2)'s. False: it was no
 * worker. */
bool registry_child_ended(struct registry *reg, pid_t pid, int status);

/* Workers that are running now. */
unsigned registry_workers(const struct registry *reg);
