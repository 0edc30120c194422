/* See fault.h. */
#include "daemon/fault.h"

#ifdef COR_FAULT_POINTS
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* The connection stays open, in a descriptor that nobody uses. */
static void silence(int sock)
{
	int pair[2];

	if (dup(sock) < 0 || socketpair(AF_UNIX, SOCK_STREAM, 0, pair) < 0)
		return;
	dup2(pair[0], sock);
	close(pair[0]);
	close(pair[1]);
}

/* Once: O_EXCL. */
static void hold(const char *dir, const char *name)
{
	char reached[256], go[256];
	int fd;

	snprintf(reached, sizeof(reached), "%s/%s.reached", dir, name);
	snprintf(go, sizeof(go), "%s/%s.go", dir, name);
	fd = open(reached, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0)
		return;
	dprintf(fd, "%d\n", (int)getpid());
	close(fd);
	for (int ms = 0; ms < 60000 && access(go, F_OK) < 0; ms += 2)
		usleep(2000);
}

/* NULL: there is no such file, or nothing in it. */
static const char *read_line(const char *path, char *line, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, line, size - 1);

	if (fd >= 0)
		close(fd);
	line[n > 0 ? n : 0] = 0;
	line[strcspn(line, "\n")] = 0;
	return line[0] ? line : NULL;
}

void fault_point(const char *name, struct cor_stream *control)
{
	const char *want = getenv("COR_FAULT");
	size_t n = strlen(name);
	char line[512];

	if (want && want[0] == '@')
		want = read_line(want + 1, line, sizeof(line));
	if (!want || strncmp(want, name, n) != 0 || want[n] != ':')
		return;
	if (strncmp(want + n + 1, "hold=", 5) == 0)
		hold(want + n + 6, name);
	else if (strcmp(want + n + 1, "kill") == 0)
		kill(getpid(), SIGKILL);
	else if (strcmp(want + n + 1, "stall") == 0)
		sleep(60);
	else if (control && strcmp(want + n + 1, "cut") == 0)
		cor_stream_shutdown(control);
	else if (control && strcmp(want + n + 1, "silence") == 0)
		silence(control->out_fd);
}
#else
typedef int fault_no_empty_unit;
#endif
