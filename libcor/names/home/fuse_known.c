/* What the kernel knows of the home's files, and how long it may go by that. */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "libcor/base/cleanup.h"
#include "libcor/names/home/fuse_parts.h"

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

struct home_fnode *home_fuse_find(struct home_fuse *f, uint64_t id)
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

	n = home_fuse_find(f, a->node);
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

	n = home_fuse_find(f, node);
	return n && n->watched;
}

bool home_fuse_current(struct home_fuse *f, const struct home_attr *a)
{
	struct home_fnode *n;
	bool same;
	COR_LOCK(&f->lock);

	n = home_fuse_find(f, a->node);
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

	n = home_fuse_find(f, node);
	if (n)
		n->locked = true;
}

bool home_fuse_was_locked(struct home_fuse *f, uint64_t node)
{
	struct home_fnode *n;
	COR_LOCK(&f->lock);

	n = home_fuse_find(f, node);
	return !n || n->locked;
}

void home_fuse_fill_open(struct home_fuse *f, const struct home_attr *a, struct fuse_file_info *fi)
{
	fi->keep_cache = home_fuse_current(f, a);
	/* where a write lands is the home's to know, which others may append to as well */
	fi->direct_io = (fi->flags & O_APPEND) != 0;
}
