/* An open file of the home's that the next open(2) of its name is to get: that which the
 * task had, with its locks, though the name may lead to another one by now. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "libcor/names/home/fuse_parts.h"

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

void home_fuse_expect(fuse_req_t req, const struct cor_home_expect *e)
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

/* lock held: does node's path, as far as it is known, end where path begins? */
static bool path_is(struct home_fuse *f, uint64_t node, const char *path, size_t len)
{
	while (node != HOME_ROOT) {
		struct home_fnode *n = home_fuse_find(f, node);
		size_t name = n && n->name ? strlen(n->name) : 0;

		if (!name || len < name + 1 || path[len - name - 1] != '/' ||
		    memcmp(path + len - name, n->name, name))
			return false;
		len -= name + 1;
		node = n->parent;
	}
	return len == 0;
}

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
	/* where the name leads by itself is found out the next time, and so are the attributes:
	 * these are older than the question */
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
	if (!attr.nlink && home_fuse_find(f, node)) {
		parent = home_fuse_find(f, node)->parent;
		snprintf(name, sizeof(name), "%s", home_fuse_find(f, node)->name ?: "");
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
