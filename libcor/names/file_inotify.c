/* inotify(7): fdinfo tells each watch with a handle of its inode
 * (proc_pid_fdinfo(5)), which leads back to a path (open_by_handle_at(2)). Watch
 * numbers are kept, since events name them: the kernel gives them out in order,
 * so those in between are taken and given back. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "libcor/base/cleanup.h"
#include "libcor/base/error.h"
#include "libcor/base/io.h"
#include "libcor/names/file_ops.h"

#define WD_MAX 100000   /* higher numbers take too long to reach */
#define DRAIN_EVERY 512 /* watches given back leave events, and queues are bounded */

struct watch {
	unsigned wd, mask, sdev;
	unsigned long ino;
	_Alignas(struct file_handle) char room[sizeof(struct file_handle) + MAX_HANDLE_SZ];
};

static int recognise(const struct cor_file_capture *c, const struct cor_file_seen *seen)
{
	return cor_file_link_is(seen, "anon_inode:inotify") ||
	       cor_file_link_is(seen, "anon_inode:[inotify]") ?
	       COR__NAMES__FILE_KIND__INOTIFY : -1;
}

/* "wd:3 ino:1 sdev:15 mask:100 ignored_mask:0 fhandle-bytes:c fhandle-type:81
 * f_handle:0100...", all hexadecimal. False: no handle. */
static bool parse(const char *text, struct watch *w)
{
	struct file_handle *handle = (struct file_handle *)w->room;
	char line[160 + 2 * MAX_HANDLE_SZ];
	int used = 0;

	cor_fdinfo_line(text, line, sizeof(line));
	if (sscanf(line, "wd:%x ino:%lx sdev:%x mask:%x ignored_mask:%*x fhandle-bytes:%x "
		   "fhandle-type:%x f_handle:%n", &w->wd, &w->ino, &w->sdev, &w->mask,
		   &handle->handle_bytes, (unsigned *)&handle->handle_type, &used) != 6 || !used ||
	    handle->handle_bytes > MAX_HANDLE_SZ ||
	    strspn(line + used, "0123456789abcdef") < 2 * (size_t)handle->handle_bytes)
		return false;
	for (unsigned i = 0; i < handle->handle_bytes; i++) {
		unsigned byte = 0;

		sscanf(line + used + 2 * i, "%2x", &byte);
		handle->f_handle[i] = (unsigned char)byte;
	}
	return true;
}

/* mountinfo writes blanks and the like as \040. */
static void unescape(char *text)
{
	char *to = text;

	for (const char *from = text; *from; to++) {
		unsigned byte;

		if (from[0] == '\\' && sscanf(from + 1, "%3o", &byte) == 1) {
			*to = (char)byte;
			from += 4;
		} else {
			*to = *from++;
		}
	}
	*to = 0;
}

/* The path of the inode as seen through the mount at point; false: not that way. */
static bool resolve_in(const char *point, struct watch *w, char path[PATH_MAX])
{
	_cleanup_close_ int mount = open(point, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NONBLOCK);
	_cleanup_close_ int fd = -1;
	struct stat st;
	char link[40];
	ssize_t len;

	if (mount < 0)
		return false;
	fd = open_by_handle_at(mount, (struct file_handle *)w->room, O_PATH | O_CLOEXEC);
	if (fd < 0)
		return false;
	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	len = readlink(link, path, PATH_MAX - 1);
	if (len <= 0)
		return false;
	path[len] = 0;
	return lstat(path, &st) == 0 && st.st_ino == w->ino;
}

static bool resolve(const char *mounts, struct watch *w, char path[PATH_MAX])
{
	for (const char *line = mounts; line && *line; ) {
		unsigned ma, mi;
		char point[PATH_MAX];

		/* "27 1 254:0 / / rw,..." */
		if (sscanf(line, "%*d %*d %u:%u %*s %4095s", &ma, &mi, point) == 3 &&
		    (ma << 20 | mi) == w->sdev) {
			unescape(point);
			if (resolve_in(point, w, path))
				return true;
		}
		line = strchr(line, '\n');
		line = line ? line + 1 : NULL;
	}
	return false;
}

static int add_watch(const struct cor_file_seen *seen, const char *line, const char *mounts,
		     Cor__Names__OpenFile *out, struct cor_error *err)
{
	struct watch w = { 0 };
	Cor__Names__InotifyWatch *watch;
	char path[PATH_MAX];

	if (!parse(line, &w) || !resolve(mounts, &w, path))
		return cor_file_refuse(err, seen, "an inotify instance whose watch %u is of inode %lu "
				       "on device %u:%u, for which no path can be found", w.wd, w.ino,
				       w.sdev >> 20, w.sdev & 0xfffff);
	if (w.wd > WD_MAX)
		return cor_file_refuse(err, seen, "an inotify instance with watch number %u (of %s): "
				       "numbers up to %u are carried", w.wd, path, WD_MAX);
	watch = COR_FILE_APPEND(out->watches, out->n_watches, Cor__Names__InotifyWatch,
				cor__names__inotify_watch__init);
	if (!watch)
		return -ENOMEM;
	watch->wd = (int32_t)w.wd;
	watch->mask = w.mask;
	watch->path = strdup(path);
	return watch->path ? 0 : -ENOMEM;
}

static int by_wd(const void *a, const void *b)
{
	const Cor__Names__InotifyWatch *x = *(Cor__Names__InotifyWatch *const *)a;
	const Cor__Names__InotifyWatch *y = *(Cor__Names__InotifyWatch *const *)b;

	return x->wd < y->wd ? -1 : x->wd > y->wd;
}

static int capture(struct cor_file_capture *c, const struct cor_file_seen *seen,
		   Cor__Names__OpenFile *out, struct cor_error *err)
{
	const char *line = cor_fdinfo_find(seen->info, "inotify ");
	_cleanup_free_ char *mounts = NULL;
	int waiting = 0, rc;

	if (ioctl(seen->dup, FIONREAD, &waiting) < 0)
		return cor_fail_errno(err, "descriptor %d: FIONREAD", seen->fd);
	/* a task that watches reads them in a moment */
	if (waiting && c->with_content)
		return cor_file_postpone(err, seen, "an inotify instance with %d bytes of events that "
					 "were not read yet: these are not carried", waiting);
	rc = cor_slurp(AT_FDCWD, "/proc/self/mountinfo", &mounts, NULL);
	if (rc < 0)
		return cor_fail_code(err, rc, "/proc/self/mountinfo");
	while (line) {
		rc = add_watch(seen, line, mounts, out, err);
		if (rc < 0)
			return rc;
		line = strchr(line, '\n');
		line = line ? cor_fdinfo_find(line + 1, "inotify ") : NULL;
	}
	if (out->n_watches)
		qsort(out->watches, out->n_watches, sizeof(*out->watches), by_wd);
	return 0;
}

/* --- the destination --------------------------------------------------------- */

static int check_numbers(const struct cor_file_place *place, unsigned index,
			 struct cor_error *err)
{
	const Cor__Names__OpenFile *file = cor_file_at(place, index);

	for (size_t i = 0; i < file->n_watches; i++)
		if (file->watches[i]->wd < 1 || file->watches[i]->wd > WD_MAX)
			return cor_fail(err, -EPROTO, "descriptor %d: its inotify watch has number %d",
					cor_file_number(place->table, index), file->watches[i]->wd);
	return 0;
}

static int check(const struct cor_file_place *place, unsigned index, struct cor_error *err)
{
	const Cor__Names__OpenFile *file = cor_file_at(place, index);
	struct stat st;
	int rc = check_numbers(place, index, err);

	if (rc < 0)
		return rc;
	for (size_t i = 0; i < file->n_watches; i++)
		if (lstat(file->watches[i]->path, &st) < 0)
			return cor_fail_errno(err, "descriptor %d: %s, which its inotify watch %d is "
					      "of", cor_file_number(place->table, index),
					      file->watches[i]->path, file->watches[i]->wd);
	return 0;
}

/* Throws away the events that giving watches back has left. */
static void drain(int fd)
{
	char buf[8192];

	while (read(fd, buf, sizeof(buf)) > 0)
		;
}

/* Adds the watch under its number. -errno. */
static int add_at(int fd, const Cor__Names__InotifyWatch *watch)
{
	for (unsigned i = 1; i <= WD_MAX; i++) {
		/* the path is the file itself, a symbolic link included */
		int wd = inotify_add_watch(fd, watch->path, watch->mask | IN_DONT_FOLLOW);

		if (wd < 0)
			return -errno;
		if (wd == watch->wd)
			return 0;
		if (wd > watch->wd)
			break;
		inotify_rm_watch(fd, wd);
		if (i % DRAIN_EVERY == 0)
			drain(fd);
	}
	return -EEXIST;
}

static int restore(struct cor_file_restore *r, unsigned index, struct cor_error *err)
{
	const Cor__Names__OpenFile *file = cor_file_at(&r->place, index);
	_cleanup_close_ int fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	int number = cor_file_number(r->place.table, index);
	int rc;

	if (fd < 0)
		return cor_fail_errno(err, "descriptor %d: an inotify instance", number);
	rc = check_numbers(&r->place, index, err);
	if (rc < 0)
		return rc;
	for (size_t i = 0; i < file->n_watches; i++) {
		rc = add_at(fd, file->watches[i]);

		if (rc < 0)
			return cor_fail_code(err, rc, "descriptor %d: inotify watch %d of %s", number,
					     file->watches[i]->wd, file->watches[i]->path);
	}
	drain(fd);
	if (!(file->flags & O_NONBLOCK) && fcntl(fd, F_SETFL, 0) < 0)
		return cor_fail_errno(err, "descriptor %d: its flags", number);
	return cor_file_made(r, index, take_fd(&fd), "the inotify instance", err);
}

const struct cor_file_ops cor_file_inotify = {
	.recognise = recognise,
	.capture   = capture,
	.check     = check,
	.restore   = restore,
	.mechanism = COR_MECHANISM_EVENTS,
	.kinds     = 1u << COR__NAMES__FILE_KIND__INOTIFY,
};
