/* The page server: one thread for each lane; see server.h. */
#include "libcor/paging/server.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "libcor/base/cleanup.h"
#include "libcor/base/error.h"
#include "libcor/base/io.h"
#include "libcor/paging/answer.h"

/* A demand lane polls its socket this long after a reply before it sleeps: waking
 * a sleeping processor costs more than the whole rest of a fault, and the task
 * that waits for the next page is often not far from asking. Much longer than a
 * fault takes when both sides sleep (250 us): else a session that has become slow
 * once stays so, its every request coming just after the server fell asleep. */
#define DEMAND_SPIN_NS UINT64_C(1000000)

/* For the threads of bulk lanes; setpriority(2). */
#define BULK_NICE 10

/* Requests taken from the socket at once. */
#define BATCH 64u

struct lane {
	struct lane *next;
	struct cor_page_server *server;
	struct cor_answer *answer;
	enum cor_connection_kind kind;
	pthread_t thread;
	bool hears;             /* of the kernel's TCP: it notices when the peer is gone */
	struct cor_stream *stream;      /* under the server's lock; NULL: ended */
	size_t have;            /* bytes in requests */
	uint8_t requests[BATCH * sizeof(struct cor_page_request)];
};

struct cor_page_server {
	struct cor_source *source;
	int event_fd;
	pthread_mutex_t lock;   /* lanes, and their stream */
	struct lane *lanes;
	_Atomic uint64_t requests_demand, requests_bulk;
	struct cor_answer_counters counters;
};

int cor_page_server_new(struct cor_page_server **out, struct cor_source *source,
			struct cor_error *err)
{
	struct cor_page_server *ps = calloc(1, sizeof(*ps));
	int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

	if (!ps || fd < 0) {
		int code = fd < 0 ? -errno : -ENOMEM;

		cor_closep(&fd);
		free(ps);
		cor_source_close(source);
		return cor_fail_code(err, code, "making a page server");
	}
	pthread_mutex_init(&ps->lock, NULL);
	ps->source = source;
	ps->event_fd = fd;
	*out = ps;
	return 0;
}

/* Polls for a request for a bounded time; -EAGAIN: none came. */
static ssize_t receive_spinning(struct cor_stream *s, const struct iovec *iov)
{
	uint64_t until = cor_now_ns() + DEMAND_SPIN_NS;
	ssize_t n;

	while ((n = cor_stream_receive(s, iov, 1, COR_STREAM_NOWAIT | COR_STREAM_SPIN)) ==
	       -EAGAIN &&
	       cor_now_ns() < until)
		sched_yield();  /* whoever else can use this processor goes first */
	return n;
}

/* Waits for bytes of requests; false when the lane has ended. spin: one was
 * answered just now. */
static bool receive(struct lane *l, struct cor_stream *s, bool spin)
{
	struct iovec iov = { l->requests + l->have, sizeof(l->requests) - l->have };
	ssize_t n = -EAGAIN;

	if (spin)
		n = receive_spinning(s, &iov);
	if (n == -EAGAIN)
		n = cor_stream_receive(s, &iov, 1, 0);
	if (n <= 0)
		return false;
	l->have += (size_t)n;
	return true;
}

/* Answers the whole requests that have come and keeps what is left over. */
static int answer_all(struct lane *l)
{
	struct cor_page_server *ps = l->server;
	_Atomic uint64_t *requests = l->kind == COR_CONN_DEMAND ? &ps->requests_demand :
				     &ps->requests_bulk;
	size_t used = 0;

	while (l->have - used >= sizeof(struct cor_page_request)) {
		struct cor_page_request q;
		int r;

		memcpy(&q, l->requests + used, sizeof(q));
		atomic_fetch_add_explicit(requests, 1, memory_order_relaxed);
		r = cor_answer_request(l->answer, &q);
		if (r < 0)
			return r;
		used += sizeof(q);
	}
	memmove(l->requests, l->requests + used, l->have - used);
	l->have -= used;
	return 0;
}

/* Lanes that are no connections of the kernel's may not notice that the pager is out of
 * reach: they end with the last one that does. Under the lock. */
static void shut_the_deaf(struct cor_page_server *ps)
{
	bool hearing = false, any = false;

	for (struct lane *l = ps->lanes; l; l = l->next) {
		hearing |= l->hears && l->stream;
		any |= l->hears;
	}
	for (struct lane *l = ps->lanes; l && any && !hearing; l = l->next)
		if (l->stream)
			cor_stream_shutdown(l->stream);
}

static void *serve_lane(void *arg)
{
	struct lane *l = arg;
	struct cor_page_server *ps = l->server;
	const uint64_t one = 1;
	struct cor_stream *s = l->stream;       /* only this thread closes it */
	bool spin = false;

	/* bulk data can wait, faults cannot: where both want one processor */
	if (l->kind == COR_CONN_BULK)
		setpriority(PRIO_PROCESS, (id_t)gettid(), BULK_NICE);
	prctl(PR_SET_NAME, l->kind == COR_CONN_DEMAND ? "cor-demand" : "cor-bulk");
	while (receive(l, s, spin) && answer_all(l) == 0)
		spin = l->kind == COR_CONN_DEMAND;
	pthread_mutex_lock(&ps->lock);
	cor_stream_close(s);
	l->stream = NULL;
	shut_the_deaf(ps);
	pthread_mutex_unlock(&ps->lock);
	(void)!write(ps->event_fd, &one, sizeof(one));  /* it can only be full: readable all the same */
	return NULL;
}

static void free_lane(struct lane *l)
{
	cor_stream_close(l->stream);
	cor_answer_free(l->answer);
	free(l);
}

/* Joins the threads whose lanes have ended. */
static void reap(struct cor_page_server *ps)
{
	struct lane *ended = NULL;

	pthread_mutex_lock(&ps->lock);
	for (struct lane **at = &ps->lanes; *at; ) {
		struct lane *l = *at;

		if (l->stream) {
			at = &l->next;
			continue;
		}
		*at = l->next;
		l->next = ended;
		ended = l;
	}
	pthread_mutex_unlock(&ps->lock);
	while (ended) {
		struct lane *l = ended;

		ended = l->next;
		pthread_join(l->thread, NULL);
		free_lane(l);
	}
}

/* The thread takes no signals: they are for the threads of the program around us. */
static int start_thread(struct lane *l)
{
	sigset_t all, old;
	int r;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	r = -pthread_create(&l->thread, NULL, serve_lane, l);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return r;
}

int cor_page_server_add_lane(struct cor_page_server *ps, struct cor_stream *lane,
			     enum cor_connection_kind kind, struct cor_error *err)
{
	_cleanup_stream_ struct cor_stream *owned = lane;
	struct lane *l;
	int r;

	if (kind != COR_CONN_DEMAND && kind != COR_CONN_BULK)
		return cor_fail(err, -EINVAL, "a page lane is for demand or for bulk");
	l = calloc(1, sizeof(*l));
	if (!l)
		return cor_fail(err, -ENOMEM, "a page lane: out of memory");
	l->server = ps;
	l->kind = kind;
	l->stream = take_ptr(owned);
	l->hears = l->stream->rank == 0;
	r = cor_answer_new(&l->answer, ps->source, lane, &ps->counters, err);
	if (r < 0) {
		free_lane(l);
		return r;
	}
	pthread_mutex_lock(&ps->lock);
	r = start_thread(l);
	if (r == 0) {
		l->next = ps->lanes;
		ps->lanes = l;
	}
	pthread_mutex_unlock(&ps->lock);
	if (r < 0) {
		free_lane(l);
		return cor_fail_code(err, r, "starting a page lane's thread");
	}
	/* behind it: the first fault may be on its way */
	reap(ps);
	return 0;
}

int cor_page_server_event_fd(const struct cor_page_server *ps)
{
	return ps->event_fd;
}

void cor_page_server_stats(struct cor_page_server *ps, struct cor_page_server_stats *out)
{
	struct cor_page_server_stats s = { 0 };

	/* the lanes first: what one that has ended did is then in the counts */
	pthread_mutex_lock(&ps->lock);
	for (const struct lane *l = ps->lanes; l; l = l->next) {
		if (!l->stream)
			continue;
		s.lanes++;
		s.lanes_fast += !l->hears;
		if (l->kind == COR_CONN_DEMAND)
			s.lanes_demand++;
		else
			s.lanes_bulk++;
	}
	pthread_mutex_unlock(&ps->lock);
	s.requests_demand = ps->requests_demand;
	s.requests_bulk = ps->requests_bulk;
	s.pages_sent = ps->counters.pages_sent;
	s.pages_zero = ps->counters.pages_zero;
	s.bytes_sent = ps->counters.bytes_sent;
	*out = s;
}

void cor_page_server_drop_lanes(struct cor_page_server *ps)
{
	COR_LOCK(&ps->lock);
	for (struct lane *l = ps->lanes; l; l = l->next)
		if (l->stream)
			cor_stream_shutdown(l->stream);
}

void cor_page_server_free(struct cor_page_server *ps)
{
	if (!ps)
		return;
	cor_page_server_drop_lanes(ps);
	while (ps->lanes) {
		struct lane *l = ps->lanes;

		ps->lanes = l->next;
		pthread_join(l->thread, NULL);
		free_lane(l);
	}
	pthread_mutex_destroy(&ps->lock);
	close(ps->event_fd);
	cor_source_close(ps->source);
	free(ps);
}
