/* A thread's registers, and the system call that it was blocked in.
 *
 * A call that returned -ERESTART_RESTARTBLOCK keeps what is left of it inside
 * the kernel, in the thread: that does not travel. So the thread begins the call
 * anew with what is left of its timeout, behind all other calls that it makes for us, and is
 * interrupted in it: the kernel notes it down as to be restarted. With the image's registers
 * (which say "restart") the thread then goes on waiting, as if nothing had been. */
#include <elf.h>
#include <errno.h>
#include <linux/futex.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>

#include "libcor/base/cleanup.h"
#include "libcor/base/error.h"
#include "libcor/task/ptrace_wait.h"
#include "libcor/task/rebuild_private.h"
#include "libcor/task/restart.h"

#define NS 1000000000u

/* --- registers --------------------------------------------------------------- */

/* The legacy area and the header behind it. */
#define XSTATE_HEADER_END 576u
#define XSTATE_MOST 32768u      /* with AMX there are some 11 KiB */

/* How large the kernel's area is: it takes it in that size only. */
static int learn_xstate_len(struct cor_rebuild *rb, pid_t tid, void *area, struct cor_error *err)
{
	struct iovec v = { area, XSTATE_MOST };

	if (rb->xstate_len)
		return 0;
	if (ptrace(PTRACE_GETREGSET, tid, (void *)(uintptr_t)NT_X86_XSTATE, &v) < 0)
		return cor_fail_errno(err, "cannot read the extended state of thread %d", tid);
	rb->xstate_len = v.iov_len;
	return 0;
}

/* Another's size is no harm as long as what does not fit is in its initial state. */
static int set_xstate(struct cor_rebuild *rb, pid_t tid, const Cor__Task__Thread *t,
		      struct cor_error *err)
{
	unsigned char area[XSTATE_MOST];
	struct iovec v = { area, 0 };
	int r = learn_xstate_len(rb, tid, area, err);

	if (r < 0)
		return r;
	if (t->xstate.len < XSTATE_HEADER_END)
		return cor_fail(err, -EPROTO, "thread %d's extended state has %zu bytes", t->tid,
				t->xstate.len);
	v.iov_len = rb->xstate_len;
	memset(area, 0, v.iov_len);
	memcpy(area, t->xstate.data, COR_MIN(v.iov_len, t->xstate.len));
	if (ptrace(PTRACE_SETREGSET, tid, (void *)(uintptr_t)NT_X86_XSTATE, &v) < 0)
		return cor_fail_errno(err, "cannot set the extended state of thread %d (%zu bytes there, "
				      "%zu here)", t->tid, t->xstate.len, v.iov_len);
	return 0;
}

/* --- the blocked call --------------------------------------------------------- */

struct timespec64 { int64_t sec, nsec; };

/* Its arguments with the time that is left. false: no call that we know. */
static bool arguments(const struct user_regs_struct *was, uint64_t left, uint64_t timespec,
		      uint64_t arg[6])
{
	const uint64_t a[6] = { was->rdi, was->rsi, was->rdx, was->r10, was->r8, was->r9 };

	memcpy(arg, a, sizeof(a));
	switch (was->orig_rax) {
	case SYS_nanosleep:
		arg[0] = timespec;
		return true;
	case SYS_clock_nanosleep:
		arg[1] = 0;             /* relative, whatever it was */
		arg[2] = timespec;
		return true;
	case SYS_poll:
		/* rounded up: never return too early */
		arg[2] = COR_MIN((left + 999999) / 1000000, 0x7fffffffull);
		return true;
	case SYS_futex:
		arg[3] = timespec;
		return true;
	default:
		return false;
	}
}

int cor_rebuild_begin_call(struct cor_rebuild *rb, unsigned i, const Cor__Task__Thread *t,
			   struct cor_error *err)
{
	uint64_t left = t->remaining_ns, at, arg[6];
	const struct timespec64 ts = { (int64_t)(left / NS), (int64_t)(left % NS) };
	struct user_regs_struct regs;
	int r;

	if (t->restart != COR__TASK__RESTART_KIND__RESTART_BLOCK)
		return 0;
	memcpy(&regs, t->regs.data, sizeof(regs));
	r = cor_batch_data(rb->batch, &ts, sizeof(ts), &at, err);
	if (r < 0)
		return r;
	if (!arguments(&regs, left, at, arg))
		return cor_fail(err, -EOPNOTSUPP, "thread %d was interrupted in system call %lld, which "
				"cannot be begun again", t->tid, regs.orig_rax);
	return cor_batch_wait(rb->batch, regs.orig_rax, arg, &rb->threads[i].waited, err);
}

static void image_registers(const struct cor_rebuild *rb, const Cor__Task__Thread *t,
			    struct user_regs_struct *regs)
{
	memcpy(regs, t->regs.data, sizeof(*regs));
	for (unsigned i = 0; i < rb->ndetours; i++)
		if (regs->rip == rb->detours[i].from) {
			regs->rip = rb->detours[i].to;
			return;
		}
}

struct cor_wait cor_rebuild_wait(const struct cor_rebuild *rb, unsigned i,
				 const Cor__Task__Thread *t)
{
	struct user_regs_struct regs;

	image_registers(rb, t, &regs);
	return cor_wait_of(rb->threads[i].outer, &regs, rb->threads[i].until_ns);
}

int cor_rebuild_registers(struct cor_rebuild *rb, unsigned i, const Cor__Task__Thread *t,
			  struct cor_error *err)
{
	const pid_t tid = rb->threads[i].outer;
	struct user_regs_struct regs;
	int r = set_xstate(rb, tid, t, err);

	if (r < 0)
		return r;
	image_registers(rb, t, &regs);
	rb->threads[i].until_ns = 0;
	if (t->restart == COR__TASK__RESTART_KIND__RESTART_BLOCK) {
		if (rb->threads[i].waited == COR_RESTARTBLOCK) {
			rb->threads[i].until_ns = rb->begun_ns + t->remaining_ns;
		} else {
			regs.rax = (uint64_t)rb->threads[i].waited;     /* it is over already */
			regs.orig_rax = (uint64_t)-1;
		}
	}
	if (ptrace(PTRACE_SETREGS, tid, NULL, &regs) < 0)
		return cor_fail_errno(err, "cannot set the registers of thread %d", t->tid);
	if (ptrace(PTRACE_SETSIGMASK, tid, sizeof(t->sigmask), &t->sigmask) < 0)
		return cor_fail_errno(err, "cannot set the signal mask of thread %d", t->tid);
	return 0;
}
