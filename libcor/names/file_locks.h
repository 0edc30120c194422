/* Locks held through a file: POSIX record locks, open file description locks and
 * flock(2), as fdinfo tells them (proc_pid_fdinfo(5)). */
#pragma once

#include "libcor/names/file_ops.h"

/* Reads them from fdinfo. -EOPNOTSUPP for leases. */
int cor_file_locks_capture(const struct cor_file_seen *seen, Cor__Names__OpenFile *out,
			   struct cor_error *err);

/* Takes them again on fd; never waits. -EAGAIN: someone else has the lock. */
int cor_file_locks_take(const Cor__Names__OpenFile *file, int fd, struct cor_error *err);
