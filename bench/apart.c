/* Hosts in network namespaces, made with ip(8). */
#include "bench/apart.h"

#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench/bench.h"
#include "libcor/base/io.h"

#define NET  "10.99.7."
#define MASK "/24"
#define MAX_WORDS 16

/* ip(8) with these words, in h's network (NULL: ours). */
static void ip(const struct apart_host *h, const char *format, ...)
{
	char text[160], copy[160], *argv[MAX_WORDS] = { (char[]){ "ip" } }, *save;
	unsigned n = 1;
	va_list args;
	int status;
	pid_t pid;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	strcpy(copy, text);
	for (char *w = strtok_r(copy, " ", &save); w && n < MAX_WORDS - 1; w = strtok_r(NULL, " ", &save))
		argv[n++] = w;
	pid = fork();
	if (!pid) {
		if (h && setns(h->netns, CLONE_NEWNET))
			_exit(126);
		execvp(argv[0], argv);
		_exit(127);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid || status)
		errx(1, "ip %s: failed; it needs ip(8) and CAP_NET_ADMIN", text);
}

/* A process that does nothing, in a network of its own. */
static void hold(struct apart_host *h)
{
	char path[48], c = 0;
	int pipefd[2];

	if (pipe2(pipefd, O_CLOEXEC))
		err(1, "pipe");
	h->holder = fork_child();
	if (!h->holder) {
		if (unshare(CLONE_NEWNET) || write(pipefd[1], "r", 1) != 1)
			_exit(1);
		for (;;)
			pause();
	}
	close(pipefd[1]);
	if (cor_read_full(pipefd[0], &c, 1))
		errx(1, "no network namespace for a host");
	close(pipefd[0]);
	snprintf(path, sizeof(path), "/proc/%d/ns/net", (int)h->holder);
	h->netns = open(path, O_RDONLY | O_CLOEXEC);
	if (h->netns < 0)
		err(1, "%s", path);
}

void apart_make(struct apart_host *hosts, unsigned n)
{
	if (unshare(CLONE_NEWNET))
		err(1, "a network namespace");
	ip(NULL, "link set lo up");
	ip(NULL, "link add bench0 type bridge");
	ip(NULL, "addr add " NET "254" MASK " dev bench0");
	ip(NULL, "link set bench0 up");
	for (unsigned i = 0; i < n; i++) {
		struct apart_host *h = &hosts[i];

		hold(h);
		snprintf(h->address, sizeof(h->address), NET "%u", i + 1);
		ip(NULL, "link add host%u type veth peer name eth0 netns %d", i, (int)h->holder);
		ip(NULL, "link set host%u master bench0 up", i);
		ip(h, "link set lo up");
		ip(h, "addr add %s" MASK " dev eth0", h->address);
		ip(h, "link set eth0 up");
	}
	ip(&hosts[0], "addr add " APART_FLOAT_MASK " dev eth0");
}

void apart_end(struct apart_host *hosts, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		end_child(hosts[i].holder);
		close(hosts[i].netns);
	}
}

pid_t apart_spawn(const struct apart_host *h, char *const argv[])
{
	pid_t pid = fork();

	if (pid < 0)
		err(1, "fork");
	if (!pid) {
		int null = open("/dev/null", O_RDWR);

		if (setns(h->netns, CLONE_NEWNET))
			_exit(126);
		setsid();
		for (int i = 0; i < 3; i++)
			dup2(null, i);
		close_range(3, ~0u, 0);
		execvp(argv[0], argv);
		_exit(127);
	}
	return pid;
}
