/* Robust mutexes: a thread that ends with one locked leaves EOWNERDEAD to the
 * next, for one locked before the move as well as for short-lived ones. Also
 * ordinary mutexes, condition variables and a barrier shared by threads. */
#include "check.h"

#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <string.h>

static pthread_mutex_t g_long, g_short, g_plain = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t g_cond = PTHREAD_COND_INITIALIZER;
static sem_t g_locked, g_end_holder;
static uint64_t g_ping, g_pong;
static bool g_end;

static void make_robust(pthread_mutex_t *m)
{
	pthread_mutexattr_t attr;

	pthread_mutexattr_init(&attr);
	pthread_mutexattr_setrobust(&attr, PTHREAD_MUTEX_ROBUST);
	need(!pthread_mutex_init(m, &attr));
}

/* Locks once, and ends without unlocking after the moves. */
static void *holder_main(void *unused)
{
	pthread_mutex_lock(&g_long);
	sem_post(&g_locked);
	while (sem_wait(&g_end_holder))
		check_fail("sem_wait: %s", strerror(errno));
	return NULL;
}

static void *victim_main(void *unused)
{
	int err = pthread_mutex_lock(&g_short);

	check(!err, "a consistent robust mutex: %s", strerror(err));
	return NULL;
}

static void *pong_main(void *unused)
{
	pthread_mutex_lock(&g_plain);
	while (!g_end) {
		while (!g_end && g_pong == g_ping)
			pthread_cond_wait(&g_cond, &g_plain);
		g_pong = g_ping;
		pthread_cond_broadcast(&g_cond);
	}
	pthread_mutex_unlock(&g_plain);
	return NULL;
}

static void inherit(pthread_mutex_t *m, const char *what)
{
	int err = pthread_mutex_lock(m);

	check(err == EOWNERDEAD, "%s: %s instead of EOWNERDEAD", what, strerror(err));
	if (err == EOWNERDEAD)
		pthread_mutex_consistent(m);
	pthread_mutex_unlock(m);
}

static void play(void)
{
	pthread_mutex_lock(&g_plain);
	g_ping++;
	pthread_cond_broadcast(&g_cond);
	while (g_pong != g_ping)
		pthread_cond_wait(&g_cond, &g_plain);
	pthread_mutex_unlock(&g_plain);
}

int main(int argc, char **argv)
{
	pthread_t holder, pong, victim;
	uint64_t deaths = 0;

	check_init(argc, argv, "robust");
	make_robust(&g_long);
	make_robust(&g_short);
	sem_init(&g_locked, 0, 0);
	sem_init(&g_end_holder, 0, 0);
	need(!pthread_create(&holder, NULL, holder_main, NULL));
	need(!pthread_create(&pong, NULL, pong_main, NULL));
	sem_wait(&g_locked);
	while (!check_stopping()) {
		need(!pthread_create(&victim, NULL, victim_main, NULL));
		pthread_join(victim, NULL);
		inherit(&g_short, "robust mutex");
		deaths++;
		play();
		check(pthread_mutex_trylock(&g_long) == EBUSY, "the held robust mutex is free");
		check_beat();
		check_sleep_ms(2);
	}
	sem_post(&g_end_holder);
	pthread_join(holder, NULL);
	inherit(&g_long, "robust mutex locked before the move");
	pthread_mutex_lock(&g_plain);
	g_end = true;
	pthread_cond_broadcast(&g_cond);
	pthread_mutex_unlock(&g_plain);
	pthread_join(pong, NULL);
	check_done("%llu owners died", (unsigned long long)deaths);
}
