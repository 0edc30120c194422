/* Restore, in the stub: every file is made at a number out of the way, put at
 * its final numbers when all are there, and looked at once more. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "libcor/base/cleanup.h"
#include "libcor/base/error.h"
#include "libcor/base/io.h"
#include "libcor/names/file_ops.h"
#include "libcor/names/files_place.h"

/* Flags that must come out as they went in; the others are the kernel's own. */
#define FLAGS_KEPT ((unsigned)(O_ACCMODE | O_APPEND | O_NONBLOCK | O_DIRECT | O_SYNC | \
			       O_NOATIME | O_PATH | O_ASYNC))

static void close_all(int *fds, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		if (fds[i] >= 0)
			close(fds[i]);
		fds[i] = -1;
	}
}

static void fill(int *fds, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		fds[i] = -1;
}

static int lift(struct cor_file_restore *r, int *to, const int *from, unsigned n, const char *what,
		struct cor_error *err)
{
	for (unsigned i = 0; i < n; i++) {
		to[i] = from[i] < 0 ? -1 : fcntl(from[i], F_DUPFD_CLOEXEC, r->base);
		if (from[i] >= 0 && to[i] < 0)
			return cor_fail_errno(err, "%s %u", what, i + 1);
		/* closed later it would take the task's POSIX locks on its file along */
		if (from[i] >= 0)
			close(from[i]);
	}
	return 0;
}

static int make_all(struct cor_file_restore *r, struct cor_error *err)
{
	const Cor__Names__FileTable *table = r->place.table;

	for (unsigned i = 0; i < table->n_files; i++) {
		int rc;

		if (r->fds[i] >= 0)
			continue;
		rc = cor_file_ops_of(table->files[i]->kind)->restore(r, i, err);
		if (rc < 0)
			return rc;
		if (r->fds[i] < 0)
			return cor_fail(err, -EIO, "descriptor %d was not made",
					cor_file_number(table, i));
	}
	return 0;
}

static int put_in_place(struct cor_file_restore *r, struct cor_error *err)
{
	const Cor__Names__FileTable *table = r->place.table;

	for (size_t i = 0; i < table->n_descriptors; i++) {
		const Cor__Names__Descriptor *d = table->descriptors[i];

		if (dup3(r->fds[d->file], d->fd, d->cloexec ? O_CLOEXEC : 0) < 0)
			return cor_fail_errno(err, "descriptor %d cannot be put in place", d->fd);
	}
	return 0;
}

/* F_SETOWN, F_SETSIG, and O_ASYNC, which only fcntl(2) can set. */
static int set_owner(const Cor__Names__OpenFile *file, int fd, struct cor_error *err)
{
	struct f_owner_ex owner = { .type = file->owner_type };

	if (file->owner) {
		owner.pid = file->owner_type == F_OWNER_PGRP ? getpgrp() : getpid();
		if (fcntl(fd, F_SETOWN_EX, &owner) < 0 || fcntl(fd, F_SETSIG, file->signal) < 0)
			return cor_fail_errno(err, "descriptor %d: its owner", fd);
	}
	if ((file->flags & O_ASYNC) &&
	    fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_ASYNC) < 0)
		return cor_fail_errno(err, "descriptor %d: O_ASYNC", fd);
	return 0;
}

static int verify(const Cor__Names__OpenFile *file, int fd, struct cor_error *err)
{
	struct stat st;
	int flags = fcntl(fd, F_GETFL);

	if (flags < 0 || fstat(fd, &st) < 0)
		return cor_fail_errno(err, "descriptor %d", fd);
	/* anonymous inodes have no type, or another one in another kernel */
	if (file->path[0] && (st.st_mode & S_IFMT) != (file->mode & S_IFMT))
		return cor_fail(err, -EIO, "descriptor %d came out as another type of file (mode %o, "
				"wanted %o)", fd, st.st_mode, file->mode);
	if (((unsigned)flags ^ file->flags) & FLAGS_KEPT)
		return cor_fail(err, -EIO, "descriptor %d came out with flags %#o, wanted %#o", fd,
				(unsigned)flags, file->flags);
	return 0;
}

/* What needs the final numbers; then a last look. */
static int settle_all(struct cor_file_restore *r, struct cor_error *err)
{
	const Cor__Names__FileTable *table = r->place.table;
	_cleanup_free_ bool *done = calloc(table->n_files ? table->n_files : 1, sizeof(*done));

	if (!done)
		return cor_fail_code(err, -ENOMEM, "descriptors");
	for (size_t i = 0; i < table->n_descriptors; i++) {
		const Cor__Names__Descriptor *d = table->descriptors[i];
		const Cor__Names__OpenFile *file = table->files[d->file];
		const struct cor_file_ops *ops = cor_file_ops_of(file->kind);
		int rc = 0;

		if (done[d->file])
			continue;
		done[d->file] = true;
		if (ops->settle)
			rc = ops->settle(r, d->file, d->fd, err);
		if (rc == 0)
			rc = set_owner(file, d->fd, err);
		if (rc == 0)
			rc = verify(file, d->fd, err);
		if (rc < 0)
			return rc;
	}
	return 0;
}

/* All of them, but for lines to file servers, which are needed until locks are taken; or those. */
static void close_objects(struct cor_file_restore *r, bool lines)
{
	const Cor__Names__FileTable *table = r->place.table;
	_cleanup_free_ bool *is_line = calloc(r->nobjects + 1, sizeof(*is_line));

	for (size_t i = 0; is_line && i < table->n_files; i++)
		if (table->files[i]->lock_line <= r->nobjects)
			is_line[table->files[i]->lock_line] = true;
	for (unsigned i = 0; i < r->nobjects; i++)
		if (lines || !is_line || !is_line[i + 1])
			cor_closep(&r->objects[i]);
}

static int build(struct cor_file_restore *r, struct cor_error *err)
{
	int rc = make_all(r, err);

	if (rc == 0)
		rc = put_in_place(r, err);
	close_all(r->fds, (unsigned)r->place.table->n_files);
	/* of a file: POSIX locks would end with them */
	close_objects(r, false);
	close_all(r->pumped, r->npumped);
	if (rc == 0)
		rc = settle_all(r, err);
	close_objects(r, true);
	return rc;
}

int cor_files_restore(const Cor__Names__FileTable *table, const int *given, unsigned ngiven,
		      int keep_from, struct cor_error *err)
{
	unsigned npumped = COR_MIN(cor_pump_channels(table), ngiven), nobjects = ngiven - npumped;
	_cleanup_free_ int *fds = calloc(table->n_files + 1, sizeof(*fds));
	_cleanup_free_ int *objects = calloc(ngiven + 1, sizeof(*objects));
	struct cor_file_restore r = {
		.objects = objects, .nobjects = nobjects, .base = keep_from, .fds = fds,
		.npumped = npumped,
	};
	struct rlimit limit = { RLIM_INFINITY, RLIM_INFINITY };
	int rc = cor_files_table_valid(table, err);

	if (rc < 0)
		return rc;
	if (!fds || !objects)
		return cor_fail_code(err, -ENOMEM, "descriptors");
	r.pumped = objects + nobjects;
	if (cor_files_max_fd(table) >= keep_from)
		return cor_fail(err, -EINVAL, "descriptor %d lies among those that are kept (from %d)",
				cor_files_max_fd(table), keep_from);
	cor_files_place_init(&r.place, table);
	fill(fds, (unsigned)table->n_files);
	fill(objects, ngiven);
	/* temporary numbers come on top of the task's */
	cor_raise_descriptors(&limit);
	rc = lift(&r, r.objects, given, nobjects, "memory object", err);
	if (rc == 0)
		rc = lift(&r, r.pumped, given + nobjects, npumped, "channel", err);
	if (rc == 0 && keep_from > 0 && close_range(0, (unsigned)keep_from - 1, 0) < 0)
		rc = cor_fail_errno(err, "closing descriptors below %d", keep_from);
	if (rc == 0)
		rc = build(&r, err);
	else
		close_all(objects, ngiven);
	setrlimit(RLIMIT_NOFILE, &limit);
	return rc;
}
