/* threads [-p FILE] [N]
 *
 * Threads made with pthread_create and with bare clone: each keeps its TID and
 * name, all of them run on, and their ends are seen (clear_child_tid). */
#include "check.h"

#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>

#define MAX_THREADS 1000
#define BARE_STACK 65536

static int g_nthreads = 12;
static atomic_bool g_end;
static struct worker {
	pthread_t thread;
	pid_t tid;
	char name[16];
	_Atomic uint64_t count;
} g_workers[MAX_THREADS];

/* Written by the bare thread, which must not call libc: it has no TLS of its own. */
static struct {
	_Atomic int tid;
	_Atomic uint64_t count, wrong;
	int cleared;            /* clear_child_tid: zeroed by the kernel at its exit */
} g_bare;

static long bare_call(long n, long a, long b)
{
	long ret;

	__asm__ volatile("syscall" : "=a"(ret) : "0"(n), "D"(a), "S"(b) : "rcx", "r11", "memory");
	return ret;
}

static int bare_main(void *unused)
{
	struct timespec ms = { 0, 1000000 };

	g_bare.tid = (int)bare_call(SYS_gettid, 0, 0);
	while (!g_end) {
		if (bare_call(SYS_gettid, 0, 0) != g_bare.tid)
			g_bare.wrong++;
		bare_call(SYS_nanosleep, (long)&ms, 0);
		g_bare.count++;
	}
	bare_call(SYS_exit, 0, 0);
	return 0;
}

static void *worker_main(void *arg)
{
	struct worker *w = arg;
	char name[16];

	w->tid = check_gettid();
	prctl(PR_SET_NAME, w->name);
	while (!g_end) {
		check(check_gettid() == w->tid, "%s: TID %d became %d", w->name, w->tid,
		      check_gettid());
		prctl(PR_GET_NAME, name);
		check(!strcmp(name, w->name), "thread name %s became %s", w->name, name);
		atomic_fetch_add(&w->count, 1);
		check_sleep_ms(1);
	}
	return w;
}

static void start(void)
{
	const int flags = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD |
			  CLONE_SYSVSEM | CLONE_CHILD_CLEARTID;
	char *stack;

	for (int i = 0; i < g_nthreads; i++) {
		snprintf(g_workers[i].name, sizeof(g_workers[i].name), "w (%u) %%", (unsigned)i % 1000);
		need(!pthread_create(&g_workers[i].thread, NULL, worker_main, &g_workers[i]));
	}
	stack = mmap(NULL, BARE_STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	need(stack != MAP_FAILED);
	g_bare.cleared = 1;
	need(clone(bare_main, stack + BARE_STACK, flags, NULL, NULL, NULL, &g_bare.cleared) > 0);
}

/* Everybody advances between two rounds, within a time that allows for faults. */
static void all_advance(void)
{
	static uint64_t seen[MAX_THREADS + 1];
	uint64_t end = check_now_ns(CLOCK_MONOTONIC) + 5000000000u;

	for (int i = 0; i <= g_nthreads; i++)
		seen[i] = i < g_nthreads ? g_workers[i].count : g_bare.count;
	for (int i = 0; i <= g_nthreads && !check_failed();) {
		uint64_t now = i < g_nthreads ? g_workers[i].count : g_bare.count;

		if (now != seen[i]) {
			i++;
			continue;
		}
		check(check_now_ns(CLOCK_MONOTONIC) < end, "thread %d stands still", i);
		check_sleep_ms(1);
		if (check_stopping())
			return;
	}
}

static void join_all(void)
{
	void *value;

	g_end = true;
	for (int i = 0; i < g_nthreads; i++) {
		pthread_join(g_workers[i].thread, &value);
		check(value == &g_workers[i], "thread %d returned a wrong value", i);
	}
	for (int i = 0; i < 1000 && __atomic_load_n(&g_bare.cleared, __ATOMIC_SEQ_CST); i++) {
		struct timespec ts = { 0, 10000000 };

		syscall(SYS_futex, &g_bare.cleared, FUTEX_WAIT, 1, &ts, NULL, 0);
	}
	check(!g_bare.cleared, "the bare thread's clear_child_tid was not cleared");
	check(!g_bare.wrong, "the bare thread's TID changed");
}

int main(int argc, char **argv)
{
	pid_t pid = getpid();

	int first = check_init(argc, argv, "threads");

	if (first < argc)
		g_nthreads = atoi(argv[first]);
	need(g_nthreads > 0 && g_nthreads < MAX_THREADS);
	start();
	while (!check_stopping()) {
		all_advance();
		check((pid_t)syscall(SYS_getpid) == pid, "PID %d became %d", pid,
		      (int)syscall(SYS_getpid));
		check(syscall(SYS_tgkill, pid, g_workers[0].tid, 0) == 0,
		      "no thread %d in process %d", g_workers[0].tid, pid);
		check_beat();
	}
	join_all();
	check_done("%d threads", g_nthreads + 1);
}
