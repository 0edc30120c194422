/* A process whose memory lies in swap is read whole, and stays there. Where the host has no
 * swap, these make a file of their own for it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/swap.h>
#include <sys/sysinfo.h>
#include <sys/wait.h>
#include <unistd.h>

#include "libcor/base/cleanup.h"
#include "libcor/base/io.h"
#include "libcor/paging/pagemap.h"
#include "libcor/paging/source.h"

#define P      4096u
#define PAGES  4096u
#define RUN    64u
#define SWAP   (64u << 20)

static char g_file[64];         /* "": the host's own swap */
static char *g_memory;
static pid_t g_child;

/* The header of a swap area of one file, as mkswap(8) writes it. */
static bool make_swap(const char *path)
{
	struct { char boot[1024]; uint32_t version, last_page, bad; } head = {
		.version = 1, .last_page = SWAP / P - 1 };
	_cleanup_close_ int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	_cleanup_free_ char *block = calloc(1, 1 << 20);
	bool ok = fd >= 0 && block;

	for (unsigned i = 0; ok && i < SWAP >> 20; i++)
		ok = write(fd, block, 1 << 20) == 1 << 20;
	return ok && pwrite(fd, &head, sizeof(head), 0) == sizeof(head) &&
	       pwrite(fd, "SWAPSPACE2", 10, P - 10) == 10 && fsync(fd) == 0;
}

static int group_setup(void **state)
{
	struct sysinfo host;

	if (sysinfo(&host) == 0 && host.freeswap * host.mem_unit > SWAP)
		return 0;
	snprintf(g_file, sizeof(g_file), "test_swap.%d", getpid());
	if (make_swap(g_file) && swapon(g_file, 0) == 0)
		return 0;
	printf("# there is no swap here, nor leave to make some: %s\n", strerror(errno));
	unlink(g_file);
	g_file[0] = '\0';
	exit(77);
}

static int group_teardown(void **state)
{
	if (g_file[0] && (swapoff(g_file) < 0 || unlink(g_file) < 0))
		return -1;
	return 0;
}

static void fill_page(uint64_t *page, uint64_t n)
{
	for (unsigned i = 0; i < P / sizeof(*page); i++)
		page[i] = (n * 0x9e3779b97f4a7c15u) ^ (i * 0xff51afd7ed558ccdu);
}

static _Noreturn void child(void)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (unsigned i = 0; i < PAGES; i++)
		fill_page((uint64_t *)(g_memory + (size_t)i * P), i + 1);
	madvise(g_memory, (size_t)PAGES * P, MADV_PAGEOUT);
	raise(SIGSTOP);
	_exit(0);
}

/* Pages of the host that are on their way to a disk. */
static long under_writeback(void)
{
	_cleanup_fclose_ FILE *f = fopen("/proc/vmstat", "re");
	char line[128];
	long n;

	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "nr_writeback %ld", &n) == 1)
			return n;
	return 0;
}

/* A page is in swap for its process before it is on the disk, and the kernel does not put it
 * back until it is there. */
static void wait_for_writeback(void)
{
	for (int ms = 0; under_writeback() && ms < 20000; ms += 5)
		usleep(5000);
}

static int setup(void **state)
{
	int status;

	g_memory = mmap(NULL, (size_t)PAGES * P, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
			-1, 0);
	assert_ptr_not_equal(g_memory, MAP_FAILED);
	g_child = fork();
	assert_true(g_child >= 0);
	if (!g_child)
		child();
	assert_int_equal(waitpid(g_child, &status, WUNTRACED), g_child);
	assert_true(WIFSTOPPED(status));
	wait_for_writeback();
	return 0;
}

static int teardown(void **state)
{
	kill(g_child, SIGKILL);
	waitpid(g_child, NULL, 0);
	munmap(g_memory, (size_t)PAGES * P);
	return 0;
}

/* Pages of the child's that are in swap. */
static unsigned in_swap(void)
{
	struct cor_pagemap map;
	unsigned n = 0;
	char path[32];

	snprintf(path, sizeof(path), "/proc/%d", g_child);
	_cleanup_close_ int dir = open(path, O_PATH | O_CLOEXEC);

	assert_int_equal(cor_pagemap_open(&map, dir), 0);
	for (unsigned i = 0; i < PAGES; i += RUN)
		n += (unsigned)__builtin_popcountll(
			cor_pagemap_swapped(&map, (uintptr_t)g_memory + (size_t)i * P, RUN));
	cor_pagemap_close(&map);
	return n;
}

/* Reads pages in runs of so many and compares. */
static void read_all(unsigned run)
{
	static char buf[RUN * P] __attribute__((aligned(64)));
	struct cor_source *s;
	uint64_t right[P / sizeof(uint64_t)];

	assert_int_equal(cor_source_process(&s, g_child, NULL), 0);
	for (unsigned i = 0; i < PAGES; ) {
		int got = s->ops->read(s, 0, (uintptr_t)g_memory + (size_t)i * P, run, buf);

		assert_true(got > 0 && got <= (int)run);
		for (int k = 0; k < got; k++) {
			fill_page(right, i + (unsigned)k + 1);
			assert_memory_equal(buf + (size_t)k * P, right, P);
		}
		i += (unsigned)got;
	}
	cor_source_close(s);
}

static void runs_stay_in_swap(void **state)
{
	unsigned before = in_swap(), after;

	assert_true(before > PAGES / 2);
	read_all(RUN);
	after = in_swap();
	print_message("%u pages in swap, %u once all were read\n", before, after);
	assert_true(after >= before - before / 8);
}

static void single_pages_stay_once_swap_is_known(void **state)
{
	static char buf[RUN * P];
	unsigned before = in_swap(), after;
	struct cor_source *s;

	assert_int_equal(cor_source_process(&s, g_child, NULL), 0);
	assert_true(s->ops->read(s, 0, (uintptr_t)g_memory, RUN, buf) > 0);
	for (unsigned i = RUN; i < PAGES; i += 2)
		assert_int_equal(s->ops->read(s, 0, (uintptr_t)g_memory + (size_t)i * P, 1, buf), 1);
	cor_source_close(s);
	after = in_swap();
	assert_true(after >= before - before / 8);
}

/* Some of a run are in memory: they stay there. */
static void pages_in_memory_stay_too(void **state)
{
	unsigned before;
	char byte;
	char path[32];

	snprintf(path, sizeof(path), "/proc/%d/mem", g_child);
	_cleanup_close_ int mem = open(path, O_RDONLY | O_CLOEXEC);

	for (unsigned i = 0; i < PAGES; i += 3)
		assert_int_equal(pread(mem, &byte, 1, (off_t)((uintptr_t)g_memory + (size_t)i * P)), 1);
	before = in_swap();
	read_all(RUN);
	assert_true(in_swap() <= before);
	assert_true(in_swap() >= before - before / 8);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(runs_stay_in_swap, setup, teardown),
		cmocka_unit_test_setup_teardown(single_pages_stay_once_swap_is_known, setup, teardown),
		cmocka_unit_test_setup_teardown(pages_in_memory_stay_too, setup, teardown),
	};

	return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
