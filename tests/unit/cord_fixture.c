/* The cord of a test; see cord_fixture.h. */
#include "tests/unit/cord_fixture.h"

#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon/cord.h"
#include "libcor/base/cleanup.h"
#include "libcor/base/io.h"
#include "libcor/task/rebuild.h"
#include "libcor/transport/tcp.h"

/* Longest wait for anything that must happen. */
#define PATIENCE_MS 10000

static void tell(int cord, const char *text)
{
	cor_send_fds(cord, text, strlen(text), NULL, 0);
}

/* Until cord says "cancel" (true), or is gone. */
static bool await_cancel(int cord)
{
	char buf[WORKER_MESSAGE_MAX];
	ssize_t n = cor_recv_fds(cord, buf, sizeof(buf) - 1, NULL, NULL);

	buf[n > 0 ? n : 0] = 0;
	return strstr(buf, "\"cancel\"") != NULL;
}

/* Writes what a worker has into the FIFO: whether it leads its session, and its
 * descriptors. */
static int describe_self(const char *dir)
{
	char path[300], text[128];
	int fifo, n = 0;

	for (int fd = 0; fd < 1024; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	snprintf(path, sizeof(path), "%s/fifo", dir);
	fifo = open(path, O_WRONLY | O_CLOEXEC);
	snprintf(text, sizeof(text), "leader %d descriptors %d", getsid(0) == getpid(), n);
	return cor_write_full(fifo, text, strlen(text) + 1);
}

/* Ends before its child, whose PID it tells. The child ends with the worker. */
static int leave_orphan(int cord)
{
	char text[96], byte;
	int life[2];
	pid_t child;

	if (pipe(life) < 0)
		return 1;
	child = fork();
	if (child == 0) {
		close(life[1]);
		close(cord);
		cor_read_full(life[0], &byte, 1);
		_exit(0);
	}
	snprintf(text, sizeof(text), "{\"type\":\"result\",\"ok\":true,\"exit\":0,"
		 "\"orphan\":%d}", (int)child);
	tell(cord, text);
	return 0;
}

static int fake_source(const struct worker_source_args *a)
{
	const char *what = a->transport;

	tell(a->cord, "{\"type\":\"status\",\"state\":\"prepare\"}");
	if (!strcmp(what, "die"))
		raise(SIGKILL);
	if (!strcmp(what, "orphan"))
		return leave_orphan(a->cord);
	if (!strcmp(what, "cancel")) {
		if (await_cancel(a->cord))
			tell(a->cord, "{\"type\":\"result\",\"ok\":false,\"exit\":1,"
				      "\"error\":\"cancelled\"}");
		return 1;
	}
	tell(a->cord, "{\"type\":\"status\",\"state\":\"commit\"}");
	if (!strcmp(what, "commit-die"))
		raise(SIGKILL);
	tell(a->cord, "{\"type\":\"status\",\"state\":\"paging\",\"destination_pid\":77,"
		      "\"freeze_us\":812}");
	if (!strcmp(what, "outlive")) {
		await_cancel(a->cord);
		return describe_self(a->config->state_dir);
	}
	if (!strcmp(what, "stay")) {
		await_cancel(a->cord);
		return 0;
	}
	tell(a->cord, "{\"type\":\"status\",\"state\":\"drained\",\"drain_us\":5000}");
	tell(a->cord, "{\"type\":\"result\",\"ok\":true,\"exit\":0,\"pages\":9}");
	return 0;
}

/* Told its session and secret in the clear; then waits for a lane, and lets a
 * "task" arrive that exits with status 5. */
static int fake_destination(const struct worker_destination_args *a)
{
	char id[33], secret[65], text[256], buf[WORKER_MESSAGE_MAX];
	struct cor_rebuild_exit end = { .pid = 99, .status = 5 << 8 };
	int lane = -1, report[2];
	unsigned n = 1;
	ssize_t len;

	if (cor_read_full(a->control, id, 32) < 0 || cor_read_full(a->control, secret, 64) < 0)
		return 1;
	id[32] = secret[64] = 0;
	snprintf(text, sizeof(text), "{\"type\":\"session\",\"id\":\"%s\",\"secret\":\"%s\","
		 "\"role\":\"destination\",\"pid\":99,\"comm\":\"fake\"}", id, secret);
	tell(a->cord, text);
	cor_write_full(a->control, "k", 1);
	len = cor_recv_fds(a->cord, buf, sizeof(buf) - 1, &lane, &n);
	if (len <= 0 || lane < 0)
		return 1;
	cor_write_full(lane, buf, (size_t)len);
	if (socketpair(AF_UNIX, SOCK_STREAM, 0, report) < 0)
		return 1;
	snprintf(text, sizeof(text), "{\"type\":\"arrived\",\"pid\":99,\"supervisor\":98,"
		 "\"comm\":\"fake\",\"from\":\"x\"}");
	cor_send_fds(a->cord, text, strlen(text), &report[0], 1);
	tell(a->cord, "{\"type\":\"result\",\"ok\":true,\"exit\":0}");
	cor_read_full(a->control, buf, 1);
	cor_write_full(report[1], &end, sizeof(end));
	return 0;
}

static int run_cord(const struct cord_fixture *f)
{
	static const struct worker_ops fakes = { .source = fake_source, .destination = fake_destination };
	struct cor_error err = COR_ERROR_INIT;
	struct cord_config config;
	int log = open(f->log, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	int r;

	dup2(log, STDERR_FILENO);
	setenv("NOTIFY_SOCKET", f->notify, 1);
	cord_config_init(&config);
	strcpy(config.listen, "127.0.0.1:0");
	strcpy(config.control, f->control);
	strcpy(config.state_dir, f->state);
	config.timeouts.preamble_s = 2;
	r = cord_run(&config, &fakes, &err);
	if (r < 0)
		dprintf(STDERR_FILENO, "%s\n", err.text);
	return r < 0;
}

static int await_ready(struct cord_fixture *f)
{
	struct pollfd p = { .fd = f->notify_fd, .events = POLLIN };
	_cleanup_free_ char *log = NULL;
	const char *port;
	char text[32] = "";

	if (poll(&p, 1, PATIENCE_MS) != 1 ||
	    recv(f->notify_fd, text, sizeof(text) - 1, 0) < 0 || strcmp(text, "READY=1"))
		return -1;
	if (cor_slurp(AT_FDCWD, f->log, &log, NULL) < 0)
		return -1;
	port = strstr(log, "peers at 127.0.0.1:");
	f->port = port ? (unsigned)atoi(port + strlen("peers at 127.0.0.1:")) : 0;
	return f->port ? 0 : -1;
}

static int listen_notify(const struct cord_fixture *f)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	strcpy(sa.sun_path, f->notify);
	return fd < 0 || bind(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0 ? -1 : fd;
}

int cord_setup(void **state)
{
	struct cord_fixture *f = calloc(1, sizeof(*f));

	*state = f;
	f->client = f->notify_fd = -1;
	strcpy(f->dir, "/tmp/cor-cord-XXXXXX");
	if (!mkdtemp(f->dir))
		return -1;
	snprintf(f->control, sizeof(f->control), "%s/control", f->dir);
	snprintf(f->log, sizeof(f->log), "%s/log", f->dir);
	snprintf(f->notify, sizeof(f->notify), "%s/notify", f->dir);
	snprintf(f->state, sizeof(f->state), "%s/state", f->dir);
	snprintf(f->fifo, sizeof(f->fifo), "%s/fifo", f->state);
	f->notify_fd = listen_notify(f);
	f->cord = fork();
	if (f->cord == 0)
		_exit(run_cord(f));
	if (f->cord < 0 || await_ready(f) < 0)
		return -1;
	f->client = cord_connect_client(f);
	return f->client < 0 ? -1 : 0;
}

int cord_end(struct cord_fixture *f)
{
	int status = -1;

	kill(f->cord, SIGTERM);
	waitpid(f->cord, &status, 0);
	f->cord = 0;
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

int cord_teardown(void **state)
{
	struct cord_fixture *f = *state;
	char pumps[sizeof(f->dir) + 8];
	int r = 0;

	if (f->cord > 0)
		r = cord_end(f);
	if (f->client >= 0)
		close(f->client);
	close(f->notify_fd);
	unlink(f->notify);
	unlink(f->log);
	unlink(f->fifo);
	rmdir(f->state);
	snprintf(pumps, sizeof(pumps), "%s/pumps", f->dir);
	rmdir(pumps);
	/* Fails, and so does the test, where cord left its socket behind. */
	r |= rmdir(f->dir);
	free(f);
	return r;
}

int cord_connect_client(const struct cord_fixture *f)
{
	struct timeval patience = { .tv_sec = PATIENCE_MS / 1000 };
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	strcpy(sa.sun_path, f->control);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	if (connect(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0) {
		close(fd);
		return -1;
	}
	return fd;
}

void cord_say(int client, const char *line)
{
	cor_write_full(client, line, strlen(line));
	cor_write_full(client, "\n", 1);
}

json_t *cord_hear(int client)
{
	char line[65536];
	size_t n = 0;

	/* A byte at a time: what follows the line is left for the next call. */
	while (n < sizeof(line) && read(client, line + n, 1) == 1)
		if (line[n++] == '\n')
			return json_loadb(line, n, 0, NULL);
	return NULL;
}

json_t *cord_hear_result(int client)
{
	for (;;) {
		json_t *event = cord_hear(client);

		if (!event || !strcmp(json_string_value(json_object_get(event, "event")), "result"))
			return event;
		json_decref(event);
	}
}

void cord_ask_migrate(int client, const char *behaviour, const char *wait)
{
	char line[256];

	snprintf(line, sizeof(line), "{\"command\":\"migrate\",\"pid\":%d,\"dest\":\"127.0.0.1:1\","
		 "\"transport\":\"%s\",\"wait\":\"%s\"}", (int)getpid(), behaviour, wait);
	cord_say(client, line);
}

int cord_connect_peer(const struct cord_fixture *f, enum cor_connection_kind kind,
		      const uint8_t session[16], const uint8_t secret[32], int *answer)
{
	struct cor_preamble p;
	char address[32];
	int fd;

	snprintf(address, sizeof(address), "127.0.0.1:%u", f->port);
	if (cor_tcp_connect(address, PATIENCE_MS, &fd, NULL) < 0)
		return -1;
	cor_preamble_make(&p, kind, 0, session, secret);
	*answer = cor_preamble_exchange(fd, &p, PATIENCE_MS, NULL);
	return fd;
}
