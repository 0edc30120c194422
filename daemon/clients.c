/* The control socket and who is connected to it; see clients.h. What they ask for is carried
 * out in command.c. */
#include "daemon/clients.h"

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

struct member {
	struct member  *prev, *next;
	struct clients *clients;
	struct client   client;
};

struct clients {
	struct client_env  env;
	int                fd;
	int                spare;        /* given up to turn a client away, see below */
	struct watch      *watch;
	struct member     *list;
	unsigned           nlist;
};

static void remove_member(struct member *m)
{
	DL_DELETE(m->clients->list, m);
	m->clients->nlist--;
	client_end(&m->client);
	free(m);
}

static void take_lines(struct client *k)
{
	ssize_t len;

	while ((len = client_line(k)) >= 0) {
		if (len)
			command_run(k, k->in, (size_t)len);
		client_drop_line(k, (size_t)len);
	}
}

static void on_client(void *arg, uint32_t events)
{
	struct member *m = arg;
	struct client *k = &m->client;
	bool alive = true;

	if ((events & EPOLLIN) && !k->wait)
		alive = client_fill(k);
	alive = client_flush(k) && alive;
	if (alive)
		take_lines(k);
	/* Both directions are shut: nobody is left to tell. What was asked for goes on. */
	if (events & (EPOLLHUP | EPOLLERR))
		alive = false;
	if (!alive || (k->eof && !k->wait && !k->out_len))
		remove_member(m);
	else
		client_watch(k);
}

static int add_member(struct clients *c, int conn, uid_t uid, pid_t pid)
{
	_cleanup_close_ int fd = conn;
	_cleanup_free_ struct member *m = calloc(1, sizeof(*m));
	int r = m ? client_begin(&m->client, &c->env, fd, on_client, m) : -ENOMEM;

	if (r < 0)
		return r;
	take_fd(&fd);
	m->clients = c;
	m->client.uid = uid;
	m->client.pid = pid;
	DL_APPEND(c->list, m);
	c->nlist++;
	take_ptr(m);
	return 0;
}

/* No user may keep the others out. */
static bool has_room(const struct clients *c, uid_t uid)
{
	const struct member *m;
	unsigned same = 0;

	DL_FOREACH(c->list, m)
		same += m->client.uid == uid;
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
		r = add_member(c, fd, uid, pid);
	else
		close(fd);
	if (r < 0)
		cord_log(CORD_LOG_WARNING, NULL, "a client is refused: %s", strerror(-r));
}

void clients_changed(struct clients *c, struct entry *e)
{
	struct member *m;

	DL_FOREACH(c->list, m)
		if (m->client.wait && m->client.entry == e)
			command_progress(&m->client);
}

int clients_new(struct clients **out, const struct client_env *env, struct cor_error *err)
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
		struct client *k = &c->list->client;

		if (k->wait)
			command_farewell(k);
		client_flush(k);
		remove_member(c->list);
	}
	loop_unwatch(c->env.loop, c->watch);
	close(c->fd);
	if (c->spare >= 0)
		close(c->spare);
	unlink(c->env.config->control);
	free(c);
}
