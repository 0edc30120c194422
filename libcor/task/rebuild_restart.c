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

/* The kernel takes the area in its own size only. Another's size is no harm as
 * long as what does not fit is in its initial state. */
static int set_xstate(pid_t tid, const Cor__Task__Thread *t, struct cor_error *err)
{
	_cleanup_free_ unsigned char *area = malloc(XSTATE_MOST);
	struct iovec v = { area, XSTATE_MOST };

	if (!area)
		return cor_fail(err, -ENOMEM, "out of memory");
	if (ptrace(PTRACE_GETREGSET, tid, (void *)(uintptr_t)NT_X86_XSTATE, &v) < 0)
		return cor_fail_errno(err, "cannot read the extended state of thread %d", t->tid);
	if (t->xstate.len < XSTATE_HEADER_END)
		return cor_fail(err, -EPROTO, "thread %d's extended state has %zu bytes", t->tid,
				t->xstate.len);
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
 * runner's room only while the call begins. false: no call that we know. */
static bool call_of(struct cor_rebuild *rb, const struct user_regs_struct *was, uint64_t left,
		    struct user_regs_struct *regs)
{
	struct timespec64 *ts = cor_runner_room(rb->runner);
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

static int go_to_stop(pid_t tid, int request, int32_t outer, struct cor_error *err)
{
	int status, r;

	if (ptrace(request, tid, NULL, NULL) < 0)
		return cor_fail_errno(err, "cannot let thread %d begin its call", outer);
	r = cor_ptrace_wait(tid, WAIT_NS, &status);
	if (r < 0)
		return cor_fail_code(err, r, "thread %d does not stop in the call it begins again",
				     outer);
	return 0;
}

/* regs: in, the image's registers; out, what they shall be. */
static int begin_call(struct cor_rebuild *rb, pid_t tid, const Cor__Task__Thread *t,
		      struct user_regs_struct *regs, struct cor_error *err)
{
	const uint64_t none = ~0ull;
	struct user_regs_struct call;
	int r;

	if (!rb->insn)
		rb->insn = cor_find_syscall_insn(rb->pid);
	if (!rb->insn || !call_of(rb, regs, t->remaining_ns, &call))
		return cor_fail(err, -EOPNOTSUPP, "thread %d was interrupted in system call %lld, which "
				"cannot be begun again", t->tid, regs->orig_rax);
	call.rip = rb->insn;
	call.rax = regs->orig_rax;
	call.orig_rax = (uint64_t)-1;   /* nothing to restart now */
	if (ptrace(PTRACE_SETREGS, tid, NULL, &call) < 0 ||
	    ptrace(PTRACE_SETSIGMASK, tid, sizeof(none), &none) < 0)
		return cor_fail_errno(err, "cannot set the registers of thread %d", t->tid);
	r = go_to_stop(tid, PTRACE_SYSCALL, t->tid, err);       /* at its entry */
	if (r < 0)
		return r;
	/* now the wait will find itself interrupted as soon as it is set up */
	if (ptrace(PTRACE_INTERRUPT, tid, NULL, NULL) < 0)
		return cor_fail_errno(err, "cannot interrupt thread %d", t->tid);
	r = go_to_stop(tid, PTRACE_CONT, t->tid, err);
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

int cor_rebuild_begin_call(struct cor_rebuild *rb, pid_t tid, const Cor__Task__Thread *t,
			   struct user_regs_struct *regs, struct cor_error *err)
{
	memcpy(regs, t->regs.data, sizeof(*regs));
	for (unsigned i = 0; i < rb->ndetours; i++)
		if (regs->rip == rb->detours[i].from) {
			regs->rip = rb->detours[i].to;
			break;
		}
	if (t->restart != COR__TASK__RESTART_KIND__RESTART_BLOCK)
		return 0;
	return begin_call(rb, tid, t, regs, err);
}

int cor_rebuild_registers(pid_t tid, const Cor__Task__Thread *t, struct user_regs_struct *regs,
			  struct cor_error *err)
{
	int r = set_xstate(tid, t, err);

	if (r < 0)
		return r;
	if (ptrace(PTRACE_SETREGS, tid, NULL, regs) < 0)
		return cor_fail_errno(err, "cannot set the registers of thread %d", t->tid);
	if (ptrace(PTRACE_SETSIGMASK, tid, sizeof(t->sigmask), &t->sigmask) < 0)
		return cor_fail_errno(err, "cannot set the signal mask of thread %d", t->tid);
	return 0;
}
