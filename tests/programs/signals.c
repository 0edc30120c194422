/* Signal handlers with their flags and masks, alternate stacks, blocked signals
 * that stay pending with their siginfo, and signals that arrive all the while. */
#include "check.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define QUEUED (SIGRTMIN + 2)    /* blocked, three queued for the process */
#define DIRECTED (SIGRTMIN + 3)  /* blocked, one queued for a thread */
#define LIVELY (SIGRTMIN + 4)    /* raised in every round, on the alternate stack */
#define STACK_SIZE 65536

static char *g_stack;
static atomic_int g_hits, g_off_stack;
static pthread_t g_sleeper;
static _Atomic pid_t g_sleeper_tid;
static atomic_bool g_end;
static struct sigaction g_actions[65];
static sigset_t g_mask;

static void on_lively(int sig, siginfo_t *info, void *context)
{
	const char *here = (const char *)&here;

	if (here < g_stack || here >= g_stack + STACK_SIZE)
		g_off_stack++;
	if (info->si_code == SI_QUEUE)
		g_hits += info->si_value.sival_int;
}

static void on_other(int sig)
{
}

static void *sleeper_main(void *unused)
{
	struct timespec ms = { 0, 1000000 };
	siginfo_t info;
	sigset_t set;

	g_sleeper_tid = check_gettid();
	while (!g_end)
		nanosleep(&ms, NULL);
	sigemptyset(&set);
	sigaddset(&set, DIRECTED);
	check(sigtimedwait(&set, &info, &ms) == DIRECTED, "the thread's own signal was lost");
	check(info.si_value.sival_int == 4711 && info.si_code == SI_QUEUE &&
	      info.si_pid == getpid(), "the thread's signal has value %d, code %d, pid %d",
	      info.si_value.sival_int, info.si_code, (int)info.si_pid);
	return NULL;
}

static void direct(pid_t tid, int value)
{
	siginfo_t info = { .si_signo = DIRECTED, .si_code = SI_QUEUE };

	info.si_pid = getpid();
	info.si_uid = getuid();
	info.si_value.sival_int = value;
	need(!syscall(SYS_rt_tgsigqueueinfo, getpid(), tid, DIRECTED, &info));
}

static void set_up(void)
{
	struct sigaction sa = { .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_RESTART };
	stack_t ss = { .ss_size = STACK_SIZE };

	g_stack = mmap(NULL, STACK_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	need(g_stack != MAP_FAILED);
	ss.ss_sp = g_stack;
	need(!sigaltstack(&ss, NULL));
	sa.sa_sigaction = on_lively;
	sigemptyset(&sa.sa_mask);
	sigaddset(&sa.sa_mask, SIGUSR2);
	sigaddset(&sa.sa_mask, 64);
	need(!sigaction(LIVELY, &sa, NULL));
	sa = (struct sigaction){ .sa_handler = on_other, .sa_flags = SA_NODEFER };
	need(!sigaction(SIGUSR2, &sa, NULL));
	sa = (struct sigaction){ .sa_handler = on_other, .sa_flags = SA_RESETHAND | SA_NOCLDWAIT };
	need(!sigaction(SIGCHLD, &sa, NULL));
	signal(SIGPIPE, SIG_IGN);
	signal(SIGTRAP, SIG_IGN);
	sigemptyset(&g_mask);
	sigaddset(&g_mask, QUEUED);
	sigaddset(&g_mask, DIRECTED);
	sigaddset(&g_mask, SIGHUP);
	sigaddset(&g_mask, SIGTRAP);
	pthread_sigmask(SIG_BLOCK, &g_mask, NULL);
	for (int i = 1; i < 65; i++)
		sigaction(i, NULL, &g_actions[i]);
	need(!pthread_create(&g_sleeper, NULL, sleeper_main, NULL));
	while (!g_sleeper_tid)
		check_sleep_ms(1);
	for (int i = 1; i <= 3; i++)
		need(!sigqueue(getpid(), QUEUED, (union sigval){ .sival_int = i * 111 }));
	need(!kill(getpid(), SIGHUP));
	direct(g_sleeper_tid, 4711);
}

static void same_actions(void)
{
	struct sigaction now;

	for (int i = 1; i < 65; i++) {
		const struct sigaction *was = &g_actions[i];

		if (sigaction(i, NULL, &now))
			continue;
		check(now.sa_sigaction == was->sa_sigaction, "signal %d: handler %p became %p", i,
		      (void *)(uintptr_t)was->sa_sigaction, (void *)(uintptr_t)now.sa_sigaction);
		check(now.sa_flags == was->sa_flags, "signal %d: flags %#x became %#x", i,
		      was->sa_flags, now.sa_flags);
		for (int j = 1; j < 65; j++)
			check(sigismember(&now.sa_mask, j) == sigismember(&was->sa_mask, j),
			      "signal %d: its mask changed for signal %d", i, j);
	}
}

static void same_state(void)
{
	sigset_t now;
	stack_t ss;

	pthread_sigmask(SIG_SETMASK, NULL, &now);
	for (int i = 1; i < 65; i++)
		check(sigismember(&now, i) == sigismember(&g_mask, i), "mask changed for signal %d", i);
	check(!sigaltstack(NULL, &ss) && ss.ss_sp == g_stack && ss.ss_size == STACK_SIZE &&
	      ss.ss_flags == 0, "alternate stack at %p, %zu bytes, flags %#x", ss.ss_sp,
	      ss.ss_size, ss.ss_flags);
	sigpending(&now);
	for (int i = 1; i < 65; i++)
		check(sigismember(&now, i) == (i == QUEUED || i == SIGHUP), "pending: signal %d: %d",
		      i, sigismember(&now, i));
}

static void take_pending(void)
{
	struct timespec zero = { 0, 0 };
	siginfo_t info;
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, QUEUED);
	for (int i = 1; i <= 3; i++) {
		check(sigtimedwait(&set, &info, &zero) == QUEUED, "queued signal %d was lost", i);
		check(info.si_value.sival_int == i * 111 && info.si_code == SI_QUEUE &&
		      info.si_pid == getpid() && info.si_uid == getuid(),
		      "queued signal %d has value %d, code %d, pid %d", i,
		      info.si_value.sival_int, info.si_code, (int)info.si_pid);
	}
	check(sigtimedwait(&set, &info, &zero) == -1, "a queued signal came twice");
	sigaddset(&set, SIGHUP);
	check(sigtimedwait(&set, &info, &zero) == SIGHUP && info.si_code == SI_USER,
	      "SIGHUP was lost or has code %d", info.si_code);
}

int main(int argc, char **argv)
{
	int sent = 0;

	check_init(argc, argv, "signals");
	set_up();
	while (!check_stopping()) {
		sent += 3;
		need(!sigqueue(getpid(), LIVELY, (union sigval){ .sival_int = 3 }));
		for (int i = 0; g_hits != sent && i < 5000; i++)
			check_sleep_ms(1);
		check(g_hits == sent, "%d of %d signals were handled", g_hits, sent);
		check(!g_off_stack, "a handler did not run on the alternate stack");
		same_actions();
		same_state();
		check_beat();
		check_sleep_ms(5);
	}
	g_end = true;
	pthread_join(g_sleeper, NULL);
	take_pending();
	check_done("%d signals", sent / 3);
}
