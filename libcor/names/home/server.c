/* The file server's connections: reading requests, and what a lost connection leaves
 * behind for the next. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <utlist.h>

#include "libcor/base/cleanup.h"
#include "libcor/base/error.h"
#include "libcor/base/io.h"
#include "libcor/names/home/private.h"

#define THREADS     3           /* of a connection: one reads, the others carry out */
#define STACK_SIZE  (512u << 10)

/* ---- clients ---------------------------------------------------------------------------- */

static struct home_client *find_client(struct home_server *s, uint64_t id)
{
	struct home_client *c;

	DL_FOREACH(s->clients, c)
		if (c->id == id)
			return c;
	return NULL;
}

void home_client_clear(struct home_client *c)
{
	struct home_server *s = c->server;
	struct home_handle *h, *next_handle;
	struct home_ref *r, *next_ref;
	struct home_node *n;

	home_owners_clear(s, &c->owners);
	HASH_ITER(hh, s->handles, h, next_handle)
		if (h->client == c)
			home_handle_shut(s, h);
	HASH_ITER(hh, c->refs, r, next_ref) {
		HASH_FIND(by_id, s->by_id, &r->node, sizeof(r->node), n);
		HASH_DELETE(hh, c->refs, r);
		free(r);
		if (n)
			home_node_drop(s, n);
	}
	home_known_forget(c, UINT64_MAX);
}

/* The client of that number, new or with its connection lost; l is its connection now. */
static struct home_client *join(struct home_link *l, uint64_t id)
{
	struct home_server *s = l->server;
	struct home_link *old;
	struct home_client *c;
	COR_LOCK(&s->lock);

	c = find_client(s, id);
	if (c && c->ended)
		return NULL;
	if (!c) {
		c = calloc(1, sizeof(*c));
		if (!c)
			return NULL;
		c->id = id;
		c->server = s;
		pthread_mutex_init(&c->send, NULL);
		DL_APPEND(s->clients, c);
		s->stats.clients++;
		s->stats.used = true;
	}
	pthread_mutex_lock(&c->send);
	old = c->link;
	c->link = l;
	l->client = c;
	pthread_mutex_unlock(&c->send);
	if (old)
		cor_stream_shutdown(old->stream);
	else
		s->stats.connected++;
	pthread_cond_broadcast(&s->changed);
	return c;
}

static void attach(struct home_link *l, const struct home_request *q)
{
	struct home_server *s = l->server;
	struct home_client *c = join(l, q->arg[0]);
	struct home_request request = *q;
	struct home_call call = { .server = s, .client = c, .q = &request };
	struct home_node *root;

	if (!c) {
		cor_stream_shutdown(l->stream);
		return;
	}
	/* not kept: asking again is joining again */
	root = home_node_get(s, HOME_ROOT);
	call.reply.status = root ? home_give_attr(&call, root, -1) : -ESTALE;
	call.reply.arg[0] = HOME_CAN_PASS;
	home_node_put(s, root);
	home_answer(&call);
	free(call.out);
}

static void bye(struct home_link *l)
{
	struct home_server *s = l->server;
	struct home_client *c = l->client;

	home_cancel(c, 0);
	COR_LOCK(&s->lock);
	if (c->ended)
		return;
	c->ended = true;
	home_client_clear(c);
	s->stats.clients--;
	pthread_cond_broadcast(&s->changed);
}

static void forget(struct home_client *c, const char *body, size_t len)
{
	struct home_forget f;

	for (size_t at = 0; at + sizeof(f) <= len; at += sizeof(f)) {
		memcpy(&f, body + at, sizeof(f));
		home_ref_forget(c, f.node, f.count);
	}
}

/* ---- a connection ------------------------------------------------------------------------ */

static void count(struct home_server *s, const struct home_call *c)
{
	COR_LOCK(&s->lock);
	s->stats.requests++;
	if (c->q->op == HOME_READ)
		s->stats.read_bytes += c->out_len;
	else if (c->q->op == HOME_WRITE)
		s->stats.written_bytes += c->len;
}

static void carry_out(struct home_link *l, const struct home_request *q, const char *body,
		      size_t len)
{
	struct home_call c = {
		.server = l->server, .client = l->client, .q = q, .body = body, .len = len,
	};

	switch (q->op) {
	case HOME_ATTACH:
		attach(l, q);
		return;
	case HOME_BYE:
		bye(l);
		home_answer(&c);
		return;
	case HOME_FORGET:
		forget(l->client, body, len);
		return;
	case HOME_CANCEL:
		home_cancel(l->client, q->arg[0]);
		return;
	}
	if (!home_begin(l->client, q))
		return;
	c.reply.status = home_run(&c);
	count(l->server, &c);
	if (c.later)
		return;
	home_answer(&c);
	free(c.out);
}

/* One request into *q and buf. -EPROTO: not one. */
static int receive(struct home_link *l, struct home_request *q, char **buf, size_t *room)
{
	size_t len;
	int r;
	COR_LOCK(&l->receive);

	if (l->dead)
		return -EPIPE;
	r = cor_stream_read(l->stream, q, sizeof(*q));
	if (r < 0)
		goto dead;
	r = -EPROTO;
	if (q->length < sizeof(*q) || q->length > sizeof(*q) + HOME_BODY_MAX || !q->id ||
	    q->op == 0 || q->op >= HOME_OPS || (!l->client) != (q->op == HOME_ATTACH))
		goto dead;
	len = q->length - sizeof(*q);
	if (len + 1 > *room) {
		char *more = realloc(*buf, len + 1);

		r = -ENOMEM;
		if (!more)
			goto dead;
		*buf = more;
		*room = len + 1;
	}
	r = len ? cor_stream_read(l->stream, *buf, len) : 0;
	(*buf)[len] = 0;
	/* the others may not read a request before it is known whose it is */
	if (r == 0 && q->op == HOME_ATTACH) {
		attach(l, q);
		q->op = 0;
	}
	if (r == 0)
		return 0;
dead:
	l->dead = true;
	return r;
}

/* lock held */
static void unlink_from_client(struct home_link *l)
{
	struct home_server *s = l->server;
	struct home_client *c = l->client;

	if (!c)
		return;
	pthread_mutex_lock(&c->send);
	if (c->link == l) {
		c->link = NULL;
		s->stats.connected--;
	}
	pthread_mutex_unlock(&c->send);
}

static void leave(struct home_link *l)
{
	struct home_server *s = l->server;
	COR_LOCK(&s->lock);

	cor_stream_shutdown(l->stream);
	unlink_from_client(l);
	if (--l->threads)
		return;
	cor_stream_close(l->stream);
	pthread_mutex_destroy(&l->receive);
	free(l);
	s->links--;
	pthread_cond_broadcast(&s->changed);
}

static void *serve(void *arg)
{
	struct home_link *l = arg;
	struct home_request q;
	size_t room = 4096;
	char *buf = malloc(room);

	while (buf && receive(l, &q, &buf, &room) == 0)
		if (q.op)
			carry_out(l, &q, buf, q.length - sizeof(q));
	free(buf);
	leave(l);
	return NULL;
}

int home_server_connect(struct home_server *s, struct cor_stream *stream, struct cor_error *err)
{
	struct home_link *l = calloc(1, sizeof(*l));
	pthread_attr_t attr;
	pthread_t t;
	int r = 0;

	if (!l) {
		cor_stream_close(stream);
		return cor_fail(err, -ENOMEM, "out of memory");
	}
	l->server = s;
	l->stream = stream;
	pthread_mutex_init(&l->receive, NULL);
	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	pthread_attr_setstacksize(&attr, STACK_SIZE);
	pthread_mutex_lock(&s->lock);
	s->links++;
	l->threads = 1;         /* ours, until all are made */
	for (unsigned i = 0; i < THREADS && r == 0; i++) {
		r = pthread_create(&t, &attr, serve, l);
		l->threads += r == 0;
	}
	pthread_mutex_unlock(&s->lock);
	pthread_attr_destroy(&attr);
	r = r ? cor_fail_code(err, -r, "threads for a connection") : 0;
	if (r < 0) {
		leave(l);
		return r;
	}
	pthread_mutex_lock(&s->lock);
	l->threads--;
	pthread_mutex_unlock(&s->lock);
	return 0;
}

/* ---- the whole ------------------------------------------------------------------------------ */

int home_server_new(struct home_server **out, int root, int proc, struct cor_error *err)
{
	struct home_server *s = calloc(1, sizeof(*s));
	struct home_node *n;
	int r;

	if (!s) {
		close(root);
		close(proc);
		return cor_fail(err, -ENOMEM, "out of memory");
	}
	pthread_mutex_init(&s->lock, NULL);
	pthread_mutex_init(&s->watching, NULL);
	pthread_cond_init(&s->changed, NULL);
	s->inotify = s->stop = -1;
	s->root = root;
	s->proc = proc;
	s->proc_path = access("/proc/self/fd", X_OK) == 0 ? "/proc/self/fd/" : "";
	s->next_node = HOME_ROOT;
	s->next_handle = 1;
	s->uid = geteuid();
	s->gid = getegid();
	r = home_watch_start(s, err);
	if (r == 0) {
		int copy = fcntl(root, F_DUPFD_CLOEXEC, 0);

		r = copy < 0 ? -errno : 0;
		n = copy < 0 ? NULL : home_node_of(s, copy, &r);
		if (!n)         /* the first reference is the server's */
			cor_fail_code(err, r, "the root of the tree");
	}
	if (r < 0) {
		home_server_free(s);
		return r;
	}
	*out = s;
	return 0;
}

static void end_clients(struct home_server *s)
{
	struct home_client *c;

	DL_FOREACH(s->clients, c) {
		pthread_mutex_lock(&c->send);
		if (c->link)
			cor_stream_shutdown(c->link->stream);
		pthread_mutex_unlock(&c->send);
	}
}

void home_server_free(struct home_server *s)
{
	struct home_client *c, *next;
	struct home_handle *h, *next_handle;
	struct home_node *n, *next_node;

	DL_FOREACH(s->clients, c)
		home_cancel(c, 0);
	home_watch_stop(s);
	pthread_mutex_lock(&s->lock);
	end_clients(s);
	while (s->links || s->waiters)
		pthread_cond_wait(&s->changed, &s->lock);
	DL_FOREACH_SAFE(s->clients, c, next) {
		if (!c->ended)
			home_client_clear(c);
		DL_DELETE(s->clients, c);
		home_known_forget(c, UINT64_MAX);
		pthread_mutex_destroy(&c->send);
		free(c);
	}
	home_owners_clear(s, &s->task);
	HASH_ITER(hh, s->handles, h, next_handle)
		home_handle_shut(s, h);
	HASH_ITER(by_id, s->by_id, n, next_node) {
		n->refs = 1;
		home_node_drop(s, n);
	}
	pthread_mutex_unlock(&s->lock);
	close(s->root);
	close(s->proc);
	pthread_cond_destroy(&s->changed);
	pthread_mutex_destroy(&s->watching);
	pthread_mutex_destroy(&s->lock);
	free(s);
}

int home_server_adopt(struct home_server *s, int fd, uint64_t *handle)
{
	int path = home_reopen(s, fd, O_PATH), r = 0;
	struct home_handle *h;
	struct home_node *n = path < 0 ? NULL : home_node_of(s, path, &r);

	if (!n) {
		close(fd);
		return path < 0 ? path : r;
	}
	h = home_handle_new(s, NULL, n, fd, &r);
	home_node_put(s, n);
	if (!h)
		return r;
	*handle = h->id;
	return 0;
}

void home_server_unpin(struct home_server *s)
{
	struct home_handle *h, *next;
	COR_LOCK(&s->lock);

	HASH_ITER(hh, s->handles, h, next)
		if (!h->client)
			home_handle_shut(s, h);
}

int home_server_handle_fd(struct home_server *s, uint64_t handle)
{
	struct home_handle *h = home_handle_get(s, handle);
	int fd = h ? fcntl(h->fd, F_DUPFD_CLOEXEC, 0) : -EBADF;

	if (h && fd < 0)
		fd = -errno;
	home_handle_put(s, h);
	return fd;
}

void home_server_stats(struct home_server *s, struct home_server_stats *out)
{
	COR_LOCK(&s->lock);
	*out = s->stats;
	out->nodes = HASH_CNT(by_id, s->by_id);
	out->handles = HASH_COUNT(s->handles);
}

void home_server_await(struct home_server *s, int timeout_ms)
{
	struct timespec until;
	COR_LOCK(&s->lock);

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += timeout_ms / 1000;
	until.tv_nsec += (long)(timeout_ms % 1000) * 1000000l;
	if (until.tv_nsec >= 1000000000l) {
		until.tv_nsec -= 1000000000l;
		until.tv_sec++;
	}
	pthread_cond_timedwait(&s->changed, &s->lock, &until);
}
