/* Requests that are about open files. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "libcor/base/cleanup.h"
#include "libcor/names/home/private.h"

/* Flags that concern how the file is opened; the rest is between client and kernel. */
#define OPEN_FLAGS (O_ACCMODE | O_APPEND | O_TRUNC | O_DIRECTORY | O_SYNC | O_DSYNC | O_NOATIME | \
		    O_NONBLOCK)

static int give_handle(struct home_call *c, struct home_node *n, int fd)
{
	int r = 0;
	struct home_handle *h = home_handle_new(c->server, c->client, n, fd, &r);

	if (!h)
		return r;
	c->reply.arg[0] = h->id;
	return home_give_attr(c, n, h->fd);
}

int home_op_open(struct home_call *c, struct home_node *n, struct home_handle *unused)
{
	int flags = (int)c->q->arg[0] & OPEN_FLAGS, fd;
	bool changes = flags & O_TRUNC;
	struct stat st;

	/* FIFOs and devices are the host's where they are opened */
	if (fstat(n->fd, &st) < 0 || (!S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode)))
		return -ENXIO;
	if (changes)
		home_change_begin(c, n, -1);
	fd = home_reopen(c->server, n->fd, flags);
	/* only its owner may ask for that, and only he cares */
	if (fd == -EPERM && flags & O_NOATIME)
		fd = home_reopen(c->server, n->fd, flags & ~O_NOATIME);
	if (changes)
		home_change_end(c, n, -1);
	return fd < 0 ? fd : give_handle(c, n, fd);
}

/* The open file description itself, with its locks: the task's own, or that which it
 * had through another client. */
int home_op_adopt(struct home_call *c, struct home_node *unused, struct home_handle *h)
{
	int fd = fcntl(h->fd, F_DUPFD_CLOEXEC, 0);
	int r = fd < 0 ? -errno : give_handle(c, h->node, fd);

	return r < 0 ? r : home_ref_add(c->client, h->node);
}

int home_op_read(struct home_call *c, struct home_node *n, struct home_handle *h)
{
	size_t size = (size_t)COR_MIN(c->q->arg[1], (uint64_t)HOME_DATA_MAX), done = 0;
	char *buf = home_give(c, size);

	if (!buf)
		return -ENOMEM;
	if (c->q->arg[0] > INT64_MAX)
		return -EINVAL;
	while (done < size) {
		ssize_t len = pread(h->fd, buf + done, size - done, (off_t)(c->q->arg[0] + done));

		if (len < 0 && errno == EINTR)
			continue;
		if (len < 0 && !done)
			return -errno;
		if (len <= 0)
			break;
		done += (size_t)len;
	}
	c->out_len = done;
	return 0;
}

int home_op_write(struct home_call *c, struct home_node *n, struct home_handle *h)
{
	size_t done = 0;
	int r = 0;

	if (c->q->arg[0] > INT64_MAX)
		return -EINVAL;
	home_change_begin(c, n, h->fd);
	while (done < c->len) {
		ssize_t len = pwrite(h->fd, c->body + done, c->len - done,
				     (off_t)(c->q->arg[0] + done));

		if (len < 0 && errno == EINTR)
			continue;
		if (len < 0) {
			r = -errno;
			break;
		}
		done += (size_t)len;
	}
	home_change_end(c, n, h->fd);
	c->reply.arg[0] = done;
	return done ? 0 : r;
}

int home_op_release(struct home_call *c, struct home_node *n, struct home_handle *h)
{
	if (c->q->arg[0])
		home_owner_release(c->client, n->id, c->q->arg[0]);
	COR_LOCK(&c->server->lock);
	if (h->client != c->client)
		return -EBADF;
	home_handle_shut(c->server, h);
	return 0;
}

int home_op_fsync(struct home_call *c, struct home_node *n, struct home_handle *h)
{
	int r = c->q->arg[0] ? fdatasync(h->fd) : fsync(h->fd);

	return r < 0 ? -errno : 0;
}

int home_op_fallocate(struct home_call *c, struct home_node *n, struct home_handle *h)
{
	int r;

	home_change_begin(c, n, h->fd);
	r = fallocate(h->fd, (int)c->q->arg[0], (off_t)c->q->arg[1], (off_t)c->q->arg[2]);
	r = r < 0 ? -errno : 0;
	home_change_end(c, n, h->fd);
	return r < 0 ? r : home_give_attr(c, n, h->fd);
}

int home_op_lseek(struct home_call *c, struct home_node *n, struct home_handle *h)
{
	off_t at;

	/* others would move the offset, which nobody uses here */
	if (c->q->arg[1] != SEEK_DATA && c->q->arg[1] != SEEK_HOLE)
		return -EINVAL;
	at = lseek(h->fd, (off_t)c->q->arg[0], (int)c->q->arg[1]);
	if (at < 0)
		return -errno;
	c->reply.arg[0] = (uint64_t)at;
	return 0;
}

/* ---- directories --------------------------------------------------------------------------- */

struct kernel_dirent {
	uint64_t ino;
	int64_t  off;
	uint16_t reclen;
	uint8_t  type;
	char     name[];
};

/* Appends one entry; false: no room for it. */
static bool put_entry(struct home_call *c, size_t room, const struct kernel_dirent *d)
{
	size_t len = strlen(d->name);
	struct home_dirent e = { d->ino, (uint64_t)d->off, (uint16_t)len, d->type };

	if (c->out_len + sizeof(e) + len > room)
		return false;
	memcpy((char *)c->out + c->out_len, &e, sizeof(e));
	memcpy((char *)c->out + c->out_len + sizeof(e), d->name, len);
	c->out_len += sizeof(e) + len;
	return true;
}

int home_op_readdir(struct home_call *c, struct home_node *n, struct home_handle *h)
{
	size_t room = (size_t)COR_MIN(c->q->arg[1], (uint64_t)65536);
	char buf[32768] __attribute__((aligned(8)));
	long len;

	if (!home_give(c, room))
		return -ENOMEM;
	c->out_len = 0;
	/* the open file is one client's, and its calls for it come one behind the other */
	if (lseek(h->fd, (off_t)c->q->arg[0], SEEK_SET) < 0)
		return -errno;
	len = syscall(SYS_getdents64, h->fd, buf, COR_MIN(sizeof(buf), room));
	if (len < 0)
		return -errno;
	for (long at = 0; at < len; ) {
		const struct kernel_dirent *d = (const struct kernel_dirent *)(buf + at);

		if (!put_entry(c, room, d))
			break;
		at += d->reclen;
	}
	return 0;
}
