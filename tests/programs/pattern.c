/* pattern [-p FILE] MIB [PAUSE]: four threads write a pattern over MIB MiB, changing it
 * all the while, or with PAUSE milliseconds after every 64 pages. Every page says what it is: its address, its generation and a
 * checksum of the rest; what generation it must have is kept beside it. */
#include "check.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define PAGE 4096ul
#define NTHREADS 4
#define WORDS (PAGE / 8)

/* words[0]: address, [1]: generation, [2]: checksum of the others, the rest derived. */
static char *g_memory;
static uint32_t *g_generation;
static size_t g_pages;
static atomic_bool g_end;
static unsigned g_pause;
static struct worker {
	pthread_t thread;
	int index;
	pid_t tid;
	_Atomic uint64_t writes, checks, passes;
} g_workers[NTHREADS];

static void write_page(size_t i)
{
	uint64_t *w = (uint64_t *)(g_memory + i * PAGE);
	uint64_t generation = ++g_generation[i], x, sum = 0;

	w[0] = (uint64_t)(uintptr_t)w;
	w[1] = generation;
	x = check_mix(w[0] ^ generation << 40);
	for (size_t j = 3; j < WORDS; j++) {
		x = x * 6364136223846793005u + 1442695040888963407u;
		w[j] = x;
		sum += x ^ j;
	}
	w[2] = sum ^ w[0] ^ w[1];
}

static void check_page(size_t i)
{
	const uint64_t *w = (const uint64_t *)(g_memory + i * PAGE);
	uint64_t x = check_mix((uint64_t)(uintptr_t)w ^ (uint64_t)g_generation[i] << 40), sum = 0;

	if (w[0] != (uint64_t)(uintptr_t)w)
		check_fail("page %zu at %p says that it is at %#llx", i, (const void *)w,
			   (unsigned long long)w[0]);
	if (w[1] != g_generation[i])
		check_fail("page %zu has generation %llu instead of %u", i,
			   (unsigned long long)w[1], g_generation[i]);
	for (size_t j = 3; j < WORDS; j++) {
		x = x * 6364136223846793005u + 1442695040888963407u;
		if (w[j] != x) {
			check_fail("page %zu, generation %u: word %zu is wrong", i,
				   g_generation[i], j);
			return;
		}
		sum += x ^ j;
	}
	if (w[2] != (sum ^ w[0] ^ w[1]))
		check_fail("page %zu: checksum", i);
}

/* Each thread has every fourth page. It goes through all of them in order and
 * writes at random places meanwhile. */
static void *worker_main(void *arg)
{
	struct worker *w = arg;
	uint64_t random = (uint64_t)w->index;
	size_t mine = g_pages / NTHREADS;

	w->tid = check_gettid();
	for (size_t i = 0; i < mine; i++)
		write_page(i * NTHREADS + (size_t)w->index);
	w->passes = 1;
	while (!g_end) {
		for (size_t i = 0; i < mine && !g_end; i++) {
			random = check_mix(random);
			check_page(i * NTHREADS + (size_t)w->index);
			write_page(random % mine * NTHREADS + (size_t)w->index);
			w->checks++;
			w->writes++;
			if (i % 64)
				continue;
			check(check_gettid() == w->tid, "TID %d became %d", w->tid, check_gettid());
			if (g_pause)
				check_sleep_ms(g_pause);
		}
		w->passes++;
	}
	return NULL;
}

static void final_check(void)
{
	for (size_t i = 0; i < g_pages && !check_failed(); i++)
		check_page(i);
}

int main(int argc, char **argv)
{
	int first = check_init(argc, argv, "pattern");
	size_t mib = first < argc ? strtoul(argv[first], NULL, 10) : 64;
	uint64_t writes = 0, seen[NTHREADS] = { 0 };
	pid_t pid = getpid();

	g_pause = first + 1 < argc ? (unsigned)strtoul(argv[first + 1], NULL, 10) : 0;
	g_pages = mib * 1024 * 1024 / PAGE;
	g_memory = mmap(NULL, g_pages * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
			-1, 0);
	g_generation = calloc(g_pages, sizeof(*g_generation));
	need(g_memory != MAP_FAILED && g_generation && g_pages >= NTHREADS);
	for (int i = 0; i < NTHREADS; i++) {
		g_workers[i].index = i;
		need(!pthread_create(&g_workers[i].thread, NULL, worker_main, &g_workers[i]));
	}
	for (int i = 0; i < NTHREADS; i++) {
		while (!g_workers[i].passes && !check_stopping())
			check_sleep_ms(1);
	}
	/* The first beat says that all of the memory has been written. */
	while (!check_stopping()) {
		check_beat();
		check_sleep_ms(20);
		check((pid_t)syscall(SYS_getpid) == pid, "PID %d became %d", pid,
		      (int)syscall(SYS_getpid));
	}
	for (int i = 0; i < NTHREADS; i++)
		seen[i] = g_workers[i].writes;
	for (int i = 0; i < NTHREADS; i++) {
		for (int n = 0; g_workers[i].writes == seen[i]; n++) {
			struct timespec ms = { 0, 1000000 };

			nanosleep(&ms, NULL);
			if (n > 5000) {
				check_fail("thread %d stands still", i);
				break;
			}
		}
	}
	g_end = true;
	for (int i = 0; i < NTHREADS; i++) {
		pthread_join(g_workers[i].thread, NULL);
		writes += g_workers[i].writes;
	}
	final_check();
	check_done("%zu MiB, %llu pages written", mib, (unsigned long long)writes);
}
