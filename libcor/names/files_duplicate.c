/* See files_duplicate.h. */
#include "libcor/names/files_duplicate.h"

#include <sys/syscall.h>
#include <unistd.h>

#include "libcor/base/cleanup.h"
#include "libcor/base/error.h"
#include "libcor/names/files.h"

int cor_files_pidfd(pid_t pid, struct cor_error *err)
{
	int pidfd = (int)syscall(SYS_pidfd_open, pid, 0);

	return pidfd < 0 ? cor_fail_errno(err, "process %d", (int)pid) : pidfd;
}

int cor_files_duplicate_by(int pidfd, pid_t pid, int fd, struct cor_error *err)
{
	int dup = (int)syscall(SYS_pidfd_getfd, pidfd, fd, 0);

	return dup < 0 ? cor_fail_errno(err, "descriptor %d of process %d", fd, (int)pid) : dup;
}

int cor_files_duplicate(pid_t pid, int fd, struct cor_error *err)
{
	_cleanup_close_ int pidfd = cor_files_pidfd(pid, err);

	return pidfd < 0 ? pidfd : cor_files_duplicate_by(pidfd, pid, fd, err);
}
