/* Capture: reads the table, finds out who shares what, and gives each open file
 * description to its kind. Everything from outside, with /proc, kcmp(2) and
 * pidfd_getfd(2); the task may run where it has nothing of which it could notice that. */
#include <errno.h>
#include <fcntl.h>
#include <linux/kcmp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "libcor/base/cleanup.h"
#include "libcor/base/error.h"
#include "libcor/base/io.h"
#include "libcor/base/parallel.h"
#include "libcor/names/file_ops.h"
#include "libcor/names/files_duplicate.h"
#include "libcor/names/files_holders.h"
#include "libcor/names/files_table.h"
#include "libcor/names/net/departure.h"
#include "libcor/names/net/socket_options.h"
#include "libcor/task/procfs.h"

#define LATE_AT_LEAST    16    /* for a thread */
#define RUNNING_ATTEMPTS 5     /* a running task opens and closes while we read */

static void free_table(Cor__Names__FileTable **table)
{
	cor__names__file_table__free_unpacked(*table, NULL);
}

/* All threads must share one descriptor table: the leader's is what is read. */
static int check_one_table(pid_t pid, struct cor_error *err)
{
	_cleanup_closedir_ DIR *dir = NULL;
	struct dirent *d;
	char path[40];

	snprintf(path, sizeof(path), "/proc/%d/task", (int)pid);
	dir = opendir(path);
	if (!dir)
		return cor_fail_errno(err, "%s", path);
	while ((d = readdir(dir))) {
		pid_t tid = (pid_t)atoi(d->d_name);

		if (tid > 0 && tid != pid &&
		    syscall(SYS_kcmp, pid, tid, KCMP_FILES, 0L, 0L) > 0)
			return cor_fail(err, -EOPNOTSUPP, "thread %d of process %d has a descriptor "
					"table of its own: that is not carried", (int)tid, (int)pid);
	}
	return 0;
}

static int by_inode(const void *a, const void *b, void *arg)
{
	const struct cor_file_seen *seen = arg;
	unsigned i = *(const unsigned *)a, j = *(const unsigned *)b;
	const struct stat *x = &seen[i].st, *y = &seen[j].st;

	if (x->st_dev != y->st_dev)
		return x->st_dev < y->st_dev ? -1 : 1;
	if (x->st_ino != y->st_ino)
		return x->st_ino < y->st_ino ? -1 : 1;
	return i < j ? -1 : i > j;
}

/* Fills c->seen out of the rows: one for each file. Links and infos stay the rows'. */
static int see(struct cor_file_capture *c, const struct cor_files_table *t)
{
	unsigned n = t->nfiles;

	c->seen = calloc(n ? n : 1, sizeof(*c->seen));
	c->by_inode = calloc(n ? n : 1, sizeof(*c->by_inode));
	if (!c->seen || !c->by_inode)
		return -ENOMEM;
	for (unsigned i = 0; i < t->nrows; i++) {
		const struct cor_files_row *row = &t->rows[i];

		if (row->file != c->nseen)
			continue;       /* a duplicate of an earlier one */
		c->seen[c->nseen] = (struct cor_file_seen){
			.fd = row->fd, .dup = -1, .link = row->link, .info = row->info, .st = row->st,
			.flags = row->flags, .ahead = c->options->ahead,
		};
		c->by_inode[c->nseen] = c->nseen;
		c->nseen++;
	}
	qsort_r(c->by_inode, n, sizeof(*c->by_inode), by_inode, c->seen);
	return 0;
}

static int list_descriptors(struct cor_file_capture *c, const struct cor_files_table *t)
{
	for (unsigned i = 0; i < t->nrows; i++) {
		Cor__Names__Descriptor *d =
			COR_FILE_APPEND(c->table->descriptors, c->table->n_descriptors,
					Cor__Names__Descriptor, cor__names__descriptor__init);

		if (!d)
			return -ENOMEM;
		d->fd = t->rows[i].fd;
		d->file = t->rows[i].file;
		d->cloexec = t->rows[i].cloexec;
	}
	return 0;
}

/* Who gets the signals of F_SETOWN and F_SETSIG (fcntl(2)). */
static int capture_owner(struct cor_file_capture *c, const struct cor_file_seen *seen,
			 Cor__Names__OpenFile *out, struct cor_error *err)
{
	struct f_owner_ex owner = { 0 };
	pid_t own;

	if ((seen->flags & O_PATH) || fcntl(seen->dup, F_GETOWN_EX, &owner) < 0 || owner.pid == 0)
		return 0;
	own = owner.type == F_OWNER_PGRP ? getpgid(c->pid) : c->pid;
	if (owner.pid != own)
		return cor_file_refuse(err, seen, "%s, whose signals (F_SETOWN) go to %d, which is not "
				       "the task", seen->link, (int)owner.pid);
	out->owner = owner.pid;
	out->owner_type = owner.type == F_OWNER_PGRP ? F_OWNER_PGRP : F_OWNER_PID;
	out->signal = fcntl(seen->dup, F_GETSIG);
	return 0;
}

static const struct cor_file_ops *recognise(const struct cor_file_capture *c,
					    const struct cor_file_seen *seen, int *kind)
{
	for (unsigned i = 0; cor_file_kinds[i]; i++) {
		*kind = cor_file_kinds[i]->recognise(c, seen);
		if (*kind >= 0)
			return cor_file_kinds[i];
	}
	return NULL;
}

static int capture_file(struct cor_file_capture *c, struct cor_file_seen *seen,
			struct cor_error *err)
{
	const struct cor_file_ops *ops;
	Cor__Names__OpenFile *out;
	int kind, rc;

	if (cor_file_link_is(seen, "anon_inode:") && seen->holder.pid)
		return cor_file_refuse_shared(err, seen, seen->link);
	ops = recognise(c, seen, &kind);
	if (!ops)
		return cor_file_refuse(err, seen, "%s: that kind is not carried", seen->link);
	out = COR_FILE_APPEND(c->table->files, c->table->n_files, Cor__Names__OpenFile,
			      cor__names__open_file__init);
	if (!out)
		return cor_fail_code(err, -ENOMEM, "descriptor %d", seen->fd);
	out->kind = (Cor__Names__FileKind)kind;
	out->flags = seen->flags;
	out->mode = seen->st.st_mode;
	out->dev = seen->st.st_dev;
	out->ino = seen->st.st_ino;
	rc = capture_owner(c, seen, out, err);
	if (rc == 0)
		rc = ops->capture(c, seen, out, err);
	if (rc == 0 && !cor_mechanism_on(c->mechanisms, cor_file_mechanism(out)))
		rc = cor_file_require(c->mechanisms, cor_file_mechanism(out), seen->fd, seen->link,
				      err);
	return rc == -ENOMEM ? cor_fail_code(err, rc, "descriptor %d", seen->fd) : rc;
}

/* Lends the kind what it needs for the time of its callback. */
static int capture_one(struct cor_file_capture *c, int pidfd, struct cor_file_seen *seen,
		       struct cor_error *err)
{
	int dup = cor_files_duplicate_by(pidfd, c->pid, seen->fd, err);
	struct stat st;
	int rc;

	if (dup < 0)
		return dup == -EBADF ? -EAGAIN : dup;
	seen->dup = dup;
	if (fstat(dup, &st) < 0 || st.st_ino != seen->st.st_ino || st.st_dev != seen->st.st_dev)
		return cor_fail(err, -EAGAIN, "descriptor %d of process %d changed", seen->fd,
				(int)c->pid);
	seen->st = st;
	rc = capture_file(c, seen, err);
	if (rc < 0 || !cor_file_ops_of(c->table->files[c->index]->kind)->capture_late)
		close(take_fd(&seen->dup));
	return rc;
}

/* Files whose capture comes to its end side by side. */
struct late {
	struct cor_file_capture *c;
	unsigned *files;
	unsigned n;
	struct cor_first_error first;
};

static void capture_some(void *arg, unsigned from, unsigned to)
{
	struct late *l = arg;

	for (unsigned i = from; i < to; i++) {
		const struct cor_file_ops *ops =
			cor_file_ops_of(l->c->table->files[l->files[i]]->kind);
		struct cor_error err = COR_ERROR_INIT;
		int rc = ops->capture_late(l->c, l->files[i], &err);

		if (rc == -ENOMEM)
			cor_fail_code(&err, rc, "descriptor %d", l->c->seen[l->files[i]].fd);
		cor_first_error_note(&l->first, l->files[i], rc, &err);
		if (rc < 0)
			return;
	}
}

static int capture_late(struct cor_file_capture *c, struct cor_error *err)
{
	_cleanup_free_ unsigned *files = calloc(c->nseen + 1, sizeof(*files));
	struct late l = { .c = c, .files = files, .first = COR_FIRST_ERROR_INIT };

	if (!files)
		return cor_fail_code(err, -ENOMEM, "descriptors of process %d", (int)c->pid);
	for (unsigned i = 0; i < c->nseen; i++)
		if (c->seen[i].dup >= 0)
			files[l.n++] = i;
	if (l.n)
		cor_parallel(l.n, LATE_AT_LEAST, capture_some, &l);
	return cor_first_error_take(&l.first, err);
}

static void close_duplicates(struct cor_file_capture *c)
{
	for (unsigned i = 0; c->seen && i < c->nseen; i++)
		if (c->seen[i].dup >= 0)
			close(c->seen[i].dup);
}

static int relate_all(struct cor_file_capture *c, struct cor_error *err)
{
	for (unsigned i = 0; i < c->nseen; i++) {
		const struct cor_file_ops *ops = cor_file_ops_of(c->table->files[i]->kind);
		int rc = ops->relate ? ops->relate(c, i, err) : 0;

		if (rc < 0)
			return rc;
	}
	return 0;
}

static int start_table(struct cor_file_capture *c, const Cor__Names__FileTable *before)
{
	struct stat ours = { 0 }, theirs = { 0 };
	char path[40];

	snprintf(path, sizeof(path), "/proc/%d/ns/net", (int)c->pid);
	c->same_netns = stat(path, &theirs) == 0 && stat("/proc/self/ns/net", &ours) == 0 &&
			ours.st_ino == theirs.st_ino;
	c->table = malloc(sizeof(*c->table));
	if (!c->table)
		return -ENOMEM;
	cor__names__file_table__init(c->table);
	c->table->with_content = c->with_content;
	c->table->pid = c->pid;
	c->table->netns = theirs.st_ino;
	c->table->last_pid = cor_files_last_pid();
	if (c->departure && cor_departure_describe(c->departure, c->table) < 0)
		return -ENOMEM;
	if (before) {
		c->table->boot_id = strdup(before->boot_id);
		return c->table->boot_id ? 0 : -ENOMEM;
	}
	return cor_slurp(AT_FDCWD, "/proc/sys/kernel/random/boot_id", &c->table->boot_id, NULL);
}

/* Could the task pass on what it has alone? */
static bool can_pass(const Cor__Names__FileTable *before)
{
	bool socket = false, alone = false;

	for (size_t i = 0; i < before->n_files; i++) {
		const Cor__Names__OpenFile *f = before->files[i];
		bool pumped = f->kind == COR__NAMES__FILE_KIND__PUMPED;

		/* TCP and UDP carry no descriptors */
		socket |= pumped && f->domain == AF_UNIX;
		alone |= !pumped && (S_ISFIFO(f->mode) || S_ISSOCK(f->mode));
	}
	return socket && alone;
}

/* Were all files for which holders matter checked by an earlier capture? Then only
 * a process born since can have come to hold one: the task itself has no way to
 * pass a descriptor on but by a UNIX socket to another process. */
static pid_t checked_until(const struct cor_file_capture *c, const Cor__Names__FileTable *before)
{
	size_t next = 0;

	if (!before || before->pid != c->pid || before->last_pid <= 0 || can_pass(before))
		return 0;
	for (unsigned i = 0; i < c->nseen; i++) {
		const struct cor_file_seen *s = &c->seen[i];
		size_t tried = 0;

		/* anyone may open a named FIFO at any time; if that is known, no more is asked */
		if (S_ISFIFO(s->st.st_mode) && !cor_file_link_is(s, "pipe:[") &&
		    !cor_file_was_pumped(c, s))
			return 0;
		if (!S_ISFIFO(s->st.st_mode) && !S_ISSOCK(s->st.st_mode) && s->st.st_nlink)
			continue;
		/* both are in the order of descriptors: the next is most often the one */
		for (; tried < before->n_files; tried++, next = (next + 1) % before->n_files)
			if (before->files[next]->dev == s->st.st_dev &&
			    before->files[next]->ino == s->st.st_ino)
				break;
		if (tried == before->n_files)
			return 0;
	}
	return before->last_pid;
}

static int find_terminal(struct cor_file_capture *c)
{
	_cleanup_free_ char *text = NULL;
	struct cor_proc_stat st;
	char path[40];
	int rc;

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)c->pid);
	rc = cor_slurp(AT_FDCWD, path, &text, NULL);
	if (rc == 0)
		rc = cor_parse_stat(text, &st);
	if (rc < 0)
		return rc;
	c->tty = st.tty;
	c->foreground = st.tpgid > 0 && st.tpgid == st.pgrp;
	return 0;
}

static int capture_all(struct cor_file_capture *c, const struct cor_files_table *t,
		       const Cor__Names__FileTable *before, struct cor_error *err)
{
	_cleanup_close_ int pidfd = -1;
	int rc = start_table(c, before);

	if (rc == 0)
		rc = see(c, t);
	if (rc == 0)
		rc = list_descriptors(c, t);
	if (rc == 0)
		rc = find_terminal(c);
	if (rc == 0)
		rc = cor_file_pump_links(c);
	if (rc < 0)
		return cor_fail_code(err, rc, "descriptors of process %d", (int)c->pid);
	rc = cor_files_find_holders(c->pid, c->seen, c->nseen, checked_until(c, before),
				    c->departure != NULL, err);
	if (rc < 0)
		return rc;
	pidfd = cor_files_pidfd(c->pid, err);
	if (pidfd < 0)
		return pidfd;
	for (unsigned i = 0; i < c->nseen; i++) {
		c->index = i;
		rc = capture_one(c, pidfd, &c->seen[i], err);
		if (rc < 0)
			return rc;
	}
	rc = capture_late(c, err);
	if (rc == 0)
		rc = cor_file_pump_terminal(c, err);
	return rc < 0 ? rc : relate_all(c, err);
}

static int check_unnoticed(const struct cor_file_capture *c, const struct cor_files_table *t,
			   struct cor_error *err)
{
	const struct cor_files_row *row = c->options->running ? cor_files_table_noticed(t) : NULL;

	return !row ? 0 : cor_fail(err, -EBUSY, "descriptor %d is %s, which can be looked at only "
				   "while the task stands still", row->fd, row->link);
}

/* One attempt. On success c->table and c->extra are the caller's. */
static int attempt(struct cor_file_capture *c, const Cor__Names__FileTable *before,
		   struct cor_error *err)
{
	_cleanup_(cor_files_table_free) struct cor_files_table t = { 0 };
	int rc = check_one_table(c->pid, err);

	if (rc == 0)
		rc = cor_files_table_read(c->pid, &t, err);
	if (rc == 0)
		rc = check_unnoticed(c, &t, err);
	if (rc == 0)
		rc = capture_all(c, &t, before, err);
	close_duplicates(c);
	free(c->seen);
	free(c->by_inode);
	cor_socket_usual_free(c);
	if (rc < 0) {
		if (c->departure)
			cor_departure_release(c->departure);
		free_table(&c->table);
		free(c->extra);
	}
	return rc;
}

int cor_files_capture_with(pid_t pid, const struct cor_files_options *o,
			   struct cor_files_object **extra, unsigned *nextra,
			   Cor__Names__FileTable **out, struct cor_error *err)
{
	struct cor_file_capture c;
	int rc = 0;

	for (unsigned i = 0; i < RUNNING_ATTEMPTS; i++) {
		c = (struct cor_file_capture){
			.pid = pid, .with_content = o->with_content, .options = o,
			.mechanisms = o->mechanisms, .departure = o->departure,
			.objects = o->objects, .nobjects = o->nobjects,
			.pumps = o->pumps, .before = o->before,
		};
		rc = attempt(&c, o->before, err);
		if (rc != -EAGAIN)
			break;
		if (o->pumps && o->pumps->refresh)
			o->pumps->refresh(o->pumps->arg);
	}
	if (rc < 0)
		return rc;
	*out = c.table;
	*extra = c.extra;
	*nextra = c.nextra;
	return 0;
}

int cor_files_capture(pid_t pid, bool with_content,
		      const struct cor_files_object *objects, unsigned nobjects,
		      struct cor_files_object **extra, unsigned *nextra,
		      Cor__Names__FileTable **out, struct cor_error *err)
{
	const struct cor_files_options o = {
		.with_content = with_content, .objects = objects, .nobjects = nobjects,
	};

	return cor_files_capture_with(pid, &o, extra, nextra, out, err);
}

int cor_files_max_fd(const Cor__Names__FileTable *table)
{
	int max = -1;

	for (size_t i = 0; i < table->n_descriptors; i++)
		max = COR_MAX(max, table->descriptors[i]->fd);
	return max;
}
