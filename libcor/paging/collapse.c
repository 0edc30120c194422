/* Transparent huge pages in another process; see collapse.h. */
#include "libcor/paging/collapse.h"

#include <errno.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "libcor/base/compat.h"
#include "libcor/paging/wire.h"

#define HUGE ((uint64_t)1 << COR_HUGE_SHIFT)

/* A page that is locked or in use for a moment is not in the way for long. */
#define TRIES 4

/* 0 when all of it is in huge pages now. */
static int try_once(int pidfd, uint64_t addr, size_t n)
{
	struct iovec iov = { (void *)(uintptr_t)addr, n * HUGE };
	long r = syscall(SYS_process_madvise, pidfd, &iov, 1, MADV_COLLAPSE, 0);

	if (r < 0)
		return -errno;
	return (size_t)r == n * HUGE ? 0 : -EAGAIN;
}

static int collapse(int pidfd, uint64_t addr, size_t n)
{
	int r = -EAGAIN;

	for (unsigned i = 0; r == -EAGAIN && i < TRIES; i++)
		r = try_once(pidfd, addr, n);
	return r;
}

/* How many of them follow each other without a gap, from the first on. */
static size_t neighbours(const uint64_t *addrs, size_t n)
{
	size_t i = 1;

	while (i < n && addrs[i] == addrs[i - 1] + HUGE)
		i++;
	return i;
}

size_t cor_collapse(int pidfd, const uint64_t *addrs, size_t n, int *why)
{
	size_t made = 0;

	for (size_t i = 0, run; i < n; i += run) {
		run = neighbours(addrs + i, n - i);
		if (try_once(pidfd, addrs[i], run) == 0) {
			made += run;
			continue;
		}
		/* it does not say which of them are left */
		for (size_t j = i; j < i + run; j++) {
			int r = collapse(pidfd, addrs[j], 1);

			made += r == 0;
			if (r < 0 && why)
				*why = r;
		}
	}
	return made;
}
