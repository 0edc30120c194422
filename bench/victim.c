/* The task that cor-bench freeze migrates: cor-bench victim SIZE THREADS FD.
 * Touches its memory, says so on FD and closes it, then lives on: each thread
 * wakes every few milliseconds and writes a word. */
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "bench/lab.h"
#include "libcor/base/cleanup.h"
#include "libcor/base/io.h"

static void *live_on(void *arg)
{
	const struct timespec pause = { .tv_nsec = 5000000 };
	volatile uint64_t *word = arg;

	for (;;) {
		++*word;
		nanosleep(&pause, NULL);
	}
	return NULL;
}

int cmd_victim(int argc, char **argv)
{
	size_t size = argc > 3 ? strtoull(argv[1], NULL, 10) : 0;
	unsigned threads = argc > 3 ? (unsigned)atoi(argv[2]) : 0;
	int ready = argc > 3 ? atoi(argv[3]) : -1;
	pthread_t thread;
	char *base;

	if (!size || !threads || ready < 0)
		return 2;
	base = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (base == MAP_FAILED)
		err(1, "%zu bytes", size);
	memset(base, 0x5a, size);
	for (unsigned i = 1; i < threads; i++)
		if (pthread_create(&thread, NULL, live_on, base + size / threads * i))
			err(1, "thread %u", i);
	if (write(ready, "r", 1) != 1)
		return 1;
	close(ready);
	live_on(base);
	return 0;
}

pid_t victim_start(size_t size, unsigned threads)
{
	char bytes[24], count[12], fd[12], self[PATH_MAX], c;
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	int pipefd[2];
	pid_t pid;

	if (n < 0)
		err(1, "/proc/self/exe");
	self[n] = '\0';
	if (pipe(pipefd))
		err(1, "pipe");
	pid = fork();
	if (pid < 0)
		err(1, "fork");
	if (!pid) {
		int null = open("/dev/null", O_RDWR);

		setsid();
		for (int i = 0; i < 3; i++)
			dup2(null, i);
		if (pipefd[1] != 3)
			dup2(pipefd[1], 3);
		close_range(4, ~0u, 0);
		snprintf(bytes, sizeof(bytes), "%zu", size);
		snprintf(count, sizeof(count), "%u", threads);
		snprintf(fd, sizeof(fd), "%d", 3);
		execl(self, "cor-bench", "victim", bytes, count, fd, NULL);
		_exit(127);
	}
	close(pipefd[1]);
	if (cor_read_full(pipefd[0], &c, 1))
		errx(1, "the victim of %zu bytes did not start: is there memory for it?", size);
	close(pipefd[0]);
	return pid;
}

#define END_MS 10000

void victim_end(pid_t pid)
{
	_cleanup_free_ char *comm = NULL;
	char path[48];

	/* Numbers are used again: look before killing. */
	snprintf(path, sizeof(path), "/proc/%d/comm", (int)pid);
	if (pid > 1 && !cor_slurp(AT_FDCWD, path, &comm, NULL) && !strcmp(comm, "cor-bench\n"))
		kill(pid, SIGKILL);
	else
		return;
	/* Nobody's child of ours: its memory's end would lie in the next measurement. */
	for (unsigned i = 0; i < END_MS && kill(pid, 0) == 0; i++)
		usleep(1000);
}
