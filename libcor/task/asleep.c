/* See asleep.h. */
#include "libcor/task/asleep.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "libcor/base/cleanup.h"
#include "libcor/base/io.h"
#include "libcor/task/procfs.h"
#include "libcor/task/restart.h"

#define SCHEDSTAT_MAX 128
#define LOOK_NS 100000  /* again, if it does not sleep yet */

static int read_call(pid_t pid, pid_t tid, struct cor_proc_syscall *out)
{
	_cleanup_free_ char *text = NULL;
	char path[64];
	int r;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/syscall", (int)pid, (int)tid);
	r = cor_slurp(AT_FDCWD, path, &text, NULL);
	return r < 0 ? r : cor_parse_syscall(text, out);
}

bool cor_asleep_undisturbed(pid_t pid, pid_t tid)
{
	struct cor_proc_syscall s;
	uint64_t op;

	if (read_call(pid, tid, &s) < 0)
		return false;
	switch (s.nr) {
	case SYS_nanosleep:
	case SYS_clock_nanosleep:
	case SYS_poll:
	case SYS_restart_syscall:
		return true;
	case SYS_futex:
		op = s.arg[1] & (unsigned)FUTEX_CMD_MASK;
		return op == FUTEX_WAIT || op == FUTEX_WAIT_BITSET;
	default:
		return false;
	}
}

static int read_runs(int fd, uint64_t *runs)
{
	char text[SCHEDSTAT_MAX];
	int r = cor_read_again(fd, text, sizeof(text));

	return r < 0 ? r : cor_parse_schedstat(text, runs);
}

int cor_asleep_open(pid_t pid, pid_t tid)
{
	_cleanup_close_ int fd = -1;
	uint64_t runs;
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/task/%d/schedstat", (int)pid, (int)tid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT ? -ENOTSUP : -errno;
	return read_runs(fd, &runs) < 0 ? -ENOTSUP : take_fd(&fd);
}

bool cor_asleep_mark(const struct user_regs_struct *regs, struct user_regs_struct *out)
{
	*out = *regs;
	if ((int64_t)regs->rax == COR_RESTARTBLOCK) {
		out->orig_rax = SYS_restart_syscall;
		return false;
	}
	/* another one each time: a thread may stay in its call through several looks at it */
	out->orig_rax = (uint32_t)regs->orig_rax | (cor_now_ns() & 0x7fffffff) << 32 | 1ull << 32;
	return true;
}

void cor_asleep_unmark(struct user_regs_struct *regs)
{
	regs->orig_rax = (uint64_t)(int64_t)(int32_t)regs->orig_rax;
}

bool cor_asleep_ran(const struct cor_asleep *a, unsigned times)
{
	uint64_t runs;

	return cor_asleep_marked(a) || (read_runs(a->schedstat, &runs) == 0 && runs == a->runs + times);
}

void cor_asleep_stopped(struct cor_asleep *a)
{
	/* of a number that is none it will have run too often */
	if (read_runs(a->schedstat, &a->runs) < 0)
		a->runs = 0;
}

/* It has run once, from where it was let go to its sleep, and not in between: 1. 0: not yet;
 * -ESRCH: more than that, or it is gone. */
static int sleeps(const struct cor_asleep *a, pid_t pid)
{
	struct cor_proc_syscall s;
	uint64_t runs;
	int r = read_runs(a->schedstat, &runs);

	if (r < 0 || runs > a->runs + 1)
		return -ESRCH;
	if (runs == a->runs)
		return 0;
	return read_call(pid, a->tid, &s) == 0 && (uint64_t)s.nr == a->regs.orig_rax &&
	       s.sp == a->regs.rsp && s.pc == a->regs.rip && cor_asleep_ran(a, 1);
}

bool cor_asleep_again(struct cor_asleep *a, pid_t pid, uint64_t patience_ns)
{
	const struct timespec pause = { .tv_nsec = LOOK_NS };
	uint64_t until = cor_now_ns() + patience_ns;
	int r;

	if (cor_asleep_marked(a))
		return true;
	while ((r = sleeps(a, pid)) == 0 && cor_now_ns() < until)
		nanosleep(&pause, NULL);
	a->runs += r == 1;
	return r == 1;
}
