/* Maps, unmaps, moves, grows, shrinks, protects and advises memory, and forks
 * children that verify and write what they inherit, all the while. Two threads
 * churn, each in slots of its own; every page's contents are known. */
#include "check.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>

#define PAGE 4096ul
#define SLOTS 24
#define MAX_PAGES 256
#define NTHREADS 2

/* A page with seed 0 reads as zero. */
struct slot {
	char *at;
	size_t pages;
	bool patched;           /* may be several mappings: mremap would refuse it */
	uint64_t seed[MAX_PAGES];
};

static struct churner {
	pthread_t thread;
	uint64_t random;
	struct slot slots[SLOTS];
	_Atomic uint64_t rounds;
} g_churners[NTHREADS];
static atomic_bool g_end;
static bool g_fork = true;
static uint64_t g_forks;

static uint64_t draw(struct churner *c, uint64_t below)
{
	c->random = check_mix(c->random);
	return c->random % below;
}

/* First and last words only mostly, the whole page now and then: verifying must
 * not fault in everything at once. */
static bool page_right(const struct slot *s, size_t i, bool whole)
{
	const char *page = s->at + i * PAGE;
	uint64_t first;

	if (!whole) {
		memcpy(&first, page, 8);
		return first == (s->seed[i] ? check_mix(s->seed[i]) : 0);
	}
	if (s->seed[i])
		return check_differs(page, PAGE, s->seed[i]) < 0;
	for (size_t j = 0; j < PAGE; j++) {
		if (page[j])
			return false;
	}
	return true;
}

static void write_pages(struct churner *c, struct slot *s, size_t from, size_t n)
{
	for (size_t i = from; i < from + n; i++) {
		s->seed[i] = draw(c, ~0ull - 1) + 1;
		check_fill(s->at + i * PAGE, PAGE, s->seed[i]);
	}
}

static void make(struct churner *c, struct slot *s)
{
	s->pages = 1 + draw(c, MAX_PAGES / 2);
	s->at = mmap(NULL, s->pages * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
		     -1, 0);
	if (s->at == MAP_FAILED) {
		check_fail("mmap: %s", strerror(errno));
		s->at = NULL;
		return;
	}
	s->patched = false;
	memset(s->seed, 0, sizeof(s->seed));
	write_pages(c, s, 0, 1 + draw(c, s->pages));
}

static void drop(struct slot *s)
{
	check(!munmap(s->at, s->pages * PAGE), "munmap: %s", strerror(errno));
	s->at = NULL;
}

static void resize(struct churner *c, struct slot *s)
{
	size_t pages = 1 + draw(c, MAX_PAGES);
	char *at = mremap(s->at, s->pages * PAGE, pages * PAGE, MREMAP_MAYMOVE);

	if (at == MAP_FAILED) {
		check_fail("mremap: %s", strerror(errno));
		return;
	}
	for (size_t i = s->pages; i < pages; i++)
		s->seed[i] = 0;
	s->at = at;
	s->pages = pages;
}

/* To an address of our choosing, over an inaccessible mapping made for it. */
static void relocate(struct slot *s)
{
	char *to = mmap(NULL, s->pages * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	char *at = mremap(s->at, s->pages * PAGE, s->pages * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED,
			  to);

	if (at == MAP_FAILED)
		check_fail("mremap to %p: %s", (void *)to, strerror(errno));
	else
		s->at = at;
}

static void advise(struct churner *c, struct slot *s)
{
	size_t from = draw(c, s->pages), n = 1 + draw(c, s->pages - from);

	check(!madvise(s->at + from * PAGE, n * PAGE, MADV_DONTNEED), "madvise: %s",
	      strerror(errno));
	memset(&s->seed[from], 0, n * sizeof(*s->seed));
}

/* A hole in the middle, filled again with fresh memory. */
static void punch(struct churner *c, struct slot *s)
{
	size_t from = draw(c, s->pages), n = 1 + draw(c, s->pages - from);
	char *at = s->at + from * PAGE;

	check(mmap(at, n * PAGE, PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == at, "mmap over a hole: %s",
	      strerror(errno));
	s->patched = true;
	memset(&s->seed[from], 0, n * sizeof(*s->seed));
}

static void protect(struct churner *c, struct slot *s)
{
	size_t i = draw(c, s->pages);
	char *at = s->at + i * PAGE;

	check(!mprotect(at, PAGE, PROT_NONE) && !mprotect(at, PAGE, PROT_READ), "mprotect: %s",
	      strerror(errno));
	check(page_right(s, i, true), "page %zu behind PROT_NONE", i);
	check(!mprotect(at, PAGE, PROT_READ | PROT_WRITE), "mprotect: %s", strerror(errno));
}

static void verify(struct churner *c, struct slot *s)
{
	for (size_t i = 0; i < s->pages; i++) {
		bool whole = draw(c, 8) == 0;

		if (page_right(s, i, whole))
			continue;
		check_fail("page %zu of %zu at %p is wrong", i, s->pages, (void *)(s->at + i * PAGE));
		return;
	}
}

static void one_step(struct churner *c)
{
	struct slot *s = &c->slots[draw(c, SLOTS)];

	if (!s->at) {
		make(c, s);
		return;
	}
	verify(c, s);
	switch (draw(c, 8)) {
	case 0: drop(s); break;
	case 1: s->patched ? drop(s) : resize(c, s); break;
	case 2: s->patched ? drop(s) : relocate(s); break;
	case 3: advise(c, s); break;
	case 4: punch(c, s); break;
	case 5: protect(c, s); break;
	default:
		write_pages(c, s, draw(c, s->pages), 1);
	}
}

static void *churn_main(void *arg)
{
	struct churner *c = arg;

	while (!g_end) {
		for (int i = 0; i < 20 && !g_end; i++)
			one_step(c);
		c->rounds++;
		check_sleep_ms(1);
	}
	return NULL;
}

/* The memory that children verify: main's own, so that no thread changes it while it forks. */
static struct churner g_own;

static int child_main(void)
{
	int wrong = 0;

	for (int i = 0; i < SLOTS; i++) {
		struct slot *s = &g_own.slots[i];

		for (size_t j = 0; s->at && j < s->pages; j++) {
			wrong += !page_right(s, j, true);
			memset(s->at + j * PAGE, 0xee, PAGE);
		}
	}
	return wrong ? 1 : 0;
}

static void fork_one(void)
{
	int status = 0;
	pid_t pid = fork();

	if (pid == 0)
		_exit(child_main());
	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		check_fail("fork or wait: %s", strerror(errno));
	else
		check(WIFEXITED(status) && WEXITSTATUS(status) == 0,
		      "a child found wrong memory: status %#x", status);
	g_forks++;
}

/* -p and kinds as usual; the kind "no-fork" leaves the children out. */
int main(int argc, char **argv)
{
	int first = check_init(argc, argv, "churn");

	if (first < argc && !strcmp(argv[first], "no-fork"))
		g_fork = false;
	g_own.random = 99;
	for (int i = 0; i < NTHREADS; i++) {
		g_churners[i].random = (uint64_t)i + 1;
		need(!pthread_create(&g_churners[i].thread, NULL, churn_main, &g_churners[i]));
	}
	while (!check_stopping()) {
		for (int i = 0; i < 20; i++)
			one_step(&g_own);
		if (g_fork)
			fork_one();
		check_beat();
		check_sleep_ms(10);
	}
	g_end = true;
	for (int i = 0; i < NTHREADS; i++) {
		pthread_join(g_churners[i].thread, NULL);
		check(g_churners[i].rounds > 0, "thread %d did nothing", i);
	}
	for (int t = 0; t < NTHREADS; t++) {
		for (int i = 0; i < SLOTS; i++) {
			if (g_churners[t].slots[i].at)
				verify(&g_churners[t], &g_churners[t].slots[i]);
		}
	}
	check_done("%llu forks", (unsigned long long)g_forks);
}
