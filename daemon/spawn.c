/* Forking a worker; see spawn.h. */
#include "daemon/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "libcor/base/cleanup.h"

#define KEEP_MAX 8

static int by_number(const void *a, const void *b)
{
	return *(const int *)a - *(const int *)b;
}

static void close_others(const int *keep, unsigned nkeep)
{
	int sorted[KEEP_MAX];
	unsigned from = STDERR_FILENO + 1;

	memcpy(sorted, keep, nkeep * sizeof(*keep));
	qsort(sorted, nkeep, sizeof(*sorted), by_number);
	for (unsigned i = 0; i < nkeep; i++) {
		unsigned fd = (unsigned)sorted[i];

		if (fd > from)
			close_range(from, fd - 1, 0);
		from = COR_MAX(from, fd + 1);
	}
	close_range(from, UINT_MAX, 0);
}

static void stdin_from_null(void)
{
	int null = open("/dev/null", O_RDONLY | O_CLOEXEC);

	if (null < 0)
		return;
	dup2(null, STDIN_FILENO);
	close(null);
}

static void reset_signals(void)
{
	sigset_t none;

	for (int sig = 1; sig < NSIG; sig++)
		signal(sig, SIG_DFL);
	signal(SIGPIPE, SIG_IGN);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

pid_t spawn_worker(const char *name, const int *keep, unsigned nkeep,
		   int (*run)(const void *arg), const void *arg)
{
	pid_t pid;

	if (nkeep > KEEP_MAX)
		return -E2BIG;
	pid = fork();
	if (pid < 0)
		return -errno;
	if (pid > 0)
		return pid;
	setsid();
	reset_signals();
	stdin_from_null();
	close_others(keep, nkeep);
	prctl(PR_SET_NAME, name);
	_exit(run(arg));
}
