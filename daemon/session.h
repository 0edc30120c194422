/* A migration session, as each of its two workers sees it.
 *
 *	state      source                          destination
 *	PREPARE    reads the running task, asks    checks, builds the stub ahead
 *	FREEZE     task stopped, image sent        rebuilds
 *	COMMIT     sent; never thaws any more      may run the task, and does
 *	IN_DOUBT   asks whether COMMIT arrived     (none)
 *	PAGING     ghost serves pages              faults and prefetch
 *	DRAINED    all pages were fetched          waits for the release
 *	RELEASED   the ghost is gone               nothing of cor is in the task's way
 *	ABORTED    thawed: as if nothing happened  stub killed
 *	LOST       the ghost is dead or useless    the task is killed, and reported
 *
 * Before COMMIT every failure ends in ABORTED. Behind it only the destination's own
 * word that it never saw COMMIT, and never will, leads there. The table in session.c
 * is the only place that says which step may follow which.
 */
#pragma once

#include <cor/error.h>
#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "daemon/control.pb-c.h"

enum session_state {
	SESSION_PREPARE,
	SESSION_FREEZE,
	SESSION_COMMIT,
	SESSION_IN_DOUBT,
	SESSION_PAGING,
	SESSION_DRAINED,
	SESSION_RELEASED,
	SESSION_ABORTED,
	SESSION_LOST,
	SESSION_STATES
};

struct session {
	enum session_state state;
	int  cord;              /* SEQPACKET to cord; -1 once cord has gone */
	json_t *figures;        /* what the final result will show; grows as things are known */
};

/* Goes first while the task stands still (setpriority(2), this thread), and back.
 * Where that is not allowed the freeze takes what it takes on a busy host. */
void session_hurry(bool on);

/* Begins in PREPARE. cord is borrowed. */
int  session_begin(struct session *s, int cord, struct cor_error *err);
void session_end(struct session *s);

const char *session_state_name(enum session_state state);

/* Takes the step and tells cord. -EPROTO when the table does not have it. */
int session_move(struct session *s, enum session_state to, struct cor_error *err);

/* Has the point of no return been passed? */
bool session_committed(const struct session *s);

/* Sends cord a status message with the state and all figures. */
void session_report(struct session *s);

/* The last message. why NULL: ok. exit_code as cor migrate's. */
void session_result(struct session *s, int exit_code, const struct cor_error *why);

/* Merges a peer's or our own progress into the figures. */
void session_figures_progress(struct session *s, const Cor__Control__Progress *p);

/* Sends one JSON object (stolen) to cord, with at most one descriptor (-1: none). */
void session_tell(struct session *s, json_t *message, int fd);

/* Reads one message of cord's if there is one, without blocking: 1, 0 (none), or
 * -errno (cord has gone; s->cord is -1 from then on). *fd: a descriptor that came
 * along (the caller's), or -1. */
int session_hear(struct session *s, json_t **message, int *fd);
