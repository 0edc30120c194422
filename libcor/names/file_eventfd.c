/* eventfd(2). Its counter stands in fdinfo (proc_pid_fdinfo(5)), and since 6.5 whether
 * it is a semaphore; on an older kernel only a read tells. */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "libcor/base/cleanup.h"
#include "libcor/base/error.h"
#include "libcor/base/io.h"
#include "libcor/names/file_eventfd.h"
#include "libcor/names/file_ops.h"
#include "libcor/task/procfs.h"

static int recognise(const struct cor_file_capture *c, const struct cor_file_seen *seen)
{
	return cor_file_link_is(seen, "anon_inode:[eventfd]") ? COR__NAMES__FILE_KIND__EVENTFD : -1;
}

static int add(int fd, uint64_t n)
{
	return n && write(fd, &n, sizeof(n)) != sizeof(n) ? -errno : 0;
}

static int take(int fd, uint64_t *n)
{
	return read(fd, n, sizeof(*n)) == sizeof(*n) ? 0 : -errno;
}

int cor_eventfd_try(int fd, uint64_t count)
{
	uint64_t enough = COR_MAX(count, (uint64_t)2), got = 0, left;
	int r = add(fd, enough - count);

	if (r == 0)
		r = take(fd, &got);
	if (r < 0)
		return r;
	left = got == 1 ? enough - 1 : 0;
	r = left > count ? take(fd, &left) : add(fd, count - left);
	return r < 0 ? r : got == 1;
}

/* Is every thread of it stopped by a tracer? Then nobody takes notice of a trial. */
static bool held_still(pid_t pid)
{
	_cleanup_closedir_ DIR *d = NULL;
	struct cor_proc_stat s;
	struct dirent *e;
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/task", (int)pid);
	d = opendir(path);
	while (d && (e = readdir(d))) {
		_cleanup_free_ char *text = NULL;

		if (!isdigit((unsigned char)e->d_name[0]))
			continue;
		snprintf(path, sizeof(path), "/proc/%d/task/%.20s/stat", (int)pid, e->d_name);
		if (cor_slurp(AT_FDCWD, path, &text, NULL) < 0 || cor_parse_stat(text, &s) < 0 ||
		    s.state != 't')
			return false;
	}
	return d;
}

static int capture(struct cor_file_capture *c, const struct cor_file_seen *seen,
		   Cor__Names__OpenFile *out, struct cor_error *err)
{
	uint64_t semaphore = 0;
	int r;

	if (cor_fdinfo_u64(seen->info, "eventfd-count:", 16, &out->counter) < 0)
		return cor_fail(err, -EOPNOTSUPP, "descriptor %d is %s, and this kernel's fdinfo does "
				"not tell its counter", seen->fd, seen->link);
	if (out->counter == UINT64_MAX)
		return cor_file_refuse(err, seen, "an eventfd whose counter has overflown");
	if (cor_fdinfo_u64(seen->info, "eventfd-semaphore:", 10, &semaphore) == 0) {
		out->semaphore = semaphore != 0;
		return 0;
	}
	/* of a running task it is guessed; where the guess was wrong the destination, which
	 * finds another table after the freeze, begins again */
	if (!held_still(c->pid))
		return 0;
	r = cor_eventfd_try(seen->dup, out->counter);
	if (r < 0)
		return cor_fail_code(err, r, "descriptor %d: whether its eventfd is a semaphore",
				     seen->fd);
	out->semaphore = r;
	return 0;
}

static int make(const Cor__Names__OpenFile *file)
{
	int fd = eventfd(0, EFD_CLOEXEC | (file->semaphore ? EFD_SEMAPHORE : 0) |
			 (file->flags & O_NONBLOCK ? EFD_NONBLOCK : 0));

	if (fd >= 0 && add(fd, file->counter) < 0) {
		close(fd);
		return -1;
	}
	return fd;
}

static int restore(struct cor_file_restore *r, unsigned index, struct cor_error *err)
{
	return cor_file_made(r, index, make(cor_file_at(&r->place, index)), "the eventfd", err);
}

const struct cor_file_ops cor_file_eventfd = {
	.recognise = recognise,
	.capture   = capture,
	.restore   = restore,
	.mechanism = COR_MECHANISM_EVENTS,
	.kinds     = 1u << COR__NAMES__FILE_KIND__EVENTFD,
};
