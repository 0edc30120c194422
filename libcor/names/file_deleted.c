/* Nameless files: read by another open of our duplicate, made again with O_TMPFILE. */
#include "libcor/names/file_deleted.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "libcor/base/cleanup.h"
#include "libcor/base/error.h"
#include "libcor/base/io.h"

/* Cuts " (deleted)" off. */
static void cut_suffix(char *path)
{
	static const char suffix[] = " (deleted)";
	size_t len = strlen(path), cut = sizeof(suffix) - 1;

	if (len > cut && strcmp(path + len - cut, suffix) == 0)
		path[len - cut] = 0;
}

static int read_whole(struct cor_file_capture *c, const struct cor_file_seen *seen,
		      Cor__Names__OpenFile *out, struct cor_error *err)
{
	size_t size = (size_t)seen->st.st_size;
	_cleanup_close_ int fd = -1;
	int rc = 0;

	/* the task's own may be write-only, and its offset stays. By our duplicate: under the
	 * task's number there may be a pipe by now, whose bytes would be gone */
	fd = cor_file_reopen(seen->dup, O_RDONLY);
	if (fd < 0)
		return cor_fail_code(err, fd, "descriptor %d: reading %s", seen->fd, seen->link);
	out->content.data = malloc(size ? size : 1);
	if (!out->content.data)
		return -ENOMEM;
	out->content.len = size;
	if (size)
		rc = cor_read_full(fd, out->content.data, size);
	if (rc == -ENODATA || rc == -EPIPE)
		return cor_fail(err, -EAGAIN, "descriptor %d: %s became shorter just now", seen->fd,
				seen->link);
	return rc < 0 ? cor_fail_code(err, rc, "descriptor %d: reading %s", seen->fd, seen->link) : 0;
}

int cor_file_deleted_capture(struct cor_file_capture *c, const struct cor_file_seen *seen,
			     Cor__Names__OpenFile *out, struct cor_error *err)
{
	if (!S_ISREG(seen->st.st_mode) || out->kind != COR__NAMES__FILE_KIND__REGULAR)
		return cor_file_refuse(err, seen, "%s: it has no name to be found by", seen->link);
	if (seen->holder.pid)
		return cor_file_refuse_shared(err, seen, seen->link);
	if (seen->st.st_size > COR_FILE_DELETED_MAX)
		return cor_file_refuse(err, seen, "%s with %lld bytes: files without a name are "
				       "carried up to %u bytes", seen->link,
				       (long long)seen->st.st_size, COR_FILE_DELETED_MAX);
	cut_suffix(out->path);
	out->deleted = true;
	out->uid = seen->st.st_uid;
	out->gid = seen->st.st_gid;
	return c->with_content ? read_whole(c, seen, out, err) : 0;
}

int cor_file_deleted_relate(struct cor_file_capture *c, unsigned index)
{
	Cor__Names__OpenFile *file = c->table->files[index];
	const unsigned *same;
	unsigned n = cor_file_with_inode(c, file->dev, file->ino, &same), first = index;

	for (unsigned i = 0; i < n; i++)
		first = COR_MIN(first, same[i]);
	if (first == index)
		return 0;
	file->same_content = true;
	file->peer = first;
	free(file->content.data);
	file->content.data = NULL;
	file->content.len = 0;
	return 0;
}

/* On a file system without O_TMPFILE (overlayfs before 6.3) it has a name for a moment. */
static int open_unnamed(const char *dir)
{
	char path[PATH_MAX];
	int fd;

	if (snprintf(path, sizeof(path), "%s/.cor-XXXXXX", dir) >= (int)sizeof(path)) {
		errno = ENAMETOOLONG;
		return -1;
	}
	fd = mkostemp(path, O_CLOEXEC);
	if (fd >= 0)
		unlink(path);
	return fd;
}

/* An empty nameless file, in its old directory where that is here too. */
static int make_nameless(const Cor__Names__OpenFile *file)
{
	_cleanup_free_ char *dir = strdup(file->path);
	const char *places[3];
	char *slash = dir ? strrchr(dir, '/') : NULL;

	if (slash)
		*(slash == dir ? slash + 1 : slash) = 0;
	places[0] = slash ? dir : "/";
	places[1] = "/var/tmp";
	places[2] = "/tmp";
	for (unsigned i = 0; i < ARRAY_SIZE(places); i++) {
		int fd = open(places[i], O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);

		if (fd < 0 && errno == EOPNOTSUPP)
			fd = open_unnamed(places[i]);
		if (fd >= 0)
			return fd;
	}
	return -errno;
}

static int fill(const Cor__Names__OpenFile *file, int fd)
{
	int rc = 0;

	if (file->content.len)
		rc = cor_write_full(fd, file->content.data, file->content.len);
	if (rc == 0 && fchown(fd, file->uid, file->gid) < 0)
		rc = -errno;
	/* a peer's bytes never become a program that runs as someone else */
	if (rc == 0 && fchmod(fd, file->mode & 0777) < 0)
		rc = -errno;
	return rc;
}

int cor_file_deleted_make(struct cor_file_restore *r, unsigned index, struct cor_error *err)
{
	const Cor__Names__OpenFile *file = cor_file_at(&r->place, index);
	_cleanup_close_ int made = -1;
	int fd, rc = 0;

	/* relate() named an earlier file, which is made already */
	if (file->same_content) {
		if (file->peer >= index || r->fds[file->peer] < 0)
			return cor_fail(err, -EINVAL, "the table's file %u comes before its peer",
					index);
		fd = cor_file_reopen(r->fds[file->peer], cor_file_open_flags(file->flags));
	} else {
		made = make_nameless(file);
		rc = made < 0 ? made : fill(file, made);
		fd = rc < 0 ? rc : cor_file_reopen(made, cor_file_open_flags(file->flags));
	}
	if (fd < 0)
		return cor_fail_code(err, fd, "descriptor %d: the nameless file %s cannot be made here",
				     cor_file_number(r->place.table, index), file->path);
	return fd;
}
