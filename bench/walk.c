/* The task that cor-bench after moves, a program of its own:
 * cor-bench-walker SIZE HUGE FILE FD. Fills its memory and says so on FD; at each SIGUSR1
 * it walks through it and writes a struct walked into FILE. */
#include <err.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "bench/walker.h"

#define HUGE_PAGE (UINT64_C(2) << 20)

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static uint64_t walk_sequential(const uint64_t *words, size_t n)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < n; i++)
		sum += words[i];
	return sum;
}

/* Each place depends on what was read at the one before. */
static uint64_t walk_random(const uint64_t *words, size_t n)
{
	uint64_t at = 1, sum = 0;

	for (unsigned i = 0; i < WALK_RANDOM_READS; i++) {
		uint64_t word = words[at % n];

		sum += word;
		at = (at ^ word) * UINT64_C(0x9e3779b97f4a7c15) + i;
		at ^= at >> 29;
	}
	return sum;
}

/* What was read stays: memory that is written is as good as before the move, too. */
static void walk_writing(uint64_t *words, size_t n)
{
	for (size_t i = 0; i < n; i += 8)
		((volatile uint64_t *)words)[i] ^= 0;
}

/* Fresh memory: what a page fault takes. */
static void walk_fresh(void)
{
	size_t len = WALK_FRESH_PAGES * 4096ul;
	char *m = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (m == MAP_FAILED)
		return;
	madvise(m, len, MADV_NOHUGEPAGE);
	for (size_t i = 0; i < len; i += 4096)
		((volatile char *)m)[i] = 1;
	munmap(m, len);
}

static void one_turn(struct walked *w, uint64_t *words, size_t n)
{
	uint64_t t[WALKS + 1];

	t[0] = now_ns();
	w->sum = walk_sequential(words, n);
	t[1] = now_ns();
	w->sum += walk_random(words, n);
	t[2] = now_ns();
	walk_writing(words, n);
	t[3] = now_ns();
	walk_fresh();
	t[4] = now_ns();
	for (unsigned i = 0; i < WALKS; i++)
		w->ns[i] = t[i + 1] - t[i];
	w->cpu = (uint64_t)sched_getcpu();
	w->turn++;
}

/* Where huge pages can be, and with none of the neighbours' memory in them. */
static uint64_t *room(size_t size, bool huge)
{
	char *m = mmap(NULL, size + 2 * HUGE_PAGE, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (m == MAP_FAILED)
		err(1, "%zu bytes", size);
	m += HUGE_PAGE - (uintptr_t)m % HUGE_PAGE;
	madvise(m, size, huge ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
	for (size_t i = 0; i < size / 8; i++)
		((uint64_t *)m)[i] = (i + 1) * UINT64_C(0x9e3779b97f4a7c15);
	return (uint64_t *)m;
}

/* One processor for all walkers: they take turns, and are compared. */
static void pin(void)
{
	cpu_set_t set;
	int last = 0;

	sched_getaffinity(0, sizeof(set), &set);
	for (int i = 0; i < CPU_SETSIZE; i++)
		if (CPU_ISSET(i, &set))
			last = i;
	CPU_ZERO(&set);
	CPU_SET(last, &set);
	sched_setaffinity(0, sizeof(set), &set);
}

int main(int argc, char **argv)
{
	size_t size = argc > 4 ? strtoull(argv[1], NULL, 10) : 0;
	int fd = argc > 4 ? open(argv[3], O_RDWR | O_CLOEXEC) : -1;
	int ready = argc > 4 ? atoi(argv[4]) : -1;
	struct walked w = { 0 };
	uint64_t *words;
	sigset_t order;
	int sig;

	if (!size || fd < 0 || ready < 0)
		errx(2, "started by cor-bench after");
	sigemptyset(&order);
	sigaddset(&order, SIGUSR1);
	sigprocmask(SIG_BLOCK, &order, NULL);
	pin();
	words = room(size, atoi(argv[2]));
	if (write(ready, "r", 1) != 1)
		return 1;
	close(ready);
	while (sigwait(&order, &sig) == 0) {
		one_turn(&w, words, size / 8);
		if (pwrite(fd, &w, sizeof(w), 0) != sizeof(w))
			return 1;
	}
	return 1;
}
