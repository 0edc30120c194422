/* Locks: read out of fdinfo, taken again with fcntl(2) and flock(2). */
#include "libcor/names/file_locks.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "libcor/base/error.h"
#include "libcor/base/io.h"
#include "libcor/names/home/process.h"

/* One line after its "lock:", such as
 *	1: POSIX  ADVISORY  WRITE 1234 08:02:131 0 EOF */
static int parse(const char *text, const struct cor_file_seen *seen, Cor__Names__OpenFile *out,
		 struct cor_error *err)
{
	char class[8], mandatory[12], mode[12], last[24];
	Cor__Names__LockRecord *lock;
	unsigned long long start;
	char line[160];

	cor_fdinfo_line(text, line, sizeof(line));
	if (sscanf(line, "%*d: %7s %11s %11s %*d %*s %llu %23s", class, mandatory, mode, &start,
		   last) != 5)
		return cor_fail(err, -EOPNOTSUPP, "descriptor %d: %s has a lock that is not "
				"understood: %.60s", seen->fd, seen->link, line);
	if (strcmp(class, "POSIX") != 0 && strcmp(class, "OFDLCK") != 0 &&
	    strcmp(class, "FLOCK") != 0)
		return cor_file_refuse(err, seen, "the file %s with a lease on it: leases are not "
				       "carried", seen->link);
	lock = COR_FILE_APPEND(out->locks, out->n_locks, Cor__Names__LockRecord,
			       cor__names__lock_record__init);
	if (!lock)
		return -ENOMEM;
	lock->type = strcmp(mode, "WRITE") == 0 ? F_WRLCK : F_RDLCK;
	lock->flock = class[0] == 'F';
	lock->ofd = class[0] == 'O';
	lock->start = start;
	lock->len = strcmp(last, "EOF") == 0 ? 0 : strtoull(last, NULL, 10) - start + 1;
	return 0;
}

int cor_file_locks_capture(const struct cor_file_seen *seen, Cor__Names__OpenFile *out,
			   struct cor_error *err)
{
	const char *line = cor_fdinfo_find(seen->info, "lock:");

	while (line) {
		int rc = parse(line, seen, out, err);

		if (rc < 0)
			return rc;
		line = strchr(line, '\n');
		line = line ? cor_fdinfo_find(line + 1, "lock:") : NULL;
	}
	return 0;
}

/* ---- from one to another ------------------------------------------------------------------- */

#define PASS_PATIENCE_NS (200 * UINT64_C(1000000))
#define PASS_PAUSE_US    200

struct flock cor_lock_range(const Cor__Names__LockRecord *lock, int type)
{
	return (struct flock){
		.l_type = (short)type, .l_whence = SEEK_SET,
		.l_start = (off_t)lock->start, .l_len = (off_t)lock->len,
	};
}

static int set(const struct cor_lock_holder *h, const Cor__Names__LockRecord *lock, int type)
{
	struct flock range = cor_lock_range(lock, type);

	return h->set(h->arg, &range);
}

static int set_patiently(const struct cor_lock_holder *h, const Cor__Names__LockRecord *lock, int type)
{
	uint64_t until = cor_now_ns() + PASS_PATIENCE_NS;
	int r;

	while (((r = set(h, lock, type)) == -EAGAIN || r == -EACCES) && cor_now_ns() < until)
		usleep(PASS_PAUSE_US);
	return r;
}

int cor_lock_pass(const Cor__Names__LockRecord *lock, const struct cor_lock_holder *from,
		  const struct cor_lock_holder *to)
{
	bool write = lock->type == F_WRLCK;
	int r = write ? set(from, lock, F_RDLCK) : 0;

	if (r == 0)
		r = set(to, lock, F_RDLCK);
	if (r == 0 && write) {
		set(from, lock, F_UNLCK);
		r = set_patiently(to, lock, F_WRLCK);
		if (r == 0)
			return 0;
		set(from, lock, F_RDLCK);
		set(to, lock, F_UNLCK);
	}
	if (r == 0)
		set(from, lock, F_UNLCK);
	else if (write)
		set_patiently(from, lock, F_WRLCK);
	return r;
}

/* ---- taking -------------------------------------------------------------------------------- */

static int set_own(void *arg, const struct flock *range)
{
	return fcntl(*(int *)arg, F_SETLK, range) < 0 ? -errno : 0;
}

struct at_home { int line; uint64_t handle; };

/* Not by a descriptor of the file here: POSIX locks end with the close of any. */
static int set_at_home(void *arg, const struct flock *range)
{
	const struct at_home *h = arg;
	struct home_lock lock = {
		.type = range->l_type, .start = (uint64_t)range->l_start,
		.length = (uint64_t)range->l_len,
	};

	return cor_home_lock(h->line, h->handle, &lock);
}

static int take(const Cor__Names__OpenFile *file, const Cor__Names__LockRecord *lock, int fd, int line)
{
	struct at_home at_home = { line, file->home_handle };
	struct cor_lock_holder from = { set_at_home, &at_home }, to = { set_own, &fd };
	struct flock range = cor_lock_range(lock, (int)lock->type);
	int rc;

	if (lock->flock)
		return flock(fd, (lock->type == F_WRLCK ? LOCK_EX : LOCK_SH) | LOCK_NB) < 0 ? -errno : 0;
	if (cor_lock_is_posix(lock) && line >= 0) {
		rc = cor_lock_pass(lock, &from, &to);
		/* nothing passes, or one of before knows nothing of it */
		if (rc != -ENOENT && rc != -ENOSYS)
			return rc;
	}
	rc = fcntl(fd, lock->ofd ? F_OFD_SETLK : F_SETLK, &range);
	return rc < 0 ? -errno : 0;
}

int cor_file_locks_take(const Cor__Names__OpenFile *file, int fd, int line, struct cor_error *err)
{
	for (size_t i = 0; i < file->n_locks; i++) {
		int rc = take(file, file->locks[i], fd, line);

		if (rc == -EACCES || rc == -EAGAIN)
			return cor_fail(err, -EAGAIN, "descriptor %d: the lock that the task has on "
					"%s is held by another process here", fd, file->path);
		if (rc < 0)
			return cor_fail_code(err, rc, "descriptor %d: locking %s", fd, file->path);
	}
	return 0;
}
