/* Making a process with a chosen PID, session and process group. */
#pragma once

#include <cor/error.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct clone_args;

/* clone3(2) as a fork: 0 in the child, the child's PID, or -errno. pid 0: any. */
pid_t cor_fork_as(uint64_t flags, pid_t pid, bool sibling);

/* Whether id is in use as PID, TID, process group or session as we see it. Not
 * all uses can be seen: clone3 may still say EEXIST. */
bool cor_id_taken(pid_t id);

/* May this process choose the PIDs of its children (clone3(2), set_tid)? */
bool cor_may_choose_pids(void);

/* Whether the kernel is about to give id to the next processes of this PID
 * namespace, ours among them: numbers are given in turn (ns_last_pid in proc(5)). */
bool cor_id_taken_soon(pid_t id);

/* In the caller: makes the process of that PID as a child of the caller, in
 * session sid and process group pgid (0: the caller's), by way of short-lived
 * helpers that lend their PIDs as the names of session and group. In the new
 * process *child is true. In helpers that failed, fail(arg, err) is called and
 * they exit; it is not called in the caller, which gets -errno and err. Returns
 * 0 in the caller and in the child. */
int cor_spawn_as(pid_t pid, pid_t pgid, pid_t sid, bool *child,
		 void (*fail)(void *arg, const struct cor_error *err), void *arg,
		 struct cor_error *err);
