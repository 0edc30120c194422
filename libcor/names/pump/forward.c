/* See pump/forward.h. */
#include "libcor/names/pump/forward.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>
#include <utlist.h>

#include "libcor/base/cleanup.h"
#include "libcor/base/error.h"
#include "libcor/base/io.h"
#include "libcor/names/net/inet_diag.h"
#include "libcor/names/net/tcp_repair.h"

#define DRAIN_NS UINT64_C(500000000)

static bool is_listener(const struct pump_slot *s)
{
	return s->about->kind == COR__NAMES__PUMP_KIND__PUMP_LISTENER;
}

static bool is_inet(const Cor__Names__PumpChannel *ch)
{
	return ch->kind == COR__NAMES__PUMP_KIND__PUMP_TCP ||
	       ch->kind == COR__NAMES__PUMP_KIND__PUMP_LISTENER;
}

int pump_forward_enter(struct pump *p, const Cor__Names__PumpChannel *ch, struct cor_pump_end *e,
		       struct cor_error *err)
{
	int r = is_inet(ch) && !p->net ? cor_pump_net_new(&p->net, err) : 0;

	e->net = p->net;
	return r;
}

unsigned pump_forward_rank(const Cor__Names__PumpChannel *ch)
{
	return ch->kind == COR__NAMES__PUMP_KIND__PUMP_LISTENER ? 1 : ch->waiting ? 2 : 0;
}

/* ---- channels that come ------------------------------------------------------------------- */

static struct pump_slot *new_passing(struct pump *p, uint16_t id,
				     const struct cor_pump_came *came)
{
	Cor__Names__PumpChannel about = COR__NAMES__PUMP_CHANNEL__INIT;

	about.id = id;
	about.kind = COR__NAMES__PUMP_KIND__PUMP_TCP;
	about.task_reads = about.task_writes = true;
	about.what = (char *)"a TCP connection";
	about.address = (ProtobufCBinaryData){ came->ours_len, (uint8_t *)came->ours };
	about.peer_address = (ProtobufCBinaryData){ came->theirs_len, (uint8_t *)came->theirs };
	return pump_slot_new(p, &about);
}

static int free_id(struct pump *p)
{
	for (unsigned i = 0; i <= PUMP_PASSING_MAX; i++) {
		if (p->next_passing < PUMP_PASSING_FROM)
			p->next_passing = PUMP_PASSING_FROM;
		if (!pump_slot_find(p, p->next_passing++))
			return (uint16_t)(p->next_passing - 1);
	}
	return -EAGAIN;
}

static int name_ends(int fd, struct cor_pump_came *came)
{
	struct sockaddr_storage ours, theirs;
	socklen_t ours_len = sizeof(ours), theirs_len = sizeof(theirs);

	if (getsockname(fd, (struct sockaddr *)&ours, &ours_len) < 0 ||
	    getpeername(fd, (struct sockaddr *)&theirs, &theirs_len) < 0)
		return -errno;
	if (ours_len > sizeof(came->ours) || theirs_len > sizeof(came->theirs))
		return -EAFNOSUPPORT;
	memcpy(came->ours, &ours, ours_len);
	memcpy(came->theirs, &theirs, theirs_len);
	came->ours_len = (uint8_t)ours_len;
	came->theirs_len = (uint8_t)theirs_len;
	return 0;
}

/* Home: a client; it is closed if that is not possible. */
static int client_came(void *arg, int taken, struct cor_pump_queue *q)
{
	_cleanup_close_ int fd = taken;
	struct pump_slot *listener = arg, *s;
	struct pump *p = listener->pump;
	struct cor_pump_came came = { 0 };
	uint64_t at = q->end;
	int id = p->npassing < PUMP_PASSING_MAX ? free_id(p) : -EAGAIN;
	int r = id < 0 ? id : name_ends(fd, &came);

	if (r < 0)
		return r;
	came.channel = (uint16_t)id;
	s = new_passing(p, (uint16_t)id, &came);
	if (!s)
		return -ENOMEM;
	r = cor_pump_queue_event(q, COR_PUMP_CAME, &came, sizeof(came));
	if (r < 0) {
		pump_slot_free(p, s);
		return r;
	}
	s->passing = true;
	s->via = listener->channel.id;
	s->came_at = at;
	p->npassing++;
	s->channel.end.ops = &cor_pump_end_tcp;
	cor_pump_tcp_answer(&s->channel.end, take_fd(&fd));
	cor_pump_channel_attach(&s->channel);
	return 0;
}

void pump_forward_begin(struct pump *p, struct pump_slot *s)
{
	s->pump = p;
	s->passing = s->channel.id >= PUMP_PASSING_FROM;
	if (!is_listener(s) || p->plan->side != COR_PUMP_HOME)
		return;
	s->channel.end.tcp->came = client_came;
	s->channel.end.tcp->arg = s;
}

/* A connection that the task's listener does not take ends at home as well: as a
 * channel whose end is gone. */
int pump_forward_came(struct pump *p, struct pump_slot *listener, const void *payload, size_t len)
{
	struct cor_pump_came came;
	struct pump_slot *s;

	if (p->plan->side != COR_PUMP_AWAY || !is_listener(listener) || len != sizeof(came))
		return -EPROTO;
	memcpy(&came, payload, sizeof(came));
	if (came.channel < PUMP_PASSING_FROM || came.ours_len > sizeof(came.ours) ||
	    came.theirs_len > sizeof(came.theirs))
		return -EPROTO;
	if (pump_slot_find(p, came.channel))
		return 0;               /* told again on a new connection */
	s = new_passing(p, came.channel, &came);
	if (!s)
		return -ENOMEM;
	pump_forward_begin(p, s);
	s->channel.end.ops = &cor_pump_end_tcp;
	if (cor_pump_tcp_call(&s->channel.end, p->net, s->about) < 0) {
		s->channel.end.reads = s->channel.end.writes = true;
		cor_pump_channel_fail(&s->channel);
	}
	cor_pump_channel_attach(&s->channel);
	return 0;
}

/* ---- and go -------------------------------------------------------------------------------- */

void pump_forward_attach(struct pump *p)
{
	struct pump_slot *s;

	DL_FOREACH(p->slots, s)
		s->closed_told = false;
}

bool pump_forward_may_speak(struct pump *p, const struct pump_slot *s)
{
	const struct pump_slot *listener;

	if (!s->passing || p->plan->side == COR_PUMP_AWAY)
		return true;
	listener = pump_slot_find(p, s->via);
	return listener && listener->channel.live && listener->channel.sent > s->came_at;
}

size_t pump_forward_close(struct pump_slot *s, uint8_t *buf)
{
	const struct cor_pump_channel *c = &s->channel;
	struct cor_pump_frame f = { .type = COR_PUMP_CLOSED, .channel = c->id };

	if (!s->passing || s->closed_told || !c->told || c->told_received != c->in.end ||
	    c->told_gone != c->gone || !cor_pump_channel_is_over(c))
		return 0;
	s->closed_told = true;
	memcpy(buf, &f, sizeof(f));
	return sizeof(f);
}

/* The peer has got all that we have sent. */
void pump_forward_closed(struct pump_slot *s)
{
	if (!s->passing)
		return;
	s->closed_heard = true;
	cor_pump_queue_drop(&s->channel.out, s->channel.out.end);
}

void pump_forward_reap(struct pump *p)
{
	struct pump_slot *s, *next;

	DL_FOREACH_SAFE(p->slots, s, next) {
		if (!s->passing || !s->closed_told || !s->closed_heard)
			continue;
		p->npassing -= p->plan->side == COR_PUMP_HOME;
		pump_slot_free(p, s);
	}
}

/* ---- away: a look at the namespace ------------------------------------------------------------ */

/* Is it the task's side of that connection? */
static bool is_side(const struct cor_inet_socket *s, const struct cor_pump_tcp *t)
{
	return s->ours.port == t->ours.port && s->theirs.port == t->theirs.port &&
	       cor_inet_addr_same(&s->ours, &t->ours) && cor_inet_addr_same(&s->theirs, &t->theirs);
}

static void see_connection(struct pump_slot *slot, const struct cor_inet_socket *s)
{
	struct cor_pump_end *e = &slot->channel.end;
	bool ended = s->state != TCP_ESTABLISHED && s->state != TCP_CLOSE_WAIT;

	slot->to_send = s->to_send;
	slot->received = s->received;
	slot->ended = s->received && cor_tcp_fin_received(s->state);
	slot->seen = true;
	if (s->ino || ended)
		cor_pump_tcp_accepted(e, s->ino);
	else if (e->tcp->accepted)
		e->tcp->inode = 0;
}

static bool see(void *arg, const struct cor_inet_socket *s)
{
	struct pump *p = arg;
	struct pump_slot *slot;

	DL_FOREACH(p->slots, slot) {
		const struct cor_pump_tcp *t = slot->channel.end.tcp;

		if (!t)
			continue;
		if (s->state == TCP_LISTEN && is_listener(slot) && s->ino == t->inode)
			slot->seen = true;
		if (s->state != TCP_LISTEN && !is_listener(slot) && is_side(s, t))
			see_connection(slot, s);
	}
	return false;
}

void pump_forward_look(struct pump *p)
{
	uint32_t states = ~((1u << TCP_TIME_WAIT) | 1u);
	struct pump_slot *s;
	int r;

	if (!p->net || cor_pump_net_enter(p->net) < 0)
		return;
	DL_FOREACH(p->slots, s) {
		s->seen = false;
		s->to_send = 0;
	}
	r = cor_inet_diag(states, see, p, NULL);
	cor_pump_net_leave(p->net);
	if (r < 0)
		return;
	DL_FOREACH(p->slots, s) {
		struct cor_pump_end *e = &s->channel.end;

		if (s->seen || !e->tcp)
			continue;
		if (is_listener(s))
			e->tcp->closed = true;
		else if (e->tcp->accepted)
			e->tcp->inode = 0;
		cor_pump_channel_events(&s->channel, 0);
	}
}

bool pump_forward_has_tick(const struct pump *p)
{
	const struct pump_slot *s;

	if (!p->net)
		return false;
	DL_FOREACH(p->slots, s)
		if (s->channel.end.tcp && !s->channel.writing_over &&
		    (is_listener(s) || !s->channel.end.tcp->accepted))
			return true;
	return false;
}

void pump_forward_tick(struct pump *p)
{
	if (pump_forward_has_tick(p))
		pump_forward_look(p);
}

/* ---- the task stands still ------------------------------------------------------------------ */

/* The task's kernel still sends what it has not sent, as we make room and acknowledge what has
 * come. What it has nothing to send of any more is with us, and is read behind the look that says
 * so: read before, it may have come in between. */
static int drain(struct pump *p)
{
	uint64_t until = cor_now_ns() + DRAIN_NS;

	for (;;) {
		bool more = false;
		struct pump_slot *s;

		pump_forward_look(p);
		DL_FOREACH(p->slots, s) {
			if (!pump_is_tcp(s))
				continue;
			more |= s->to_send && !s->channel.reading_over;
			if (s->channel.end.fd < 0)
				continue;
			s->channel.end.readable = true;
			cor_pump_channel_read(&s->channel, true);
			if (s->channel.end.fd >= 0)
				cor_pump_tcp_acknowledge(&s->channel.end);
		}
		if (!more)
			return 0;
		if (cor_now_ns() > until)
			return -EAGAIN;
		usleep(300);
	}
}

/* What has not arrived of what was written. -EAGAIN: some of it has just now. */
static int count_leftovers(struct pump *p)
{
	struct pump_slot *s;
	int r = 0;

	pump_forward_look(p);
	DL_FOREACH(p->slots, s) {
		if (r < 0 || !pump_is_tcp(s) || s->channel.end.fd < 0)
			continue;
		s->channel.end.tcp->arrived = s->received - s->ended;
		r = cor_pump_tcp_leftover(&s->channel.end, s->received);
	}
	return r;
}

int pump_forward_freeze(struct pump *p)
{
	uint64_t until = cor_now_ns() + DRAIN_NS;
	struct pump_slot *s;
	int r;

	if (!p->net)
		return 0;
	r = drain(p);
	DL_FOREACH(p->slots, s)
		if (r == 0 && pump_is_tcp(s))
			r = cor_pump_tcp_hush(&s->channel.end);
	if (r == 0)
		r = count_leftovers(p);
	while (r == -EAGAIN && cor_now_ns() < until) {
		usleep(300);
		r = count_leftovers(p);
	}
	return r;
}

void pump_forward_thaw(struct pump *p)
{
	struct pump_slot *s;

	DL_FOREACH(p->slots, s)
		if (pump_is_tcp(s))
			cor_pump_tcp_go_on(&s->channel.end);
}
