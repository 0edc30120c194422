/* Parking locks: a stopped task gives its locks up, so that the destination can
 * take them where both see the same file, and takes them again when it stays.
 * Locks of an open file description (flock(2), F_OFD_SETLK) can be changed through
 * any duplicate of it; POSIX locks belong to the process, which makes the call
 * itself, by injection.
 *
 * What is served by the task's home passes from one to the other without a moment in
 * which it is nobody's (libcor/names/home/owners.c): on the home itself to a guard, an open
 * file description, by cor_lock_pass(). */
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "libcor/base/cleanup.h"
#include "libcor/base/error.h"
#include "libcor/names/file_locks.h"
#include "libcor/names/file_ops.h"
#include "libcor/names/home/home.h"
#include "libcor/task/inject.h"

/* Room for a struct flock for the time of a call, well below the red zone. */
#define BELOW_STACK 512

static int exchange(pid_t pid, uint64_t addr, void *old, const void *new, size_t len)
{
	struct iovec there = { (void *)(uintptr_t)addr, len };
	struct iovec mine = { old, len };

	if (old && process_vm_readv(pid, &mine, 1, &there, 1, 0) != (ssize_t)len)
		return -EFAULT;
	mine.iov_base = (void *)new;
	return process_vm_writev(pid, &mine, 1, &there, 1, 0) == (ssize_t)len ? 0 : -EFAULT;
}

/* What lies there is put back: it may be anything's, where stacks are small. */
static int posix_lock(struct cor_tracee *t, int fd, const struct flock *range,
		      struct cor_error *err)
{
	uint64_t at = (t->threads[0].regs.rsp - BELOW_STACK) & ~15ull;
	struct cor_call call = { .nr = SYS_fcntl, .arg = { (uint64_t)fd, F_SETLK, at } };
	uint64_t insn = cor_find_syscall_insn(t->pid);
	struct flock saved;
	int64_t ret = 0;
	int r;

	if (!insn)
		return cor_fail(err, -ENOSYS, "process %d has no syscall instruction to make calls by", t->pid);
	r = exchange(t->pid, at, &saved, range, sizeof(*range));
	if (r < 0)
		return cor_fail_code(err, r, "the stack of process %d", t->pid);
	r = cor_step_call(t->threads[0].tid, insn, &call, &ret, err);
	exchange(t->pid, at, NULL, &saved, sizeof(saved));
	return r < 0 ? r : (int)ret;
}

static int change(struct cor_tracee *t, int fd, const Cor__Names__LockRecord *lock, bool take,
		  struct cor_error *err)
{
	int whole = lock->type == F_WRLCK ? LOCK_EX : LOCK_SH;
	struct flock range = cor_lock_range(lock, take ? (int)lock->type : F_UNLCK);
	_cleanup_close_ int dup = -1;
	int r;

	if (cor_lock_is_posix(lock))
		return posix_lock(t, fd, &range, err);
	dup = cor_files_duplicate(t->pid, fd, err);
	if (dup < 0)
		return dup;
	if (lock->flock)
		r = flock(dup, (take ? whole : LOCK_UN) | LOCK_NB);
	else
		r = fcntl(dup, F_OFD_SETLK, &range);
	return r < 0 ? -errno : 0;
}

/* ---- the home's, where the task is elsewhere ------------------------------------------------- */

/* 1: its home does that; 0: it is a file of this host's; -ENOTTY: its home does not know how to. */
static int tell_home(int dup, enum home_pass how)
{
	uint32_t arg = how;
	struct statfs fs;

	if (fstatfs(dup, &fs) < 0)
		return -errno;
	if ((unsigned long)fs.f_type != FUSE_SUPER_MAGIC)
		return 0;
	return ioctl(dup, COR_HOME_PASS, &arg) < 0 ? -errno : 1;
}

/* ---- the home's, where this is the home ------------------------------------------------------ */

struct task_lock { struct cor_tracee *t; int fd; };

static int task_set(void *arg, const struct flock *range)
{
	struct task_lock *l = arg;

	return posix_lock(l->t, l->fd, range, NULL);
}

static int guard_set(void *arg, const struct flock *range)
{
	return fcntl(*(int *)arg, F_OFD_SETLK, range) < 0 ? -errno : 0;
}

static struct cor_lock_guard *find_guard(const struct cor_lock_passing *p, const struct stat *st)
{
	for (unsigned i = 0; p && i < p->n; i++)
		if (p->guards[i].dev == st->st_dev && p->guards[i].ino == st->st_ino)
			return &p->guards[i];
	return NULL;
}

/* To its guard, or none of them. Either has each of them at any moment. */
static int pass_on(struct cor_tracee *t, int fd, const Cor__Names__OpenFile *f, int guard)
{
	struct task_lock l = { t, fd };
	struct cor_lock_holder task = { task_set, &l }, other = { guard_set, &guard };
	size_t done;
	int r = 0;

	for (done = 0; done < f->n_locks; done++) {
		const Cor__Names__LockRecord *lock = f->locks[done];

		if (cor_lock_is_posix(lock))
			r = cor_lock_pass(lock, &task, &other);
		if (r < 0)
			break;
	}
	while (r < 0 && done-- > 0)
		if (cor_lock_is_posix(f->locks[done]))
			cor_lock_pass(f->locks[done], &other, &task);
	return r;
}

/* And back, as many as can be: the first error. Who reads where the task had it for itself lets it
 * read along at least. */
static int pass_back(struct cor_tracee *t, int fd, const Cor__Names__OpenFile *f, int guard)
{
	struct task_lock l = { t, fd };
	struct cor_lock_holder task = { task_set, &l }, other = { guard_set, &guard };
	int first = 0;

	for (size_t k = 0; k < f->n_locks; k++) {
		struct flock range = cor_lock_range(f->locks[k], F_RDLCK);
		int r = cor_lock_is_posix(f->locks[k]) ? cor_lock_pass(f->locks[k], &other, &task) : 0;

		if (r < 0)
			task_set(&l, &range);
		first = first ?: r;
	}
	return first;
}

static int add_guard(struct cor_lock_passing *p, const struct stat *st, int fd)
{
	struct cor_lock_guard *more = reallocarray(p->guards, p->n + 1, sizeof(*more));

	if (!more)
		return -ENOMEM;
	p->guards = more;
	p->guards[p->n++] = (struct cor_lock_guard){ st->st_dev, st->st_ino, fd };
	return 0;
}

static int guard_open(pid_t pid, int fd)
{
	char path[48];
	int guard;

	snprintf(path, sizeof(path), "/proc/%d/fd/%d", (int)pid, fd);
	guard = open(path, O_RDWR | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	return guard >= 0 ? guard : open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
}

/* 1: they are the guard's; 0: the file cannot be opened for one. */
static int to_guard(struct cor_tracee *t, int fd, const Cor__Names__OpenFile *f,
		    struct cor_lock_passing *p, const struct stat *st)
{
	_cleanup_close_ int guard = guard_open(t->pid, fd);
	int r;

	if (guard < 0)
		return 0;
	r = pass_on(t, fd, f, guard);
	if (r == -EBADF)        /* not open for what it would have to hold */
		return 0;
	if (r == 0)
		r = add_guard(p, st, guard);
	if (r == 0) {
		r = p->pass(p->arg, f, guard);
		p->n -= r < 0;
	}
	if (r < 0) {
		pass_back(t, fd, f, guard);
		return r;
	}
	take_fd(&guard);
	return 1;
}

/* ---- a file's -------------------------------------------------------------------------------- */

/* What is not only given up, or taken. 1: it was that; 0: there is nothing of that kind. */
static int pass_home(struct cor_tracee *t, int number, const Cor__Names__OpenFile *f, bool take,
		     struct cor_lock_passing *p)
{
	_cleanup_close_ int dup = -1;
	struct cor_lock_guard *g;
	struct stat st;
	int r;

	if (!f->home || !f->n_locks)
		return 0;
	dup = cor_files_duplicate(t->pid, number, NULL);
	if (dup < 0)
		return dup;
	r = tell_home(dup, take ? HOME_PASS_STAYS : HOME_PASS_GOING);
	/* what its home had given to this very host, in vain, must be taken again */
	if (r == -ENOTTY || (r > 0 && take))
		return 0;
	if (r != 0 || !p || !p->pass || fstat(dup, &st) < 0)
		return r;
	g = find_guard(p, &st);
	if (take)
		return !g ? 0 : pass_back(t, number, f, g->fd) ?: 1;
	if (!g)
		return to_guard(t, number, f, p, &st);
	/* another open file of it, by which it has other locks on it */
	r = pass_on(t, number, f, g->fd);
	return r == -EBADF ? 0 : r ?: 1;
}

static int change_file(struct cor_tracee *t, int number, const Cor__Names__OpenFile *f, bool take,
		       struct cor_lock_passing *p)
{
	int r = pass_home(t, number, f, take, p), first = COR_MIN(r, 0);

	for (size_t k = 0; k < f->n_locks && r >= 0; k++) {
		int e = r == 1 && cor_lock_is_posix(f->locks[k]) ? 0 : change(t, number, f->locks[k], take, NULL);

		first = first ?: e;
	}
	return first;
}

static int change_all(struct cor_tracee *t, const Cor__Names__FileTable *table, bool take,
		      struct cor_lock_passing *p, struct cor_error *err)
{
	int first = 0;

	for (unsigned i = 0; i < table->n_files; i++) {
		const Cor__Names__OpenFile *f = table->files[i];
		int number = cor_file_number(table, i);
		int r = f->n_locks ? change_file(t, number, f, take, p) : 0;

		if (r < 0 && first == 0)
			first = cor_fail_code(err, r, "descriptor %d: the lock on %s cannot be %s",
					      number, f->path, take ? "had back" : "given up");
	}
	return first;
}

void cor_lock_guards_close(struct cor_lock_passing *p)
{
	for (unsigned i = 0; p && i < p->n; i++)
		close(p->guards[i].fd);
	if (!p)
		return;
	free(p->guards);
	p->guards = NULL;
	p->n = 0;
}

int cor_files_park_locks(struct cor_tracee *t, const Cor__Names__FileTable *table,
			 struct cor_lock_passing *p, struct cor_error *err)
{
	int r = change_all(t, table, false, p, err);

	if (r < 0)
		cor_files_unpark_locks(t, table, p, NULL);
	return r;
}

int cor_files_unpark_locks(struct cor_tracee *t, const Cor__Names__FileTable *table,
			   struct cor_lock_passing *p, struct cor_error *err)
{
	int r = change_all(t, table, true, p, err);

	cor_lock_guards_close(p);
	return r;
}

void cor_files_bury_locks(pid_t pid, const Cor__Names__FileTable *table, struct cor_lock_passing *p)
{
	for (unsigned i = 0; i < table->n_files; i++) {
		const Cor__Names__OpenFile *f = table->files[i];
		_cleanup_close_ int dup = -1;

		if (!f->home || !f->n_locks)
			continue;
		dup = cor_files_duplicate(pid, cor_file_number(table, i), NULL);
		if (dup >= 0)
			tell_home(dup, HOME_PASS_GONE);
	}
	cor_lock_guards_close(p);
}
