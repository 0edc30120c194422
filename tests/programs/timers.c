/* Interval timers, POSIX timers of every kind and alarm: they keep their IDs,
 * go on ticking, and what is left of them is what the clock says. */
#include "check.h"

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/time.h>

#define HOUR 3600
#define SLACK_NS 3000000000ll   /* the freezes are not counted in every clock */

static atomic_int g_alarms, g_ticks, g_directed, g_wrong;
static uint64_t g_begin;
static pid_t g_tid;

static struct posix {
	const char *what;
	clockid_t clock;
	int notify;
	long first_ms, interval_ms;
	timer_t id;
	timer_t id_at_start;
} g_timers[] = {
	{ "a periodic timer", CLOCK_MONOTONIC, SIGEV_SIGNAL, 30, 30, 0, 0 },
	{ "a timer for one thread", CLOCK_MONOTONIC, SIGEV_THREAD_ID, 40, 40, 0, 0 },
	{ "a timer of an hour", CLOCK_MONOTONIC, SIGEV_NONE, HOUR * 1000l, 0, 0, 0 },
	{ "a real-time timer of an hour", CLOCK_REALTIME, SIGEV_NONE, HOUR * 1000l, 0, 0, 0 },
	{ "a disarmed timer", CLOCK_MONOTONIC, SIGEV_SIGNAL, 0, 0, 0, 0 },
	{ "a CPU time timer", CLOCK_PROCESS_CPUTIME_ID, SIGEV_NONE, HOUR * 1000l, 0, 0, 0 },
};
#define NTIMERS (sizeof(g_timers) / sizeof(*g_timers))

static void on_alarm(int sig)
{
	g_alarms++;
}

static void on_timer(int sig, siginfo_t *info, void *context)
{
	if (info->si_code != SI_TIMER)
		g_wrong++;
	else if (info->si_value.sival_int == 100)
		g_ticks++;
	else if (info->si_value.sival_int == 101 && check_gettid() == g_tid)
		g_directed++;
	else
		g_wrong++;
}

static struct timespec from_ms(long ms)
{
	return (struct timespec){ ms / 1000, ms % 1000 * 1000000 };
}

/* Holes in the IDs: a timer is deleted here and there. */
static void make_holes(unsigned n)
{
	struct sigevent sev;
	timer_t hole;

	memset(&sev, 0, sizeof(sev));
	sev.sigev_notify = SIGEV_NONE;
	while (n--)
		need(!timer_create(CLOCK_MONOTONIC, &sev, &hole) && !timer_delete(hole));
}

static void make_timers(void)
{
	struct sigevent sev;

	for (size_t i = 0; i < NTIMERS; i++) {
		struct posix *t = &g_timers[i];
		struct itimerspec its = { from_ms(t->interval_ms), from_ms(t->first_ms) };

		make_holes(i == 3 ? 500 : i % 2);
		memset(&sev, 0, sizeof(sev));
		sev.sigev_notify = t->notify;
		sev.sigev_signo = SIGRTMIN + 7;
		sev.sigev_value.sival_int = (int)(100 + i);
		if (t->notify == SIGEV_THREAD_ID)
			sev._sigev_un._tid = check_gettid();
		need(!timer_create(t->clock, &sev, &t->id));
		t->id_at_start = t->id;
		need(!timer_settime(t->id, 0, &its, NULL));
	}
}

static void set_up(void)
{
	struct sigaction sa = { .sa_handler = on_alarm, .sa_flags = SA_RESTART };
	struct itimerval hour = { { 7, 0 }, { HOUR, 0 } };

	g_tid = check_gettid();
	need(!sigaction(SIGALRM, &sa, NULL));
	sa.sa_flags = SA_SIGINFO | SA_RESTART;
	sa.sa_sigaction = on_timer;
	need(!sigaction(SIGRTMIN + 7, &sa, NULL));
	g_begin = check_now_ns(CLOCK_MONOTONIC);
	make_timers();
	alarm(HOUR);
	need(!setitimer(ITIMER_VIRTUAL, &hour, NULL) && !setitimer(ITIMER_PROF, &hour, NULL));
}

static void check_left(const char *what, long long left_ns)
{
	long long want = HOUR * 1000000000ll - (long long)(check_now_ns(CLOCK_MONOTONIC) - g_begin);

	check(left_ns > want - SLACK_NS && left_ns < want + SLACK_NS,
	      "%s: %lld ms are left instead of %lld", what, left_ns / 1000000, want / 1000000);
}

static void check_itimers(void)
{
	struct itimerval left;

	check(!getitimer(ITIMER_REAL, &left), "ITIMER_REAL: %s", strerror(errno));
	check_left("alarm", left.it_value.tv_sec * 1000000000ll + left.it_value.tv_usec * 1000ll);
	for (int which = ITIMER_VIRTUAL; which <= ITIMER_PROF; which++) {
		check(!getitimer(which, &left), "itimer %d: %s", which, strerror(errno));
		check(left.it_interval.tv_sec == 7 && left.it_value.tv_sec > HOUR - 60 &&
		      left.it_value.tv_sec <= HOUR, "itimer %d: %ld s are left, interval %ld s",
		      which, (long)left.it_value.tv_sec, (long)left.it_interval.tv_sec);
	}
}

static void check_posix(void)
{
	struct itimerspec left;

	for (size_t i = 0; i < NTIMERS; i++) {
		struct posix *t = &g_timers[i];
		long long ns;

		if (timer_gettime(t->id_at_start, &left)) {
			check_fail("%s: %s", t->what, strerror(errno));
			continue;
		}
		ns = left.it_value.tv_sec * 1000000000ll + left.it_value.tv_nsec;
		if (t->clock != CLOCK_PROCESS_CPUTIME_ID && t->first_ms == HOUR * 1000l)
			check_left(t->what, ns);
		check(left.it_interval.tv_sec * 1000 + left.it_interval.tv_nsec / 1000000 ==
		      t->interval_ms, "%s: its interval changed", t->what);
		check(t->first_ms || !ns, "%s is armed", t->what);
	}
}

/* Both periodic timers tick within what a busy machine and faults allow. */
static void check_ticks(void)
{
	int ticks = g_ticks, directed = g_directed;
	uint64_t end = check_now_ns(CLOCK_MONOTONIC) + 3000000000u;

	while ((g_ticks == ticks || g_directed == directed) && !check_stopping()) {
		if (check_now_ns(CLOCK_MONOTONIC) > end) {
			check_fail("%s does not tick",
				   g_ticks == ticks ? g_timers[0].what : g_timers[1].what);
			return;
		}
		check_sleep_ms(5);
	}
}

int main(int argc, char **argv)
{
	check_init(argc, argv, "timers");
	set_up();
	while (!check_stopping()) {
		check_itimers();
		check_posix();
		check_ticks();
		check(!g_wrong, "a timer's signal had a wrong siginfo or thread");
		check(!g_alarms, "the alarm came early");
		check_beat();
	}
	check_done("%d and %d ticks", g_ticks, g_directed);
}
