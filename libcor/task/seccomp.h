/* Filters of system calls (seccomp(2)) of a task: read from its stopped threads, and kept from
 * judging what is injected into these.
 *
 * A filter is in force for what we inject as well, and may end the task for it. So it is
 * suspended (ptrace(2), PTRACE_O_SUSPEND_SECCOMP) while a thread is in a stop that we use, and
 * only then: one that runs by itself is never without its filters. When a tracer dies the
 * kernel puts them in force again; for what is left of a list of injected calls, too, which a
 * filter that ends the process for one of these calls would do then.
 */
#pragma once

#include <cor/error.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "libcor/task/task.pb-c.h"
#include "libcor/task/tracee.h"

/* May this process read and suspend filters? It takes CAP_SYS_ADMIN, and no filter of its own.
 * -EPERM, with what is lacking. */
int cor_seccomp_possible(struct cor_error *err);

/* Has any thread of the image filters? */
bool cor_seccomp_any(const Cor__Task__Image *image);

/* The filters of the stopped thread tid, which is in SECCOMP_MODE_FILTER, become th's, those that
 * are new the image's. -EOPNOTSUPP: one of them asks another process (seccomp_unotify(2)). */
int cor_seccomp_read(pid_t tid, Cor__Task__Image *image, Cor__Task__Thread *th,
		     struct cor_error *err);

/* The same for all threads of t, which is stopped, by their numbers in its PID namespace: for a
 * skeleton. Threads that the skeleton has not are left out. */
int cor_seccomp_read_all(const struct cor_tracee *t, Cor__Task__Image *skeleton,
			 struct cor_error *err);

/* Is the image, a peer's, right about them: lengths and indices? -EPROTO. */
int cor_seccomp_check(const Cor__Task__Image *image, struct cor_error *err);
