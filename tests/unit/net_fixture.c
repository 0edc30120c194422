/* See net_fixture.h. */
#include "net_fixture.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

static pid_t keepers[NET_HOSTS];
static int   namespaces[NET_HOSTS] = { -1, -1, -1 };
static int   own = -1;
static int   ready;

static pid_t keeper(void)
{
	int report[2];
	pid_t pid;
	char c;

	if (pipe(report) < 0)
		return -1;
	pid = fork();
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (unshare(CLONE_NEWNET) < 0 || write(report[1], "x", 1) != 1)
			_exit(1);
		for (;;)
			pause();
	}
	close(report[1]);
	if (read(report[0], &c, 1) != 1)
		pid = -1;
	close(report[0]);
	return pid;
}

static int run(pid_t pid, const char *command)
{
	char line[512];

	snprintf(line, sizeof(line), "nsenter -t %d -n ip %s", (int)pid, command);
	return system(line);
}

void net_ip(enum net_host host, const char *fmt, ...)
{
	char command[256];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(command, sizeof(command), fmt, ap);
	va_end(ap);
	assert_int_equal(run(keepers[host], command), 0);
}

static int join(enum net_host host)
{
	char command[160];
	int r;

	snprintf(command, sizeof(command), "link add to%d type veth peer name eth0 netns %d", host,
		 (int)keepers[host]);
	r = run(keepers[CLIENT], command);
	snprintf(command, sizeof(command), "link set to%d master eth0 up", host);
	return r ? r : run(keepers[CLIENT], command);
}

static int address(enum net_host host)
{
	char command[160];
	int r;

	snprintf(command, sizeof(command), "addr add 10.9.0.%d/24 dev eth0", host + 1);
	r = run(keepers[host], command);
	snprintf(command, sizeof(command), "addr add fd09::%d/64 dev eth0 nodad", host + 1);
	r = r ? r : run(keepers[host], command);
	r = r ? r : run(keepers[host], "link set eth0 up");
	return r ? r : run(keepers[host], "link set lo up");
}

int net_setup(void **state)
{
	char path[64];
	int r;

	if (geteuid() != 0)
		return 0;
	own = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	for (int i = 0; i < NET_HOSTS; i++) {
		keepers[i] = keeper();
		snprintf(path, sizeof(path), "/proc/%d/ns/net", (int)keepers[i]);
		namespaces[i] = keepers[i] > 0 ? open(path, O_RDONLY | O_CLOEXEC) : -1;
		if (namespaces[i] < 0)
			return 0;
	}
	r = run(keepers[CLIENT], "link add eth0 type bridge");
	for (int i = 0; r == 0 && i < NET_HOSTS; i++)
		r = i == CLIENT ? 0 : join(i);
	for (int i = 0; r == 0 && i < NET_HOSTS; i++)
		r = address(i);
	ready = r == 0;
	return 0;
}

int net_teardown(void **state)
{
	if (own >= 0) {
		setns(own, CLONE_NEWNET);
		close(own);
	}
	for (int i = 0; i < NET_HOSTS; i++) {
		if (namespaces[i] >= 0)
			close(namespaces[i]);
		if (keepers[i] > 0) {
			kill(keepers[i], SIGKILL);
			waitpid(keepers[i], NULL, 0);
		}
	}
	return 0;
}

void net_ready(void)
{
	if (!ready) {
		print_message("skip: network namespaces need root and ip(8)\n");
		skip();
	}
}

void net_enter(enum net_host host)
{
	assert_int_equal(setns(namespaces[host], CLONE_NEWNET), 0);
}
