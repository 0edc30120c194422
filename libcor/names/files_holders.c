/* One walk over /proc/PID/fd of the other processes, comparing link texts. A
 * link names pipes and sockets by inode number, nameless files by their path,
 * where the inode is then compared as well. */
#include "libcor/names/files_holders.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/kcmp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "libcor/base/cleanup.h"
#include "libcor/base/error.h"
#include "libcor/base/io.h"

#define MAX_ANCESTORS 32
#define MAX_LINKS 2000000u      /* descriptors on this host before the walk gives up */

struct wanted {
	struct cor_file_seen **files;   /* sorted by link */
	unsigned n;
	pid_t pid;                      /* not this process */
	bool skip_own;
	pid_t ancestors[MAX_ANCESTORS]; /* its parents, and theirs */
	unsigned nancestors;
	unsigned budget;
};

static bool matters(const struct cor_file_seen *s)
{
	return cor_file_link_is(s, "pipe:[") || cor_file_link_is(s, "socket:[") ||
	       S_ISFIFO(s->st.st_mode) || (S_ISREG(s->st.st_mode) && s->st.st_nlink == 0);
}

static int by_link(const void *a, const void *b)
{
	return strcmp((*(struct cor_file_seen *const *)a)->link,
		      (*(struct cor_file_seen *const *)b)->link);
}

/* The first of the files with that link, or n. */
static unsigned lookup(const struct wanted *w, const char *link)
{
	unsigned low = 0, high = w->n;

	while (low < high) {
		unsigned mid = low + (high - low) / 2;

		if (strcmp(w->files[mid]->link, link) < 0)
			low = mid + 1;
		else
			high = mid;
	}
	return low < w->n && strcmp(w->files[low]->link, link) == 0 ? low : w->n;
}

/* A thread's ID leads to its process's descriptors too. */
static bool is_thread_of(pid_t tid, pid_t pid)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/task/%d", (int)pid, (int)tid);
	return access(path, F_OK) == 0;
}

static void read_comm(pid_t pid, char out[16])
{
	_cleanup_free_ char *comm = NULL;
	char path[40];

	snprintf(path, sizeof(path), "/proc/%d/comm", (int)pid);
	if (cor_slurp(AT_FDCWD, path, &comm, NULL) < 0)
		snprintf(out, 16, "?");
	else
		snprintf(out, 16, "%.*s", (int)strcspn(comm, "\n"), comm);
}

static void describe(pid_t pid, struct cor_holder *out)
{
	out->pid = pid;
	read_comm(pid, out->comm);
}

static bool is_ancestor(const struct wanted *w, pid_t pid)
{
	for (unsigned i = 0; i < w->nancestors; i++)
		if (w->ancestors[i] == pid)
			return true;
	return false;
}

static bool is_direct(pid_t pid, const char *name)
{
	_cleanup_free_ char *info = NULL;
	uint64_t flags = 0;
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/fdinfo/%.20s", (int)pid, name);
	return cor_slurp(AT_FDCWD, path, &info, NULL) == 0 &&
	       cor_fdinfo_u64(info, "flags:", 8, &flags) == 0 && (flags & O_DIRECT);
}

/* Someone who may take from a pipe what the task is to read, or who writes packets into
 * it: no flag of the reading end tells of these. */
static void note_pipe(const struct wanted *w, pid_t pid, int dir, const char *name,
		      struct cor_holder *out)
{
	struct stat st;

	/* the link's own permissions are what the descriptor may be used for (proc(5)) */
	if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return;
	if ((st.st_mode & S_IWUSR) && !out->packets)
		out->packets = is_direct(pid, name);
	if (!(st.st_mode & S_IRUSR))
		return;
	if (is_ancestor(w, pid)) {
		out->above = true;
	} else if (!out->reader) {
		out->reader = pid;
		read_comm(pid, out->reader_comm);
	}
}

/* Descriptor name of process pid has a wanted link. */
static void found(struct wanted *w, pid_t pid, int dir, const char *name, const char *link)
{
	unsigned i = lookup(w, link);
	struct stat st;

	if (i == w->n || is_thread_of(pid, w->pid) ||
	    (w->skip_own && is_thread_of(pid, getpid())) || fstatat(dir, name, &st, 0) < 0)
		return;
	for (; i < w->n && strcmp(w->files[i]->link, link) == 0; i++) {
		struct cor_file_seen *s = w->files[i];

		if (s->st.st_dev != st.st_dev || s->st.st_ino != st.st_ino)
			continue;
		if (!s->holder.pid)
			describe(pid, &s->holder);
		if (S_ISFIFO(st.st_mode) || S_ISSOCK(st.st_mode))
			note_pipe(w, pid, dir, name, &s->holder);
	}
}

static int walk_process(struct wanted *w, pid_t pid)
{
	_cleanup_closedir_ DIR *dir = NULL;
	char path[40], link[4096];
	struct dirent *d;

	snprintf(path, sizeof(path), "/proc/%d/fd", (int)pid);
	dir = opendir(path);
	if (!dir)
		return 0;       /* it is gone */
	while ((d = readdir(dir))) {
		ssize_t len;

		if (d->d_name[0] == '.')
			continue;
		if (w->budget-- == 0)
			return -E2BIG;
		len = readlinkat(dirfd(dir), d->d_name, link, sizeof(link) - 1);
		if (len <= 0)
			continue;
		link[len] = 0;
		if (lookup(w, link) < w->n)
			found(w, pid, dirfd(dir), d->d_name, link);
	}
	return 0;
}

static int walk_all(struct wanted *w)
{
	_cleanup_closedir_ DIR *proc = opendir("/proc");
	struct dirent *d;

	if (!proc)
		return -errno;
	while ((d = readdir(proc))) {
		pid_t pid = (pid_t)atoi(d->d_name);
		int rc = pid > 0 && pid != w->pid ? walk_process(w, pid) : 0;

		if (rc < 0)
			return rc;
	}
	return 0;
}

static int walk_newer(struct wanted *w, pid_t newer_than)
{
	pid_t last = cor_files_last_pid();

	/* numbers wrapped around, or so many that the whole walk is shorter */
	if (last < newer_than || last - newer_than > 500)
		return walk_all(w);
	for (pid_t pid = newer_than + 1; pid <= last; pid++) {
		int rc = pid != w->pid ? walk_process(w, pid) : 0;

		if (rc < 0)
			return rc;
	}
	return 0;
}

static pid_t parent_of(pid_t pid)
{
	_cleanup_free_ char *text = NULL;
	char path[40];
	const char *line;

	snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
	if (cor_slurp(AT_FDCWD, path, &text, NULL) < 0)
		return 0;
	line = strstr(text, "\nPPid:");
	return line ? (pid_t)atoi(line + 6) : 0;
}

/* The init is nobody's ancestor in this sense: it takes in whoever is left over. */
static void find_ancestors(struct wanted *w)
{
	pid_t pid = parent_of(w->pid);

	for (; pid > 1 && w->nancestors < MAX_ANCESTORS; pid = parent_of(pid))
		w->ancestors[w->nancestors++] = pid;
}

/* Descriptor fd of process other, which links to link: is it one of the task's? */
static void compare_anonymous(pid_t pid, struct cor_file_seen *seen, unsigned n, pid_t other,
			      int fd, const char *link)
{
	for (unsigned i = 0; i < n; i++)
		if (!seen[i].holder.pid && strcmp(seen[i].link, link) == 0 &&
		    syscall(SYS_kcmp, pid, other, KCMP_FILE, (long)seen[i].fd, (long)fd) == 0)
			describe(other, &seen[i].holder);
}

static void find_inherited(pid_t pid, struct cor_file_seen *seen, unsigned n)
{
	pid_t parent = parent_of(pid);
	_cleanup_closedir_ DIR *dir = NULL;
	char path[40], link[64];
	struct dirent *d;

	snprintf(path, sizeof(path), "/proc/%d/fd", (int)parent);
	dir = parent > 0 ? opendir(path) : NULL;
	while (dir && (d = readdir(dir))) {
		ssize_t len = readlinkat(dirfd(dir), d->d_name, link, sizeof(link) - 1);

		link[len > 0 ? len : 0] = 0;
		if (strncmp(link, "anon_inode:", 11) == 0)
			compare_anonymous(pid, seen, n, parent, atoi(d->d_name), link);
	}
}

static bool has_anonymous(const struct cor_file_seen *seen, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		if (cor_file_link_is(&seen[i], "anon_inode:"))
			return true;
	return false;
}

int cor_files_find_holders(pid_t pid, struct cor_file_seen *seen, unsigned n, pid_t newer_than,
			   bool skip_own, struct cor_error *err)
{
	_cleanup_free_ struct cor_file_seen **files = calloc(n ? n : 1, sizeof(*files));
	struct wanted w = { .files = files, .pid = pid, .budget = MAX_LINKS,
			    .skip_own = skip_own };
	int rc;

	if (!files)
		return cor_fail_code(err, -ENOMEM, "looking for holders");
	for (unsigned i = 0; i < n; i++)
		if (matters(&seen[i]))
			files[w.n++] = &seen[i];
	if (newer_than == 0 && has_anonymous(seen, n))
		find_inherited(pid, seen, n);
	if (w.n == 0)
		return 0;
	find_ancestors(&w);
	qsort(files, w.n, sizeof(*files), by_link);
	rc = newer_than > 0 ? walk_newer(&w, newer_than) : walk_all(&w);
	if (rc == -E2BIG)
		return cor_fail(err, rc, "who shares descriptors with process %d cannot be told: this "
				"host has more than %u open", (int)pid, MAX_LINKS);
	return rc < 0 ? cor_fail_code(err, rc, "reading /proc") : 0;
}

void cor_files_find_holder_of(pid_t pid, const char *link, struct cor_holder *out)
{
	_cleanup_closedir_ DIR *proc = opendir("/proc");
	struct dirent *d;

	memset(out, 0, sizeof(*out));
	while (proc && (d = readdir(proc))) {
		pid_t other = (pid_t)atoi(d->d_name);
		_cleanup_closedir_ DIR *dir = NULL;
		char path[40], text[64];
		struct dirent *e;

		snprintf(path, sizeof(path), "/proc/%d/fd", (int)other);
		dir = other > 0 && other != pid ? opendir(path) : NULL;
		while (dir && (e = readdir(dir))) {
			ssize_t len = readlinkat(dirfd(dir), e->d_name, text, sizeof(text) - 1);

			text[len > 0 ? len : 0] = 0;
			if (strcmp(text, link) == 0) {
				describe(other, out);
				return;
			}
		}
	}
}

pid_t cor_files_last_pid(void)
{
	_cleanup_free_ char *text = NULL;
	const char *last;

	if (cor_slurp(AT_FDCWD, "/proc/loadavg", &text, NULL) < 0)
		return 0;
	last = strrchr(text, ' ');
	return last ? (pid_t)atoi(last + 1) : 0;
}
