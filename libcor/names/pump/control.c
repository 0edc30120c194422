/* What workers and cord ask of a pump; see pump/pump.h. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <utlist.h>

#include "libcor/base/cleanup.h"
#include "libcor/base/error.h"
#include "libcor/base/io.h"
#include "libcor/names/file_ops.h"
#include "libcor/names/pump/forward.h"
#include "libcor/names/pump/private.h"
#include "libcor/transport/lane.h"

/* ---- answers ---------------------------------------------------------------------------- */

static void answer(struct pump_control *c, uint32_t kind, int op, const void *buf, size_t len,
		   int *fds, unsigned nfds)
{
	struct cor_message m = { .kind = kind, .op = op, .buf = (void *)buf, .len = len,
				 .fds = fds, .nfds = nfds };

	/* that it is not heard will show as the end of the connection */
	cor_message_send(c->sock, &m);
}

static void answer_error(struct pump_control *c, uint32_t kind, int r, struct cor_error *err)
{
	if (err->code >= 0)
		cor_fail_code(err, r, "the pump");
	answer(c, kind, r, err->text, strlen(err->text) + 1, NULL, 0);
}

static void answer_link(struct pump_control *c, uint32_t kind, const Cor__Names__PumpLink *link)
{
	size_t n = cor__names__pump_link__get_packed_size(link);
	_cleanup_free_ uint8_t *bytes = malloc(n + 1);

	if (!bytes) {
		answer(c, kind, -ENOMEM, "", 1, NULL, 0);
		return;
	}
	cor__names__pump_link__pack(link, bytes);
	answer(c, kind, 0, bytes, n, NULL, 0);
}

/* ---- what we are ------------------------------------------------------------------------- */

static uint64_t identity(const struct pump_slot *s)
{
	const struct cor_pump_end *e = &s->channel.end;
	struct stat st;

	if (!e->ops || (!e->reads && !e->writes))
		return 0;
	if (e->ops->identity)
		return e->ops->identity(e);
	return fstat(e->fd >= 0 ? e->fd : e->node, &st) < 0 ? 0 : st.st_ino;
}

/* What was written to the task's side and is not there comes first. */
static int add_pending(const struct cor_pump_tcp *t, Cor__Names__PumpState *state)
{
	Cor__Names__Message m = COR__NAMES__MESSAGE__INIT, *messages = &m;

	m.data = (ProtobufCBinaryData){ t->npending, t->pending };
	return cor_pump_state_prepend(state, &messages, t->npending > 0, COR_PUMP_BYTES);
}

/* A message of what there is; its channels are of about, whose state is ours to free. */
static int describe(struct pump *p, bool states, Cor__Names__PumpLink *link,
		    Cor__Names__PumpChannel **channels)
{
	struct pump_slot *s;
	int r = 0;

	cor__names__pump_link__init(link);
	link->id = (ProtobufCBinaryData){ sizeof(p->id), p->id };
	link->secret = (ProtobufCBinaryData){ sizeof(p->secret), p->secret };
	link->home = p->home;
	link->host = p->host;
	link->epoch = p->epoch;
	link->channels = channels;
	DL_FOREACH(p->slots, s) {
		const struct cor_pump_end *e = &s->channel.end;

		/* the task's own is that of its place at home, wherever it is */
		if (s->channel.id != 0)
			s->about->identity = identity(s);
		s->about->waiting = false;
		if (r == 0 && e->ops && e->ops->describe && e->fd >= 0)
			r = e->ops->describe(e, s->about);
		if (states && r == 0)
			r = cor_pump_channel_save(&s->channel, &s->about->state);
		if (states && r == 0 && e->tcp)
			r = add_pending(e->tcp, s->about->state);
		if (s->channel.id == 0)
			link->task = s->about;
		else
			channels[link->n_channels++] = s->about;
	}
	return r;
}

static void forget_states(struct pump *p)
{
	struct pump_slot *s;

	DL_FOREACH(p->slots, s) {
		if (s->about->state)
			cor__names__pump_state__free_unpacked(s->about->state, NULL);
		s->about->state = NULL;
	}
}

static void answer_description(struct pump *p, struct pump_control *c, uint32_t kind, bool states)
{
	_cleanup_free_ Cor__Names__PumpChannel **channels = NULL;
	Cor__Names__PumpLink link;
	struct pump_slot *s;
	unsigned n;
	int r = -ENOMEM;

	pump_forward_look(p);
	DL_COUNT(p->slots, s, n);
	channels = calloc(n + 1, sizeof(*channels));
	if (channels)
		r = describe(p, states, &link, channels);
	if (r == 0)
		answer_link(c, kind, &link);
	else
		answer(c, kind, r, "", 1, NULL, 0);
	forget_states(p);
}

/* ---- home -------------------------------------------------------------------------------- */

static int take_channels(struct pump *p, const Cor__Names__PumpLink *link, struct cor_message *m,
			 struct cor_error *err)
{
	if (m->nfds != link->n_channels)
		return cor_fail(err, -EPROTO, "%u descriptors came for %zu channels", m->nfds,
				link->n_channels);
	for (size_t i = 0; i < link->n_channels; i++) {
		const Cor__Names__PumpChannel *ch = link->channels[i];
		const struct cor_pump_end_ops *ops = cor_pump_end_ops_of(ch->kind, false);
		struct pump_slot *s = ops ? pump_slot_new(p, ch) : NULL;
		int r;

		if (!s)
			return cor_fail(err, -EPROTO, "channel %u cannot be taken", ch->id);
		s->channel.end.kept = m->fds[i];
		m->fds[i] = -1;
		r = ops->take(&s->channel.end, ch, s->channel.end.kept, err);
		if (r == 0 && ch->state)
			r = cor_pump_channel_ahead(&s->channel, ch->state);
		if (r == 0) {
			s->channel.end.ops = ops;
			r = cor_pump_channel_begin(&s->channel);
			pump_forward_begin(p, s);
		}
		if (r < 0)
			return r;
	}
	pump_link_terminal(p);
	return 0;
}

/* ---- away -------------------------------------------------------------------------------- */

static int make_channel(struct pump *p, const Cor__Names__PumpChannel *ch, int *fd,
			struct cor_error *err)
{
	const struct cor_pump_end_ops *ops = cor_pump_end_ops_of(ch->kind, true);
	struct pump_slot *s = ops ? pump_slot_new(p, ch) : NULL;
	int r;

	if (!s)
		return cor_fail(err, -EPROTO, "channel %u cannot be made", ch->id);
	r = pump_forward_enter(p, ch, &s->channel.end, err);
	if (r == 0)
		r = ops->make(&s->channel.end, ch, fd, err);
	if (r < 0)
		return r;
	s->channel.end.ops = ops;
	pump_forward_begin(p, s);
	return cor_pump_channel_begin(&s->channel);
}

static int make_channels(struct pump *p, const Cor__Names__PumpLink *link, int *fds,
			 struct cor_error *err)
{
	struct pump_slot *slot, *next;
	int r = 0;

	/* those of an earlier time may still be there, with their ports */
	DL_FOREACH_SAFE(p->slots, slot, next)
		if (slot->channel.id != 0)
			pump_slot_free(p, slot);
	cor_pump_net_free(take_ptr(p->net));
	for (unsigned rank = 0; rank < PUMP_FORWARD_RANKS; rank++)
		for (size_t i = 0; r == 0 && i < link->n_channels; i++)
			if (pump_forward_rank(link->channels[i]) == rank)
				r = make_channel(p, link->channels[i], &fds[i], err);
	pump_link_terminal(p);
	return r;
}

static void on_make(struct pump *p, struct pump_control *c, const Cor__Names__PumpLink *link)
{
	_cleanup_free_ int *fds = calloc(link->n_channels + 1, sizeof(*fds));
	struct cor_error err = COR_ERROR_INIT;
	int r = -ENOMEM;

	for (size_t i = 0; fds && i < link->n_channels; i++)
		fds[i] = -1;
	if (fds)
		r = make_channels(p, link, fds, &err);
	if (r == 0)
		answer(c, COR_PUMP_MAKE, 0, NULL, 0, fds, (unsigned)link->n_channels);
	else
		answer_error(c, COR_PUMP_MAKE, r, &err);
	for (size_t i = 0; fds && i < link->n_channels; i++)
		cor_closep(&fds[i]);
}

static int load_channel(struct pump *p, const Cor__Names__PumpChannel *ch, struct cor_error *err)
{
	struct pump_slot *s = ch->id <= UINT16_MAX ? pump_slot_find(p, (uint16_t)ch->id) : NULL;
	int r = s ? 0 : -EPROTO;

	if (r == 0 && ch->state)
		r = cor_pump_channel_load(&s->channel, ch->state);
	if (r == 0 && s->channel.end.ops->update)
		s->channel.end.ops->update(&s->channel.end, ch);
	if (r == 0 && s->channel.end.ops->early)
		cor_pump_channel_write(&s->channel);
	return r < 0 ? cor_fail_code(err, r, "the state of channel %u", ch->id) : 0;
}

static int load_channels(struct pump *p, const Cor__Names__PumpLink *link, struct cor_error *err)
{
	int r = link->task ? load_channel(p, link->task, err) : 0;

	for (size_t i = 0; r == 0 && i < link->n_channels; i++)
		r = load_channel(p, link->channels[i], err);
	return r;
}

/* A socket by which the next move of the task finds us. Without, it cannot be moved,
 * but it runs. */
static void start(struct pump *p, pid_t task, struct cor_message *m)
{
	struct pump_slot *s = pump_slot_find(p, 0);
	char id[2 * COR_SESSION_ID + 1];

	if (p->started)
		return;
	pump_link_terminal(p);
	if (s && m->nfds == 1) {
		cor_pump_end_task_starts(&s->channel.end, m->fds[0], task);
		m->nfds = 0;
	}

	p->task = task;
	pump_watch_task(p);
	p->started = true;
	p->connect_ns = 0;
	cor_pump_id_text(p->id, id);
	snprintf(p->path, sizeof(p->path), "%s/%d.%.16s", p->plan->dir, (int)task, id);
	if (pump_control_listen(p) < 0)
		p->path[0] = 0;
	/* who asks for the task from now on is told; and soon that we are connected */
	pump_show(p, cor_now_ns());
	p->show_ns = 0;
}

/* What the task has given away already is ours to pass on. */
static int freeze(struct pump *p)
{
	struct pump_slot *s;

	p->frozen = true;
	DL_FOREACH(p->slots, s) {
		s->channel.end.readable = true;
		if (s->channel.end.ops)
			cor_pump_channel_read(&s->channel, true);
		if (s->channel.end.ops && s->channel.end.ops->freeze)
			s->channel.end.ops->freeze(&s->channel.end, &s->channel.in);
	}
	return pump_forward_freeze(p);
}

static void on_freeze(struct pump *p, struct pump_control *c)
{
	struct cor_error err = COR_ERROR_INIT;
	int r = freeze(p);

	if (r < 0) {
		cor_fail_code(&err, r, "what goes through the task's TCP connections");
		answer_error(c, COR_PUMP_FREEZE, r, &err);
	} else {
		answer_description(p, c, COR_PUMP_FREEZE, true);
	}
}

static void thaw(struct pump *p)
{
	struct pump_slot *s;

	p->frozen = p->committed = false;
	pump_forward_thaw(p);
	DL_FOREACH(p->slots, s)
		s->channel.end.writable = true;
}

/* ---- the task's place at home ---------------------------------------------------------------- */

static void on_signal(struct pump *p, const struct cor_message *m)
{
	struct pump_slot *s = pump_slot_find(p, 0);

	if (s && m->len == sizeof(siginfo_t) && !s->channel.reading_over)
		cor_pump_end_signal(&s->channel.out, m->buf);
}

static void on_standin(struct pump *p, struct cor_message *m)
{
	struct pump_slot *s = pump_slot_find(p, 0);

	if (!s || m->nfds != 1 || s->channel.end.fd >= 0)
		return;
	cor_pump_end_standin_came(&s->channel.end, m->fds[0], m->op);
	m->nfds = 0;
}

/* The ghost has ended with its worker: no stand-in comes. */
static void forget_standin(struct pump *p)
{
	struct pump_slot *s = p->plan->side == COR_PUMP_HOME ? pump_slot_find(p, 0) : NULL;

	if (s && s->channel.end.fd < 0)
		cor_pump_end_standin_never(&s->channel.end);
}

/* ---- requests ----------------------------------------------------------------------------- */

/* A connection of the peer, whose preamble cord has read, and whether it may be in the clear;
 * we know the secret. */
static void on_connection(struct pump *p, struct cor_message *m)
{
	struct cor_preamble preamble;
	struct cor_stream *stream;
	bool tls;
	int r, fd;

	if (m->nfds != 1 || m->len != sizeof(preamble) || p->plan->side != COR_PUMP_HOME)
		return;
	fd = m->fds[0];
	memcpy(&preamble, m->buf, sizeof(preamble));
	r = cor_preamble_check(&preamble, p->id, p->secret);
	tls = preamble.security == COR_SECURITY_TLS;
	explicit_bzero(&preamble, sizeof(preamble));
	if (cor_preamble_answer(fd, r) < 0 || r < 0)
		return;
	m->nfds = 0;
	if (tls)
		pump_greet_begin(p, fd);
	else if (cor_lane_accept(&stream, fd, COR_CONN_PUMP, NULL) == 0)
		pump_conn_add(p, stream, NULL);
}

/* Those that carry a link. */
static void with_link(struct pump *p, struct pump_control *c, struct cor_message *m)
{
	Cor__Names__PumpLink *link = cor__names__pump_link__unpack(NULL, m->len, m->buf);
	struct cor_error err = COR_ERROR_INIT;
	bool home = p->plan->side == COR_PUMP_HOME;
	int r = -EPROTO;

	if (link && m->kind == COR_PUMP_MAKE && !home && !p->started) {
		on_make(p, c, link);
		cor__names__pump_link__free_unpacked(link, NULL);
		return;
	}
	if (link && m->kind == COR_PUMP_TAKE && home)
		r = take_channels(p, link, m, &err);
	else if (link && m->kind == COR_PUMP_LOAD && !home && !p->started)
		r = load_channels(p, link, &err);
	if (link)
		cor__names__pump_link__free_unpacked(link, NULL);
	if (r < 0)
		answer_error(c, m->kind, r, &err);
	else
		answer(c, m->kind, 0, NULL, 0, NULL, 0);
}

static void obey(struct pump *p, struct pump_control *c, struct cor_message *m)
{
	switch (m->kind) {
	case COR_PUMP_DESCRIBE:
		answer_description(p, c, m->kind, false);
		break;
	case COR_PUMP_CONNECTION:
		on_connection(p, m);
		break;
	case COR_PUMP_DROP:
		p->ending = p->ending || !p->started;
		break;
	case COR_PUMP_LEAVE:
		p->ending = true;
		break;
	case COR_PUMP_COMMIT:
		p->committed = true;
		break;
	case COR_PUMP_REACH:
		p->reaching = c;
		break;
	case COR_PUMP_START:
		start(p, m->op, m);
		break;
	case COR_PUMP_FORWARD:
		on_signal(p, m);
		break;
	case COR_PUMP_STANDIN:
		on_standin(p, m);
		break;
	case COR_PUMP_FREEZE:
		on_freeze(p, c);
		break;
	case COR_PUMP_THAW:
		thaw(p);
		break;
	default:
		with_link(p, c, m);
	}
}

void pump_control_reached(struct pump *p, int r, const struct cor_error *why)
{
	struct cor_error err = COR_ERROR_INIT;
	struct pump_control *c = p->reaching;

	if (!c)
		return;
	p->reaching = NULL;
	if (r == 0) {
		answer(c, COR_PUMP_REACH, 0, NULL, 0, NULL, 0);
		return;
	}
	if (why)
		err = *why;
	answer_error(c, COR_PUMP_REACH, r, &err);
}

/* ---- connections --------------------------------------------------------------------------- */

int pump_control_add(struct pump *p, int sock, bool worker)
{
	struct pump_control *c = calloc(1, sizeof(*c));
	int r;

	if (!c) {
		close(sock);
		return -ENOMEM;
	}
	c->watch = (struct pump_watch){ PUMP_WATCH_CONTROL, c };
	c->sock = sock;
	c->worker = worker;
	DL_APPEND(p->controls, c);
	r = pump_watch(p, sock, EPOLLIN, &c->watch);
	if (r < 0)
		pump_control_free(p, c);
	return r;
}

void pump_control_free(struct pump *p, struct pump_control *c)
{
	if (p->reaching == c)
		p->reaching = NULL;
	DL_DELETE(p->controls, c);
	close(c->sock);
	free(c);
}

/* A worker that ends without a word before its task has moved takes us along. One that
 * froze us has moved the task if it had said COMMIT, else not. */
static void closed(struct pump *p, struct pump_control *c)
{
	bool alone = c->worker && !p->started && !p->committed;
	bool froze = p->frozen && c == p->froze;

	if (c->worker)
		forget_standin(p);
	pump_control_free(p, c);
	if (alone || (froze && p->committed))
		p->ending = true;
	else if (froze)
		thaw(p);
}

void pump_control_event(struct pump *p, struct pump_control *c)
{
	struct cor_message m = { 0 };
	int r = cor_message_recv(c->sock, &m);

	if (r < 0) {
		closed(p, c);
		return;
	}
	if (m.kind == COR_PUMP_FREEZE)
		p->froze = c;
	obey(p, c, &m);
	cor_message_clear(&m);
}

void pump_control_accept(struct pump *p)
{
	int sock = accept4(p->listener, NULL, NULL, SOCK_CLOEXEC);

	if (sock >= 0)
		pump_control_add(p, sock, false);
}

int pump_control_listen(struct pump *p)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX };

	if (strlen(p->path) >= sizeof(sun.sun_path))
		return -ENAMETOOLONG;
	strcpy(sun.sun_path, p->path);
	unlink(p->path);        /* of one that was killed */
	p->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (p->listener < 0 || bind(p->listener, (struct sockaddr *)&sun, sizeof(sun)) < 0 ||
	    listen(p->listener, 16) < 0)
		return -errno;
	p->listener_watch = (struct pump_watch){ PUMP_WATCH_LISTENER, NULL };
	return pump_watch(p, p->listener, EPOLLIN, &p->listener_watch);
}
