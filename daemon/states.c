/* The states of a session and what may follow which; see states.h. */
#include "daemon/states.h"

#include <errno.h>
#include <string.h>

#define TO(s) (1u << SESSION_##s)

static const struct {
	const char *name;
	unsigned    next;       /* bits of the states that may follow */
} states[SESSION_STATES] = {
	[SESSION_PREPARE]  = { "prepare",  TO(FREEZE) | TO(ABORTED) },
	/* back to PREPARE: a child or a new thread made the frozen task differ
	 * from its skeleton; it is thawed and the attempt repeated */
	[SESSION_FREEZE]   = { "freeze",   TO(COMMIT) | TO(PREPARE) | TO(ABORTED) },
	/* ABORTED at the destination alone: COMMIT was read, but the worker died before
	 * it let the task go */
	[SESSION_COMMIT]   = { "commit",   TO(PAGING) | TO(IN_DOUBT) | TO(ABORTED) | TO(LOST) },
	/* the source alone: no RESUMED came. It asks until it is told; ABORTED only
	 * where the destination says that it has given up without having let the task go */
	[SESSION_IN_DOUBT] = { "in-doubt", TO(PAGING) | TO(ABORTED) | TO(LOST) },
	[SESSION_PAGING]   = { "paging",   TO(DETACHED) | TO(DRAINED) | TO(LOST) },
	[SESSION_DETACHED] = { "detached", TO(PAGING) | TO(DRAINED) | TO(LOST) },
	[SESSION_DRAINED]  = { "drained",  TO(RELEASED) },
	[SESSION_RELEASED] = { "released", 0 },
	[SESSION_ABORTED]  = { "aborted",  0 },
	[SESSION_LOST]     = { "lost",     0 },
};

const char *session_state_name(enum session_state state)
{
	return states[state].name;
}

int session_state_parse(const char *name)
{
	for (int i = 0; i < SESSION_STATES; i++)
		if (!strcmp(name, states[i].name))
			return i;
	return -EINVAL;
}

bool session_state_may(enum session_state from, enum session_state to)
{
	return states[from].next & (1u << to);
}

bool session_state_committed(enum session_state state)
{
	return state >= SESSION_COMMIT && state != SESSION_ABORTED;
}

bool session_state_resumed(enum session_state state)
{
	return state >= SESSION_PAGING && state <= SESSION_RELEASED;
}

bool session_state_final(enum session_state state)
{
	return !states[state].next;
}
