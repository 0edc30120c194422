/* The worker and the stub take turns (handmade_fixture.h), and nothing of that remains. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dirent.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "libcor/base/cleanup.h"
#include "libcor/base/io.h"
#include "tests/unit/handmade_fixture.h"

/* Policy, nice value and processors of a thread are as the image's, and those are all that our
 * parent has: ours may be fewer for a while. */
static void assert_own_place(pid_t tid, int nice)
{
	cpu_set_t ours, its;

	assert_int_equal(sched_getscheduler(tid), SCHED_OTHER);
	assert_int_equal(getpriority(PRIO_PROCESS, (id_t)tid), nice);
	assert_int_equal(sched_getaffinity(getppid(), sizeof(ours), &ours), 0);
	assert_int_equal(sched_getaffinity(tid, sizeof(its), &its), 0);
	assert_true(CPU_EQUAL(&ours, &its));
}

/* In real time a thread has no timer slack. */
static void assert_slack(pid_t tid, const char *want)
{
	_cleanup_free_ char *text = NULL;
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/timerslack_ns", tid);
	assert_int_equal(cor_slurp(AT_FDCWD, path, &text, NULL), 0);
	assert_string_equal(text, want);
}

/* The other thread of the rebuilt one, as we see it. */
static pid_t other_thread(pid_t pid)
{
	char path[64];
	pid_t tid = 0;
	DIR *d;

	snprintf(path, sizeof(path), "/proc/%d/task", pid);
	d = opendir(path);
	assert_non_null(d);
	for (struct dirent *e; (e = readdir(d));)
		if (atoi(e->d_name) != pid)
			tid = COR_MAX(tid, atoi(e->d_name));
	closedir(d);
	return tid;
}

static void turns_leave_no_trace(void **state)
{
	struct task *task = *state;

	task->image.n_threads = 2;
	task->thread[0].nice = 3;
	task->thread[1].nice = 4;
	task->thread[0].timerslack = 123456;
	task->thread[1].timerslack = 50000;
	task->turns = true;
	handmade_rebuild(task);
	if (sched_getscheduler(0) != SCHED_FIFO) {
		print_message("not in real time: not allowed here\n");
		skip();
	}
	assert_own_place(cor_rebuild_pid(task->rb), 3);
	assert_own_place(other_thread(cor_rebuild_pid(task->rb)), 4);
	assert_slack(cor_rebuild_pid(task->rb), "123456\n");
	assert_slack(other_thread(cor_rebuild_pid(task->rb)), "50000\n");
	cor_rebuild_turns_end(task->rb);
	assert_own_place(gettid(), 0);
	cor_rebuild_turns_end(task->rb);
}

static void abort_ends_turns(void **state)
{
	struct task *task = *state;

	task->turns = true;
	handmade_rebuild(task);
	cor_rebuild_abort(task->rb);
	task->rb = NULL;
	assert_own_place(gettid(), 0);
	/* who could not begin again after that still says that it is over */
	cor_rebuild_turns_end(task->rb);
}

/* SIGXCPU would tell the task of time that it has not used. */
static void no_turns_where_real_time_is_limited(void **state)
{
	const struct rlimit one = { 1000000, RLIM_INFINITY };
	struct task *task = *state;
	struct rlimit before;

	assert_int_equal(getrlimit(RLIMIT_RTTIME, &before), 0);
	assert_int_equal(setrlimit(RLIMIT_RTTIME, &one), 0);
	task->turns = true;
	handmade_rebuild(task);
	setrlimit(RLIMIT_RTTIME, &before);
	assert_own_place(gettid(), 0);
}

#define T(f) cmocka_unit_test_setup_teardown(f, handmade_setup, handmade_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(turns_leave_no_trace),
		T(abort_ends_turns),
		T(no_turns_where_real_time_is_limited),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
