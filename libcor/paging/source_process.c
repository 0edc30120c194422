/* A memory source: the address space of another process, and the shared memory
 * objects it maps. See source.h. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/sysinfo.h>
#include <sys/uio.h>
#include <unistd.h>

#include "libcor/base/cleanup.h"
#include "libcor/base/error.h"
#include "libcor/base/io.h"
#include "libcor/paging/fdpages.h"
#include "libcor/paging/pagemap.h"
#include "libcor/paging/source.h"
#include "libcor/paging/vma.h"

#define PAGE (UINT64_C(1) << COR_PAGE_SHIFT)

/* User addresses end below this, with five levels of page tables too. */
#define ADDRESS_LIMIT (UINT64_C(1) << 56)

/* As many as are looked up in swap at once: all that a page server reads in one go. */
#define SWAP_PAGES 64u

struct process_source {
	struct cor_source base;
	pid_t pid;
	int proc_dir, mem_fd;
	struct cor_vma_view maps;
	struct cor_pagemap pagemap;
	bool whole_files;
	int pidfd;              /* to put pages back into swap; -1: this host has none */
	_Atomic bool swapped;   /* some have been found there */
	int *objects;           /* objects[i] is object i + 1 */
	unsigned nobjects;
};

static struct process_source *process_of(struct cor_source *s)
{
	return (struct process_source *)s;
}

/* /proc/PID/mem: reads whatever the task's protection says, and belongs to one
 * address space for ever. Pages read, or -errno; -ESRCH: that has ended. */
static int read_by_mem(const struct process_source *p, uint64_t addr, unsigned npages, void *buf)
{
	ssize_t n;

	do
		n = pread(p->mem_fd, buf, npages * PAGE, (off_t)addr);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	if (n == 0)
		return -ESRCH;
	return n >= (ssize_t)PAGE ? (int)(n / (ssize_t)PAGE) : -EIO;
}

/* Does the address space that was opened still exist? One byte tells, wherever
 * it is: reading a dead one is an end of file, not an error. */
static bool mem_is_alive(const struct process_source *p, uint64_t addr)
{
	char byte;

	return pread(p->mem_fd, &byte, 1, (off_t)addr) != 0;
}

/* process_vm_readv: the faster one in bulk. It goes by the PID, so what it has
 * read is only good if the address space is still the one that was opened. */
static int read_by_vm(const struct process_source *p, uint64_t addr, unsigned npages, void *buf)
{
	struct iovec local = { .iov_base = buf, .iov_len = npages * PAGE };
	struct iovec remote = { .iov_base = (void *)(uintptr_t)addr, .iov_len = npages * PAGE };
	ssize_t n = process_vm_readv(p->pid, &local, 1, &remote, 1, 0);

	if (n < 0)
		return -errno;
	if (!mem_is_alive(p, addr))
		return -ESRCH;
	return n >= (ssize_t)PAGE ? (int)(n / (ssize_t)PAGE) : -EFAULT;
}

/* Both ways failed with error (negative): is there no memory at addr (0), or is
 * it there and unreadable? In doubt, unreadable: never zeros. */
static int no_memory_or(const struct process_source *p, uint64_t addr, int error)
{
	struct cor_vma vma;
	int r = cor_vma_find(&p->maps, addr, &vma);

	if (r == -ESRCH)
		return r;
	if (r == -ENOENT || (r == 0 && addr < vma.start))
		return 0;
	if (r == 0 && cor_vma_beyond_file(&p->maps, &vma, addr) > 0)
		return 0;
	if (cor_pagemap_is_guard(&p->pagemap, addr))
		return 0;
	return error == -EFAULT ? -EIO : error;
}

static int read_space(const struct process_source *p, uint64_t addr, unsigned npages, void *buf)
{
	int r;

	if (addr >= ADDRESS_LIMIT)
		return 0;
	if (npages == 1) {
		r = read_by_mem(p, addr, npages, buf);
		if (r == -EIO)
			r = read_by_vm(p, addr, npages, buf);
	} else {
		r = read_by_vm(p, addr, npages, buf);
		if (r == -EFAULT)
			r = read_by_mem(p, addr, npages, buf);
	}
	return r < 0 && r != -ESRCH ? no_memory_or(p, addr, r) : r;
}

/* ---- swap --------------------------------------------------------------------- */

/* Single pages are wanted at once: they are looked up only where there is reason to. */
static uint64_t look_in_swap(struct process_source *p, uint64_t addr, unsigned npages)
{
	uint64_t found;

	if (p->pidfd < 0 || (npages == 1 && !p->swapped))
		return 0;
	found = cor_pagemap_swapped(&p->pagemap, addr, COR_MIN(npages, SWAP_PAGES));
	if (found && !p->swapped)
		p->swapped = true;
	return found;
}

/* A host that has swapped the task out may have no room for it. What was only read is in
 * swap still, so that nothing is written. */
static void put_back(const struct process_source *p, uint64_t addr, uint64_t pages)
{
	struct iovec iov[SWAP_PAGES / 2];
	unsigned n = 0;

	for (unsigned i = 0; i < SWAP_PAGES; i++) {
		if (!(pages >> i & 1))
			continue;
		if (i && (pages >> (i - 1) & 1))
			iov[n - 1].iov_len += PAGE;
		else
			iov[n++] = (struct iovec){ (void *)(uintptr_t)(addr + i * PAGE), PAGE };
	}
	if (n)
		process_madvise(p->pidfd, iov, n, MADV_PAGEOUT, 0);
}

static int read_own(struct process_source *p, uint64_t addr, unsigned npages, void *buf)
{
	uint64_t swapped = look_in_swap(p, addr, npages);
	int r = read_space(p, addr, npages, buf);

	if (r > 0 && swapped)
		put_back(p, addr, r < (int)SWAP_PAGES ? swapped & ((UINT64_C(1) << r) - 1) : swapped);
	return r;
}

static int process_read(struct cor_source *s, uint16_t object, uint64_t offset,
			unsigned npages, void *buf)
{
	struct process_source *p = process_of(s);

	if (object == 0)
		return read_own(p, offset, npages, buf);
	if (object > p->nobjects)
		return -ENOENT;
	return cor_fd_read_pages(p->objects[object - 1], offset, npages, buf);
}

/* Mapping by mapping: what has a file or an object behind it is data wholly. */
static int presence_by_vma(const struct process_source *p, uint64_t start, uint64_t end,
			   struct cor_page_run *runs, unsigned max, uint64_t *next)
{
	unsigned n = 0;

	while (start < end && n < max) {
		struct cor_vma vma;
		uint64_t from, to;
		int r = cor_vma_find(&p->maps, start, &vma);

		if (r == -ENOENT || (r == 0 && vma.start >= end))
			start = end;
		else if (r < 0)
			return r;
		if (start == end)
			break;
		from = COR_MAX(start, vma.start);
		to = COR_MIN(end, vma.end);
		if (vma.inode) {
			cor_runs_add(runs, max, &n, from, to, 0, &start);
			continue;
		}
		r = cor_pagemap_runs(&p->pagemap, from, to, runs + n, max - n, &start);
		if (r < 0)
			return r;
		n += (unsigned)r;
	}
	*next = start;
	return (int)n;
}

static int process_presence(struct cor_source *s, uint16_t object, uint64_t offset,
			    uint64_t npages, struct cor_page_run *runs, unsigned max,
			    uint64_t *next)
{
	struct process_source *p = process_of(s);
	uint64_t end = offset + npages * PAGE;

	if (object > p->nobjects)
		return -ENOENT;
	if (object > 0)
		return cor_fd_runs(p->objects[object - 1], 0, offset, end, runs, max, next);
	if (p->whole_files)
		return presence_by_vma(p, offset, end, runs, max, next);
	return cor_pagemap_runs(&p->pagemap, offset, end, runs, max, next);
}

static void process_close(struct cor_source *s)
{
	struct process_source *p = process_of(s);

	for (unsigned i = 0; i < p->nobjects; i++)
		close(p->objects[i]);
	free(p->objects);
	cor_pagemap_close(&p->pagemap);
	cor_vma_close(&p->maps);
	cor_closep(&p->mem_fd);
	cor_closep(&p->proc_dir);
	cor_closep(&p->pidfd);
	free(p);
}

static const struct cor_source_ops process_ops = {
	.name = "process",
	.read = process_read,
	.presence = process_presence,
	.close = process_close,
};

static void process_closep(struct process_source **p)
{
	if (*p)
		process_close(&(*p)->base);
}

/* On a host without swap it costs nothing. */
static void watch_swap(struct process_source *p)
{
	_cleanup_free_ char *status = NULL;
	struct sysinfo host;
	const char *at;

	if (sysinfo(&host) < 0 || !host.totalswap)
		return;
	p->pidfd = (int)syscall(SYS_pidfd_open, p->pid, 0);
	if (cor_slurp(p->proc_dir, "status", &status, NULL) < 0)
		return;
	at = strstr(status, "\nVmSwap:");
	p->swapped = at && strtoul(at + strlen("\nVmSwap:"), NULL, 10) > 0;
}

int cor_source_process(struct cor_source **out, pid_t pid, struct cor_error *err)
{
	_cleanup_(process_closep) struct process_source *p = calloc(1, sizeof(*p));
	char path[32];
	int r;

	if (!p)
		return cor_fail(err, -ENOMEM, "reading process %d: out of memory", pid);
	p->base.ops = &process_ops;
	p->pid = pid;
	p->pidfd = p->mem_fd = p->maps.maps_fd = p->pagemap.fd = p->pagemap.kpageflags = -1;
	snprintf(path, sizeof(path), "/proc/%d", pid);
	p->proc_dir = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (p->proc_dir < 0)
		return cor_fail(err, -ESRCH, "there is no process %d", pid);
	p->mem_fd = openat(p->proc_dir, "mem", O_RDONLY | O_CLOEXEC);
	if (p->mem_fd < 0)
		return cor_fail_errno(err, "opening %s/mem", path);
	r = cor_vma_open(&p->maps, p->proc_dir);
	if (r < 0)
		return cor_fail_code(err, r, "opening %s/maps", path);
	r = cor_pagemap_open(&p->pagemap, p->proc_dir);
	if (r < 0)
		return cor_fail_code(err, r, "opening %s/pagemap", path);
	watch_swap(p);
	*out = &take_ptr(p)->base;
	return 0;
}

void cor_source_process_whole_files(struct cor_source *s)
{
	process_of(s)->whole_files = true;
}

int cor_source_process_add_object(struct cor_source *s, uint16_t object, int fd,
				  struct cor_error *err)
{
	struct process_source *p = process_of(s);
	_cleanup_close_ int owned = fd;
	int *more;

	if (s->ops != &process_ops || object != p->nobjects + 1)
		return cor_fail(err, -EINVAL, "object %u is not the next one of a process", object);
	more = realloc(p->objects, (p->nobjects + 1) * sizeof(*more));
	if (!more)
		return cor_fail(err, -ENOMEM, "adding object %u: out of memory", object);
	p->objects = more;
	p->objects[p->nobjects++] = take_fd(&owned);
	return 0;
}
