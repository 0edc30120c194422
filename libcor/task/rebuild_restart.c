/* A thread's registers, and the system call that it was blocked in.
 *
 * A call that returned -ERESTART_RESTARTBLOCK keeps what is left of it inside
 * the kernel, in the thread: that does not travel. So the thread begins the call
 * anew with what is left of its timeout, while an interruption is pending: the
 * kernel notes it down at once as to be restarted. With the image's registers
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

#define NS 1000000000u
#define RESTARTBLOCK (-516)
#define WAIT_NS 10000000000ull  /* for pages that the call reads */

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

/* The call's arguments with the time that is left; the timespec lies in the
 * runner's room only while the call begins, one for each thread. false: no call
 * that we know. */
static bool call_of(struct cor_rebuild *rb, unsigned thread, const struct user_regs_struct *was,
		    uint64_t left, struct user_regs_struct *regs)
{
	struct timespec64 *ts = (struct timespec64 *)cor_runner_room(rb->runner) +
				thread % (cor_runner_size(rb->runner) / sizeof(*ts));
	uint64_t at = cor_runner_remote(rb->runner, ts);

	*regs = *was;
	*ts = (struct timespec64){ (int64_t)(left / NS), (int64_t)(left % NS) };
	switch (was->orig_rax) {
	case SYS_nanosleep:
		regs->rdi = at;
		return true;
	case SYS_clock_nanosleep:
		regs->rsi = 0;          /* relative, whatever it was */
		regs->rdx = at;
		return true;
	case SYS_poll:
		/* rounded up: never return too early */
		regs->rdx = COR_MIN((left + 999999) / 1000000, 0x7fffffffull);
		return true;
	case SYS_futex:
		regs->r10 = at;
		return true;
	default:
		return false;
	}
}

static int let_go(pid_t tid, int request, int32_t inner, struct cor_error *err)
{
	if (ptrace(request, tid, NULL, NULL) < 0)
		return cor_fail_errno(err, "cannot let thread %d begin its call", inner);
	return 0;
}

static int await_stop(pid_t tid, int32_t inner, struct cor_error *err)
{
	int status, r = cor_ptrace_wait(tid, WAIT_NS, &status);

	if (r < 0)
		return cor_fail_code(err, r, "thread %d does not stop in the call it begins again",
				     inner);
	return 0;
}

static bool begins_call(const Cor__Task__Thread *t)
{
	return t->restart == COR__TASK__RESTART_KIND__RESTART_BLOCK;
}

/* Sends the thread to the entry of its call. */
static int go_to_entry(struct cor_rebuild *rb, unsigned i, const Cor__Task__Thread *t,
		       const struct user_regs_struct *regs, struct cor_error *err)
{
	const pid_t tid = rb->threads[i].outer;
	const uint64_t none = ~0ull;
	struct user_regs_struct call;

	if (!call_of(rb, i, regs, t->remaining_ns, &call))
		return cor_fail(err, -EOPNOTSUPP, "thread %d was interrupted in system call %lld, which "
				"cannot be begun again", t->tid, regs->orig_rax);
	call.rip = cor_runner_insn(rb->runner);
	call.rax = regs->orig_rax;
	call.orig_rax = (uint64_t)-1;   /* nothing to restart now */
	if (ptrace(PTRACE_SETREGS, tid, NULL, &call) < 0 ||
	    ptrace(PTRACE_SETSIGMASK, tid, sizeof(none), &none) < 0)
		return cor_fail_errno(err, "cannot set the registers of thread %d", t->tid);
	return let_go(tid, PTRACE_SYSCALL, t->tid, err);
}

/* At its entry: the wait will find itself interrupted as soon as it is set up. */
static int enter(pid_t tid, const Cor__Task__Thread *t, struct cor_error *err)
{
	int r = await_stop(tid, t->tid, err);

	if (r < 0)
		return r;
	if (ptrace(PTRACE_INTERRUPT, tid, NULL, NULL) < 0)
		return cor_fail_errno(err, "cannot interrupt thread %d", t->tid);
	return let_go(tid, PTRACE_CONT, t->tid, err);
}

/* regs: in, the image's registers; out, what they shall be. */
static int take_result(pid_t tid, const Cor__Task__Thread *t, struct user_regs_struct *regs,
		       struct cor_error *err)
{
	struct user_regs_struct call;
	int r = await_stop(tid, t->tid, err);

	if (r < 0)
		return r;
	if (ptrace(PTRACE_GETREGS, tid, NULL, &call) < 0)
		return cor_fail_errno(err, "cannot read the registers of thread %d", t->tid);
	if ((int64_t)call.rax != RESTARTBLOCK) {
		regs->rax = call.rax;   /* it is over already: its result */
		regs->orig_rax = (uint64_t)-1;
	}
	return 0;
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

int cor_rebuild_begin_calls(struct cor_rebuild *rb, const Cor__Task__Image *image,
			    struct user_regs_struct *regs, struct cor_error *err)
{
	int r = 0;

	/* each step for all threads, so that they take it at the same time */
	for (unsigned i = 0; i < rb->nthreads && r == 0; i++) {
		image_registers(rb, image->threads[i], &regs[i]);
		if (begins_call(image->threads[i]))
			r = go_to_entry(rb, i, image->threads[i], &regs[i], err);
	}
	for (unsigned i = 0; i < rb->nthreads && r == 0; i++)
		if (begins_call(image->threads[i]))
			r = enter(rb->threads[i].outer, image->threads[i], err);
	for (unsigned i = 0; i < rb->nthreads && r == 0; i++)
		if (begins_call(image->threads[i]))
			r = take_result(rb->threads[i].outer, image->threads[i], &regs[i], err);
	return r;
}

int cor_rebuild_registers(struct cor_rebuild *rb, pid_t tid, const Cor__Task__Thread *t,
			  const struct user_regs_struct *regs, struct cor_error *err)
{
	int r = set_xstate(rb, tid, t, err);

	if (r < 0)
		return r;
	if (ptrace(PTRACE_SETREGS, tid, NULL, regs) < 0)
		return cor_fail_errno(err, "cannot set the registers of thread %d", t->tid);
	if (ptrace(PTRACE_SETSIGMASK, tid, sizeof(t->sigmask), &t->sigmask) < 0)
		return cor_fail_errno(err, "cannot set the signal mask of thread %d", t->tid);
	return 0;
}
