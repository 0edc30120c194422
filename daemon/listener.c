/* Incoming connections up to their preamble; see listener.h. */
#include "daemon/listener.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <unistd.h>
#include <utlist.h>

#include "daemon/keys.h"
#include "daemon/log.h"
#include "libcor/base/cleanup.h"
#include "libcor/base/error.h"
#include "libcor/base/io.h"
#include "libcor/names/home/process.h"
#include "libcor/names/pump/pump.h"
#include "libcor/transport/preamble.h"
#include "libcor/transport/tcp.h"

/* Connections that have not yet said what they are for. Of more, the oldest go. */
#define HALF_OPEN_MAX 128
/* How long accepting rests when descriptors have run out. */
#define REST_NS 1000000000ull

struct half_open {
	struct half_open *prev, *next;
	struct listener  *listener;
	struct watch     *watch;
	int               fd;
	uint64_t          deadline;            /* CLOCK_MONOTONIC, ns */
	char              peer[128];
	struct cor_preamble_reader reader;
};

struct listener {
	struct loop      *loop;
	struct registry  *registry;
	const struct cord_config *config;
	unsigned          port;
	bool              keys;                /* TLS, and nothing else */
	int               fd, timer;
	struct watch     *watch, *timer_watch;
	uint64_t          rest_until;          /* 0: accepting */
	struct half_open *list;                /* oldest first, so by deadline */
	unsigned          nlist;
};

unsigned listener_port(const struct listener *l)
{
	return l->port;
}

static void arm_timer(struct listener *l)
{
	struct itimerspec when = { 0 };
	uint64_t next = l->list ? l->list->deadline : 0;

	if (l->rest_until && (!next || l->rest_until < next))
		next = l->rest_until;
	when.it_value.tv_sec = (time_t)(next / 1000000000u);
	when.it_value.tv_nsec = (long)(next % 1000000000u);
	timerfd_settime(l->timer, TFD_TIMER_ABSTIME, &when, NULL);
}

/* The connection is the caller's from here. */
static int detach(struct half_open *h)
{
	struct listener *l = h->listener;
	int fd = h->fd;

	loop_unwatch(l->loop, h->watch);
	DL_DELETE(l->list, h);
	l->nlist--;
	free(h);
	return fd;
}

static void drop(struct half_open *h, const char *why)
{
	cord_log(CORD_LOG_INFO, NULL, "the connection from %s is closed: %s", h->peer, why);
	close(detach(h));
}

/* With keys nothing is spoken in the clear, and without none can be shown. 0 or the
 * refusal. */
static int check_security(const struct listener *l, const struct cor_preamble *p, const char *peer)
{
	bool tls = p->security == COR_SECURITY_TLS;

	if (tls == l->keys)
		return 0;
	cord_log(CORD_LOG_WARNING, NULL, tls ?
		 "%s is refused: it wants to show a key, and there are no keys here" :
		 "%s is refused: it shows no key, and keys are demanded here", peer);
	return tls ? -EOPNOTSUPP : -ENOKEY;
}

static void pass_control(struct listener *l, int fd, const char *peer)
{
	struct cor_error err = COR_ERROR_INIT;
	int r = registry_room(l->registry);

	if (cor_preamble_answer(fd, r) < 0 || r < 0) {
		cord_log(CORD_LOG_WARNING, NULL, "the request of %s is refused: %s", peer,
			 r < 0 ? "too many migrations" : "it went away");
		close(fd);
		return;
	}
	fcntl(fd, F_SETFL, 0);
	cor_tcp_tune(fd, COR_CONN_CONTROL);
	if (registry_start_destination(l->registry, fd, l->keys, peer, &err) < 0)
		cord_log(CORD_LOG_ERROR, NULL, "the request of %s fails: %s", peer, err.text);
}

static bool names_session(const struct cor_preamble *p)
{
	static const uint8_t none[sizeof(p->session)];

	return memcmp(p->session, none, sizeof(none)) != 0;
}

/* The control connection of a session that has lost its own. */
static void pass_rejoining(struct listener *l, int fd, const struct cor_preamble *p,
			   const char *peer)
{
	_cleanup_close_ int control = fd;
	struct entry *e = NULL;
	char id[33];
	int r;

	hex_encode(id, p->session, sizeof(p->session));
	r = registry_rejoin_check(l->registry, p, &e);
	if (l->keys && cor_preamble_status_ends(r)) {
		/* only inside the encryption is such a word believed, and only who has the
		 * secret is to have it */
		r = registry_tell_outcome(l->registry, e, take_fd(&control), p->index, r);
		if (r < 0)
			cord_log(CORD_LOG_WARNING, id, "%s cannot be told how it ended: %s", peer,
				 strerror(-r));
		return;
	}
	if (r < 0) {
		cord_log(r == -EPERM ? CORD_LOG_WARNING : CORD_LOG_DEBUG, id,
			 "%s may not join its session again: %s", peer,
			 r == -EPERM ? "wrong secret" : r == -ENOENT ? "no such session here" :
			 "it has ended");
		cor_preamble_answer(control, r);
		return;
	}
	r = cor_preamble_answer(control, 0);
	fcntl(control, F_SETFL, 0);
	cor_tcp_tune(control, p->kind);
	if (r == 0)
		r = registry_lane_give(e, p, take_fd(&control));
	if (r < 0)
		cord_log(CORD_LOG_WARNING, id, "the connection from %s is not handed over: %s",
			 peer, strerror(-r));
	else
		cord_log(p->index ? CORD_LOG_DEBUG : CORD_LOG_INFO, id, "%s has connected again",
			 peer);
}

static void pass_lane(struct listener *l, int fd, const struct cor_preamble *p, const char *peer)
{
	_cleanup_close_ int lane = fd;
	struct entry *e = NULL;
	char id[33];
	int r;

	hex_encode(id, p->session, sizeof(p->session));
	r = registry_lane_check(l->registry, p, &e);
	if (r < 0) {
		cord_log(CORD_LOG_WARNING, id, "a lane from %s is refused: %s", peer,
			 r == -EPERM ? "wrong secret" : "no such session here");
		cor_preamble_answer(lane, r);
		return;
	}
	/* The answer goes before the worker has it, and might write on it. */
	r = cor_preamble_answer(lane, 0);
	fcntl(lane, F_SETFL, 0);
	cor_tcp_tune(lane, p->kind);
	if (r == 0)
		r = registry_lane_give(e, p, take_fd(&lane));
	if (r < 0)
		cord_log(CORD_LOG_WARNING, id, "a lane from %s is not handed over: %s", peer,
			 strerror(-r));
}

/* For a task that is elsewhere: its file server answers. */
static void pass_home(struct listener *l, int fd, const struct cor_preamble *p, const char *peer)
{
	_cleanup_close_ int conn = fd, line = -1;
	char id[33], dir[280];
	int r;

	hex_encode(id, p->session, sizeof(p->session));
	snprintf(dir, sizeof(dir), "%s/home", l->config->state_dir);
	line = cor_home_find(dir, p->session, l->keys ? NULL : p->secret);
	r = line < 0 ? line : cor_home_hand_over(line, conn, l->keys);
	if (line < 0)
		cor_preamble_answer(conn, line);
	if (r < 0)
		cord_log(r == -EPERM ? CORD_LOG_WARNING : CORD_LOG_DEBUG, id,
			 "%s asks for files that are not served: %s", peer, strerror(-r));
}

/* A pump of a task that has left is a process of its own, which checks the secret and
 * answers itself. */
static int give_to_pump(struct listener *l, int fd, const struct cor_preamble *p)
{
	char dir[sizeof(l->config->control) + 8], path[256];
	_cleanup_close_ int sock = -1;

	cord_config_pumps(l->config, dir, sizeof(dir));
	cor_pump_home_path(dir, p->session, path, sizeof(path));
	sock = cor_pump_connect(path, NULL);
	if (sock < 0)
		return sock;
	return cor_pump_tell(sock, COR_PUMP_CONNECTION, 0, p, sizeof(*p), fd);
}

static void pass_pump(struct listener *l, int fd, const struct cor_preamble *p, const char *peer)
{
	_cleanup_close_ int connection = fd;
	char id[33];
	int r = give_to_pump(l, fd, p);

	if (r == 0)
		return;
	hex_encode(id, p->session, sizeof(p->session));
	cord_log(CORD_LOG_INFO, id, "%s asks for a pump: %s", peer,
		 r == -ENOENT ? "there is none" : strerror(-r));
	cor_preamble_answer(connection, r);
}

static void on_preamble(void *arg, uint32_t events)
{
	struct half_open *h = arg;
	struct listener *l = h->listener;
	struct cor_preamble p;
	char peer[sizeof(h->peer)];
	int fd, r = cor_preamble_reader_feed(&h->reader, h->fd, &p);

	if (r == 0)
		return;
	if (r < 0) {
		if (r == -EPROTO)
			cor_preamble_answer(h->fd, r);
		drop(h, r == -EPROTO ? "it does not speak cor's protocol" : strerror(-r));
		arm_timer(l);
		return;
	}
	memcpy(peer, h->peer, sizeof(peer));
	fd = detach(h);
	arm_timer(l);
	r = check_security(l, &p, peer);
	if (r < 0) {
		cor_preamble_answer(fd, r);
		close(fd);
	} else if (p.kind == COR_CONN_CONTROL && names_session(&p))
		pass_rejoining(l, fd, &p, peer);
	else if (p.kind == COR_CONN_CONTROL)
		pass_control(l, fd, peer);
	else if (p.kind == COR_CONN_HOME)
		pass_home(l, fd, &p, peer);
	else if (p.kind == COR_CONN_PUMP)
		pass_pump(l, fd, &p, peer);
	else if (p.kind == COR_CONN_DEMAND || p.kind == COR_CONN_BULK)
		pass_lane(l, fd, &p, peer);
	else {
		cor_preamble_answer(fd, -EPROTO);
		close(fd);
	}
}

static void on_timer(void *arg, uint32_t events)
{
	struct listener *l = arg;
	uint64_t n, now = cor_now_ns();

	if (read(l->timer, &n, sizeof(n)) < 0 && errno != EAGAIN)
		cord_log(CORD_LOG_ERROR, NULL, "the timer of connections: %s", strerror(errno));
	while (l->list && l->list->deadline <= now)
		drop(l->list, "it did not say in time what it is for");
	if (l->rest_until && l->rest_until <= now) {
		l->rest_until = 0;
		loop_change(l->loop, l->watch, EPOLLIN);
	}
	arm_timer(l);
}

static void name_peer(int fd, char *out, size_t size)
{
	struct sockaddr_storage sa;
	socklen_t len = sizeof(sa);
	char host[NI_MAXHOST], port[NI_MAXSERV];

	snprintf(out, size, "?");
	if (getpeername(fd, (struct sockaddr *)&sa, &len) < 0 ||
	    getnameinfo((struct sockaddr *)&sa, len, host, sizeof(host), port, sizeof(port),
			NI_NUMERICHOST | NI_NUMERICSERV) != 0)
		return;
	snprintf(out, size, strchr(host, ':') ? "[%.100s]:%.5s" : "%.100s:%.5s", host, port);
}

static int add(struct listener *l, int conn)
{
	_cleanup_close_ int fd = conn;
	struct half_open *h = calloc(1, sizeof(*h));
	int r;

	if (!h)
		return -ENOMEM;
	h->listener = l;
	h->deadline = cor_now_ns() + l->config->timeouts.preamble_s * 1000000000ull;
	name_peer(fd, h->peer, sizeof(h->peer));
	r = loop_watch(l->loop, fd, EPOLLIN, on_preamble, h, &h->watch);
	if (r < 0) {
		free(h);
		return r;
	}
	h->fd = take_fd(&fd);
	DL_APPEND(l->list, h);
	l->nlist++;
	if (l->nlist > HALF_OPEN_MAX)
		drop(l->list, "too many others wait as well");
	return 0;
}

/* Waiting connections would wake the loop without end: look again later. */
static void rest(struct listener *l, int why)
{
	cord_log(CORD_LOG_ERROR, NULL, "a connection cannot be accepted: %s", strerror(-why));
	l->rest_until = cor_now_ns() + REST_NS;
	loop_change(l->loop, l->watch, 0);
}

static void on_connection(void *arg, uint32_t events)
{
	struct listener *l = arg;

	for (int i = 0; i < 16; i++) {
		int fd = cor_tcp_accept(l->fd, NULL);
		int r = fd < 0 ? fd : add(l, fd);

		if (r == -EAGAIN)
			break;
		if (r < 0 && r != -ECONNABORTED && r != -EINTR) {
			rest(l, r);
			break;
		}
	}
	arm_timer(l);
}

static int start(struct listener *l, const char *address, struct cor_error *err)
{
	int r = cor_tcp_listen(address, &l->fd, err);

	if (r < 0)
		return r;
	l->port = (unsigned)r;
	l->timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	if (l->timer < 0)
		return cor_fail_errno(err, "a timer for connections");
	r = loop_watch(l->loop, l->fd, EPOLLIN, on_connection, l, &l->watch);
	if (r == 0)
		r = loop_watch(l->loop, l->timer, EPOLLIN, on_timer, l, &l->timer_watch);
	return r < 0 ? cor_fail_code(err, r, "the listening socket cannot be watched") : 0;
}

int listener_new(struct listener **out, struct loop *loop, struct registry *reg,
		 const struct cord_config *config, struct cor_error *err)
{
	struct listener *l = calloc(1, sizeof(*l));
	int r;

	if (!l)
		return cor_fail(err, -ENOMEM, "out of memory");
	l->loop = loop;
	l->registry = reg;
	l->config = config;
	l->keys = cord_keys_set(config);
	l->fd = l->timer = -1;
	r = start(l, config->listen, err);
	if (r < 0) {
		listener_free(l);
		return r;
	}
	*out = l;
	return 0;
}

void listener_free(struct listener *l)
{
	if (!l)
		return;
	while (l->list)
		close(detach(l->list));
	loop_unwatch(l->loop, l->watch);
	loop_unwatch(l->loop, l->timer_watch);
	if (l->fd >= 0)
		close(l->fd);
	if (l->timer >= 0)
		close(l->timer);
	free(l);
}
