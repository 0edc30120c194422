/* Whose locks are whose. The POSIX locks of one owner on one node are those of an open file
 * description of their own (F_OFD_SETLK): POSIX locks proper would be the server's, all
 * owners' alike, and end with the first close of any descriptor of the file. Both kinds
 * exclude each other, so processes on the home see them.
 *
 * A task that moves takes its locks along, and nobody may come in between: its view of the
 * file is as old as its locks. So they are not given up and taken again. Where it leaves, its
 * owner is said to be passing (HOME_PASS, or the line's where the task was on the home until
 * then); the first who locks the node from another client then, which is the task's rebuild
 * there, gets that very description, and both have it until one of them ends. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <utlist.h>

#include "libcor/base/cleanup.h"
#include "libcor/base/io.h"
#include "libcor/names/home/private.h"

static const struct flock all_unlocked = { .l_type = F_UNLCK, .l_whence = SEEK_SET };

static struct home_owner *find(struct home_owner *table, uint64_t node, uint64_t owner)
{
	struct home_owner *o, key = { .key = { node, owner } };

	HASH_FIND(hh, table, &key.key, sizeof(key.key), o);
	return o;
}

/* lock held */
static void drop(struct home_owner *o)
{
	if (--o->refs)
		return;
	if (--o->locker->refs == 0) {
		close(o->locker->fd);
		free(o->locker);
	}
	free(o);
}

void home_owner_put(struct home_client *c, struct home_owner *o)
{
	COR_LOCK(&c->server->lock);
	drop(o);
}

/* With the locks of another owner, or with what fd (taken, on failure too) is to hold. The caller
 * has the reference. NULL: out of memory. */
static struct home_owner *make(uint64_t node, uint64_t owner, struct home_locker *l, int fd)
{
	struct home_owner *o = calloc(1, sizeof(*o));

	if (!l) {
		l = calloc(1, sizeof(*l));
		if (!o || !l) {
			free(l);
			free(o);
			close(fd);
			return NULL;
		}
		l->fd = fd;
	}
	if (!o)
		return NULL;
	o->key.node = node;
	o->key.owner = owner;
	o->refs = 1;
	o->locker = l;
	l->refs++;
	return o;
}

/* lock held */
static void add(struct home_owner **table, struct home_owner *o)
{
	o->refs++;
	o->locker->holders++;
	HASH_ADD(hh, *table, key, sizeof(o->key), o);
}

static void set_passing(struct home_server *s, struct home_owner *o, bool on)
{
	if (o->passing != on)
		s->passing += on ? 1u : -1u;
	o->passing = on;
	o->passed = false;
}

/* All that is left of them has passed on, and is a lost client's, which cannot say so. */
static bool are_left(const struct home_server *s, const struct home_locker *l)
{
	const struct home_client *c;
	struct home_owner *o, *next;
	unsigned n = 0;

	DL_FOREACH(s->clients, c)
		HASH_ITER(hh, c->owners, o, next)
			n += o->locker == l && o->passed && !c->link;
	return n == l->holders;
}

/* lock held */
static void end(struct home_server *s, struct home_owner **table, struct home_owner *o)
{
	HASH_DELETE(hh, *table, o);
	set_passing(s, o, false);
	o->locker->holders--;
	/* one that waits keeps it open still */
	if (are_left(s, o->locker))
		fcntl(o->locker->fd, F_OFD_SETLK, &all_unlocked);
	drop(o);
}

void home_owners_clear(struct home_server *s, struct home_owner **table)
{
	struct home_owner *o, *next;

	HASH_ITER(hh, *table, o, next)
		end(s, table, o);
}

void home_owner_release(struct home_client *c, uint64_t node, uint64_t owner)
{
	struct home_owner *o;
	COR_LOCK(&c->server->lock);

	o = find(c->owners, node, owner);
	if (o)
		end(c->server, &c->owners, o);
}

/* ---- on the way ------------------------------------------------------------------------ */

static struct home_owner *passing_in(struct home_owner *table, uint64_t node, bool passed)
{
	struct home_owner *o, *next;

	HASH_ITER(hh, table, o, next)
		if (o->key.node == node && o->passing &&
		    (o->passed <= passed || o->locker->holders == 1))
			return o;
	return NULL;
}

/* The one on its way to c (NULL: to the home itself, and it may be again), or NULL; lock held */
static struct home_owner *find_passing(struct home_server *s, const struct home_client *c,
				       uint64_t node)
{
	struct home_owner *o = s->passing ? passing_in(s->task, node, !c) : NULL;
	struct home_client *other;

	if (!s->passing || o)
		return o;
	DL_FOREACH(s->clients, other) {
		o = other == c ? NULL : passing_in(other->owners, node, !c);
		if (o)
			return o;
	}
	return NULL;
}

/* The task stays where it was: whoever got its locks has them no more. lock held */
static void take_back(struct home_server *s, const struct home_owner *from)
{
	struct home_client *other;
	struct home_owner *o, *next;

	DL_FOREACH(s->clients, other)
		HASH_ITER(hh, other->owners, o, next)
			if (o != from && o->locker == from->locker)
				end(s, &other->owners, o);
}

/* There are owners that only asked, or hold nothing any more. */
static bool holds_any(struct home_server *s, const struct home_owner *o)
{
	_cleanup_free_ char *text = NULL;
	char path[48];

	/* beside the directory of descriptors */
	snprintf(path, sizeof(path), "../fdinfo/%d", o->locker->fd);
	return cor_slurp(s->proc, path, &text, NULL) < 0 || strstr(text, "\nlock:");
}

int home_op_pass(struct home_call *c, struct home_node *n, struct home_handle *h)
{
	struct home_server *s = c->server;
	struct home_owner *o, *next;
	COR_LOCK(&s->lock);

	HASH_ITER(hh, c->client->owners, o, next) {
		if (o->key.node != n->id)
			continue;
		if (c->q->arg[0] == HOME_PASS_STAYS)
			take_back(s, o);
		if (c->q->arg[0] != HOME_PASS_GONE)
			set_passing(s, o, c->q->arg[0] == HOME_PASS_GOING && holds_any(s, o));
		else if (o->passing)
			end(s, &c->client->owners, o);
	}
	return 0;
}

int home_server_pass(struct home_server *s, uint64_t handle, int fd)
{
	struct home_handle *h = home_handle_get(s, handle);
	struct home_owner *o;
	int r = 0;

	if (!h) {
		close(fd);
		return -EBADF;
	}
	o = make(h->node->id, 0, NULL, fd);
	if (o) {
		COR_LOCK(&s->lock);

		if (find(s->task, o->key.node, 0)) {
			r = -EEXIST;
		} else {
			add(&s->task, o);
			set_passing(s, o, true);
		}
		drop(o);
	}
	home_handle_put(s, h);
	return o ? r : -ENOMEM;
}

void home_server_passed(struct home_server *s)
{
	COR_LOCK(&s->lock);
	home_owners_clear(s, &s->task);
}

int home_server_pass_lock(struct home_server *s, uint64_t handle, const struct home_lock *lock)
{
	struct home_handle *h = home_handle_get(s, handle);
	struct flock range;
	int r = h ? home_lock_range(lock, &range) : -EBADF;

	if (r == 0) {
		struct home_owner *o;
		COR_LOCK(&s->lock);

		o = find_passing(s, NULL, h->node->id);
		r = !o ? -ENOENT : fcntl(o->locker->fd, F_OFD_SETLK, &range) < 0 ? -errno : 0;
		if (o)
			o->passed = true;
	}
	home_handle_put(s, h);
	return r;
}

/* ---- by number ------------------------------------------------------------------------- */

/* An open file of its own, for whatever the task may do with the file; where it could
 * not be opened again, the handle's. */
static int open_for_locks(const struct home_server *s, const struct home_node *n,
			  const struct home_handle *h)
{
	static const int modes[] = { O_RDWR, O_RDONLY, O_WRONLY };
	int fd = -EACCES;

	for (unsigned i = 0; i < ARRAY_SIZE(modes) && fd < 0; i++)
		fd = home_reopen(s, n->fd, modes[i] | O_NONBLOCK);
	if (fd < 0 && h) {
		fd = fcntl(h->fd, F_DUPFD_CLOEXEC, 0);
		return fd < 0 ? -errno : fd;
	}
	return fd;
}

/* One that is there, or that is on its way to here; with a reference. lock held */
static struct home_owner *known(struct home_client *c, uint64_t node, uint64_t owner)
{
	struct home_owner *o = find(c->owners, node, owner), *from;

	if (o) {
		o->refs++;
		return o;
	}
	from = find_passing(c->server, c, node);
	o = from ? make(node, owner, from->locker, -1) : NULL;
	if (o) {
		add(&c->owners, o);
		from->passed = true;
	}
	return o;
}

struct home_owner *home_owner_get(struct home_client *c, const struct home_node *n,
				  const struct home_handle *h, uint64_t owner, int *code)
{
	struct home_owner *o, *mine;
	int fd;

	pthread_mutex_lock(&c->server->lock);
	o = known(c, n->id, owner);
	pthread_mutex_unlock(&c->server->lock);
	if (o)
		return o;
	fd = open_for_locks(c->server, n, h);
	mine = fd < 0 ? NULL : make(n->id, owner, NULL, fd);
	if (!mine) {
		*code = fd < 0 ? fd : -ENOMEM;
		return NULL;
	}
	COR_LOCK(&c->server->lock);
	o = known(c, n->id, owner);
	if (!o) {
		add(&c->owners, mine);
		return mine;
	}
	drop(mine);
	return o;
}
