/* Parking locks: a stopped task gives its locks up, so that the destination can
 * take them where both see the same file, and takes them again when it stays.
 * Locks of an open file description (flock(2), F_OFD_SETLK) can be changed through
 * any duplicate of it; POSIX locks belong to the process, which makes the call
 * itself, by injection. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/syscall.h>
#include <sys/uio.h>

#include "libcor/base/cleanup.h"
#include "libcor/base/error.h"
#include "libcor/names/file_ops.h"
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
	struct flock range = {
		.l_type = take ? (short)lock->type : F_UNLCK,
		.l_whence = SEEK_SET,
		.l_start = (off_t)lock->start,
		.l_len = (off_t)lock->len,
	};
	_cleanup_close_ int dup = -1;
	int r;

	if (!lock->flock && !lock->ofd)
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

static int change_all(struct cor_tracee *t, const Cor__Names__FileTable *table, bool take,
		      struct cor_error *err)
{
	int first = 0;

	for (unsigned i = 0; i < table->n_files; i++) {
		const Cor__Names__OpenFile *f = table->files[i];
		int number = cor_file_number(table, i);

		for (size_t k = 0; k < f->n_locks; k++) {
			int r = change(t, number, f->locks[k], take, NULL);

			if (r < 0 && first == 0)
				first = cor_fail_code(err, r, "descriptor %d: the lock on %s "
						      "cannot be %s", number, f->path,
						      take ? "had back" : "given up");
		}
	}
	return first;
}

int cor_files_park_locks(struct cor_tracee *t, const Cor__Names__FileTable *table,
			 struct cor_error *err)
{
	int r = change_all(t, table, false, err);

	if (r < 0)
		change_all(t, table, true, NULL);
	return r;
}

int cor_files_unpark_locks(struct cor_tracee *t, const Cor__Names__FileTable *table,
			   struct cor_error *err)
{
	return change_all(t, table, true, err);
}
