/* The task itself as an end: signals go to it, and how it stops, goes on and ends comes
 * back. At home it is its stand-in (task/standin.h), away the task and its supervisor.
 *
 * The stand-in comes late: until every page has followed, its place is the ghost's. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "libcor/base/cleanup.h"
#include "libcor/base/error.h"
#include "libcor/names/pump/end.h"
#include "libcor/names/pump/tty.h"
#include "libcor/task/rebuild.h"
#include "libcor/task/standin.h"

static void begin(struct cor_pump_end *e)
{
	e->reads = e->writes = true;
	e->readable = e->writable = true;
}

static void shut(struct cor_pump_end *e, bool reading)
{
	*(reading ? &e->reads : &e->writes) = false;
}

static bool never_gone(const struct cor_pump_end *e, uint32_t events)
{
	return false;
}

static uint64_t no_identity(const struct cor_pump_end *e)
{
	return 0;
}

static int signal_process(int pidfd, int sig, siginfo_t *info)
{
	return syscall(SYS_pidfd_send_signal, pidfd, sig, info, 0) < 0 ? -errno : 0;
}

/* ---- home: the stand-in --------------------------------------------------------------- */

static int take_home(struct cor_pump_end *e, const Cor__Names__PumpChannel *ch, int fd,
		     struct cor_error *err)
{
	begin(e);
	e->fd = fd;
	return 0;
}

int cor_pump_end_signal(struct cor_pump_queue *q, const siginfo_t *info)
{
	return cor_pump_queue_event(q, COR_PUMP_SIGNAL, info, sizeof(*info));
}

static ssize_t kill_task(struct cor_pump_queue *q)
{
	siginfo_t kill = { .si_signo = SIGKILL };

	return cor_pump_end_signal(q, &kill) < 0 ? 0 : 1;
}

/* The terminal where the task is makes its own signals: of a hang-up and of a new size of
 * the window. That the task goes on comes behind its coming into the foreground. */
static ssize_t pass_signal(struct cor_pump_end *e, struct cor_pump_queue *q, const siginfo_t *info)
{
	bool of_terminal = e->terminal && info->si_code == SI_KERNEL;

	/* it runs, then; the task's word may come late, or not, if it is stopped again at once */
	if (info->si_signo == SIGCONT)
		e->stopped = false;
	if (e->terminal && info->si_signo == SIGCONT)
		cor_pump_terminal_unhold(e->terminal);
	if (e->terminal && (info->si_signo == SIGCONT || info->si_signo == SIGWINCH))
		cor_pump_terminal_look(e->terminal, e->terminal_out);
	if (of_terminal && (info->si_signo == SIGWINCH ||
			    (info->si_signo == SIGHUP && e->terminal->tty->foreground)))
		return -EAGAIN;
	return cor_pump_end_signal(q, info) < 0 ? 0 : 1;
}

static ssize_t read_home(struct cor_pump_end *e, struct cor_pump_queue *q, size_t room)
{
	struct cor_standin_message m;
	ssize_t n;

	if (e->ended)
		return 0;
	if (e->fd < 0)
		return -EAGAIN;
	n = recv(e->fd, &m, sizeof(m), MSG_DONTWAIT);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return -EAGAIN;
	if (n != (ssize_t)sizeof(m)) {
		/* killed, as nothing else ends it but our own word */
		e->ended = true;
		return kill_task(q);
	}
	if (m.kind != COR_STANDIN_SIGNAL)
		return -EAGAIN;
	return pass_signal(e, q, (const siginfo_t *)m.info);
}

/* SIGSTOP is nothing that a process can be told of: it shows. */
static bool is_stopped(pid_t pid)
{
	char path[40], text[256];
	_cleanup_close_ int fd = -1;
	const char *state;
	ssize_t n;

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
	if (n <= 0)
		return false;
	text[n] = 0;
	state = strrchr(text, ')');
	return state && state[1] == ' ' && state[2] == 'T';
}

static void tell_standin(struct cor_pump_end *e, enum cor_standin_kind kind, int value)
{
	struct cor_standin_message m = { .kind = kind, .value = value };

	if (kind == COR_STANDIN_END)
		e->ended = true;
	if (send(e->fd, &m, sizeof(m), MSG_DONTWAIT | MSG_NOSIGNAL) < 0 && errno != EPIPE)
		signal_process(e->pidfd, SIGKILL, NULL);
}

/* It reads nothing while it stands still. */
static void wake_standin(struct cor_pump_end *e)
{
	siginfo_t info = { .si_signo = SIGCONT, .si_code = SI_QUEUE, .si_pid = getpid() };

	info.si_value.sival_ptr = (void *)COR_STANDIN_CONT;
	signal_process(e->pidfd, SIGCONT, &info);
	e->stopped = false;
}

/* Not so one that was itself stopped, and had the task stopped by that. */
static void stop_standin(struct cor_pump_end *e, int sig)
{
	if (!e->stopped && !is_stopped(e->pid))
		tell_standin(e, COR_STANDIN_STOP, sig);
	e->stopped = true;
}

static ssize_t write_home(struct cor_pump_end *e, struct cor_pump_queue *q)
{
	const struct cor_pump_item *i = cor_pump_queue_at(q, q->start);
	int32_t status;

	if (i->event == COR_PUMP_TERMINAL && e->terminal && i->len == sizeof(struct cor_pump_tty_event))
		cor_pump_terminal_change(e->terminal, (const struct cor_pump_tty_event *)i->data);
	if (e->ended || i->event != COR_PUMP_STATUS || i->len != sizeof(status))
		return 1;
	memcpy(&status, i->data, sizeof(status));
	if (e->fd < 0 || !e->quiet || (!e->flushed && !WIFSTOPPED(status) && !WIFCONTINUED(status)))
		return -EAGAIN;
	if (e->terminal && !WIFCONTINUED(status))
		cor_pump_terminal_hold(e->terminal, !WIFSTOPPED(status));
	if (WIFSTOPPED(status)) {
		stop_standin(e, WSTOPSIG(status));
	} else if (WIFCONTINUED(status)) {
		if (e->stopped)
			wake_standin(e);
	} else if (WIFEXITED(status) || WIFSIGNALED(status)) {
		tell_standin(e, COR_STANDIN_END, status);
		if (e->stopped)
			wake_standin(e);
	}
	return 1;
}

/* Nothing more comes of the task: who has not been told how it ended is told something. */
static void shut_home(struct cor_pump_end *e, bool reading)
{
	if (!reading && !e->ended && e->fd >= 0) {
		tell_standin(e, COR_STANDIN_END, SIGKILL);
		wake_standin(e);
	}
	shut(e, reading);
}

static bool tick_home(struct cor_pump_end *e, struct cor_pump_queue *q)
{
	siginfo_t stop = { .si_signo = SIGSTOP };

	/* that it goes on it says itself: SIGCONT came to it */
	if (e->fd < 0 || e->ended || e->stopped || !is_stopped(e->pid))
		return false;
	e->stopped = true;
	return cor_pump_end_signal(q, &stop) == 0;
}

const struct cor_pump_end_ops cor_pump_end_standin = {
	.kind     = COR__NAMES__PUMP_KIND__PUMP_TASK,
	.take     = take_home,
	.read     = read_home,
	.write    = write_home,
	.shut     = shut_home,
	.gone     = never_gone,
	.tick     = tick_home,
	.identity = no_identity,
};

void cor_pump_end_standin_came(struct cor_pump_end *e, int sock, pid_t pid)
{
	e->fd = sock;
	e->pid = pid;
	e->pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	e->stopped = is_stopped(pid);
	e->readable = e->writable = true;
	e->opened++;
}

void cor_pump_end_standin_never(struct cor_pump_end *e)
{
	e->ended = true;
	e->readable = e->writable = true;
}

/* ---- away: the task -------------------------------------------------------------------- */

static int make_away(struct cor_pump_end *e, const Cor__Names__PumpChannel *ch, int *task,
		     struct cor_error *err)
{
	begin(e);
	*task = -1;
	return 0;
}

void cor_pump_end_task_starts(struct cor_pump_end *e, int reports, pid_t pid)
{
	e->fd = reports;
	e->pid = pid;
	e->pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	e->readable = e->writable = true;
	e->opened++;
	if (e->terminal)
		cor_pump_pty_tell(e->terminal, reports, 0);
}

static ssize_t read_away(struct cor_pump_end *e, struct cor_pump_queue *q, size_t room)
{
	struct cor_rebuild_exit r;
	ssize_t n;

	if (e->ended)
		return 0;
	if (e->fd < 0)
		return -EAGAIN;
	n = recv(e->fd, &r, sizeof(r), MSG_DONTWAIT | MSG_PEEK);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return -EAGAIN;
	e->ended = n != (ssize_t)sizeof(r) || WIFEXITED(r.status) || WIFSIGNALED(r.status);
	if (!e->quiet || (e->ended && !e->flushed)) {
		e->ended = false;
		return -EAGAIN;
	}
	if (e->ended && e->terminal) {
		e->terminal->tty->over = true;
		e->terminal->readable = true;
	}
	if (n != (ssize_t)sizeof(r))
		return 0;       /* its supervisor has gone: nobody knows any more */
	recv(e->fd, &r, sizeof(r), MSG_DONTWAIT);
	return cor_pump_queue_event(q, COR_PUMP_STATUS, &r.status, sizeof(r.status)) < 0 ? 0 : 1;
}

/* Only the kernel, or the task itself, may say that kill(2) sent a signal; what was
 * queued by sigqueue(3) arrives as it was. */
static ssize_t write_away(struct cor_pump_end *e, struct cor_pump_queue *q)
{
	const struct cor_pump_item *i = cor_pump_queue_at(q, q->start);
	siginfo_t info;

	if (i->event == COR_PUMP_TERMINAL && e->terminal && i->len == sizeof(struct cor_pump_tty_event))
		cor_pump_pty_change(e->terminal, (const struct cor_pump_tty_event *)i->data, e->fd);
	if (i->event != COR_PUMP_SIGNAL || i->len != sizeof(info))
		return 1;
	if (e->pidfd < 0)
		return e->fd < 0 ? -EAGAIN : 1;
	memcpy(&info, i->data, sizeof(info));
	if (info.si_signo < 1 || info.si_signo > SIGRTMAX)
		return 1;
	/* behind its coming to the foreground, which the supervisor sees to */
	if (info.si_signo == SIGCONT && e->terminal && e->fd >= 0) {
		cor_pump_pty_tell(e->terminal, e->fd, SIGCONT);
		return 1;
	}
	if (info.si_code < 0 && info.si_code != SI_TKILL &&
	    signal_process(e->pidfd, info.si_signo, &info) == 0)
		return 1;
	signal_process(e->pidfd, info.si_signo, NULL);
	return 1;
}

const struct cor_pump_end_ops cor_pump_end_task = {
	.kind     = COR__NAMES__PUMP_KIND__PUMP_TASK,
	.make     = make_away,
	.read     = read_away,
	.write    = write_away,
	.shut     = shut,
	.gone     = never_gone,
	.identity = no_identity,
};
