/* Floors of shared memory: is it worth it to receive pages straight into the object behind a
 * task's mapping, and to map them there by UFFDIO_CONTINUE, rather than to receive them into a
 * buffer and have UFFDIO_COPY copy them? */
#include <err.h>
#include <fcntl.h>
#include <stdint.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "bench/floor.h"
#include "libcor/base/compat.h"
#include "libcor/base/io.h"

#define CHUNK ((size_t)256 << 10)

struct rig {
	int from, object, uffd; /* from: the bytes, read as a socket's would be */
	char *task, *ours;      /* the object, mapped by the task; and by us */
	char *buf;
};

static char *map(size_t size, int fd)
{
	char *p = mmap(NULL, size, PROT_READ | PROT_WRITE,
		       fd < 0 ? MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE : MAP_SHARED, fd, 0);

	if (p == MAP_FAILED)
		err(1, "mapping %zu bytes", size);
	return p;
}

static int memory(const char *name, size_t size)
{
	int fd = memfd_create(name, MFD_CLOEXEC);

	if (fd < 0 || ftruncate(fd, (off_t)size) < 0)
		err(1, "memfd");
	return fd;
}

static void watch(struct rig *g, size_t size)
{
	struct uffdio_api api = {
		.api = UFFD_API,
		.features = UFFD_FEATURE_MISSING_SHMEM | UFFD_FEATURE_MINOR_SHMEM,
	};
	struct uffdio_register reg = {
		.range = { (uintptr_t)g->task, size },
		.mode = UFFDIO_REGISTER_MODE_MISSING | UFFDIO_REGISTER_MODE_MINOR,
	};

	g->uffd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);
	if (g->uffd < 0 || ioctl(g->uffd, UFFDIO_API, &api) || ioctl(g->uffd, UFFDIO_REGISTER, &reg))
		err(1, "userfaultfd");
}

static void copied(const struct rig *g, size_t at)
{
	struct uffdio_copy c = { .src = (uintptr_t)g->buf, .dst = (uintptr_t)g->task + at,
				 .len = CHUNK };

	if (pread(g->from, g->buf, CHUNK, 0) != (ssize_t)CHUNK || ioctl(g->uffd, UFFDIO_COPY, &c))
		err(1, "UFFDIO_COPY");
}

/* Pages of the object that are there before they are written cost less than faults of ours. */
static void continued(const struct rig *g, size_t at)
{
	struct uffdio_continue c = { .range = { (uintptr_t)g->task + at, CHUNK } };

	if (fallocate(g->object, 0, (off_t)at, CHUNK) ||
	    pread(g->from, g->ours + at, CHUNK, 0) != (ssize_t)CHUNK ||
	    ioctl(g->uffd, UFFDIO_CONTINUE, &c))
		err(1, "UFFDIO_CONTINUE");
}

double floor_shmem_gbs(bool by_continue, size_t bytes)
{
	struct rig g = { .from = memory("from", CHUNK), .object = memory("object", bytes) };
	uint64_t start;

	g.task = map(bytes, g.object);
	g.ours = map(bytes, g.object);
	g.buf = map(CHUNK, -1);
	memset(g.buf, 1, CHUNK);
	if (pwrite(g.from, g.buf, CHUNK, 0) != (ssize_t)CHUNK)
		err(1, "memfd");
	watch(&g, bytes);
	start = cor_now_ns();
	for (size_t at = 0; at + CHUNK <= bytes; at += CHUNK)
		(by_continue ? continued : copied)(&g, at);
	start = cor_now_ns() - start;
	munmap(g.task, bytes);
	munmap(g.ours, bytes);
	munmap(g.buf, CHUNK);
	close(g.uffd);
	close(g.object);
	close(g.from);
	return (double)bytes / (double)start;
}
