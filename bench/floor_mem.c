/* Floors of memory: userfaultfd round trips, UFFDIO_COPY, process_vm_readv. */
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "bench/bare.h"
#include "bench/floor.h"
#include "libcor/base/compat.h"
#include "libcor/base/io.h"

#define PAGE 4096u

/* Answers every fault at once with a page that it has, marked as the task expects it. */
static void handle_faults(int uffd, const char *base, bool spin)
{
	static char page[PAGE] __attribute__((aligned(PAGE)));
	struct pollfd p = { .fd = uffd, .events = POLLIN };
	struct uffd_msg msg;

	for (;;) {
		struct uffdio_copy c = { .src = (uintptr_t)page, .len = PAGE };
		uint64_t word;

		if (read(uffd, &msg, sizeof(msg)) != sizeof(msg)) {
			if (errno != EAGAIN && errno != EINTR)
				_exit(1);
			if (!spin)
				poll(&p, 1, -1);
			continue;
		}
		c.dst = msg.arg.pagefault.address & ~(uint64_t)(PAGE - 1);
		word = page_word((c.dst - (uintptr_t)base) / PAGE);
		memcpy(page, &word, sizeof(word));
		if (ioctl(uffd, UFFDIO_COPY, &c) && errno != EEXIST)
			_exit(1);
	}
}

void floor_uffd_hist(unsigned count, bool spin, struct cor_hist *into)
{
	struct order o = { .walk = WALK_RANDOM, .count = count };
	struct ghost g = { .size = (size_t)count * PAGE };
	struct task t;
	pid_t pid;

	g.base = mmap(NULL, g.size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (g.base == MAP_FAILED)
		err(1, "address space");
	task_start(&t, &g);
	bare_register(t.uffd, t.base, t.size);
	pid = fork_child();
	if (!pid)
		handle_faults(t.uffd, t.base, spin);
	task_order(&t, &o);
	task_wait(&t);
	cor_hist_merge(into, &t.outcome->fault);
	end_child(pid);
	task_end(&t);
	munmap(g.base, g.size);
}

static void uffd_round_trip(struct report *r, const char *name, unsigned count, bool spin)
{
	struct cor_hist h;

	cor_hist_init(&h);
	floor_uffd_hist(count, spin, &h);
	report_latency(r, name, &h);
}

void floor_uffd(struct report *r, unsigned count)
{
	uffd_round_trip(r, "userfaultfd to another process, spinning", count, true);
	uffd_round_trip(r, "userfaultfd to another process, blocking", count, false);
}

void floor_readv(struct report *r, unsigned count)
{
	static char page[PAGE];
	struct cor_hist h;
	struct ghost g;

	ghost_start(&g, (size_t)count * PAGE);
	cor_hist_init(&h);
	for (unsigned i = 0; i < count; i++) {
		struct iovec here = { page, PAGE };
		struct iovec there = { g.base + (size_t)i * PAGE, PAGE };
		uint64_t start = cor_now_ns();

		if (process_vm_readv(g.pid, &here, 1, &there, 1, 0) != PAGE)
			err(1, "process_vm_readv");
		cor_hist_add(&h, cor_now_ns() - start);
	}
	ghost_end(&g);
	report_latency(r, "process_vm_readv of 4 KiB", &h);
}

double floor_readv_gbs(size_t bytes)
{
	const size_t chunk = 256u << 10;
	char *buf = malloc(chunk);
	uint64_t start;
	struct ghost g;

	if (!buf)
		err(1, "buffer");
	memset(buf, 0, chunk);
	ghost_start(&g, bytes);
	start = cor_now_ns();
	for (size_t at = 0; at + chunk <= bytes; at += chunk) {
		struct iovec here = { buf, chunk }, there = { g.base + at, chunk };

		if (process_vm_readv(g.pid, &here, 1, &there, 1, 0) != (ssize_t)chunk)
			err(1, "process_vm_readv");
	}
	start = cor_now_ns() - start;
	ghost_end(&g);
	free(buf);
	return (double)bytes / (double)start;
}

/* Into memory that the host has backed before: the mapping is filled and
 * emptied once, so that cold host memory does not count. */
double floor_copy_gbs(size_t chunk, size_t bytes)
{
	int uffd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);
	char *src = aligned_alloc(PAGE, chunk), *dst;
	uint64_t start;

	dst = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (uffd < 0 || !src || dst == MAP_FAILED)
		err(1, "userfaultfd");
	memset(src, 1, chunk);
	memset(dst, 1, bytes);
	madvise(dst, bytes, MADV_DONTNEED);
	bare_register(uffd, dst, bytes);
	start = cor_now_ns();
	for (size_t at = 0; at + chunk <= bytes; at += chunk) {
		struct uffdio_copy c = { .src = (uintptr_t)src, .dst = (uintptr_t)dst + at,
					 .len = chunk };

		if (ioctl(uffd, UFFDIO_COPY, &c))
			err(1, "UFFDIO_COPY of %zu bytes", chunk);
	}
	start = cor_now_ns() - start;
	munmap(dst, bytes);
	close(uffd);
	free(src);
	return (double)bytes / (double)start;
}
