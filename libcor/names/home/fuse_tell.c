/* Telling the kernel what has changed, which a thread does. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "libcor/base/cleanup.h"
#include "libcor/names/home/fuse_parts.h"

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

void *home_fuse_tell(void *arg)
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
