/* The ioctls of userfaultfd(2); see uffd.h. */
#include "libcor/paging/uffd.h"

#include <errno.h>
#include <sys/ioctl.h>

#include "libcor/base/cleanup.h"
#include "libcor/base/compat.h"
#include "libcor/base/error.h"

enum cor_uffd_result cor_uffd_classify(int err, int64_t done, uint64_t len)
{
	/* A short count is reported as EAGAIN too; what was done, was done. */
	if (done > 0)
		return (uint64_t)done >= len ? COR_UFFD_DONE : COR_UFFD_PARTIAL;
	if (!err && done < 0)
		err = (int)-done;
	switch (err) {
	case 0:
	case EAGAIN:
	case EINTR:
		return COR_UFFD_AGAIN;
	case EEXIST:
		return COR_UFFD_EXISTS;
	case ENOENT:
		return COR_UFFD_RANGE_GONE;
	case ESRCH:
		return COR_UFFD_MM_GONE;
	case ENOSPC:
	case ENOMEM:
		return COR_UFFD_NO_MEMORY;
	default:
		return COR_UFFD_BAD;
	}
}

static int api(int fd, uint64_t features)
{
	struct uffdio_api a = { .api = UFFD_API, .features = features };

	return ioctl(fd, UFFDIO_API, &a) < 0 ? -errno : 0;
}

int cor_uffd_handshake(int fd, uint64_t required, uint64_t optional, uint64_t *got,
		       struct cor_error *err)
{
	uint64_t features = required | optional;
	int r = api(fd, features);

	/* The kernel refuses features that it does not know, and stays as it was. */
	if (r == -EINVAL && optional) {
		features = required;
		r = api(fd, features);
	}
	if (r < 0)
		return cor_fail_code(err, r, "userfaultfd %d: handshake with features 0x%llx", fd,
				     (unsigned long long)features);
	if (got)
		*got = features;
	return 0;
}

int cor_uffd_register(int fd, uint64_t start, uint64_t len, struct cor_error *err)
{
	struct uffdio_register reg = {
		.range = { start, len }, .mode = UFFDIO_REGISTER_MODE_MISSING,
	};

	if (ioctl(fd, UFFDIO_REGISTER, &reg) < 0)
		return cor_fail_errno(err, "userfaultfd %d: registering 0x%llx-0x%llx", fd,
				      (unsigned long long)start, (unsigned long long)(start + len));
	return 0;
}

/* In one call, however long: in pieces a mapping would be several ones for a moment, which
 * the task can see, and nothing but its flags is changed. */
int cor_uffd_unregister(int fd, uint64_t start, uint64_t len)
{
	struct uffdio_range range = { start, len };

	/* ENOMEM is how the kernel says here that the address space ended, or that nothing
	 * is mapped behind the range. */
	if (ioctl(fd, UFFDIO_UNREGISTER, &range) < 0 && errno == ENOMEM &&
	    cor_uffd_alive(fd, start) == -ESRCH)
		return -ESRCH;
	return 0;
}

enum cor_uffd_result cor_uffd_copy(int fd, uint64_t dst, const void *src, uint64_t len,
				   uint64_t *done)
{
	struct uffdio_copy c = { .dst = dst, .src = (uintptr_t)src, .len = len };
	int err = ioctl(fd, UFFDIO_COPY, &c) < 0 ? errno : 0;

	*done = c.copy > 0 ? (uint64_t)c.copy : 0;
	return cor_uffd_classify(err, c.copy, len);
}

enum cor_uffd_result cor_uffd_zero(int fd, uint64_t dst, uint64_t len, uint64_t *done)
{
	struct uffdio_zeropage z = { .range = { dst, len } };
	int err = ioctl(fd, UFFDIO_ZEROPAGE, &z) < 0 ? errno : 0;

	*done = z.zeropage > 0 ? (uint64_t)z.zeropage : 0;
	return cor_uffd_classify(err, z.zeropage, len);
}

enum cor_uffd_result cor_uffd_poison(int fd, uint64_t dst, uint64_t len, uint64_t *done)
{
	struct uffdio_poison p = { .range = { dst, len } };
	int err = ioctl(fd, UFFDIO_POISON, &p) < 0 ? errno : 0;

	*done = p.updated > 0 ? (uint64_t)p.updated : 0;
	return cor_uffd_classify(err, p.updated, len);
}

void cor_uffd_wake(int fd, uint64_t dst, uint64_t len)
{
	struct uffdio_range range = { dst, len };

	ioctl(fd, UFFDIO_WAKE, &range);
}

/* Write-protecting what was never registered for it changes nothing (ENOENT),
 * but looks for the address space first. */
int cor_uffd_alive(int fd, uint64_t some_address)
{
	struct uffdio_writeprotect wp = {
		.range = { some_address, 4096 },
		.mode = UFFDIO_WRITEPROTECT_MODE_WP,
	};

	return ioctl(fd, UFFDIO_WRITEPROTECT, &wp) < 0 && errno == ESRCH ? -ESRCH : 0;
}
