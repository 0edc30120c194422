/* System calls under way: a thread sits in each of these calls at almost any
 * moment. No call may fail with EINTR, for no signal has a handler that runs
 * there; calls with a timeout must take about that long; calls without one end
 * when, and only when, what they wait for happens, after the moves.
 *
 * "often": it moves several times within one call. That makes a few calls late, which are made
 * anew with their whole time-out each time: for these there is no limit then. */
#include "check.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/timerfd.h>

#define PERIOD_MS 900
#define SLACK_MS 1500   /* faults, a busy machine; of an emulated one, where each takes longer, */
#define EMULATED 10     /* for which COR_TIME_SCALE is no less than this, four times that */
static const struct timespec PERIOD = { 0, PERIOD_MS * 1000000L };

static atomic_bool g_end;
static bool g_often;
static unsigned g_slack_ms = SLACK_MS;
static int g_pipe[2], g_quiet[2], g_event, g_epoll, g_listen, g_epoll_quiet, g_pair[2];
static _Atomic uint32_t g_word;

/* ---- calls with a timeout: called again and again ------------------------------ */

static int expect(int ret, int err)
{
	return ret == -1 && errno == err ? 0 : ret == -1 ? -errno : 1000 + ret;
}

static int do_nanosleep(void) { return nanosleep(&PERIOD, NULL) ? -errno : 0; }

static int do_clock_rel(void)
{
	return -clock_nanosleep(CLOCK_MONOTONIC, 0, &PERIOD, NULL);
}

static int do_clock_abs(void)
{
	uint64_t at = check_now_ns(CLOCK_MONOTONIC) + PERIOD_MS * 1000000ull;
	struct timespec ts = { (time_t)(at / 1000000000), (long)(at % 1000000000) };

	return -clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &ts, NULL);
}

static int do_realtime_abs(void)
{
	uint64_t at = check_now_ns(CLOCK_REALTIME) + PERIOD_MS * 1000000ull;
	struct timespec ts = { (time_t)(at / 1000000000), (long)(at % 1000000000) };

	return -clock_nanosleep(CLOCK_REALTIME, TIMER_ABSTIME, &ts, NULL);
}

static int do_futex(void)
{
	return expect((int)syscall(SYS_futex, &g_word, FUTEX_WAIT_PRIVATE, 0, &PERIOD, NULL, 0),
		      ETIMEDOUT);
}

static int do_futex_abs(void)
{
	uint64_t at = check_now_ns(CLOCK_MONOTONIC) + PERIOD_MS * 1000000ull;
	struct timespec ts = { (time_t)(at / 1000000000), (long)(at % 1000000000) };

	return expect((int)syscall(SYS_futex, &g_word, FUTEX_WAIT_BITSET_PRIVATE, 0, &ts, NULL,
				   FUTEX_BITSET_MATCH_ANY), ETIMEDOUT);
}

static int do_epoll(void)
{
	struct epoll_event ev;
	int n = epoll_wait(g_epoll_quiet, &ev, 1, PERIOD_MS);

	return n < 0 ? -errno : n;
}

static int do_epoll_pwait(void)
{
	struct epoll_event ev;
	sigset_t set;
	int n;

	sigfillset(&set);
	n = epoll_pwait(g_epoll_quiet, &ev, 1, PERIOD_MS, &set);
	return n < 0 ? -errno : n;
}

static int do_poll(void)
{
	struct pollfd pfd = { .fd = g_quiet[0], .events = POLLIN };
	int n = poll(&pfd, 1, PERIOD_MS);

	return n < 0 ? -errno : n;
}

static int do_ppoll(void)
{
	struct pollfd pfd = { .fd = g_quiet[0], .events = POLLIN };
	struct timespec ts = PERIOD;
	sigset_t set;
	int n;

	sigfillset(&set);
	n = ppoll(&pfd, 1, &ts, &set);
	return n < 0 ? -errno : n;
}

static int do_select(void)
{
	struct timeval tv = { 0, PERIOD_MS * 1000 };
	fd_set set;
	int n;

	FD_ZERO(&set);
	FD_SET(g_quiet[0], &set);
	n = select(g_quiet[0] + 1, &set, NULL, NULL, &tv);
	return n < 0 ? -errno : n;
}

static int do_pselect(void)
{
	fd_set set;
	int n;

	FD_ZERO(&set);
	FD_SET(g_quiet[0], &set);
	n = pselect(g_quiet[0] + 1, &set, NULL, NULL, &PERIOD, NULL);
	return n < 0 ? -errno : n;
}

static int do_sigtimedwait(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGRTMIN + 5);
	return expect(sigtimedwait(&set, NULL, &PERIOD), EAGAIN);
}

static int do_recv_timeout(void)
{
	char c;

	return expect((int)recv(g_pair[0], &c, 1, 0), EAGAIN);
}

static int do_timerfd(void)
{
	struct itimerspec its = { .it_value = PERIOD };
	uint64_t ticks = 0;
	int fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC), ret;

	timerfd_settime(fd, 0, &its, NULL);
	ret = read(fd, &ticks, sizeof(ticks)) != sizeof(ticks) ? -errno : (int)(ticks != 1);
	close(fd);
	return ret;
}

/* ---- calls without one: return once, when main lets them ------------------------ */

static int do_read_pipe(void)
{
	char c = 0;
	ssize_t n = read(g_pipe[0], &c, 1);

	return n < 0 ? -errno : n == 1 && c == 'x' && g_end ? 0 : 1;
}

static int do_read_event(void)
{
	uint64_t v = 0;
	ssize_t n = read(g_event, &v, sizeof(v));

	return n < 0 ? -errno : n == sizeof(v) && v == 5 && g_end ? 0 : 1;
}

static int do_epoll_ever(void)
{
	struct epoll_event ev;
	int n = epoll_wait(g_epoll, &ev, 1, -1);

	return n < 0 ? -errno : n == 1 && ev.data.u64 == 0x123456789abcdefull && g_end ? 0 : 1;
}

static int do_poll_ever(void)
{
	struct pollfd pfd = { .fd = g_pair[1], .events = POLLIN };
	int n = poll(&pfd, 1, -1);

	return n < 0 ? -errno : n == 1 && g_end ? 0 : 1;
}

static int do_accept(void)
{
	int fd = accept4(g_listen, NULL, NULL, SOCK_CLOEXEC);

	if (fd < 0)
		return -errno;
	close(fd);
	return g_end ? 0 : 1;
}

static int do_futex_ever(void)
{
	if (syscall(SYS_futex, &g_word, FUTEX_WAIT_PRIVATE, 0, NULL, NULL, 0))
		return -errno;
	return g_end ? 0 : 1;
}

static int do_sigwaitinfo(void)
{
	siginfo_t info;
	sigset_t set;
	int sig;

	sigemptyset(&set);
	sigaddset(&set, SIGRTMIN + 6);
	sig = sigwaitinfo(&set, &info);
	return sig < 0 ? -errno : sig == SIGRTMIN + 6 && info.si_value.sival_int == 99 && g_end ? 0 : 1;
}

/* ------------------------------------------------------------------------------------ */

static const struct call {
	const char *name;
	int (*run)(void);       /* 0, negative errno, or positive: a wrong result */
	enum { ENDLESS, TIMED, WHOLE /* each move makes it begin anew, with all of it */ } timed;
} g_calls[] = {
	{ "nanosleep", do_nanosleep, TIMED },
	{ "clock_nanosleep", do_clock_rel, TIMED },
	{ "clock_nanosleep until", do_clock_abs, TIMED },
	{ "clock_nanosleep until a real time", do_realtime_abs, TIMED },
	{ "futex with a timeout", do_futex, TIMED },
	{ "futex until", do_futex_abs, TIMED },
	{ "epoll_wait with a timeout", do_epoll, TIMED },
	{ "epoll_pwait with a timeout", do_epoll_pwait, TIMED },
	{ "poll with a timeout", do_poll, TIMED },
	{ "ppoll", do_ppoll, TIMED },
	{ "select", do_select, TIMED },
	{ "pselect", do_pselect, TIMED },
	{ "sigtimedwait", do_sigtimedwait, WHOLE },
	{ "recv with SO_RCVTIMEO", do_recv_timeout, WHOLE },
	{ "read of a timerfd", do_timerfd, TIMED },
	{ "read of a pipe", do_read_pipe, ENDLESS },
	{ "read of an eventfd", do_read_event, ENDLESS },
	{ "epoll_wait", do_epoll_ever, ENDLESS },
	{ "poll", do_poll_ever, ENDLESS },
	{ "accept", do_accept, ENDLESS },
	{ "futex", do_futex_ever, ENDLESS },
	{ "sigwaitinfo", do_sigwaitinfo, ENDLESS },
};
#define NCALLS (sizeof(g_calls) / sizeof(*g_calls))
static pthread_t g_threads[NCALLS];
static _Atomic uint64_t g_done[NCALLS];

static void *call_main(void *arg)
{
	const struct call *c = arg;

	do {
		uint64_t begin = check_now_ns(CLOCK_MONOTONIC), ms;
		int ret = c->run();

		ms = (check_now_ns(CLOCK_MONOTONIC) - begin) / 1000000;
		check(ret >= 0, "%s: %s", c->name, strerror(-ret));
		check(ret <= 0, "%s: wrong result %d", c->name, ret);
		check(!c->timed || ms + 2 >= PERIOD_MS, "%s took only %llu ms of %d", c->name,
		      (unsigned long long)ms, PERIOD_MS);
		check(!c->timed || ms <= PERIOD_MS + g_slack_ms || (g_often && c->timed == WHOLE),
		      "%s took %llu ms instead of %d", c->name, (unsigned long long)ms, PERIOD_MS);
		g_done[c - g_calls]++;
	} while (c->timed && !g_end);
	return NULL;
}

static void make_descriptors(void)
{
	struct epoll_event ev = { .events = EPOLLIN, .data.u64 = 0x123456789abcdefull };
	struct sockaddr_in sin = { .sin_family = AF_INET };
	struct timeval tv = { 0, PERIOD_MS * 1000 };

	sin.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	need(!pipe2(g_pipe, O_CLOEXEC) && !pipe2(g_quiet, O_CLOEXEC));
	need((g_event = eventfd(0, EFD_CLOEXEC)) >= 0);
	need((g_epoll = epoll_create1(EPOLL_CLOEXEC)) >= 0);
	need((g_epoll_quiet = epoll_create1(EPOLL_CLOEXEC)) >= 0);
	need(!socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, g_pair));
	need(!setsockopt(g_pair[0], SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv)));
	need(!epoll_ctl(g_epoll, EPOLL_CTL_ADD, g_pair[1], &ev));
	need(!epoll_ctl(g_epoll_quiet, EPOLL_CTL_ADD, g_quiet[0], &ev));
	need((g_listen = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) >= 0);
	need(!bind(g_listen, (struct sockaddr *)&sin, sizeof(sin)) && !listen(g_listen, 5));
}

/* What each call without a timeout waits for. */
static void let_go(void)
{
	struct sockaddr_in sin;
	socklen_t len = sizeof(sin);
	uint64_t five = 5;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	for (unsigned i = 0; i < NCALLS; i++)
		check(g_calls[i].timed || !g_done[i], "%s ended early", g_calls[i].name);
	g_end = true;
	check(write(g_pipe[1], "x", 1) == 1, "pipe: %s", strerror(errno));
	check(write(g_event, &five, 8) == 8, "eventfd: %s", strerror(errno));
	check(write(g_pair[0], "y", 1) == 1, "socketpair: %s", strerror(errno));
	check(!sigqueue(getpid(), SIGRTMIN + 6, (union sigval){ .sival_int = 99 }),
	      "sigqueue: %s", strerror(errno));
	check(!getsockname(g_listen, (struct sockaddr *)&sin, &len) &&
	      !connect(fd, (struct sockaddr *)&sin, len), "connect: %s", strerror(errno));
	close(fd);
}

int main(int argc, char **argv)
{
	sigset_t set;
	int first = check_init(argc, argv, "syscalls");

	if (atoi(getenv("COR_TIME_SCALE") ?: "1") >= EMULATED)
		g_slack_ms = 4 * SLACK_MS;
	g_often = first < argc && !strcmp(argv[first], "often");
	make_descriptors();
	/* Only main takes SIGTERM; the queued ones are for sigwait. */
	sigfillset(&set);
	sigdelset(&set, SIGSEGV);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	for (unsigned i = 0; i < NCALLS; i++)
		need(!pthread_create(&g_threads[i], NULL, call_main, (void *)&g_calls[i]));
	sigemptyset(&set);
	sigaddset(&set, SIGRTMIN + 5);
	sigaddset(&set, SIGRTMIN + 6);
	pthread_sigmask(SIG_SETMASK, &set, NULL);
	while (!check_stopping()) {
		check_sleep_ms(20);
		check_beat();
	}
	let_go();
	for (unsigned i = 0; i < NCALLS; i++) {
		struct timespec ts;

		clock_gettime(CLOCK_REALTIME, &ts);
		ts.tv_sec += 10;
		if (g_calls[i].run == do_futex_ever)
			syscall(SYS_futex, &g_word, FUTEX_WAKE_PRIVATE, 10, NULL, NULL, 0);
		check(!pthread_timedjoin_np(g_threads[i], NULL, &ts), "%s does not end",
		      g_calls[i].name);
	}
	check_done("%zu calls", NCALLS);
}
