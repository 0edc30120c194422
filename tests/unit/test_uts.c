/* The host's name, of ours and of another process. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "libcor/task/uts.h"

/* A process, in a namespace of these names if they are not NULL; /proc/PID of it. */
static int start(const struct cor_uts *names, pid_t *pid)
{
	char path[32], byte = 0;
	int ready[2], proc;

	assert_int_equal(pipe(ready), 0);
	*pid = fork();
	if (*pid == 0) {
		if (names && cor_uts_make(names, NULL) < 0)
			_exit(1);
		(void)!write(ready[1], &byte, 1);
		for (;;)
			pause();
	}
	close(ready[1]);
	assert_int_equal(read(ready[0], &byte, 1), 1);
	close(ready[0]);
	snprintf(path, sizeof(path), "/proc/%d", (int)*pid);
	proc = open(path, O_RDONLY | O_DIRECTORY);
	assert_true(proc >= 0);
	return proc;
}

static void end(pid_t pid, int proc)
{
	close(proc);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

static void test_names_of_another_namespace_are_read(void **state)
{
	const struct cor_uts names = { "elsewhere", "example" };
	struct cor_uts before, now, read;
	int proc;
	pid_t pid;

	if (!cor_uts_possible())
		skip();
	cor_uts_own(&before);
	proc = start(&names, &pid);
	assert_true(cor_uts_differs(proc));
	assert_int_equal(cor_uts_read(proc, &read, NULL), 0);
	assert_string_equal(read.node, "elsewhere");
	assert_string_equal(read.domain, "example");
	/* and we are where we were */
	cor_uts_own(&now);
	assert_string_equal(now.node, before.node);
	assert_string_equal(now.domain, before.domain);
	end(pid, proc);
}

static void test_our_own_are_those_of_our_namespace(void **state)
{
	struct cor_uts own, read;
	pid_t pid;
	int proc = start(NULL, &pid);

	assert_false(cor_uts_differs(proc));
	assert_int_equal(cor_uts_read(proc, &read, NULL), 0);
	cor_uts_own(&own);
	assert_string_equal(read.node, own.node);
	end(pid, proc);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_names_of_another_namespace_are_read),
		cmocka_unit_test(test_our_own_are_those_of_our_namespace),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
