/* Pipes and FIFOs that no other process has open.
 *
 * Files of one pipe have its inode number in common. The first of them that is
 * met makes the pipe and all its other files; ends that the task has closed are
 * closed with the temporary ones, which gives EOF and EPIPE by itself.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "libcor/base/cleanup.h"
#include "libcor/base/error.h"
#include "libcor/base/io.h"
#include "libcor/names/file_ops.h"

static int recognise(const struct cor_file_capture *c, const struct cor_file_seen *seen)
{
	if (!S_ISFIFO(seen->st.st_mode))
		return -1;
	return cor_file_link_is(seen, "pipe:[") ? COR__NAMES__FILE_KIND__PIPE :
	       COR__NAMES__FILE_KIND__FIFO;
}

static bool reads(uint32_t flags)
{
	return (flags & O_ACCMODE) != O_WRONLY;
}

static bool writes(uint32_t flags)
{
	return (flags & O_ACCMODE) != O_RDONLY;
}

/* Moves what is in the pipe from into messages: one, or one for each packet. */
static int drain(int from, size_t capacity, Cor__Names__OpenFile *out)
{
	_cleanup_free_ char *buf = malloc(capacity);

	if (!buf)
		return -ENOMEM;
	for (;;) {
		ssize_t n = read(from, buf, capacity);
		Cor__Names__Message *m;

		if (n <= 0)
			return n < 0 && errno != EAGAIN ? -errno : 0;
		m = COR_FILE_APPEND(out->unread, out->n_unread, Cor__Names__Message,
				    cor__names__message__init);
		if (!m || cor_file_bytes(&m->data, buf, (size_t)n) < 0)
			return -ENOMEM;
	}
}

/* The bytes in the pipe, by tee(2), which leaves them there. */
int cor_file_pipe_unread(const struct cor_file_seen *seen, Cor__Names__OpenFile *out,
			 struct cor_error *err)
{
	_cleanup_close_ int from = -1;
	_cleanup_close_ int to = -1;
	int waiting = 0, ends[2];
	ssize_t n;

	if (ioctl(seen->dup, FIONREAD, &waiting) < 0)
		return cor_fail_errno(err, "descriptor %d: FIONREAD", seen->fd);
	if (waiting == 0)
		return 0;
	if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) < 0)
		return cor_fail_errno(err, "descriptor %d: a pipe to copy to", seen->fd);
	from = ends[0];
	to = ends[1];
	if (fcntl(to, F_GETPIPE_SZ) < (int)out->capacity &&
	    fcntl(to, F_SETPIPE_SZ, (int)out->capacity) < 0)
		return cor_fail_errno(err, "descriptor %d: a copy of its pipe of %u bytes", seen->fd,
				      out->capacity);
	n = tee(seen->dup, to, INT_MAX, SPLICE_F_NONBLOCK);
	if (n < 0)
		return cor_fail_errno(err, "descriptor %d: tee", seen->fd);
	if (n != waiting)
		return cor_fail(err, -EAGAIN, "descriptor %d: %zd of %d bytes in its pipe could be "
				"copied", seen->fd, n, waiting);
	return drain(from, out->capacity, out);
}

static int capture(struct cor_file_capture *c, const struct cor_file_seen *seen,
		   Cor__Names__OpenFile *out, struct cor_error *err)
{
	char what[200] = "a pipe";
	int capacity;

	if (out->kind == COR__NAMES__FILE_KIND__FIFO)
		snprintf(what, sizeof(what), "the FIFO %s", seen->link);
	if (seen->holder.pid)
		return cor_file_refuse_shared(err, seen, what);
	if (seen->flags & O_PATH)
		return cor_file_refuse(err, seen, "%s opened with O_PATH: that is not carried", what);
	if (out->kind == COR__NAMES__FILE_KIND__FIFO && seen->st.st_nlink == 0)
		return cor_file_refuse(err, seen, "%s: it has no name to be found by", what);
	out->path = strdup(seen->link);
	if (!out->path)
		return -ENOMEM;
	capacity = fcntl(seen->dup, F_GETPIPE_SZ);
	if (capacity < 0)
		return cor_fail_errno(err, "descriptor %d: F_GETPIPE_SZ", seen->fd);
	out->capacity = (uint32_t)capacity;
	return c->with_content && reads(seen->flags) ? cor_file_pipe_unread(seen, out, err) : 0;
}

/* The other end; and the bytes only once, in the first file that reads. */
static int relate(struct cor_file_capture *c, unsigned index, struct cor_error *err)
{
	Cor__Names__OpenFile *file = c->table->files[index];
	const unsigned *same;
	unsigned n = cor_file_with_inode(c, file->dev, file->ino, &same);

	file->peer_closed = true;
	file->peer = index;
	for (unsigned i = 0; i < n; i++) {
		const Cor__Names__OpenFile *other = c->table->files[same[i]];

		if (file->peer_closed && (reads(file->flags) ? writes(other->flags) :
					  reads(other->flags))) {
			file->peer_closed = false;
			file->peer = same[i];
		}
		if (same[i] < index && reads(other->flags))
			cor_file_forget_unread(file);
	}
	return 0;
}

/* --- the destination --------------------------------------------------------- */

static int check(const struct cor_file_place *place, unsigned index, struct cor_error *err)
{
	const Cor__Names__OpenFile *file = cor_file_at(place, index);
	int number = cor_file_number(place->table, index);
	struct stat st;

	if (file->kind == COR__NAMES__FILE_KIND__PIPE)
		return 0;
	if (stat(file->path, &st) < 0)
		return cor_fail_errno(err, "descriptor %d: the FIFO %s", number, file->path);
	if (!S_ISFIFO(st.st_mode))
		return cor_fail(err, -ESTALE, "descriptor %d: %s is not a FIFO here", number,
				file->path);
	return 0;
}

static int set_capacity(const Cor__Names__OpenFile *file, int fd)
{
	if (fcntl(fd, F_GETPIPE_SZ) == (int)file->capacity)
		return 0;
	return fcntl(fd, F_SETPIPE_SZ, (int)file->capacity) < 0 ? -errno : 0;
}

static bool same_pipe(const Cor__Names__OpenFile *a, const Cor__Names__OpenFile *b)
{
	return a->kind == b->kind && a->ino == b->ino && a->dev == b->dev;
}

/* Writes the bytes of file back; each message a packet of its own where the pipe
 * is in packet mode. */
static int put_back(const struct cor_file_restore *r, const Cor__Names__OpenFile *file, int fd)
{
	bool packets = file->n_unread > 1;
	int rc = 0;

	for (size_t i = 0; i < r->place.table->n_files && !packets; i++) {
		const Cor__Names__OpenFile *other = r->place.table->files[i];

		packets = same_pipe(other, file) && (other->flags & O_DIRECT);
	}
	if (fcntl(fd, F_SETFL, O_NONBLOCK | (packets ? O_DIRECT : 0)) < 0)
		return -errno;
	for (size_t i = 0; i < file->n_unread && rc == 0; i++) {
		const ProtobufCBinaryData *data = &file->unread[i]->data;
		ssize_t n = write(fd, data->data, data->len);

		if (n != (ssize_t)data->len)
			rc = n < 0 ? -errno : -ENOSPC;
	}
	return rc;
}

/* The ends, as temporary descriptors, with the bytes in them. */
static int make_ends(struct cor_file_restore *r, const Cor__Names__OpenFile *file, int ends[2])
{
	int rc;

	if (file->kind == COR__NAMES__FILE_KIND__PIPE)
		return pipe2(ends, O_CLOEXEC) < 0 ? -errno : 0;
	/* opened for both, so that neither side waits for the other */
	ends[0] = open(file->path, O_RDWR | O_NONBLOCK | O_CLOEXEC);
	if (ends[0] < 0)
		return -errno;
	rc = cor_file_reopen(ends[0], O_WRONLY | O_NONBLOCK);
	if (rc < 0) {
		close(ends[0]);
		return rc;
	}
	ends[1] = rc;
	return 0;
}

/* On the source's own host the FIFO is the very same and still has its bytes. */
static bool has_bytes(const struct cor_file_restore *r, const Cor__Names__OpenFile *file, int fd)
{
	struct stat st;

	return file->kind == COR__NAMES__FILE_KIND__FIFO && r->place.same_boot &&
	       fstat(fd, &st) == 0 && st.st_dev == file->dev && st.st_ino == file->ino;
}

/* What open(2) adds on x86-64 and pipe2(2) does not: it tells the two apart. */
#define KERNEL_LARGEFILE 0100000u

/* An end as the task had it: the pipe's own, or one opened again through /proc. */
static int take_end(const Cor__Names__OpenFile *file, int end)
{
	/* open(2) takes no O_DIRECT for pipes, fcntl(2) does */
	unsigned flags = cor_file_open_flags(file->flags) & ~(unsigned)O_DIRECT;
	int fd;

	if (file->kind == COR__NAMES__FILE_KIND__FIFO || (file->flags & KERNEL_LARGEFILE))
		return cor_file_reopen(end, flags);
	fd = fcntl(end, F_DUPFD_CLOEXEC, 0);
	if (fd < 0 || fcntl(fd, F_SETFL, flags & ~(unsigned)O_ACCMODE) < 0)
		return -errno;
	return fd;
}

/* Before any end is taken: it makes the writing one, which the task's own may be a duplicate of,
 * non-blocking for a moment. */
static int fill_pipe(struct cor_file_restore *r, unsigned first, const int ends[2],
		     struct cor_error *err)
{
	const Cor__Names__FileTable *table = r->place.table;

	for (unsigned i = first; i < table->n_files; i++) {
		const Cor__Names__OpenFile *file = table->files[i];
		int rc;

		if (!same_pipe(file, table->files[first]))
			continue;
		rc = set_capacity(file, ends[0]);
		if (rc == 0 && file->n_unread && !has_bytes(r, file, ends[0]))
			rc = put_back(r, file, ends[1]);
		if (rc < 0)
			return cor_fail_code(err, rc, "descriptor %d: the bytes in its pipe of %u",
					     cor_file_number(table, i), file->capacity);
	}
	return 0;
}

static int restore_files(struct cor_file_restore *r, unsigned first, const int ends[2],
			 struct cor_error *err)
{
	const Cor__Names__FileTable *table = r->place.table;
	const Cor__Names__OpenFile *lead = table->files[first];
	int rc = fill_pipe(r, first, ends, err);

	for (unsigned i = first; i < table->n_files && rc == 0; i++) {
		const Cor__Names__OpenFile *file = table->files[i];
		int fd;

		if (!same_pipe(file, lead))
			continue;
		fd = take_end(file, ends[writes(file->flags) ? 1 : 0]);
		if (fd < 0)
			return cor_fail_code(err, fd, "descriptor %d: its pipe",
					     cor_file_number(table, i));
		rc = cor_file_made(r, i, fd, "the pipe", err);
		if (rc < 0)
			return rc;
		if ((file->flags & O_DIRECT) &&
		    fcntl(r->fds[i], F_SETFL, fcntl(r->fds[i], F_GETFL) | O_DIRECT) < 0)
			return cor_fail_errno(err, "descriptor %d: packet mode",
					      cor_file_number(table, i));
	}
	return rc;
}

static int restore(struct cor_file_restore *r, unsigned index, struct cor_error *err)
{
	int ends[2] = { -1, -1 };
	int rc = check(&r->place, index, err);

	if (rc < 0)
		return rc;
	rc = make_ends(r, cor_file_at(&r->place, index), ends);
	if (rc < 0)
		return cor_fail_code(err, rc, "descriptor %d: a pipe cannot be made here",
				     cor_file_number(r->place.table, index));
	rc = restore_files(r, index, ends, err);
	close(ends[0]);
	close(ends[1]);
	return rc;
}

const struct cor_file_ops cor_file_pipe = {
	.recognise = recognise,
	.capture   = capture,
	.relate    = relate,
	.check     = check,
	.restore   = restore,
	.mechanism = COR_MECHANISM_PIPES,
	.kinds     = 1u << COR__NAMES__FILE_KIND__PIPE | 1u << COR__NAMES__FILE_KIND__FIFO,
};
