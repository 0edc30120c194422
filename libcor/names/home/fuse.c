/* The file system's life, what it tells the kernel by itself, and its ioctl(2). */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <utlist.h>

#include "libcor/base/cleanup.h"
#include "libcor/base/error.h"
#include "libcor/names/home/fuse_private.h"

#define READERS 2       /* threads that take requests from the kernel */

struct home_fuse *home_fuse_of(fuse_req_t req)
{
	return fuse_req_userdata(req);
}

/* ---- requests -------------------------------------------------------------------- */

struct home_asked *home_ask_new(fuse_req_t req, uint64_t node, const char *name)
{
	size_t len = name ? strlen(name) + 1 : 0;
	struct home_asked *a = malloc(sizeof(*a) + len);

	if (!a) {
		fuse_reply_err(req, ENOMEM);
		return NULL;
	}
	*a = (struct home_asked){ .f = home_fuse_of(req), .req = req, .node = node };
	if (len)
		memcpy(a->name, name, len);
	return a;
}

void home_asked_free(struct home_asked *a)
{
	free(a);
}

void home_ask(struct home_asked *a, struct home_request *q, const struct iovec *body, unsigned n,
	      home_answer_fn *done)
{
	home_remote_send(a->f->remote, q, body, n, done, a);
}

int home_asked_failed(struct home_asked *a, const struct home_reply *reply, int status)
{
	if (reply)
		status = reply->status;
	if (status >= 0)
		return 0;
	fuse_reply_err(a->req, -status);
	home_asked_free(a);
	return status;
}

void home_answer_nothing(void *arg, const struct home_reply *reply, const char *body, size_t len,
			 int status)
{
	struct home_asked *a = arg;

	if (home_asked_failed(a, reply, status) < 0)
		return;
	fuse_reply_err(a->req, 0);
	home_asked_free(a);
}

/* ---- what the kernel knows ------------------------------------------------------------- */

/* Inode numbers are the home's: programs compare them with what they saw there. (That
 * several file systems of the home are one here they do not see.) */
void home_fuse_stat(const struct home_attr *a, struct stat *st)
{
	*st = (struct stat){
		.st_ino = a->ino, .st_mode = a->mode, .st_nlink = a->nlink,
		.st_uid = a->uid, .st_gid = a->gid, .st_rdev = a->rdev, .st_size = (off_t)a->size,
		.st_blocks = (blkcnt_t)a->blocks, .st_blksize = a->blksize,
		.st_atim = { a->atime, a->atime_ns }, .st_mtim = { a->mtime, a->mtime_ns },
		.st_ctim = { a->ctime, a->ctime_ns },
	};
}

double home_fuse_kept(const struct home_attr *a)
{
	return a->flags & HOME_ATTR_WATCHED ? HOME_KEPT_S : HOME_BRIEF_S;
}

/* lock held */
static struct home_fnode *find(struct home_fuse *f, uint64_t id)
{
	struct home_fnode *n;

	HASH_FIND(hh, f->nodes, &id, sizeof(id), n);
	return n;
}

void home_fuse_seen(struct home_fuse *f, const struct home_attr *a, uint64_t parent,
		    const char *name)
{
	struct home_fnode *n;
	COR_LOCK(&f->lock);

	n = find(f, a->node);
	if (!n) {
		n = calloc(1, sizeof(*n));
		if (!n)
			return;
		n->id = a->node;
		n->version = a->version;
		HASH_ADD(hh, f->nodes, id, sizeof(n->id), n);
	}
	n->lookups++;
	n->watched = a->flags & HOME_ATTR_WATCHED;
	n->parent = parent;
	if (!n->name || strcmp(n->name, name)) {
		free(n->name);
		n->name = strdup(name);
	}
}

bool home_fuse_watched(struct home_fuse *f, uint64_t node)
{
	struct home_fnode *n;
	COR_LOCK(&f->lock);

	n = find(f, node);
	return n && n->watched;
}

bool home_fuse_current(struct home_fuse *f, const struct home_attr *a)
{
	struct home_fnode *n;
	bool same;
	COR_LOCK(&f->lock);

	n = find(f, a->node);
	if (!n)
		return false;
	same = n->version == a->version;
	n->version = a->version;
	return same;
}

void home_fuse_set_locked(struct home_fuse *f, uint64_t node)
{
	struct home_fnode *n;
	COR_LOCK(&f->lock);

	n = find(f, node);
	if (n)
		n->locked = true;
}

bool home_fuse_was_locked(struct home_fuse *f, uint64_t node)
{
	struct home_fnode *n;
	COR_LOCK(&f->lock);

	n = find(f, node);
	return !n || n->locked;
}

/* lock held: does node's path, as far as it is known, end where path begins? */
static bool path_is(struct home_fuse *f, uint64_t node, const char *path, size_t len)
{
	while (node != HOME_ROOT) {
		struct home_fnode *n = find(f, node);
		size_t name = n && n->name ? strlen(n->name) : 0;

		if (!name || len < name + 1 || path[len - name - 1] != '/' ||
		    memcmp(path + len - name, n->name, name))
			return false;
		len -= name + 1;
		node = n->parent;
	}
	return len == 0;
}

/* ---- telling the kernel -------------------------------------------------------------------- */

void home_fuse_work(struct home_fuse *f, enum home_work_kind kind, uint64_t node, uint64_t child,
		    const char *name, fuse_req_t req, int error)
{
	size_t len = name ? strlen(name) + 1 : 0;
	struct home_work *w = malloc(sizeof(*w) + len);

	if (!w) {
		if (req)
			fuse_reply_err(req, ENOMEM);
		return;
	}
	*w = (struct home_work){
		.kind = kind, .node = node, .child = child, .req = req, .error = error,
	};
	if (len)
		memcpy(w->name, name, len);
	COR_LOCK(&f->lock);
	DL_APPEND(f->work, w);
	pthread_cond_signal(&f->more);
}

/* Nothing that is kept is sure. */
static void doubt_all(struct home_fuse *f)
{
	_cleanup_free_ uint64_t *ids = NULL;
	struct home_fnode *n, *next;
	unsigned k = 0;

	pthread_mutex_lock(&f->lock);
	ids = calloc(HASH_COUNT(f->nodes) + 1, sizeof(*ids));
	HASH_ITER(hh, f->nodes, n, next) {
		n->version = 0;
		if (ids)
			ids[k++] = n->id;
	}
	pthread_mutex_unlock(&f->lock);
	for (unsigned i = 0; ids && i < k; i++)
		fuse_lowlevel_notify_inval_inode(f->session, ids[i], 0, 0);
}

static void expire(struct home_fuse *f, uint64_t dir, const char *name)
{
	if (f->expire)
		fuse_lowlevel_notify_expire_entry(f->session, dir, name, strlen(name),
						  FUSE_LL_EXPIRE_ONLY);
	else
		fuse_lowlevel_notify_inval_entry(f->session, dir, name, strlen(name));
	fuse_lowlevel_notify_inval_inode(f->session, dir, -1, 0);
}

static void do_work(struct home_fuse *f, const struct home_work *w)
{
	switch (w->kind) {
	case WORK_CHANGED:
		if (w->node)
			fuse_lowlevel_notify_inval_inode(f->session, w->node, 0, 0);
		else
			doubt_all(f);
		break;
	case WORK_TOUCHED:
		fuse_lowlevel_notify_inval_inode(f->session, w->node, -1, 0);
		break;
	case WORK_RENAMED:
		if (w->node)
			expire(f, w->node, w->name);
		break;
	case WORK_DELETED:
		fuse_lowlevel_notify_delete(f->session, w->node, w->child, w->name,
					    strlen(w->name));
		break;
	case WORK_REPLY:
		fuse_reply_err(w->req, w->error);
		break;
	case WORK_REPLY_IOCTL:
		fuse_reply_ioctl(w->req, w->error, NULL, 0);
		break;
	}
}

static void *work(void *arg)
{
	struct home_fuse *f = arg;
	struct home_work *w;

	pthread_mutex_lock(&f->lock);
	while (!f->ending || f->work) {
		w = f->work;
		if (!w) {
			pthread_cond_wait(&f->more, &f->lock);
			continue;
		}
		DL_DELETE(f->work, w);
		pthread_mutex_unlock(&f->lock);
		do_work(f, w);
		free(w);
		pthread_mutex_lock(&f->lock);
	}
	pthread_mutex_unlock(&f->lock);
	return NULL;
}

static void on_notice(void *arg, enum home_notice what, uint64_t node, const char *name)
{
	struct home_fuse *f = arg;

	switch (what) {
	case HOME_CHANGED:
		home_fuse_work(f, WORK_CHANGED, node, 0, NULL, NULL, 0);
		break;
	case HOME_TOUCHED:
		home_fuse_work(f, WORK_TOUCHED, node, 0, NULL, NULL, 0);
		break;
	case HOME_RENAMED:
		home_fuse_work(f, WORK_RENAMED, node, 0, name ? name : "", NULL, 0);
		break;
	}
}

/* ---- files that are expected ------------------------------------------------------------------ */

bool home_fuse_expected_name(struct home_fuse *f, fuse_req_t req, uint64_t parent,
			     const char *name)
{
	struct fuse_entry_param e = { 0 };
	struct home_attr attr;
	const char *slash;

	pthread_mutex_lock(&f->lock);
	slash = f->expect.pending ? strrchr(f->expect.path, '/') : NULL;
	if (!slash || f->expect.found || strcmp(slash + 1, name) ||
	    !path_is(f, parent, f->expect.path, (size_t)(slash - f->expect.path))) {
		pthread_mutex_unlock(&f->lock);
		return false;
	}
	f->expect.found = true;
	attr = f->expect.attr;
	pthread_mutex_unlock(&f->lock);
	home_fuse_seen(f, &attr, parent, name);
	e.ino = attr.node;
	home_fuse_stat(&attr, &e.attr);
	/* where the name leads by itself is found out the next time */
	e.attr_timeout = home_fuse_kept(&attr);
	fuse_reply_entry(req, &e);
	return true;
}

/* The kernel had the node already, and will not forget the reference that ADOPT gave. */
static void forget_one(struct home_fuse *f, uint64_t node)
{
	struct home_request q = { .op = HOME_FORGET };
	struct home_forget one = { node, 1 };
	struct iovec body = { &one, sizeof(one) };

	home_remote_send(f->remote, &q, &body, 1, NULL, NULL);
}

int home_fuse_expected_open(struct home_fuse *f, fuse_req_t req, uint64_t node,
			    struct fuse_file_info *fi)
{
	struct home_attr attr;
	char name[256] = "";
	uint64_t parent = 0;
	bool found;

	pthread_mutex_lock(&f->lock);
	if (!f->expect.pending || (node != f->expect.attr.node && !f->expect.found)) {
		int r = f->expect.pending ? -ESTALE : 0;

		pthread_mutex_unlock(&f->lock);
		return r;
	}
	f->expect.pending = false;
	found = f->expect.found;
	attr = f->expect.attr;
	fi->fh = f->expect.handle;
	if (!attr.nlink && find(f, node)) {
		parent = find(f, node)->parent;
		snprintf(name, sizeof(name), "%s", find(f, node)->name ?: "");
	}
	pthread_mutex_unlock(&f->lock);
	if (!found)
		forget_one(f, node);
	home_fuse_fill_open(f, &attr, fi);
	fuse_reply_open(req, fi);
	/* it is shown as deleted, as it was at home */
	if (name[0])
		home_fuse_work(f, WORK_DELETED, parent, node, name, NULL, 0);
	return 1;
}

/* ---- ioctl(2) ------------------------------------------------------------------------------------ */

static void on_adopted(void *arg, const struct home_reply *reply, const char *body, size_t len,
		       int status)
{
	struct home_asked *a = arg;
	struct home_fuse *f = a->f;

	if (home_asked_failed(a, reply, status) < 0)
		return;
	if (len != sizeof(f->expect.attr)) {
		fuse_reply_err(a->req, EIO);
	} else {
		pthread_mutex_lock(&f->lock);
		memcpy(&f->expect.attr, body, len);
		f->expect.handle = reply->arg[0];
		snprintf(f->expect.path, sizeof(f->expect.path), "%s", a->name);
		f->expect.pending = true;
		f->expect.found = false;
		pthread_mutex_unlock(&f->lock);
		fuse_reply_ioctl(a->req, 0, NULL, 0);
	}
	home_asked_free(a);
}

static void do_expect(fuse_req_t req, const struct cor_home_expect *e)
{
	struct home_request q = { .op = HOME_ADOPT, .handle = e->handle };
	struct home_asked *a;

	if (e->path[0] != '/' || strnlen(e->path, sizeof(e->path)) == sizeof(e->path)) {
		fuse_reply_err(req, EINVAL);
		return;
	}
	a = home_ask_new(req, 0, e->path);
	if (a)
		home_ask(a, &q, NULL, 0, on_adopted);
}

static void on_synced(void *arg, const struct home_reply *reply, const char *body, size_t len,
		      int status)
{
	struct home_asked *a = arg;

	if (home_asked_failed(a, reply, status) < 0)
		return;
	home_fuse_work(a->f, WORK_REPLY_IOCTL, 0, 0, NULL, a->req, 0);
	home_asked_free(a);
}

static void do_sync(fuse_req_t req)
{
	struct home_request q = { .op = HOME_SYNC };
	struct home_asked *a = home_ask_new(req, 0, NULL);

	if (a)
		home_ask(a, &q, NULL, 0, on_synced);
}

static void do_info(fuse_req_t req)
{
	struct home_fuse *f = home_fuse_of(req);
	struct cor_home_info info = f->info;
	struct home_remote_stats s;

	home_remote_stats(f->remote, &s);
	info.requests = s.requests;
	info.received = s.received;
	info.sent = s.sent;
	info.reconnects = s.reconnects;
	info.connected = s.connected;
	fuse_reply_ioctl(req, 0, &info, sizeof(info));
}

static void on_file(void *arg, const struct home_reply *reply, const char *body, size_t len,
		    int status)
{
	struct home_asked *a = arg;
	struct cor_home_file out = { .handle = a->fi.fh };
	struct home_attr attr;
	size_t n = len < sizeof(attr) ? 0 : (len - sizeof(attr)) / sizeof(out.locks[0]);

	if (home_asked_failed(a, reply, status) < 0)
		return;
	if (len < sizeof(attr) || n > COR_HOME_LOCKS) {
		fuse_reply_err(a->req, len < sizeof(attr) ? EIO : E2BIG);
	} else {
		memcpy(&attr, body, sizeof(attr));
		memcpy(out.locks, body + sizeof(attr), n * sizeof(out.locks[0]));
		out.nlocks = (uint32_t)n;
		out.dev = attr.dev;
		out.ino = attr.ino;
		out.size = attr.size;
		out.mtime = attr.mtime;
		out.mtime_ns = attr.mtime_ns;
		out.nlink = attr.nlink;
		fuse_reply_ioctl(a->req, 0, &out, sizeof(out));
	}
	home_asked_free(a);
}

static void do_file(fuse_req_t req, uint64_t node, const struct fuse_file_info *fi)
{
	struct home_request q = { .op = HOME_LOCKS, .node = node, .handle = fi->fh };
	struct home_asked *a = home_ask_new(req, node, NULL);

	if (!a)
		return;
	a->fi.fh = fi->fh;
	home_ask(a, &q, NULL, 0, on_file);
}

static void do_ioctl(fuse_req_t req, fuse_ino_t ino, unsigned int cmd, void *arg,
		     struct fuse_file_info *fi, unsigned flags, const void *in, size_t in_size,
		     size_t out_size)
{
	if (fuse_req_ctx(req)->uid != 0) {
		fuse_reply_err(req, ENOTTY);
		return;
	}
	switch (cmd) {
	case COR_HOME_INFO:
		do_info(req);
		break;
	case COR_HOME_FILE:
		do_file(req, ino, fi);
		break;
	case COR_HOME_EXPECT:
		if (in_size == sizeof(struct cor_home_expect))
			do_expect(req, in);
		else
			fuse_reply_err(req, EINVAL);
		break;
	case COR_HOME_SYNC:
		do_sync(req);
		break;
	default:
		fuse_reply_err(req, ENOTTY);
	}
}

/* ---- life ---------------------------------------------------------------------------------------- */

static void do_init(void *userdata, struct fuse_conn_info *conn)
{
	static const unsigned wanted = FUSE_CAP_ASYNC_READ | FUSE_CAP_POSIX_LOCKS |
		FUSE_CAP_FLOCK_LOCKS | FUSE_CAP_ATOMIC_O_TRUNC | FUSE_CAP_IOCTL_DIR |
		FUSE_CAP_PARALLEL_DIROPS | FUSE_CAP_CACHE_SYMLINKS | FUSE_CAP_EXPIRE_ONLY;
	struct home_fuse *f = userdata;

	/* the home tells what has changed: times and sizes are no hint */
	conn->want &= ~(unsigned)(FUSE_CAP_AUTO_INVAL_DATA | FUSE_CAP_READDIRPLUS |
				  FUSE_CAP_READDIRPLUS_AUTO | FUSE_CAP_WRITEBACK_CACHE |
				  FUSE_CAP_HANDLE_KILLPRIV | FUSE_CAP_SPLICE_READ |
				  FUSE_CAP_SPLICE_WRITE | FUSE_CAP_SPLICE_MOVE);
	conn->want |= conn->capable & wanted;
	conn->max_write = HOME_DATA_MAX;
	conn->max_readahead = 4 * HOME_DATA_MAX;
	conn->max_background = 64;
	conn->congestion_threshold = 48;
	f->expire = conn->want & FUSE_CAP_EXPIRE_ONLY;
}

static int connect_home(void *arg, struct cor_stream **out, struct cor_error *err)
{
	struct home_fuse *f = arg;

	return f->connect(f->connect_arg, out, err);
}

static const struct home_remote_ops remote_ops = { .connect = connect_home, .notice = on_notice };

/* What libfuse has to say is told by the calls' results. */
static void say_nothing(enum fuse_log_level level, const char *fmt, va_list ap)
{
}

/* libfuse is told of a descriptor as of a mount point. */
static int begin_session(struct home_fuse *f, struct cor_error *err)
{
	struct fuse_lowlevel_ops ops = { .init = do_init, .ioctl = do_ioctl };
	char *argv[] = { (char *)"cor-home", NULL };
	struct fuse_args args = FUSE_ARGS_INIT(1, argv);
	char place[32];

	fuse_set_log_func(say_nothing);
	home_fuse_names(&ops);
	home_fuse_files(&ops);
	f->session = fuse_session_new(&args, &ops, sizeof(ops), f);
	fuse_opt_free_args(&args);
	if (!f->session)
		return cor_fail(err, -ENOMEM, "the file system for the home's files cannot be made");
	snprintf(place, sizeof(place), "/dev/fd/%d", f->fd);
	if (fuse_session_mount(f->session, place) != 0)
		return cor_fail(err, -EINVAL, "the file system for the home's files does not take "
				"its descriptor");
	return 0;
}

int home_fuse_new(struct home_fuse **out, int fuse, const struct cor_home_info *info,
		  int (*connect)(void *arg, struct cor_stream **out, struct cor_error *err),
		  void *arg, unsigned reconnect_s, struct cor_error *err)
{
	struct home_fuse *f = calloc(1, sizeof(*f));
	struct home_fnode *root = calloc(1, sizeof(*root));
	struct home_attr attr;
	int r;

	if (!f || !root) {
		free(f);
		free(root);
		close(fuse);
		return cor_fail(err, -ENOMEM, "out of memory");
	}
	f->fd = fuse;
	f->info = *info;
	f->connect = connect;
	f->connect_arg = arg;
	pthread_mutex_init(&f->lock, NULL);
	pthread_cond_init(&f->more, NULL);
	root->id = HOME_ROOT;
	root->lookups = 1;
	HASH_ADD(hh, f->nodes, id, sizeof(root->id), root);
	r = begin_session(f, err);
	if (r == 0)
		r = home_remote_new(&f->remote, &remote_ops, f, reconnect_s, &attr, err);
	if (r == 0) {
		root->watched = attr.flags & HOME_ATTR_WATCHED;
		r = -pthread_create(&f->worker, NULL, work, f);
		f->have_worker = r == 0;
	}
	if (r < 0) {
		home_fuse_free(f);
		return r;
	}
	*out = f;
	return 0;
}

static void *read_requests(void *arg)
{
	struct home_fuse *f = arg;
	struct fuse_buf buf = { 0 };
	int r;

	while (!fuse_session_exited(f->session)) {
		r = fuse_session_receive_buf(f->session, &buf);
		if (r == -EINTR)
			continue;
		if (r <= 0)
			break;
		fuse_session_process_buf(f->session, &buf);
	}
	fuse_session_exit(f->session);
	free(buf.mem);
	return NULL;
}

int home_fuse_run(struct home_fuse *f)
{
	pthread_t threads[READERS - 1];
	unsigned n = 0;

	while (n < READERS - 1 && pthread_create(&threads[n], NULL, read_requests, f) == 0)
		n++;
	read_requests(f);
	while (n)
		pthread_join(threads[--n], NULL);
	return 0;
}

void home_fuse_stats(struct home_fuse *f, struct home_remote_stats *out)
{
	home_remote_stats(f->remote, out);
}

void home_fuse_free(struct home_fuse *f)
{
	struct home_fnode *n, *next;

	if (!f)
		return;
	home_remote_free(f->remote);
	if (f->have_worker) {
		pthread_mutex_lock(&f->lock);
		f->ending = true;
		pthread_cond_signal(&f->more);
		pthread_mutex_unlock(&f->lock);
		pthread_join(f->worker, NULL);
	}
	/* with it the descriptor */
	if (f->session)
		fuse_session_destroy(f->session);
	else
		close(f->fd);
	HASH_ITER(hh, f->nodes, n, next) {
		HASH_DELETE(hh, f->nodes, n);
		free(n->name);
		free(n);
	}
	pthread_cond_destroy(&f->more);
	pthread_mutex_destroy(&f->lock);
	free(f);
}
