/* The supervisor: parent of an arrived task; see supervisor.h. It runs in a
 * process that was forked from the caller, with one thread and no exec. */
#include "libcor/task/supervisor.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "libcor/base/cleanup.h"
#include "libcor/base/compat.h"
#include "libcor/base/error.h"
#include "libcor/base/io.h"
#include "libcor/task/channel.h"
#include "libcor/task/rebuild.h"
#include "libcor/task/spawn.h"

struct supervisor {
	const struct cor_supervisor_plan *plan;
	int     ctl, sig, uffd, report, watch, listen, record, tty;
	int32_t outer_pid;      /* the task's, as the caller sees it */
	bool    resumed;
	bool    is_init;        /* of a PID namespace */
	bool    over;           /* the task has ended */
};

static int say(int ctl, enum cor_supervisor_op op, const struct cor_error *why)
{
	struct cor_supervisor_packet p = { .op = op };

	if (why) {
		p.code = why->code;
		memcpy(p.text, why->text, sizeof(p.text));
	}
	return cor_send_fds(ctl, &p, sizeof(p), NULL, 0);
}

/* A helper on the way to the stub failed. */
static void say_failed(void *arg, const struct cor_error *why)
{
	say(((struct supervisor *)arg)->ctl, COR_SUPERVISOR_FAILED, why);
}

/* The caller's descriptors, but for those in fds, are none of our business: a
 * stray copy of a pipe or socket would keep its peer from seeing the end. */
static int keep_only(int *fds[], unsigned n, int above)
{
	int next;

	cor_raise_descriptors(NULL);
	for (unsigned i = 0; i < n; i++) {
		if (*fds[i] < 0)
			continue;
		next = fcntl(*fds[i], F_DUPFD_CLOEXEC, above + 1);
		if (next < 0)
			return -errno;
		*fds[i] = next;
	}
	/* the copies ascend: close what lies between them */
	next = 0;
	for (unsigned i = 0; i < n; i++) {
		if (*fds[i] < 0)
			continue;
		if (*fds[i] > next)
			close_range((unsigned)next, (unsigned)*fds[i] - 1, 0);
		next = *fds[i] + 1;
	}
	close_range((unsigned)next, ~0u, 0);
	return 0;
}

static void reset_signals(void)
{
	sigset_t all;

	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, NULL);
	for (int s = 1; s < NSIG; s++)
		signal(s, SIG_DFL);
}

/* Its own /proc; what is mounted on the host later still shows up here. */
static int own_proc(struct cor_error *err)
{
	if (mount(NULL, "/", NULL, MS_SLAVE | MS_REC, NULL) < 0)
		return cor_fail_errno(err, "cannot make the mounts of the new namespace slaves");
	if (mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL) < 0)
		return cor_fail_errno(err, "cannot mount the new PID namespace's /proc");
	return 0;
}

static void drop_report(struct supervisor *s)
{
	cor_closep(&s->report);
	s->report = -1;
}

/* Noted first: who hears of it may look at once. */
static void tell_end(struct supervisor *s, const struct cor_rebuild_exit *e)
{
	if (s->record >= 0)
		(void)!pwrite(s->record, e, sizeof(*e), s->plan->record_at);
	if (s->report >= 0)
		cor_write_full(s->report, e, sizeof(*e));
}

/* Whoever waits for the task where it came from hears of all that its parent would. */
static void tell_watch(struct supervisor *s, const struct cor_rebuild_exit *e)
{
	if (s->resumed && s->watch >= 0)
		cor_send_fds(s->watch, e, sizeof(*e), NULL, 0);
}

/* The task has ended when its process has; its orphans may live on where we
 * are their init. */
static void reap(struct supervisor *s)
{
	int status, flags = WNOHANG | __WALL | (s->watch >= 0 ? WUNTRACED | WCONTINUED : 0);
	pid_t pid;

	while ((pid = waitpid(-1, &status, flags)) > 0) {
		struct cor_rebuild_exit e = { .pid = s->outer_pid, .status = status };

		if (pid != s->plan->pid)
			continue;
		tell_watch(s, &e);
		if (!WIFEXITED(status) && !WIFSIGNALED(status))
			continue;
		s->over = true;
		if (s->resumed)
			tell_end(s, &e);
		cor_closep(&s->uffd);
		s->uffd = -1;
		drop_report(s);
	}
	if (s->over && (!s->is_init || (pid < 0 && errno == ECHILD)))
		_exit(0);
}

/* Our child, dead or alive? Its PID may be anybody's if the stub was never made. */
static bool have_stub(const struct supervisor *s)
{
	siginfo_t info;

	return !s->over && waitid(P_PID, (id_t)s->plan->pid, &info,
				  WEXITED | WNOHANG | WNOWAIT | __WALL) == 0;
}

static void __attribute__((noreturn)) kill_and_exit(struct supervisor *s)
{
	if (have_stub(s)) {
		kill(s->plan->pid, SIGKILL);
		while (waitpid(s->plan->pid, NULL, __WALL) < 0 && errno == EINTR)
			;
	}
	_exit(0);
}

static void lost_caller(struct supervisor *s)
{
	if (!s->resumed)
		kill_and_exit(s);
	close(s->ctl);
	s->ctl = -1;
}

/* Does the task's session have us as its leader, for a terminal's sake? */
static bool leads(const struct cor_supervisor_plan *p)
{
	return p->tty >= 0 && p->sid != p->pid;
}

/* To the task's process group, or away from it: to our own. A task that leads its session
 * itself always has it. */
static void give_terminal(struct supervisor *s, bool to_task)
{
	if (leads(s->plan))
		tcsetpgrp(s->tty, to_task && s->plan->pgid > 0 ? s->plan->pgid : getpgrp());
}

static void hear_watch(struct supervisor *s)
{
	struct cor_supervisor_terminal t;
	ssize_t n = recv(s->watch, &t, sizeof(t), MSG_DONTWAIT);

	if (n == (ssize_t)sizeof(t)) {
		give_terminal(s, t.foreground);
		if (t.signal && s->resumed && have_stub(s))
			kill(s->plan->pid, t.signal);
	} else if (n >= 0 || errno != EAGAIN) {
		close(s->watch);
		s->watch = -1;
	}
}

static void obey(struct supervisor *s)
{
	struct cor_supervisor_packet p;
	unsigned nfds = 1;
	int fd = -1;
	ssize_t n = cor_recv_fds(s->ctl, &p, sizeof(p), &fd, &nfds);

	if (n != sizeof(p)) {
		if (nfds && fd >= 0)
			close(fd);
		lost_caller(s);
		return;
	}
	switch (p.op) {
	case COR_SUPERVISOR_UFFD:
		s->uffd = nfds ? fd : -1;
		s->outer_pid = p.value;
		give_terminal(s, s->plan->foreground);
		break;
	case COR_SUPERVISOR_RESUMED:
		s->resumed = true;
		return;                 /* nobody waits: the task stands still meanwhile */
	case COR_SUPERVISOR_RELEASE:
		cor_closep(&s->uffd);
		s->uffd = -1;
		break;
	case COR_SUPERVISOR_ABORT:
		kill_and_exit(s);
	}
	say(s->ctl, COR_SUPERVISOR_DONE, NULL);
}

/* Another cord wants to hear of the end. */
static void take_report(struct supervisor *s)
{
	int fd = accept4(s->listen, NULL, NULL, SOCK_CLOEXEC);

	if (fd < 0)
		return;
	drop_report(s);
	s->report = fd;
}

/* cord says that the task's pages cannot be had, or it has gone. */
static void hear_report(struct supervisor *s)
{
	struct cor_rebuild_exit e;

	if (recv(s->report, &e, sizeof(e), 0) != sizeof(e))
		drop_report(s);
	else if (s->resumed && have_stub(s))
		kill(s->plan->pid, SIGKILL);
}

static void __attribute__((noreturn)) loop(struct supervisor *s)
{
	for (;;) {
		struct pollfd p[] = {
			{ .fd = s->sig, .events = POLLIN },
			{ .fd = s->ctl, .events = POLLIN },
			{ .fd = s->listen, .events = POLLIN },
			{ .fd = s->report, .events = POLLIN },
			{ .fd = s->watch, .events = POLLIN },
		};
		struct signalfd_siginfo info;

		if (poll(p, ARRAY_SIZE(p), -1) < 0 && errno != EINTR)
			kill_and_exit(s);
		if (p[1].revents)
			obey(s);
		if (p[3].revents)
			hear_report(s);
		if (p[4].revents)
			hear_watch(s);
		if (p[2].revents)
			take_report(s);
		if (p[0].revents && read(s->sig, &info, sizeof(info)) > 0)
			reap(s);
	}
}

static int prepare(struct supervisor *s, int *channel, struct cor_error *err)
{
	int *keep[] = { &s->ctl, channel, &s->report, &s->watch, &s->listen, &s->record, &s->tty };
	int r;

	prctl(PR_SET_NAME, "cor-supervisor");
	/* a parent's death is none of ours: our parent, the helper, is about to exit */
	prctl(PR_SET_PDEATHSIG, 0);
	/* with the caller's descriptors, which are closed next */
	if (s->plan->view && s->plan->view(s->plan->view_arg, err) < 0)
		return -ENOTSUP;
	r = keep_only(keep, ARRAY_SIZE(keep), s->plan->max_fd);
	if (r < 0)
		return cor_fail_code(err, r, "cannot keep descriptors above %d",
				     s->plan->max_fd);
	if (chdir("/") < 0)
		return cor_fail_errno(err, "cannot change to the root directory");
	if (s->plan->uts_ns && (r = cor_uts_make(&s->plan->uts, err)) < 0)
		return r;
	return s->plan->pid_ns ? own_proc(err) : 0;
}

/* The init of a PID namespace whose supervisor is another process. */
static void __attribute__((noreturn)) be_init(struct supervisor *s, int channel)
{
	int *fds[] = { &s->ctl, &channel, &s->report, &s->watch, &s->listen, &s->record, &s->tty };

	prctl(PR_SET_NAME, "cor-init");
	for (unsigned i = 0; i < ARRAY_SIZE(fds); i++)
		cor_closep(fds[i]);
	while (waitpid(-1, NULL, __WALL) > 0 || errno == EINTR)
		;
	_exit(0);
}

/* A session of our own, with the task's terminal if we are to lead it. In a PID namespace
 * the init has another number than a leader must have: then another process is made. */
static int begin_session(struct supervisor *s, int channel, struct cor_error *err)
{
	const struct cor_supervisor_plan *p = s->plan;

	s->is_init = p->pid_ns;
	if (p->pid_ns && leads(p)) {
		pid_t pid = cor_fork_as(0, p->sid, false);

		if (pid < 0)
			return cor_fail_code(err, pid, "a process %d, for the session", p->sid);
		if (pid > 0)
			be_init(s, channel);
		s->is_init = false;
	}
	setsid();
	if (leads(p) && ioctl(s->tty, TIOCSCTTY, 0) < 0)
		return cor_fail_errno(err, "a controlling terminal");
	return 0;
}

/* Not before the stub is made, which shall not have it. */
static int watch_children(struct supervisor *s)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	s->sig = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	return s->sig < 0 ? -errno : 0;
}

static void __attribute__((noreturn)) run(const struct cor_supervisor_plan *plan)
{
	struct supervisor s = { .plan = plan, .ctl = plan->ctl, .report = plan->report,
				.watch = plan->watch, .tty = plan->tty,
				.listen = plan->listen, .record = plan->record,
				.sig = -1, .uffd = -1 };
	struct cor_error err = COR_ERROR_INIT;
	int channel = plan->channel;
	bool stub = false;

	if (prepare(&s, &channel, &err) < 0 || begin_session(&s, channel, &err) < 0 ||
	    cor_spawn_as(plan->pid, plan->pgid, plan->sid, &stub, say_failed, &s, &err) < 0) {
		say(s.ctl, COR_SUPERVISOR_FAILED, &err);
		_exit(1);
	}
	if (stub) {
		close(s.ctl);
		cor_closep(&s.report);
		cor_closep(&s.watch);
		cor_closep(&s.listen);
		cor_closep(&s.record);
		if (s.tty >= 0 && !leads(plan))
			ioctl(s.tty, TIOCSCTTY, 0);     /* it leads its session itself */
		cor_closep(&s.tty);
		plan->stub(plan->arg, channel, plan->max_fd);
		_exit(1);
	}
	close(channel);
	if (watch_children(&s) < 0)
		kill_and_exit(&s);
	/* what we hear is never worth the processor of who says it, in a freeze least of all */
	sched_setscheduler(0, SCHED_BATCH, &(struct sched_param){ 0 });
	say(s.ctl, COR_SUPERVISOR_HELLO, NULL);
	reap(&s);
	loop(&s);
}

/* A user namespace that knows nobody but ourselves. */
static int own_users(struct cor_error *err)
{
	uid_t uid = geteuid();
	gid_t gid = getegid();
	char users[32], groups[32];
	int r;

	if (unshare(CLONE_NEWUSER) < 0)
		return cor_fail_errno(err, "cannot make a user namespace");
	snprintf(users, sizeof(users), "%u %u 1", uid, uid);
	snprintf(groups, sizeof(groups), "%u %u 1", gid, gid);
	r = cor_spew(AT_FDCWD, "/proc/self/setgroups", "deny");
	if (r == 0)
		r = cor_spew(AT_FDCWD, "/proc/self/uid_map", users);
	if (r == 0)
		r = cor_spew(AT_FDCWD, "/proc/self/gid_map", groups);
	return r < 0 ? cor_fail_code(err, r, "cannot set up a user namespace") : 0;
}

static int set_clocks(const struct cor_supervisor_plan *p, struct cor_error *err)
{
	const int64_t ns[2] = { p->monotonic_offset_ns, p->boottime_offset_ns };
	int64_t sec[2], rest[2];
	char text[128];
	int r;

	if (unshare(CLONE_NEWTIME) < 0)
		return cor_fail_errno(err, "cannot make a time namespace");
	for (int i = 0; i < 2; i++) {
		sec[i] = ns[i] / 1000000000;
		rest[i] = ns[i] % 1000000000;
		if (rest[i] < 0) {      /* the kernel wants 0 <= nanoseconds */
			rest[i] += 1000000000;
			sec[i]--;
		}
	}
	snprintf(text, sizeof(text),
		 "monotonic %" PRId64 " %" PRId64 "\nboottime %" PRId64 " %" PRId64 "\n",
		 sec[0], rest[0], sec[1], rest[1]);
	r = cor_spew(AT_FDCWD, "/proc/self/timens_offsets", text);
	if (r < 0)
		return cor_fail_code(err, r, "cannot set the time namespace's offsets");
	return 0;
}

/* With the number that the task's parent is to have, if that can be. */
static pid_t make_supervisor(const struct cor_supervisor_plan *plan)
{
	uint64_t flags = (plan->pid_ns ? CLONE_NEWPID | CLONE_NEWNS : 0) |
			 (plan->view ? CLONE_NEWNS : 0);
	pid_t number = plan->pid_ns ? 0 : leads(plan) ? plan->sid : plan->ppid;
	pid_t pid = cor_fork_as(flags, number, false);

	if (pid < 0 && number && !leads(plan))
		pid = cor_fork_as(flags, 0, false);
	return pid;
}

/* Between the caller and the supervisor, so that the supervisor is nobody's
 * child and that namespaces are made without touching the caller's own. */
static void __attribute__((noreturn)) helper(const struct cor_supervisor_plan *plan)
{
	struct cor_error err = COR_ERROR_INIT;
	pid_t pid;

	reset_signals();
	if ((plan->user_ns && own_users(&err) < 0) || (plan->time_ns && set_clocks(plan, &err) < 0)) {
		say(plan->ctl, COR_SUPERVISOR_FAILED, &err);
		_exit(1);
	}
	pid = make_supervisor(plan);
	if (pid == 0)
		run(plan);
	if (pid < 0) {
		cor_fail_code(&err, pid, "cannot make the supervisor%s",
			      plan->pid_ns ? " in a new PID namespace" : "");
		say(plan->ctl, COR_SUPERVISOR_FAILED, &err);
	}
	_exit(pid < 0);
}

int cor_supervisor_start(const struct cor_supervisor_plan *plan, struct cor_error *err)
{
	pid_t pid = fork();

	if (pid == 0)
		helper(plan);
	if (pid < 0)
		return cor_fail_errno(err, "cannot fork the supervisor");
	/* ECHILD: the caller ignores SIGCHLD or reaps everything */
	while (waitpid(pid, NULL, __WALL) < 0 && errno == EINTR)
		;
	return 0;
}

int cor_supervisor_tell(int ctl, enum cor_supervisor_op op, int32_t value, int fd,
			struct cor_error *err)
{
	struct cor_supervisor_packet p = { .op = op, .value = value };
	int r = cor_send_fds(ctl, &p, sizeof(p), &fd, fd >= 0);

	if (r < 0)
		return cor_fail_code(err, r == -EPIPE || r == -ECONNRESET ? -ESRCH : r,
				     "cannot tell the supervisor");
	return 0;
}

int cor_supervisor_ask(int ctl, enum cor_supervisor_op op, int32_t value, int fd,
		       struct cor_error *err)
{
	struct cor_supervisor_packet p;
	int other = -1;
	pid_t from;
	ssize_t n;
	int r = cor_supervisor_tell(ctl, op, value, fd, err);

	if (r < 0)
		return r;
	n = cor_recv_cred(ctl, &p, sizeof(p), &from, &other);
	cor_closep(&other);
	if (n == 0 || n == -ECONNRESET)
		return cor_fail(err, -ESRCH, "the supervisor is gone");
	if (n != sizeof(p) || p.op != COR_SUPERVISOR_DONE)
		return cor_fail(err, -EPROTO, "the supervisor gave no proper answer");
	return 0;
}
