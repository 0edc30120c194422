/* Interrupted system calls: the table and the rewinding; see restart.h. */
#include "libcor/task/restart.h"

#include <errno.h>
#include <linux/futex.h>
#include <poll.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>

#include "libcor/base/cleanup.h"
#include "libcor/base/error.h"

/* linux/errno.h of the kernel; not in the UAPI */
#define ERESTARTSYS           512
#define ERESTARTNOINTR        513
#define ERESTARTNOHAND        514

#define NSEC 1000000000ull

/* Calls that return plain EINTR for any interruption and do nothing before it,
 * so that making them again is invisible. Those on sockets do so with
 * SO_RCVTIMEO or SO_SNDTIMEO, read(2) also on inotify; select and ppoll where
 * their time-out lies in read-only memory. */
static const struct {
	short nr;
	bool  ms_in_r10;        /* fourth argument: int milliseconds, < 0: no limit */
} plain_eintr[] = {
	{ SYS_epoll_wait, true },
	{ SYS_epoll_pwait, true },
	{ SYS_epoll_pwait2, false },
	{ SYS_rt_sigtimedwait, false },
	{ SYS_semop, false },
	{ SYS_semtimedop, false },
	{ SYS_io_getevents, false },
	{ SYS_select, false },
	{ SYS_pselect6, false },
	{ SYS_ppoll, false },
	{ SYS_read, false },
	{ SYS_readv, false },
	{ SYS_write, false },
	{ SYS_writev, false },
	{ SYS_recvfrom, false },
	{ SYS_recvmsg, false },
	{ SYS_recvmmsg, false },
	{ SYS_sendto, false },
	{ SYS_sendmsg, false },
	{ SYS_sendmmsg, false },
	{ SYS_accept, false },
	{ SYS_accept4, false },
	{ SYS_connect, false },
};

static int plain_eintr_entry(const struct user_regs_struct *regs)
{
	if ((int64_t)regs->rax != -EINTR)
		return -1;
	for (unsigned i = 0; i < ARRAY_SIZE(plain_eintr); i++)
		if ((int64_t)regs->orig_rax == plain_eintr[i].nr)
			return (int)i;
	return -1;
}

bool cor_restart_needed(const struct user_regs_struct *regs)
{
	if ((int64_t)regs->orig_rax < 0)
		return false;
	switch ((int64_t)regs->rax) {
	case -ERESTARTSYS:
	case -ERESTARTNOINTR:
	case -ERESTARTNOHAND:
	case COR_RESTARTBLOCK:
		return true;
	default:
		return plain_eintr_entry(regs) >= 0;
	}
}

bool cor_restart_unseen(const struct user_regs_struct *regs)
{
	int64_t ret = (int64_t)regs->rax;

	return (int64_t)regs->orig_rax >= 0 &&
	       (ret == -ERESTARTSYS || ret == -ERESTARTNOINTR || ret == COR_RESTARTBLOCK);
}

/* Of a call that the kernel would restart with what is left: does nobody but the clock tell how
 * much that is? Not so where an end is given, or the kernel has written down what is left. */
static bool only_the_clock_tells(const struct user_regs_struct *regs)
{
	switch (regs->orig_rax) {
	case SYS_nanosleep:
		return !regs->rsi;
	case SYS_clock_nanosleep:
		return !(regs->rsi & TIMER_ABSTIME) && !regs->r10;
	case SYS_futex:
		return (regs->rsi & (unsigned)FUTEX_CMD_MASK) == FUTEX_WAIT;
	default:                        /* restart_syscall(2) may be any */
		return true;
	}
}

bool cor_restart_wants_slept(const struct user_regs_struct *regs)
{
	int i;

	if ((int64_t)regs->orig_rax < 0)
		return false;
	if ((int64_t)regs->rax == COR_RESTARTBLOCK)
		return only_the_clock_tells(regs);
	i = plain_eintr_entry(regs);
	return i >= 0 && plain_eintr[i].ms_in_r10 && (int32_t)regs->r10 > 0;
}

static void rewind_call(struct user_regs_struct *regs)
{
	regs->rip -= 2;                 /* 0f 05 */
	regs->rax = regs->orig_rax;
	regs->orig_rax = (unsigned long long)-1;
}

static void end_with_eintr(struct user_regs_struct *regs)
{
	regs->rax = (unsigned long long)-EINTR;
	regs->orig_rax = (unsigned long long)-1;
}

static bool rewind_plain_eintr(struct user_regs_struct *regs, int entry, uint64_t slept_ns)
{
	bool lower = plain_eintr[entry].ms_in_r10 && (int32_t)regs->r10 > 0 && slept_ns;

	if (lower) {
		uint64_t slept_ms = slept_ns / 1000000, ms = (uint32_t)regs->r10;

		regs->r10 = slept_ms < ms ? ms - slept_ms : 0;
	}
	rewind_call(regs);
	return lower;
}

bool cor_restart_source(struct user_regs_struct *regs, uint64_t slept_ns, enum cor_handler handler)
{
	int i = (int64_t)regs->orig_rax < 0 ? -1 : plain_eintr_entry(regs);

	if (i < 0 || handler != COR_HANDLER_NONE)
		return false;
	rewind_plain_eintr(regs, i, slept_ns);
	return true;
}

/* ---- what is left of an interval -------------------------------------------- */

static bool read_remote(pid_t pid, uint64_t addr, void *buf, size_t len)
{
	struct iovec here = { buf, len }, there = { (void *)addr, len };

	return process_vm_readv(pid, &here, 1, &there, 1, 0) == (ssize_t)len;
}

static bool read_timespec(pid_t pid, uint64_t addr, uint64_t *ns)
{
	struct timespec ts;

	if (!addr || !read_remote(pid, addr, &ts, sizeof(ts)))
		return false;
	if (ts.tv_sec < 0 || ts.tv_nsec < 0 || ts.tv_nsec >= (long)NSEC)
		return false;
	*ns = (uint64_t)ts.tv_sec < INT64_MAX / NSEC ? (uint64_t)ts.tv_sec * NSEC + (uint64_t)ts.tv_nsec
						     : INT64_MAX;
	return true;
}

/* The kernel writes what is left to rem when it is interrupted; without rem
 * it is the interval less the time slept. */
static bool left_of_sleep(pid_t pid, uint64_t req, uint64_t rem, uint64_t slept_ns, uint64_t *left)
{
	uint64_t whole;

	if (rem && read_timespec(pid, rem, left))
		return true;
	if (!read_timespec(pid, req, &whole))
		return false;
	*left = whole > slept_ns ? whole - slept_ns : 0;
	return true;
}

/* False: the call has no interval that counts from its beginning. */
static bool left_of_call(pid_t pid, const struct user_regs_struct *r, uint64_t slept_ns,
			 uint64_t *left)
{
	switch (r->orig_rax) {
	case SYS_nanosleep:
		return left_of_sleep(pid, r->rdi, r->rsi, slept_ns, left);
	case SYS_clock_nanosleep:
		if (r->rsi & TIMER_ABSTIME)
			return false;
		return left_of_sleep(pid, r->rdx, r->r10, slept_ns, left);
	case SYS_futex:
		if ((r->rsi & (unsigned)FUTEX_CMD_MASK) != FUTEX_WAIT)
			return false;
		return left_of_sleep(pid, r->r10, 0, slept_ns, left);
	case SYS_poll:
		if ((int32_t)r->rdx < 0)
			return false;
		*left = (uint64_t)(uint32_t)r->rdx * 1000000;
		*left = *left > slept_ns ? *left - slept_ns : 0;
		return true;
	default:
		return false;
	}
}

/* ---- which call restart_syscall(2) restarts -------------------------------- */

static bool looks_like_nanosleep(pid_t pid, const struct user_regs_struct *r)
{
	uint64_t ns;

	return read_timespec(pid, r->rdi, &ns) && (!r->rsi || read_timespec(pid, r->rsi, &ns));
}

/* Only relative sleeps are restarted in this way. */
static bool looks_like_clock_nanosleep(pid_t pid, const struct user_regs_struct *r)
{
	uint64_t ns;

	return (int32_t)r->rdi <= CLOCK_TAI && r->rdi == (uint64_t)(int64_t)(int32_t)r->rdi &&
	       r->rsi == 0 && read_timespec(pid, r->rdx, &ns);
}

static bool looks_like_futex(pid_t pid, const struct user_regs_struct *r)
{
	uint64_t op = r->rsi & ~(uint64_t)(FUTEX_PRIVATE_FLAG | FUTEX_CLOCK_REALTIME), ns;
	uint32_t word;

	return (op == FUTEX_WAIT || op == FUTEX_WAIT_BITSET) && r->rdi && r->rdi % 4 == 0 &&
	       read_remote(pid, r->rdi, &word, sizeof(word)) && read_timespec(pid, r->r10, &ns);
}

static bool looks_like_poll(pid_t pid, const struct user_regs_struct *r)
{
	struct pollfd fds[64];

	/* an int, extended with zeros or its sign; 0 never waits */
	if (r->rsi > ARRAY_SIZE(fds) || !r->rdx ||
	    (r->rdx >> 32 && r->rdx != (uint64_t)(int64_t)(int32_t)r->rdx))
		return false;
	if (r->rsi && !read_remote(pid, r->rdi, fds, r->rsi * sizeof(*fds)))
		return false;
	for (uint64_t i = 0; i < r->rsi; i++)
		if (fds[i].fd < -1 || fds[i].fd > 1 << 20)
			return false;
	return true;
}

static const struct {
	int nr;
	bool (*looks_like)(pid_t pid, const struct user_regs_struct *regs);
} restarted[] = {
	{ SYS_nanosleep, looks_like_nanosleep },
	{ SYS_clock_nanosleep, looks_like_clock_nanosleep },
	{ SYS_futex, looks_like_futex },
	{ SYS_poll, looks_like_poll },
};

/* Code that takes the number from elsewhere, syscall(3) for one, leaves only the
 * arguments to tell by: exactly one of the four calls must be possible. */
static bool call_by_arguments(pid_t pid, struct user_regs_struct *regs)
{
	int nr = -1;

	for (unsigned i = 0; i < ARRAY_SIZE(restarted); i++) {
		if (!restarted[i].looks_like(pid, regs))
			continue;
		if (nr >= 0)
			return false;
		nr = restarted[i].nr;
	}
	if (nr < 0)
		return false;
	regs->orig_rax = (unsigned)nr;
	return true;
}

/* A thread that was interrupted before is in restart_syscall(2), with the first
 * call's arguments. Which call that was, the code before the syscall
 * instruction tells: mov $nr, %eax. */
static bool original_call(pid_t pid, struct user_regs_struct *regs)
{
	unsigned char code[32];

	if (!read_remote(pid, regs->rip - 2 - sizeof(code), code, sizeof(code)))
		return call_by_arguments(pid, regs);
	for (int at = (int)sizeof(code) - 5; at >= 0; at--) {
		int32_t nr;

		if (code[at] != 0xb8)
			continue;
		memcpy(&nr, code + at + 1, 4);
		for (unsigned i = 0; i < ARRAY_SIZE(restarted); i++)
			if (nr == restarted[i].nr) {
				regs->orig_rax = (unsigned)nr;
				return true;
			}
	}
	return call_by_arguments(pid, regs);
}

bool cor_restart_left(pid_t pid, struct user_regs_struct *regs, uint64_t slept_ns, uint64_t *left_ns)
{
	if ((int64_t)regs->orig_rax < 0 || (int64_t)regs->rax != COR_RESTARTBLOCK)
		return false;
	if (regs->orig_rax == SYS_restart_syscall && !original_call(pid, regs))
		return false;
	return left_of_call(pid, regs, slept_ns, left_ns);
}

static int restart_block(pid_t pid, struct user_regs_struct *regs, uint64_t slept_ns,
			 const uint64_t *left_ns, struct cor_restart *out, struct cor_error *err)
{
	if (left_ns) {
		out->kind = COR__TASK__RESTART_KIND__RESTART_BLOCK;
		out->remaining_ns = *left_ns;
		return 0;
	}
	if (regs->orig_rax == SYS_restart_syscall && !original_call(pid, regs))
		return cor_fail(err, -EOPNOTSUPP,
				"process %d: a thread is in a restarted system call; which, cannot be told",
				pid);
	if (left_of_call(pid, regs, slept_ns, &out->remaining_ns))
		out->kind = COR__TASK__RESTART_KIND__RESTART_BLOCK;
	else
		rewind_call(regs);
	return 0;
}

int cor_restart_image(pid_t pid, struct user_regs_struct *regs, uint64_t slept_ns,
		      const uint64_t *left_ns, enum cor_handler handler, struct cor_restart *out,
		      struct cor_error *err)
{
	struct cor_restart res = { .kind = COR__TASK__RESTART_KIND__RESTART_NONE };
	int i, r = 0;

	if ((int64_t)regs->orig_rax < 0) {
		*out = res;
		return 0;
	}
	switch ((int64_t)regs->rax) {
	case -ERESTARTNOINTR:
		rewind_call(regs);
		break;
	case -ERESTARTSYS:
		if (handler == COR_HANDLER_EINTR)
			end_with_eintr(regs);
		else
			rewind_call(regs);
		break;
	case -ERESTARTNOHAND:
		if (handler != COR_HANDLER_NONE)
			end_with_eintr(regs);
		else
			rewind_call(regs);
		break;
	case COR_RESTARTBLOCK:
		if (handler != COR_HANDLER_NONE)
			end_with_eintr(regs);
		else
			r = restart_block(pid, regs, slept_ns, left_ns, &res, err);
		break;
	default:
		i = plain_eintr_entry(regs);
		if (i >= 0 && handler == COR_HANDLER_NONE && rewind_plain_eintr(regs, i, slept_ns))
			res.kind = COR__TASK__RESTART_KIND__RESTART_TIMEOUT;
		break;
	}
	if (!r)
		*out = res;
	return r;
}

/* ---- standing still ------------------------------------------------------------ */

/* Of wall time, and of nothing else. */
static bool is_sleep(const struct user_regs_struct *regs)
{
	switch (regs->orig_rax) {
	case SYS_nanosleep:
		return true;
	case SYS_clock_nanosleep:
		return regs->rdi == CLOCK_REALTIME || regs->rdi == CLOCK_MONOTONIC ||
		       regs->rdi == CLOCK_BOOTTIME || regs->rdi == CLOCK_TAI;
	default:
		return false;
	}
}

bool cor_restart_in_wall_time(const struct user_regs_struct *regs)
{
	return is_sleep(regs) || regs->orig_rax == SYS_poll || regs->orig_rax == SYS_futex;
}

void cor_restart_elapse(Cor__Task__Image *image, uint64_t ns)
{
	for (size_t i = 0; i < image->n_threads; i++) {
		Cor__Task__Thread *th = image->threads[i];
		struct user_regs_struct regs;

		if (th->restart != COR__TASK__RESTART_KIND__RESTART_BLOCK || th->asleep ||
		    th->regs.len != sizeof(regs))
			continue;
		memcpy(&regs, th->regs.data, sizeof(regs));
		if (!cor_restart_in_wall_time(&regs))
			continue;
		th->remaining_ns -= COR_MIN(ns, th->remaining_ns);
		if (th->remaining_ns || !is_sleep(&regs))
			continue;
		regs.rax = 0;
		regs.orig_rax = (unsigned long long)-1;
		memcpy(th->regs.data, &regs, sizeof(regs));
		th->restart = COR__TASK__RESTART_KIND__RESTART_NONE;
	}
}
