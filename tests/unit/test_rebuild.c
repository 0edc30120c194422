/* rebuild's beginning: supervisor, stub, names, requests; nothing is left behind. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "libcor/base/cleanup.h"
#include "libcor/base/io.h"
#include "libcor/task/rebuild.h"

enum { OP_SUM = 1, OP_FAIL, OP_WRITE_FDS, OP_IDS, OP_CLOCK, OP_FDS, OP_EXIT };

struct ids { int32_t pid, ppid, pgid, sid; };

struct fixture {
	Cor__Task__Image image;
	Cor__Task__Identity identity;
	struct cor_rebuild_plan plan;
	struct cor_rebuild *rb;
	int fds;
};

static int count_fds(void)
{
	_cleanup_closedir_ DIR *d = opendir("/proc/self/fd");
	int n = 0;

	while (readdir(d))
		n++;
	return n;
}

static int answer(int fd, const void *buf, size_t len)
{
	return cor_write_full(fd, buf, len);
}

/* In the stub. */
static int serve(void *arg, uint32_t op, const void *buf, size_t len, const int *fds,
		 unsigned nfds, struct cor_error *err)
{
	struct ids ids = { getpid(), getppid(), getpgrp(), getsid(0) };
	struct timespec ts;
	uint64_t sum = 0;
	int n = 0;

	switch (op) {
	case OP_SUM:
		for (size_t i = 0; i < len; i++)
			sum += ((const unsigned char *)buf)[i];
		return answer(fds[0], &sum, sizeof(sum));
	case OP_FAIL:
		err->code = -EBADF;
		snprintf(err->text, sizeof(err->text), "descriptor 5 is odd");
		return -EBADF;
	case OP_WRITE_FDS:
		for (unsigned i = 0; i < nfds; i++) {
			char c = fds[i] > 40 ? 'x' : 'l';

			if (write(fds[i], &c, 1) != 1)
				return -EIO;
			close(fds[i]);
		}
		return 0;
	case OP_IDS:
		return answer(fds[0], &ids, sizeof(ids));
	case OP_CLOCK:
		clock_gettime(CLOCK_MONOTONIC, &ts);
		return answer(fds[0], &ts, sizeof(ts));
	case OP_FDS:
		/* descriptors in the task's range, that of opendir itself left out */
		for (int i = 0; i <= 40; i++)
			n += fcntl(i, F_GETFD) >= 0;
		return answer(fds[0], &n, sizeof(n));
	case OP_EXIT:
		_exit(3);
	}
	return -ENOSYS;
}

/* A number that nobody has now and is not soon handed out. */
static pid_t free_pid(void)
{
	for (pid_t p = 29000; p > 1000; p--)
		if (kill(p, 0) < 0 && errno == ESRCH && getpgid(p) < 0 && kill(-p, 0) < 0)
			return p;
	return -1;
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	f->image = (Cor__Task__Image)COR__TASK__IMAGE__INIT;
	f->identity = (Cor__Task__Identity)COR__TASK__IDENTITY__INIT;
	f->image.identity = &f->identity;
	f->identity.pid = free_pid();
	f->plan.skeleton = &f->image;
	f->plan.call = serve;
	f->plan.max_fd = 40;
	f->plan.report = f->plan.tty = f->plan.watch = f->plan.listen = f->plan.record = -1;
	f->fds = count_fds();
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	int left;

	cor_rebuild_abort(f->rb);
	left = count_fds() - f->fds;
	free(f);
	return left;
}

static void begin(struct fixture *f)
{
	struct cor_error err = COR_ERROR_INIT;

	if (cor_rebuild_begin(&f->rb, &f->plan, &err) < 0)
		fail_msg("%s", err.text);
}

/* Calls op with one end of a pipe and reads the answer. */
static void ask(struct fixture *f, uint32_t op, const void *buf, size_t len, void *out, size_t size)
{
	struct cor_error err = COR_ERROR_INIT;
	int p[2];

	assert_int_equal(pipe2(p, O_CLOEXEC), 0);
	if (cor_rebuild_call(f->rb, op, buf, len, &p[1], 1, &err) < 0)
		fail_msg("%s", err.text);
	close(p[1]);
	assert_int_equal(cor_read_full(p[0], out, size), 0);
	close(p[0]);
}

static void assert_gone(pid_t pid)
{
	char path[32], *text = NULL;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	/* a zombie may wait for init a little */
	if (cor_slurp(AT_FDCWD, path, &text, NULL) == 0)
		assert_non_null(strstr(text, ") Z "));
	free(text);
}

static void abort_leaves_no_process(void **state)
{
	struct fixture *f = *state;
	pid_t pid, sup;

	begin(f);
	pid = cor_rebuild_pid(f->rb);
	sup = cor_rebuild_supervisor(f->rb);
	assert_int_equal(kill(pid, 0), 0);
	assert_int_equal(kill(sup, 0), 0);
	cor_rebuild_abort(f->rb);
	f->rb = NULL;
	assert_gone(pid);
	assert_gone(sup);
}

static void abort_leaves_no_namespace(void **state)
{
	struct fixture *f = *state;
	pid_t pid, sup;

	f->plan.force_pid_ns = true;
	begin(f);
	assert_true(cor_rebuild_in_pid_ns(f->rb));
	pid = cor_rebuild_pid(f->rb);
	sup = cor_rebuild_supervisor(f->rb);
	cor_rebuild_abort(f->rb);
	f->rb = NULL;
	assert_gone(pid);
	assert_gone(sup);
}

static void pid_is_kept_where_free(void **state)
{
	struct fixture *f = *state;
	struct ids ids;

	begin(f);
	assert_false(cor_rebuild_in_pid_ns(f->rb));
	assert_int_equal(cor_rebuild_pid(f->rb), f->identity.pid);
	ask(f, OP_IDS, NULL, 0, &ids, sizeof(ids));
	assert_int_equal(ids.pid, f->identity.pid);
	assert_int_equal(ids.ppid, cor_rebuild_supervisor(f->rb));
}

static void pid_is_kept_where_taken(void **state)
{
	struct fixture *f = *state;
	struct ids ids;

	f->identity.pid = getpid();
	begin(f);
	assert_true(cor_rebuild_in_pid_ns(f->rb));
	ask(f, OP_IDS, NULL, 0, &ids, sizeof(ids));
	assert_int_equal(ids.pid, getpid());
	assert_int_equal(ids.ppid, 1);
	assert_int_not_equal(cor_rebuild_pid(f->rb), getpid());
}

static void session_and_group_of_its_own(void **state)
{
	struct fixture *f = *state;
	struct ids ids;

	f->identity.sid = f->identity.pgid = f->identity.pid;
	begin(f);
	ask(f, OP_IDS, NULL, 0, &ids, sizeof(ids));
	assert_int_equal(ids.sid, f->identity.pid);
	assert_int_equal(ids.pgid, f->identity.pid);
}

static void session_and_group_of_others(void **state)
{
	struct fixture *f = *state;
	struct ids ids;

	f->plan.force_pid_ns = true;
	f->identity.pid = 1300;
	f->identity.pgid = 1200;
	f->identity.sid = 1100;
	begin(f);
	ask(f, OP_IDS, NULL, 0, &ids, sizeof(ids));
	assert_int_equal(ids.pid, 1300);
	assert_int_equal(ids.pgid, 1200);
	assert_int_equal(ids.sid, 1100);
	assert_int_equal(ids.ppid, 1);
}

static void group_of_its_own_in_a_foreign_session(void **state)
{
	struct fixture *f = *state;
	struct ids ids;

	f->plan.force_pid_ns = true;
	f->identity.pid = f->identity.pgid = 1300;
	f->identity.sid = 1100;
	begin(f);
	ask(f, OP_IDS, NULL, 0, &ids, sizeof(ids));
	assert_int_equal(ids.pgid, 1300);
	assert_int_equal(ids.sid, 1100);
}

/* A session's name outlives its leader: no process has the number, yet clone3
 * cannot have it either. */
static void number_in_use_as_session_name_only(void **state)
{
	struct fixture *f = *state;
	struct ids ids;
	int p[2];
	pid_t leader, member;

	assert_int_equal(pipe2(p, O_CLOEXEC), 0);
	leader = fork();
	if (leader == 0) {
		setsid();
		member = fork();
		if (member == 0) {
			setpgid(0, 0);
			member = getpid();
			if (write(p[1], &member, sizeof(member)) < 0)
				_exit(1);
			pause();
		}
		_exit(0);
	}
	assert_int_equal(cor_read_full(p[0], &member, sizeof(member)), 0);
	waitpid(leader, NULL, 0);
	close(p[0]);
	close(p[1]);
	f->identity.pid = leader;
	begin(f);
	kill(member, SIGKILL);
	assert_true(cor_rebuild_in_pid_ns(f->rb));
	ask(f, OP_IDS, NULL, 0, &ids, sizeof(ids));
	assert_int_equal(ids.pid, leader);
}

static void pid_out_of_range_is_refused(void **state)
{
	struct fixture *f = *state;
	struct cor_error err = COR_ERROR_INIT;

	f->identity.pid = 0x7ffffff0;
	assert_int_equal(cor_rebuild_begin(&f->rb, &f->plan, &err), -EINVAL);
	assert_non_null(strstr(err.text, "2147483632"));
}

static void init_is_refused(void **state)
{
	struct fixture *f = *state;
	struct cor_error err = COR_ERROR_INIT;

	f->identity.pid = 1;
	assert_int_equal(cor_rebuild_begin(&f->rb, &f->plan, &err), -EOPNOTSUPP);
}

static void clocks_are_offset(void **state)
{
	struct fixture *f = *state;
	struct timespec there, here;
	double ahead;

	f->plan.time_ns = true;
	f->plan.monotonic_offset_ns = 1000500000000;
	begin(f);
	ask(f, OP_CLOCK, NULL, 0, &there, sizeof(there));
	clock_gettime(CLOCK_MONOTONIC, &here);
	ahead = (double)(there.tv_sec - here.tv_sec) + 1e-9 * (double)(there.tv_nsec - here.tv_nsec);
	assert_true(ahead > 995 && ahead < 1001);
}

static void clocks_can_be_behind(void **state)
{
	struct fixture *f = *state;
	struct timespec there, here;
	double ahead;

	f->plan.time_ns = true;
	f->plan.monotonic_offset_ns = -10500000000;
	begin(f);
	ask(f, OP_CLOCK, NULL, 0, &there, sizeof(there));
	clock_gettime(CLOCK_MONOTONIC, &here);
	ahead = (double)(there.tv_sec - here.tv_sec) + 1e-9 * (double)(there.tv_nsec - here.tv_nsec);
	assert_true(ahead > -16 && ahead < -10.4);
}

static void megabytes_go_to_the_stub(void **state)
{
	struct fixture *f = *state;
	size_t len = 5u << 20;
	_cleanup_free_ unsigned char *buf = malloc(len);
	uint64_t sum, want = 0;

	for (size_t i = 0; i < len; i++)
		want += buf[i] = (unsigned char)(i * 7);
	begin(f);
	ask(f, OP_SUM, buf, len, &sum, sizeof(sum));
	assert_int_equal(sum, want);
}

static void many_descriptors_go_above_the_tasks_own(void **state)
{
	struct fixture *f = *state;
	struct cor_error err = COR_ERROR_INIT;
	int p[2], fds[150];
	char got[151];

	begin(f);
	assert_int_equal(pipe2(p, O_CLOEXEC), 0);
	for (unsigned i = 0; i < ARRAY_SIZE(fds); i++)
		fds[i] = p[1];
	assert_int_equal(cor_rebuild_call(f->rb, OP_WRITE_FDS, NULL, 0, fds, ARRAY_SIZE(fds), &err), 0);
	close(p[1]);
	assert_int_equal(read(p[0], got, sizeof(got)), 150);
	for (unsigned i = 0; i < 150; i++)
		assert_int_equal(got[i], 'x');
	close(p[0]);
}

static void errors_come_back_with_their_sentence(void **state)
{
	struct fixture *f = *state;
	struct cor_error err = COR_ERROR_INIT;

	begin(f);
	assert_int_equal(cor_rebuild_call(f->rb, OP_FAIL, NULL, 0, NULL, 0, &err), -EBADF);
	assert_string_equal(err.text, "descriptor 5 is odd");
	/* and the stub lives on */
	assert_int_equal(cor_rebuild_call(f->rb, OP_FAIL, NULL, 0, NULL, 0, &err), -EBADF);
}

static void stub_starts_without_descriptors(void **state)
{
	struct fixture *f = *state;
	int n = -1;

	begin(f);
	ask(f, OP_FDS, NULL, 0, &n, sizeof(n));
	assert_int_equal(n, 0);
}

static void death_of_the_stub_is_noticed(void **state)
{
	struct fixture *f = *state;
	struct cor_error err = COR_ERROR_INIT;

	begin(f);
	assert_int_equal(cor_rebuild_call(f->rb, OP_EXIT, NULL, 0, NULL, 0, &err), -ESRCH);
}

static void userfaultfd_is_the_stubs(void **state)
{
	struct fixture *f = *state;
	int fd;

	begin(f);
	fd = cor_rebuild_take_uffd(f->rb);
	assert_true(fd >= 0);
	assert_true(fcntl(fd, F_GETFL) & O_NONBLOCK);
	assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
	close(fd);
}

/* The caller dies: what it had begun must not stay. */
static void death_of_the_caller_ends_the_stub(void **state)
{
	struct fixture *f = *state;
	pid_t child, pids[2];
	int p[2], st, pidfd[2];

	assert_int_equal(pipe2(p, O_CLOEXEC), 0);
	child = fork();
	if (child == 0) {
		if (cor_rebuild_begin(&f->rb, &f->plan, NULL) < 0)
			_exit(1);
		pids[0] = cor_rebuild_pid(f->rb);
		pids[1] = cor_rebuild_supervisor(f->rb);
		if (write(p[1], pids, sizeof(pids)) < 0)
			_exit(1);
		pause();
	}
	close(p[1]);
	assert_int_equal(cor_read_full(p[0], pids, sizeof(pids)), 0);
	close(p[0]);
	for (int i = 0; i < 2; i++) {
		pidfd[i] = (int)syscall(SYS_pidfd_open, pids[i], 0);
		assert_true(pidfd[i] >= 0);
	}
	kill(child, SIGKILL);
	waitpid(child, &st, 0);
	for (int i = 0; i < 2; i++) {
		struct pollfd w = { .fd = pidfd[i], .events = POLLIN };

		assert_int_equal(poll(&w, 1, 10000), 1);
		close(pidfd[i]);
	}
}

static void supervisor_ignores_hangup(void **state)
{
	struct fixture *f = *state;
	int n;

	begin(f);
	kill(cor_rebuild_supervisor(f->rb), SIGHUP);
	kill(cor_rebuild_supervisor(f->rb), SIGTERM);
	ask(f, OP_FDS, NULL, 0, &n, sizeof(n));
	assert_int_equal(kill(cor_rebuild_supervisor(f->rb), 0), 0);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(abort_leaves_no_process),
		T(abort_leaves_no_namespace),
		T(pid_is_kept_where_free),
		T(pid_is_kept_where_taken),
		T(session_and_group_of_its_own),
		T(session_and_group_of_others),
		T(group_of_its_own_in_a_foreign_session),
		T(number_in_use_as_session_name_only),
		T(pid_out_of_range_is_refused),
		T(init_is_refused),
		T(clocks_are_offset),
		T(clocks_can_be_behind),
		T(megabytes_go_to_the_stub),
		T(many_descriptors_go_above_the_tasks_own),
		T(errors_come_back_with_their_sentence),
		T(stub_starts_without_descriptors),
		T(death_of_the_stub_is_noticed),
		T(userfaultfd_is_the_stubs),
		T(death_of_the_caller_ends_the_stub),
		T(supervisor_ignores_hangup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

