/* Locks held through a file: POSIX record locks, open file description locks and
 * flock(2), as fdinfo tells them (proc_pid_fdinfo(5)). */
#pragma once

#include <fcntl.h>

#include "libcor/names/file_ops.h"

/* Reads them from fdinfo. -EOPNOTSUPP for leases. */
int cor_file_locks_capture(const struct cor_file_seen *seen, Cor__Names__OpenFile *out,
			   struct cor_error *err);

/* Takes them again on fd. line: to the file server (home/process.h) that holds the POSIX locks on
 * the file for the task, from which they pass; -1: none does. -EAGAIN: someone else has the lock. */
int cor_file_locks_take(const Cor__Names__OpenFile *file, int fd, int line, struct cor_error *err);

/* A record lock's range, as fcntl(2) takes it. */
struct flock cor_lock_range(const Cor__Names__LockRecord *lock, int type);

/* Who can hold a record lock: sets, changes or ends one, without waiting. 0 or -errno. */
struct cor_lock_holder {
	int (*set)(void *arg, const struct flock *range);
	void *arg;
};

/* A lock passes from one holder to another, in no moment of which a third one could write: while
 * both have it, it is a read lock. Who takes a read lock in that moment, some microseconds, is
 * waited for a while, and then it is -EAGAIN, and the first one has it. */
int cor_lock_pass(const Cor__Names__LockRecord *lock, const struct cor_lock_holder *from,
		  const struct cor_lock_holder *to);
