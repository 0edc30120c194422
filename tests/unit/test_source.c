/* Memory sources: what is read, what is no memory, what is an error; and which
 * pages hold data. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "libcor/base/cleanup.h"
#include "libcor/base/compat.h"
#include "libcor/base/io.h"
#include "libcor/paging/pagemap.h"
#include "libcor/paging/source.h"
#include "libcor/paging/vma.h"
#include "tests/thp.h"

#define P 4096u
#define BIG_RUNS 64

/* What the child maps, at addresses that the parent reserves before the fork. */
struct layout {
	char *anon;      /* 0 data, 1 zero page, 2 untouched, 3 PROT_NONE with data, 4 unmapped, 5 data */
	char *file;      /* private: 0 clean, 1 written, 2 not touched, 3 behind the end */
	char *guard;     /* 0 data, 1 guard page, 2 data */
	int   file_fd, object_fd;
	pid_t pid;
	struct cor_source *source;
};

static int temporary_file(size_t size)
{
	int fd = open("/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, (off_t)size), 0);
	return fd;
}

static void fill(int fd, unsigned page, int byte)
{
	char buf[P];

	memset(buf, byte, sizeof(buf));
	assert_int_equal(pwrite(fd, buf, sizeof(buf), (off_t)page * P), sizeof(buf));
}

static char *reserve(unsigned npages, int fd)
{
	char *p = mmap(NULL, npages * P, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | (fd < 0 ? MAP_ANONYMOUS : 0), fd, 0);

	assert_ptr_not_equal(p, MAP_FAILED);
	return p;
}

/* What a page that was only read is: 0 pages, the kernel's zero page, or, with a kernel that
 * has none to share, 1 of its own. */
static unsigned only_read(void)
{
	_cleanup_close_ int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	char *p = reserve(2, -1);
	volatile char c = p[0];
	uint64_t entries[2];

	c = p[P];
	(void)c;
	assert_int_equal(pread(fd, entries, sizeof(entries), (off_t)((uintptr_t)p / P * 8)),
			 sizeof(entries));
	munmap(p, 2 * P);
	return entries[0] != entries[1];
}

static _Noreturn void child(const struct layout *l, int ready)
{
	volatile char c;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	memset(l->anon, 'a', P);
	c = l->anon[P];
	memset(l->anon + 3 * P, 'n', P);
	mprotect(l->anon + 3 * P, P, PROT_NONE);
	munmap(l->anon + 4 * P, P);
	memset(l->anon + 5 * P, 'b', P);
	c = l->file[0];
	memset(l->file + P, 'w', P);
	memset(l->guard, 'g', 3 * P);
	c = (char)madvise(l->guard + P, P, MADV_GUARD_INSTALL);
	(void)c;
	if (write(ready, "x", 1) != 1)
		_exit(1);
	for (;;)
		pause();
}

static int start(void **state)
{
	struct layout *l = calloc(1, sizeof(*l));
	int ready[2];
	char c;

	assert_non_null(l);
	*state = l;
	l->file_fd = temporary_file(3 * P - 100);
	fill(l->file_fd, 0, 'f');
	fill(l->file_fd, 1, 'f');
	l->object_fd = memfd_create("object", MFD_CLOEXEC);
	assert_int_equal(ftruncate(l->object_fd, 8 * P), 0);
	fill(l->object_fd, 2, 'o');
	fill(l->object_fd, 3, 'p');
	fill(l->object_fd, 6, 'q');
	l->anon = reserve(6, -1);
	l->file = reserve(4, l->file_fd);
	l->guard = reserve(3, -1);
	assert_int_equal(pipe2(ready, O_CLOEXEC), 0);
	l->pid = fork();
	if (l->pid == 0)
		child(l, ready[1]);
	close(ready[1]);
	assert_int_equal(read(ready[0], &c, 1), 1);
	close(ready[0]);
	return cor_source_process(&l->source, l->pid, NULL);
}

static int stop(void **state)
{
	struct layout *l = *state;

	cor_source_close(l->source);
	kill(l->pid, SIGKILL);
	waitpid(l->pid, NULL, 0);
	munmap(l->anon, 6 * P);
	munmap(l->file, 4 * P);
	munmap(l->guard, 3 * P);
	close(l->file_fd);
	close(l->object_fd);
	free(l);
	return 0;
}

static int get(struct cor_source *s, uint16_t object, const void *offset, unsigned npages, char *buf)
{
	return s->ops->read(s, object, (uintptr_t)offset, npages, buf);
}

static void assert_all(const char *buf, int byte, size_t len)
{
	for (size_t i = 0; i < len; i++)
		assert_int_equal(buf[i], byte);
}

/* Reads addr's page alone and as the first of a longer run: two ways inside. */
static void assert_reads(struct layout *l, const char *addr, int expected, int byte)
{
	char buf[2 * P];

	memset(buf, 'X', sizeof(buf));
	assert_int_equal(get(l->source, 0, addr, 1, buf), expected);
	if (expected > 0)
		assert_all(buf, byte, P);
	memset(buf, 'X', sizeof(buf));
	if (expected <= 0)
		assert_int_equal(get(l->source, 0, addr, 2, buf), expected);
	else
		assert_true(get(l->source, 0, addr, 2, buf) >= expected);
	if (expected > 0)
		assert_all(buf, byte, P);
}

static void data_is_read(void **state)
{
	struct layout *l = *state;

	assert_reads(l, l->anon, 1, 'a');
	assert_reads(l, l->file + P, 1, 'w');
	assert_reads(l, l->file, 1, 'f');
}

static void untouched_memory_reads_as_zero(void **state)
{
	struct layout *l = *state;

	assert_reads(l, l->anon + P, 1, 0);
	assert_reads(l, l->anon + 2 * P, 1, 0);
}

static void data_without_permission_is_read(void **state)
{
	struct layout *l = *state;

	assert_reads(l, l->anon + 3 * P, 1, 'n');
}

static void run_stops_before_what_cannot_be_read_at_once(void **state)
{
	struct layout *l = *state;
	char buf[6 * P];

	assert_int_equal(get(l->source, 0, l->anon, 6, buf), 3);
	assert_int_equal(get(l->source, 0, l->anon + 3 * P, 3, buf), 1);
}

static void unmapped_memory_is_gone(void **state)
{
	struct layout *l = *state;

	assert_reads(l, l->anon + 4 * P, 0, 0);
	assert_reads(l, (char *)P, 0, 0);
	assert_reads(l, (char *)(UINT64_C(1) << 60), 0, 0);
	assert_reads(l, (char *)(UINT64_MAX & ~(uint64_t)(P - 1)) - P, 0, 0);
}

static void behind_the_end_of_a_file_is_gone(void **state)
{
	struct layout *l = *state;

	assert_reads(l, l->file + 3 * P, 0, 0);
}

static void guard_page_is_gone(void **state)
{
	struct layout *l = *state;

	if (madvise(l->guard, P, MADV_GUARD_INSTALL) < 0)
		skip();          /* before 6.13 */
	assert_reads(l, l->guard + P, 0, 0);
	assert_reads(l, l->guard + 2 * P, 1, 'g');
}

static void unreadable_mapping_is_an_error_and_not_zeros(void **state)
{
	struct layout *l = *state;
	struct cor_vma_view view;
	struct cor_vma vma;
	uint64_t at = 0;
	char path[32], buf[P], *line;

	/* [vvar] is a mapping of the kernel's own, which no one may copy */
	snprintf(path, sizeof(path), "/proc/%d", l->pid);
	_cleanup_close_ int dir = open(path, O_PATH | O_CLOEXEC);

	snprintf(path, sizeof(path), "/proc/%d/maps", l->pid);
	assert_int_equal(cor_vma_open(&view, dir), 0);
	_cleanup_free_ char *text = NULL;
	assert_int_equal(cor_slurp(AT_FDCWD, path, &text, NULL), 0);
	line = strstr(text, "[vvar]");
	assert_non_null(line);
	while (line > text && line[-1] != '\n')
		line--;
	at = strtoull(line, NULL, 16);
	assert_int_equal(cor_vma_find(&view, at, &vma), 0);
	assert_int_equal(vma.start, at);
	cor_vma_close(&view);
	/* its pages that hold something may be copied; the last one holds nothing */
	at = vma.end - P;
	assert_int_equal(get(l->source, 0, (void *)(uintptr_t)at, 1, buf), -EIO);
}

static void dead_process_is_an_error(void **state)
{
	struct layout *l = *state;
	char buf[2 * P];

	kill(l->pid, SIGKILL);
	waitid(P_PID, (id_t)l->pid, NULL, WEXITED | WNOWAIT);
	assert_int_equal(get(l->source, 0, l->anon, 1, buf), -ESRCH);
	assert_int_equal(get(l->source, 0, l->anon, 2, buf), -ESRCH);
}

/* The first mapping of pid as it is now. */
static uint64_t first_mapping(pid_t pid)
{
	_cleanup_free_ char *text = NULL;
	char path[32];

	snprintf(path, sizeof(path), "/proc/%d/maps", pid);
	assert_int_equal(cor_slurp(AT_FDCWD, path, &text, NULL), 0);
	return strtoull(text, NULL, 16);
}

static void exec_does_not_lend_the_new_program(void **state)
{
	int go[2], gone[2];
	struct cor_source *s;
	char buf[2 * P];
	uint64_t at;
	pid_t pid;

	assert_int_equal(pipe2(go, O_CLOEXEC), 0);
	assert_int_equal(pipe2(gone, O_CLOEXEC), 0);
	pid = fork();
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (read(go[0], buf, 1) == 1)
			execl("/bin/sleep", "sleep", "1000", NULL);
		_exit(1);
	}
	close(gone[1]);
	assert_int_equal(cor_source_process(&s, pid, NULL), 0);
	assert_int_equal(write(go[1], "x", 1), 1);
	assert_int_equal(read(gone[0], buf, 1), 0);     /* closed by the exec */
	at = first_mapping(pid);
	assert_int_equal(get(s, 0, (void *)(uintptr_t)at, 1, buf), -ESRCH);
	assert_int_equal(get(s, 0, (void *)(uintptr_t)at, 2, buf), -ESRCH);
	cor_source_close(s);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	close(go[0]);
	close(go[1]);
	close(gone[0]);
}

static void missing_process_is_refused_by_name(void **state)
{
	struct cor_source *s;
	struct cor_error err;

	assert_int_equal(cor_source_process(&s, 0x7ffffff0, &err), -ESRCH);
	assert_non_null(strstr(err.text, "2147483632"));
}

static unsigned presence(struct cor_source *s, uint16_t object, const void *from, unsigned npages,
			 struct cor_page_run *runs)
{
	uint64_t offset = (uintptr_t)from, end = offset + npages * (uint64_t)P, next = 0;
	int n = s->ops->presence(s, object, offset, npages, runs, BIG_RUNS, &next);

	assert_true(n >= 0);
	assert_true(next == end);
	return (unsigned)n;
}

static void only_own_pages_are_present(void **state)
{
	struct cor_page_run runs[BIG_RUNS];
	struct layout *l = *state;

	assert_int_equal(presence(l->source, 0, l->anon, 6, runs), 3);
	assert_ptr_equal(runs[0].offset, l->anon);
	assert_int_equal(runs[0].npages, 1 + only_read());
	assert_ptr_equal(runs[1].offset, l->anon + 3 * P);
	assert_ptr_equal(runs[2].offset, l->anon + 5 * P);
	assert_int_equal(presence(l->source, 0, l->file, 4, runs), 1);
	assert_ptr_equal(runs[0].offset, l->file + P);
	assert_int_equal(runs[0].npages, 1);
}

static void whole_files_are_present_when_asked(void **state)
{
	struct cor_page_run runs[BIG_RUNS];
	struct layout *l = *state;

	cor_source_process_whole_files(l->source);
	assert_int_equal(presence(l->source, 0, l->file, 4, runs), 1);
	assert_ptr_equal(runs[0].offset, l->file);
	assert_int_equal(runs[0].npages, 4);
	assert_int_equal(presence(l->source, 0, l->anon, 6, runs), 3);
}

static void presence_goes_on_where_it_stopped(void **state)
{
	struct layout *l = *state;
	uint64_t offset = (uintptr_t)l->anon, end = offset + 6 * P;
	struct cor_page_run run;
	unsigned found = 0;

	while (offset < end) {
		uint64_t next = 0;
		int n = l->source->ops->presence(l->source, 0, offset, (end - offset) / P, &run, 1, &next);

		assert_true(n >= 0 && next > offset);
		found += (unsigned)n;
		offset = next;
	}
	assert_int_equal(found, 3);
}

static void both_ways_to_look_at_the_pagemap_agree(void **state)
{
	struct cor_page_run scan[BIG_RUNS], plain[BIG_RUNS];
	struct layout *l = *state;
	struct cor_pagemap map;
	uint64_t from = (uintptr_t)l->guard, next, next_plain;
	char path[32];
	int n;

	snprintf(path, sizeof(path), "/proc/%d", l->pid);
	_cleanup_close_ int dir = open(path, O_PATH | O_CLOEXEC);

	assert_int_equal(cor_pagemap_open(&map, dir), 0);
	if (!map.scan)
		skip();          /* before 6.7 */
	n = cor_pagemap_runs(&map, from, from + 3 * P, scan, BIG_RUNS, &next);
	assert_true(n > 0);
	map.scan = false;
	assert_int_equal(cor_pagemap_runs(&map, from, from + 3 * P, plain, BIG_RUNS, &next_plain), n);
	assert_memory_equal(scan, plain, (size_t)n * sizeof(scan[0]));
	assert_true(next == next_plain);
	/* the plain way cannot tell the zero page from data: one page more at most */
	from = (uintptr_t)l->file;
	assert_int_equal(cor_pagemap_runs(&map, from, from + 4 * P, plain, BIG_RUNS, &next), 1);
	assert_true(plain[0].offset == from + P);
	cor_pagemap_close(&map);
}

/* One of two is huge, as far as this kernel lets us make one. */
static void huge_pages_are_told(void **state)
{
	struct cor_page_run runs[BIG_RUNS];
	char *mem = thp_room(2);
	struct cor_pagemap map;
	uint64_t from = (uintptr_t)mem, next;

	assert_true(mem != MAP_FAILED);
	madvise(mem, 2 * THP, MADV_NOHUGEPAGE);
	memset(mem, 'h', 2 * THP);
	madvise(mem, THP, MADV_HUGEPAGE);
	_cleanup_close_ int dir = open("/proc/self", O_PATH | O_CLOEXEC);

	assert_int_equal(cor_pagemap_open(&map, dir), 0);
	if (madvise(mem, THP, MADV_COLLAPSE) == 0) {
		assert_int_equal(cor_pagemap_runs(&map, from, from + 2 * THP, runs, BIG_RUNS, &next), 2);
		assert_true(runs[0].offset == from && runs[0].npages == 512);
		assert_int_equal(runs[0].flags, COR_RUN_HUGE);
		assert_true(runs[1].offset == from + THP && runs[1].npages == 512);
		assert_int_equal(runs[1].flags, 0);
		/* as on a kernel without PAGEMAP_SCAN */
		map.scan = false;
		map.kpageflags = open("/proc/kpageflags", O_RDONLY | O_CLOEXEC);
		assert_int_equal(cor_pagemap_runs(&map, from, from + 2 * THP, runs, BIG_RUNS, &next),
				 map.kpageflags < 0 ? 1 : 2);
		assert_int_equal(runs[0].flags, map.kpageflags < 0 ? 0 : COR_RUN_HUGE);
	}
	cor_pagemap_close(&map);
	munmap(mem, 2 * THP);
}

static void text_of_maps_finds_the_same_mapping(void **state)
{
	struct layout *l = *state;
	struct cor_vma_view view;
	struct cor_vma a, b;
	char path[32];

	snprintf(path, sizeof(path), "/proc/%d", l->pid);
	_cleanup_close_ int dir = open(path, O_PATH | O_CLOEXEC);

	assert_int_equal(cor_vma_open(&view, dir), 0);
	for (uint64_t at = 0; ; at = b.end) {
		int r = cor_vma_find(&view, at, &a);

		view.query = !view.query;
		assert_int_equal(cor_vma_find(&view, at, &b), r);
		view.query = !view.query;
		if (r == -ENOENT)
			break;
		assert_int_equal(r, 0);
		assert_true(a.start == b.start && a.end == b.end && a.offset == b.offset &&
			    a.inode == b.inode);
	}
	cor_vma_close(&view);
}

static void object_is_read_through_its_descriptor(void **state)
{
	struct cor_page_run runs[BIG_RUNS];
	struct layout *l = *state;
	char buf[8 * P];

	assert_int_equal(cor_source_process_add_object(l->source, 1, dup(l->object_fd), NULL), 0);
	assert_int_equal(get(l->source, 1, (void *)(2 * P), 2, buf), 2);
	assert_all(buf, 'o', P);
	assert_all(buf + P, 'p', P);
	assert_int_equal(get(l->source, 1, NULL, 1, buf), 1);
	assert_all(buf, 0, P);
	assert_int_equal(get(l->source, 1, (void *)(8 * P), 1, buf), 0);
	assert_int_equal(get(l->source, 1, (void *)(7 * P), 4, buf), 1);
	assert_int_equal(presence(l->source, 1, NULL, 20, runs), 2);
	assert_true(runs[0].offset == 2 * P && runs[0].npages == 2);
	assert_true(runs[1].offset == 6 * P && runs[1].npages == 1);
}

static void unknown_object_is_an_error(void **state)
{
	struct cor_page_run runs[1];
	struct layout *l = *state;
	uint64_t next;
	char buf[P];

	assert_int_equal(get(l->source, 1, NULL, 1, buf), -ENOENT);
	assert_int_equal(l->source->ops->presence(l->source, 7, 0, 1, runs, 1, &next), -ENOENT);
	assert_int_equal(cor_source_process_add_object(l->source, 2, dup(l->object_fd), NULL), -EINVAL);
}

static void window_is_a_fence(void **state)
{
	struct cor_page_run runs[BIG_RUNS];
	struct cor_source *process, *w;
	struct layout *l = *state;
	char buf[8 * P];

	assert_int_equal(cor_source_process(&process, l->pid, NULL), 0);
	assert_int_equal(cor_source_window(&w, process, (uintptr_t)l->anon, 3 * P, NULL), 0);
	assert_int_equal(get(w, 0, NULL, 8, buf), 3);
	assert_all(buf, 'a', P);
	assert_int_equal(get(w, 0, (void *)(3 * P), 1, buf), 0);
	assert_int_equal(get(w, 0, l->anon, 1, buf), 0);
	assert_int_equal(get(w, 1, NULL, 1, buf), -ENOENT);
	assert_int_equal(presence(w, 0, NULL, 100, runs), 1);
	/* the child has read the second of them, and we the third */
	assert_true(runs[0].offset == 0 && runs[0].npages == 1 + 2 * only_read());
	cor_source_close(w);
}

static void unaligned_window_is_refused(void **state)
{
	struct cor_source *w;
	char c = 0;

	assert_int_equal(cor_source_self(&w, &c, P, NULL), -EINVAL);
	assert_int_equal(cor_source_self(&w, NULL, 0, NULL), -EINVAL);
}

static void own_memory_is_read_without_touching_it(void **state)
{
	char *p = reserve(4, -1), buf[4 * P];
	struct cor_page_run runs[BIG_RUNS];
	struct cor_source *s;

	memset(p + P, 's', P);
	mprotect(p + P, P, PROT_NONE);
	munmap(p + 3 * P, P);
	assert_int_equal(cor_source_self(&s, p, 4 * P, NULL), 0);
	assert_int_equal(presence(s, 0, NULL, 4, runs), 1);
	assert_true(runs[0].offset == P && runs[0].npages == 1);
	assert_int_equal(get(s, 0, (void *)P, 1, buf), 1);
	assert_all(buf, 's', P);
	assert_int_equal(get(s, 0, (void *)(3 * P), 1, buf), 0);
	cor_source_close(s);
	munmap(p, 3 * P);
}

static void file_ends_where_it_was_said_to(void **state)
{
	int fd = temporary_file(4 * P);
	struct cor_page_run runs[BIG_RUNS];
	struct cor_source *s;
	char buf[4 * P];

	fill(fd, 0, 'x');
	fill(fd, 3, 'y');
	assert_int_equal(cor_source_file(&s, fd, P, 2 * P + 10, NULL), 0);
	assert_int_equal(get(s, 0, NULL, 4, buf), 3);
	assert_all(buf, 0, 2 * P);
	assert_all(buf + 2 * P, 'y', 10);
	assert_all(buf + 2 * P + 10, 0, P - 10);
	assert_int_equal(get(s, 0, (void *)(3 * P), 1, buf), 0);
	assert_int_equal(presence(s, 0, NULL, 10, runs), 1);
	assert_true(runs[0].offset == 2 * P && runs[0].npages == 1);
	cor_source_close(s);
}

static void truncated_file_is_gone(void **state)
{
	int fd = temporary_file(4 * P);
	struct cor_source *s;
	char buf[P];

	assert_int_equal(cor_source_file(&s, fd, 0, 4 * P, NULL), 0);
	assert_int_equal(ftruncate(fd, P), 0);
	assert_int_equal(get(s, 0, NULL, 1, buf), 1);
	assert_int_equal(get(s, 0, (void *)P, 1, buf), 0);
	cor_source_close(s);
}

#define process_test(f) cmocka_unit_test_setup_teardown(f, start, stop)

int main(void)
{
	const struct CMUnitTest tests[] = {
		process_test(data_is_read),
		process_test(untouched_memory_reads_as_zero),
		process_test(data_without_permission_is_read),
		process_test(run_stops_before_what_cannot_be_read_at_once),
		process_test(unmapped_memory_is_gone),
		process_test(behind_the_end_of_a_file_is_gone),
		process_test(guard_page_is_gone),
		process_test(unreadable_mapping_is_an_error_and_not_zeros),
		process_test(dead_process_is_an_error),
		cmocka_unit_test(exec_does_not_lend_the_new_program),
		cmocka_unit_test(missing_process_is_refused_by_name),
		process_test(only_own_pages_are_present),
		process_test(whole_files_are_present_when_asked),
		process_test(presence_goes_on_where_it_stopped),
		process_test(both_ways_to_look_at_the_pagemap_agree),
		cmocka_unit_test(huge_pages_are_told),
		process_test(text_of_maps_finds_the_same_mapping),
		process_test(object_is_read_through_its_descriptor),
		process_test(unknown_object_is_an_error),
		process_test(window_is_a_fence),
		cmocka_unit_test(unaligned_window_is_refused),
		cmocka_unit_test(own_memory_is_read_without_touching_it),
		cmocka_unit_test(file_ends_where_it_was_said_to),
		cmocka_unit_test(truncated_file_is_gone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
