/* Requests that are about names and attributes. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "libcor/base/cleanup.h"
#include "libcor/base/compat.h"
#include "libcor/names/home/private.h"

/* The body's first name, which must be one: no slash, not "." or "..". *rest: what
 * follows its NUL, or NULL. NULL: not a name. */
static const char *name_of(const struct home_call *c, const char **rest)
{
	size_t len = strnlen(c->body, c->len);

	if (rest)
		*rest = len < c->len ? c->body + len + 1 : NULL;
	if (len == 0 || len > HOME_NAME_MAX || memchr(c->body, '/', len) ||
	    strcmp(c->body, ".") == 0 || strcmp(c->body, "..") == 0)
		return NULL;
	return c->body;
}

static size_t rest_len(const struct home_call *c, const char *rest)
{
	return c->len - (size_t)(rest - c->body);
}

static int lookup(struct home_call *c, struct home_node *dir, const char *name)
{
	int fd = openat(dir->fd, name, O_PATH | O_NOFOLLOW | O_CLOEXEC), r = 0;
	struct home_node *n;

	if (fd < 0)
		return -errno;
	n = home_node_of(c->server, fd, &r);
	if (!n)
		return r;
	r = home_give_node(c, n);
	home_node_put(c->server, n);
	return r;
}

static int op_lookup(struct home_call *c, struct home_node *dir, struct home_handle *h)
{
	const char *name = name_of(c, NULL);
	struct home_attr *a;
	int r;

	if (!name)
		return strnlen(c->body, c->len) > HOME_NAME_MAX ? -ENAMETOOLONG : -EINVAL;
	r = lookup(c, dir, name);
	if (r != -ENOENT)
		return r;
	a = home_give(c, sizeof(*a));
	if (!a)
		return -ENOMEM;
	*a = (struct home_attr){ .flags = dir->wd >= 0 ? HOME_ATTR_WATCHED : 0 };
	return 0;
}

static int op_getattr(struct home_call *c, struct home_node *n, struct home_handle *h)
{
	return home_give_attr(c, n, h ? h->fd : -1);
}

/* ---- setattr -------------------------------------------------------------------------- */

/* Through /proc/self/fd the node itself is meant, and not what its name leads to. */
static void path_of(const struct home_node *n, char path[16])
{
	snprintf(path, 16, "%d", n->fd);
}

static struct timespec time_of(uint32_t what, uint32_t set, uint32_t now, int64_t sec, uint32_t ns)
{
	if (what & now)
		return (struct timespec){ .tv_nsec = UTIME_NOW };
	if (what & set)
		return (struct timespec){ .tv_sec = sec, .tv_nsec = ns };
	return (struct timespec){ .tv_nsec = UTIME_OMIT };
}

static int set_size(const struct home_call *c, struct home_node *n, struct home_handle *h,
		    uint64_t size)
{
	_cleanup_close_ int fd = -1;

	if (size > INT64_MAX)
		return -EFBIG;
	if (h && (fcntl(h->fd, F_GETFL) & O_ACCMODE) != O_RDONLY)
		return ftruncate(h->fd, (off_t)size) < 0 ? -errno : 0;
	fd = home_reopen(c->server, n->fd, O_WRONLY);
	if (fd < 0)
		return fd;
	return ftruncate(fd, (off_t)size) < 0 ? -errno : 0;
}

static int set_times(const struct home_call *c, struct home_node *n, const struct home_setattr *s)
{
	const struct timespec t[2] = {
		time_of(s->what, HOME_SET_ATIME, HOME_SET_ATIME_NOW, s->atime, s->atime_ns),
		time_of(s->what, HOME_SET_MTIME, HOME_SET_MTIME_NOW, s->mtime, s->mtime_ns),
	};
	char path[16];

	path_of(n, path);
	return utimensat(c->server->proc, path, t, 0) < 0 ? -errno : 0;
}

static int apply(const struct home_call *c, struct home_node *n, struct home_handle *h,
		 const struct home_setattr *s)
{
	char path[16];
	int r = 0;

	path_of(n, path);
	if (s->what & (HOME_SET_UID | HOME_SET_GID))
		r = fchownat(n->fd, "", s->what & HOME_SET_UID ? s->uid : (uid_t)-1,
			     s->what & HOME_SET_GID ? s->gid : (gid_t)-1, AT_EMPTY_PATH) < 0 ?
			-errno : 0;
	/* behind the owner, whose change takes set-user-ID away */
	if (r == 0 && (s->what & HOME_SET_MODE))
		r = fchmodat(c->server->proc, path, s->mode & 07777, 0) < 0 ? -errno : 0;
	if (r == 0 && (s->what & HOME_SET_SIZE))
		r = set_size(c, n, h, s->size);
	if (r == 0 && (s->what & (HOME_SET_ATIME | HOME_SET_MTIME | HOME_SET_ATIME_NOW |
				  HOME_SET_MTIME_NOW)))
		r = set_times(c, n, s);
	return r;
}

static int op_setattr(struct home_call *c, struct home_node *n, struct home_handle *h)
{
	struct home_setattr s;
	int r;

	if (c->len != sizeof(s))
		return -EPROTO;
	memcpy(&s, c->body, sizeof(s));
	home_change_begin(c, n, -1);
	r = apply(c, n, h, &s);
	home_change_end(c, n, -1);
	return r < 0 ? r : home_give_attr(c, n, -1);
}

/* ---- making and unmaking names -------------------------------------------------------- */

static int op_readlink(struct home_call *c, struct home_node *n, struct home_handle *h)
{
	char *text = home_give(c, 4096);
	ssize_t len = text ? readlinkat(n->fd, "", text, 4096) : -1;

	if (!text)
		return -ENOMEM;
	if (len < 0)
		return -errno;
	c->out_len = (size_t)len;
	return 0;
}

static int op_symlink(struct home_call *c, struct home_node *dir, struct home_handle *h)
{
	const char *target, *name = name_of(c, &target);

	if (!name || !target || strnlen(target, rest_len(c, target)) == 0)
		return -EINVAL;
	home_expect(c->server, c->client, dir->id, name);
	return symlinkat(target, dir->fd, name) < 0 ? -errno : lookup(c, dir, name);
}

static int op_mknod(struct home_call *c, struct home_node *dir, struct home_handle *h)
{
	const char *name = name_of(c, NULL);

	if (!name)
		return -EINVAL;
	home_expect(c->server, c->client, dir->id, name);
	if (mknodat(dir->fd, name, (mode_t)c->q->arg[0], (dev_t)c->q->arg[1]) < 0)
		return -errno;
	return lookup(c, dir, name);
}

static int op_mkdir(struct home_call *c, struct home_node *dir, struct home_handle *h)
{
	const char *name = name_of(c, NULL);

	if (!name)
		return -EINVAL;
	home_expect(c->server, c->client, dir->id, name);
	return mkdirat(dir->fd, name, (mode_t)c->q->arg[0]) < 0 ? -errno : lookup(c, dir, name);
}

static int remove_name(struct home_call *c, struct home_node *dir, int flags)
{
	const char *name = name_of(c, NULL);

	if (!name)
		return -EINVAL;
	home_expect(c->server, c->client, dir->id, name);
	return unlinkat(dir->fd, name, flags) < 0 ? -errno : 0;
}

static int op_unlink(struct home_call *c, struct home_node *dir, struct home_handle *h)
{
	return remove_name(c, dir, 0);
}

static int op_rmdir(struct home_call *c, struct home_node *dir, struct home_handle *h)
{
	return remove_name(c, dir, AT_REMOVEDIR);
}

static int op_rename(struct home_call *c, struct home_node *dir, struct home_handle *h)
{
	const char *to, *from = name_of(c, &to);
	struct home_node *other;
	int r;

	if (!from || !to || !*to || strchr(to, '/'))
		return -EINVAL;
	other = home_node_get(c->server, c->q->arg[0]);
	if (!other)
		return -ESTALE;
	home_expect(c->server, c->client, dir->id, from);
	home_expect(c->server, c->client, other->id, to);
	r = (int)syscall(SYS_renameat2, dir->fd, from, other->fd, to, (unsigned)c->q->arg[1]);
	r = r < 0 ? -errno : 0;
	home_node_put(c->server, other);
	return r;
}

static int op_link(struct home_call *c, struct home_node *n, struct home_handle *h)
{
	const char *name = name_of(c, NULL);
	struct home_node *dir;
	char path[16];
	int r;

	if (!name)
		return -EINVAL;
	dir = home_node_get(c->server, c->q->arg[0]);
	if (!dir)
		return -ESTALE;
	path_of(n, path);
	home_expect(c->server, c->client, dir->id, name);
	r = linkat(c->server->proc, path, dir->fd, name, AT_SYMLINK_FOLLOW) < 0 ? -errno : 0;
	home_node_put(c->server, dir);
	return r < 0 ? r : home_give_node(c, n);
}

static int op_create(struct home_call *c, struct home_node *dir, struct home_handle *unused)
{
	const char *name = name_of(c, NULL);
	int flags = (int)c->q->arg[0] & ~O_NOCTTY, fd, path, r = 0;
	struct home_handle *h;
	struct home_node *n;

	if (!name)
		return -EINVAL;
	home_expect(c->server, c->client, dir->id, name);
	fd = openat(dir->fd, name, flags | O_CREAT | O_NOFOLLOW | O_CLOEXEC | O_NOCTTY,
		    (mode_t)c->q->arg[1] & 07777);
	if (fd < 0)
		return -errno;
	path = home_reopen(c->server, fd, O_PATH);
	n = path < 0 ? NULL : home_node_of(c->server, path, &r);
	if (!n) {
		close(fd);
		return path < 0 ? path : r;
	}
	h = home_handle_new(c->server, c->client, n, fd, &r);
	if (h) {
		c->reply.arg[0] = h->id;
		r = home_give_node(c, n);
	}
	home_node_put(c->server, n);
	return r;
}

static int op_statfs(struct home_call *c, struct home_node *n, struct home_handle *h)
{
	struct home_statfs *out = home_give(c, sizeof(*out));
	struct statvfs s;

	if (!out)
		return -ENOMEM;
	if (fstatvfs(n->fd, &s) < 0)
		return -errno;
	*out = (struct home_statfs){
		s.f_bsize, s.f_frsize, s.f_blocks, s.f_bfree, s.f_bavail, s.f_files, s.f_ffree,
		s.f_favail, s.f_namemax,
	};
	return 0;
}

/* ---- extended attributes ----------------------------------------------------------------- */

/* The path names the node by /proc/self/fd, through the magic link. */
static void xattr_path(const struct home_call *c, const struct home_node *n, char path[64])
{
	snprintf(path, 64, "%s%d", c->server->proc_path, n->fd);
}

static int give_xattr(struct home_call *c, const char *path, const char *name)
{
	size_t size = (size_t)c->q->arg[0];
	char *out;
	ssize_t len;

	if (size > XATTR_SIZE_MAX)
		size = XATTR_SIZE_MAX;
	out = home_give(c, size);
	if (!out)
		return -ENOMEM;
	len = name ? getxattr(path, name, size ? out : NULL, size) :
		     listxattr(path, size ? out : NULL, size);
	if (len < 0)
		return -errno;
	c->reply.arg[0] = (uint64_t)len;
	c->out_len = size ? (size_t)len : 0;
	return 0;
}

static int op_getxattr(struct home_call *c, struct home_node *n, struct home_handle *h)
{
	char path[64];

	xattr_path(c, n, path);
	return c->len ? give_xattr(c, path, c->body) : -EINVAL;
}

static int op_listxattr(struct home_call *c, struct home_node *n, struct home_handle *h)
{
	char path[64];

	xattr_path(c, n, path);
	return give_xattr(c, path, NULL);
}

static int op_setxattr(struct home_call *c, struct home_node *n, struct home_handle *h)
{
	size_t len = strnlen(c->body, c->len);
	char path[64];

	if (len == 0 || len == c->len)
		return -EINVAL;
	xattr_path(c, n, path);
	return setxattr(path, c->body, c->body + len + 1, c->len - len - 1,
			(int)c->q->arg[0]) < 0 ? -errno : 0;
}

static int op_removexattr(struct home_call *c, struct home_node *n, struct home_handle *h)
{
	char path[64];

	xattr_path(c, n, path);
	return removexattr(path, c->body) < 0 ? -errno : 0;
}

/* ---- the table ------------------------------------------------------------------------------ */

static int op_sync(struct home_call *c, struct home_node *n, struct home_handle *h)
{
	struct home_server *s = c->server;
	struct home_handle *open, *next;

	home_watch_drain(s);
	/* mappings write without an event */
	pthread_mutex_lock(&s->lock);
	HASH_ITER(hh, s->handles, open, next) {
		open->node->refs++;
		pthread_mutex_unlock(&s->lock);
		home_look_again(s, open->node, -1);
		pthread_mutex_lock(&s->lock);
		home_node_drop(s, open->node);
	}
	pthread_mutex_unlock(&s->lock);
	return 0;
}

enum needs { NODE = 1, HANDLE = 2, MAY_HANDLE = 4, TWICE = 8 };

static const struct {
	home_op_fn *run;
	unsigned    needs;
} ops[HOME_OPS] = {
	[HOME_SYNC]        = { op_sync, TWICE },
	[HOME_LOOKUP]      = { op_lookup, NODE },
	[HOME_GETATTR]     = { op_getattr, NODE | MAY_HANDLE | TWICE },
	[HOME_SETATTR]     = { op_setattr, NODE | MAY_HANDLE },
	[HOME_READLINK]    = { op_readlink, NODE | TWICE },
	[HOME_SYMLINK]     = { op_symlink, NODE },
	[HOME_MKNOD]       = { op_mknod, NODE },
	[HOME_MKDIR]       = { op_mkdir, NODE },
	[HOME_UNLINK]      = { op_unlink, NODE },
	[HOME_RMDIR]       = { op_rmdir, NODE },
	[HOME_RENAME]      = { op_rename, NODE },
	[HOME_LINK]        = { op_link, NODE },
	[HOME_OPEN]        = { home_op_open, NODE },
	[HOME_CREATE]      = { op_create, NODE },
	[HOME_READ]        = { home_op_read, NODE | HANDLE | TWICE },
	[HOME_WRITE]       = { home_op_write, NODE | HANDLE },
	[HOME_FLUSH]       = { home_op_flush, NODE },
	[HOME_RELEASE]     = { home_op_release, NODE | HANDLE },
	[HOME_FSYNC]       = { home_op_fsync, NODE | HANDLE },
	[HOME_READDIR]     = { home_op_readdir, NODE | HANDLE | TWICE },
	[HOME_STATFS]      = { op_statfs, NODE | TWICE },
	[HOME_GETXATTR]    = { op_getxattr, NODE | TWICE },
	[HOME_LISTXATTR]   = { op_listxattr, NODE | TWICE },
	[HOME_SETXATTR]    = { op_setxattr, NODE },
	[HOME_REMOVEXATTR] = { op_removexattr, NODE },
	[HOME_GETLK]       = { home_op_getlk, NODE | MAY_HANDLE | TWICE },
	[HOME_SETLK]       = { home_op_setlk, NODE | MAY_HANDLE },
	[HOME_FLOCK]       = { home_op_flock, NODE | HANDLE },
	[HOME_FALLOCATE]   = { home_op_fallocate, NODE | HANDLE },
	[HOME_LSEEK]       = { home_op_lseek, NODE | HANDLE | TWICE },
	[HOME_ADOPT]       = { home_op_adopt, HANDLE },
	[HOME_LOCKS]       = { home_op_locks, NODE | MAY_HANDLE | TWICE },
	[HOME_PASS]        = { home_op_pass, NODE | TWICE },
};

int home_run(struct home_call *c)
{
	const struct home_request *q = c->q;
	struct home_handle *h = NULL;
	struct home_node *n = NULL;
	unsigned needs;
	int r;

	if (q->op >= HOME_OPS || !ops[q->op].run)
		return -ENOSYS;
	needs = ops[q->op].needs;
	c->twice = needs & TWICE;
	r = home_become(c->server, q->uid, q->gid);
	if (r < 0)
		return r;
	if (needs & NODE)
		n = home_node_get(c->server, q->node);
	if (needs & (HANDLE | MAY_HANDLE) && q->handle)
		h = home_handle_get(c->server, q->handle);
	if ((needs & NODE && !n) || (n && h && h->node != n))
		r = -ESTALE;
	else if (needs & HANDLE && !h)
		r = -EBADF;
	else
		r = ops[q->op].run(c, n, h);
	home_handle_put(c->server, h);
	home_node_put(c->server, n);
	return r;
}
