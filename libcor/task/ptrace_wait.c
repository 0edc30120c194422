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

int cor_ptrace_poll(pid_t tid, int *status)
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

void cor_pace_begin(struct cor_pace *p, uint64_t timeout_ns)
{
	p->start_ns = cor_now_ns();
	p->timeout_ns = timeout_ns;
	p->nap_ns = NAP_FIRST_NS;
}

int cor_pace(struct cor_pace *p)
{
	uint64_t waited = cor_now_ns() - p->start_ns;
	struct timespec ts = { 0 };

	if (waited >= p->timeout_ns)
		return -ETIME;
	if (waited < SPIN_NS) {
		sched_yield();
		return 0;
	}
	ts.tv_nsec = (long)p->nap_ns;
	nanosleep(&ts, NULL);
	p->nap_ns = COR_MIN(p->nap_ns * 2, (uint64_t)NAP_LAST_NS);
	return 0;
}

int cor_ptrace_wait(pid_t tid, uint64_t timeout_ns, int *status)
{
	struct cor_pace pace;
	int r;

	cor_pace_begin(&pace, timeout_ns);
	for (;;) {
		r = cor_ptrace_poll(tid, status);
		if (r)
			return r < 0 ? r : 0;
		if (pace.nap_ns == NAP_LAST_NS && cor_thread_is_dead(tid))
			return -ESRCH;
		r = cor_pace(&pace);
		if (r < 0)
			return r;
	}
}
