/* The task that cor-bench freeze migrates, a program of its own with nothing in it:
 * cor-bench-task SIZE THREADS LIFE FD. Touches its memory, says so on FD and closes it,
 * then lives on: each thread wakes every few milliseconds and writes a word (LIFE "nap"), or
 * only the first one does, and the others wait for work that does not come (LIFE "wait"). */
#include <err.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

static void *live_on(void *arg)
{
	const struct timespec pause = { .tv_nsec = 5000000 };
	volatile uint64_t *word = arg;

	for (;;) {
		++*word;
		nanosleep(&pause, NULL);
	}
	return NULL;
}

/* As in a pool. */
static void *wait_for_work(void *arg)
{
	static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
	static pthread_cond_t work = PTHREAD_COND_INITIALIZER;

	++*(volatile uint64_t *)arg;
	pthread_mutex_lock(&lock);
	for (;;)
		pthread_cond_wait(&work, &lock);
	return NULL;
}

int main(int argc, char **argv)
{
	size_t size = argc > 4 ? strtoull(argv[1], NULL, 10) : 0;
	unsigned threads = argc > 4 ? (unsigned)atoi(argv[2]) : 0;
	void *(*life)(void *) = argc > 4 && strcmp(argv[3], "wait") == 0 ? wait_for_work : live_on;
	int ready = argc > 4 ? atoi(argv[4]) : -1;
	pthread_t thread;
	char *base;

	if (!size || !threads || ready < 0)
		errx(2, "started by cor-bench freeze");
	base = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (base == MAP_FAILED)
		err(1, "%zu bytes", size);
	memset(base, 0x5a, size);
	for (unsigned i = 1; i < threads; i++)
		if (pthread_create(&thread, NULL, life, base + size / threads * i))
			err(1, "thread %u", i);
	if (write(ready, "r", 1) != 1)
		return 1;
	close(ready);
	live_on(base);
}
