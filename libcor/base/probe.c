/* What this kernel can do, found out by trying; see probe.h. */
#include "libcor/base/probe.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/io_uring.h>
#include <linux/kcmp.h>
#include <linux/sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/ptrace.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

#include "libcor/base/cleanup.h"
#include "libcor/base/compat.h"
#include "libcor/base/error.h"

/* Asks a fresh userfaultfd what it offers (ioctl_userfaultfd(2), UFFDIO_API). */
static bool ask_userfaultfd(int fd, struct cor_features *f)
{
	struct uffdio_api api = { .api = UFFD_API };

	if (ioctl(fd, UFFDIO_API, &api) < 0)
		return false;
	f->uffd_features = api.features;
	f->uffd_ioctls = api.ioctls;
	return true;
}

static void probe_userfaultfd(struct cor_features *f)
{
	_cleanup_close_ int device = open("/dev/userfaultfd", O_RDWR | O_CLOEXEC);
	_cleanup_close_ int by_device = -1, by_call = -1, user_only = -1;

	if (device >= 0)
		by_device = ioctl(device, USERFAULTFD_IOC_NEW, O_CLOEXEC | O_NONBLOCK);
	f->uffd_device = by_device >= 0 && ask_userfaultfd(by_device, f);
	by_call = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);
	f->uffd_syscall = by_call >= 0 && ask_userfaultfd(by_call, f);
	if (f->uffd_device || f->uffd_syscall)
		return;
	/* Without the privilege for kernel faults it still tells what there is. */
	user_only = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK | UFFD_USER_MODE_ONLY);
	if (user_only >= 0)
		ask_userfaultfd(user_only, f);
}

static bool probe_pagemap_scan(void)
{
	_cleanup_close_ int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	char here = 1;
	uint64_t page = (uint64_t)(uintptr_t)&here & ~(uint64_t)(COR_PAGE_SIZE - 1);
	struct page_region region;
	struct pm_scan_arg scan = {
		.size = sizeof(scan), .start = page, .end = page + COR_PAGE_SIZE,
		.vec = (uintptr_t)&region, .vec_len = 1,
		.category_mask = PAGE_IS_PRESENT, .return_mask = PAGE_IS_PRESENT,
	};

	return fd >= 0 && ioctl(fd, PAGEMAP_SCAN, &scan) >= 0;
}

/* Asks for a PID that is surely taken: ours. With the privilege the kernel finds
 * that out (EEXIST), without it it does not even look (EPERM); clone(2). */
static bool probe_set_tid(void)
{
	pid_t tid = getpid();
	struct clone_args args = {
		.exit_signal = SIGCHLD, .set_tid = (uintptr_t)&tid, .set_tid_size = 1,
	};
	long r = syscall(SYS_clone3, &args, sizeof(args));

	if (r == 0)
		_exit(0);
	if (r > 0)
		waitpid((pid_t)r, NULL, 0);
	return r < 0 && errno == EEXIST;
}

/* Whoever may not choose PIDs here may in a PID namespace of his own (user_namespaces(7)). */
static bool probe_user_ns(void)
{
	struct clone_args args = {
		.flags = CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNS, .exit_signal = SIGCHLD,
	};
	long r = syscall(SYS_clone3, &args, sizeof(args));

	if (r == 0)
		_exit(0);
	if (r > 0)
		waitpid((pid_t)r, NULL, 0);
	return r > 0;
}

static bool probe_pidfd_getfd(void)
{
	_cleanup_close_ int pidfd = (int)syscall(SYS_pidfd_open, getpid(), 0);
	_cleanup_close_ int copy = -1;

	if (pidfd < 0)
		return false;
	copy = (int)syscall(SYS_pidfd_getfd, pidfd, pidfd, 0);
	return copy >= 0;
}

static bool probe_io_uring(void)
{
	struct io_uring_params params = { 0 };
	_cleanup_close_ int fd = (int)syscall(SYS_io_uring_setup, 1, &params);

	return fd >= 0;
}

static bool probe_rseq_configuration(pid_t stopped)
{
	/* struct ptrace_rseq_configuration, as in ptrace(2) */
	struct { uint64_t address; uint32_t size, signature, flags, pad; } c;

	return ptrace((enum __ptrace_request)PTRACE_GET_RSEQ_CONFIGURATION, stopped, sizeof(c),
		      &c) >= 0;
}

static void try_tracing(pid_t child, struct cor_features *f)
{
	int status;

	if (ptrace(PTRACE_SEIZE, child, 0, PTRACE_O_EXITKILL) < 0 ||
	    ptrace(PTRACE_INTERRUPT, child, 0, 0) < 0)
		return;
	while (waitpid(child, &status, __WALL) < 0)
		if (errno != EINTR)
			return;
	f->ptrace = WIFSTOPPED(status);
	f->rseq_config = f->ptrace && probe_rseq_configuration(child);
}

static void probe_ptrace(struct cor_features *f)
{
	/* The bare call: no fork handlers run, and without an exit signal the
	 * program that uses the library does not hear of this child. */
	pid_t child = (pid_t)syscall(SYS_clone, 0, 0, 0, 0, 0);

	if (child < 0)
		return;
	if (child == 0)
		for (;;)
			syscall(SYS_pause);
	try_tracing(child, f);
	kill(child, SIGKILL);
	while (waitpid(child, NULL, __WALL) < 0 && errno == EINTR)
		;
}

int cor_probe(struct cor_features *out, struct cor_error *err)
{
	struct cor_features f = { 0 };
	struct utsname u;

	if (uname(&u) < 0)
		return cor_fail_errno(err, "uname");
	snprintf(f.kernel, sizeof(f.kernel), "%s", u.release);
	probe_userfaultfd(&f);
	f.pagemap_scan = probe_pagemap_scan();
	f.set_tid = probe_set_tid();
	f.user_ns = !f.set_tid && probe_user_ns();
	f.time_ns = access("/proc/self/ns/time_for_children", F_OK) == 0;
	f.fuse = access("/dev/fuse", R_OK | W_OK) == 0;
	f.pidfd_getfd = probe_pidfd_getfd();
	f.kcmp = syscall(SYS_kcmp, getpid(), getpid(), KCMP_VM, 0, 0) == 0;
	f.checkpoint = access("/proc/self/timers", R_OK) == 0 &&
		       access("/proc/self/map_files", X_OK) == 0;
	f.io_uring = probe_io_uring();
	probe_ptrace(&f);
	*out = f;
	return 0;
}

#define UFFD_EVENTS (UFFD_FEATURE_EVENT_FORK | UFFD_FEATURE_EVENT_REMAP | \
		     UFFD_FEATURE_EVENT_REMOVE | UFFD_FEATURE_EVENT_UNMAP)

static bool has_userfaultfd(const struct cor_features *f)
{
	return f->uffd_syscall || f->uffd_device;
}
static bool has_events(const struct cor_features *f)
{
	return (f->uffd_features & UFFD_EVENTS) == UFFD_EVENTS;
}
static bool has_shmem(const struct cor_features *f)
{
	return f->uffd_features & UFFD_FEATURE_MISSING_SHMEM;
}
static bool has_wp_async(const struct cor_features *f)
{
	return f->uffd_features & UFFD_FEATURE_WP_ASYNC;
}
static bool has_device(const struct cor_features *f) { return f->uffd_device; }
static bool has_pagemap_scan(const struct cor_features *f) { return f->pagemap_scan; }
static bool has_set_tid(const struct cor_features *f) { return f->set_tid || f->user_ns; }
static bool has_time_ns(const struct cor_features *f) { return f->time_ns; }
static bool has_pidfd_getfd(const struct cor_features *f) { return f->pidfd_getfd; }
static bool has_kcmp(const struct cor_features *f) { return f->kcmp; }
static bool has_rseq_config(const struct cor_features *f) { return f->rseq_config; }
static bool has_checkpoint(const struct cor_features *f) { return f->checkpoint; }
static bool has_io_uring(const struct cor_features *f) { return f->io_uring; }
static bool has_fuse(const struct cor_features *f) { return f->fuse; }
static bool has_ptrace(const struct cor_features *f) { return f->ptrace; }

const struct cor_feature *cor_feature_list(unsigned *n)
{
	static const struct cor_feature list[] = {
		{ "userfaultfd",   "pages by reference, kernel faults included", true,
		  has_userfaultfd },
		{ "uffd_events",   "following fork, mremap, munmap and madvise", true, has_events },
		{ "uffd_shmem",    "shared memory by reference", true, has_shmem },
		{ "ptrace",        "freezing a task and reading its registers", true, has_ptrace },
		{ "rseq_config",   "tasks with restartable sequences (glibc 2.35)", true,
		  has_rseq_config },
		{ "set_tid",       "keeping PIDs and TIDs (CAP_CHECKPOINT_RESTORE, or a user namespace)", true,
		  has_set_tid },
		{ "pidfd_getfd",   "reaching a task's descriptors", true, has_pidfd_getfd },
		{ "kcmp",          "finding descriptors that are shared", true, has_kcmp },
		{ "checkpoint",    "a task's timers and memory layout", true, has_checkpoint },
		{ "io_uring",      "the pager's and the page server's loop", true, has_io_uring },
		{ "pagemap_scan",  "finding written pages fast", false, has_pagemap_scan },
		{ "time_ns",       "CLOCK_MONOTONIC that never jumps", false, has_time_ns },
		{ "fuse",          "files that stay at home (/dev/fuse)", false, has_fuse },
		{ "uffd_wp_async", "tracking written pages without faults", false, has_wp_async },
		{ "uffd_device",   "userfaultfd without CAP_SYS_PTRACE", false, has_device },
	};

	*n = ARRAY_SIZE(list);
	return list;
}

int cor_features_missing(const struct cor_features *f, char *buf, size_t size)
{
	const struct cor_feature *list;
	size_t used = 0;
	int missing = 0;
	unsigned n;

	if (size)
		buf[0] = 0;
	list = cor_feature_list(&n);
	for (unsigned i = 0; i < n; i++) {
		if (!list[i].needed || list[i].present(f))
			continue;
		if (used < size)
			used += (size_t)snprintf(buf + used, size - used, "%s%s",
						 missing ? ", " : "", list[i].name);
		missing++;
	}
	return missing;
}
