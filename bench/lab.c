/* Two cords on loopback, spoken to over their control sockets (cor-protocol(7)). */
#include <arpa/inet.h>
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench/lab.h"
#include "libcor/base/cleanup.h"
#include "libcor/base/io.h"

#define START_MS 10000
#define APART_PORT 7474

/* --- the daemons ------------------------------------------------------------- */
static int free_port(void)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(a);
	_cleanup_close_ int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || bind(fd, (struct sockaddr *)&a, sizeof(a)) ||
	    getsockname(fd, (struct sockaddr *)&a, &len))
		return -errno;
	return ntohs(a.sin_port);
}

/* Where a build tree or an installation has it, seen from this program. */
static void find_cord(char *path, size_t size)
{
	static const char *const beside[] = { "../cord", "cord", "../sbin/cord" };
	char self[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);

	if (n > 0) {
		self[n] = '\0';
		*strrchr(self, '/') = '\0';
		for (unsigned i = 0; i < ARRAY_SIZE(beside); i++)
			if (snprintf(path, size, "%s/%s", self, beside[i]) < (int)size &&
			    !access(path, X_OK))
				return;
	}
	snprintf(path, size, "cord");
}

static int control_connect(const struct cord *c)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	_cleanup_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(a.sun_path, sizeof(a.sun_path), "%s", c->control);
	if (fd < 0 || connect(fd, (struct sockaddr *)&a, sizeof(a)))
		return -errno;
	return take_fd(&fd);
}

static int await_cord(struct cord *c)
{
	uint64_t end = cor_now_ns() + START_MS * 1000000ull;
	int fd;

	while ((fd = control_connect(c)) < 0) {
		if (waitpid(c->pid, NULL, WNOHANG) == c->pid) {
			c->pid = 0;
			warnx("cord ended at once; see %s", c->log);
			return -ECHILD;
		}
		if (cor_now_ns() > end) {
			warnx("cord does not listen on %s; see %s", c->control, c->log);
			return -ETIMEDOUT;
		}
		usleep(2000);
	}
	close(fd);
	return 0;
}

static int cord_start(struct cord *c, const char *dir, const char *name, const char *program)
{
	char state[96];
	int port = c->host ? APART_PORT : free_port();

	if (port < 0)
		return port;
	snprintf(c->listen, sizeof(c->listen), "%s:%d", c->host ? c->host->address : "127.0.0.1",
		 port);
	snprintf(c->control, sizeof(c->control), "%s/%s.sock", dir, name);
	snprintf(c->log, sizeof(c->log), "%s/%s.log", dir, name);
	snprintf(state, sizeof(state), "%s/%s", dir, name);
	mkdir(state, 0700);
	c->pid = fork_child();
	if (!c->pid) {
		int log = open(c->log, O_WRONLY | O_CREAT | O_APPEND, 0600);
		int null = open("/dev/null", O_RDONLY);

		if (c->host && setns(c->host->netns, CLONE_NEWNET))
			err(127, "%s", c->host->address);
		dup2(null, 0);
		dup2(log, 1);
		dup2(log, 2);
		close_range(3, ~0u, 0);
		execlp(program, "cord", "--name", name, "--listen", c->listen, "--control", c->control,
		       "--state-dir", state, c->host ? "--insecure" : NULL, NULL);
		err(127, "%s", program);
	}
	return await_cord(c);
}

int lab_start(struct lab *lab, const char *cord)
{
	return lab_start_apart(lab, cord, NULL);
}

int lab_start_apart(struct lab *lab, const char *cord, const struct apart_host hosts[2])
{
	char path[PATH_MAX];
	int r;

	memset(lab, 0, sizeof(*lab));
	lab->source.host = hosts;
	lab->destination.host = hosts ? hosts + 1 : NULL;
	strcpy(lab->dir, "/tmp/cor-bench-XXXXXX");
	if (!mkdtemp(lab->dir))
		err(1, "%s", lab->dir);
	if (cord)
		snprintf(path, sizeof(path), "%s", cord);
	else
		find_cord(path, sizeof(path));
	r = cord_start(&lab->source, lab->dir, "source", path);
	return r ? r : cord_start(&lab->destination, lab->dir, "destination", path);
}

static void cord_stop(struct cord *c)
{
	if (c->pid <= 0)
		return;
	kill(c->pid, SIGTERM);
	while (waitpid(c->pid, NULL, 0) < 0 && errno == EINTR)
		;
	c->pid = 0;
}

static void remove_dir(const char *dir)
{
	char path[64];
	char *argv[] = { (char[]){ "rm" }, (char[]){ "-rf" }, path, NULL };
	pid_t pid;

	snprintf(path, sizeof(path), "%s", dir);
	pid = fork();
	if (!pid) {
		execvp(argv[0], argv);
		_exit(127);
	}
	if (pid > 0)
		waitpid(pid, NULL, 0);
}

void lab_stop(struct lab *lab, bool keep)
{
	cord_stop(&lab->source);
	cord_stop(&lab->destination);
	if (keep)
		warnx("the daemons' logs are in %s", lab->dir);
	else
		remove_dir(lab->dir);
}

/* --- migrations -------------------------------------------------------------- */
/* Reads lines until cord gives its result. */
static json_t *await_result(int fd)
{
	_cleanup_fclose_ FILE *f = fdopen(fd, "r");
	_cleanup_free_ char *line = NULL;
	size_t room = 0;

	if (!f) {
		close(fd);
		return NULL;
	}
	while (getline(&line, &room, f) > 0) {
		json_t *o = json_loads(line, 0, NULL);
		const char *event = json_string_value(json_object_get(o, "event"));

		if (event && !strcmp(event, "result"))
			return o;
		json_decref(o);
	}
	return NULL;
}

int lab_migrate(struct lab *lab, pid_t pid, json_t **result)
{
	return lab_migrate_address(lab, pid, NULL, result);
}

int lab_migrate_address(struct lab *lab, pid_t pid, const char *address, json_t **result)
{
	int fd = control_connect(&lab->source);
	json_t *answer;
	char line[240], along[64] = "";
	int n;

	if (fd < 0) {
		warnx("%s: %s", lab->source.control, strerror(-fd));
		return fd;
	}
	if (address)
		snprintf(along, sizeof(along), ",\"addresses\":[\"%s\"]", address);
	n = snprintf(line, sizeof(line), "{\"command\":\"migrate\",\"pid\":%d,\"dest\":\"%s\","
		     "\"wait\":\"drained\"%s}\n", (int)pid, lab->destination.listen, along);
	if (cor_write_full(fd, line, (size_t)n)) {
		close(fd);
		warnx("%s: the request could not be sent", lab->source.control);
		return -EPIPE;
	}
	answer = await_result(fd);
	if (!answer) {
		warnx("cord gave no result for process %d", (int)pid);
		return -EPIPE;
	}
	if (!json_is_true(json_object_get(answer, "ok"))) {
		const char *why = json_string_value(json_object_get(answer, "error"));

		warnx("migration of process %d: %s", (int)pid, why ? why : "failed, no reason given");
		json_decref(answer);
		return -EIO;
	}
	*result = answer;
	return 0;
}
