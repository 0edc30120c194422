/* ghost: calls that a stopped process makes for us. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <unistd.h>
#include <cmocka.h>

#include "libcor/task/ghost.h"
#include "tests/unit/victim.h"

static struct victim v;
static struct cor_tracee *t;
static int pipes[2];

static int setup(void **state)
{
	memset(&v, 0, sizeof(v));
	assert_int_equal(pipe2(pipes, O_CLOEXEC), 0);
	return 0;
}

static int teardown(void **state)
{
	cor_tracee_kill(t);
	t = NULL;
	victim_end(&v);
	close(pipes[0]);
	close(pipes[1]);
	return 0;
}

static int wait_for_end(struct victim *self, void *arg)
{
	char c;

	close(pipes[0]);
	close(pipes[1]);
	if (arg)
		signal(SIGTRAP, SIG_IGN);
	victim_ready(self);
	return read(self->to, &c, 1) < 0;
}

/* Stopped as a ghost is, without a capture before, so that there is no runner. */
static void stop(void *arg)
{
	victim_start(&v, wait_for_end, arg);
	victim_await_sleep(v.pid);
	assert_int_equal(cor_tracee_seize(&t, v.pid, NULL), 0);
	assert_int_equal(cor_tracee_stop(t, 5000, NULL), 0);
}

/* Descriptors that it has. */
static unsigned count_open(void)
{
	char path[64];
	unsigned n = 0;
	DIR *d;

	snprintf(path, sizeof(path), "/proc/%d/fd", v.pid);
	d = opendir(path);
	assert_non_null(d);
	while (readdir(d))
		n++;
	closedir(d);
	return n;
}

static void asks_by_what_it_was_given(void **state)
{
	struct cor_ghost g = { .fd = -1 };
	int block[2] = { 0, 77 };

	stop(*state);
	assert_int_equal(write(pipes[1], "seven b", 7), 7);
	assert_int_equal(cor_ghost_give(&g, t, pipes[0], NULL), 0);
	assert_int_equal(cor_ghost_ioctl(&g, FIONREAD, block, sizeof(block), NULL), 0);
	assert_int_equal(block[0], 7);
	assert_int_equal(block[1], 77);
	cor_ghost_leave(&g);
}

static void an_error_of_the_call_is_told(void **state)
{
	struct cor_ghost g = { .fd = -1 };
	struct cor_error err = COR_ERROR_INIT;
	char block[COR_GHOST_BLOCK + 1] = "";

	stop(NULL);
	assert_int_equal(cor_ghost_give(&g, t, pipes[0], NULL), 0);
	assert_int_equal(cor_ghost_ioctl(&g, TIOCGWINSZ, block, 8, &err), -ENOTTY);
	assert_non_null(strstr(err.text, "ioctl"));
	assert_int_equal(cor_ghost_ioctl(&g, FIONREAD, block, sizeof(block), NULL), -EINVAL);
	cor_ghost_leave(&g);
}

static void nothing_is_left_of_it(void **state)
{
	struct rlimit before, lifted, after;
	struct cor_ghost g = { .fd = -1 };
	unsigned open;

	stop(NULL);
	open = count_open();
	assert_int_equal(prlimit(v.pid, RLIMIT_MEMLOCK, NULL, &before), 0);
	assert_int_equal(cor_ghost_give(&g, t, pipes[0], NULL), 0);
	assert_int_equal(count_open(), open + 1);
	if (g.lifted) {
		assert_int_equal(prlimit(v.pid, RLIMIT_MEMLOCK, NULL, &lifted), 0);
		assert_true(lifted.rlim_cur == RLIM_INFINITY);
	}
	cor_ghost_leave(&g);
	cor_ghost_leave(&g);
	assert_int_equal(count_open(), open);
	assert_int_equal(prlimit(v.pid, RLIMIT_MEMLOCK, NULL, &after), 0);
	assert_memory_equal(&before, &after, sizeof(before));
	/* and it goes on as if nothing had happened */
	cor_tracee_thaw(t);
	t = NULL;
	assert_int_equal(victim_finish(&v), 0);
}

static void one_that_has_no_descriptor_left_is_not_given_any(void **state)
{
	struct cor_ghost g = { .fd = -1 };
	struct rlimit few = { 5, 5 };

	stop(NULL);
	assert_int_equal(prlimit(v.pid, RLIMIT_NOFILE, &few, NULL), 0);
	assert_int_equal(cor_ghost_give(&g, t, pipes[0], NULL), -EMFILE);
	assert_int_equal(g.fd, -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(asks_by_what_it_was_given, setup, teardown),
		{ "asks_where_sigtrap_is_ignored", asks_by_what_it_was_given, setup, teardown, "x" },
		cmocka_unit_test_setup_teardown(an_error_of_the_call_is_told, setup, teardown),
		cmocka_unit_test_setup_teardown(nothing_is_left_of_it, setup, teardown),
		cmocka_unit_test_setup_teardown(one_that_has_no_descriptor_left_is_not_given_any,
						setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
