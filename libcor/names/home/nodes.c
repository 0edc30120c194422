/* Nodes and handles of the file server, and who has how many of them. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "libcor/base/cleanup.h"
#include "libcor/names/home/private.h"

#define FILE_EVENTS (IN_MODIFY | IN_ATTRIB)
#define DIR_EVENTS  (IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO | IN_ATTRIB | IN_ONLYDIR)

struct inode_key { dev_t dev; ino_t ino; };
static_assert(offsetof(struct home_node, ino) == offsetof(struct home_node, dev) + sizeof(dev_t),
	      "device and inode are one key");

int home_reopen(const struct home_server *s, int fd, int flags)
{
	char name[16];
	int got;

	snprintf(name, sizeof(name), "%d", fd);
	got = openat(s->proc, name, flags | O_CLOEXEC | O_NOCTTY);
	return got < 0 ? -errno : got;
}

/* ---- nodes -------------------------------------------------------------------- */

/* lock held */
static void watch(struct home_server *s, struct home_node *n)
{
	struct home_node *other;
	struct stat st;
	char path[64];

	/* only these tell; reading a link or a device is never kept for long */
	if (fstat(n->fd, &st) < 0 || (!S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode)))
		return;
	snprintf(path, sizeof(path), "%s%d", s->proc_path, n->fd);
	n->wd = inotify_add_watch(s->inotify, path, S_ISDIR(st.st_mode) ? DIR_EVENTS : FILE_EVENTS);
	if (n->wd < 0)          /* no room for more, or not to be read: told by asking again */
		return;
	HASH_FIND(by_wd, s->by_wd, &n->wd, sizeof(n->wd), other);
	if (other)              /* the same inode behind two devices (overlayfs): watched once */
		n->wd = -1;
	else
		HASH_ADD(by_wd, s->by_wd, wd, sizeof(n->wd), n);
}

/* lock held */
static void unwatch(struct home_server *s, struct home_node *n)
{
	if (n->wd < 0)
		return;
	HASH_DELETE(by_wd, s->by_wd, n);
	inotify_rm_watch(s->inotify, n->wd);
	n->wd = -1;
}

static struct home_node *add_node(struct home_server *s, int fd, const struct stat *st)
{
	struct home_node *n = calloc(1, sizeof(*n));

	if (!n)
		return NULL;
	n->id = s->next_node++;
	n->fd = fd;
	n->dev = st->st_dev;
	n->ino = st->st_ino;
	n->wd = -1;
	n->version = 1;
	HASH_ADD(by_id, s->by_id, id, sizeof(n->id), n);
	HASH_ADD(by_inode, s->by_inode, dev, sizeof(struct inode_key), n);
	watch(s, n);
	return n;
}

struct home_node *home_node_of(struct home_server *s, int fd, int *code)
{
	struct home_node *n = NULL;
	struct inode_key key;
	struct stat st;

	if (fstat(fd, &st) < 0) {
		*code = -errno;
		close(fd);
		return NULL;
	}
	memset(&key, 0, sizeof(key));
	key.dev = st.st_dev;
	key.ino = st.st_ino;
	COR_LOCK(&s->lock);
	HASH_FIND(by_inode, s->by_inode, &key, sizeof(key), n);
	if (n)
		close(fd);
	else
		n = add_node(s, fd, &st);
	if (!n) {
		close(fd);
		*code = -ENOMEM;
		return NULL;
	}
	n->refs++;
	return n;
}

struct home_node *home_node_get(struct home_server *s, uint64_t id)
{
	struct home_node *n;

	COR_LOCK(&s->lock);
	HASH_FIND(by_id, s->by_id, &id, sizeof(id), n);
	if (n)
		n->refs++;
	return n;
}

void home_node_drop(struct home_server *s, struct home_node *n)
{
	if (--n->refs)
		return;
	unwatch(s, n);
	HASH_DELETE(by_id, s->by_id, n);
	HASH_DELETE(by_inode, s->by_inode, n);
	close(n->fd);
	free(n);
}

void home_node_put(struct home_server *s, struct home_node *n)
{
	if (!n)
		return;
	COR_LOCK(&s->lock);
	home_node_drop(s, n);
}

/* ---- a client's references ------------------------------------------------------- */

int home_ref_add(struct home_client *c, struct home_node *n)
{
	struct home_ref *r;

	COR_LOCK(&c->server->lock);
	HASH_FIND(hh, c->refs, &n->id, sizeof(n->id), r);
	if (!r) {
		r = calloc(1, sizeof(*r));
		if (!r)
			return -ENOMEM;
		r->node = n->id;
		HASH_ADD(hh, c->refs, node, sizeof(r->node), r);
		n->refs++;      /* one for all of the client's */
	}
	r->count++;
	return 0;
}

void home_ref_forget(struct home_client *c, uint64_t node, uint64_t count)
{
	struct home_server *s = c->server;
	struct home_node *n;
	struct home_ref *r;

	COR_LOCK(&s->lock);
	HASH_FIND(hh, c->refs, &node, sizeof(node), r);
	if (!r)
		return;
	r->count -= COR_MIN(count, r->count);
	if (r->count)
		return;
	HASH_DELETE(hh, c->refs, r);
	free(r);
	HASH_FIND(by_id, s->by_id, &node, sizeof(node), n);
	if (n)
		home_node_drop(s, n);
}

/* ---- attributes -------------------------------------------------------------------- */

void home_attr_fill(const struct stat *st, struct home_attr *out)
{
	*out = (struct home_attr){
		.dev = st->st_dev, .ino = st->st_ino, .size = (uint64_t)st->st_size,
		.blocks = (uint64_t)st->st_blocks, .rdev = st->st_rdev,
		.atime = st->st_atim.tv_sec, .atime_ns = (uint32_t)st->st_atim.tv_nsec,
		.mtime = st->st_mtim.tv_sec, .mtime_ns = (uint32_t)st->st_mtim.tv_nsec,
		.ctime = st->st_ctim.tv_sec, .ctime_ns = (uint32_t)st->st_ctim.tv_nsec,
		.mode = st->st_mode, .nlink = (uint32_t)st->st_nlink,
		.uid = st->st_uid, .gid = st->st_gid, .blksize = (uint32_t)st->st_blksize,
	};
}

static bool same_time(const struct timespec *a, const struct timespec *b)
{
	return a->tv_sec == b->tv_sec && a->tv_nsec == b->tv_nsec;
}

static void see(struct home_node *n, const struct stat *st)
{
	n->seen = (struct home_seen){ st->st_mtim, st->st_ctim, st->st_size };
	n->seen_any = true;
}

/* lock held: what has changed since a client was told last. */
static enum home_notice compare(const struct home_node *n, const struct stat *st)
{
	if (!n->seen_any)
		return 0;
	if (!same_time(&n->seen.mtime, &st->st_mtim) || n->seen.size != st->st_size)
		return HOME_CHANGED;
	return same_time(&n->seen.ctime, &st->st_ctim) ? 0 : HOME_TOUCHED;
}

static int stat_node(const struct home_node *n, int fd, struct stat *st)
{
	return fstat(fd >= 0 ? fd : n->fd, st) < 0 ? -errno : 0;
}

int home_attr_of(struct home_server *s, struct home_node *n, int fd, struct home_attr *out)
{
	struct stat st;
	int r = stat_node(n, fd, &st);

	if (r < 0)
		return r;
	home_attr_fill(&st, out);
	out->node = n->id;
	COR_LOCK(&s->lock);
	/* inotify's word, which comes later, would find nothing new */
	if (!n->changing && compare(n, &st) == HOME_CHANGED) {
		n->version++;
		home_tell(s, NULL, HOME_CHANGED, n->id, NULL);
	}
	see(n, &st);
	out->version = n->version;
	if (n->wd >= 0)
		out->flags |= HOME_ATTR_WATCHED;
	return 0;
}

int home_give_attr(struct home_call *c, struct home_node *n, int fd)
{
	struct home_attr *a = home_give(c, sizeof(*a));

	return a ? home_attr_of(c->server, n, fd, a) : -ENOMEM;
}

int home_give_node(struct home_call *c, struct home_node *n)
{
	int r = home_give_attr(c, n, -1);

	return r < 0 ? r : home_ref_add(c->client, n);
}

void home_change_begin(struct home_call *c, struct home_node *n, int fd)
{
	home_look_again(c->server, n, fd);
	COR_LOCK(&c->server->lock);
	n->changing++;
}

void home_change_end(struct home_call *c, struct home_node *n, int fd)
{
	struct stat st;
	int r = stat_node(n, fd, &st);
	COR_LOCK(&c->server->lock);

	n->changing--;
	if (r == 0)
		see(n, &st);
	/* a task that is about to move has two clients: where it is, and where it goes */
	if (home_tell(c->server, c->client, HOME_CHANGED, n->id, NULL))
		n->version++;
}

void home_look_again(struct home_server *s, struct home_node *n, int fd)
{
	enum home_notice what;
	struct stat st;

	if (stat_node(n, fd, &st) < 0)
		return;
	COR_LOCK(&s->lock);
	what = n->changing ? 0 : compare(n, &st);
	if (!what)
		return;
	see(n, &st);
	if (what == HOME_CHANGED)
		n->version++;
	home_tell(s, NULL, what, n->id, NULL);
}

/* ---- handles ------------------------------------------------------------------------ */

struct home_handle *home_handle_new(struct home_server *s, struct home_client *c,
				    struct home_node *n, int fd, int *code)
{
	struct home_handle *h = calloc(1, sizeof(*h));

	if (!h) {
		close(fd);
		*code = -ENOMEM;
		return NULL;
	}
	COR_LOCK(&s->lock);
	h->id = s->next_handle++;
	h->fd = fd;
	h->node = n;
	h->client = c;
	h->refs = 1;
	h->open = true;
	n->refs++;
	n->opened++;
	HASH_ADD(hh, s->handles, id, sizeof(h->id), h);
	return h;
}

struct home_handle *home_handle_get(struct home_server *s, uint64_t id)
{
	struct home_handle *h;

	COR_LOCK(&s->lock);
	HASH_FIND(hh, s->handles, &id, sizeof(id), h);
	if (h)
		h->refs++;
	return h;
}

static void drop_handle(struct home_server *s, struct home_handle *h)
{
	if (--h->refs)
		return;
	close(h->fd);
	h->node->opened--;
	home_node_drop(s, h->node);
	free(h);
}

void home_handle_shut(struct home_server *s, struct home_handle *h)
{
	if (!h->open)
		return;
	h->open = false;
	HASH_DELETE(hh, s->handles, h);
	drop_handle(s, h);
}

void home_handle_put(struct home_server *s, struct home_handle *h)
{
	if (!h)
		return;
	COR_LOCK(&s->lock);
	drop_handle(s, h);
}
