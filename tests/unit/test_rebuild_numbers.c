/* Numbers of threads that are in use here (handmade_fixture.h). */
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
#include <sys/wait.h>
#include <unistd.h>

#include "libcor/base/cleanup.h"
#include "libcor/base/io.h"
#include "libcor/task/spawn.h"
#include "tests/unit/handmade_fixture.h"

/* So that nobody is given the task's numbers in turn while the test runs. */
#define FROM_THE_END 2000

struct numbers {
	struct task *task;
	pid_t holder;           /* has the second thread's; 0: nobody does */
};

static int setup(void **state)
{
	struct numbers *n = calloc(1, sizeof(*n));
	_cleanup_free_ char *max = NULL;
	void *task;
	int r = handmade_setup(&task);

	*state = n;
	n->task = task;
	if (r || cor_slurp(AT_FDCWD, "/proc/sys/kernel/pid_max", &max, NULL) < 0)
		return -1;
	n->task->plan.force_pid_ns = false;
	n->task->identity.pid = atoi(max) - FROM_THE_END;
	for (int i = 0; i < 2; i++)
		n->task->thread[i].tid = n->task->identity.pid + i;
	return 0;
}

static void let_go(struct numbers *n)
{
	if (n->holder > 0) {
		kill(n->holder, SIGKILL);
		waitpid(n->holder, NULL, 0);
	}
	n->holder = 0;
}

static int teardown(void **state)
{
	struct numbers *n = *state;
	void *task = n->task;

	let_go(n);
	handmade_teardown(&task);
	free(n);
	return 0;
}

static void take(struct numbers *n)
{
	n->holder = cor_fork_as(0, n->task->thread[1].tid, false);
	if (n->holder == 0)
		for (;;)
			pause();
	assert_int_equal(n->holder, n->task->thread[1].tid);
}

/* The leader alone, in our PID namespace where it may be. */
static void begin(struct numbers *n)
{
	struct cor_error err = COR_ERROR_INIT;

	OK(cor_rebuild_begin(&n->task->rb, &n->task->plan, &err));
	n->task->image.n_threads = 2;
	if (cor_rebuild_pid(n->task->rb) != n->task->identity.pid) {
		print_message("PIDs cannot be chosen here\n");
		skip();
	}
}

static void free_number_fits(void **state)
{
	struct numbers *n = *state;

	begin(n);
	assert_int_equal(cor_rebuild_numbers_fit(n->task->rb, &n->task->image, NULL), 0);
}

static void taken_number_does_not_fit(void **state)
{
	struct numbers *n = *state;
	struct cor_error err = COR_ERROR_INIT;

	begin(n);
	take(n);
	assert_int_equal(cor_rebuild_numbers_fit(n->task->rb, &n->task->image, &err), -ESTALE);
	assert_non_null(strstr(err.text, "thread "));
	let_go(n);
	assert_int_equal(cor_rebuild_numbers_fit(n->task->rb, &n->task->image, NULL), 0);
}

static void all_numbers_fit_in_a_namespace_of_its_own(void **state)
{
	struct numbers *n = *state;
	struct cor_error err = COR_ERROR_INIT;

	n->task->plan.force_pid_ns = true;
	OK(cor_rebuild_begin(&n->task->rb, &n->task->plan, &err));
	n->task->image.n_threads = 2;
	if (!cor_may_choose_pids()) {
		print_message("PIDs cannot be chosen here\n");
		skip();
	}
	take(n);
	assert_int_equal(cor_rebuild_numbers_fit(n->task->rb, &n->task->image, NULL), 0);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(free_number_fits),
		T(taken_number_does_not_fit),
		T(all_numbers_fit_in_a_namespace_of_its_own),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
