/* The tasks that cor-bench moves: cor-bench-task and others of its own, and a python3 with
 * many mappings. */
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench/lab.h"
#include "libcor/base/cleanup.h"
#include "libcor/base/io.h"

#define OURS "/cor-bench-"
#define END_MS 10000
#define READY_FD 3

/* Where a build tree has it, or an installation. */
static void find_task(const char *name, char *path, size_t size)
{
	char self[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);

	if (n > 0) {
		self[n] = '\0';
		*strrchr(self, '/') = '\0';
		if (snprintf(path, size, "%s/%s", self, name) < (int)size && !access(path, X_OK))
			return;
	}
	snprintf(path, size, COR_LIBEXECDIR "/%s", name);
}

/* In the child: a session of its own, on /dev/null, ready at READY_FD; nothing else. */
static void settle(int ready)
{
	int null = open("/dev/null", O_RDWR);

	setsid();
	for (int i = 0; i < 3; i++)
		dup2(null, i);
	if (ready != READY_FD)
		dup2(ready, READY_FD);
	close_range(READY_FD + 1, ~0u, 0);
}

/* Starts argv and waits for a byte on READY_FD; 0: the program is not there. */
static pid_t start(char *const argv[])
{
	int pipefd[2];
	pid_t pid;
	char c;

	if (pipe(pipefd))
		err(1, "pipe");
	pid = fork();
	if (pid < 0)
		err(1, "fork");
	if (!pid) {
		settle(pipefd[1]);
		execvp(argv[0], argv);
		_exit(127);
	}
	close(pipefd[1]);
	if (cor_read_full(pipefd[0], &c, 1)) {
		end_child(pid);
		pid = 0;
	}
	close(pipefd[0]);
	return pid;
}

pid_t victim_start_program(const char *name, ...)
{
	char path[PATH_MAX], *argv[TASK_ARGS + 3] = { path }, fd[12];
	unsigned n = 1;
	va_list args;
	pid_t pid;

	find_task(name, path, sizeof(path));
	va_start(args, name);
	for (char *arg; (arg = va_arg(args, char *)); )
		if (n <= TASK_ARGS)
			argv[n++] = arg;
	va_end(args);
	snprintf(fd, sizeof(fd), "%d", READY_FD);
	argv[n] = fd;
	pid = start(argv);
	if (!pid)
		errx(1, "%s did not start: is it there, and memory for it?", path);
	return pid;
}

pid_t victim_start(size_t size, unsigned threads, bool waiting)
{
	char bytes[24], count[12];

	snprintf(bytes, sizeof(bytes), "%zu", size);
	snprintf(count, sizeof(count), "%u", threads);
	return victim_start_program("cor-bench-task", bytes, count, waiting ? "wait" : "nap", NULL);
}

pid_t victim_start_python(void)
{
	char program[] = "/usr/bin/python3", option[] = "-c", script[] =
		"import os, ssl, json, sqlite3, ctypes, lzma, bz2, decimal, hashlib, asyncio, time\n"
		"os.write(3, b'r'); os.close(3)\n"
		"while True: time.sleep(0.005)\n";
	char *argv[] = { program, option, script, NULL };

	return start(argv);
}

unsigned victim_mappings(pid_t pid)
{
	_cleanup_free_ char *maps = NULL;
	unsigned n = 0;
	char path[32];

	snprintf(path, sizeof(path), "/proc/%d/maps", (int)pid);
	if (cor_slurp(AT_FDCWD, path, &maps, NULL))
		return 0;
	for (const char *p = maps; (p = strchr(p, '\n')); p++)
		n++;
	return n;
}

static bool is_ours(pid_t pid)
{
	_cleanup_free_ char *line = NULL;
	char path[48];

	snprintf(path, sizeof(path), "/proc/%d/cmdline", (int)pid);
	return pid > 1 && !cor_slurp(AT_FDCWD, path, &line, NULL) &&
	       (strstr(line, OURS) || !strcmp(line, "/usr/bin/python3"));
}

void victim_end(pid_t pid)
{
	/* Numbers are used again: look before killing. */
	if (!is_ours(pid))
		return;
	kill(pid, SIGKILL);
	if (waitpid(pid, NULL, 0) == pid)
		return;
	/* No child of ours: its memory's end would lie in the next measurement. */
	for (unsigned i = 0; i < END_MS && kill(pid, 0) == 0; i++)
		usleep(1000);
}
