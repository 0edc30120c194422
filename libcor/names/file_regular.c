/* Regular files, directories and O_PATH descriptors: opened again by their path.
 *
 * A regular file must be the very same on the destination: on the source's own
 * host by device and inode, elsewhere by size and modification time. Nothing is
 * ever created or truncated. A file without a name any more (file_deleted.c)
 * is carried whole.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/magic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "libcor/base/cleanup.h"
#include "libcor/base/error.h"
#include "libcor/base/io.h"
#include "libcor/names/file_deleted.h"
#include "libcor/names/file_handle.h"
#include "libcor/names/file_home.h"
#include "libcor/names/file_locks.h"
#include "libcor/names/file_ops.h"
#include "libcor/task/procfs.h"

#define MQUEUE_MAGIC 0x19800202   /* ipc/mqueue.c; not in linux/magic.h */

static int recognise(const struct cor_file_capture *c, const struct cor_file_seen *seen)
{
	if (seen->link[0] != '/')
		return -1;
	if (seen->flags & O_PATH)
		return COR__NAMES__FILE_KIND__PATH;
	if (S_ISDIR(seen->st.st_mode))
		return COR__NAMES__FILE_KIND__DIRECTORY;
	return S_ISREG(seen->st.st_mode) ? COR__NAMES__FILE_KIND__REGULAR : -1;
}

/* File systems whose files the kernel makes up as they are read. */
static bool is_virtual(unsigned long magic)
{
	static const unsigned long magics[] = {
		PROC_SUPER_MAGIC, SYSFS_MAGIC, CGROUP_SUPER_MAGIC, CGROUP2_SUPER_MAGIC,
		DEBUGFS_MAGIC, TRACEFS_MAGIC, SECURITYFS_MAGIC,
	};

	for (unsigned i = 0; i < ARRAY_SIZE(magics); i++)
		if (magics[i] == magic)
			return true;
	return false;
}

/* Is pid the task's number in the /proc that the file belongs to? In one of a PID namespace
 * of its own it has another number than here. */
static bool is_own_number(const struct cor_file_capture *c, const struct cor_file_seen *seen, int pid)
{
	_cleanup_free_ char *text = NULL;
	struct cor_proc_status st;
	char path[40];
	struct stat ours;

	if (stat("/proc", &ours) == 0 && ours.st_dev == seen->st.st_dev)
		return pid == c->pid;
	snprintf(path, sizeof(path), "/proc/%d/status", (int)c->pid);
	return cor_slurp(AT_FDCWD, path, &text, NULL) == 0 && cor_parse_status(text, &st) == 0 &&
	       st.ns_tgid == pid;
}

/* The kernel writes a list of mappings anew each time, and no two hosts the same: who has
 * read the first half of it here cannot have the other there. It takes a moment. Looked at
 * on an open file description of our own: what the kernel has written for the task's is
 * lost when anybody reads elsewhere in it. */
static int check_reading(const struct cor_file_capture *c, const struct cor_file_seen *seen,
			 const Cor__Names__OpenFile *out, struct cor_error *err)
{
	const char *name = strrchr(out->path, '/') + 1;
	_cleanup_close_ int fd = -1;
	char byte;

	/* the first capture is of a running task: what counts is how it is stopped */
	if (!c->before || out->offset == 0 ||
	    (strcmp(name, "maps") && strcmp(name, "smaps") && strcmp(name, "numa_maps")))
		return 0;
	fd = cor_file_reopen(seen->dup, O_RDONLY);
	if (fd < 0 || pread(fd, &byte, 1, (off_t)out->offset) <= 0)
		return 0;
	return cor_file_postpone(err, seen, "in the middle of reading %s; try again", out->path);
}

/* The path to open on the destination. The task's own /proc/PID is /proc/self there. */
static int take_path(struct cor_file_capture *c, const struct cor_file_seen *seen,
		     Cor__Names__OpenFile *out, struct cor_error *err)
{
	int pid, skip = 0;

	if (!out->synthetic || sscanf(seen->link, "/proc/%d%n", &pid, &skip) != 1) {
		out->path = strdup(seen->link);
		return out->path ? 0 : -ENOMEM;
	}
	if (!is_own_number(c, seen, pid))
		return cor_file_refuse(err, seen, "%s, which is about another process", seen->link);
	return asprintf(&out->path, "/proc/self%s", seen->link + skip) < 0 ? -ENOMEM : 0;
}

/* Is the descriptor another one than it was, or has its file lost or been given a name? The
 * kernel says of the parts of what was seen at different times. */
static bool changed(const struct cor_file_capture *c, const struct cor_file_seen *seen)
{
	char path[40], link[PATH_MAX];
	struct stat st;
	ssize_t n;

	if (seen->dup >= 0 && fstat(seen->dup, &st) == 0 && st.st_nlink != seen->st.st_nlink)
		return true;
	snprintf(path, sizeof(path), "/proc/%d/fd/%d", (int)c->pid, seen->fd);
	n = readlink(path, link, sizeof(link));
	return n != (ssize_t)strlen(seen->link) || memcmp(link, seen->link, (size_t)n) != 0;
}

/* Does the path still lead to the open file? */
static int check_name(struct cor_file_capture *c, const struct cor_file_seen *seen,
		      struct cor_error *err)
{
	_cleanup_free_ char *path = NULL;
	struct stat st;

	if (asprintf(&path, "/proc/%d/root%s", (int)c->pid, seen->link) < 0)
		return -ENOMEM;
	if (lstat(path, &st) == 0 && st.st_dev == seen->st.st_dev && st.st_ino == seen->st.st_ino)
		return 0;
	if (changed(c, seen))
		return cor_fail(err, -EAGAIN, "descriptor %d: %s was given or lost a name just now",
				seen->fd, seen->link);
	return cor_file_refuse(err, seen, "the file %s, which that path no longer leads to "
			       "(renamed, replaced or mounted over)", seen->link);
}

/* Of a stopped task as well: what is compared with what was seen before must be like it. */
static int take_handle(const struct cor_file_seen *seen, Cor__Names__OpenFile *out)
{
	uint8_t handle[COR_FILE_HANDLE];
	size_t len = cor_file_handle(seen->dup, NULL, handle);

	if (!len)
		return 0;
	out->handle.data = malloc(len);
	if (!out->handle.data)
		return -ENOMEM;
	memcpy(out->handle.data, handle, len);
	out->handle.len = len;
	return 0;
}

static int capture(struct cor_file_capture *c, const struct cor_file_seen *seen,
		   Cor__Names__OpenFile *out, struct cor_error *err)
{
	struct statfs fs;
	int rc;

	if (fstatfs(seen->dup, &fs) < 0)
		return cor_fail_errno(err, "descriptor %d: statfs of %s", seen->fd, seen->link);
	if ((unsigned long)fs.f_type == MQUEUE_MAGIC)
		return cor_file_refuse(err, seen, "the POSIX message queue %s: message queues are "
				       "not carried", seen->link);
	out->synthetic = out->kind == COR__NAMES__FILE_KIND__REGULAR &&
		       is_virtual((unsigned long)fs.f_type);
	out->size = (uint64_t)seen->st.st_size;
	out->mtime_ns = (uint64_t)seen->st.st_mtim.tv_sec * 1000000000u +
			(uint64_t)seen->st.st_mtim.tv_nsec;
	rc = take_path(c, seen, out, err);
	if (rc < 0)
		return rc;
	if (out->kind != COR__NAMES__FILE_KIND__PATH) {
		rc = cor_fdinfo_u64(seen->info, "pos:", 10, &out->offset);
		if (rc < 0)
			return cor_fail_code(err, rc, "descriptor %d: fdinfo", seen->fd);
		rc = cor_file_locks_capture(seen, out, err);
		if (rc < 0)
			return rc;
	}
	if (out->synthetic)
		return check_reading(c, seen, out, err);
	if (out->kind != COR__NAMES__FILE_KIND__PATH) {
		rc = cor_file_home_capture(c, seen, out, err);
		if (rc)
			return COR_MIN(rc, 0);
	}
	if (seen->st.st_nlink == 0)
		return cor_file_deleted_capture(c, seen, out, err);
	rc = take_handle(seen, out);
	return rc < 0 ? rc : check_name(c, seen, err);
}

static int relate(struct cor_file_capture *c, unsigned index, struct cor_error *err)
{
	return c->table->files[index]->deleted ? cor_file_deleted_relate(c, index) : 0;
}

/* --- the destination --------------------------------------------------------- */

static const char *type_name(uint32_t mode)
{
	switch (mode & S_IFMT) {
	case S_IFREG:  return "a regular file";
	case S_IFDIR:  return "a directory";
	case S_IFLNK:  return "a symbolic link";
	case S_IFIFO:  return "a FIFO";
	case S_IFSOCK: return "a socket";
	default:       return "a device";
	}
}

static int compare_content(const struct cor_file_place *place, const Cor__Names__OpenFile *file,
			   int number, const struct stat *st, struct cor_error *err)
{
	uint64_t mtime = (uint64_t)st->st_mtim.tv_sec * 1000000000u + (uint64_t)st->st_mtim.tv_nsec;
	/* the task still runs and writes: its own writes, seen through a shared file system */
	bool grows = !place->table->with_content && (file->flags & O_ACCMODE) != O_RDONLY &&
		     mtime >= file->mtime_ns;

	if (grows)
		return 0;
	if ((uint64_t)st->st_size != file->size)
		return cor_fail(err, -ESTALE, "descriptor %d: %s is not the same file here: its size "
				"is %llu, on the source %llu", number, file->path,
				(unsigned long long)st->st_size, (unsigned long long)file->size);
	if (mtime != file->mtime_ns)
		return cor_fail(err, -ESTALE, "descriptor %d: %s is not the same file here: it was "
				"modified at %llu.%09llu, on the source at %llu.%09llu", number,
				file->path, (unsigned long long)mtime / 1000000000u,
				(unsigned long long)mtime % 1000000000u,
				(unsigned long long)file->mtime_ns / 1000000000u,
				(unsigned long long)file->mtime_ns % 1000000000u);
	return 0;
}

/* Is what the path leads to here (st) the file that was captured? */
static int compare(const struct cor_file_place *place, unsigned index, const struct stat *st,
		   struct cor_error *err)
{
	const Cor__Names__OpenFile *file = cor_file_at(place, index);
	int number = cor_file_number(place->table, index);

	if ((st->st_mode & S_IFMT) != (file->mode & S_IFMT))
		return cor_fail(err, -ESTALE, "descriptor %d: %s is %s here, on the source %s", number,
				file->path, type_name(st->st_mode), type_name(file->mode));
	if (file->synthetic || (place->same_boot && st->st_dev == file->dev &&
			      st->st_ino == file->ino))
		return 0;
	if (file->kind == COR__NAMES__FILE_KIND__REGULAR)
		return compare_content(place, file, number, st, err);
	/* positions in a directory mean something to its file system only */
	if (file->kind == COR__NAMES__FILE_KIND__DIRECTORY && file->offset != 0)
		return cor_fail(err, -ESTALE, "descriptor %d: the directory %s is read in part, and it "
				"is another one here", number, file->path);
	return 0;
}

/* A handle (O_PATH) of the right file here, or -errno. */
static int find(const struct cor_file_place *place, unsigned index, struct cor_error *err)
{
	const Cor__Names__OpenFile *file = cor_file_at(place, index);
	int follow = file->synthetic ? 0 : O_NOFOLLOW;    /* /proc/self is a link */
	_cleanup_close_ int handle = open(file->path, O_PATH | O_CLOEXEC | follow);
	struct stat st = { 0 };
	int rc;

	if (handle < 0 || fstat(handle, &st) < 0)
		return cor_fail_errno(err, "descriptor %d: %s cannot be opened here",
				      cor_file_number(place->table, index), file->path);
	rc = compare(place, index, &st, err);
	return rc < 0 ? rc : take_fd(&handle);
}

static int check(const struct cor_file_place *place, unsigned index, struct cor_error *err)
{
	const Cor__Names__OpenFile *file = cor_file_at(place, index);
	_cleanup_close_ int handle = -1;
	_cleanup_close_ int fd = -1;

	/* the home has it open; and the task's own /proc directory is not that of the
	 * process which asks */
	if (file->home || file->deleted || (file->synthetic && strncmp(file->path, "/proc/self", 10) == 0))
		return 0;
	handle = find(place, index, err);
	if (handle < 0 || file->kind != COR__NAMES__FILE_KIND__REGULAR)
		return handle < 0 ? handle : 0;
	fd = cor_file_reopen(handle, cor_file_open_flags(file->flags));
	if (fd < 0)
		return cor_fail_code(err, fd, "descriptor %d: %s cannot be opened here",
				     cor_file_number(place->table, index), file->path);
	return 0;
}

/* Opens the named file; an O_PATH descriptor is the handle itself. */
static int open_named(struct cor_file_restore *r, unsigned index, struct cor_error *err)
{
	const Cor__Names__OpenFile *file = cor_file_at(&r->place, index);
	_cleanup_close_ int handle = find(&r->place, index, err);
	int fd;

	if (handle < 0 || file->kind == COR__NAMES__FILE_KIND__PATH)
		return take_fd(&handle);
	fd = cor_file_reopen(handle, cor_file_open_flags(file->flags));
	if (fd < 0)
		return cor_fail_code(err, fd, "descriptor %d: %s cannot be opened here",
				     cor_file_number(r->place.table, index), file->path);
	return fd;
}

static int restore(struct cor_file_restore *r, unsigned index, struct cor_error *err)
{
	const Cor__Names__OpenFile *file = cor_file_at(&r->place, index);
	int fd = file->home ? cor_file_home_open(r, index, err) :
		 file->deleted ? cor_file_deleted_make(r, index, err) : open_named(r, index, err);
	int rc;

	if (fd < 0)
		return fd;
	rc = cor_file_made(r, index, fd, file->path, err);
	if (rc < 0 || file->kind == COR__NAMES__FILE_KIND__PATH || file->offset == 0)
		return rc;
	if (lseek(r->fds[index], (off_t)file->offset, SEEK_SET) < 0)
		return cor_fail_errno(err, "descriptor %d: seeking to %llu in %s",
				      cor_file_number(r->place.table, index),
				      (unsigned long long)file->offset, file->path);
	return 0;
}

/* Another descriptor of the same file of the home's: POSIX locks are a file's, and each has the
 * same ones. */
static bool locked_before(const Cor__Names__FileTable *table, const Cor__Names__OpenFile *file)
{
	for (size_t i = 0; i < table->n_descriptors; i++) {
		const Cor__Names__OpenFile *other = table->files[table->descriptors[i]->file];

		if (other == file)
			return false;
		if (other->lock_line && other->home == file->home && other->dev == file->dev &&
		    other->ino == file->ino)
			return true;
	}
	return false;
}

static int settle(struct cor_file_restore *r, unsigned index, int fd, struct cor_error *err)
{
	const Cor__Names__OpenFile *file = cor_file_at(&r->place, index);
	unsigned line = file->lock_line;

	if (line && locked_before(r->place.table, file))
		return 0;
	return cor_file_locks_take(file, fd, line && line <= r->nobjects ? r->objects[line - 1] : -1,
				   err);
}

const struct cor_file_ops cor_file_regular = {
	.recognise = recognise,
	.capture   = capture,
	.relate    = relate,
	.check     = check,
	.restore   = restore,
	.settle    = settle,
	.mechanism = COR_MECHANISM_FILES,
	.kinds     = 1u << COR__NAMES__FILE_KIND__REGULAR | 1u << COR__NAMES__FILE_KIND__DIRECTORY |
		     1u << COR__NAMES__FILE_KIND__PATH,
};
