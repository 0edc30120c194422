/* rebuild's life cycle: begin, call, resume, release, abort; see rebuild.h. */
#include "libcor/task/rebuild.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>

#include "libcor/base/cleanup.h"
#include "libcor/base/compat.h"
#include "libcor/base/error.h"
#include "libcor/base/io.h"
#include "libcor/task/rebuild_private.h"
#include "libcor/task/spawn.h"
#include "libcor/task/stub.h"
#include "libcor/task/supervisor.h"

/* Until the threads are back in the calls that were begun anew for them. */
#define WAITS_BEGIN_NS 20000000u

static void free_rebuild(struct cor_rebuild *rb)
{
	cor_closep(&rb->ctl);
	cor_closep(&rb->channel);
	cor_closep(&rb->uffd);
	cor_closep(&rb->pidfd);
	cor_closep(&rb->supervisor_pidfd);
	cor_batch_free(rb->batch);
	cor_runner_free(rb->runner);
	free(rb->threads);
	cor_waits_done(&rb->waits);
	free(rb->status);
	free(rb->detours);
	free(rb);
}

static struct cor_rebuild *new_rebuild(void)
{
	struct cor_rebuild *rb = calloc(1, sizeof(*rb));

	if (rb)
		rb->ctl = rb->channel = rb->uffd = rb->pidfd = rb->supervisor_pidfd = -1;
	return rb;
}

/* Readable once the process is dead, be it our child or not. */
static void await_death(int pidfd)
{
	struct pollfd p = { .fd = pidfd, .events = POLLIN };

	while (pidfd >= 0 && poll(&p, 1, -1) < 0 && errno == EINTR)
		;
}

/* Both ends: [0] ours, and the senders' PIDs come with what arrives there. */
static int make_pair(int type, int pair[2], struct cor_error *err)
{
	const int on = 1;

	if (socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, pair) < 0)
		return cor_fail_errno(err, "cannot make a socket pair for the stub");
	setsockopt(pair[0], SOL_SOCKET, SO_PASSCRED, &on, sizeof(on));
	return 0;
}

static int open_pidfd(pid_t pid, int *out, const char *what, struct cor_error *err)
{
	int fd = pidfd_open(pid, 0);

	if (fd < 0)
		return cor_fail_errno(err, "cannot open a pidfd of %s %d", what, pid);
	*out = fd;
	return 0;
}

/* The supervisor says HELLO, or it or a helper says why not. */
static int hear_supervisor(struct cor_rebuild *rb, struct cor_error *err)
{
	struct cor_supervisor_packet p;
	int fd;
	ssize_t n = cor_recv_cred(rb->ctl, &p, sizeof(p), &rb->supervisor, &fd);

	cor_closep(&fd);
	if (n != sizeof(p))
		return cor_fail(err, -ESRCH, "the supervisor died at its start");
	if (p.op == COR_SUPERVISOR_FAILED) {
		p.text[sizeof(p.text) - 1] = 0;
		return cor_fail(err, p.code, "%s", p.text);
	}
	return open_pidfd(rb->supervisor, &rb->supervisor_pidfd, "the supervisor", err);
}

/* Waits for the stub's first byte or for news that it will not come. */
static int await_stub(struct cor_rebuild *rb, struct cor_error *err)
{
	for (;;) {
		struct pollfd p[2] = {
			{ .fd = rb->channel, .events = POLLIN },
			{ .fd = rb->ctl, .events = POLLIN },
		};

		if (poll(p, 2, -1) < 0 && errno != EINTR)
			return cor_fail_errno(err, "cannot wait for the stub");
		if (p[1].revents) {
			int r = hear_supervisor(rb, err);

			if (r < 0)
				return r;
		} else if (p[0].revents && rb->supervisor) {
			return 0;
		} else if (p[0].revents) {
			p[0].revents = 0;       /* the supervisor's word is on its way */
			poll(&p[1], 1, -1);
		}
	}
}

static int hear_stub(struct cor_rebuild *rb, struct cor_error *err)
{
	struct cor_message m = { 0 };
	const int off = 0;
	char mark;
	int r;
	ssize_t n = cor_recv_cred(rb->channel, &mark, 1, &rb->pid, &rb->uffd);

	if (n != 1)
		return cor_fail(err, -ESRCH, "the stub died at its start");
	setsockopt(rb->channel, SOL_SOCKET, SO_PASSCRED, &off, sizeof(off));
	r = cor_message_recv(rb->channel, &m);
	cor_message_clear(&m);
	if (r < 0)
		return cor_fail_code(err, r, "the stub died at its start");
	if (m.op < 0 || rb->uffd < 0)
		return cor_fail_code(err, m.op < 0 ? m.op : -EPROTO,
				     "the stub cannot make a userfaultfd");
	return open_pidfd(rb->pid, &rb->pidfd, "the stub", err);
}

/* To follow forks takes CAP_SYS_PTRACE (userfaultfd(2)). */
static int shake_hands(struct cor_rebuild *rb, struct cor_error *err)
{
	int r = cor_pager_uffd_handshake(rb->uffd, err);

	if (r != -EPERM)
		return r;
	rb->forks_unseen = true;
	return cor_pager_uffd_handshake_blind(rb->uffd, err);
}

static int meet(struct cor_rebuild *rb, struct cor_error *err)
{
	int r = await_stub(rb, err);

	if (r == 0)
		r = hear_stub(rb, err);
	if (r == 0)
		r = shake_hands(rb, err);
	if (r == 0)
		r = cor_supervisor_ask(rb->ctl, COR_SUPERVISOR_UFFD, rb->pid, rb->uffd, err);
	return r;
}

/* Everything that holds the other end of ctl has ended when it reports the
 * end: the supervisor, and helpers that were on their way. */
static void await_end(int ctl)
{
	struct cor_supervisor_packet p;
	ssize_t n;

	shutdown(ctl, SHUT_WR);
	do
		n = recv(ctl, &p, sizeof(p), 0);
	while (n > 0 || (n < 0 && errno == EINTR));
}

static int begin_once(struct cor_rebuild **out, struct cor_supervisor_plan *sp,
		      struct cor_error *err)
{
	int ctl[2] = { -1, -1 }, channel[2] = { -1, -1 };
	struct cor_rebuild *rb = new_rebuild();
	int r;

	if (!rb)
		return cor_fail(err, -ENOMEM, "out of memory");
	r = make_pair(SOCK_SEQPACKET, ctl, err);
	if (r == 0)
		r = make_pair(SOCK_STREAM, channel, err);
	rb->ctl = ctl[0];
	rb->channel = channel[0];
	rb->inner_pid = sp->pid;
	rb->max_fd = sp->max_fd;
	rb->lowest = cor_layout_lowest();
	rb->pid_ns = sp->pid_ns;
	sp->ctl = ctl[1];
	sp->channel = channel[1];
	if (r == 0)
		r = cor_supervisor_start(sp, err);
	cor_closep(&ctl[1]);
	cor_closep(&channel[1]);
	if (r == 0)
		r = meet(rb, err);
	if (r < 0) {
		cor_closep(&rb->channel);
		rb->channel = -1;
		if (rb->ctl >= 0)
			await_end(rb->ctl);
		free_rebuild(rb);
		return r;
	}
	*out = rb;
	return 0;
}

/* Whether a number that the task needs is in use here, or will be before its thread
 * is made (the leader is made at once). */
static bool ids_taken(const Cor__Task__Image *image)
{
	const Cor__Task__Identity *id = image->identity;

	if (cor_id_taken(id->pid) || (id->pgid > 0 && cor_id_taken(id->pgid)) ||
	    (id->sid > 0 && cor_id_taken(id->sid)))
		return true;
	for (size_t i = 0; i < image->n_threads; i++)
		if (cor_id_taken(image->threads[i]->tid) ||
		    (i && cor_id_taken_soon(image->threads[i]->tid)))
			return true;
	return false;
}

static int check_ids(const Cor__Task__Image *image, struct cor_error *err)
{
	if (!image->identity || image->identity->pid <= 0)
		return cor_fail(err, -EINVAL, "the task's image names no PID");
	if (image->identity->pid == 1)
		return cor_fail(err, -EOPNOTSUPP, "the task is the init of its PID namespace "
				"(PID 1), which cannot be made again");
	for (size_t i = 0; i < image->n_threads; i++)
		if (image->threads[i]->tid <= 1)
			return cor_fail(err, -EINVAL, "the task's image has a thread with TID %d",
					image->threads[i]->tid);
	return 0;
}

/* The number that the task knows its parent by, if it is free, and not that of a process
 * group in another session than the parent's, which has one of its own. */
static int32_t parent_number(const Cor__Task__Image *image)
{
	const Cor__Task__Identity *id = image->identity;
	int32_t ppid = id->ppid;

	if (ppid <= 1 || cor_id_taken(ppid) || (ppid == id->pgid && ppid != id->sid))
		return 0;
	for (size_t i = 0; i < image->n_threads; i++)
		if (image->threads[i]->tid == ppid)
			return 0;
	return ppid;
}

/* The task's names of the host, where ours are others. */
static bool other_host(const Cor__Task__Identity *id, struct cor_uts *out)
{
	struct cor_uts ours;

	cor_uts_own(&ours);
	snprintf(out->node, sizeof(out->node), "%s", id->hostname);
	snprintf(out->domain, sizeof(out->domain), "%s", id->domainname);
	return strcmp(out->node, ours.node) != 0 || strcmp(out->domain, ours.domain) != 0;
}

int cor_rebuild_begin(struct cor_rebuild **out, const struct cor_rebuild_plan *plan,
		      struct cor_error *err)
{
	const Cor__Task__Image *image = plan->skeleton;
	struct cor_supervisor_plan sp = {
		.time_ns = plan->time_ns,
		.monotonic_offset_ns = plan->monotonic_offset_ns,
		.boottime_offset_ns = plan->boottime_offset_ns,
		.report = plan->report,
		.view = plan->view,
		.view_arg = plan->view_arg,
		.watch = plan->watch,
		.tty = plan->tty,
		.foreground = plan->foreground,
		.listen = plan->listen,
		.record = plan->record,
		.record_at = plan->record_at,
		.max_fd = COR_MAX(plan->max_fd, 2),
		.stub = cor_stub_main,
		.arg = (void *)plan,    /* a copy of it is in the stub */
	};
	int r = check_ids(image, err);

	if (r < 0)
		return r;
	sp.pid = image->identity->pid;
	sp.pgid = COR_MAX(image->identity->pgid, 0);
	sp.sid = COR_MAX(image->identity->sid, 0);
	sp.ppid = parent_number(image);
	sp.uts_ns = plan->keep_host_name && other_host(image->identity, &sp.uts);
	sp.user_ns = !cor_may_choose_pids();
	sp.pid_ns = sp.user_ns || plan->force_pid_ns || ids_taken(image);
	r = begin_once(out, &sp, err);
	if (r == -EEXIST && !sp.pid_ns) {
		/* in use in a way that could not be seen before: as a session's name */
		sp.pid_ns = true;
		r = begin_once(out, &sp, err);
	}
	if (r == 0) {
		(*out)->foreign_vdso = plan->force_foreign_vdso;
		(*out)->timers_in_turn = plan->force_timers_in_turn;
		(*out)->own_view = plan->view != NULL;
	}
	return r;
}

pid_t cor_rebuild_pid(const struct cor_rebuild *rb)
{
	return rb->pid;
}

pid_t cor_rebuild_supervisor(const struct cor_rebuild *rb)
{
	return rb->supervisor;
}

bool cor_rebuild_follows_forks(const struct cor_rebuild *rb)
{
	return !rb->forks_unseen;
}

int cor_rebuild_pidfd(const struct cor_rebuild *rb)
{
	return rb->pidfd;
}

const struct cor_waits *cor_rebuild_confirm_waits(struct cor_rebuild *rb)
{
	cor_waits_confirm(&rb->waits, rb->pid, WAITS_BEGIN_NS);
	return &rb->waits;
}

bool cor_rebuild_in_pid_ns(const struct cor_rebuild *rb)
{
	return rb->pid_ns;
}

int cor_rebuild_take_uffd(struct cor_rebuild *rb)
{
	return take_fd(&rb->uffd);
}

int cor_rebuild_request(struct cor_rebuild *rb, const struct cor_message *request,
			struct cor_message *answer, struct cor_error *err)
{
	struct cor_message m = { 0 };
	int r;

	if (rb->stage != COR_REBUILD_STUB)
		return cor_fail(err, -EINVAL, "the stub of process %d runs our code no more",
				rb->inner_pid);
	r = cor_message_send(rb->channel, request);
	if (r == 0)
		r = cor_message_recv(rb->channel, &m);
	if (r == -ENODATA || r == -EPIPE || r == -ECONNRESET)
		return cor_fail(err, -ESRCH, "the stub of process %d died", rb->inner_pid);
	if (r < 0)
		return cor_fail_code(err, r, "cannot talk to the stub of process %d",
				     rb->inner_pid);
	if (m.op < 0) {
		r = cor_fail(err, m.op, "%s", m.len ? (char *)m.buf : "the stub failed");
		cor_message_clear(&m);
		return r;
	}
	*answer = m;
	return 0;
}

int cor_rebuild_call(struct cor_rebuild *rb, uint32_t op, const void *buf, size_t len,
		     const int *fds, unsigned nfds, struct cor_error *err)
{
	const struct cor_message m = {
		.kind = COR_STUB_CALL, .op = (int32_t)op, .nfds = nfds, .fds = (int *)fds,
		.len = len, .buf = (void *)buf,
	};
	struct cor_message answer = { 0 };
	int r;

	if (len > COR_MESSAGE_MAX || nfds > COR_MESSAGE_FDS)
		return cor_fail(err, -E2BIG, "%zu bytes and %u descriptors are too much for "
				"one request to the stub", len, nfds);
	r = cor_rebuild_request(rb, &m, &answer, err);
	cor_message_clear(&answer);
	return r;
}

/* Lets one thread go. A thread that died meanwhile (another one called
 * exit_group) is reaped, so that its process can end. */
static void detach(pid_t tid)
{
	if (ptrace(PTRACE_DETACH, tid, NULL, NULL) < 0)
		waitpid(tid, NULL, __WALL);
}

int cor_rebuild_resume(struct cor_rebuild *rb, _Atomic uint32_t *let_go, struct cor_error *err)
{
	int r;

	if (rb->stage != COR_REBUILD_READY)
		return cor_fail(err, -EINVAL, "process %d is not ready to be resumed", rb->inner_pid);
	/* it is read before the end of this connection, should we die now */
	r = cor_supervisor_tell(rb->ctl, COR_SUPERVISOR_RESUMED, 0, -1, err);
	if (r < 0)
		return r;
	rb->stage = COR_REBUILD_RESUMED;
	atomic_store(let_go, 1);
	/* the first thread to run finds it, and stops them all */
	if (rb->stopped)
		pidfd_send_signal(rb->pidfd, SIGSTOP, NULL, 0);
	/* the leader last: once it runs it may end the process */
	for (unsigned i = rb->nthreads; i-- > 0;)
		detach(rb->threads[i].outer);
	return 0;
}

/* Whether the traced thread is dead and reaped. -1: all that we are to wait for. */
static bool reaped(pid_t tid)
{
	int status;
	pid_t r = waitpid(tid, &status, __WALL | WNOHANG);

	return (r < 0 && errno == ECHILD) || (r > 0 && r == tid && !WIFSTOPPED(status));
}

/* The threads of a killed process that we trace must be waited for by us before
 * their parent can; the leader can only be once the others are gone. */
static void reap_traced(struct cor_rebuild *rb)
{
	const struct timespec nap = { .tv_nsec = 200000 };
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/task", rb->pid);
	while (!reaped(rb->pid)) {
		_cleanup_closedir_ DIR *dir = opendir(path);
		struct dirent *e;

		/* no descriptor is left for that: whoever of ours is dead */
		if (!dir && reaped(-1))
			return;
		while (dir && (e = readdir(dir))) {
			pid_t tid = (pid_t)atoi(e->d_name);

			if (tid > 0 && tid != rb->pid)
				reaped(tid);
		}
		nanosleep(&nap, NULL);
	}
}

void cor_rebuild_abort(struct cor_rebuild *rb)
{
	if (!rb)
		return;
	cor_rebuild_turns_end(rb);
	pidfd_send_signal(rb->pidfd, SIGKILL, NULL, 0);
	if (rb->stage == COR_REBUILD_SEIZED || rb->stage == COR_REBUILD_MEMORY ||
	    rb->stage == COR_REBUILD_READY)
		reap_traced(rb);
	if (rb->stage < COR_REBUILD_RESUMED)
		shutdown(rb->ctl, SHUT_WR);
	await_death(rb->pidfd);
	await_death(rb->supervisor_pidfd);
	free_rebuild(rb);
}

void cor_rebuild_kill_task(struct cor_rebuild *rb)
{
	pidfd_send_signal(rb->pidfd, SIGKILL, NULL, 0);
}

void cor_rebuild_keep(const struct cor_rebuild *rb, struct cor_rebuild_kept *out)
{
	*out = (struct cor_rebuild_kept){ .ctl = rb->ctl, .pidfd = rb->pidfd, .pid = rb->pid,
					  .supervisor = rb->supervisor };
}

int cor_rebuild_take(struct cor_rebuild **out, const struct cor_rebuild_kept *kept,
		     struct cor_error *err)
{
	struct cor_rebuild *rb = new_rebuild();

	if (!rb) {
		close(kept->ctl);
		close(kept->pidfd);
		return cor_fail(err, -ENOMEM, "out of memory");
	}
	rb->stage = COR_REBUILD_RESUMED;
	/* closed: the caller was killed when it had released the task */
	rb->ctl = fcntl(kept->ctl, F_GETFD) < 0 ? -1 : kept->ctl;
	rb->pidfd = kept->pidfd;
	rb->pid = kept->pid;
	rb->supervisor = kept->supervisor;
	*out = rb;
	return 0;
}

int cor_rebuild_release(struct cor_rebuild *rb, struct cor_error *err)
{
	int r = 0;

	if (rb->stage != COR_REBUILD_RESUMED)
		return cor_fail(err, -EINVAL, "process %d was not resumed yet", rb->inner_pid);
	if (rb->ctl >= 0)
		r = cor_supervisor_ask(rb->ctl, COR_SUPERVISOR_RELEASE, 0, -1, err);
	/* gone with the task: then there is nothing to release */
	if (r == -ESRCH)
		r = 0;
	free_rebuild(rb);
	return r;
}
