/* waits: what the threads of a task that was rebuilt here, or has stood still, wait for, for its
 * next capture on this host.
 *
 * A call that was begun anew with what was left of its time-out keeps its end in the kernel,
 * where nobody can read it, while the task's memory still has the whole interval. A task that
 * moves on within the same wait would wait too long. So the rebuild notes when each such call
 * ends, and the next capture looks it up. So does a look at the task ahead of its freeze, behind
 * which the threads wait in restart_syscall(2).
 *
 * A thread is in the same wait if it has not run since it was seen in it, just after it was let
 * go: its count of context switches tells. Where it cannot be told the wait is too long, as
 * it would be without the list, and never too short.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/user.h>

#include "libcor/task/tracee.h"

struct cor_wait {
	int32_t  tid;           /* as this host sees it */
	uint32_t call;          /* the system call's number */
	uint64_t until_ns;      /* cor_now_ns() of this host, not before the task wants it */
	uint64_t switches;      /* of the thread (/proc/PID/task/TID/sched), since it waits */
	uint64_t rip, rsp;
};
_Static_assert(sizeof(struct cor_wait) == 40, "as it is written");

struct cor_waits {
	size_t n;
	struct cor_wait *list;  /* NULL: none */
};

/* What a thread with these registers, which has a call of that number begun anew, waits for. */
struct cor_wait cor_wait_of(pid_t tid, const struct user_regs_struct *regs, uint64_t until_ns);

/* The task t is stopped and will be let go, as it will be known to be by cor_waits_confirm():
 * the list is that of its threads from now on. -ENOMEM: there is none. */
int cor_waits_note(struct cor_waits *waits, const struct cor_tracee *t);

/* Behind the resume of process pid: until all threads are seen in their waits, or patience_ns
 * is over. Those that are not leave the list. */
void cor_waits_confirm(struct cor_waits *waits, pid_t pid, uint64_t patience_ns);

/* Is thread tid, stopped at_ns with regs after so many context switches, still in a wait that is
 * listed? Then regs get the number of its call, and *left_ns what is left of it. waits: NULL is
 * an empty list. */
bool cor_waits_find(const struct cor_waits *waits, pid_t tid, uint64_t at_ns, uint64_t switches,
		    struct user_regs_struct *regs, uint64_t *left_ns);

/* The list as a file, for this boot of this host: written to fd, and read from it into *out
 * (cor_waits_done() it). 0; -errno; -EPROTO: it is none. */
int cor_waits_write(const struct cor_waits *waits, int fd);
int cor_waits_read(struct cor_waits *out, int fd);
void cor_waits_done(struct cor_waits *waits);
