/* System calls made by a stopped process: the runner and the single step. */
#include "libcor/task/inject.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "libcor/base/cleanup.h"
#include "libcor/base/error.h"
#include "libcor/base/io.h"
#include "libcor/task/batch.h"
#include "libcor/task/ptrace_wait.h"

#define PAGE 4096u

extern const char cor_inject_code[], cor_inject_code_syscall[];
extern const char cor_inject_code_trap[], cor_inject_code_end[];

struct cor_runner {
	pid_t    pid;           /* any thread of the tracee: names it in /proc */
	char    *local;         /* code page, then the room */
	uint64_t remote;
	size_t   len;           /* code page included */
	bool     trap_known;    /* trap_ignored is up to date */
	bool     trap_ignored;  /* the tracee ignores SIGTRAP: a trap would reset that */
};

/* What a thread's state was before we borrowed it. */
struct borrowed {
	struct user_regs_struct regs;
	uint64_t mask;
	bool     stop_seen;     /* a SIGSTOP arrived meanwhile: to be sent again */
};

static int fail_thread(struct cor_error *err, pid_t tid, const char *what)
{
	int code = errno;

	if (code == ESRCH || code == ECHILD)
		return cor_fail(err, -ESRCH, "thread %d ended while it was being used: %s", tid, what);
	errno = code;
	return cor_fail_errno(err, "thread %d: %s", tid, what);
}

static int borrow(pid_t tid, struct borrowed *b, uint64_t mask, struct cor_error *err)
{
	b->stop_seen = false;
	if (ptrace(PTRACE_GETREGS, tid, NULL, &b->regs) < 0)
		return fail_thread(err, tid, "cannot read its registers");
	if (ptrace(PTRACE_GETSIGMASK, tid, sizeof(b->mask), &b->mask) < 0)
		return fail_thread(err, tid, "cannot read its signal mask");
	if (ptrace(PTRACE_SETSIGMASK, tid, sizeof(mask), &mask) < 0)
		return fail_thread(err, tid, "cannot block its signals");
	return 0;
}

static int give_back(pid_t tid, const struct borrowed *b, struct cor_error *err)
{
	if (ptrace(PTRACE_SETREGS, tid, NULL, &b->regs) < 0)
		return fail_thread(err, tid, "cannot put its registers back");
	if (ptrace(PTRACE_SETSIGMASK, tid, sizeof(b->mask), &b->mask) < 0)
		return fail_thread(err, tid, "cannot put its signal mask back");
	/* SIGSTOP cannot be blocked. Sent again it stays queued until the thread runs. */
	if (b->stop_seen)
		syscall(SYS_tkill, tid, SIGSTOP);
	return 0;
}

/* Waits for the stop that means "done" (a plain SIGTRAP); lets the thread go on
 * (by request) from any other that can come between. */
static int await_trap(pid_t tid, int request, struct borrowed *b, struct cor_error *err)
{
	for (;;) {
		int status, sig, event, r = cor_ptrace_wait(tid, COR_WAIT_FOREVER, &status);

		if (r < 0) {
			errno = -r;
			return fail_thread(err, tid, "no stop");
		}
		sig = WSTOPSIG(status) & ~0x80;
		event = status >> 16;
		if (!event && sig == SIGTRAP)
			return 0;
		if (event == PTRACE_EVENT_EXIT || event == PTRACE_EVENT_EXEC)
			return cor_fail(err, -ESRCH, "thread %d ended while it ran injected calls", tid);
		if (!event && sig == SIGSTOP)
			b->stop_seen = true;
		else if (!event)
			return cor_fail(err, -EFAULT, "thread %d got signal %d (%s) in injected code",
					tid, sig, sigabbrev_np(sig) ? sigabbrev_np(sig) : "?");
		/* other events: clone and the like, or a stop asked for earlier */
		if (ptrace(request, tid, NULL, NULL) < 0)
			return fail_thread(err, tid, "cannot go on");
	}
}

static int resume_to_trap(pid_t tid, int request, struct borrowed *b, struct cor_error *err)
{
	if (ptrace(request, tid, NULL, NULL) < 0)
		return fail_thread(err, tid, "cannot be resumed");
	return await_trap(tid, request, b, err);
}

/* *restart: the thread is in the middle of a call that the kernel restarts. */
static int step(pid_t tid, uint64_t insn, const struct cor_call *call, int64_t *ret,
		bool *restart, struct cor_error *err)
{
	struct user_regs_struct regs;
	struct borrowed b;
	int r, back;

	r = borrow(tid, &b, ~0ull, err);
	if (r < 0)
		return r;
	regs = b.regs;
	regs.rip = insn;
	regs.rax = call->nr;
	regs.orig_rax = -1;     /* else the kernel would "restart" the call it was stopped in */
	regs.rdi = call->arg[0];
	regs.rsi = call->arg[1];
	regs.rdx = call->arg[2];
	regs.r10 = call->arg[3];
	regs.r8 = call->arg[4];
	regs.r9 = call->arg[5];
	if (ptrace(PTRACE_SETREGS, tid, NULL, &regs) < 0)
		r = fail_thread(err, tid, "cannot set its registers");
	if (!r)
		r = resume_to_trap(tid, PTRACE_SYSCALL, &b, err);      /* entry */
	if (!r)
		r = resume_to_trap(tid, PTRACE_SYSCALL, &b, err);      /* exit */
	if (!r && ptrace(PTRACE_GETREGS, tid, NULL, &regs) < 0)
		r = fail_thread(err, tid, "cannot read its registers");
	if (r == -ESRCH)
		return r;
	back = give_back(tid, &b, r ? NULL : err);
	*restart = (int64_t)b.regs.orig_rax >= 0 && (int64_t)b.regs.rax <= -512 &&
		   (int64_t)b.regs.rax >= -516;
	if (r || back)
		return r ? r : back;
	*ret = (int64_t)regs.rax;
	return 0;
}

int cor_step_call(pid_t tid, uint64_t insn, const struct cor_call *call, int64_t *ret,
		  struct cor_error *err)
{
	bool restart = false;
	int r = step(tid, insn, call, ret, &restart, err);

	/* In a stop at a call's exit the kernel looks at restarts only when a signal
	 * seems to be pending; a pending interrupt makes it so (and dies on detach). */
	if (restart)
		ptrace(PTRACE_INTERRUPT, tid, NULL, NULL);
	return r;
}

/* First and last address of a mapping by its name in /proc/PID/maps. */
static int find_named(pid_t pid, const char *name, uint64_t *start, uint64_t *end)
{
	_cleanup_free_ char *text = NULL;
	char path[32], *line, *save = NULL;
	int r;

	snprintf(path, sizeof(path), "/proc/%d/maps", pid);
	r = cor_slurp(AT_FDCWD, path, &text, NULL);
	if (r < 0)
		return r;
	for (line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		size_t n = strlen(line), k = strlen(name);
		unsigned long a, b;

		if (n < k || strcmp(line + n - k, name) || sscanf(line, "%lx-%lx", &a, &b) != 2)
			continue;
		*start = a;
		*end = b;
		return 0;
	}
	return -ENOENT;
}

uint64_t cor_find_syscall_insn(pid_t pid)
{
	static const char insn[2] = { 0x0f, 0x05 };
	_cleanup_free_ char *copy = NULL;
	struct iovec here, there;
	uint64_t start, end;
	char *p;

	if (find_named(pid, " [vdso]", &start, &end) < 0 || end - start > 64 * PAGE)
		return 0;
	copy = malloc(end - start);
	if (!copy)
		return 0;
	here = (struct iovec){ copy, end - start };
	there = (struct iovec){ (void *)start, end - start };
	if (process_vm_readv(pid, &here, 1, &there, 1, 0) != (ssize_t)(end - start))
		return 0;
	p = memmem(copy, end - start, insn, sizeof(insn));
	return p ? start + (uint64_t)(p - copy) : 0;
}

/* Maps here what the tracee has mapped (shared) at remote. */
static int map_here(pid_t pid, uint64_t remote, size_t len, char **local, struct cor_error *err)
{
	_cleanup_close_ int fd = -1;
	char path[80];
	void *p;

	snprintf(path, sizeof(path), "/proc/%d/map_files/%lx-%lx", pid,
		 (unsigned long)remote, (unsigned long)(remote + len));
	fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return cor_fail_errno(err, "cannot open %s", path);
	p = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (p == MAP_FAILED)
		return cor_fail_errno(err, "cannot map %s", path);
	*local = p;
	return 0;
}

/* The tracee's one call more, whose result must be no error. */
static int ask(pid_t tid, uint64_t insn, uint64_t nr, const uint64_t arg[6], int64_t *ret,
	       struct cor_error *err)
{
	struct cor_call call = { .nr = nr };
	bool restart;
	int r;

	memcpy(call.arg, arg, sizeof(call.arg));
	r = step(tid, insn, &call, ret, &restart, err);
	if (r == 0 && *ret < 0 && *ret > -4096)
		r = cor_fail_code(err, (int)*ret, "process %d cannot make room for a runner", tid);
	return r;
}

/* An empty string near insn, which lies in the vDSO; 0: none. */
static uint64_t find_empty_string(pid_t tid, uint64_t insn)
{
	uint64_t start = insn & ~(uint64_t)(PAGE - 1);
	char page[PAGE], *zero;
	struct iovec here = { page, sizeof(page) }, there = { (void *)start, sizeof(page) };

	if (process_vm_readv(tid, &here, 1, &there, 1, 0) != (ssize_t)sizeof(page))
		return 0;
	zero = memchr(page, 0, sizeof(page));
	return zero ? start + (uint64_t)(zero - page) : 0;
}

/* Without CAP_CHECKPOINT_RESTORE, which map_files wants: memory that for a moment has a
 * descriptor in the tracee, whose threads are all stopped. */
static int map_by_descriptor(struct cor_runner *r, uint64_t insn, uint64_t hint, struct cor_error *err)
{
	uint64_t name = find_empty_string(r->pid, insn);
	_cleanup_close_ int fd = -1;
	int64_t theirs, at, ignored;
	char path[40];
	void *p;
	int rc;

	rc = ask(r->pid, insn, SYS_memfd_create, COR_ARGS(name, MFD_CLOEXEC), &theirs, err);
	if (rc < 0)
		return rc;
	snprintf(path, sizeof(path), "/proc/%d/fd/%d", r->pid, (int)theirs);
	fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0 || ftruncate(fd, (off_t)r->len) < 0)
		rc = cor_fail_errno(err, "cannot open %s", path);
	if (rc == 0)
		rc = ask(r->pid, insn, SYS_mmap,
			 COR_ARGS(hint, r->len, PROT_READ | PROT_WRITE | PROT_EXEC,
				  MAP_SHARED | (hint ? MAP_FIXED_NOREPLACE : 0), (uint64_t)theirs, 0),
			 &at, err);
	if (rc == 0) {
		r->remote = (uint64_t)at;
		p = mmap(NULL, r->len, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
		if (p == MAP_FAILED)
			rc = cor_fail_errno(err, "cannot map %s", path);
		else
			r->local = p;
		if (rc < 0)
			ask(r->pid, insn, SYS_munmap, COR_ARGS(r->remote, r->len), &ignored, NULL);
	}
	ask(r->pid, insn, SYS_close, COR_ARGS((uint64_t)theirs), &ignored, NULL);
	return rc;
}

int cor_runner_map(struct cor_runner **out, pid_t tid, uint64_t insn, uint64_t hint,
		   size_t size, struct cor_error *err)
{
	_cleanup_free_ struct cor_runner *r = calloc(1, sizeof(*r));
	struct cor_call call = { .nr = SYS_mmap };
	bool restart;           /* the runner's own stops restart what there is to restart */
	int64_t ret;
	int rc;

	if (!r)
		return cor_fail(err, -ENOMEM, "no memory for a runner");
	if (!insn)
		return cor_fail(err, -ENOTSUP,
				"process %d has no vDSO to borrow a syscall instruction from", tid);
	r->pid = tid;
	r->len = PAGE + ((size + PAGE - 1) & ~(size_t)(PAGE - 1));
	/* Shared anonymous memory: no descriptor is ever open in the tracee, and we
	 * come by ours through /proc/PID/map_files. */
	call.arg[0] = hint;
	call.arg[1] = r->len;
	call.arg[2] = PROT_READ | PROT_WRITE | PROT_EXEC;
	call.arg[3] = MAP_SHARED | MAP_ANONYMOUS | (hint ? MAP_FIXED_NOREPLACE : 0);
	call.arg[4] = (uint64_t)-1;
	rc = step(tid, insn, &call, &ret, &restart, err);
	if (rc < 0)
		return rc;
	if (ret < 0 && ret > -4096)
		return cor_fail_code(err, (int)ret, "process %d cannot map a runner at %#lx", tid,
				     (unsigned long)hint);
	r->remote = (uint64_t)ret;
	rc = map_here(tid, r->remote, r->len, &r->local, err);
	if (rc < 0) {
		call = (struct cor_call){ .nr = SYS_munmap, .arg = { r->remote, r->len } };
		cor_step_call(tid, insn, &call, &ret, NULL);
		if (rc == -EPERM)
			rc = map_by_descriptor(r, insn, hint, err);
		if (rc < 0)
			return rc;
	}
	memcpy(r->local, cor_inject_code, (size_t)(cor_inject_code_end - cor_inject_code));
	*out = take_ptr(r);
	return 0;
}

void *cor_runner_room(struct cor_runner *r)
{
	return r->local + PAGE;
}

uint64_t cor_runner_remote(const struct cor_runner *r, const void *in_room)
{
	return r->remote + (uint64_t)((const char *)in_room - r->local);
}

uint64_t cor_runner_insn(const struct cor_runner *r)
{
	return r->remote + (uint64_t)(cor_inject_code_syscall - cor_inject_code);
}

size_t cor_runner_size(const struct cor_runner *r)
{
	return r->len - PAGE;
}

void cor_runner_range(const struct cor_runner *r, uint64_t *start, uint64_t *end)
{
	*start = r->remote;
	*end = r->remote + r->len;
}

void cor_runner_know_sigtrap(struct cor_runner *r, bool ignored)
{
	r->trap_known = true;
	r->trap_ignored = ignored;
}

/* ---- running a list ------------------------------------------------------- */

/* Does the process ignore SIGTRAP? Unreadable counts as yes: stepping is safe. */
static bool ignores_sigtrap(pid_t pid)
{
	_cleanup_free_ char *text = NULL;
	char path[32], *p;

	snprintf(path, sizeof(path), "/proc/%d/status", pid);
	if (cor_slurp(AT_FDCWD, path, &text, NULL) < 0)
		return true;
	p = strstr(text, "\nSigIgn:");
	return !p || (strtoull(p + 8, NULL, 16) >> (SIGTRAP - 1) & 1);
}

/* A SIGTRAP of the task's own that waits (blocked) would come out first, and
 * swallow ours: such signals do not queue twice. */
static bool sigtrap_pending(pid_t tid, unsigned flags)
{
	struct __ptrace_peeksiginfo_args a = { .off = 0, .flags = flags, .nr = 8 };
	siginfo_t info[8];
	long n;

	while ((n = ptrace(PTRACE_PEEKSIGINFO, tid, &a, info)) > 0) {
		for (long i = 0; i < n; i++)
			if (info[i].si_signo == SIGTRAP)
				return true;
		a.off += (uint64_t)n;
	}
	return false;
}

static bool sets_sigtrap(const struct cor_runner_job *job)
{
	for (unsigned i = 0; i < job->n; i++)
		if (job->calls[i].nr == SYS_rt_sigaction && job->calls[i].arg[0] == SIGTRAP &&
		    job->calls[i].arg[1])
			return true;
	return false;
}

static bool must_step(struct cor_runner *r, const struct cor_runner_job *job)
{
	/* the list's own trap might already find it ignored */
	if (sets_sigtrap(job)) {
		r->trap_known = false;
		return true;
	}
	if (!r->trap_known) {
		r->trap_ignored = ignores_sigtrap(r->pid);
		r->trap_known = true;
	}
	return r->trap_ignored || sigtrap_pending(job->tid, 0) ||
	       sigtrap_pending(job->tid, PTRACE_PEEKSIGINFO_SHARED);
}

static int run_stepped(struct cor_runner *r, struct cor_runner_job *job, int stop_on_error,
		       struct cor_error *err)
{
	for (job->done = 0; job->done < job->n; job->done++) {
		struct cor_call *c = &job->calls[job->done];
		int64_t ret;
		int rc = cor_step_call(job->tid, cor_runner_insn(r), c, &ret, err);

		if (rc < 0)
			return rc;
		c->ret = ret;
		if (stop_on_error && ret < 0 && ret > -4096) {
			job->done++;
			break;
		}
	}
	return 0;
}

static int start(struct cor_runner *r, const struct cor_runner_job *job, int stop_on_error,
		 struct borrowed *b, struct cor_error *err)
{
	struct user_regs_struct regs;
	int rc = borrow(job->tid, b, ~(1ull << (SIGTRAP - 1)), err);

	if (rc < 0)
		return rc;
	regs = b->regs;
	regs.rip = r->remote;
	regs.orig_rax = -1;
	regs.r12 = cor_runner_remote(r, job->calls);
	regs.r13 = job->n;
	regs.r14 = stop_on_error ? 1 : 0;
	if (ptrace(PTRACE_SETREGS, job->tid, NULL, &regs) < 0)
		rc = fail_thread(err, job->tid, "cannot set its registers");
	else if (ptrace(PTRACE_CONT, job->tid, NULL, NULL) < 0)
		rc = fail_thread(err, job->tid, "cannot be resumed");
	if (rc < 0)
		give_back(job->tid, b, NULL);
	return rc;
}

static int finish(struct cor_runner *r, struct cor_runner_job *job, struct borrowed *b,
		  struct cor_error *err)
{
	struct user_regs_struct regs = { 0 };
	int back, rc = await_trap(job->tid, PTRACE_CONT, b, err);

	if (rc == -ESRCH)
		return rc;
	if (!rc && ptrace(PTRACE_GETREGS, job->tid, NULL, &regs) < 0)
		rc = fail_thread(err, job->tid, "cannot read its registers");
	if (!rc && regs.rip != r->remote + (uint64_t)(cor_inject_code_trap - cor_inject_code))
		rc = cor_fail(err, -EFAULT, "thread %d trapped at %#llx, outside the injected code",
			      job->tid, regs.rip);
	back = give_back(job->tid, b, rc ? NULL : err);
	if (!rc)
		job->done = (unsigned)regs.rbx;
	return rc ? rc : back;
}

int cor_runner_run_many(struct cor_runner *r, struct cor_runner_job *jobs, unsigned njobs,
			int stop_on_error, struct cor_error *err)
{
	_cleanup_free_ struct borrowed *b = calloc(njobs ? njobs : 1, sizeof(*b));
	_cleanup_free_ bool *started = calloc(njobs ? njobs : 1, sizeof(*started));
	int rc = 0;

	if (!b || !started)
		return cor_fail(err, -ENOMEM, "no memory to run calls in %u threads", njobs);
	for (unsigned i = 0; i < njobs && !rc; i++) {
		jobs[i].done = 0;
		if (must_step(r, &jobs[i]))
			continue;
		rc = start(r, &jobs[i], stop_on_error, &b[i], err);
		started[i] = rc == 0;
	}
	for (unsigned i = 0; i < njobs; i++) {
		int one = 0;

		/* what was started must be waited for, even after a failure */
		if (started[i])
			one = finish(r, &jobs[i], &b[i], rc ? NULL : err);
		else if (!rc)
			one = run_stepped(r, &jobs[i], stop_on_error, err);
		rc = rc ? rc : one;
	}
	return rc;
}

int cor_runner_run(struct cor_runner *r, pid_t tid, struct cor_call *calls, unsigned n,
		   int stop_on_error, unsigned *done, struct cor_error *err)
{
	struct cor_runner_job job = { .tid = tid, .calls = calls, .n = n };
	int rc = cor_runner_run_many(r, &job, 1, stop_on_error, err);

	if (!rc && done)
		*done = job.done;
	return rc;
}

int cor_runner_leave(struct cor_runner *r, pid_t tid, struct cor_error *err)
{
	struct cor_call call = { .nr = SYS_munmap, .arg = { r->remote, r->len } };
	int64_t ret;
	/* The step ends inside the kernel: the instruction may unmap itself. */
	int rc = cor_step_call(tid, cor_runner_insn(r), &call, &ret, err);

	if (!rc && ret < 0)
		rc = cor_fail_code(err, (int)ret, "thread %d cannot unmap the runner", tid);
	return rc;
}

void cor_runner_free(struct cor_runner *r)
{
	if (!r)
		return;
	munmap(r->local, r->len);
	free(r);
}

int cor_runner_unmap(struct cor_runner *r, pid_t tid, struct cor_error *err)
{
	int rc = r ? cor_runner_leave(r, tid, err) : 0;

	cor_runner_free(r);
	return rc;
}
