/* Pages that will never come: which they are, and that nobody takes zeros for them. */
#include "tests/unit/pager_fixture.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

/* As long as somebody has the pager's ring mapped, what it polls stays open; a child that outlives
 * it must not. */
static void a_child_does_not_keep_the_ring(void **state)
{
	struct lazy *l = *state;
	int status;
	pid_t pid;

	lazy_start(l);
	assert_true(page_is(l, l->mem, 0, 0));
	pid = fork();
	if (!pid) {
		char line[512];
		FILE *f = fopen("/proc/self/maps", "r");

		while (f && fgets(line, sizeof(line), f))
			if (strstr(line, "[io_uring]"))
				_exit(1);
		_exit(f ? 0 : 2);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

static bool a_third(uint64_t page)
{
	return page % 3 == 0;
}

static void ranges_that_lack_pages_are_told(void **state)
{
	struct lazy *l = *state;
	struct cor_missing m[4];

	lazy_start(l);
	assert_true(page_is(l, l->mem, 0, 0));
	assert_true(page_is(l, l->mem, 7, 7));
	assert_int_equal(cor_pager_missing(l->pager, m, 4), 1);
	assert_int_equal(m[0].start, (uintptr_t)l->mem);
	assert_int_equal(m[0].len, NPAGES * P);
	assert_int_equal(m[0].pages, NPAGES - 2);
}

static void pages_that_are_zero_are_not_missing(void **state)
{
	struct lazy *l = *state;
	struct cor_missing m[4];

	l->toy.holds = a_third;
	lazy_start(l);
	cor_pager_prefetch(l->pager, false);
	while (!lazy_stats(l).presence_known)
		usleep(1000);
	assert_int_equal(cor_pager_missing(l->pager, m, 4), 1);
	assert_int_equal(m[0].pages, (NPAGES + 2) / 3);
}

static void when_all_is_there_nothing_is_missing(void **state)
{
	struct lazy *l = *state;
	struct cor_missing m[4];

	lazy_start(l);
	cor_pager_prefetch(l->pager, true);
	lazy_await(l, COR_PAGER_DRAINED);
	assert_int_equal(cor_pager_missing(l->pager, m, 4), 0);
}

/* A child that nobody knows of, with its copy of the memory. */
static pid_t start_child(struct lazy *l, int gate[2])
{
	pid_t child;

	assert_int_equal(pipe(gate), 0);
	child = fork();
	if (child == 0) {
		char byte;

		signal(SIGBUS, SIG_DFL);
		close(gate[1]);
		if (read(gate[0], &byte, 1) != 1)
			_exit(1);
		_exit(page_is_zero(l->mem, 5) ? 2 : 3);
	}
	close(gate[0]);
	return child;
}

static void who_touches_a_page_that_never_comes_gets_no_zeros(void **state)
{
	struct lazy *l = *state;
	int gate[2], status;
	pid_t child;

	lazy_start(l);
	child = start_child(l, gate);
	cor_pager_spoil(l->pager);
	cor_pager_free(l->pager);
	l->pager = NULL;
	assert_int_equal(write(gate[1], "x", 1), 1);
	assert_int_equal(waitpid(child, &status, 0), child);
	close(gate[1]);
	if (WIFEXITED(status) && WEXITSTATUS(status) == 2)
		skip();         /* a kernel without UFFDIO_POISON */
	assert_true(WIFSIGNALED(status));
	assert_int_equal(WTERMSIG(status), SIGBUS);
}

static void a_page_that_came_before_is_what_it_was(void **state)
{
	struct lazy *l = *state;

	lazy_start(l);
	assert_true(page_is(l, l->mem, 5, 5));
	cor_pager_spoil(l->pager);
	assert_true(page_is(l, l->mem, 5, 5));
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, lazy_setup, lazy_teardown)
	const struct CMUnitTest tests[] = {
		TEST(a_child_does_not_keep_the_ring),
		TEST(ranges_that_lack_pages_are_told),
		TEST(pages_that_are_zero_are_not_missing),
		TEST(when_all_is_there_nothing_is_missing),
		TEST(who_touches_a_page_that_never_comes_gets_no_zeros),
		TEST(a_page_that_came_before_is_what_it_was),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
