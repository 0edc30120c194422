/* Admission of connections to an export; see gate.h. */
#include "libcor/paging/gate.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "libcor/base/cleanup.h"
#include "libcor/base/error.h"
#include "libcor/base/io.h"
#include "libcor/transport/lane.h"

/* Connections whose preamble has not come yet. When all places are taken the
 * one that has waited longest makes room. */
#define WAITING_MAX 32u
#define PREAMBLE_NS UINT64_C(5000000000)

/* After accept() failed for lack of descriptors, until the next try. */
#define PAUSE_MS 100

struct waiting {
	int sock;
	uint64_t deadline;
	struct cor_preamble_reader reader;
	/* behind the preamble, with TLS */
	struct cor_stream *handshake;
	struct cor_tls *keys;
	enum cor_connection_kind kind;
	unsigned renewals;              /* the gate's, when the preamble came */
};

struct cor_gate {
	struct cor_gate_options o;
	int listener, stop_fd;
	uint64_t expires;               /* 0: never */
	pthread_t thread;
	bool open;
	_Atomic uint64_t refused;
	pthread_mutex_t lock;           /* o.session, o.secret, renewals; held while admitting */
	unsigned renewals;
	unsigned nwaiting;
	struct waiting waiting[WAITING_MAX];    /* oldest first */
};

int cor_gate_new(struct cor_gate **out, const struct cor_gate_options *o, struct cor_error *err)
{
	struct cor_gate *g = calloc(1, sizeof(*g));
	int r;

	if (!g)
		return cor_fail(err, -ENOMEM, "listening on %s: out of memory", o->listen);
	pthread_mutex_init(&g->lock, NULL);
	g->o = *o;
	g->o.listen = NULL;             /* the caller's, and not needed any more */
	g->listener = -1;
	g->expires = o->expire_s ? cor_now_ns() + o->expire_s * UINT64_C(1000000000) : 0;
	g->stop_fd = eventfd(0, EFD_CLOEXEC);
	r = g->stop_fd < 0 ? cor_fail_errno(err, "making an eventfd") :
	    o->transport->listen(o->listen, &g->listener, err);
	if (r < 0) {
		cor_gate_free(g);
		return r;
	}
	*out = g;
	return r;
}

/* Its socket or stream is somebody else's, or closed. */
static void forget(struct cor_gate *g, unsigned i)
{
	cor_tls_free(g->waiting[i].keys);
	g->nwaiting--;
	memmove(&g->waiting[i], &g->waiting[i + 1], (g->nwaiting - i) * sizeof(g->waiting[0]));
}

static void close_waiting(struct waiting *w)
{
	if (w->handshake)
		cor_stream_close(w->handshake);
	else
		close(w->sock);
}

static void turn_away(struct cor_gate *g, unsigned i, int status)
{
	/* the socket's buffer is empty: eight bytes always fit */
	if (status != -ECONNRESET && !g->waiting[i].handshake)
		cor_preamble_answer(g->waiting[i].sock, status);
	close_waiting(&g->waiting[i]);
	forget(g, i);
	g->refused++;
}

static bool encrypted(const struct cor_gate *g)
{
	return g->o.transport->caps & COR_TRANSPORT_ENCRYPTED;
}

/* Under the lock. */
static int judge(const struct cor_gate *g, const struct cor_preamble *p)
{
	int r = cor_preamble_check(p, g->o.session, g->o.secret);

	if (r == 0 && p->kind != COR_CONN_DEMAND && p->kind != COR_CONN_BULK)
		r = -EPROTO;
	if (r == 0 && (p->security == COR_SECURITY_TLS) != encrypted(g))
		r = encrypted(g) ? -ENOKEY : -EOPNOTSUPP;
	if (r == 0 && g->expires && cor_now_ns() >= g->expires)
		r = -ETIME;
	return r;
}

/* Under the lock. The preamble was good: the secret has to be proved still. */
static int begin_handshake(struct cor_gate *g, struct waiting *w, const struct cor_preamble *p)
{
	int r = cor_tls_from_secret(&w->keys, g->o.session, g->o.secret, p->kind, p->index, NULL);

	if (r == 0)
		r = cor_preamble_answer(w->sock, 0);
	if (r < 0)
		return r;
	w->kind = p->kind;
	w->renewals = g->renewals;
	r = cor_lane_accept_tls(&w->handshake, w->sock, p->kind, w->keys, NULL);
	w->sock = r < 0 ? -1 : w->handshake->in_fd;
	return r;
}

/* Under the lock. Takes the socket. The peer may speak its own protocol as soon as it is
 * answered. */
static void admit(struct cor_gate *g, int sock, enum cor_connection_kind kind)
{
	struct cor_stream *lane;

	if (cor_preamble_answer(sock, 0) < 0)
		close(sock);
	else if (cor_lane_accept(&lane, sock, kind, NULL) == 0)
		g->o.admit(g->o.arg, lane, kind);
}

static void hear_preamble(struct cor_gate *g, unsigned i)
{
	struct waiting *w = &g->waiting[i];
	struct cor_preamble p;
	int r = cor_preamble_reader_feed(&w->reader, w->sock, &p);
	int sock = w->sock;

	if (r == 0)
		return;
	COR_LOCK(&g->lock);
	if (r > 0)
		r = judge(g, &p);
	if (r < 0) {
		turn_away(g, i, r);
		return;
	}
	if (encrypted(g)) {
		r = begin_handshake(g, w, &p);
		if (r < 0) {
			cor_closep(&w->sock);
			forget(g, i);
		}
		return;
	}
	forget(g, i);
	admit(g, sock, p.kind);
}

static void shake_hands(struct cor_gate *g, unsigned i)
{
	struct waiting *w = &g->waiting[i];
	struct cor_stream *lane = w->handshake;
	int r = cor_stream_tls_step(lane, NULL);

	if (r == -EAGAIN)
		return;
	if (r < 0) {
		turn_away(g, i, r);
		return;
	}
	COR_LOCK(&g->lock);
	if (w->renewals != g->renewals) {
		turn_away(g, i, -ENOENT);
		return;
	}
	if (cor_lane_admit(&lane, w->kind, 0, NULL) == 0)
		g->o.admit(g->o.arg, lane, w->kind);
	forget(g, i);
}

/* What has come on a waiting connection. */
static void hear(struct cor_gate *g, unsigned i)
{
	if (g->waiting[i].handshake)
		shake_hands(g, i);
	else
		hear_preamble(g, i);
}

void cor_gate_renew(struct cor_gate *g, const uint8_t session[COR_SESSION_ID],
		    const uint8_t secret[COR_SECRET])
{
	COR_LOCK(&g->lock);
	memcpy(g->o.session, session, sizeof(g->o.session));
	memcpy(g->o.secret, secret, sizeof(g->o.secret));
	g->renewals++;
	g->expires = g->o.expire_s ? cor_now_ns() + g->o.expire_s * UINT64_C(1000000000) : 0;
}

/* Takes every connection that waits; false when there is no descriptor for one. */
static bool take_connections(struct cor_gate *g)
{
	for (;;) {
		int sock = g->o.transport->accept(g->listener, NULL);

		if (sock < 0)
			return sock == -EAGAIN;
		if (g->nwaiting == WAITING_MAX)
			turn_away(g, 0, -EBUSY);
		g->waiting[g->nwaiting++] = (struct waiting){
			.sock = sock, .deadline = cor_now_ns() + PREAMBLE_NS,
		};
	}
}

/* Turns away who has been silent for too long; milliseconds until the next, or -1. */
static int expire_waiting(struct cor_gate *g)
{
	uint64_t now = cor_now_ns();

	while (g->nwaiting && g->waiting[0].deadline <= now)
		turn_away(g, 0, -ETIMEDOUT);
	if (!g->nwaiting)
		return -1;
	return (int)((g->waiting[0].deadline - now) / 1000000) + 1;
}

static void *watch(void *arg)
{
	struct cor_gate *g = arg;
	bool accepting = true;

	for (;;) {
		struct pollfd p[2 + WAITING_MAX] = {
			{ .fd = g->stop_fd, .events = POLLIN },
			{ .fd = accepting ? g->listener : -1, .events = POLLIN },
		};
		int timeout = expire_waiting(g);
		unsigned n = g->nwaiting;

		for (unsigned i = 0; i < n; i++)
			p[2 + i] = (struct pollfd){ .fd = g->waiting[i].sock, .events = POLLIN };
		if (poll(p, 2 + n, accepting ? timeout : PAUSE_MS) < 0 && errno != EINTR)
			return NULL;
		if (p[0].revents)
			return NULL;
		/* backwards: hear() closes up the gap that it leaves */
		for (unsigned i = n; i-- > 0; )
			if (p[2 + i].revents)
				hear(g, i);
		accepting = p[1].revents ? take_connections(g) : true;
	}
}

int cor_gate_open(struct cor_gate *g, struct cor_error *err)
{
	sigset_t all, old;
	int r;

	/* signals are for the threads of the program around us */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	r = -pthread_create(&g->thread, NULL, watch, g);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (r < 0)
		return cor_fail_code(err, r, "starting an export's thread");
	pthread_setname_np(g->thread, "cor-export");
	g->open = true;
	return 0;
}

uint64_t cor_gate_refused(const struct cor_gate *g)
{
	return g->refused;
}

void cor_gate_free(struct cor_gate *g)
{
	const uint64_t one = 1;

	if (!g)
		return;
	if (g->open) {
		(void)!write(g->stop_fd, &one, sizeof(one));
		pthread_join(g->thread, NULL);
	}
	while (g->nwaiting) {
		close_waiting(&g->waiting[0]);
		forget(g, 0);
	}
	cor_closep(&g->listener);
	cor_closep(&g->stop_fd);
	pthread_mutex_destroy(&g->lock);
	explicit_bzero(&g->o, sizeof(g->o));
	free(g);
}
