/* sleepers [-p FILE] [N]
 *
 * A pool of N threads that mostly wait: for work, or for a time. In each round some get
 * work; all sleep as long as they want to, no shorter, and find all that a thread has of its own as
 * they left it. */
#include "check.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>

#define MAX_THREADS 256
#define STACK 32768
#define LATE_NS 10000000000ull  /* a machine with other things to do */

static int g_nthreads = 32;
static atomic_bool g_end;
static struct sleeper {
	pthread_t thread;
	unsigned number;
	pid_t tid;
	char name[16];
	char *stack;
	sem_t work;                     /* posted, with what is to be done in order */
	uint64_t order;
	_Atomic uint64_t answer;        /* check_mix() of the last order */
	_Atomic uint64_t naps;
} g_sleepers[MAX_THREADS];

static __thread uint64_t t_seed;
static __thread sigset_t t_mask;

static unsigned draw(unsigned below)
{
	t_seed = check_mix(t_seed);
	return (unsigned)(t_seed % below);
}

/* What only the thread itself can change. */
static void verify_own(struct sleeper *s, double kept)
{
	char name[16];
	sigset_t mask;
	stack_t stack;

	check(check_gettid() == s->tid, "thread %u: TID %d became %d", s->number, s->tid,
	      check_gettid());
	check(!sigaltstack(NULL, &stack) && stack.ss_sp == s->stack && stack.ss_size == STACK,
	      "thread %u: its signal stack is another", s->number);
	prctl(PR_GET_NAME, name);
	check(!strcmp(name, s->name), "thread name %s became %s", s->name, name);
	pthread_sigmask(SIG_BLOCK, NULL, &mask);
	check(!memcmp(&mask, &t_mask, sizeof(mask)), "thread %u: its signal mask is another", s->number);
	check(kept == s->number * 0.5, "thread %u: a number became %f", s->number, kept);
}

/* One of them changes what it is, now and then, having slept with what it was. */
static void change_own(struct sleeper *s)
{
	char *stack = malloc(STACK);
	stack_t next = { .ss_sp = stack, .ss_size = STACK };

	need(stack && !sigaltstack(&next, NULL));
	free(s->stack);
	s->stack = stack;
	pthread_sigmask(sigismember(&t_mask, SIGUSR2) ? SIG_UNBLOCK : SIG_BLOCK,
			&(sigset_t){ { 1ul << (SIGUSR2 - 1) } }, NULL);
	pthread_sigmask(SIG_BLOCK, NULL, &t_mask);
}

static struct timespec span(uint64_t ns)
{
	return (struct timespec){ (time_t)(ns / 1000000000), (long)(ns % 1000000000) };
}

/* In one of the ways that there are. */
static void nap(struct sleeper *s)
{
	uint64_t want = (1 + (uint64_t)draw(draw(2) ? 400 : 30)) * 1000000, begin, took;
	struct timespec ts = span(want), end;
	unsigned kind = draw(4);
	/* the wall clock of another host may be some milliseconds ahead */
	uint64_t early = kind == 2 ? 50000000 : 1000000;
	sem_t never;

	sem_init(&never, 0, 0);
	clock_gettime(CLOCK_REALTIME, &end);
	end = span((uint64_t)end.tv_sec * 1000000000 + (uint64_t)end.tv_nsec + want);
	begin = check_now_ns(CLOCK_MONOTONIC);
	switch (kind) {
	case 0:
		check(!nanosleep(&ts, draw(2) ? &end : NULL), "nanosleep: %s", strerror(errno));
		break;
	case 1:
		check(poll(NULL, 0, (int)(want / 1000000)) == 0, "poll: %s", strerror(errno));
		break;
	case 2:
		check(sem_timedwait(&never, &end) < 0 && errno == ETIMEDOUT, "sem_timedwait: %s",
		      strerror(errno));
		break;
	default:
		check(clock_nanosleep(CLOCK_MONOTONIC, 0, &ts, NULL) == 0, "clock_nanosleep");
	}
	took = check_now_ns(CLOCK_MONOTONIC) - begin;
	check(took + early >= want, "thread %u: slept %llu ns of %llu", s->number,
	      (unsigned long long)took, (unsigned long long)want);
	check(took < want + LATE_NS, "thread %u: slept %llu ns instead of %llu", s->number,
	      (unsigned long long)took, (unsigned long long)want);
	s->naps++;
}

static void *sleeper_main(void *arg)
{
	struct sleeper *s = arg;
	volatile double kept = s->number * 0.5;

	t_seed = s->number + 1;
	s->tid = check_gettid();
	prctl(PR_SET_NAME, s->name);
	change_own(s);
	while (!g_end) {
		if (s->number % 4 == 3) {
			nap(s);
		} else if (!sem_wait(&s->work)) {
			s->answer = check_mix(s->order);
		}
		verify_own(s, kept);
		if (!draw(5))
			change_own(s);
	}
	return s;
}

/* The end is for the first thread to hear of. */
static void start(void)
{
	const sigset_t ends = { { 1ul << (SIGTERM - 1) | 1ul << (SIGUSR1 - 1) } };

	pthread_sigmask(SIG_BLOCK, &ends, NULL);
	for (int i = 0; i < g_nthreads; i++) {
		struct sleeper *s = &g_sleepers[i];

		s->number = (unsigned)i;
		sem_init(&s->work, 0, 0);
		snprintf(s->name, sizeof(s->name), "sleeper %d", i);
		need(!pthread_create(&s->thread, NULL, sleeper_main, s));
	}
	pthread_sigmask(SIG_UNBLOCK, &ends, NULL);
}

/* Until the answer is there, within a time that allows for faults. */
static void give_work(struct sleeper *s, uint64_t order)
{
	uint64_t end = check_now_ns(CLOCK_MONOTONIC) + LATE_NS;

	s->order = order;
	sem_post(&s->work);
	while (s->answer != check_mix(order)) {
		check(check_now_ns(CLOCK_MONOTONIC) < end, "thread %u does not work", s->number);
		if (check_failed())
			return;
		usleep(200);
	}
}

int main(int argc, char **argv)
{
	int first = check_init(argc, argv, "sleepers");
	uint64_t round = 0, naps = 0;

	if (first < argc)
		g_nthreads = atoi(argv[first]);
	need(g_nthreads > 0 && g_nthreads < MAX_THREADS);
	start();
	while (!check_stopping()) {
		for (unsigned i = 0; i < 3 && !check_failed(); i++) {
			struct sleeper *s = &g_sleepers[check_mix(++round) % (unsigned)g_nthreads];

			if (s->number % 4 != 3)
				give_work(s, round);
		}
		check_sleep_ms(20);
		check_beat();
	}
	g_end = true;
	for (int i = 0; i < g_nthreads; i++) {
		sem_post(&g_sleepers[i].work);
		pthread_join(g_sleepers[i].thread, NULL);
		naps += g_sleepers[i].naps;
	}
	check_done("%d threads, %llu rounds, %llu naps", g_nthreads, (unsigned long long)round,
		   (unsigned long long)naps);
}
