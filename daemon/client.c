/* The clients of the control socket; see client.h. What they ask for is carried
 * out in command.c. */
#include "daemon/client.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <utlist.h>

#include "daemon/command.h"
#include "daemon/control_socket.h"
#include "daemon/log.h"
#include "daemon/owner.h"
#include "libcor/base/cleanup.h"
#include "libcor/base/error.h"

#define CLIENTS_MAX 256
/* Of one user other than root; and as many places are root's alone. */
#define CLIENTS_OF_USER 32
/* A client that reads no faster misses progress lines from here on, and its
 * further requests wait. */
#define OUT_SOFT 65536

struct clients {
	struct clients_env env;
	int                fd;
	int                spare;        /* given up to turn a client away, see below */
	struct watch      *watch;
	struct client     *list;
	unsigned           nlist;
};

static void free_client(struct client *k)
{
	struct clients *c = k->clients;

	loop_unwatch(c->env.loop, k->watch);
	close(k->fd);
	DL_DELETE(c->list, k);
	c->nlist--;
	free(k->in);
	free(k->out);
	free(k);
}

const struct clients_env *client_env(const struct client *k)
{
	return &k->clients->env;
}

static void update_watch(struct client *k)
{
	uint32_t events = 0;

	if (!k->wait && !k->eof && k->out_len <= OUT_SOFT)
		events |= EPOLLIN;
	if (k->out_len)
		events |= EPOLLOUT;
	loop_change(k->clients->env.loop, k->watch, events);
}

bool client_say(struct client *k, json_t *message, bool may_skip)
{
	_cleanup_free_ char *text = NULL;
	size_t len;
	char *more;

	if (may_skip && k->out_len > OUT_SOFT) {
		json_decref(message);
		return false;
	}
	text = message ? json_dumps(message, JSON_COMPACT) : NULL;
	json_decref(message);
	if (!text)
		return false;
	len = strlen(text);
	more = realloc(k->out, k->out_len + len + 1);
	if (!more)
		return false;
	k->out = more;
	memcpy(k->out + k->out_len, text, len);
	k->out[k->out_len + len] = '\n';
	k->out_len += len + 1;
	/* Written by the loop, so that nothing here ends a client under its caller. */
	update_watch(k);
	return true;
}

/* The loop's: false when the client is gone. */
static bool flush(struct client *k)
{
	ssize_t n;

	if (!k->out_len)
		return true;
	n = send(k->fd, k->out, k->out_len, MSG_NOSIGNAL | MSG_DONTWAIT);
	if (n < 0)
		return errno == EAGAIN || errno == EINTR;
	memmove(k->out, k->out + n, k->out_len - (size_t)n);
	k->out_len -= (size_t)n;
	return true;
}

static bool fill(struct client *k)
{
	ssize_t n;

	if (k->in_len == REQUEST_LINE_MAX && memchr(k->in, '\n', k->in_len))
		return true;
	if (k->in_len == REQUEST_LINE_MAX) {
		client_refuse(k, "the request is too long");
		k->eof = true;
		k->in_len = 0;
		return true;
	}
	n = recv(k->fd, k->in + k->in_len, REQUEST_LINE_MAX - k->in_len, MSG_DONTWAIT);
	if (n < 0)
		return errno == EAGAIN || errno == EINTR;
	k->in_len += (size_t)n;
	k->eof = n == 0;
	return true;
}

static void take_lines(struct client *k)
{
	char *end;

	while (!k->wait && k->out_len <= OUT_SOFT &&
	       (end = memchr(k->in, '\n', k->in_len))) {
		size_t len = (size_t)(end - k->in);

		if (len)
			command_run(k, k->in, len);
		k->in_len -= len + 1;
		memmove(k->in, end + 1, k->in_len);
	}
}

static void on_client(void *arg, uint32_t events)
{
	struct client *k = arg;
	bool alive = true;

	if ((events & EPOLLIN) && !k->wait)
		alive = fill(k);
	alive = flush(k) && alive;
	if (alive)
		take_lines(k);
	/* Both directions are shut: nobody is left to tell. What was asked for goes on. */
	if (events & (EPOLLHUP | EPOLLERR))
		alive = false;
	if (!alive || (k->eof && !k->wait && !k->out_len))
		free_client(k);
	else
		update_watch(k);
}

static int add_client(struct clients *c, int conn, uid_t uid, pid_t pid)
{
	_cleanup_close_ int fd = conn;
	struct client *k = calloc(1, sizeof(*k));
	int r;

	if (!k)
		return -ENOMEM;
	k->clients = c;
	k->uid = uid;
	k->pid = pid;
	k->in = malloc(REQUEST_LINE_MAX);
	r = k->in ? loop_watch(c->env.loop, fd, EPOLLIN, on_client, k, &k->watch) : -ENOMEM;
	if (r < 0) {
		free(k->in);
		free(k);
		return r;
	}
	k->fd = take_fd(&fd);
	DL_APPEND(c->list, k);
	c->nlist++;
	return 0;
}

/* No user may keep the others out. */
static bool has_room(const struct clients *c, uid_t uid)
{
	const struct client *k;
	unsigned same = 0;

	DL_FOREACH(c->list, k)
		same += k->uid == uid;
	if (owner_is_privileged(uid))
		return c->nlist < CLIENTS_MAX;
	return same < CLIENTS_OF_USER && c->nlist < CLIENTS_MAX - CLIENTS_OF_USER;
}

/* Out of descriptors: one that waits to be accepted would wake the loop without
 * end, so it is accepted with the spare one, and closed. */
static void turn_away(struct clients *c)
{
	cord_log(CORD_LOG_ERROR, NULL, "a client cannot be accepted: %s", strerror(errno));
	if (errno != EMFILE && errno != ENFILE)
		return;
	close(c->spare);
	c->spare = accept4(c->fd, NULL, NULL, SOCK_CLOEXEC);
	close(c->spare);
	c->spare = open("/dev/null", O_RDONLY | O_CLOEXEC);
}

static void on_connection(void *arg, uint32_t events)
{
	struct clients *c = arg;
	int fd = accept4(c->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK), r;
	uid_t uid = 0;
	pid_t pid = 0;

	if (fd < 0) {
		if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED)
			turn_away(c);
		return;
	}
	r = control_socket_peer(fd, &uid, &pid);
	if (r == 0 && !has_room(c, uid))
		r = -EBUSY;
	if (r == 0)
		r = add_client(c, fd, uid, pid);
	else
		close(fd);
	if (r < 0)
		cord_log(CORD_LOG_WARNING, NULL, "a client is refused: %s", strerror(-r));
}

void clients_changed(struct clients *c, struct entry *e)
{
	struct client *k;

	DL_FOREACH(c->list, k)
		if (k->wait && k->entry == e)
			command_progress(k);
}

int clients_new(struct clients **out, const struct clients_env *env, struct cor_error *err)
{
	struct clients *c = calloc(1, sizeof(*c));
	mode_t mode;
	gid_t group;
	int r;

	if (!c)
		return cor_fail(err, -ENOMEM, "out of memory");
	c->env = *env;
	r = cord_config_control(env->config, &mode, &group, err);
	if (r == 0)
		r = c->fd = control_socket_open(env->config->control, mode, group, err);
	if (r < 0) {
		free(c);
		return r;
	}
	c->spare = open("/dev/null", O_RDONLY | O_CLOEXEC);
	r = loop_watch(env->loop, c->fd, EPOLLIN, on_connection, c, &c->watch);
	if (r < 0) {
		clients_free(c);
		return cor_fail_code(err, r, "the control socket cannot be watched");
	}
	*out = c;
	return 0;
}

void clients_free(struct clients *c)
{
	if (!c)
		return;
	while (c->list) {
		struct client *k = c->list;

		if (k->wait)
			command_farewell(k);
		flush(k);
		free_client(k);
	}
	loop_unwatch(c->env.loop, c->watch);
	close(c->fd);
	if (c->spare >= 0)
		close(c->spare);
	unlink(c->env.config->control);
	free(c);
}
