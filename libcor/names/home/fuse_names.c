/* The kernel's requests about names and attributes, passed on to the home. */
#include <errno.h>
#include <linux/xattr.h>
#include <stdlib.h>
#include <string.h>

#include "libcor/base/cleanup.h"
#include "libcor/names/home/fuse_parts.h"

static struct home_request request(fuse_req_t req, enum home_op op, uint64_t node)
{
	const struct fuse_ctx *c = fuse_req_ctx(req);

	return (struct home_request){ .op = op, .node = node, .uid = c->uid, .gid = c->gid };
}

static struct iovec text(const char *s)
{
	return (struct iovec){ (void *)s, strlen(s) + 1 };
}

/* ---- entries ----------------------------------------------------------------------- */

static void on_entry(void *arg, const struct home_reply *reply, const char *body, size_t len,
		     int status)
{
	struct fuse_entry_param e = { 0 };
	struct home_asked *a = arg;
	struct home_attr attr;
	bool watched;

	if (home_asked_failed(a, reply, status) < 0)
		return;
	watched = home_fuse_watched(a->f, a->node);
	if (!home_take_attr(body, len, &attr)) {
		fuse_reply_err(a->req, EIO);
	} else if (!attr.node) {
		e.entry_timeout = watched ? HOME_KEPT_S : 0;
		fuse_reply_entry(a->req, &e);
	} else {
		home_fuse_seen(a->f, &attr, a->node, a->name);
		e.ino = attr.node;
		home_fuse_stat(&attr, &e.attr);
		e.attr_timeout = home_fuse_kept(&attr);
		e.entry_timeout = watched ? HOME_KEPT_S : HOME_BRIEF_S;
		fuse_reply_entry(a->req, &e);
	}
	home_asked_free(a);
}

/* One with a name in a directory, that gives an entry; more: a second part of the body. */
static void ask_entry(fuse_req_t req, struct home_request *q, const char *name, const char *more)
{
	struct home_asked *a = home_ask_new(req, q->node, name);
	struct iovec body[2] = { text(name) };

	if (!a)
		return;
	if (more)
		body[1] = text(more);
	home_ask(a, q, body, more ? 2 : 1, on_entry);
}

static void do_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct home_request q = request(req, HOME_LOOKUP, parent);

	if (!home_fuse_expected_name(home_fuse_of(req), req, parent, name))
		ask_entry(req, &q, name, NULL);
}

static void do_mknod(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, dev_t rdev)
{
	struct home_request q = request(req, HOME_MKNOD, parent);

	q.arg[0] = mode;
	q.arg[1] = rdev;
	ask_entry(req, &q, name, NULL);
}

static void do_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode)
{
	struct home_request q = request(req, HOME_MKDIR, parent);

	q.arg[0] = mode;
	ask_entry(req, &q, name, NULL);
}

static void do_symlink(fuse_req_t req, const char *target, fuse_ino_t parent, const char *name)
{
	struct home_request q = request(req, HOME_SYMLINK, parent);

	ask_entry(req, &q, name, target);
}

static void do_link(fuse_req_t req, fuse_ino_t ino, fuse_ino_t parent, const char *name)
{
	struct home_request q = request(req, HOME_LINK, ino);
	struct home_asked *a = home_ask_new(req, parent, name);
	struct iovec body = text(name);

	q.arg[0] = parent;
	if (a)
		home_ask(a, &q, &body, 1, on_entry);
}

/* ---- names that go --------------------------------------------------------------------- */

static void ask_nothing(fuse_req_t req, struct home_request *q, const struct iovec *body, unsigned n)
{
	struct home_asked *a = home_ask_new(req, q->node, NULL);

	if (a)
		home_ask(a, q, body, n, home_answer_nothing);
}

static void do_unlink(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct home_request q = request(req, HOME_UNLINK, parent);
	struct iovec body = text(name);

	ask_nothing(req, &q, &body, 1);
}

static void do_rmdir(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct home_request q = request(req, HOME_RMDIR, parent);
	struct iovec body = text(name);

	ask_nothing(req, &q, &body, 1);
}

static void do_rename(fuse_req_t req, fuse_ino_t parent, const char *name, fuse_ino_t newparent,
		      const char *newname, unsigned flags)
{
	struct home_request q = request(req, HOME_RENAME, parent);
	struct iovec body[2] = { text(name), text(newname) };

	q.arg[0] = newparent;
	q.arg[1] = flags;
	ask_nothing(req, &q, body, 2);
}

static void do_forget_multi(fuse_req_t req, size_t count, struct fuse_forget_data *list)
{
	struct home_fuse *f = home_fuse_of(req);
	struct home_request q = { .op = HOME_FORGET };
	_cleanup_free_ struct home_forget *body = calloc(count + 1, sizeof(*body));
	struct home_fnode *n;
	struct iovec part = { body, count * sizeof(*body) };

	fuse_reply_none(req);
	if (!body)
		return;
	pthread_mutex_lock(&f->lock);
	for (size_t i = 0; i < count; i++) {
		uint64_t id = list[i].ino;

		body[i] = (struct home_forget){ id, list[i].nlookup };
		HASH_FIND(hh, f->nodes, &id, sizeof(id), n);
		if (!n)
			continue;
		n->lookups -= COR_MIN(n->lookups, list[i].nlookup);
		if (n->lookups)
			continue;
		HASH_DELETE(hh, f->nodes, n);
		free(n->name);
		free(n);
	}
	pthread_mutex_unlock(&f->lock);
	home_remote_send(f->remote, &q, &part, 1, NULL, NULL);
}

static void do_forget(fuse_req_t req, fuse_ino_t ino, uint64_t nlookup)
{
	struct fuse_forget_data one = { .ino = ino, .nlookup = nlookup };

	do_forget_multi(req, 1, &one);
}

/* ---- attributes ------------------------------------------------------------------------- */

static void on_attr(void *arg, const struct home_reply *reply, const char *body, size_t len,
		    int status)
{
	struct home_asked *a = arg;
	struct home_attr attr;
	struct stat st;

	if (home_asked_failed(a, reply, status) < 0)
		return;
	if (home_take_attr(body, len, &attr)) {
		home_fuse_stat(&attr, &st);
		fuse_reply_attr(a->req, &st, home_fuse_kept(&attr));
	} else {
		fuse_reply_err(a->req, EIO);
	}
	home_asked_free(a);
}

static void do_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct home_request q = request(req, HOME_GETATTR, ino);
	struct home_asked *a = home_ask_new(req, ino, NULL);

	q.handle = fi ? fi->fh : 0;
	if (a)
		home_ask(a, &q, NULL, 0, on_attr);
}

static void do_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *st, int what,
		       struct fuse_file_info *fi)
{
	static const struct { int theirs; uint32_t ours; } bits[] = {
		{ FUSE_SET_ATTR_MODE, HOME_SET_MODE }, { FUSE_SET_ATTR_UID, HOME_SET_UID },
		{ FUSE_SET_ATTR_GID, HOME_SET_GID }, { FUSE_SET_ATTR_SIZE, HOME_SET_SIZE },
		{ FUSE_SET_ATTR_ATIME, HOME_SET_ATIME }, { FUSE_SET_ATTR_MTIME, HOME_SET_MTIME },
		{ FUSE_SET_ATTR_ATIME_NOW, HOME_SET_ATIME_NOW },
		{ FUSE_SET_ATTR_MTIME_NOW, HOME_SET_MTIME_NOW },
	};
	struct home_request q = request(req, HOME_SETATTR, ino);
	struct home_asked *a = home_ask_new(req, ino, NULL);
	struct home_setattr s = {
		.mode = st->st_mode, .uid = st->st_uid, .gid = st->st_gid,
		.size = (uint64_t)st->st_size,
		.atime = st->st_atim.tv_sec, .atime_ns = (uint32_t)st->st_atim.tv_nsec,
		.mtime = st->st_mtim.tv_sec, .mtime_ns = (uint32_t)st->st_mtim.tv_nsec,
	};
	struct iovec body = { &s, sizeof(s) };

	for (unsigned i = 0; i < ARRAY_SIZE(bits); i++)
		if (what & bits[i].theirs)
			s.what |= bits[i].ours;
	q.handle = fi ? fi->fh : 0;
	if (a)
		home_ask(a, &q, &body, 1, on_attr);
}

static void on_text(void *arg, const struct home_reply *reply, const char *body, size_t len,
		    int status)
{
	struct home_asked *a = arg;

	if (home_asked_failed(a, reply, status) < 0)
		return;
	if (memchr(body, 0, len))
		fuse_reply_err(a->req, EIO);
	else
		fuse_reply_readlink(a->req, body);      /* a NUL follows */
	home_asked_free(a);
}

static void do_readlink(fuse_req_t req, fuse_ino_t ino)
{
	struct home_request q = request(req, HOME_READLINK, ino);
	struct home_asked *a = home_ask_new(req, ino, NULL);

	if (a)
		home_ask(a, &q, NULL, 0, on_text);
}

static void on_statfs(void *arg, const struct home_reply *reply, const char *body, size_t len,
		      int status)
{
	struct home_asked *a = arg;
	struct home_statfs s;

	if (home_asked_failed(a, reply, status) < 0)
		return;
	if (len != sizeof(s)) {
		fuse_reply_err(a->req, EIO);
	} else {
		struct statvfs out = { 0 };

		memcpy(&s, body, sizeof(s));
		out.f_bsize = s.bsize;
		out.f_frsize = s.frsize;
		out.f_blocks = s.blocks;
		out.f_bfree = s.bfree;
		out.f_bavail = s.bavail;
		out.f_files = s.files;
		out.f_ffree = s.ffree;
		out.f_favail = s.favail;
		out.f_namemax = s.namemax;
		fuse_reply_statfs(a->req, &out);
	}
	home_asked_free(a);
}

static void do_statfs(fuse_req_t req, fuse_ino_t ino)
{
	struct home_request q = request(req, HOME_STATFS, ino);
	struct home_asked *a = home_ask_new(req, ino, NULL);

	if (a)
		home_ask(a, &q, NULL, 0, on_statfs);
}

/* ---- extended attributes ----------------------------------------------------------------- */

static void on_xattr(void *arg, const struct home_reply *reply, const char *body, size_t len,
		     int status)
{
	struct home_asked *a = arg;

	if (home_asked_failed(a, reply, status) < 0)
		return;
	if (a->size)
		fuse_reply_buf(a->req, body, len);
	else
		fuse_reply_xattr(a->req, reply->arg[0]);
	home_asked_free(a);
}

static void ask_xattr(fuse_req_t req, struct home_request *q, const char *name, size_t size)
{
	struct home_asked *a = home_ask_new(req, q->node, NULL);
	struct iovec body;

	if (!a)
		return;
	if (name)
		body = text(name);
	a->size = size;
	q->arg[0] = size;
	home_ask(a, q, &body, name ? 1 : 0, on_xattr);
}

/* security.* is about the rights of who executes a file here, and asked before every
 * write: what the home says of it does not count here. */
static bool not_here(const char *name)
{
	return strncmp(name, XATTR_SECURITY_PREFIX, XATTR_SECURITY_PREFIX_LEN) == 0;
}

static void do_getxattr(fuse_req_t req, fuse_ino_t ino, const char *name, size_t size)
{
	struct home_request q = request(req, HOME_GETXATTR, ino);

	if (not_here(name))
		fuse_reply_err(req, ENODATA);
	else
		ask_xattr(req, &q, name, size);
}

static void do_listxattr(fuse_req_t req, fuse_ino_t ino, size_t size)
{
	struct home_request q = request(req, HOME_LISTXATTR, ino);

	ask_xattr(req, &q, NULL, size);
}

static void do_setxattr(fuse_req_t req, fuse_ino_t ino, const char *name, const char *value,
			size_t size, int flags)
{
	struct home_request q = request(req, HOME_SETXATTR, ino);
	struct iovec body[2] = { text(name), { (void *)value, size } };

	q.arg[0] = (uint64_t)flags;
	if (not_here(name))
		fuse_reply_err(req, EOPNOTSUPP);
	else
		ask_nothing(req, &q, body, 2);
}

static void do_removexattr(fuse_req_t req, fuse_ino_t ino, const char *name)
{
	struct home_request q = request(req, HOME_REMOVEXATTR, ino);
	struct iovec body = text(name);

	ask_nothing(req, &q, &body, 1);
}

void home_fuse_names(struct fuse_lowlevel_ops *ops)
{
	ops->lookup = do_lookup;
	ops->forget = do_forget;
	ops->forget_multi = do_forget_multi;
	ops->getattr = do_getattr;
	ops->setattr = do_setattr;
	ops->readlink = do_readlink;
	ops->mknod = do_mknod;
	ops->mkdir = do_mkdir;
	ops->symlink = do_symlink;
	ops->link = do_link;
	ops->unlink = do_unlink;
	ops->rmdir = do_rmdir;
	ops->rename = do_rename;
	ops->statfs = do_statfs;
	ops->getxattr = do_getxattr;
	ops->listxattr = do_listxattr;
	ops->setxattr = do_setxattr;
	ops->removexattr = do_removexattr;
}
