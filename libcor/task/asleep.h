/* asleep: a thread as it was found in its sleep, and whether it has run since.
 *
 * What a thread alone can change of itself - its registers, its signal mask, what it has told the
 * kernel - is what it was as long as it has not run. How often it has begun to run the kernel
 * counts (/proc/PID/task/TID/schedstat).
 */
#pragma once

#include <cor/error.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/user.h>

struct cor_asleep {
	pid_t    tid;           /* as we see it */
	int      schedstat;     /* descriptor of the file */
	uint64_t runs;          /* what that said while it slept */
	/* as a stop will find it, if it has not run */
	struct user_regs_struct regs;
	uint64_t sigmask;
	uint64_t rseq;
	uint32_t rseq_len, rseq_sig;
};

/* Does thread tid of process pid sleep in a call from which it can be roused for a moment, and
 * go on sleeping, without seeing anything of it? These are the waits that the kernel itself goes
 * on with: futex(2), nanosleep(2), poll(2). Others end with EINTR, or begin anew. */
bool cor_asleep_undisturbed(pid_t pid, pid_t tid);

/* Opens the file: a descriptor, or -errno; -ENOTSUP: this kernel does not count. */
int cor_asleep_open(pid_t pid, pid_t tid);

/* Has it begun to run just so many times since? */
bool cor_asleep_ran(const struct cor_asleep *a, unsigned times);

/* While it is stopped: a->runs. Let go it will run once more at least. */
int cor_asleep_stopped(struct cor_asleep *a);

/* Then waits until it sleeps where its registers say that it would, patience_ns at the most, and
 * notes that in a->runs. False: it does something else. */
bool cor_asleep_again(struct cor_asleep *a, pid_t pid, uint64_t patience_ns);
