/* Copies of a task's home files; see home/settle.h. In a child process, which has the
 * task's rights and no others: the paths are the task's, and come from another host. */
#include "libcor/names/home/settle.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "libcor/base/cleanup.h"
#include "libcor/base/error.h"
#include "libcor/base/io.h"
#include "libcor/names/files.h"
#include "libcor/names/home/home.h"
#include "libcor/names/home/process.h"

#define ATTEMPTS 5
#define CHUNK    (1u << 20)

/* What the child says at its end. */
struct word {
	struct cor_home_settled settled;
	struct cor_error err;
};

static bool same_time(const struct stat *a, const struct stat *b)
{
	return a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec &&
	       a->st_size == b->st_size;
}

/* Every directory above path; path itself too if whole. */
static int make_directories(const char *path, bool whole, struct cor_error *err)
{
	_cleanup_free_ char *p = strdup(path);

	if (!p)
		return cor_fail(err, -ENOMEM, "out of memory");
	for (char *at = p + 1; *at || whole; at++) {
		bool end = !*at;

		if (*at != '/' && !end)
			continue;
		*at = 0;
		if (mkdir(p, 0755) < 0 && errno != EEXIST)
			return cor_fail_errno(err, "the directory %s cannot be made here", p);
		if (end)
			break;
		*at = '/';
	}
	return 0;
}

static int copy_bytes(int from, int to, uint64_t *total)
{
	_cleanup_free_ char *buf = malloc(CHUNK);
	off_t at = 0;
	ssize_t n;

	if (!buf)
		return -ENOMEM;
	while ((n = pread(from, buf, CHUNK, at)) > 0) {
		int r = cor_write_full(to, buf, (size_t)n);

		if (r < 0)
			return r;
		at += n;
	}
	*total = (uint64_t)at;
	return n < 0 ? -errno : 0;
}

static int dress(int fd, const struct stat *st)
{
	const struct timespec t[2] = { st->st_atim, st->st_mtim };

	/* another's file cannot be given away: then it is the task's own */
	if (fchown(fd, st->st_uid, st->st_gid) < 0 && errno != EPERM)
		return -errno;
	if (fchmod(fd, st->st_mode & 0777) < 0 || futimens(fd, t) < 0)
		return -errno;
	return 0;
}

/* One attempt. -EAGAIN: it was written meanwhile. */
static int copy_once(int from, const char *path, uint64_t *bytes)
{
	_cleanup_free_ char *temporary = NULL;
	_cleanup_close_ int to = -1;
	struct stat before, after;
	int r;

	if (asprintf(&temporary, "%s.cor-XXXXXX", path) < 0)
		return -ENOMEM;
	to = mkostemp(temporary, O_CLOEXEC);
	if (to < 0)
		return -errno;
	r = fstat(from, &before) < 0 ? -errno : copy_bytes(from, to, bytes);
	if (r == 0 && fstat(from, &after) < 0)
		r = -errno;
	if (r == 0 && !same_time(&before, &after))
		r = -EAGAIN;
	if (r == 0)
		r = dress(to, &after);
	/* never over what has come to be there meanwhile */
	if (r == 0 && link(temporary, path) < 0)
		r = -errno;
	unlink(temporary);
	return r;
}

static int copy_file(int from, const char *path, struct cor_home_settled *out,
		     struct cor_error *err)
{
	struct stat home, here;
	uint64_t bytes = 0;
	int r = -EAGAIN;

	if (fstat(from, &home) < 0)
		return cor_fail_errno(err, "%s", path);
	if (lstat(path, &here) == 0) {
		if (!S_ISREG(here.st_mode) || !same_time(&home, &here))
			return cor_fail(err, -EEXIST, "another file is here as %s", path);
		out->present++;
		return 0;
	}
	r = make_directories(path, false, err);
	if (r < 0)
		return r;
	r = -EAGAIN;
	for (unsigned i = 0; i < ATTEMPTS && r == -EAGAIN; i++)
		r = copy_once(from, path, &bytes);
	if (r == -EAGAIN)
		return cor_fail(err, -EBUSY, "%s is being written all the time", path);
	if (r < 0)
		return cor_fail_code(err, r, "%s cannot be copied here", path);
	out->files++;
	out->bytes += bytes;
	return 0;
}

static bool is_homes(int fd)
{
	struct cor_home_info info;

	return ioctl(fd, COR_HOME_INFO, &info) == 0;
}

/* For reading, whatever the task has it open for. */
static int reopen(int dup)
{
	char path[40];
	int fd;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", dup);
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	return fd < 0 ? -errno : fd;
}

/* The open files of the home's, as ours; before the rights are gone. */
struct open_file {
	int   dup;
	char *path;
};

static int gather(pid_t pid, struct open_file **out, unsigned *n, struct cor_error *err)
{
	_cleanup_closedir_ DIR *dir = NULL;
	struct dirent *d;
	char path[40];

	snprintf(path, sizeof(path), "/proc/%d/fd", (int)pid);
	dir = opendir(path);
	if (!dir)
		return cor_fail_errno(err, "%s", path);
	while ((d = readdir(dir))) {
		struct open_file *more;
		char link[PATH_MAX];
		struct stat st;
		ssize_t len = readlinkat(dirfd(dir), d->d_name, link, sizeof(link) - 1);
		int dup;

		if (d->d_name[0] == '.' || len <= 0 || link[0] != '/' ||
		    fstatat(dirfd(dir), d->d_name, &st, 0) < 0 || !S_ISREG(st.st_mode) ||
		    st.st_nlink == 0)
			continue;
		link[len] = 0;
		dup = cor_files_duplicate(pid, atoi(d->d_name), err);
		if (dup < 0)
			return dup;
		if (!is_homes(dup)) {
			close(dup);
			continue;
		}
		more = reallocarray(*out, *n + 1, sizeof(*more));
		if (!more)
			return cor_fail(err, -ENOMEM, "out of memory");
		*out = more;
		more[*n].dup = dup;
		more[*n].path = strdup(link);
		if (!more[(*n)++].path)
			return cor_fail(err, -ENOMEM, "out of memory");
	}
	return 0;
}

static int settle(pid_t pid, struct cor_home_settled *out, struct cor_error *err)
{
	struct open_file *files = NULL;
	char cwd[PATH_MAX], path[40];
	unsigned n = 0;
	ssize_t len;
	int r = gather(pid, &files, &n, err);

	snprintf(path, sizeof(path), "/proc/%d/cwd", (int)pid);
	len = readlink(path, cwd, sizeof(cwd) - 1);
	if (r == 0)
		r = cor_home_take_rights(pid, err);
	if (r == 0 && len > 1) {
		cwd[len] = 0;
		r = make_directories(cwd, true, err);
	}
	for (unsigned i = 0; i < n && r == 0; i++) {
		_cleanup_close_ int from = reopen(files[i].dup);

		r = from < 0 ? cor_fail_code(err, from, "%s cannot be read", files[i].path) :
			       copy_file(from, files[i].path, out, err);
	}
	return r;
}

int cor_home_settle(pid_t pid, struct cor_home_settled *out, struct cor_error *err)
{
	_cleanup_close_ int ours = -1;
	struct word w = { .err = COR_ERROR_INIT };
	int pair[2], r;
	pid_t child;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		return cor_fail_errno(err, "socketpair");
	ours = pair[0];
	child = fork();
	if (child == 0) {
		umask(022);
		w.err.code = settle(pid, &w.settled, &w.err);
		cor_write_full(pair[1], &w, sizeof(w));
		_exit(0);
	}
	close(pair[1]);
	if (child < 0)
		return cor_fail_errno(err, "fork");
	r = cor_read_full(ours, &w, sizeof(w));
	while (waitpid(child, NULL, 0) < 0 && errno == EINTR)
		;
	if (r < 0)
		return cor_fail(err, -ESRCH, "what was to copy the task's files died");
	if (w.err.code < 0)
		return cor_fail(err, w.err.code, "%s", w.err.text);
	*out = w.settled;
	return 0;
}
