/* asleep: a thread as it was found in its sleep, and whether it has run since.
 *
 * What a thread alone can change of itself - its registers, its signal mask, what it has told the
 * kernel - is what it was as long as it has stayed in its call. That it has is known by one of two
 * things, depending on how the kernel goes on with the call once the thread is let go:
 *
 * It makes the call anew (futex(2) without a time-out, mostly), which looks the same as if the
 * thread had come back to it by itself. So the call's number gets a mark in its upper half, which
 * the kernel does not look at (since Linux 5.14 it is an int), and which no program sets.
 *
 * Or restart_syscall(2) takes the call's place, which no program calls. Only somebody else who
 * stops the thread would bring it there once more, in another call: then it has begun to run more
 * often than it had to, which the kernel counts (/proc/PID/task/TID/schedstat).
 */
#pragma once

#include <cor/error.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/user.h>

struct cor_asleep {
	pid_t    tid;           /* as we see it */
	int      schedstat;     /* descriptor of the file; -1: it is marked */
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

/* What the registers of a thread must be that is stopped in such a call with regs, and is let go with
 * them; and what a stop will find if it has stayed in it. True: they are the same, marked. */
bool cor_asleep_mark(const struct user_regs_struct *regs, struct user_regs_struct *out);
/* Without a mark. */
void cor_asleep_unmark(struct user_regs_struct *regs);

static inline bool cor_asleep_marked(const struct cor_asleep *a)
{
	return a->schedstat < 0;
}

/* Has it begun to run just so many times since? True of one that is marked. */
bool cor_asleep_ran(const struct cor_asleep *a, unsigned times);

/* Of one that is not, while it is stopped, just before it is let go: a->runs. */
void cor_asleep_stopped(struct cor_asleep *a);

/* Then: waits until it sleeps again, patience_ns at the most, and notes that in a->runs. False: it
 * has done something else. */
bool cor_asleep_again(struct cor_asleep *a, pid_t pid, uint64_t patience_ns);
