/* inject: system calls made by a stopped process, chosen by us.
 *
 * A *runner* is a small shared region, mapped here and in the tracee: a few
 * instructions of position-independent code that walk a list of calls, and
 * room for the lists. Running a list costs one resume and one stop, however
 * many calls it holds. Before a runner exists (and where every signal that could
 * end a list waits in the tracee already) single calls are *stepped* through a
 * syscall instruction that the tracee has anyway, in its vDSO.
 *
 * A tracer may be killed at any moment, and then the kernel lets its tracees run.
 * One that runs a list, or has come to its end, goes back to where it was by itself,
 * with its own registers and mask; all that stays is the runner's mapping, and EINTR
 * from the few calls that no stop restarts (signal(7)). Only a stepped call cannot: the two that map and unmap a runner, some 20 us each.
 *
 * All functions work on threads in a ptrace-stop whose tracer is the caller.
 * They leave general registers and signal mask of the thread as they were, but for
 * cor_runner_bare().
 */
#pragma once

#include <cor/error.h>
#include <stdbool.h>
#include <stdint.h>
#include <stddef.h>
#include <sys/types.h>
#include <sys/user.h>

/* One call; 64 bytes, laid out as the runner's code reads it. */
struct cor_call {
	uint64_t nr;
	uint64_t arg[6];
	int64_t  ret;           /* the kernel's return value: -errno on failure */
};
_Static_assert(sizeof(struct cor_call) == 64, "the runner's code counts in 64 bytes");

/* A call's arguments; those that are left out are 0. */
#define COR_ARGS(...) ((const uint64_t[6]){ __VA_ARGS__ })

struct cor_runner;

/* One call in thread tid, stepped (PTRACE_SYSCALL twice). insn: address of a
 * syscall instruction in the tracee. *ret is the kernel's return value. */
int cor_step_call(pid_t tid, uint64_t insn, const struct cor_call *call, int64_t *ret,
		  struct cor_error *err);

/* Finds a syscall instruction (0f 05) in the tracee's [vdso], or else in other code of its; its
 * address or 0. */
uint64_t cor_find_syscall_insn(pid_t pid);

/* Maps a runner of size bytes of list room (rounded up to pages) in the tracee,
 * exactly at hint, where no VMA may be now (-EEXIST); hint 0: anywhere. Thread
 * tid makes the call. The runner's memory is shared anonymous memory that we
 * open through /proc/PID/map_files (proc(5)): no descriptor is opened in the
 * tracee. Which signals have handlers is read at the first run. */
int cor_runner_map(struct cor_runner **out, pid_t tid, uint64_t insn, uint64_t hint,
		   size_t size, struct cor_error *err);

/* The same in a process whose other threads run, anywhere: where it cannot be done without a
 * descriptor of the tracee's for a moment, it is not done. -EPERM. */
int cor_runner_map_running(struct cor_runner **out, pid_t tid, uint64_t insn, size_t size,
			   struct cor_error *err);

/* Address here of the runner's list and data room; and its address in the tracee. */
void *cor_runner_room(struct cor_runner *r);
uint64_t cor_runner_remote(const struct cor_runner *r, const void *in_room);
size_t cor_runner_size(const struct cor_runner *r);
/* The runner's own syscall instruction, in the tracee. */
uint64_t cor_runner_insn(const struct cor_runner *r);
/* Where the runner lies in the tracee, code and room: it must not be unmapped. */
void cor_runner_range(const struct cor_runner *r, uint64_t *start, uint64_t *end);

/* Which signals the tracee has handlers for (bit 0: signal 1): it is then not read. */
void cor_runner_know_caught(struct cor_runner *r, uint64_t signals);

/* From now on the tracee's threads are given registers and masks by the caller before they go
 * on, and have no signals that wait: lists leave them where they end, and no state is read. */
void cor_runner_bare(struct cor_runner *r);

/* Runs n calls that lie in the room, in thread tid; results in calls[i].ret.
 * stop_on_error: the first negative return ends the list. 0, or -errno when the
 * thread died or stopped for another reason. *done: calls made. */
int cor_runner_run(struct cor_runner *r, pid_t tid, struct cor_call *calls, unsigned n,
		   int stop_on_error, unsigned *done, struct cor_error *err);

/* The same for many threads at once: start them all, then wait for them all. */
struct cor_runner_job {
	pid_t tid;
	struct cor_call *calls;
	unsigned n;
	unsigned done;
	/* Of a bare runner's: the last call waits for something, and is interrupted in it, so
	 * that the kernel keeps what is left of it (RESTART_BLOCK); its ret is then -516 or
	 * what else of that kind the kernel says. One that is over before ends as ever. */
	bool waits;
	/* its registers and signal mask, where the caller knows them; NULL: they are read */
	const struct user_regs_struct *was;
	uint64_t mask;
};
int cor_runner_run_many(struct cor_runner *r, struct cor_runner_job *jobs, unsigned njobs,
			int stop_on_error, struct cor_error *err);

/* The same in two steps: what has been started runs while the caller does something else, that
 * needs none of these threads stopped. jobs stay the caller's until the second one, which frees
 * x, and brings the failures of both. The first one's own: -ENOMEM. */
struct cor_running;
int cor_runner_start_many(struct cor_runner *r, struct cor_runner_job *jobs, unsigned njobs,
			  int stop_on_error, struct cor_running **out, struct cor_error *err);
int cor_runner_await_many(struct cor_running *x, struct cor_error *err);

/* Unmaps it in the tracee, by a stepped munmap of thread tid. */
int cor_runner_leave(struct cor_runner *r, pid_t tid, struct cor_error *err);

/* Frees what there is of it here: the tracee is gone, has been left, or keeps its
 * mapping. NULL allowed. */
void cor_runner_free(struct cor_runner *r);

/* Both. NULL allowed. */
int cor_runner_unmap(struct cor_runner *r, pid_t tid, struct cor_error *err);
