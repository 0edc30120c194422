/* /proc/PID/fd and fdinfo, grouped with kcmp(2). Descriptors of one inode are
 * sorted by kcmp's own order, so that n descriptors cost n log n comparisons,
 * and only among those that could be equal. */
#include "libcor/names/files_table.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/kcmp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "libcor/base/cleanup.h"
#include "libcor/base/error.h"
#include "libcor/base/parallel.h"
#include "libcor/base/io.h"

#define ROWS_AT_LEAST 100      /* for a thread */

void cor_files_table_free(struct cor_files_table *t)
{
	for (unsigned i = 0; i < t->nrows; i++) {
		free(t->rows[i].link);
		free(t->rows[i].info);
	}
	free(t->rows);
	*t = (struct cor_files_table){ 0 };
}

static int by_fd(const void *a, const void *b)
{
	return ((const struct cor_files_row *)a)->fd - ((const struct cor_files_row *)b)->fd;
}

static int list(pid_t pid, DIR *dir, struct cor_files_table *t, struct cor_error *err)
{
	unsigned room = 0;
	struct dirent *d;

	while ((d = readdir(dir))) {
		if (d->d_name[0] == '.')
			continue;
		if (t->nrows == room) {
			struct cor_files_row *bigger;

			room = room ? room * 2 : 32;
			bigger = realloc(t->rows, room * sizeof(*bigger));
			if (!bigger)
				return cor_fail_code(err, -ENOMEM, "descriptors of process %d",
						     (int)pid);
			t->rows = bigger;
		}
		t->rows[t->nrows++] = (struct cor_files_row){ .fd = atoi(d->d_name) };
	}
	if (t->nrows)
		qsort(t->rows, t->nrows, sizeof(*t->rows), by_fd);
	return 0;
}

/* cloexec is a flag of the descriptor there. */
static int read_info(int infos, const char *name, struct cor_files_row *row)
{
	uint64_t flags;
	int rc = cor_slurp(infos, name, &row->info, NULL);

	if (rc < 0)
		return rc;
	if (cor_fdinfo_u64(row->info, "flags:", 8, &flags) < 0)
		return -EINVAL;
	row->cloexec = (flags & O_CLOEXEC) != 0;
	row->flags = (unsigned)flags & ~(unsigned)O_CLOEXEC;
	return 0;
}

static int read_row(int fds, int infos, struct cor_files_row *row)
{
	char name[16], link[4096];
	ssize_t len;

	snprintf(name, sizeof(name), "%d", row->fd);
	len = readlinkat(fds, name, link, sizeof(link) - 1);
	if (len < 0 || fstatat(fds, name, &row->st, 0) < 0)
		return -errno;
	link[len] = 0;
	row->link = strdup(link);
	return row->link ? read_info(infos, name, row) : -ENOMEM;
}

struct reading {
	pid_t pid;
	int fds, infos;
	struct cor_files_row *rows;
	struct cor_first_error first;
};

static void read_some(void *arg, unsigned from, unsigned to)
{
	struct reading *r = arg;

	for (unsigned i = from; i < to; i++) {
		struct cor_error err = COR_ERROR_INIT;
		int rc = read_row(r->fds, r->infos, &r->rows[i]);

		if (rc < 0)
			rc = cor_fail_code(&err, rc == -ENOENT ? -EAGAIN : rc,
					   "descriptor %d of process %d", r->rows[i].fd, (int)r->pid);
		cor_first_error_note(&r->first, i, rc, &err);
		if (rc < 0)
			return;
	}
}

static int read_rows(pid_t pid, int fds, struct cor_files_table *t, struct cor_error *err)
{
	_cleanup_close_ int infos = -1;
	struct reading job;
	char path[40];

	snprintf(path, sizeof(path), "/proc/%d/fdinfo", (int)pid);
	infos = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (infos < 0)
		return cor_fail_errno(err, "%s", path);
	job = (struct reading){ pid, fds, infos, t->rows, COR_FIRST_ERROR_INIT };
	cor_parallel(t->nrows, ROWS_AT_LEAST, read_some, &job);
	return cor_first_error_take(&job.first, err);
}

struct grouping {
	pid_t pid;
	struct cor_files_row *rows;
	int  error;
};

/* kcmp(2): 0 equal, 1 less, 2 greater, 3 different without an order. */
static int compare_files(struct grouping *g, int a, int b)
{
	long rc = syscall(SYS_kcmp, g->pid, g->pid, KCMP_FILE, (long)a, (long)b);

	if (rc < 0)
		g->error = errno == EBADF ? -EAGAIN : -errno;
	if (rc == 0 || rc == 1 || rc == 2)
		return rc == 1 ? -1 : (int)rc / 2;
	return a < b ? -1 : a > b;
}

static int compare_rows(const void *x, const void *y, void *arg)
{
	struct grouping *g = arg;
	const struct cor_files_row *a = &g->rows[*(const unsigned *)x];
	const struct cor_files_row *b = &g->rows[*(const unsigned *)y];
	int rc;

	if (a == b)
		return 0;
	if (a->st.st_ino != b->st.st_ino)
		return a->st.st_ino < b->st.st_ino ? -1 : 1;
	if (a->st.st_dev != b->st.st_dev)
		return a->st.st_dev < b->st.st_dev ? -1 : 1;
	rc = strcmp(a->link, b->link);      /* all anonymous inodes are one inode */
	return rc ? rc : compare_files(g, a->fd, b->fd);
}

static int group(pid_t pid, struct cor_files_table *t, struct cor_error *err)
{
	struct grouping g = { .pid = pid, .rows = t->rows };
	_cleanup_free_ unsigned *order = calloc(t->nrows, sizeof(*order));

	if (!order)
		return cor_fail_code(err, -ENOMEM, "descriptors of process %d", (int)pid);
	for (unsigned i = 0; i < t->nrows; i++)
		order[i] = i;
	qsort_r(order, t->nrows, sizeof(*order), compare_rows, &g);
	/* the representative of a group is its lowest row */
	for (unsigned i = 0; i < t->nrows; ) {
		unsigned end = i + 1, lowest = order[i];

		while (end < t->nrows && compare_rows(&order[i], &order[end], &g) == 0) {
			lowest = COR_MIN(lowest, order[end]);
			end++;
		}
		for (; i < end; i++)
			t->rows[order[i]].file = lowest;
	}
	if (g.error)
		return cor_fail_code(err, g.error, "comparing descriptors of process %d", (int)pid);
	/* rows become dense file numbers; a representative comes before its duplicates */
	for (unsigned i = 0; i < t->nrows; i++) {
		unsigned lowest = t->rows[i].file;

		t->rows[i].file = lowest == i ? t->nfiles++ : t->rows[lowest].file;
	}
	return 0;
}

int cor_files_table_read(pid_t pid, struct cor_files_table *t, struct cor_error *err)
{
	struct cor_files_table fresh = { 0 };
	_cleanup_closedir_ DIR *dir = NULL;
	char path[40];
	int rc;

	snprintf(path, sizeof(path), "/proc/%d/fd", (int)pid);
	dir = opendir(path);
	if (!dir)
		return cor_fail_errno(err, "%s", path);
	rc = list(pid, dir, &fresh, err);
	if (rc == 0)
		rc = read_rows(pid, dirfd(dir), &fresh, err);
	if (rc == 0 && fresh.nrows)
		rc = group(pid, &fresh, err);
	if (rc < 0)
		cor_files_table_free(&fresh);
	else
		*t = fresh;
	return rc;
}

static bool is_noticed(const struct cor_files_row *row)
{
	static const char anonymous[] = "anon_inode:";

	if (row->flags & O_PATH)
		return false;
	if ((row->flags & O_ASYNC) || cor_fdinfo_find(row->info, "lock:"))
		return true;
	/* of these an epoll set alone could tell */
	if (strncmp(row->link, anonymous, strlen(anonymous)) == 0)
		return strcmp(row->link, "anon_inode:[eventpoll]") == 0;
	switch (row->st.st_mode & S_IFMT) {
	case S_IFDIR:
		return false;
	case S_IFREG:
		return (row->flags & O_ACCMODE) != O_RDONLY;
	case S_IFCHR:           /* but for a pseudo-terminal's master, which hangs it up */
		return row->st.st_rdev == makedev(5, 2);
	default:
		return true;
	}
}

const struct cor_files_row *cor_files_table_noticed(const struct cor_files_table *t)
{
	for (unsigned i = 0; i < t->nrows; i++)
		if (is_noticed(&t->rows[i]))
			return &t->rows[i];
	return NULL;
}
