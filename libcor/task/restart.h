/* What becomes of a thread that was stopped inside a system call.
 *
 * A stop interrupts the call. The kernel leaves in rax how the call wants to be
 * continued (linux/errno.h, "should never be seen by user programs"), and acts
 * on it when the thread leaves the kernel: by going back to the syscall
 * instruction, or for ERESTART_RESTARTBLOCK by restart_syscall(2), whose state
 * is in the kernel. On the source that goes on working by itself. In an image
 * the registers must say it all:
 *
 *	rax               in the image
 *	-512 ERESTARTSYS  rewound
 *	-513 ERESTARTNOINTR rewound
 *	-514 ERESTARTNOHAND rewound
 *	-516 ERESTART_RESTARTBLOCK  what is left of the interval is worked out; the
 *	                  registers stay (RESTART_BLOCK), or are rewound where
 *	                  the call has no interval (poll without limit, absolute
 *	                  times)
 *	-EINTR            of calls that never restart (epoll_wait and others):
 *	                  rewound, the time-out argument lowered where it is one.
 *	                  The source needs this as well: nobody else does it.
 *
 * unless a signal that will run a handler is pending: then the call ends with
 * EINTR where the kernel would have it so.
 */
#pragma once

#include <cor/error.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/user.h>

#include "libcor/task/task.pb-c.h"

/* What is in rax of a call that restart_syscall(2) would go on with. */
#define COR_RESTARTBLOCK (-516)

enum cor_handler {
	COR_HANDLER_NONE,       /* no handler is about to run */
	COR_HANDLER_RESTART,    /* one with SA_RESTART */
	COR_HANDLER_EINTR,      /* one without */
};

struct cor_restart {
	Cor__Task__RestartKind kind;
	uint64_t remaining_ns;  /* RESTART_BLOCK; UINT64_MAX never occurs */
};

/* True when the registers show a call that was interrupted, and which the
 * kernel or we would continue. */
bool cor_restart_needed(const struct user_regs_struct *regs);

/* True when the kernel itself goes on with that call, whatever let the thread go, and nobody sees that
 * it was interrupted. */
bool cor_restart_unseen(const struct user_regs_struct *regs);

/* True when it matters how long the thread had been blocked. */
bool cor_restart_wants_slept(const struct user_regs_struct *regs);

/* Makes *regs ready for an image. pid: whose memory the time-outs are read
 * from. slept_ns: 0 when unknown. left_ns: NULL, or what is left of a wait that was begun
 * anew on this host (waits.h). -EOPNOTSUPP: a restarted sleep whose original
 * call cannot be told. */
int cor_restart_image(pid_t pid, struct user_regs_struct *regs, uint64_t slept_ns,
		      const uint64_t *left_ns, enum cor_handler handler, struct cor_restart *out,
		      struct cor_error *err);

/* What is left of the call that a thread of pid, stopped with regs, is in, where the kernel goes on
 * with it by restart_syscall(2); regs get its number. False: that is none of its time, or cannot
 * be told. */
bool cor_restart_left(pid_t pid, struct user_regs_struct *regs, uint64_t slept_ns, uint64_t *left_ns);

/* Of a call that knows how much of its time is left: does that get less while nobody runs? Not that
 * of clock_nanosleep(2) on a processor's clock. */
bool cor_restart_in_wall_time(const struct user_regs_struct *regs);

/* On the destination: the threads of image, stopped in calls that know how much of their time is left,
 * have stood still for so long since. A sleep that has ended meanwhile returns. Those that are
 * asleep as they were announced (sleepers.h) are not touched: most have begun theirs already. */
void cor_restart_elapse(Cor__Task__Image *image, uint64_t ns);

/* Makes *regs ready to go on in the source: only the calls for which the kernel
 * does nothing. Returns true when *regs was changed. */
bool cor_restart_source(struct user_regs_struct *regs, uint64_t slept_ns,
			enum cor_handler handler);
