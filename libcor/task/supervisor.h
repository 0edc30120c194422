/* The supervisor: parent of an arrived task, one per task.
 *
 * A small process of its own, so that it outlives the daemon: restarting cord
 * never touches a task. In a new PID namespace it is the init. It makes the
 * stub with the task's PID, session and process group, keeps a copy of the
 * userfaultfd (whose last close would turn missing pages into zeros), reaps
 * everything, and reports the exit status. Before the task was resumed it kills
 * the stub when the other end of its control socket closes; afterwards it lives
 * as long as the task.
 */
#pragma once

#include <cor/error.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "libcor/task/uts.h"

struct cor_supervisor_plan {
	int32_t pid, pgid, sid;         /* of the task; pgid, sid 0: not to be kept */
	int32_t ppid;                   /* the supervisor's own PID, if that is free; 0: any */
	int     tty;                    /* the task's controlling terminal; -1: it has none. If the task is
					   not the leader of its session, the supervisor is: its PID
					   is sid then, whatever ppid */
	bool    foreground;             /* its process group has the terminal */
	bool    user_ns;                /* make a user namespace in which all stay who they are, for what
					   follows to be allowed; pid_ns goes with it */
	bool    pid_ns;                 /* make a PID namespace, and a mount namespace with its /proc */
	bool    uts_ns;                 /* make a UTS namespace with these names */
	struct cor_uts uts;
	bool    time_ns;
	int64_t monotonic_offset_ns;
	int64_t boottime_offset_ns;
	/* In the supervisor, in a mount namespace of its own: makes what the task is to see.
	 * NULL: what the caller sees. */
	int   (*view)(void *arg, struct cor_error *err);
	void   *view_arg;
	int     ctl;                    /* the supervisor's end, SOCK_SEQPACKET */
	int     channel;                /* the stub's end, SOCK_STREAM */
	int     report;                 /* -1: none */
	int     watch;                  /* socket on which each wait status is told; -1: none */
	int     listen;                 /* -1: none */
	int     record;                 /* -1: none */
	int64_t record_at;
	int     max_fd;                 /* kept descriptors lie above */

	/* The stub's code. Runs in the stub; never returns. */
	void  (*stub)(void *arg, int channel, int max_fd);
	void   *arg;
};

/* What comes on the watch socket, if there is a terminal: whether the task's process
 * group has it, and a signal for the task behind that. A task that went on before it has
 * the terminal would be stopped by the first look at it. */
struct cor_supervisor_terminal {
	int32_t foreground;
	int32_t signal;                 /* 0: none */
};

/* What goes over the control socket, each in one packet. */
enum cor_supervisor_op {
	/* to the caller */
	COR_SUPERVISOR_HELLO = 1,       /* sent by the supervisor itself */
	COR_SUPERVISOR_FAILED,          /* code, text: no stub will come */
	COR_SUPERVISOR_DONE,            /* the request was carried out */
	/* to the supervisor */
	COR_SUPERVISOR_UFFD,            /* with the userfaultfd; value: the stub's PID for the caller */
	COR_SUPERVISOR_RESUMED,         /* from now on the task outlives the caller */
	COR_SUPERVISOR_RELEASE,         /* close the userfaultfd */
	COR_SUPERVISOR_ABORT,           /* kill the stub, reap it, exit */
};

struct cor_supervisor_packet {
	uint32_t op;
	int32_t  code;
	int32_t  value;
	char     text[COR_ERROR_TEXT];
};

/* Forks the supervisor, which is no child of the caller (init reaps it). It
 * says HELLO or FAILED on ctl, and then the stub speaks on its channel. */
int cor_supervisor_start(const struct cor_supervisor_plan *plan, struct cor_error *err);

/* Sends a command that has no answer: COR_SUPERVISOR_RESUMED. -ESRCH: it is gone. */
int cor_supervisor_tell(int ctl, enum cor_supervisor_op op, int32_t value, int fd,
			struct cor_error *err);

/* Sends op and waits for DONE. -ESRCH: the supervisor is gone. */
int cor_supervisor_ask(int ctl, enum cor_supervisor_op op, int32_t value, int fd,
		       struct cor_error *err);
