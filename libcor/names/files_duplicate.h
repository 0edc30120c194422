/* Descriptors of a task, duplicated here (pidfd_getfd(2)). cor_files_duplicate() in files.h
 * is for one of them, these are for many. */
#pragma once

#include <cor/error.h>
#include <sys/types.h>

/* A pidfd of pid, the caller's. -errno. */
int cor_files_pidfd(pid_t pid, struct cor_error *err);

/* A duplicate of descriptor fd of pid, whose pidfd that is. -errno: -EBADF, it has none. */
int cor_files_duplicate_by(int pidfd, pid_t pid, int fd, struct cor_error *err);
