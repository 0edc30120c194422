/* Locks on the home's files, for tasks that are elsewhere: taking them, and waiting. Whose they
 * are is home/owners.c's; flock(2) goes to the handle's own open file. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <time.h>
#include <utlist.h>

#include "libcor/base/cleanup.h"
#include "libcor/base/io.h"
#include "libcor/names/home/private.h"

#define NUDGE_NS 20000000l      /* a signal that comes before the call is lost: again */

/* ---- waiting ---------------------------------------------------------------------------- */

/* A call with a thread of its own, which answers. */
struct waiting {
	struct home_call call;
	struct home_request request;
	struct home_waiter *waiter;
	struct home_owner  *owner;      /* SETLK */
	struct home_handle *handle;     /* FLOCK */
	struct home_node   *node;
	struct flock range;
	int how;                        /* FLOCK: LOCK_* */
};

static int try_lock(struct waiting *w, bool wait)
{
	int r;

	if (w->owner)
		r = fcntl(w->owner->locker->fd, wait ? F_OFD_SETLKW : F_OFD_SETLK, &w->range);
	else
		r = flock(w->handle->fd, w->how | (wait ? 0 : LOCK_NB));
	return r < 0 ? -errno : 0;
}

/* What others did while they had the lock is told before the lock is. */
static int locked(struct home_call *c, struct home_node *n)
{
	home_watch_drain(c->server);
	home_look_again(c->server, n, -1);
	return home_give_attr(c, n, -1);
}

static void end_waiting(struct waiting *w)
{
	struct home_server *s = w->call.server;
	struct home_client *c = w->call.client;

	if (w->owner)
		home_owner_put(c, w->owner);
	home_handle_put(s, w->handle);
	home_node_put(s, w->node);
	pthread_mutex_lock(&s->lock);
	DL_DELETE(c->waiters, w->waiter);
	s->waiters--;
	pthread_cond_broadcast(&s->changed);
	pthread_mutex_unlock(&s->lock);
	free(w->waiter);
	free(w);
}

static bool cancelled(struct waiting *w)
{
	COR_LOCK(&w->call.server->lock);
	return w->waiter->cancelled;
}

static void *wait_for_lock(void *arg)
{
	struct waiting *w = arg;
	sigset_t set;
	int r;

	sigemptyset(&set);
	sigaddset(&set, SIGUSR2);
	pthread_sigmask(SIG_UNBLOCK, &set, NULL);
	home_become(w->call.server, w->request.uid, w->request.gid);
	do
		r = cancelled(w) ? -EINTR : try_lock(w, true);
	while (r == -EINTR && !cancelled(w));
	pthread_mutex_lock(&w->call.server->lock);
	w->waiter->done = true;
	pthread_mutex_unlock(&w->call.server->lock);
	if (r == 0)
		r = locked(&w->call, w->node);
	w->call.reply.status = r;
	home_answer(&w->call);
	free(w->call.out);
	end_waiting(w);
	return NULL;
}

static void on_nudge(int sig)
{
}

/* lock held: the thread leaves its call, if it is in it already or soon. */
static void nudge(struct home_server *s, struct home_waiter *waiter)
{
	waiter->cancelled = true;
	if (!waiter->done)
		pthread_kill(waiter->thread, SIGUSR2);
}

void home_cancel(struct home_client *c, uint64_t wait)
{
	struct home_server *s = c->server;
	struct home_waiter *w;
	bool told = false;
	COR_LOCK(&s->lock);

	for (;;) {
		struct timespec until;

		DL_FOREACH(c->waiters, w)
			if ((!wait || w->wait == wait) && !w->done)
				break;
		if (!w && wait && !told)
			c->early[c->nearly++ % ARRAY_SIZE(c->early)] = wait;
		if (!w)
			return;
		told = true;
		nudge(s, w);
		clock_gettime(CLOCK_REALTIME, &until);
		until.tv_nsec += NUDGE_NS;
		if (until.tv_nsec >= 1000000000l) {
			until.tv_nsec -= 1000000000l;
			until.tv_sec++;
		}
		pthread_cond_timedwait(&s->changed, &s->lock, &until);
	}
}

/* The lock is somebody else's: waits in a thread. Takes what is in w over. */
static int wait_elsewhere(struct home_call *c, struct waiting *w)
{
	struct sigaction nudge_action = { .sa_handler = on_nudge };
	struct home_server *s = c->server;
	pthread_attr_t attr;
	sigset_t set, old;
	int r;

	w->waiter = calloc(1, sizeof(*w->waiter));
	if (!w->waiter)
		return -ENOMEM;
	w->call = *c;
	w->request = *c->q;
	w->call.q = &w->request;
	w->call.body = NULL;
	w->waiter->wait = c->q->arg[2];
	sigaction(SIGUSR2, &nudge_action, NULL);
	sigemptyset(&set);
	sigaddset(&set, SIGUSR2);
	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	pthread_mutex_lock(&s->lock);
	/* its first moments are not to be disturbed: it looks whether it was cancelled */
	pthread_sigmask(SIG_BLOCK, &set, &old);
	for (unsigned i = 0; i < ARRAY_SIZE(c->client->early); i++)
		if (c->client->early[i] == w->waiter->wait && w->waiter->wait)
			w->waiter->cancelled = true;
	DL_APPEND(c->client->waiters, w->waiter);
	s->waiters++;
	r = pthread_create(&w->waiter->thread, &attr, wait_for_lock, w);
	if (r) {
		DL_DELETE(c->client->waiters, w->waiter);
		s->waiters--;
		free(w->waiter);
	}
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	pthread_mutex_unlock(&s->lock);
	pthread_attr_destroy(&attr);
	c->later = r == 0;
	return -r;
}

static int take(struct home_call *c, struct home_node *n, struct waiting *w, bool wait)
{
	int r = try_lock(w, false);

	if ((r == -EAGAIN || r == -EACCES) && wait) {
		pthread_mutex_lock(&c->server->lock);
		n->refs++;
		if (w->handle)
			w->handle->refs++;
		pthread_mutex_unlock(&c->server->lock);
		w->node = n;
		r = wait_elsewhere(c, w);
		if (r == 0)
			return 0;
		home_node_put(c->server, n);
		home_handle_put(c->server, w->handle);
	} else if (r == 0) {
		r = locked(c, n);
	}
	if (w->owner)
		home_owner_put(c->client, w->owner);
	free(w);
	return r;
}

/* ---- requests --------------------------------------------------------------------------- */

int home_lock_range(const struct home_lock *l, struct flock *out)
{
	if ((l->type != F_RDLCK && l->type != F_WRLCK && l->type != F_UNLCK) ||
	    l->start > INT64_MAX || l->length > INT64_MAX)
		return -EINVAL;
	*out = (struct flock){
		.l_type = (short)l->type, .l_whence = SEEK_SET, .l_start = (off_t)l->start,
		.l_len = (off_t)l->length,
	};
	return 0;
}

static int read_lock(const struct home_call *c, struct flock *out)
{
	struct home_lock l;

	if (c->len != sizeof(l))
		return -EPROTO;
	memcpy(&l, c->body, sizeof(l));
	return home_lock_range(&l, out);
}

int home_op_setlk(struct home_call *c, struct home_node *n, struct home_handle *h)
{
	struct waiting *w = calloc(1, sizeof(*w));
	int r = w ? read_lock(c, &w->range) : -ENOMEM;

	if (r == 0)
		w->owner = home_owner_get(c->client, n, h, c->q->arg[0], &r);
	if (r < 0) {
		free(w);
		return r;
	}
	return take(c, n, w, c->q->arg[1] && w->range.l_type != F_UNLCK);
}

int home_op_flock(struct home_call *c, struct home_node *n, struct home_handle *h)
{
	struct waiting *w = calloc(1, sizeof(*w));

	if (!w)
		return -ENOMEM;
	w->handle = h;
	w->how = (int)c->q->arg[0] & (LOCK_SH | LOCK_EX | LOCK_UN);
	return take(c, n, w, c->q->arg[1]);
}

int home_op_getlk(struct home_call *c, struct home_node *n, struct home_handle *h)
{
	struct home_lock *out;
	struct home_owner *o;
	struct flock range;
	int r = read_lock(c, &range);

	if (r < 0)
		return r;
	o = home_owner_get(c->client, n, h, c->q->arg[0], &r);
	if (!o)
		return r;
	r = fcntl(o->locker->fd, F_OFD_GETLK, &range) < 0 ? -errno : 0;
	home_owner_put(c->client, o);
	out = r == 0 ? home_give(c, sizeof(*out)) : NULL;
	if (!out)
		return r < 0 ? r : -ENOMEM;
	*out = (struct home_lock){
		.start = (uint64_t)range.l_start, .length = (uint64_t)range.l_len,
		.type = range.l_type, .pid = range.l_pid > 0 ? range.l_pid : 0,
	};
	return 0;
}

int home_op_flush(struct home_call *c, struct home_node *n, struct home_handle *h)
{
	home_owner_release(c->client, n->id, c->q->arg[0]);
	return 0;
}

/* ---- what is held, for the next move ------------------------------------------------------ */

/* "lock:	1: OFDLCK ADVISORY WRITE 12 08:01:33 0 EOF" */
static bool parse(const char *line, enum home_lock_kind kind, struct home_lock *out)
{
	char class[8], mode[12], last[24];
	unsigned long long start;

	if (sscanf(line, "lock: %*d: %7s %*s %11s %*d %*s %llu %23s", class, mode, &start,
		   last) != 4)
		return false;
	*out = (struct home_lock){
		.type = strcmp(mode, "WRITE") == 0 ? F_WRLCK : F_RDLCK,
		.kind = kind,
		.start = start,
	};
	out->length = strcmp(last, "EOF") == 0 ? 0 : strtoull(last, NULL, 10) - start + 1;
	return true;
}

/* Appends the locks of an open file to the answer. */
static int add_locks(struct home_call *c, int fd, enum home_lock_kind kind)
{
	_cleanup_free_ char *text = NULL;
	char path[48], *line, *rest;
	int r;

	/* beside the directory of descriptors */
	snprintf(path, sizeof(path), "../fdinfo/%d", fd);
	r = cor_slurp(c->server->proc, path, &text, NULL);
	if (r < 0)
		return r;
	for (line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
		struct home_lock lock;
		void *more;

		if (strncmp(line, "lock:", 5) != 0 || !parse(line, kind, &lock) ||
		    c->out_len + sizeof(lock) > 65536)
			continue;
		more = realloc(c->out, c->out_len + sizeof(lock));
		if (!more)
			return -ENOMEM;
		c->out = more;
		memcpy((char *)c->out + c->out_len, &lock, sizeof(lock));
		c->out_len += sizeof(lock);
	}
	return 0;
}

int home_op_locks(struct home_call *c, struct home_node *n, struct home_handle *h)
{
	struct home_owner *o, *next;
	int r = home_give_attr(c, n, h ? h->fd : -1);

	if (r == 0 && h)
		r = add_locks(c, h->fd, HOME_LOCK_OWN);
	COR_LOCK(&c->server->lock);
	HASH_ITER(hh, c->client->owners, o, next)
		if (o->key.node == n->id && r == 0)
			r = add_locks(c, o->locker->fd, HOME_LOCK_POSIX);
	return r;
}
