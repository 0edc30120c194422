/* The file system's life, the news from the home, and its ioctl(2). */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "libcor/base/error.h"
#include "libcor/names/home/fuse_parts.h"

#define READERS 2       /* threads that take requests from the kernel */

/* ---- news ------------------------------------------------------------------------------ */

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

/* ---- ioctl(2) -------------------------------------------------------------------------- */

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

static void do_pass(fuse_req_t req, uint64_t node, const void *in, size_t in_size)
{
	struct home_request q = { .op = HOME_PASS, .node = node };
	struct home_asked *a;
	uint32_t how;

	if (in_size != sizeof(how)) {
		fuse_reply_err(req, EINVAL);
		return;
	}
	if (!home_remote_can(home_fuse_of(req)->remote, HOME_CAN_PASS)) {
		fuse_reply_err(req, ENOTTY);
		return;
	}
	memcpy(&how, in, sizeof(how));
	q.arg[0] = how;
	a = home_ask_new(req, node, NULL);
	if (a)
		home_ask(a, &q, NULL, 0, on_synced);
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
			home_fuse_expect(req, in);
		else
			fuse_reply_err(req, EINVAL);
		break;
	case COR_HOME_SYNC:
		do_sync(req);
		break;
	case COR_HOME_PASS:
		do_pass(req, ino, in, in_size);
		break;
	default:
		fuse_reply_err(req, ENOTTY);
	}
}

/* ---- life ------------------------------------------------------------------------------ */

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
		r = -pthread_create(&f->worker, NULL, home_fuse_tell, f);
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
