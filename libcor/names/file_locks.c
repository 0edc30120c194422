/* Locks: read out of fdinfo, taken again with fcntl(2) and flock(2). */
#include "libcor/names/file_locks.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>

#include "libcor/base/error.h"

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

static int take(const Cor__Names__LockRecord *lock, int fd)
{
	struct flock range = {
		.l_type = (short)lock->type,
		.l_whence = SEEK_SET,
		.l_start = (off_t)lock->start,
		.l_len = (off_t)lock->len,
	};
	int rc;

	if (lock->flock)
		rc = flock(fd, (lock->type == F_WRLCK ? LOCK_EX : LOCK_SH) | LOCK_NB);
	else
		rc = fcntl(fd, lock->ofd ? F_OFD_SETLK : F_SETLK, &range);
	return rc < 0 ? -errno : 0;
}

int cor_file_locks_take(const Cor__Names__OpenFile *file, int fd, struct cor_error *err)
{
	for (size_t i = 0; i < file->n_locks; i++) {
		int rc = take(file->locks[i], fd);

		if (rc == -EACCES || rc == -EAGAIN)
			return cor_fail(err, -EAGAIN, "descriptor %d: the lock that the task has on "
					"%s is held by another process here", fd, file->path);
		if (rc < 0)
			return cor_fail_code(err, rc, "descriptor %d: locking %s", fd, file->path);
	}
	return 0;
}
