/* The page server's sandbox: each case in a process that enters it and then tries something.
 * Needs root, for there is to be something to give up. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <config.h>

#include <cap-ng.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon/sandbox.h"

static char g_word[8] = "before";
static pid_t g_served, g_other;

static pid_t asleep(void)
{
	pid_t pid = fork();

	if (pid == 0)
		for (;;)
			pause();
	return pid;
}

static int set_up(void **state)
{
	g_served = asleep();
	g_other = asleep();
	return g_served < 0 || g_other < 0;
}

static int tear_down(void **state)
{
	kill(g_served, SIGKILL);
	kill(g_other, SIGKILL);
	while (waitpid(-1, NULL, 0) > 0)
		;
	return 0;
}

/* What try(), in the sandbox, returned: below 128. */
static int inside(int (*try)(void))
{
	int status = -1;
	pid_t pid;

	if (geteuid() != 0)
		skip();
	pid = fork();
	if (pid == 0) {
		alarm(10);
		_exit(sandbox_serve(g_served, NULL) < 0 ? 200 : try());
	}
	waitpid(pid, &status, 0);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + status;
}

static int read_of(pid_t pid)
{
	char copy[sizeof(g_word)];
	struct iovec here = { copy, sizeof(copy) }, there = { g_word, sizeof(g_word) };

	return process_vm_readv(pid, &here, 1, &there, 1, 0) == (ssize_t)sizeof(copy) ? 0 : errno;
}

static int read_served(void) { return read_of(g_served); }
static int read_other(void)  { return read_of(g_other); }

static void only_one_process_can_be_read(void **state)
{
	assert_int_equal(inside(read_served), 0);
	assert_int_equal(inside(read_other), EPERM);
}

static int open_memory(void)
{
	char path[40];

	snprintf(path, sizeof(path), "/proc/%d/mem", (int)g_other);
	return open(path, O_RDONLY) < 0 ? errno : 0;
}

static void nor_by_its_file(void **state)
{
	assert_int_equal(inside(open_memory), EACCES);
}

static int write_served(void)
{
	struct iovec v = { g_word, sizeof(g_word) };

	return process_vm_writev(g_served, &v, 1, &v, 1, 0) < 0 ? errno : 0;
}

static int trace_served(void)
{
	return ptrace(PTRACE_SEIZE, g_served, NULL, NULL) < 0 ? errno : 0;
}

static void none_can_be_changed(void **state)
{
	assert_int_equal(inside(write_served), EPERM);
	assert_int_equal(inside(trace_served), EPERM);
}

static int make_process(void)
{
	return fork() < 0 ? errno : 0;
}

static int run_program(void)
{
	execl("/bin/true", "true", NULL);
	return errno;
}

static void *nothing(void *arg)
{
	return arg;
}

static int make_thread(void)
{
	pthread_t t;
	int r = pthread_create(&t, NULL, nothing, NULL);

	return r ? r : pthread_join(t, NULL);
}

static void threads_can_be_made_and_no_processes(void **state)
{
	assert_int_equal(inside(make_process), EPERM);
	assert_int_equal(inside(run_program), EPERM);
	assert_int_equal(inside(make_thread), 0);
}

static int read_secret(void)
{
	return open("/etc/shadow", O_RDONLY) < 0 ? errno : 0;
}

#ifndef COR_FAULT_POINTS
static int make_file(void)
{
	return open("/tmp/cor-sandbox", O_WRONLY | O_CREAT, 0600) < 0 ? errno : 0;
}
#endif

static void files_are_nobodys(void **state)
{
	assert_int_equal(inside(read_secret), EACCES);
#ifndef COR_FAULT_POINTS        /* these leave files where they hold a process */
	assert_int_equal(inside(make_file), EPERM);
#endif
}

static int whoami(void)
{
	capng_get_caps_process();
	if (getuid() != 65534 || getegid() != 65534)
		return 1;
	for (int cap = 0; cap <= CAP_LAST_CAP; cap++)
		if (capng_have_capability(CAPNG_PERMITTED, (unsigned)cap) &&
		    cap != CAP_SYS_PTRACE && cap != CAP_CHECKPOINT_RESTORE)
			return 2;
	return setuid(0) == 0 ? 3 : 0;
}

static void it_is_nobody(void **state)
{
	assert_int_equal(inside(whoami), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(only_one_process_can_be_read, set_up, tear_down),
		cmocka_unit_test_setup_teardown(nor_by_its_file, set_up, tear_down),
		cmocka_unit_test_setup_teardown(none_can_be_changed, set_up, tear_down),
		cmocka_unit_test_setup_teardown(threads_can_be_made_and_no_processes, set_up, tear_down),
		cmocka_unit_test_setup_teardown(files_are_nobodys, set_up, tear_down),
		cmocka_unit_test_setup_teardown(it_is_nobody, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
