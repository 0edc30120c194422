/* Requests to a home's file server; see home/remote.h. */
#include "libcor/names/home/remote.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <uthash.h>
#include <utlist.h>

#include "libcor/base/cleanup.h"
#include "libcor/base/error.h"
#include "libcor/base/io.h"

#define RETRY_NS    200000000l
#define BYE_NS      2000000000ull

struct pending {
	uint64_t id;
	home_answer_fn *done;
	void  *arg;
	size_t len;
	unsigned refs;                  /* the list's and the sender's */
	struct pending *prev, *next;    /* ascending */
	UT_hash_handle hh;
	struct home_request message[];  /* with its body */
};

/* Neither lock is held when the other is taken: who sends may have to wait for the home,
 * which waits for who receives. */
struct home_remote {
	const struct home_remote_ops *ops;
	void    *arg;
	unsigned reconnect_s;
	uint64_t client, next_id;
	pthread_t thread;
	pthread_mutex_t lock;           /* all but the stream */
	pthread_mutex_t send;           /* sending, and the stream's place */
	pthread_cond_t  changed;
	struct cor_stream *stream;      /* NULL: lost */
	struct pending *list, *by_id;
	bool ending, lost;
	unsigned repeating;             /* threads that say again what was asked */
	_Atomic uint64_t can;           /* enum home_can */
	struct home_remote_stats stats;
};

/* ---- sending -------------------------------------------------------------------------- */

/* send held */
static void put(struct home_remote *r, const void *message, size_t len)
{
	if (r->stream && cor_stream_write(r->stream, message, len) < 0)
		cor_stream_shutdown(r->stream);         /* its reader sees that */
}

static struct pending *pack(const struct home_request *q, const struct iovec *body, unsigned n)
{
	size_t len = sizeof(*q);
	struct pending *p;
	char *at;

	for (unsigned i = 0; i < n; i++)
		len += body[i].iov_len;
	p = malloc(sizeof(*p) + len);
	if (!p)
		return NULL;
	*p = (struct pending){ .len = len };
	p->message[0] = *q;
	p->message[0].length = (uint32_t)len;
	at = (char *)(p->message + 1);
	for (unsigned i = 0; i < n; i++) {
		if (body[i].iov_len)
			memcpy(at, body[i].iov_base, body[i].iov_len);
		at += body[i].iov_len;
	}
	return p;
}

static void let_go(struct home_remote *r, struct pending *p)
{
	COR_LOCK(&r->lock);

	if (--p->refs == 0)
		free(p);
}

uint64_t home_remote_send(struct home_remote *r, const struct home_request *q,
			  const struct iovec *body, unsigned n, home_answer_fn *done, void *arg)
{
	struct pending *p = pack(q, body, n);
	uint64_t id;

	if (!p) {
		if (done)
			done(arg, NULL, NULL, 0, -ENOMEM);
		return 0;
	}
	p->done = done;
	p->arg = arg;
	pthread_mutex_lock(&r->lock);
	if (r->lost || r->ending) {
		pthread_mutex_unlock(&r->lock);
		free(p);
		if (done)
			done(arg, NULL, NULL, 0, -EIO);
		return 0;
	}
	id = p->id = p->message[0].id = r->next_id++;
	p->message[0].done = r->list ? r->list->id : id;
	r->stats.requests++;
	r->stats.sent += p->len;
	p->refs = 1;
	if (done) {
		p->refs++;
		DL_APPEND(r->list, p);
		HASH_ADD(hh, r->by_id, id, sizeof(p->id), p);
	}
	pthread_mutex_unlock(&r->lock);
	pthread_mutex_lock(&r->send);
	put(r, p->message, p->len);
	pthread_mutex_unlock(&r->send);
	let_go(r, p);
	return id;
}

struct waiting {
	pthread_mutex_t lock;
	pthread_cond_t  cond;
	bool   over;
	int    status;
	struct home_reply *reply;
	void  *buf;
	size_t room, len;
};

static void on_answer(void *arg, const struct home_reply *reply, const char *body, size_t len,
		      int status)
{
	struct waiting *w = arg;
	COR_LOCK(&w->lock);

	w->status = reply ? reply->status : status;
	if (reply && w->reply)
		*w->reply = *reply;
	w->len = COR_MIN(len, w->room);
	if (w->len)
		memcpy(w->buf, body, w->len);
	w->over = true;
	pthread_cond_signal(&w->cond);
}

int home_remote_call(struct home_remote *r, const struct home_request *q, const void *body,
		     size_t body_len, struct home_reply *reply, void *buf, size_t room,
		     size_t *len)
{
	struct waiting w = {
		.lock = PTHREAD_MUTEX_INITIALIZER, .cond = PTHREAD_COND_INITIALIZER,
		.reply = reply, .buf = buf, .room = room,
	};
	struct iovec part = { (void *)body, body_len };

	home_remote_send(r, q, &part, body_len ? 1 : 0, on_answer, &w);
	pthread_mutex_lock(&w.lock);
	while (!w.over)
		pthread_cond_wait(&w.cond, &w.lock);
	pthread_mutex_unlock(&w.lock);
	if (len)
		*len = w.len;
	return w.status;
}

/* ---- the connection ------------------------------------------------------------------------ */

static int receive(struct cor_stream *s, struct home_reply *reply, char *body)
{
	int r = cor_stream_read(s, reply, sizeof(*reply));

	if (r < 0)
		return r;
	if (reply->length < sizeof(*reply) || reply->length > sizeof(*reply) + HOME_BODY_MAX)
		return -EPROTO;
	r = reply->length > sizeof(*reply) ?
		cor_stream_read(s, body, reply->length - sizeof(*reply)) : 0;
	body[reply->length - sizeof(*reply)] = 0;
	return r;
}

static int attach(struct home_remote *r, struct cor_stream *s, char *body, struct home_attr *root)
{
	struct home_request q = {
		.length = sizeof(q), .op = HOME_ATTACH, .id = 1, .done = 1, .arg = { r->client },
	};
	struct home_reply reply;
	int e = cor_stream_write(s, &q, sizeof(q));

	do {    /* notices may come first */
		if (e == 0)
			e = receive(s, &reply, body);
	} while (e == 0 && reply.id == 0);
	if (e == 0 && (reply.id != 1 || (reply.status == 0 &&
					 reply.length != sizeof(reply) + sizeof(*root))))
		e = -EPROTO;
	if (e == 0)
		e = reply.status;
	if (e == 0 && root)
		memcpy(root, body, sizeof(*root));
	if (e == 0)
		r->can = reply.arg[0];
	return e;
}

static void use_stream(struct home_remote *r, struct cor_stream *s)
{
	pthread_mutex_lock(&r->send);
	r->stream = s;
	pthread_mutex_unlock(&r->send);
	COR_LOCK(&r->lock);
	r->stats.connected = s != NULL;
	pthread_cond_broadcast(&r->changed);
}

/* Says again what was asked below upto and was not answered, while the connection's
 * thread receives already. Asked twice is no harm. */
static void *say_again(void *arg)
{
	struct home_remote *r = arg;
	uint64_t last = 0, upto;
	struct pending *p;

	pthread_mutex_lock(&r->lock);
	upto = r->next_id;
	for (;;) {
		DL_FOREACH(r->list, p)
			if (p->id > last && p->id < upto)
				break;
		if (!p)
			break;
		p->refs++;
		last = p->id;
		pthread_mutex_unlock(&r->lock);
		pthread_mutex_lock(&r->send);
		put(r, p->message, p->len);
		pthread_mutex_unlock(&r->send);
		let_go(r, p);
		pthread_mutex_lock(&r->lock);
	}
	r->repeating--;
	pthread_cond_broadcast(&r->changed);
	pthread_mutex_unlock(&r->lock);
	return NULL;
}

static void resume(struct home_remote *r, struct cor_stream *s)
{
	pthread_attr_t attr;
	pthread_t t;

	use_stream(r, s);
	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	pthread_mutex_lock(&r->lock);
	r->repeating++;
	pthread_mutex_unlock(&r->lock);
	if (pthread_create(&t, &attr, say_again, r) != 0)
		say_again(r);
	pthread_attr_destroy(&attr);
}

static void answer(struct home_remote *r, const struct home_reply *reply, const char *body)
{
	size_t len = reply->length - sizeof(*reply);
	struct pending *p;

	if (reply->id == 0) {
		r->ops->notice(r->arg, (enum home_notice)reply->status, reply->arg[0],
			       len ? body : NULL);
		return;
	}
	pthread_mutex_lock(&r->lock);
	r->stats.received += reply->length;
	HASH_FIND(hh, r->by_id, &reply->id, sizeof(reply->id), p);
	if (p) {
		HASH_DELETE(hh, r->by_id, p);
		DL_DELETE(r->list, p);
	}
	pthread_mutex_unlock(&r->lock);
	if (!p)
		return;         /* answered before, on the lost connection */
	p->done(p->arg, reply, body, len, 0);
	let_go(r, p);
}

static void drop_stream(struct home_remote *r)
{
	struct cor_stream *s = r->stream;       /* only this thread changes it */

	use_stream(r, NULL);
	cor_stream_close(s);
}

/* Waits a moment, or until the end. */
static bool pause_or_end(struct home_remote *r)
{
	struct timespec until;
	COR_LOCK(&r->lock);

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_nsec += RETRY_NS;
	if (until.tv_nsec >= 1000000000l) {
		until.tv_nsec -= 1000000000l;
		until.tv_sec++;
	}
	while (!r->ending && pthread_cond_timedwait(&r->changed, &r->lock, &until) == 0)
		;
	return r->ending;
}

/* A new connection, however long it takes; false: there will be none. */
static bool reconnect(struct home_remote *r, char *body)
{
	uint64_t until = cor_now_ns() + r->reconnect_s * 1000000000ull;

	while (!r->reconnect_s || cor_now_ns() < until) {
		struct cor_stream *s = NULL;

		if (pause_or_end(r))
			return false;
		if (r->ops->connect(r->arg, &s, NULL) < 0)
			continue;
		if (attach(r, s, body, NULL) == 0) {
			r->stats.reconnects++;
			resume(r, s);
			/* what was heard of changes has gaps: nothing kept is sure */
			r->ops->notice(r->arg, HOME_CHANGED, 0, NULL);
			return true;
		}
		cor_stream_close(s);
	}
	return false;
}

static void fail_all(struct home_remote *r)
{
	struct pending *p, *next, *list;

	pthread_mutex_lock(&r->lock);
	r->lost = r->stats.lost = true;
	list = r->list;
	r->list = NULL;
	HASH_CLEAR(hh, r->by_id);
	pthread_mutex_unlock(&r->lock);
	DL_FOREACH_SAFE(list, p, next) {
		p->done(p->arg, NULL, NULL, 0, -EIO);
		let_go(r, p);
	}
}

static void *run(void *arg)
{
	struct home_remote *r = arg;
	_cleanup_free_ char *body = malloc(HOME_BODY_MAX + 1);
	bool more = body != NULL;

	while (more) {
		struct home_reply reply;

		while (receive(r->stream, &reply, body) == 0)
			answer(r, &reply, body);
		drop_stream(r);
		pthread_mutex_lock(&r->lock);
		more = !r->ending;
		pthread_mutex_unlock(&r->lock);
		if (more)
			more = reconnect(r, body);
	}
	fail_all(r);
	return NULL;
}

int home_remote_new(struct home_remote **out, const struct home_remote_ops *ops, void *arg,
		    unsigned reconnect_s, struct home_attr *root, struct cor_error *err)
{
	struct home_remote *r = calloc(1, sizeof(*r));
	_cleanup_free_ char *body = malloc(HOME_BODY_MAX + 1);
	struct cor_stream *s = NULL;
	int e;

	if (!r || !body) {
		free(r);
		return cor_fail(err, -ENOMEM, "out of memory");
	}
	r->ops = ops;
	r->arg = arg;
	r->reconnect_s = reconnect_s;
	r->next_id = 2;         /* 1 is ATTACH's */
	pthread_mutex_init(&r->lock, NULL);
	pthread_mutex_init(&r->send, NULL);
	pthread_cond_init(&r->changed, NULL);
	e = getrandom(&r->client, sizeof(r->client), 0) == sizeof(r->client) ? 0 : -EIO;
	if (e == 0)
		e = ops->connect(arg, &s, err);
	if (e == 0) {
		e = attach(r, s, body, root);
		if (e < 0)
			cor_fail_code(err, e, "the home's file server does not answer");
	}
	if (e == 0) {
		use_stream(r, s);
		s = NULL;
		e = -pthread_create(&r->thread, NULL, run, r);
		if (e < 0) {
			cor_fail_code(err, e, "a thread for the home's files");
			cor_stream_close(r->stream);
		}
	}
	if (e < 0) {
		cor_stream_close(s);
		free(r);
		return e;
	}
	*out = r;
	return 0;
}

static void on_bye(void *arg, const struct home_reply *reply, const char *body, size_t len,
		   int status)
{
	struct home_remote *r = arg;
	COR_LOCK(&r->lock);

	r->ending = true;
	pthread_cond_broadcast(&r->changed);
}

void home_remote_free(struct home_remote *r)
{
	struct home_request q = { .op = HOME_BYE };
	struct timespec until;

	if (!r)
		return;
	home_remote_send(r, &q, NULL, 0, on_bye, r);
	pthread_mutex_lock(&r->lock);
	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += BYE_NS / 1000000000;
	while (!r->ending && r->stats.connected &&
	       pthread_cond_timedwait(&r->changed, &r->lock, &until) == 0)
		;
	r->ending = true;
	pthread_cond_broadcast(&r->changed);
	pthread_mutex_unlock(&r->lock);
	pthread_mutex_lock(&r->send);
	if (r->stream)
		cor_stream_shutdown(r->stream);
	pthread_mutex_unlock(&r->send);
	pthread_join(r->thread, NULL);
	pthread_mutex_lock(&r->lock);
	while (r->repeating)
		pthread_cond_wait(&r->changed, &r->lock);
	pthread_mutex_unlock(&r->lock);
	pthread_cond_destroy(&r->changed);
	pthread_mutex_destroy(&r->send);
	pthread_mutex_destroy(&r->lock);
	free(r);
}

bool home_remote_can(const struct home_remote *r, enum home_can what)
{
	return r->can & what;
}

void home_remote_stats(struct home_remote *r, struct home_remote_stats *out)
{
	COR_LOCK(&r->lock);
	*out = r->stats;
}
