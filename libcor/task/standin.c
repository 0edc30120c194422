/* Turning a ghost into a stand-in, by injected calls; see standin.h. */
#include "libcor/task/standin.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "libcor/base/cleanup.h"
#include "libcor/base/compat.h"
#include "libcor/base/error.h"
#include "libcor/base/io.h"
#include "libcor/task/inject.h"
#include "libcor/task/ptrace_wait.h"

extern const char cor_standin_program[], cor_standin_program_end[];

#define ARGS_MAX   16384u       /* of the command line, to be shown */
#define ARGV_MAX   256u
#define PENDING_AT_ONCE 64u
#define EXEC_TIMEOUT_NS 5000000000ull

/* What is put into the ghost, at one place. */
struct room {
	int32_t  pair[2];
	char     empty[8];      /* "" */
	char     name[16];      /* of the memfd */
	uint64_t argv[ARGV_MAX + 1];
	char     args[ARGS_MAX + 1];
	char     program[];
};

static int step(struct cor_tracee *t, uint64_t insn, int64_t *ret, struct cor_error *err,
		const char *what, uint64_t nr, uint64_t a, uint64_t b, uint64_t c, uint64_t d)
{
	struct cor_call call = { .nr = nr, .arg = { a, b, c, d, 0, 0 } };
	int r = cor_step_call(t->threads[0].tid, insn, &call, ret, err);

	if (r == 0 && *ret < 0)
		r = cor_fail_code(err, (int)*ret, "process %d cannot be turned into its stand-in: %s",
				  t->pid, what);
	return r;
}

/* Execution waits until the others are gone, and we, who trace them, must see that. */
static void end_others(struct cor_tracee *t, uint64_t insn)
{
	struct cor_call call = { .nr = SYS_exit };
	int64_t ret;

	for (unsigned i = 1; i < t->nthreads; i++)
		cor_step_call(t->threads[i].tid, insn, &call, &ret, NULL);
}

static int move(pid_t pid, uint64_t remote, void *local, size_t len, bool in, struct cor_error *err)
{
	struct iovec here = { local, len }, there = { (void *)remote, len };
	ssize_t n = in ? process_vm_writev(pid, &here, 1, &there, 1, 0) :
		    process_vm_readv(pid, &here, 1, &there, 1, 0);

	if (n < 0)
		return cor_fail_errno(err, "memory of process %d", pid);
	return n == (ssize_t)len ? 0 : cor_fail(err, -EFAULT, "memory of process %d", pid);
}

/* What /proc will show: the command line that it had. */
static void fill_args(struct room *room, uint64_t remote, const struct cor_standin_plan *plan)
{
	size_t len = COR_MIN(plan->args_len, (size_t)ARGS_MAX), at = 0;
	unsigned n = 0;

	if (len)
		memcpy(room->args, plan->args, len);
	while (at < len && n < ARGV_MAX) {
		room->argv[n++] = remote + offsetof(struct room, args) + at;
		at += strlen(room->args + at) + 1;
	}
	if (n == 0)
		room->argv[0] = remote + offsetof(struct room, empty);
}

static int put_room(struct cor_tracee *t, uint64_t insn, const struct cor_standin_plan *plan,
		    uint64_t *remote, struct cor_error *err)
{
	size_t program = (size_t)(cor_standin_program_end - cor_standin_program);
	size_t size = sizeof(struct room) + program;
	_cleanup_free_ struct room *room = calloc(1, size);
	int64_t ret;
	int r;

	if (!room)
		return cor_fail(err, -ENOMEM, "out of memory");
	strcpy(room->name, "cor-standin");
	memcpy(room->program, cor_standin_program, program);
	struct cor_call call = { .nr = SYS_mmap, .arg = { 0, size, PROT_READ | PROT_WRITE,
							  MAP_PRIVATE | MAP_ANONYMOUS, ~0ull, 0 } };
	r = cor_step_call(t->threads[0].tid, insn, &call, &ret, err);
	if (r == 0 && ret < 0 && ret > -4096)
		r = cor_fail_code(err, (int)ret, "process %d cannot be turned into its stand-in: memory",
				  t->pid);
	if (r < 0)
		return r;
	*remote = (uint64_t)ret;
	fill_args(room, *remote, plan);
	return move(t->pid, *remote, room, size, true, err);
}

/* Descriptors: 0 the program, COR_STANDIN_FD its socket, of which the other end is ours. */
static int make_descriptors(struct cor_tracee *t, uint64_t insn, uint64_t remote, int *sock,
			    struct cor_error *err)
{
	size_t program = (size_t)(cor_standin_program_end - cor_standin_program);
	_cleanup_close_ int pidfd = (int)syscall(SYS_pidfd_open, t->pid, 0);
	int32_t pair[2];
	int64_t ret;
	int r;

	if (pidfd < 0)
		return cor_fail_errno(err, "process %d", t->pid);
	r = step(t, insn, &ret, err, "closing its files", SYS_close_range, 0, ~0u, 0, 0);
	if (r == 0)
		r = step(t, insn, &ret, err, "a file in memory", SYS_memfd_create,
			 remote + offsetof(struct room, name), 0, 0, 0);
	if (r == 0)
		r = step(t, insn, &ret, err, "its program", SYS_write, 0,
			 remote + offsetof(struct room, program), program, 0);
	if (r == 0 && ret != (int64_t)program)
		r = cor_fail(err, -EFBIG, "process %d may not have files of %zu bytes", t->pid, program);
	if (r == 0)
		r = step(t, insn, &ret, err, "a socket", SYS_socketpair, AF_UNIX, SOCK_SEQPACKET, 0,
			 remote + offsetof(struct room, pair));
	if (r == 0)
		r = move(t->pid, remote + offsetof(struct room, pair), pair, sizeof(pair), false, err);
	if (r < 0)
		return r;
	if (pair[0] != COR_STANDIN_FD)
		return cor_fail(err, -EIO, "process %d has other descriptors than its own", t->pid);
	*sock = (int)syscall(SYS_pidfd_getfd, pidfd, pair[1], 0);
	return *sock < 0 ? cor_fail_errno(err, "descriptor %d of process %d", pair[1], t->pid) : 0;
}

static int tell(int sock, enum cor_standin_kind kind, const void *info, size_t len)
{
	struct cor_standin_message m = { .kind = kind };

	if (len)
		memcpy(m.info, info, COR_MIN(len, sizeof(m.info)));
	return send(sock, &m, sizeof(m), MSG_NOSIGNAL | MSG_DONTWAIT) < 0 ? -errno : 0;
}

static int tell_first(int sock, const struct cor_standin_plan *plan, struct cor_error *err)
{
	int r = tell(sock, COR_STANDIN_NAME, plan->comm, strnlen(plan->comm, 15) + 1);

	/* more than fit are told twice rather than never */
	for (unsigned i = 0; r == 0 && i < COR_MIN(plan->nknown, 100u); i++)
		r = tell(sock, COR_STANDIN_KNOWN, &plan->known[i], sizeof(plan->known[i]));
	if (r == 0)
		r = tell(sock, COR_STANDIN_BEGIN, NULL, 0);
	return r < 0 ? cor_fail_code(err, r, "the stand-in's socket") : 0;
}

/* Nothing comes back to where it was: the registers that the kernel sets stay. */
static int execute(struct cor_tracee *t, uint64_t insn, uint64_t remote, struct cor_error *err)
{
	const uint64_t all = ~0ull;
	pid_t tid = t->threads[0].tid;
	struct user_regs_struct regs;
	int status, r;

	if (ptrace(PTRACE_SETSIGMASK, tid, sizeof(all), &all) < 0 ||
	    ptrace(PTRACE_GETREGS, tid, NULL, &regs) < 0)
		return cor_fail_errno(err, "process %d", t->pid);
	regs.rip = insn;
	regs.rax = SYS_execveat;
	regs.orig_rax = (unsigned long long)-1;
	regs.rdi = 0;
	regs.rsi = remote + offsetof(struct room, empty);
	regs.rdx = remote + offsetof(struct room, argv);
	regs.r10 = 0;
	regs.r8 = AT_EMPTY_PATH;
	if (ptrace(PTRACE_SETREGS, tid, NULL, &regs) < 0)
		return cor_fail_errno(err, "process %d", t->pid);
	/* the entry, PTRACE_EVENT_EXEC; or the exit, of an execution that failed */
	for (unsigned calls = 0; calls < 2;) {
		if (ptrace(PTRACE_SYSCALL, tid, NULL, NULL) < 0)
			return cor_fail_errno(err, "process %d", t->pid);
		r = cor_ptrace_wait(tid, EXEC_TIMEOUT_NS, &status);
		if (r < 0)
			return cor_fail_code(err, r, "process %d, being turned into its stand-in", t->pid);
		if (status >> 16 == PTRACE_EVENT_EXEC)
			return 0;
		calls += WSTOPSIG(status) == (SIGTRAP | 0x80);
	}
	if (ptrace(PTRACE_GETREGS, tid, NULL, &regs) < 0)
		return cor_fail_errno(err, "process %d", t->pid);
	return cor_fail_code(err, (int)regs.rax, "process %d cannot execute its stand-in", t->pid);
}

static int make(struct cor_tracee *t, const struct cor_standin_plan *plan, int *sock,
		struct cor_error *err)
{
	uint64_t insn = cor_find_syscall_insn(t->pid), remote = 0;
	int r;

	if (!insn)
		return cor_fail(err, -ENOENT, "process %d has no system call to be used", t->pid);
	end_others(t, insn);
	r = put_room(t, insn, plan, &remote, err);
	if (r == 0)
		r = make_descriptors(t, insn, remote, sock, err);
	if (r == 0)
		r = tell_first(*sock, plan, err);
	if (r == 0)
		r = execute(t, insn, remote, err);
	return r;
}

int cor_standin_make(struct cor_tracee *t, const struct cor_standin_plan *plan, int *sock,
		     struct cor_error *err)
{
	_cleanup_close_ int ours = -1;
	int r = make(t, plan, &ours, err);

	if (r == 0 && ptrace(PTRACE_DETACH, t->threads[0].tid, NULL, NULL) < 0)
		r = cor_fail_errno(err, "process %d", t->pid);
	if (r < 0) {
		cor_tracee_kill(t);
		return r;
	}
	cor_tracee_forget(t);
	*sock = take_fd(&ours);
	return 0;
}

/* ---- signals that come to the ghost --------------------------------------------------- */

static int peek(pid_t tid, uint32_t flags, siginfo_t **list, unsigned *n)
{
	siginfo_t buf[PENDING_AT_ONCE], *more;
	uint64_t off = 0;

	for (;;) {
		struct __ptrace_peeksiginfo_args a = { .off = off, .flags = flags,
						       .nr = PENDING_AT_ONCE };
		long got = ptrace(PTRACE_PEEKSIGINFO, tid, &a, buf);

		if (got < 0)
			return -errno;
		if (got == 0)
			return 0;
		more = realloc(*list, (*n + (unsigned)got) * sizeof(*more));
		if (!more)
			return -ENOMEM;
		*list = more;
		memcpy(more + *n, buf, (size_t)got * sizeof(*buf));
		*n += (unsigned)got;
		off += (uint64_t)got;
	}
}

int cor_standin_pending(const struct cor_tracee *t, siginfo_t **out, unsigned *nout,
			struct cor_error *err)
{
	siginfo_t *list = NULL;
	unsigned n = 0;
	int r = peek(t->threads[0].tid, PTRACE_PEEKSIGINFO_SHARED, &list, &n);

	for (unsigned i = 0; r == 0 && i < t->nthreads; i++)
		r = peek(t->threads[i].tid, 0, &list, &n);
	if (r < 0) {
		free(list);
		return cor_fail_code(err, r, "signals of process %d", t->pid);
	}
	*out = list;
	*nout = n;
	return 0;
}
