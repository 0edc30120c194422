/* Waiting for a traced thread to stop; see ptrace_wait.h. */
#include "libcor/task/ptrace_wait.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "libcor/base/cleanup.h"
#include "libcor/base/io.h"

/* Waking this thread costs more than most stops take: look again for a while. */
#define SPIN_NS      200000u
#define NAP_FIRST_NS  20000u
#define NAP_LAST_NS 1000000u

int cor_thread_is_dead(pid_t tid)
{
	char path[32], text[512];
	_cleanup_close_ int fd = -1;
	ssize_t n;
	char *p;

	snprintf(path, sizeof(path), "/proc/%d/stat", tid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT;
	n = read(fd, text, sizeof(text) - 1);
	if (n <= 0)
		return 1;
	text[n] = 0;
	p = strrchr(text, ')');      /* the name may hold anything, a parenthesis too */
	return p && p[1] == ' ' && (p[2] == 'Z' || p[2] == 'X');
}

/* 1: stopped, *status filled; 0: not yet; -ESRCH. */
static int look(pid_t tid, int *status)
{
	int st;
	pid_t r = waitpid(tid, &st, __WALL | WNOHANG);

	if (r == 0 || (r < 0 && errno == EINTR))
		return 0;
	if (r != tid || !WIFSTOPPED(st))
		return -ESRCH;
	*status = st;
	return 1;
}

int cor_ptrace_wait(pid_t tid, uint64_t timeout_ns, int *status)
{
	uint64_t start = cor_now_ns(), nap = NAP_FIRST_NS;

	for (;;) {
		struct timespec ts = { 0 };
		uint64_t waited;
		int r = look(tid, status);

		if (r)
			return r < 0 ? r : 0;
		waited = cor_now_ns() - start;
		if (waited >= timeout_ns)
			return -ETIME;
		if (waited < SPIN_NS) {
			sched_yield();
			continue;
		}
		if (nap == NAP_LAST_NS && cor_thread_is_dead(tid))
			return -ESRCH;
		ts.tv_nsec = (long)nap;
		nanosleep(&ts, NULL);
		nap = COR_MIN(nap * 2, (uint64_t)NAP_LAST_NS);
	}
}
