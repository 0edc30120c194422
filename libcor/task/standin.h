/* The stand-in: what keeps a task's place where it left. A parent that waits there, and
 * whoever sends a signal to the PID, must find the task, which is elsewhere.
 *
 * Once every page has followed, the ghost is turned into the stand-in instead of being
 * killed: by injected calls it executes a small program of ours (standin_program.c). So
 * PID, parent, session, process group and credentials are the ghost's own. The program
 * passes on every signal that it gets, and ends as the task has ended; it is not traced.
 *
 * It has one descriptor, a SOCK_SEQPACKET socket, on which it is told and tells
 * struct cor_standin_message.
 */
#pragma once

#include <stdint.h>

enum cor_standin_kind {
	/* to the stand-in, before anything else */
	COR_STANDIN_NAME = 1,   /* info: its prctl(PR_SET_NAME) */
	COR_STANDIN_KNOWN,      /* info: a siginfo_t, pending, that the task has got already */
	COR_STANDIN_BEGIN,      /* nothing more comes before anything else */
	/* to the stand-in */
	COR_STANDIN_STOP,       /* value: the signal that has stopped the task */
	COR_STANDIN_END,        /* value: how the task has ended, as wait(2) tells */
	/* from the stand-in */
	COR_STANDIN_SIGNAL,     /* info: the siginfo_t */
};

struct cor_standin_message {
	uint32_t kind;          /* enum cor_standin_kind */
	int32_t  value;
	uint8_t  info[128];     /* a siginfo_t, or a text */
};
_Static_assert(sizeof(struct cor_standin_message) == 136, "no holes");

/* The descriptor of the socket in the program. */
#define COR_STANDIN_FD 1
/* The value that SIGCONT has when it is for the stand-in alone: the task goes on already. */
#define COR_STANDIN_CONT 0x636f7263

/* ---- making one ------------------------------------------------------------------- */

#ifndef COR_STANDIN_PROGRAM
#include <cor/error.h>
#include <signal.h>
#include <stddef.h>
#include <sys/types.h>

#include "libcor/task/tracee.h"

struct cor_standin_plan {
	const char *comm;
	const char *args;       /* as /proc/PID/cmdline shows them: a NUL behind each */
	size_t      args_len;
	const siginfo_t *known; /* signals that are pending in the ghost and need not be told */
	unsigned    nknown;
};

/* Turns the ghost, whose pages nobody needs any more, into a stand-in, and frees t. *sock:
 * the other end of its socket, the caller's. On failure the ghost is killed, as
 * cor_tracee_kill() does. */
int cor_standin_make(struct cor_tracee *t, const struct cor_standin_plan *plan, int *sock,
		     struct cor_error *err);

/* The siginfo of every signal that is pending for the tracee or one of its threads;
 * malloc. */
int cor_standin_pending(const struct cor_tracee *t, siginfo_t **out, unsigned *n,
			struct cor_error *err);
#endif
