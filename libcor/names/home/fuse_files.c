/* The kernel's requests about open files, passed on to the home. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>

#include "libcor/base/cleanup.h"
#include "libcor/names/home/fuse_parts.h"

static struct home_request request(fuse_req_t req, enum home_op op, uint64_t node,
				   const struct fuse_file_info *fi)
{
	const struct fuse_ctx *c = fuse_req_ctx(req);

	return (struct home_request){
		.op = op, .node = node, .handle = fi ? fi->fh : 0, .uid = c->uid, .gid = c->gid,
	};
}

/* ---- opening ------------------------------------------------------------------------- */

/* A handle that nobody is going to use. */
static void give_back(struct home_fuse *f, uint64_t node, uint64_t handle)
{
	struct home_request q = { .op = HOME_RELEASE, .node = node, .handle = handle };

	home_remote_send(f->remote, &q, NULL, 0, NULL, NULL);
}

static void on_open(void *arg, const struct home_reply *reply, const char *body, size_t len,
		    int status)
{
	struct home_asked *a = arg;
	struct home_attr attr;

	if (home_asked_failed(a, reply, status) < 0)
		return;
	if (!home_take_attr(body, len, &attr)) {
		fuse_reply_err(a->req, EIO);
	} else {
		a->fi.fh = reply->arg[0];
		home_fuse_fill_open(a->f, &attr, &a->fi);
		if (fuse_reply_open(a->req, &a->fi) == -ENOENT)
			give_back(a->f, attr.node, a->fi.fh);   /* interrupted meanwhile */
	}
	home_asked_free(a);
}

static void open_node(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi, int extra)
{
	struct home_request q = request(req, HOME_OPEN, ino, NULL);
	struct home_asked *a;
	int r = home_fuse_expected_open(home_fuse_of(req), req, ino, fi);

	if (r > 0)
		return;
	if (r < 0) {
		fuse_reply_err(req, -r);
		return;
	}
	a = home_ask_new(req, ino, NULL);
	if (!a)
		return;
	a->fi = *fi;
	q.arg[0] = (uint64_t)(fi->flags | extra);
	home_ask(a, &q, NULL, 0, on_open);
}

static void do_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	open_node(req, ino, fi, 0);
}

static void do_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	open_node(req, ino, fi, O_DIRECTORY);
}

static void on_create(void *arg, const struct home_reply *reply, const char *body, size_t len,
		      int status)
{
	struct fuse_entry_param e = { 0 };
	struct home_asked *a = arg;
	struct home_attr attr;

	if (home_asked_failed(a, reply, status) < 0)
		return;
	if (!home_take_attr(body, len, &attr)) {
		fuse_reply_err(a->req, EIO);
	} else {
		home_fuse_seen(a->f, &attr, a->node, a->name);
		e.ino = attr.node;
		home_fuse_stat(&attr, &e.attr);
		e.attr_timeout = home_fuse_kept(&attr);
		e.entry_timeout = home_fuse_watched(a->f, a->node) ? HOME_KEPT_S : HOME_BRIEF_S;
		a->fi.fh = reply->arg[0];
		home_fuse_fill_open(a->f, &attr, &a->fi);
		if (fuse_reply_create(a->req, &e, &a->fi) == -ENOENT)
			give_back(a->f, attr.node, a->fi.fh);
	}
	home_asked_free(a);
}

static void do_create(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode,
		      struct fuse_file_info *fi)
{
	struct home_request q = request(req, HOME_CREATE, parent, NULL);
	struct home_asked *a = home_ask_new(req, parent, name);
	struct iovec body = { (void *)name, strlen(name) + 1 };

	if (!a)
		return;
	a->fi = *fi;
	q.arg[0] = (uint64_t)fi->flags;
	q.arg[1] = mode;
	home_ask(a, &q, &body, 1, on_create);
}

static void do_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct home_request q = request(req, HOME_RELEASE, ino, fi);
	struct home_fuse *f = home_fuse_of(req);

	/* nobody waits for it */
	home_remote_send(f->remote, &q, NULL, 0, NULL, NULL);
	fuse_reply_err(req, 0);
}

/* ---- reading and writing ----------------------------------------------------------------- */

static void on_bytes(void *arg, const struct home_reply *reply, const char *body, size_t len,
		     int status)
{
	struct home_asked *a = arg;

	if (home_asked_failed(a, reply, status) < 0)
		return;
	fuse_reply_buf(a->req, body, COR_MIN(len, a->size));
	home_asked_free(a);
}

static void do_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
		    struct fuse_file_info *fi)
{
	struct home_request q = request(req, HOME_READ, ino, fi);
	struct home_asked *a = home_ask_new(req, ino, NULL);

	if (!a)
		return;
	a->size = size;
	q.arg[0] = (uint64_t)off;
	q.arg[1] = size;
	home_ask(a, &q, NULL, 0, on_bytes);
}

static void on_written(void *arg, const struct home_reply *reply, const char *body, size_t len,
		       int status)
{
	struct home_asked *a = arg;

	if (home_asked_failed(a, reply, status) < 0)
		return;
	fuse_reply_write(a->req, reply->arg[0]);
	home_asked_free(a);
}

static void do_write(fuse_req_t req, fuse_ino_t ino, const char *buf, size_t size, off_t off,
		     struct fuse_file_info *fi)
{
	struct home_request q = request(req, HOME_WRITE, ino, fi);
	struct home_asked *a = home_ask_new(req, ino, NULL);
	struct iovec body = { (void *)buf, size };

	q.arg[0] = (uint64_t)off;
	if (a)
		home_ask(a, &q, &body, 1, on_written);
}

static void ask_nothing(fuse_req_t req, struct home_request *q)
{
	struct home_asked *a = home_ask_new(req, q->node, NULL);

	if (a)
		home_ask(a, q, NULL, 0, home_answer_nothing);
}

static void do_flush(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct home_request q = request(req, HOME_FLUSH, ino, fi);

	/* nothing is kept back here: only locks have to end */
	q.arg[0] = fi->lock_owner;
	if (home_fuse_was_locked(home_fuse_of(req), ino))
		ask_nothing(req, &q);
	else
		fuse_reply_err(req, 0);
}

static void do_fsync(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi)
{
	struct home_request q = request(req, HOME_FSYNC, ino, fi);

	q.arg[0] = (uint64_t)datasync;
	ask_nothing(req, &q);
}

static void do_fallocate(fuse_req_t req, fuse_ino_t ino, int mode, off_t off, off_t len,
			 struct fuse_file_info *fi)
{
	struct home_request q = request(req, HOME_FALLOCATE, ino, fi);

	q.arg[0] = (uint64_t)mode;
	q.arg[1] = (uint64_t)off;
	q.arg[2] = (uint64_t)len;
	ask_nothing(req, &q);
}

static void on_lseek(void *arg, const struct home_reply *reply, const char *body, size_t len,
		     int status)
{
	struct home_asked *a = arg;

	if (home_asked_failed(a, reply, status) < 0)
		return;
	fuse_reply_lseek(a->req, (off_t)reply->arg[0]);
	home_asked_free(a);
}

static void do_lseek(fuse_req_t req, fuse_ino_t ino, off_t off, int whence,
		     struct fuse_file_info *fi)
{
	struct home_request q = request(req, HOME_LSEEK, ino, fi);
	struct home_asked *a = home_ask_new(req, ino, NULL);

	q.arg[0] = (uint64_t)off;
	q.arg[1] = (uint64_t)whence;
	if (a)
		home_ask(a, &q, NULL, 0, on_lseek);
}

/* ---- directories --------------------------------------------------------------------------- */

static void on_entries(void *arg, const struct home_reply *reply, const char *body, size_t len,
		       int status)
{
	struct home_asked *a = arg;
	_cleanup_free_ char *out = NULL;
	size_t used = 0;

	if (home_asked_failed(a, reply, status) < 0)
		return;
	out = malloc(a->size ? a->size : 1);
	for (size_t at = 0; out && at + sizeof(struct home_dirent) <= len; ) {
		struct home_dirent d;
		char name[HOME_NAME_MAX + 1];
		struct stat st = { 0 };
		size_t need;

		memcpy(&d, body + at, sizeof(d));
		at += sizeof(d);
		if (d.length > HOME_NAME_MAX || d.length > len - at)
			break;
		memcpy(name, body + at, d.length);
		name[d.length] = 0;
		at += d.length;
		st.st_ino = d.ino;
		st.st_mode = (mode_t)d.type << 12;
		need = fuse_add_direntry(a->req, out + used, a->size - used, name, &st,
					 (off_t)d.off);
		if (need > a->size - used)
			break;
		used += need;
	}
	if (out)
		fuse_reply_buf(a->req, out, used);
	else
		fuse_reply_err(a->req, ENOMEM);
	home_asked_free(a);
}

static void do_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
		       struct fuse_file_info *fi)
{
	struct home_request q = request(req, HOME_READDIR, ino, fi);
	struct home_asked *a = home_ask_new(req, ino, NULL);

	if (!a)
		return;
	a->size = size;
	q.arg[0] = (uint64_t)off;
	/* an entry is somewhat longer here than on the way */
	q.arg[1] = size * 3 / 4;
	home_ask(a, &q, NULL, 0, on_entries);
}

/* ---- locks ------------------------------------------------------------------------------- */

static struct home_lock lock_of(const struct flock *l)
{
	return (struct home_lock){
		.start = (uint64_t)l->l_start, .length = (uint64_t)l->l_len, .type = l->l_type,
	};
}

static void on_getlk(void *arg, const struct home_reply *reply, const char *body, size_t len,
		     int status)
{
	struct home_asked *a = arg;
	struct home_lock l;

	if (home_asked_failed(a, reply, status) < 0)
		return;
	if (len != sizeof(l)) {
		fuse_reply_err(a->req, EIO);
	} else {
		struct flock out = { .l_whence = SEEK_SET };

		memcpy(&l, body, sizeof(l));
		out.l_type = (short)l.type;
		out.l_start = (off_t)l.start;
		out.l_len = (off_t)l.length;
		out.l_pid = l.pid;
		fuse_reply_lock(a->req, &out);
	}
	home_asked_free(a);
}

static void do_getlk(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi, struct flock *lock)
{
	struct home_request q = request(req, HOME_GETLK, ino, fi);
	struct home_asked *a = home_ask_new(req, ino, NULL);
	struct home_lock l = lock_of(lock);
	struct iovec body = { &l, sizeof(l) };

	q.arg[0] = fi->lock_owner;
	if (a)
		home_ask(a, &q, &body, 1, on_getlk);
}

/* What others had changed before has been told already, and is acted on first. */
static void on_locked(void *arg, const struct home_reply *reply, const char *body, size_t len,
		      int status)
{
	struct home_asked *a = arg;

	fuse_req_interrupt_func(a->req, NULL, NULL);
	if (home_asked_failed(a, reply, status) < 0)
		return;
	home_fuse_work(a->f, WORK_REPLY, 0, 0, NULL, a->req, 0);
	home_asked_free(a);
}

static void cancel(fuse_req_t req, void *arg)
{
	struct home_fuse *f = home_fuse_of(req);
	struct home_request q = { .op = HOME_CANCEL, .arg = { (uint64_t)(uintptr_t)arg } };

	home_remote_send(f->remote, &q, NULL, 0, NULL, NULL);
}

/* An interrupt names the wait by a number of its own, chosen here: it may come before
 * the request is on its way. */
static void ask_lock(fuse_req_t req, struct home_request *q, const struct iovec *body, bool wait)
{
	struct home_fuse *f = home_fuse_of(req);
	struct home_asked *a = home_ask_new(req, q->node, NULL);

	if (!a)
		return;
	home_fuse_set_locked(f, q->node);
	q->arg[1] = wait;
	q->arg[2] = __atomic_add_fetch(&f->last_wait, 1, __ATOMIC_RELAXED);
	if (wait)
		fuse_req_interrupt_func(req, cancel, (void *)(uintptr_t)q->arg[2]);
	home_ask(a, q, body, body ? 1 : 0, on_locked);
}

static void do_setlk(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi, struct flock *lock,
		     int sleep)
{
	struct home_request q = request(req, HOME_SETLK, ino, fi);
	struct home_lock l = lock_of(lock);
	struct iovec body = { &l, sizeof(l) };

	q.arg[0] = fi->lock_owner;
	ask_lock(req, &q, &body, sleep);
}

static void do_flock(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi, int op)
{
	struct home_request q = request(req, HOME_FLOCK, ino, fi);

	q.arg[0] = (uint64_t)(op & ~LOCK_NB);
	ask_lock(req, &q, NULL, !(op & LOCK_NB) && !(op & LOCK_UN));
}

void home_fuse_files(struct fuse_lowlevel_ops *ops)
{
	ops->open = do_open;
	ops->create = do_create;
	ops->opendir = do_opendir;
	ops->release = do_release;
	ops->releasedir = do_release;
	ops->read = do_read;
	ops->write = do_write;
	ops->flush = do_flush;
	ops->fsync = do_fsync;
	ops->fsyncdir = do_fsync;
	ops->fallocate = do_fallocate;
	ops->lseek = do_lseek;
	ops->readdir = do_readdir;
	ops->getlk = do_getlk;
	ops->setlk = do_setlk;
	ops->flock = do_flock;
}
