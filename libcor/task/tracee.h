/* A seized process and its threads: freeze, thaw, ghost.
 *
 * seize attaches without stopping (PTRACE_SEIZE); stop stops every thread and
 * notes its registers as found; thaw puts them back and lets go, and the task
 * goes on as if nothing had happened. After the commit the tracee is a ghost:
 * it stays stopped, and dies with its tracer (PTRACE_O_EXITKILL) rather than
 * run a second time. All calls by one thread of ours: ptrace's rule.
 */
#pragma once

#include <cor/error.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/user.h>

#include "libcor/task/asleep.h"
#include "libcor/task/inject.h"
#include "libcor/task/procfs.h"

struct cor_tracee_thread {
	pid_t    tid;           /* as we see it */
	pid_t    inner_tid;     /* in its innermost PID namespace */
	struct user_regs_struct regs;   /* as it was stopped */
	uint64_t sigmask;
	uint64_t rseq_cs;       /* the critical section's descriptor address, read before any injection */
	uint64_t rseq;          /* its registered rseq area, 0: none (rseq(2)) */
	uint32_t rseq_len;
	uint32_t rseq_sig;
	uint64_t rseq_abort_ip; /* where it goes on, having been in a critical section; 0: it was in none */
	uint64_t slept_ns;      /* how long it had been blocked when it was stopped; 0: unknown */
	struct cor_proc_sched before;   /* of stop: as it was just before; ran_at_ns 0: unknown */
	unsigned seccomp;       /* SECCOMP_MODE_*, as it was seized */
	/* its status and sched in /proc, opened ahead of the stop; -1: not kept */
	int      status_fd, sched_fd;
	/* what was read of it ahead of the stop, as long as it has not run since; borrowed; NULL: all
	 * must be read */
	const struct cor_asleep *asleep;
	bool     group_stop;    /* it was in a group-stop */
	bool     is_stopped;    /* in a ptrace-stop that we may use */
};

struct cor_tracee {
	pid_t    pid;
	pid_t    inner_pid;
	unsigned nthreads;
	struct cor_tracee_thread *threads;   /* the leader first */
	bool     stopped;       /* every thread is */
	bool     ghost;
	uint64_t stopping_ns;   /* when the last stop began, just before the first thread was
				   interrupted (cor_now_ns()), */
	uint64_t stopped_ns;    /* and when the last one had stopped */
	int      task_dir;      /* descriptor of /proc/PID/task */
	struct cor_runner *runner;      /* of a capture, kept: a ghost needs no tidying, and
					   thawing unmaps it; NULL: none */
};

/* Attaches to every thread. -ESRCH; -EPERM with who traces it already. The task
 * runs on, but a signal or a new thread makes it wait until stop or thaw: let
 * one of them follow soon. */
int cor_tracee_seize(struct cor_tracee **out, pid_t pid, struct cor_error *err);

/* Seizes and stops a single thread, neither the first one nor one with seccomp filters, while the
 * others run; cor_tracee_thaw() lets it go. -EAGAIN: it is about to do something, and
 * does that; -ESRCH; -ETIME: it does not stop, and stays attached until the calling thread of
 * ours ends or the process is seized. */
int cor_tracee_visit(struct cor_tracee **out, pid_t pid, pid_t tid, struct cor_error *err);

/* Stops every thread, those being born included. -ETIME after timeout_ms with the name of the
 * thread that did not stop (a parent in vfork, an uninterruptible sleep): the
 * others are then running again. */
int cor_tracee_stop(struct cor_tracee *t, unsigned timeout_ms, struct cor_error *err);

/* Lets go of every thread and frees t: the task goes on as if nothing had
 * happened, in the system calls it was in. NULL allowed. A thread that cannot be
 * stopped (vfork) stays attached until the calling thread of ours ends. The
 * registers must be as they were found (inject.h leaves them so). */
void cor_tracee_thaw(struct cor_tracee *t);

/* /proc/PID/task/TID/status of one of its threads, read now. 0, -EINVAL, or the error of read(2). */
int cor_tracee_status(const struct cor_tracee *t, const struct cor_tracee_thread *th,
		      struct cor_proc_status *out);

/* The handler that a signal pending for this stopped thread is about to run, as
 * restart.h wants it: an enum cor_handler. caught: SigCgt; actions: flags of
 * each signal's action, signal 1 first, NULL when unknown (then as without
 * SA_RESTART). */
int cor_tracee_pending_handler(const struct cor_tracee_thread *th, uint64_t caught,
			       const uint64_t *flags);

/* From now on the tracee must not run again; its memory stays readable. */
int cor_tracee_make_ghost(struct cor_tracee *t, struct cor_error *err);

/* Frees t, whose threads we trace no more. */
void cor_tracee_forget(struct cor_tracee *t);

/* Kills the process, waits until it is gone as far as its tracer can, frees t. */
void cor_tracee_kill(struct cor_tracee *t);
