/* The states of a session: the one table, for the workers on both sides, for cord's
 * records and for the state directory.
 *
 *	state      source                          destination
 *	PREPARE    reads the running task, asks    checks, builds the stub ahead
 *	FREEZE     task stopped, image sent        rebuilds
 *	COMMIT     sent; never thaws any more      may run the task, and does
 *	IN_DOUBT   asks whether COMMIT arrived     (none)
 *	PAGING     ghost serves pages              faults and prefetch
 *	DETACHED   connects again                  no way to the source: faults wait
 *	DRAINED    all pages were fetched          waits for the release
 *	RELEASED   the ghost is gone               nothing of cor is in the task's way
 *	ABORTED    thawed: as if nothing happened  stub killed
 *	LOST       the ghost is dead or useless    the task is killed, and reported
 *
 * Before COMMIT every failure ends in ABORTED. Behind it only the destination's own
 * word that it never saw COMMIT, and never will, or a person's that the destination
 * is dead, leads there.
 */
#pragma once

#include <stdbool.h>

/* In the order in which a good migration passes them. */
enum session_state {
	SESSION_PREPARE,
	SESSION_FREEZE,
	SESSION_COMMIT,
	SESSION_IN_DOUBT,
	SESSION_PAGING,
	SESSION_DETACHED,
	SESSION_DRAINED,
	SESSION_RELEASED,
	SESSION_ABORTED,
	SESSION_LOST,
	SESSION_STATES
};

const char *session_state_name(enum session_state state);

/* -EINVAL for a name that is none. */
int session_state_parse(const char *name);

/* May to follow from? The table in states.c is the only place that says so. */
bool session_state_may(enum session_state from, enum session_state to);

/* The point of no return has been passed, and was not found not to have been. */
bool session_state_committed(enum session_state state);

/* The task runs on the destination, or did. */
bool session_state_resumed(enum session_state state);

/* Nothing follows. */
bool session_state_final(enum session_state state);
