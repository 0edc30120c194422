/* Threads: what can be read from outside. */
#include "libcor/task/capture_base.h"

#include <dirent.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "libcor/base/cleanup.h"
#include "libcor/base/error.h"
#include "libcor/base/io.h"
#include "libcor/task/pb.h"
#include "libcor/task/restart.h"
#include "libcor/task/seccomp.h"

#define XSTATE_MAX 16384        /* AMX tiles included */
#define XSTATE_MIN 576          /* legacy area and header */

static Cor__Task__Thread *add_thread(struct cor_capture *c, const struct cor_proc_status *st)
{
	Cor__Task__Thread *th = pb_add(&c->image->threads, &c->image->n_threads, Cor__Task__Thread,
				       cor__task__thread__init);

	if (!th || pb_text(&th->comm, st->name, strlen(st->name)) < 0)
		return NULL;
	th->tid = st->ns_pid;
	th->seccomp = st->seccomp;
	return th;
}

static int read_credentials(struct cor_capture *c, Cor__Task__Thread *th,
			    const struct cor_proc_status *st, struct cor_error *err)
{
	Cor__Task__Credentials *k = pb_sub(th->creds, Cor__Task__Credentials,
					   cor__task__credentials__init);

	if (!k)
		return cor_capture_no_memory(c, err);
	if (st->ngroups > ARRAY_SIZE(st->groups))
		return cor_fail(err, -EOPNOTSUPP, "thread %d has %u groups; %zu can be moved", st->pid,
				st->ngroups, ARRAY_SIZE(st->groups));
	cor_capture_credentials(k, st);
	if (!st->ngroups)
		return 0;
	k->groups = malloc(st->ngroups * sizeof(uint32_t));
	if (!k->groups)
		return cor_capture_no_memory(c, err);
	memcpy(k->groups, st->groups, st->ngroups * sizeof(uint32_t));
	k->n_groups = st->ngroups;
	return 0;
}

static int thread_status(struct cor_capture *c, const char *tid, struct cor_proc_status *out)
{
	_cleanup_free_ char *text = NULL;
	char path[300];
	int r;

	snprintf(path, sizeof(path), "task/%s/status", tid);
	r = cor_slurp(c->proc, path, &text, NULL);
	return r < 0 ? r : cor_parse_status(text, out);
}

/* What is said of a thread before the freeze: which it is, and whose. */
static int name_thread(struct cor_capture *c, const struct cor_proc_status *st,
		       struct cor_error *err)
{
	Cor__Task__Thread *th = add_thread(c, st);

	return th ? read_credentials(c, th, st, err) : cor_capture_no_memory(c, err);
}

/* ---- of a running task ---------------------------------------------------------- */

static int list_threads(struct cor_capture *c, struct cor_error *err)
{
	_cleanup_closedir_ DIR *d = NULL;
	int fd = openat(c->proc, "task", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct dirent *e;
	int r;

	if (fd < 0)
		return cor_fail_errno(err, "cannot list the threads of process %d", c->pid);
	d = fdopendir(fd);
	if (!d) {
		close(fd);
		return cor_capture_no_memory(c, err);
	}
	r = name_thread(c, &c->status, err);    /* the leader first */
	while (r == 0 && (e = readdir(d))) {
		struct cor_proc_status st;

		if (atoi(e->d_name) <= 0 || atoi(e->d_name) == c->pid)
			continue;
		r = thread_status(c, e->d_name, &st);
		if (r == -ENOENT || r == -ESRCH) {
			r = 0;                  /* ended meanwhile */
			continue;
		}
		if (r < 0)
			return cor_fail_code(err, r, "cannot look at thread %s of process %d",
					     e->d_name, c->pid);
		r = cor_refuse_strict(c, &st, err);
		if (r == 0)
			r = name_thread(c, &st, err);
	}
	return r;
}

/* ---- of a stopped one -------------------------------------------------------------- */

static int read_xstate(struct cor_capture *c, Cor__Task__Thread *th, pid_t tid, struct cor_error *err)
{
	uint8_t buf[XSTATE_MAX];
	struct iovec iov = { buf, sizeof(buf) };

	if (ptrace(PTRACE_GETREGSET, tid, NT_X86_XSTATE, &iov) < 0)
		return cor_fail_errno(err, "cannot read the vector registers of thread %d", tid);
	/* what is not there is zero, that is, in its initial state */
	while (iov.iov_len > XSTATE_MIN && !buf[iov.iov_len - 1])
		iov.iov_len--;
	return pb_bytes(&th->xstate, buf, iov.iov_len) < 0 ? cor_capture_no_memory(c, err) : 0;
}

static int read_thread(struct cor_capture *c, const struct cor_tracee_thread *t,
		       struct cor_error *err)
{
	const struct cor_proc_status *st = &c->status;
	struct cor_proc_status own;
	Cor__Task__Thread *th;
	size_t len = 0;
	void *head = NULL;
	int r;

	if (cor_capture_sleeper(c, t))
		return 0;
	if (t->tid != c->pid) {
		r = cor_tracee_status(c->t, t, &own);
		if (r < 0)
			return cor_fail_code(err, r, "cannot look at thread %d of process %d", t->tid,
					     c->pid);
		st = &own;
	}
	r = cor_refuse_thread(c, t, st, err);
	if (r < 0)
		return r;
	th = add_thread(c, st);
	if (!th)
		return cor_capture_no_memory(c, err);
	th->sigmask = t->sigmask;
	th->rseq = t->rseq;
	th->rseq_len = t->rseq_len;
	th->rseq_sig = t->rseq_sig;
	if (syscall(SYS_get_robust_list, t->tid, &head, &len) == 0) {
		th->robust_list = (uintptr_t)head;
		th->robust_len = len;
	}
	r = st->seccomp ? cor_seccomp_read(t->tid, c->image, th, err) : 0;
	if (!r)
		r = read_xstate(c, th, t->tid, err);
	if (!r)
		r = cor_capture_scheduling(th, t->tid, err);
	return r ? r : read_credentials(c, th, st, err);
}

int cor_capture_threads(struct cor_capture *c, struct cor_error *err)
{
	int r = 0;

	if (!c->t)
		return list_threads(c, err);
	for (unsigned i = 0; i < c->t->nthreads && !r; i++)
		r = read_thread(c, &c->t->threads[i], err);
	return r;
}

/* ---- pending signals ------------------------------------------------------------------ */

/* A traced process is sent what it ignores, too: that would never have queued. */
static bool would_not_queue(const struct cor_capture *c, const struct cor_tracee_thread *t,
			    const siginfo_t *info)
{
	uint64_t bit = 1ull << (info->si_signo - 1);
	bool dfl = !((c->status.sig_ignored | c->status.sig_caught) & bit);

	if (t->sigmask & bit)
		return false;
	if (c->status.sig_ignored & bit)
		return true;
	return dfl && (info->si_signo == SIGCHLD || info->si_signo == SIGURG ||
		       info->si_signo == SIGWINCH || info->si_signo == SIGCONT);
}

static int read_pending(struct cor_capture *c, const struct cor_tracee_thread *t, unsigned flags,
			ProtobufCBinaryData **out, size_t *n, struct cor_error *err)
{
	struct __ptrace_peeksiginfo_args a = { .off = 0, .flags = flags, .nr = 16 };
	siginfo_t info[16];
	long got;

	while ((got = ptrace(PTRACE_PEEKSIGINFO, t->tid, &a, info)) > 0) {
		for (long i = 0; i < got; i++)
			if (!would_not_queue(c, t, &info[i]) &&
			    pb_add_bytes(out, n, &info[i], sizeof(info[i])) < 0)
				return cor_capture_no_memory(c, err);
		a.off += (uint64_t)got;
	}
	if (got < 0)
		return cor_fail_errno(err, "cannot read the pending signals of thread %d", t->tid);
	return 0;
}

/* Of a thread that waits, in which call and what is left of it, where that is known from before. */
static bool knows_left(const struct cor_capture *c, const struct cor_tracee_thread *t,
		       struct user_regs_struct *regs, uint64_t *left)
{
	const struct cor_sleeper *s = cor_capture_sleeper_of(c, t);

	if (cor_waits_find(c->o.waits, t->tid, c->t->stopping_ns, t->before.switches, regs, left))
		return true;
	if (!s)
		return false;
	if (regs->orig_rax == SYS_restart_syscall)
		regs->orig_rax = s->call;
	*left = cor_sleeper_left(s, c->t->stopping_ns);
	return s->until_ns;
}

static int set_registers(struct cor_capture *c, const struct cor_tracee_thread *t,
			 Cor__Task__Thread *th, struct cor_error *err)
{
	struct user_regs_struct regs = t->regs;
	struct cor_restart restart = { .kind = COR__TASK__RESTART_KIND__RESTART_NONE };
	int handler, r = 0;

	if (cor_restart_needed(&regs)) {
		uint64_t left;
		bool begun = knows_left(c, t, &regs, &left);

		handler = th->n_pending || c->image->n_pending ?
			  cor_tracee_pending_handler(t, c->status.sig_caught, c->action_flags) :
			  COR_HANDLER_NONE;
		r = cor_restart_image(c->pid, &regs, t->slept_ns, begun ? &left : NULL,
				      (enum cor_handler)handler, &restart, err);
	}
	if (r < 0)
		return r;
	th->restart = restart.kind;
	th->remaining_ns = restart.remaining_ns;
	return pb_bytes(&th->regs, &regs, sizeof(regs)) < 0 ? cor_capture_no_memory(c, err) : 0;
}

/* A signal that has come since may be what ends its sleep. */
static int finish_thread(struct cor_capture *c, const struct cor_tracee_thread *t,
			 Cor__Task__Thread *th, struct cor_error *err)
{
	int r = read_pending(c, t, 0, &th->pending, &th->n_pending, err);

	if (r < 0)
		return r;
	if (th->n_pending || c->image->n_pending)
		th->asleep = false;
	if (!th->asleep)
		return set_registers(c, t, th, err);
	th->remaining_ns = cor_sleeper_left(cor_capture_sleeper_of(c, t), c->t->stopping_ns);
	return 0;
}

int cor_capture_signals(struct cor_capture *c, struct cor_error *err)
{
	int r = read_pending(c, &c->t->threads[0], PTRACE_PEEKSIGINFO_SHARED, &c->image->pending,
			     &c->image->n_pending, err);

	for (unsigned i = 0; i < c->t->nthreads && !r; i++)
		r = finish_thread(c, &c->t->threads[i], c->image->threads[i], err);
	return r;
}
