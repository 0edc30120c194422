/* The daemon's side of cor_on_migrate(): words in the task's memory. */
#include "libcor/task/hooks.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>

#include "libcor/base/cleanup.h"
#include "libcor/base/error.h"
#include "libcor/base/io.h"

#define MS       1000000u
#define DATA_MAX (1u << 20)     /* the library's data is a page or two */

static int read_block(const struct cor_hooks *h, struct cor_hook_block *b)
{
	struct iovec here = { b, sizeof(*b) };
	struct iovec there = { (void *)(uintptr_t)h->addr, sizeof(*b) };
	ssize_t n = process_vm_readv(h->pid, &here, 1, &there, 1, 0);

	return n == (ssize_t)sizeof(*b) ? 0 : n < 0 ? -errno : -EFAULT;
}

static int write_word(const struct cor_hooks *h, size_t offset, uint32_t value)
{
	struct iovec here = { &value, sizeof(value) };
	struct iovec there = { (void *)(uintptr_t)(h->addr + offset), sizeof(value) };
	ssize_t n = process_vm_writev(h->pid, &here, 1, &there, 1, 0);

	return n == (ssize_t)sizeof(value) ? 0 : n < 0 ? -errno : -EFAULT;
}

/* Adds to a counter, then changes the bell. */
static int raise_word(const struct cor_hooks *h, size_t offset, uint32_t by)
{
	struct cor_hook_block b;
	uint32_t old;
	int r = read_block(h, &b);

	if (r)
		return r;
	memcpy(&old, (char *)&b + offset, sizeof(old));
	r = write_word(h, offset, old + by);
	return r ? r : write_word(h, offsetof(struct cor_hook_block, bell), b.bell + 1);
}

/* The thread's TID as we see it: the one whose innermost TID (the last number
 * of NSpid in its status, proc(5)) is inner. */
static pid_t outer_tid(pid_t pid, int32_t inner)
{
	_cleanup_closedir_ DIR *d = NULL;
	struct dirent *e;
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/task", pid);
	d = opendir(path);
	while (d && (e = readdir(d))) {
		_cleanup_free_ char *text = NULL;
		char *line, *last;

		if (e->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), "/proc/%d/task/%.16s/status", pid, e->d_name);
		if (cor_slurp(AT_FDCWD, path, &text, NULL))
			continue;
		line = strstr(text, "\nNSpid:");
		if (!line)
			continue;
		line[1 + strcspn(line + 1, "\n")] = '\0';
		last = strrchr(line, '\t');
		if (last && atoi(last) == inner)
			return atoi(e->d_name);
	}
	return -ESRCH;
}

/* Stops the waiting thread for a moment, which makes it look at the bell. */
static int ring(const struct cor_hooks *h, int32_t inner)
{
	pid_t tid = outer_tid(h->pid, inner);
	int status;

	if (tid < 0)
		return tid;
	if (ptrace(PTRACE_SEIZE, tid, 0, 0))
		return -errno;
	if (ptrace(PTRACE_INTERRUPT, tid, 0, 0)) {
		int r = -errno;

		ptrace(PTRACE_DETACH, tid, 0, 0);
		return r;
	}
	while (waitpid(tid, &status, __WALL) < 0)
		if (errno != EINTR)
			return -errno;
	if (!WIFSTOPPED(status))
		return -ESRCH;
	/* A signal that stopped it first is handed on; all are blocked there but SIGSTOP. */
	ptrace(PTRACE_DETACH, tid, 0, status >> 16 ? 0 : WSTOPSIG(status));
	return 0;
}

int cor_hooks_open(struct cor_hooks *h, pid_t pid, uint64_t addr, struct cor_error *err)
{
	struct cor_hooks found = { .pid = pid, .addr = addr };
	struct cor_hook_block b;
	int r = read_block(&found, &b);

	if (r)
		return cor_fail_code(err, r, "hooks of process %d at 0x%llx", pid,
				     (unsigned long long)addr);
	if (memcmp(b.magic, COR_HOOK_MAGIC, sizeof(b.magic)) || b.version != COR_HOOK_VERSION ||
	    b.tid <= 0)
		return cor_fail(err, -ENOENT, "process %d has no hooks", pid);
	*h = found;
	return 0;
}

/* Looks at one stretch of the library's data. Its first word of the block tells it. */
static int find_in(struct cor_hooks *h, pid_t pid, uint64_t start, uint64_t end)
{
	_cleanup_free_ char *data = NULL;
	struct iovec here, there = { (void *)(uintptr_t)start, end - start };
	ssize_t n;

	if (end - start > DATA_MAX || !(data = malloc(end - start)))
		return -ENOENT;
	here = (struct iovec){ data, end - start };
	n = process_vm_readv(pid, &here, 1, &there, 1, 0);
	for (ssize_t i = 0; i + (ssize_t)sizeof(struct cor_hook_block) <= n;
	     i += (ssize_t)sizeof(struct cor_hook_block))
		if (!memcmp(data + i, COR_HOOK_MAGIC, sizeof(COR_HOOK_MAGIC)) &&
		    !cor_hooks_open(h, pid, start + (uint64_t)i, NULL))
			return 0;
	return -ENOENT;
}

int cor_hooks_find(struct cor_hooks *h, pid_t pid, struct cor_error *err)
{
	_cleanup_free_ char *maps = NULL;
	char path[32];
	int r;

	snprintf(path, sizeof(path), "/proc/%d/maps", pid);
	r = cor_slurp(AT_FDCWD, path, &maps, NULL);
	if (r)
		return cor_fail_code(err, r, "%s", path);
	for (char *save, *line = strtok_r(maps, "\n", &save); line;
	     line = strtok_r(NULL, "\n", &save)) {
		unsigned long long start, end;
		char perms[5];

		if (strstr(line, "/libcor-preload.so") &&
		    sscanf(line, "%llx-%llx %4s", &start, &end, perms) == 3 &&
		    !strcmp(perms, "rw-p") && !find_in(h, pid, start, end))
			return 0;
	}
	return cor_fail(err, -ENOENT, "process %d has no hooks", pid);
}

int cor_hooks_before(struct cor_hooks *h, unsigned timeout_ms, struct cor_error *err)
{
	uint64_t end = cor_now_ns() + (uint64_t)timeout_ms * MS;
	const struct timespec pause = { .tv_nsec = MS / 5 };
	struct cor_hook_block b;
	int r = raise_word(h, offsetof(struct cor_hook_block, requests), 1);

	if (!r)
		r = read_block(h, &b);
	if (r)
		return cor_fail_code(err, r, "hooks of process %d", h->pid);
	h->asked = true;
	r = ring(h, b.tid);
	if (r)
		return cor_fail_code(err, r, "waking the hooks of process %d", h->pid);
	for (;;) {
		r = read_block(h, &b);
		if (r)
			return cor_fail_code(err, r, "hooks of process %d", h->pid);
		if (b.answers == b.requests)
			return 0;
		if (cor_now_ns() >= end)
			return cor_fail(err, -ETIME, "the hooks of process %d took longer than %u ms",
					h->pid, timeout_ms);
		nanosleep(&pause, NULL);
	}
}

int cor_hooks_arriving(struct cor_hooks *h, struct cor_error *err)
{
	int r = raise_word(h, offsetof(struct cor_hook_block, arrivals), 1);

	if (r)
		return cor_fail_code(err, r, "hooks of process %d", h->pid);
	h->arriving = true;
	return 0;
}

int cor_hooks_cancel(struct cor_hooks *h, bool stopped, struct cor_error *err)
{
	struct cor_hook_block b;
	int r = 0;

	if (h->arriving)
		r = raise_word(h, offsetof(struct cor_hook_block, arrivals), UINT32_MAX);
	h->arriving = false;
	if (!r && h->asked) {
		r = raise_word(h, offsetof(struct cor_hook_block, cancels), 1);
		if (!r && !stopped)
			r = read_block(h, &b);
		if (!r && !stopped)
			r = ring(h, b.tid);
		h->asked = false;
	}
	return r ? cor_fail_code(err, r, "hooks of process %d", h->pid) : 0;
}
