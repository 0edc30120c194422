/* A stopped thread: its registers as found, its critical section, its sleep.
 *
 * How long a call had blocked follows from /proc/PID/task/TID/sched: when the
 * thread last ran before the interrupt, and when it ran because of it, provided
 * that it was switched just once in between and did not change CPUs, whose
 * scheduler clocks need not agree.
 */
#include "libcor/task/tracee_state.h"

#include <errno.h>
#include <signal.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/uio.h>

#include "libcor/base/cleanup.h"
#include "libcor/base/compat.h"
#include "libcor/base/error.h"
#include "libcor/base/io.h"
#include "libcor/task/procfs.h"
#include "libcor/task/restart.h"
#include "libcor/task/signals.h"

struct rseq_config {            /* struct ptrace_rseq_configuration, linux/ptrace.h */
	uint64_t area;
	uint32_t size, signature, flags, pad;
};

#define SCHED_MAX 8192          /* some 1.5 KiB */
#define RSEQ_CS_OFFSET 8        /* of rseq_cs in struct rseq, linux/rseq.h */

struct critical_section {       /* struct rseq_cs */
	uint32_t version, flags;
	uint64_t start_ip, post_commit_offset, abort_ip;
};

/* From the file that is open, or by its name; which stays open where status does. */
static int read_sched(const struct cor_tracee *t, struct cor_tracee_thread *th,
		      struct cor_proc_sched *out)
{
	_cleanup_close_ int fd = -1;
	char path[32], text[SCHED_MAX];
	int r;

	if (th->sched_fd < 0) {
		snprintf(path, sizeof(path), "%d/sched", th->tid);
		fd = openat(t->task_dir, path, O_RDONLY | O_CLOEXEC);
		if (fd < 0)
			return -errno;
	}
	r = cor_read_again(fd < 0 ? th->sched_fd : fd, text, sizeof(text));
	if (fd >= 0 && th->status_fd >= 0)
		th->sched_fd = take_fd(&fd);
	return r < 0 ? r : cor_parse_sched(text, out);
}

void cor_thread_note_sleep(const struct cor_tracee *t, struct cor_tracee_thread *th)
{
	if (th->asleep && !cor_asleep_ran(th->asleep, 0))
		th->asleep = NULL;
	if (!th->asleep && read_sched(t, th, &th->before) < 0)
		th->before.ran_at_ns = 0;
}

static void work_out_sleep(const struct cor_tracee *t, struct cor_tracee_thread *th)
{
	struct cor_proc_sched now;

	th->slept_ns = 0;
	if (!th->before.ran_at_ns || !cor_restart_wants_slept(&th->regs) ||
	    read_sched(t, th, &now) < 0)
		return;
	if (now.migrations == th->before.migrations && now.switches == th->before.switches + 1 &&
	    now.ran_at_ns > th->before.ran_at_ns)
		th->slept_ns = now.ran_at_ns - th->before.ran_at_ns;
}

static bool peek(pid_t tid, uint64_t addr, void *buf, size_t len)
{
	struct iovec here = { buf, len }, there = { (void *)addr, len };

	return process_vm_readv(tid, &here, 1, &there, 1, 0) == (ssize_t)len;
}

/* The kernel forgets the critical section at the first injected call: the
 * thread's real rip is not in it then. So the abort is ours to do, and at once: whoever
 * lets the thread go on, even by dying, lets it go on there. */
static int abort_section(struct cor_tracee_thread *th)
{
	struct user_regs_struct regs = th->regs;

	regs.rip = th->rseq_abort_ip;
	if (ptrace(PTRACE_SETREGS, th->tid, NULL, &regs) < 0)
		return -errno;
	th->regs = regs;
	return 0;
}

static int read_rseq(struct cor_tracee_thread *th)
{
	struct rseq_config c = { 0 };
	struct critical_section cs;

	th->rseq = th->rseq_cs = th->rseq_abort_ip = 0;
	if (ptrace(PTRACE_GET_RSEQ_CONFIGURATION, th->tid, sizeof(c), &c) < 0 || !c.area)
		return 0;
	th->rseq = c.area;
	th->rseq_len = c.size;
	th->rseq_sig = c.signature;
	/* no system call is made in a critical section (rseq(2)) */
	if ((int64_t)th->regs.orig_rax >= 0)
		return 0;
	if (!peek(th->tid, c.area + RSEQ_CS_OFFSET, &th->rseq_cs, sizeof(th->rseq_cs)) ||
	    !th->rseq_cs || !peek(th->tid, th->rseq_cs, &cs, sizeof(cs)))
		return 0;
	if (th->regs.rip - cs.start_ip >= cs.post_commit_offset)
		return 0;
	th->rseq_abort_ip = cs.abort_ip;
	return abort_section(th);
}

/* It has begun to run once since it was seen asleep just before the stop, to be stopped, and is
 * where it was. */
static bool was_asleep(const struct cor_tracee_thread *th)
{
	return cor_asleep_ran(th->asleep, 1) &&
	       memcmp(&th->regs, &th->asleep->regs, sizeof(th->regs)) == 0;
}

static void take_asleep(struct cor_tracee_thread *th)
{
	const struct cor_asleep *a = th->asleep;

	th->sigmask = a->sigmask;
	th->rseq = a->rseq;
	th->rseq_len = a->rseq_len;
	th->rseq_sig = a->rseq_sig;
	/* no system call is made in a critical section */
	th->rseq_cs = th->rseq_abort_ip = 0;
	th->slept_ns = 0;
}

int cor_thread_read_state(const struct cor_tracee *t, struct cor_tracee_thread *th,
			  struct cor_error *err)
{
	if (ptrace(PTRACE_GETREGS, th->tid, NULL, &th->regs) < 0)
		return cor_fail_errno(err, "cannot read the registers of thread %d", th->tid);
	if (th->asleep && !was_asleep(th))
		th->asleep = NULL;
	cor_asleep_unmark(&th->regs);
	if (th->asleep) {
		take_asleep(th);
		return 0;
	}
	if (ptrace(PTRACE_GETSIGMASK, th->tid, sizeof(th->sigmask), &th->sigmask) < 0)
		return cor_fail_errno(err, "cannot read the signal mask of thread %d", th->tid);
	if (read_rseq(th) < 0)
		return cor_fail_errno(err, "cannot set the registers of thread %d", th->tid);
	work_out_sleep(t, th);
	return 0;
}

/* ---- pending signals ------------------------------------------------------------ */

int cor_tracee_pending_handler(const struct cor_tracee_thread *th, uint64_t caught,
			       const uint64_t *flags)
{
	uint64_t set = cor_signals_pending(th->tid);

	set &= caught & ~th->sigmask;
	if (!set)
		return COR_HANDLER_NONE;
	/* the kernel takes the lowest number first, as good as always */
	if (flags && flags[__builtin_ctzll(set)] & SA_RESTART)
		return COR_HANDLER_RESTART;
	return COR_HANDLER_EINTR;
}

void cor_thread_put_right(const struct cor_tracee_thread *th)
{
	struct user_regs_struct regs = th->regs;
	bool changed = false;

	if ((int64_t)regs.rax == -EINTR && cor_restart_needed(&regs)) {
		uint64_t caught = 0;
		int handler;

		cor_signals_caught(th->tid, &caught);
		handler = cor_tracee_pending_handler(th, caught, NULL);
		changed = cor_restart_source(&regs, th->slept_ns, (enum cor_handler)handler);
	}
	if (changed)
		ptrace(PTRACE_SETREGS, th->tid, NULL, &regs);
}
