/* The task's side of cor_on_migrate(): a thread that waits for cord to change
 * the bell, and runs the application's hooks. The protocol is in
 * libcor/task/hooks.h. State is global by nature: there is one process. */
#include <errno.h>
#include <linux/futex.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cor/migrate.h>

#include "preload/preload.h"

#define HOOK_STACK (256u << 10)

EXPORT int cor_preload_on_migrate(cor_before_migrate before, cor_after_migrate after, void *arg);
EXPORT unsigned cor_preload_migrations(void);

struct hook {
	struct hook *older, *newer;
	cor_before_migrate before;
	cor_after_migrate  after;
	void *arg;
};

/* cord looks for it at multiples of its size. */
__attribute__((aligned(sizeof(struct cor_hook_block))))
struct cor_hook_block cor_preload_block = {
	.magic = COR_HOOK_MAGIC, .version = COR_HOOK_VERSION,
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct hook *oldest, *newest;

static uint32_t load(const uint32_t *word)
{
	return __atomic_load_n(word, __ATOMIC_SEQ_CST);
}

/* Hooks are only ever appended, so the lists can be walked without the lock. */
static void run_before(void)
{
	struct hook *h;

	pthread_mutex_lock(&lock);
	h = newest;
	pthread_mutex_unlock(&lock);
	for (; h; h = h->older)
		if (h->before)
			h->before(h->arg);
}

static void run_after(int moved)
{
	struct hook *h;

	pthread_mutex_lock(&lock);
	h = oldest;
	pthread_mutex_unlock(&lock);
	while (h) {
		if (h->after)
			h->after(h->arg, moved);
		pthread_mutex_lock(&lock);
		h = h->newer;
		pthread_mutex_unlock(&lock);
	}
}

static void *listen_for_bell(void *unused)
{
	struct cor_hook_block *b = &cor_preload_block;
	uint32_t requests = load(&b->requests), arrivals = load(&b->arrivals);
	uint32_t cancels = load(&b->cancels), bell;

	__atomic_store_n(&b->tid, (int32_t)syscall(SYS_gettid), __ATOMIC_SEQ_CST);
	syscall(SYS_futex, &b->tid, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
	for (;;) {
		bell = load(&b->bell);
		if (load(&b->requests) != requests) {
			requests = load(&b->requests);
			run_before();
			__atomic_store_n(&b->answers, requests, __ATOMIC_SEQ_CST);
		}
		if (load(&b->arrivals) != arrivals) {
			arrivals = load(&b->arrivals);
			/* Another cord is the local one now. */
			cor_preload_register();
			run_after(1);
		}
		if (load(&b->cancels) != cancels) {
			cancels = load(&b->cancels);
			run_after(0);
		}
		syscall(SYS_futex, &b->bell, FUTEX_WAIT_PRIVATE, bell, NULL, NULL, 0);
	}
	return NULL;
}

/* The thread is not there in a forked child, so nobody must wait for it. The
 * lock is taken around the fork: the child's copy is free. */
static void before_fork(void) { pthread_mutex_lock(&lock); }
static void after_fork(void) { pthread_mutex_unlock(&lock); }

static void in_child(void)
{
	cor_preload_block.tid = 0;
	cor_preload_block.arrivals = 0;
	oldest = newest = NULL;
	pthread_mutex_unlock(&lock);
}

static int start_thread(void)
{
	static bool prepared;
	pthread_attr_t attr;
	sigset_t all, old;
	pthread_t thread;
	int r;

	if (!prepared && pthread_atfork(before_fork, after_fork, in_child))
		return -ENOMEM;
	prepared = true;
	r = pthread_attr_init(&attr);
	if (r)
		return -r;
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	pthread_attr_setstacksize(&attr, HOOK_STACK);
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	r = pthread_create(&thread, &attr, listen_for_bell, NULL);
	if (!r)
		pthread_setname_np(thread, "cor-hooks");
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	pthread_attr_destroy(&attr);
	/* Once cor_on_migrate() has returned, no migration is missed. */
	while (!r && !__atomic_load_n(&cor_preload_block.tid, __ATOMIC_SEQ_CST))
		syscall(SYS_futex, &cor_preload_block.tid, FUTEX_WAIT_PRIVATE, 0, NULL, NULL, 0);
	return -r;
}

int cor_preload_on_migrate(cor_before_migrate before, cor_after_migrate after, void *arg)
{
	struct hook *h;
	int r = 0;

	if (!before && !after)
		return -EINVAL;
	h = calloc(1, sizeof(*h));
	if (!h)
		return -ENOMEM;
	h->before = before;
	h->after = after;
	h->arg = arg;
	pthread_mutex_lock(&lock);
	if (!newest)
		r = start_thread();
	if (!r) {
		h->older = newest;
		if (newest)
			newest->newer = h;
		else
			oldest = h;
		newest = h;
	}
	pthread_mutex_unlock(&lock);
	if (r)
		free(h);
	return r;
}

unsigned cor_preload_migrations(void)
{
	return load(&cor_preload_block.arrivals);
}
