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
#include <time.h>
#include <unistd.h>

#include "libcor/base/cleanup.h"
#include "libcor/base/error.h"
#include "libcor/base/io.h"
#include "libcor/task/ptrace_wait.h"
#include "libcor/task/signals.h"

#define PAGE 4096u
#define NOT_MADE INT64_MIN              /* what no call returns */
#define LAST_NS  1000000u
#define PAGES_NS 10000000000ull         /* for pages that a call reads, from another host perhaps */

extern const char cor_inject_code[], cor_inject_code_syscall[], cor_inject_code_stop[];
extern const char cor_inject_code_trap[], cor_inject_code_end[];

/* How a thread that runs a list comes back to where it was if its tracer is killed: what
 * the runner's code puts into its registers, as it reads it. */
struct way_back {
	uint64_t mask;
	uint64_t r15, r14, r13, r12, rbp, rbx, r11, r10, r9, r8, rax, rcx, rdx, rsi, rdi;
	uint64_t rip, rsp, rflags;
	uint32_t signal;        /* ends the list */
	uint32_t unused;
	uint8_t  leave[32];     /* two instructions: r15, and the jump */
};
_Static_assert(offsetof(struct way_back, r15) == 8 && offsetof(struct way_back, rdi) == 120 &&
	       offsetof(struct way_back, rsp) == 136 && offsetof(struct way_back, rflags) == 144 &&
	       offsetof(struct way_back, signal) == 152 && offsetof(struct way_back, leave) == 160 &&
	       sizeof(struct way_back) == 192, "the runner's code knows these offsets");

/* In front of the room: the code, and a way back for each of so many threads. */
#define HEAD      (4 * PAGE)
#define WAYS_FROM 512u
#define WAYS      ((HEAD - WAYS_FROM) / sizeof(struct way_back))

struct cor_runner {
	pid_t    pid;           /* any thread of the tracee: names it in /proc */
	char    *local;         /* the head, then the room */
	uint64_t remote;
	size_t   len;           /* head included */
	bool     caught_known;
	uint64_t caught;        /* the signals that the tracee has handlers for */
	bool     bare;          /* its threads have nothing to come back to */
};

/* What a thread's state was before we borrowed it. */
struct borrowed {
	struct user_regs_struct regs;
	uint64_t mask;
	int      signal;        /* that ends its list; 0: it is not run */
	uint64_t blocked;       /* meanwhile */
	bool     signal_seen;   /* another one came meanwhile: to be sent again, */
	bool     stop_seen;     /* and so a SIGSTOP */
};

static int fail_thread(struct cor_error *err, pid_t tid, const char *what)
{
	int code = errno;

	if (code == ESRCH || code == ECHILD)
		return cor_fail(err, -ESRCH, "thread %d ended while it was being used: %s", tid, what);
	errno = code;
	return cor_fail_errno(err, "thread %d: %s", tid, what);
}

static int borrow(pid_t tid, struct borrowed *b, struct cor_error *err)
{
	if (ptrace(PTRACE_GETREGS, tid, NULL, &b->regs) < 0)
		return fail_thread(err, tid, "cannot read its registers");
	if (ptrace(PTRACE_GETSIGMASK, tid, sizeof(b->mask), &b->mask) < 0)
		return fail_thread(err, tid, "cannot read its signal mask");
	return 0;
}

/* In this order: who has the registers of the runner finds its way back, mask and all. */
static int redirect(pid_t tid, struct user_regs_struct *regs, uint64_t mask, struct cor_error *err)
{
	if (ptrace(PTRACE_SETREGS, tid, NULL, regs) < 0)
		return fail_thread(err, tid, "cannot set its registers");
	if (ptrace(PTRACE_SETSIGMASK, tid, sizeof(mask), &mask) < 0)
		return fail_thread(err, tid, "cannot block its signals");
	return 0;
}

static int give_back(pid_t tid, const struct borrowed *b, struct cor_error *err)
{
	if (ptrace(PTRACE_SETSIGMASK, tid, sizeof(b->mask), &b->mask) < 0)
		return fail_thread(err, tid, "cannot put its signal mask back");
	if (ptrace(PTRACE_SETREGS, tid, NULL, &b->regs) < 0)
		return fail_thread(err, tid, "cannot put its registers back");
	/* sent again they stay queued until the thread runs */
	if (b->signal_seen)
		syscall(SYS_tkill, tid, b->signal);
	if (b->stop_seen)
		syscall(SYS_tkill, tid, SIGSTOP);
	return 0;
}

/* In the middle of a call that the kernel restarts on the way out of the stop? */
static bool restarts(const struct user_regs_struct *regs)
{
	return (int64_t)regs->orig_rax >= 0 && (int64_t)regs->rax <= -512 &&
	       (int64_t)regs->rax >= -516;
}

/* Waits for the stop that means "done": by SIGTRAP, or the signal that ends a list. Lets the
 * thread go on (by request) from any other that can come between. */
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
		if (!event && (sig == SIGTRAP || sig == b->signal))
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
	struct borrowed b = { .signal = SIGTRAP };
	int r, back;

	r = borrow(tid, &b, err);
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
	r = redirect(tid, &regs, ~0ull, err);
	if (!r)
		r = resume_to_trap(tid, PTRACE_SYSCALL, &b, err);      /* entry */
	if (!r)
		r = resume_to_trap(tid, PTRACE_SYSCALL, &b, err);      /* exit */
	if (!r && ptrace(PTRACE_GETREGS, tid, NULL, &regs) < 0)
		r = fail_thread(err, tid, "cannot read its registers");
	if (r == -ESRCH)
		return r;
	back = give_back(tid, &b, r ? NULL : err);
	*restart = restarts(&b.regs);
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

#define INSN_CHUNK 65536u

/* The first syscall instruction in [start, end) of the tracee; 0: none, or it cannot be read. */
static uint64_t find_insn_in(pid_t pid, uint64_t start, uint64_t end, char *buf)
{
	static const char insn[2] = { 0x0f, 0x05 };

	for (uint64_t at = start; at < end; at += INSN_CHUNK) {
		size_t len = COR_MIN(end - at, (uint64_t)INSN_CHUNK);
		struct iovec here = { buf, len }, there = { (void *)at, len };
		ssize_t n = process_vm_readv(pid, &here, 1, &there, 1, 0);
		char *p = n > 0 ? memmem(buf, (size_t)n, insn, sizeof(insn)) : NULL;

		if (p)
			return at + (uint64_t)(p - buf);
		if (n < (ssize_t)len)
			break;
	}
	return 0;
}

uint64_t cor_find_syscall_insn(pid_t pid)
{
	_cleanup_free_ char *text = NULL, *buf = malloc(INSN_CHUNK);
	char path[32], *line, *save = NULL;
	uint64_t found = 0;

	snprintf(path, sizeof(path), "/proc/%d/maps", pid);
	if (!buf || cor_slurp(AT_FDCWD, path, &text, NULL) < 0)
		return 0;
	for (line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		bool vdso = strstr(line, " [vdso]");
		unsigned long start, end;
		char perms[5];

		/* one in the program's own code is as good, and the last resort */
		if (sscanf(line, "%lx-%lx %4s", &start, &end, perms) != 3 || perms[0] != 'r' ||
		    perms[2] != 'x' || strstr(line, " [vsyscall]") || (found && !vdso))
			continue;
		found = find_insn_in(pid, start, end, buf) ?: found;
		if (found && vdso)
			break;
	}
	return found;
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
	p = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd, 0);
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

static int map_runner(struct cor_runner **out, pid_t tid, uint64_t insn, uint64_t hint,
		      size_t size, bool by_descriptor, struct cor_error *err)
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
				"process %d has no syscall instruction to borrow", tid);
	r->pid = tid;
	r->len = HEAD + ((size + PAGE - 1) & ~(size_t)(PAGE - 1));
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
		if (rc == -EPERM && by_descriptor)
			rc = map_by_descriptor(r, insn, hint, err);
		if (rc < 0)
			return rc;
	}
	memcpy(r->local, cor_inject_code, (size_t)(cor_inject_code_end - cor_inject_code));
	*out = take_ptr(r);
	return 0;
}

int cor_runner_map(struct cor_runner **out, pid_t tid, uint64_t insn, uint64_t hint,
		   size_t size, struct cor_error *err)
{
	return map_runner(out, tid, insn, hint, size, true, err);
}

int cor_runner_map_running(struct cor_runner **out, pid_t tid, uint64_t insn, size_t size,
			   struct cor_error *err)
{
	return map_runner(out, tid, insn, 0, size, false, err);
}

void *cor_runner_room(struct cor_runner *r)
{
	return r->local + HEAD;
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
	return r->len - HEAD;
}

void cor_runner_range(const struct cor_runner *r, uint64_t *start, uint64_t *end)
{
	*start = r->remote;
	*end = r->remote + r->len;
}

void cor_runner_bare(struct cor_runner *r)
{
	r->bare = true;
}

void cor_runner_know_caught(struct cor_runner *r, uint64_t signals)
{
	r->caught_known = true;
	r->caught = signals;
}

/* ---- running a list ------------------------------------------------------- */

/* The signal that ends a list in thread tid: one that does nothing to a task without a
 * tracer. None of its own that waits (blocked): that would come out first, and swallow
 * ours, since such signals do not queue twice.
 *
 * A trap would not do: a tracer that is killed in the midst of it leaves SIGTRAP behind,
 * which ends the task. So does this where the task has handlers for all the others. */
static void choose_signal(struct cor_runner *r, pid_t tid, uint64_t shared, struct borrowed *b)
{
	static const int harmless[] = { SIGURG, SIGWINCH, SIGCHLD };
	uint64_t waiting = shared | (r->bare ? 0 : cor_signals_pending_own(tid));
	uint64_t caught = ~UINT64_C(0);

	if (!r->caught_known) {
		cor_signals_caught(r->pid, &caught);
		cor_runner_know_caught(r, caught);
	}
	b->signal = waiting & COR_SIGNAL(SIGTRAP) ? 0 : SIGTRAP;
	for (unsigned i = ARRAY_SIZE(harmless); i-- > 0;)
		if (!((waiting | r->caught) & COR_SIGNAL(harmless[i])))
			b->signal = harmless[i];
	if (b->signal)
		b->blocked = ~(COR_SIGNAL(b->signal) | (COR_SIGNAL(SIGTRAP) & ~waiting));
}

static struct way_back *way_back(struct cor_runner *r, unsigned i)
{
	return (struct way_back *)(r->local + WAYS_FROM) + i;
}

/* What the kernel does behind a stop is ours to do there: a call that it would restart is
 * made anew, by its instruction. */
static void note_way_back(struct way_back *w, const struct borrowed *b)
{
	static const uint8_t to_r15[2] = { 0x49, 0xbf };        /* mov $imm64, %r15 */
	static const uint8_t jump[6] = { 0xff, 0x25 };          /* jmp *0(%rip) */
	const struct user_regs_struct *u = &b->regs;

	*w = (struct way_back){
		.mask = b->mask, .signal = (uint32_t)b->signal,
		.r15 = u->r15, .r14 = u->r14, .r13 = u->r13, .r12 = u->r12, .rbp = u->rbp,
		.rbx = u->rbx, .r11 = u->r11, .r10 = u->r10, .r9 = u->r9, .r8 = u->r8,
		.rax = u->rax, .rcx = u->rcx, .rdx = u->rdx, .rsi = u->rsi, .rdi = u->rdi,
		.rip = u->rip, .rsp = u->rsp, .rflags = u->eflags,
	};
	if (restarts(u)) {
		w->rip -= 2;
		w->rax = (int64_t)u->rax == -516 ? SYS_restart_syscall : u->orig_rax;
	}
	memcpy(w->leave, to_r15, 2);
	memcpy(w->leave + 2, &w->r15, 8);
	memcpy(w->leave + 10, jump, 6);
	memcpy(w->leave + 16, &w->rip, 8);
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
		 struct way_back *w, struct borrowed *b, struct cor_error *err)
{
	struct user_regs_struct regs;
	int rc = 0;

	if (job->was) {
		b->regs = *job->was;
		b->mask = job->mask;
	} else if (r->bare) {
		/* the segments that user code has on x86-64, and interrupts on */
		b->regs = (struct user_regs_struct){ .cs = 0x33, .ss = 0x2b, .eflags = 0x202 };
	} else {
		rc = borrow(job->tid, b, err);
	}
	if (rc < 0)
		return rc;
	note_way_back(w, b);
	if (job->waits && job->n > 1)
		job->calls[job->n - 2].ret = NOT_MADE;
	regs = b->regs;
	regs.rip = r->remote;
	regs.orig_rax = -1;
	regs.r12 = cor_runner_remote(r, job->calls);
	regs.r13 = job->n;
	regs.r14 = stop_on_error ? 1 : 0;
	regs.r15 = cor_runner_remote(r, w);
	rc = redirect(job->tid, &regs, b->blocked, err);
	if (!rc && ptrace(PTRACE_CONT, job->tid, NULL, NULL) < 0)
		rc = fail_thread(err, job->tid, "cannot be resumed");
	if (rc < 0 && !r->bare)
		give_back(job->tid, b, NULL);
	return rc;
}

static uint64_t place(const struct cor_runner *r, const char *in_code)
{
	return r->remote + (uint64_t)(in_code - cor_inject_code);
}

/* The end of the list: 0, with its registers. A signal that came from elsewhere and is
 * like the one that ends it may come between. */
static int await_end(struct cor_runner *r, pid_t tid, struct borrowed *b,
		     struct user_regs_struct *regs, struct cor_error *err)
{
	for (;;) {
		int rc = await_trap(tid, PTRACE_CONT, b, err);

		if (rc < 0)
			return rc;
		if (ptrace(PTRACE_GETREGS, tid, NULL, regs) < 0)
			return fail_thread(err, tid, "cannot read its registers");
		if (regs->rip == place(r, cor_inject_code_stop) ||
		    regs->rip == place(r, cor_inject_code_trap))
			return 0;
		if (b->signal == SIGTRAP)
			return cor_fail(err, -EFAULT, "thread %d trapped at %#llx, outside the injected "
					"code", tid, regs->rip);
		b->signal_seen = true;
		if (ptrace(PTRACE_CONT, tid, NULL, NULL) < 0)
			return fail_thread(err, tid, "cannot go on");
	}
}

/* Until it makes its last call, or is about to: the list lies in memory that we see. */
static void await_last(const struct cor_runner_job *job)
{
	const volatile int64_t *before = job->n > 1 ? &job->calls[job->n - 2].ret : NULL;
	struct cor_pace pace;

	cor_pace_begin(&pace, LAST_NS);
	while (before && *before == NOT_MADE && cor_pace(&pace) == 0)
		;
}

/* Interrupts a list in its last call. *regs are those in it; or at the list's end, where the
 * call was over before. */
static int interrupt_last(struct cor_runner *r, const struct cor_runner_job *job,
			  struct borrowed *b, struct user_regs_struct *regs, struct cor_error *err)
{
	const struct timespec nap = { .tv_nsec = 20000 };

	for (;;) {
		int status, rc;

		await_last(job);
		if (ptrace(PTRACE_INTERRUPT, job->tid, NULL, NULL) < 0)
			return fail_thread(err, job->tid, "cannot be interrupted");
		rc = cor_ptrace_wait(job->tid, PAGES_NS, &status);
		if (rc < 0) {
			errno = -rc;
			return fail_thread(err, job->tid, "it does not stop in the call that it begins");
		}
		if (ptrace(PTRACE_GETREGS, job->tid, NULL, regs) < 0)
			return fail_thread(err, job->tid, "cannot read its registers");
		if (status >> 16 != PTRACE_EVENT_STOP) {
			if (WSTOPSIG(status) != b->signal)
				return cor_fail(err, -EFAULT, "thread %d got signal %d in injected code",
						job->tid, WSTOPSIG(status));
			return 0;
		}
		if (regs->rbx == job->n - 1 && regs->rip == place(r, cor_inject_code_syscall) + 2 &&
		    restarts(regs))
			return 0;
		/* not there yet, or on its way to the end already */
		if (ptrace(PTRACE_CONT, job->tid, NULL, NULL) < 0)
			return fail_thread(err, job->tid, "cannot go on");
		if (regs->rip == place(r, cor_inject_code_stop))
			return await_end(r, job->tid, b, regs, err);
		/* interrupted again before it has run it would not get on */
		nanosleep(&nap, NULL);
	}
}

static int finish(struct cor_runner *r, struct cor_runner_job *job, struct borrowed *b,
		  struct cor_error *err)
{
	struct user_regs_struct regs = { 0 };
	int back, rc = job->waits ? interrupt_last(r, job, b, &regs, err) :
				    await_end(r, job->tid, b, &regs, err);

	if (rc == -ESRCH)
		return rc;
	back = r->bare ? 0 : give_back(job->tid, b, rc ? NULL : err);
	if (!rc)
		job->done = (unsigned)regs.rbx;
	if (!rc && job->waits && job->done == job->n - 1)
		job->calls[job->done++].ret = (int64_t)regs.rax;
	return rc ? rc : back;
}

/* Lists that run: no more of them than there are ways back. */
struct cor_running {
	struct cor_runner *runner;
	struct cor_runner_job *jobs;
	unsigned njobs;         /* all of them, */
	unsigned nstarted;      /* of which so many were looked at, the first ones */
	int stop_on_error;
	int rc;                 /* of the start */
	struct borrowed b[WAYS];
};

static int start_some(struct cor_running *x, struct cor_error *err)
{
	uint64_t shared = 0;
	int rc = 0;

	if (x->njobs && !x->runner->bare)
		shared = cor_signals_pending_shared(x->jobs[0].tid);
	x->nstarted = COR_MIN(x->njobs, (unsigned)WAYS);
	for (unsigned i = 0; i < x->nstarted; i++) {
		x->jobs[i].done = 0;
		x->b[i] = (struct borrowed){ 0 };
		if (rc == 0)
			choose_signal(x->runner, x->jobs[i].tid, shared, &x->b[i]);
		if (!x->b[i].signal)
			continue;
		rc = start(x->runner, &x->jobs[i], x->stop_on_error, way_back(x->runner, i), &x->b[i],
			   err);
		if (rc < 0)
			x->b[i].signal = 0;
	}
	return rc;
}

static int finish_some(struct cor_running *x, int rc, struct cor_error *err)
{
	for (unsigned i = 0; i < x->nstarted; i++) {
		int one = 0;

		/* what was started must be waited for, even after a failure */
		if (x->b[i].signal)
			one = finish(x->runner, &x->jobs[i], &x->b[i], rc ? NULL : err);
		else if (!rc)
			one = run_stepped(x->runner, &x->jobs[i], x->stop_on_error, err);
		rc = rc ? rc : one;
	}
	return rc;
}

int cor_runner_start_many(struct cor_runner *r, struct cor_runner_job *jobs, unsigned njobs,
			  int stop_on_error, struct cor_running **out, struct cor_error *err)
{
	struct cor_running *x = malloc(sizeof(*x));

	if (!x)
		return cor_fail(err, -ENOMEM, "no memory to run calls in %u threads", njobs);
	x->runner = r;
	x->jobs = jobs;
	x->njobs = njobs;
	x->stop_on_error = stop_on_error;
	x->rc = start_some(x, err);
	*out = x;
	return 0;
}

int cor_runner_await_many(struct cor_running *x, struct cor_error *err)
{
	int rc = finish_some(x, x->rc, x->rc ? NULL : err);

	while (rc == 0 && x->njobs > x->nstarted) {
		x->jobs += x->nstarted;
		x->njobs -= x->nstarted;
		rc = start_some(x, err);
		rc = finish_some(x, rc, rc ? NULL : err);
	}
	free(x);
	return rc;
}

int cor_runner_run_many(struct cor_runner *r, struct cor_runner_job *jobs, unsigned njobs,
			int stop_on_error, struct cor_error *err)
{
	struct cor_running *x = NULL;
	int rc = cor_runner_start_many(r, jobs, njobs, stop_on_error, &x, err);

	return rc < 0 ? rc : cor_runner_await_many(x, err);
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
