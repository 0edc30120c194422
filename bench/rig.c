/* Ghosts and tasks for the paging measurements. */
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench/rig.h"
#include "libcor/base/compat.h"
#include "libcor/base/io.h"

#define PAGE 4096u

/* --- ghost ------------------------------------------------------------------- */
void ghost_start(struct ghost *g, size_t size)
{
	int status;

	*g = (struct ghost){ 0 };
	/* Reserved here, so that nothing else of ours takes the address. */
	g->base = mmap(NULL, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (g->base == MAP_FAILED)
		err(1, "address space for %zu bytes", size);
	g->size = size;
	g->pid = fork_child();
	if (!g->pid) {
		if (mmap(g->base, size, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == MAP_FAILED)
			_exit(1);
		memset(g->base, 0x5a, size);
		for (size_t i = 0; i < size / PAGE; i++)
			*(uint64_t *)(g->base + i * PAGE) = page_word(i);
		raise(SIGSTOP);
		_exit(0);
	}
	while (waitpid(g->pid, &status, WUNTRACED) < 0)
		if (errno != EINTR)
			err(1, "ghost");
	if (!WIFSTOPPED(status))
		errx(1, "the ghost of %zu bytes did not start: is there memory for it?", size);
}

void ghost_end(struct ghost *g)
{
	end_child(g->pid);
	munmap(g->base, g->size);
	g->pid = 0;
}

void ghost_apart(struct ghost *g)
{
	cpu_set_t ours;
	int all, moved = 0;

	if (sched_getaffinity(0, sizeof(ours), &ours))
		err(1, "sched_getaffinity");
	all = CPU_COUNT(&ours);
	if (all < 2)
		errx(1, "two hosts apart need two processors, and there is one");
	CPU_ZERO(&g->processors);
	for (int i = 0; i < CPU_SETSIZE && moved < all / 2; i++) {
		if (!CPU_ISSET(i, &ours))
			continue;
		CPU_CLR(i, &ours);
		CPU_SET(i, &g->processors);
		moved++;
	}
	g->apart = true;
	if (sched_setaffinity(0, sizeof(ours), &ours))
		err(1, "sched_setaffinity");
}

void ghost_host(const struct ghost *g)
{
	if (g->apart && sched_setaffinity(0, sizeof(g->processors), &g->processors))
		err(1, "sched_setaffinity");
}

/* --- the task's side --------------------------------------------------------- */
struct walker {
	const struct order *order;
	char            *base;
	const uint32_t  *pages;
	size_t           begin, end;
	struct cor_hist  fault;
	uint64_t         wrong;
};

static void *walk(void *arg)
{
	struct walker *w = arg;

	for (size_t i = w->begin; i < w->end; i++) {
		uint32_t page = w->pages[i];
		uint64_t before, took, word;

		compute(w->order->compute_ns);
		before = cor_now_ns();
		word = *(volatile uint64_t *)(w->base + (size_t)page * PAGE);
		took = cor_now_ns() - before;
		if (took >= TOUCH_PRESENT_NS)
			cor_hist_add(&w->fault, took);
		w->wrong += word != page_word(page);
	}
	return NULL;
}

/* The pages to touch, in order; the caller's. */
static uint32_t *plan_walk(const struct order *o, size_t npages, size_t *count)
{
	uint32_t *pages = malloc(npages * sizeof(*pages));
	uint64_t seed = 88172645463325252ull;
	size_t n = 0, stride = o->walk == WALK_STRIDE ? o->stride : 1;

	if (!pages)
		return NULL;
	for (size_t first = 0; first < stride; first++)
		for (size_t p = first; p < npages; p += stride)
			pages[n++] = (uint32_t)p;
	for (size_t i = n; o->walk == WALK_RANDOM && i > 1; i--) {
		uint32_t swap = pages[i - 1];
		size_t j;

		seed ^= seed << 13;
		seed ^= seed >> 7;
		seed ^= seed << 17;
		j = seed % i;
		pages[i - 1] = pages[j];
		pages[j] = swap;
	}
	*count = o->count && o->count < n ? o->count : n;
	return pages;
}

/* Shared out so that every thread has a stretch of its own. */
static int obey(const struct order *o, char *base, size_t size, struct outcome *out)
{
	enum { MAX_THREADS = 64 };
	static struct walker w[MAX_THREADS];
	unsigned n = o->threads > MAX_THREADS ? MAX_THREADS : o->threads ? o->threads : 1;
	pthread_t thread[MAX_THREADS];
	size_t count;
	uint32_t *pages = plan_walk(o, size / PAGE, &count);
	uint64_t start;

	if (!pages)
		return -ENOMEM;
	cor_hist_init(&out->fault);
	out->wrong = 0;
	for (unsigned i = 0; i < n; i++) {
		w[i] = (struct walker){ .order = o, .base = base, .pages = pages,
			.begin = count * i / n, .end = count * (i + 1) / n };
		cor_hist_init(&w[i].fault);
	}
	start = cor_now_ns();
	for (unsigned i = 1; i < n; i++)
		if (pthread_create(&thread[i], NULL, walk, &w[i]))
			return -EAGAIN;
	walk(&w[0]);
	for (unsigned i = 1; i < n; i++)
		pthread_join(thread[i], NULL);
	out->wall_ns = cor_now_ns() - start;
	for (unsigned i = 0; i < n; i++) {
		cor_hist_merge(&out->fault, &w[i].fault);
		out->wrong += w[i].wrong;
	}
	free(pages);
	return 0;
}

static uint64_t resident(char *base, size_t size)
{
	char *map = NULL;
	unsigned long from, to, kb = 0;
	bool inside = false;

	if (cor_slurp(AT_FDCWD, "/proc/self/smaps", &map, NULL))
		return 0;
	for (char *save, *line = strtok_r(map, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		if (sscanf(line, "%lx-%lx ", &from, &to) == 2)
			inside = from < (unsigned long)(base + size) && to > (unsigned long)base;
		else if (inside && !strncmp(line, "Rss:", 4))
			kb += strtoul(line + 4, NULL, 10);
	}
	free(map);
	return (uint64_t)kb << 10;
}

static void task_main(int sock, char *base, size_t size, struct outcome *out)
{
	int uffd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);
	struct order o;
	char done = 1;

	if (uffd < 0 || mmap(base, size, PROT_READ | PROT_WRITE,
			     MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE, -1, 0) == MAP_FAILED ||
	    cor_send_fds(sock, &done, 1, &uffd, 1))
		_exit(1);
	close(uffd);
	while (!cor_read_full(sock, &o, sizeof(o))) {
		if (obey(&o, base, size, out))
			_exit(1);
		out->rss = resident(base, size);
		if (cor_write_full(sock, &done, 1))
			break;
	}
	_exit(0);
}

/* --- our side ---------------------------------------------------------------- */
void task_start(struct task *t, const struct ghost *g)
{
	int pair[2];
	unsigned n = 1;
	char ok;

	t->base = g->base;
	t->size = g->size;
	t->outcome = mmap(NULL, sizeof(*t->outcome), PROT_READ | PROT_WRITE,
			  MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (t->outcome == MAP_FAILED || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair))
		err(1, "task");
	t->pid = fork_child();
	if (!t->pid) {
		close(pair[0]);
		task_main(pair[1], t->base, t->size, t->outcome);
	}
	close(pair[1]);
	t->sock = pair[0];
	if (cor_recv_fds(t->sock, &ok, 1, &t->uffd, &n) != 1 || n != 1)
		errx(1, "the task gave no userfaultfd: is it allowed (vm.unprivileged_userfaultfd)?");
}

void task_order(struct task *t, const struct order *o)
{
	if (cor_write_full(t->sock, o, sizeof(*o)))
		err(1, "task");
}

void task_wait(struct task *t)
{
	char done;
	int r = cor_read_full(t->sock, &done, 1);

	if (r) {
		errno = -r;
		err(1, "the task ended early");
	}
	if (t->outcome->wrong)
		errx(1, "%llu pages of the task are wrong", (unsigned long long)t->outcome->wrong);
}

void task_end(struct task *t)
{
	end_child(t->pid);
	t->pid = 0;
	close(t->sock);
	if (t->uffd >= 0)
		close(t->uffd);
	t->uffd = -1;
	munmap(t->outcome, sizeof(*t->outcome));
}
