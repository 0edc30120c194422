/* A pump process: its loop; see pump/pump.h. */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <utlist.h>

#include "libcor/base/cleanup.h"
#include "libcor/base/io.h"
#include "libcor/names/pump/forward.h"
#include "libcor/names/pump/private.h"
#include "libcor/names/pump/tty.h"

#define NS_PER_S UINT64_C(1000000000)
/* A task that has ended, or a home that nobody calls any more, waits so long for the
 * other side's last word. */
#define LINGER_S 600
#define TICK_NS UINT64_C(200000000)
#define EVENTS_AT_ONCE 64

/* ---- channels ------------------------------------------------------------------------ */

int pump_watch(struct pump *p, int fd, uint32_t events, struct pump_watch *w)
{
	struct epoll_event e = { .events = events, .data.ptr = w };

	return epoll_ctl(p->epoll, EPOLL_CTL_ADD, fd, &e) < 0 ? -errno : 0;
}

struct pump_slot *pump_slot_find(struct pump *p, uint16_t id)
{
	struct pump_slot *s;

	DL_FOREACH(p->slots, s)
		if (s->channel.id == id)
			return s;
	return NULL;
}

static Cor__Names__PumpChannel *copy_about(const Cor__Names__PumpChannel *about)
{
	Cor__Names__PumpChannel like = *about;
	_cleanup_free_ uint8_t *bytes = NULL;
	size_t n;

	like.state = NULL;
	n = cor__names__pump_channel__get_packed_size(&like);
	bytes = malloc(n + 1);
	if (!bytes)
		return NULL;
	cor__names__pump_channel__pack(&like, bytes);
	return cor__names__pump_channel__unpack(NULL, n, bytes);
}

struct pump_slot *pump_slot_new(struct pump *p, const Cor__Names__PumpChannel *about)
{
	struct pump_slot *s;

	if (about->id > UINT16_MAX || pump_slot_find(p, (uint16_t)about->id))
		return NULL;
	s = calloc(1, sizeof(*s));
	if (!s)
		return NULL;
	s->about = copy_about(about);
	if (!s->about) {
		free(s);
		return NULL;
	}
	s->watch = (struct pump_watch){ PUMP_WATCH_CHANNEL, s };
	s->watched = -1;
	s->channel.id = (uint16_t)about->id;
	s->channel.end = (struct cor_pump_end)COR_PUMP_END_INIT;
	DL_APPEND(p->slots, s);
	return s;
}

static void unwatch(struct pump *p, struct pump_slot *s)
{
	if (s->watched >= 0)
		epoll_ctl(p->epoll, EPOLL_CTL_DEL, s->watched, NULL);
	s->watched = -1;
}

void pump_slot_free(struct pump *p, struct pump_slot *s)
{
	unwatch(p, s);
	cor_pump_channel_clear(&s->channel);
	cor__names__pump_channel__free_unpacked(s->about, NULL);
	DL_DELETE(p->slots, s);
	free(s);
}

/* The end's descriptor may have been closed, or be another one by now. */
static void look_after_end(struct pump *p, struct pump_slot *s)
{
	struct cor_pump_end *e = &s->channel.end;

	/* closed, and with that gone from the set */
	if (e->fd != s->watched || e->opened != s->opened)
		s->watched = -1;
	if (e->ops && !e->reads && !e->writes) {
		unwatch(p, s);
		cor_pump_end_close(e);
	}
	if (e->fd >= 0 && s->watched < 0 &&
	    pump_watch(p, e->fd, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, &s->watch) == 0)
		s->watched = e->fd;
	s->opened = e->opened;
}

static bool all_over(const struct pump *p)
{
	const struct pump_slot *s;

	DL_FOREACH(p->slots, s)
		if (!cor_pump_channel_is_over(&s->channel))
			return false;
	return true;
}

bool pump_is_over(const struct pump *p)
{
	return p->started && all_over(p);
}

void pump_link_terminal(struct pump *p)
{
	struct pump_slot *task = pump_slot_find(p, 0), *s;

	if (!task)
		return;
	task->channel.end.terminal = NULL;
	DL_FOREACH(p->slots, s) {
		struct cor_pump_end *e = &s->channel.end;

		if (!e->tty)
			continue;
		e->tty->control = &task->channel.out;
		e->tty->place = (pid_t)task->about->identity;
		task->channel.end.terminal = e;
		task->channel.end.terminal_out = &s->channel.out;
	}
}

/* A wait status must not overtake what the task did before: its output, on this side what
 * was sent and on the other what came. */
static void note_flushed(struct pump *p, struct cor_pump_end *task)
{
	bool away = p->plan->side == COR_PUMP_AWAY;
	struct pump_slot *s;

	task->flushed = task->quiet = true;
	DL_FOREACH(p->slots, s) {
		const struct cor_pump_channel *c = &s->channel;
		bool empty = away ? cor_pump_queue_length(&c->out) == 0 &&
				    (c->reading_over || !c->end.readable) :
			     cor_pump_queue_length(&c->in) == 0;

		if (c->id == 0 || empty)
			continue;
		task->flushed = false;
		if (c->end.tty)
			task->quiet = false;
	}
	/* asked each time: no edge tells when that has changed */
	task->readable = task->writable = true;
}

/* Each channel once. True: there may be more to do at once. */
static bool turn(struct pump *p)
{
	bool busy = pump_conn_pump_in(p);
	struct pump_slot *s;

	if (!p->started || p->frozen || p->ending)
		return busy;
	DL_FOREACH(p->slots, s) {
		look_after_end(p, s);
		if (!s->channel.end.ops)
			continue;
		if (s->channel.id == 0)
			note_flushed(p, &s->channel.end);
		busy |= cor_pump_channel_read(&s->channel, false);
		busy |= cor_pump_channel_write(&s->channel);
		look_after_end(p, s);
	}
	busy |= pump_conn_pump_out(p);
	pump_forward_reap(p);
	return busy;
}

void pump_watch_task(struct pump *p)
{
	p->pidfd = (int)syscall(SYS_pidfd_open, p->task, 0);
	p->task_watch = (struct pump_watch){ PUMP_WATCH_TASK, NULL };
	if (p->pidfd < 0 || pump_watch(p, p->pidfd, EPOLLIN, &p->task_watch) < 0)
		p->orphaned = true;
}

static void on_task_ended(struct pump *p)
{
	p->orphaned = true;
	p->tick_ns = 0;
	cor_closep(&p->pidfd);
	p->pidfd = -1;
}

/* What no descriptor tells. */
static void tick(struct pump *p, uint64_t now)
{
	struct pump_slot *s;

	if (now < p->tick_ns || !p->started || p->frozen)
		return;
	p->tick_ns = now + TICK_NS;
	pump_forward_tick(p);
	DL_FOREACH(p->slots, s)
		if (s->channel.end.ops && s->channel.end.ops->tick && s->channel.end.fd >= 0 &&
		    !s->channel.reading_over)
			s->channel.end.ops->tick(&s->channel.end, &s->channel.out);
	if (p->orphaned)
		DL_FOREACH(p->slots, s)
			cor_pump_channel_orphan(&s->channel);
}

static bool has_tick(const struct pump *p)
{
	const struct pump_slot *s;

	if (p->orphaned && !pump_is_over(p))
		return true;
	DL_FOREACH(p->slots, s)
		if (s->channel.end.ops && s->channel.end.ops->tick && s->channel.end.fd >= 0 &&
		    !s->channel.reading_over)
			return true;
	return pump_forward_has_tick(p);
}

/* ---- time ----------------------------------------------------------------------------- */

/* Milliseconds until something is due, -1: nothing is. */
static int next_due(const struct pump *p, uint64_t now)
{
	uint64_t due = UINT64_MAX;

	if (p->plan->side == COR_PUMP_AWAY && !p->connecting && !p->conns &&
	    (p->started || p->reaching))
		due = p->connect_ns;
	due = COR_MIN(due, pump_greet_due(p));
	if (p->show_again)
		due = COR_MIN(due, p->show_ns);
	if (p->alone_since_ns && p->plan->give_up_s)
		due = COR_MIN(due, p->alone_since_ns + p->plan->give_up_s * NS_PER_S);
	if (p->alone_since_ns && pump_is_over(p))
		due = COR_MIN(due, p->alone_since_ns + LINGER_S * NS_PER_S);
	if (p->started && !p->frozen && has_tick(p))
		due = COR_MIN(due, p->tick_ns);
	if (due == UINT64_MAX)
		return -1;
	return due <= now ? 0 : (int)COR_MIN((due - now) / 1000000 + 1, UINT64_C(1000000000));
}

static void give_up(struct pump *p, uint64_t now)
{
	uint64_t alone;

	if (pump_conn_attached(p) || p->bye) {
		p->alone_since_ns = 0;
		return;
	}
	if (!p->alone_since_ns)
		p->alone_since_ns = now;
	alone = now - p->alone_since_ns;
	if (p->started && ((p->plan->give_up_s && alone >= p->plan->give_up_s * NS_PER_S) ||
			   (pump_is_over(p) && alone >= LINGER_S * NS_PER_S))) {
		p->ending = true;
		p->status = 1;
	}
}

static void on_time(struct pump *p)
{
	uint64_t now = cor_now_ns();

	give_up(p, now);
	pump_greet_expire(p, now);
	tick(p, now);
	pump_show(p, now);
	if (p->plan->side == COR_PUMP_AWAY && !p->connecting && !p->conns && !p->ending &&
	    (p->started || p->reaching) && now >= p->connect_ns)
		pump_connect_begin(p);
}

/* ---- the loop -------------------------------------------------------------------------- */

static void on_channel(struct pump_slot *s, uint32_t events)
{
	if (s->channel.end.ops)
		cor_pump_channel_events(&s->channel, events);
}

static void on_connection(struct pump_conn *c)
{
	c->readable = c->writable = true;
}

static void dispatch(struct pump *p, const struct epoll_event *e)
{
	struct pump_watch *w = e->data.ptr;

	switch (w->kind) {
	case PUMP_WATCH_CHANNEL:
		on_channel(w->what, e->events);
		break;
	case PUMP_WATCH_CONN:
		on_connection(w->what);
		break;
	case PUMP_WATCH_CONTROL:
		pump_control_event(p, w->what);
		break;
	case PUMP_WATCH_LISTENER:
		pump_control_accept(p);
		break;
	case PUMP_WATCH_CONNECTED:
		pump_connect_done(p);
		break;
	case PUMP_WATCH_TASK:
		on_task_ended(p);
		break;
	}
}

static bool is_a_note(const struct epoll_event *e)
{
	const struct pump_watch *w = e->data.ptr;

	return w->kind == PUMP_WATCH_CHANNEL || w->kind == PUMP_WATCH_CONN;
}

static int loop(struct pump *p)
{
	while (!p->ending) {
		bool busy;
		struct epoll_event e;
		int n;

		pump_conn_advance(p);
		busy = turn(p);
		if (p->ending || (p->bye && pump_is_over(p)))
			break;
		n = epoll_wait(p->epoll, &e, 1, busy ? 0 : next_due(p, cor_now_ns()));
		if (n < 0 && errno != EINTR)
			return 1;
		/* those that only say that something is to be looked at, and free nothing that
		 * another one may be for, are taken together */
		for (unsigned i = 1; n > 0; i++) {
			bool note = is_a_note(&e);

			dispatch(p, &e);
			/* what has been taken is told once (EPOLLET): no more than is looked at */
			if (!note || i == EVENTS_AT_ONCE)
				break;
			n = epoll_wait(p->epoll, &e, 1, 0);
		}
		on_time(p);
	}
	return p->status;
}

/* Channel 0. */
static int add_task(struct pump *p, const Cor__Names__PumpChannel *about)
{
	struct pump_slot *s = about->id == 0 ? pump_slot_new(p, about) : NULL;
	struct cor_pump_end *e;
	int none;

	if (!s)
		return -EINVAL;
	e = &s->channel.end;
	if (p->plan->side == COR_PUMP_HOME) {
		e->ops = &cor_pump_end_standin;
		return e->ops->take(e, about, -1, NULL);
	}
	e->ops = &cor_pump_end_task;
	return e->ops->make(e, about, &none, NULL);
}

static int begin(struct pump *p)
{
	const Cor__Names__PumpLink *link = p->plan->link;
	int pair[2], r;

	if (link->id.len != sizeof(p->id) || link->secret.len != sizeof(p->secret))
		return -EINVAL;
	memcpy(p->id, link->id.data, sizeof(p->id));
	memcpy(p->secret, link->secret.data, sizeof(p->secret));
	p->home = strdup(link->home);
	p->host = strdup(link->host);
	p->epoch = link->epoch;
	p->epoll = epoll_create1(EPOLL_CLOEXEC);
	if (!p->home || !p->host || p->epoll < 0 ||
	    socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return -errno;
	p->connected = pair[0];
	p->connector = pair[1];
	p->connected_watch = (struct pump_watch){ PUMP_WATCH_CONNECTED, NULL };
	r = pump_watch(p, p->connected, EPOLLIN, &p->connected_watch);
	if (r == 0 && link->task)
		r = add_task(p, link->task);
	if (r == 0 && p->plan->side == COR_PUMP_HOME) {
		cor_pump_home_path(p->plan->dir, p->id, p->path, sizeof(p->path));
		r = pump_control_listen(p);
	}
	return r < 0 ? r : pump_control_add(p, p->plan->control, true);
}

static void end(struct pump *p)
{
	if (p->path[0])
		unlink(p->path);
	pump_show_end(p);
	while (p->controls)
		pump_control_free(p, p->controls);
	while (p->conns)
		pump_conn_free(p, p->conns);
	while (p->slots)
		pump_slot_free(p, p->slots);
	cor_pump_net_free(p->net);
	cor_closep(&p->listener);
	cor_closep(&p->connected);
	cor_closep(&p->connector);
	cor_closep(&p->pidfd);
	cor_closep(&p->epoll);
	free(p->home);
	free(p->host);
	explicit_bzero(p->secret, sizeof(p->secret));
}

int cor_pump_run(const struct cor_pump_plan *plan)
{
	struct pump p = { .plan = plan, .epoll = -1, .listener = -1, .connected = -1,
			  .connector = -1, .pidfd = -1 };
	int status;

	signal(SIGPIPE, SIG_IGN);
	cor_raise_descriptors(NULL);     /* one for each client that comes */
	status = begin(&p) < 0 ? 1 : loop(&p);
	end(&p);
	return status;
}
