/* The task that cor-bench freeze migrates, a program of its own with nothing in it:
 * cor-bench-task SIZE THREADS FD. Touches its memory, says so on FD and closes it,
 * then lives on: each thread wakes every few milliseconds and writes a word. */
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

int main(int argc, char **argv)
{
	size_t size = argc > 3 ? strtoull(argv[1], NULL, 10) : 0;
	unsigned threads = argc > 3 ? (unsigned)atoi(argv[2]) : 0;
	int ready = argc > 3 ? atoi(argv[3]) : -1;
	pthread_t thread;
	char *base;

	if (!size || !threads || ready < 0)
		errx(2, "started by cor-bench freeze");
	base = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (base == MAP_FAILED)
		err(1, "%zu bytes", size);
	memset(base, 0x5a, size);
	for (unsigned i = 1; i < threads; i++)
		if (pthread_create(&thread, NULL, live_on, base + size / threads * i))
			err(1, "thread %u", i);
	if (write(ready, "r", 1) != 1)
		return 1;
	close(ready);
	live_on(base);
}
