/* libcor-preload.so against a fake daemon: registration, and the application's
 * hooks through libcor/task/hooks.h. */
#include <errno.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include <cor/migrate.h>

#include "libcor/base/error.h"
#include "libcor/task/hooks.h"

#define WAIT_MS 10000

struct fixture {
	char  dir[64], control[96];
	int   listener;
	pid_t pid;
	int   in;               /* the victim's stdin */
	FILE *out;              /* the victim's stdout */
	uint64_t block;         /* as registered */
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct sockaddr_un a = { .sun_family = AF_UNIX };

	*state = f;
	f->in = -1;
	strcpy(f->dir, "/tmp/cor-preload-XXXXXX");
	if (!mkdtemp(f->dir))
		return -1;
	snprintf(f->control, sizeof(f->control), "%s/sock", f->dir);
	strcpy(a.sun_path, f->control);
	f->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	return bind(f->listener, (struct sockaddr *)&a, sizeof(a)) || listen(f->listener, 4);
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	if (f->pid > 0) {
		kill(f->pid, SIGKILL);
		waitpid(f->pid, NULL, 0);
	}
	if (f->out)
		fclose(f->out);
	if (f->in >= 0)
		close(f->in);
	close(f->listener);
	unlink(f->control);
	rmdir(f->dir);
	free(f);
	return 0;
}

static void run_victim(const char *mode, const char *control)
{
	setenv("LD_PRELOAD", BUILD_DIR "/preload/.libs/libcor-preload.so", 1);
	setenv("COR_RUN", "1", 1);
	setenv("COR_CONTROL", control, 1);
	execl(BUILD_DIR "/tests/unit/preload_victim", "victim", mode, NULL);
	_exit(127);
}

static void cor_run_victim(const char *mode, const char *control)
{
	unsetenv("COR_CONTROL");
	execl(BUILD_DIR "/cor", "cor", "--control", control, "run", "--",
	      BUILD_DIR "/tests/unit/preload_victim", mode, NULL);
	_exit(127);
}

static void start(struct fixture *f, const char *mode, const char *control,
		  void (*run)(const char *mode, const char *control))
{
	int in[2], out[2];

	assert_int_equal(pipe(in), 0);
	assert_int_equal(pipe(out), 0);
	f->pid = fork();
	assert_true(f->pid >= 0);
	if (!f->pid) {
		dup2(in[0], 0);
		dup2(out[1], 1);
		close_range(3, ~0u, 0);
		run(mode, control);
	}
	close(in[0]);
	close(out[1]);
	f->in = in[1];
	f->out = fdopen(out[0], "r");
	setvbuf(f->out, NULL, _IONBF, 0);
}

static void start_victim(struct fixture *f, const char *mode, const char *control)
{
	start(f, mode, control, run_victim);
}

static void await(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	assert_int_equal(poll(&p, 1, WAIT_MS), 1);
}

static void expect_line(struct fixture *f, const char *want)
{
	char line[128] = "";

	await(fileno(f->out));
	assert_non_null(fgets(line, sizeof(line), f->out));
	line[strcspn(line, "\n")] = '\0';
	assert_string_equal(line, want);
}

static void expect_exit(struct fixture *f, int want)
{
	int status;

	assert_int_equal(waitpid(f->pid, &status, 0), f->pid);
	f->pid = 0;
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), want);
}

/* Takes the victim's registration: one line, then the end. */
static void accept_registration(struct fixture *f)
{
	char text[256] = "";
	size_t have = 0;
	ssize_t n;
	unsigned long long block;
	int pid, fd;

	await(f->listener);
	fd = accept(f->listener, NULL, NULL);
	assert_true(fd >= 0);
	while ((n = read(fd, text + have, sizeof(text) - 1 - have)) > 0)
		have += (size_t)n;
	close(fd);
	assert_int_equal(sscanf(text, "{\"command\":\"register\",\"pid\":%d,\"hooks\":%llu}\n",
				&pid, &block), 2);
	assert_int_equal(text[have - 1], '\n');
	assert_int_equal(pid, f->pid);
	f->block = block;
}

static void start_hooked(struct fixture *f, struct cor_hooks *h)
{
	struct cor_error err = COR_ERROR_INIT;

	start_victim(f, "hooks", f->control);
	accept_registration(f);
	expect_line(f, "registered 0");
	expect_line(f, "ready");
	if (cor_hooks_open(h, f->pid, f->block, &err))
		fail_msg("%s", err.text);
}

/* The victim is one process with two threads; stops it as a tracer would. */
static void stop_all(struct fixture *f, bool stop)
{
	int status;

	kill(f->pid, stop ? SIGSTOP : SIGCONT);
	assert_int_equal(waitpid(f->pid, &status, stop ? WUNTRACED : WCONTINUED), f->pid);
}

/* --- tests ------------------------------------------------------------------- */
static void test_registers_once_and_closes(void **state)
{
	struct fixture *f = *state;

	start_victim(f, "fds", f->control);
	accept_registration(f);
	expect_line(f, "fd 0");
	expect_line(f, "fd 1");
	expect_line(f, "fd 2");
	expect_exit(f, 0);
	assert_int_equal(fgetc(f->out), EOF);
}

static void test_cor_run_loads_and_registers(void **state)
{
	struct fixture *f = *state;

	start(f, "hooks", f->control, cor_run_victim);
	accept_registration(f);
	expect_line(f, "registered 0");
}

static void test_starts_without_a_daemon(void **state)
{
	struct fixture *f = *state;

	start_victim(f, "fds", "/nonexistent/cord.sock");
	expect_exit(f, 0);
}

static void test_a_full_queue_does_not_hold_it_up(void **state)
{
	struct fixture *f = *state;
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int fd[64], n = 0;

	strcpy(a.sun_path, f->control);
	for (; n < 64; n++) {
		fd[n] = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
		if (connect(fd[n], (struct sockaddr *)&a, sizeof(a)))
			break;
	}
	assert_true(n < 64);
	start_victim(f, "fds", f->control);
	expect_exit(f, 0);
	for (; n >= 0; n--)
		close(fd[n]);
}

static void test_hooks_without_the_library_say_so(void **state)
{
	assert_int_equal(cor_on_migrate(NULL, NULL, NULL), -ENOSYS);
	assert_int_equal(cor_migrations(), 0);
}

static void test_before_runs_last_registered_first(void **state)
{
	struct fixture *f = *state;
	struct cor_hooks h;

	start_hooked(f, &h);
	assert_int_equal(cor_hooks_before(&h, WAIT_MS, NULL), 0);
	expect_line(f, "before second");
	expect_line(f, "before first");
}

static void test_arrival_runs_after_and_registers_anew(void **state)
{
	struct fixture *f = *state;
	struct cor_hooks h;
	uint64_t block;

	start_hooked(f, &h);
	block = f->block;
	stop_all(f, true);
	assert_int_equal(cor_hooks_arriving(&h, NULL), 0);
	stop_all(f, false);
	accept_registration(f);
	assert_int_equal(f->block, block);
	expect_line(f, "after first 1 1");
	expect_line(f, "after second 1 1");
}

static void test_cancel_runs_after_where_it_is(void **state)
{
	struct fixture *f = *state;
	struct cor_hooks h;

	start_hooked(f, &h);
	assert_int_equal(cor_hooks_before(&h, WAIT_MS, NULL), 0);
	expect_line(f, "before second");
	expect_line(f, "before first");
	assert_int_equal(cor_hooks_cancel(&h, false, NULL), 0);
	expect_line(f, "after first 0 0");
	expect_line(f, "after second 0 0");
}

static void test_cancel_of_a_stopped_task_undoes_the_arrival(void **state)
{
	struct fixture *f = *state;
	struct cor_hooks h;

	start_hooked(f, &h);
	assert_int_equal(cor_hooks_before(&h, WAIT_MS, NULL), 0);
	expect_line(f, "before second");
	expect_line(f, "before first");
	stop_all(f, true);
	assert_int_equal(cor_hooks_arriving(&h, NULL), 0);
	assert_int_equal(cor_hooks_cancel(&h, true, NULL), 0);
	stop_all(f, false);
	expect_line(f, "after first 0 0");
	expect_line(f, "after second 0 0");
}

static void test_a_wrong_address_is_no_hook(void **state)
{
	struct fixture *f = *state;
	struct cor_hooks h;

	start_hooked(f, &h);
	assert_int_equal(cor_hooks_open(&h, f->pid, f->block + 64, NULL), -ENOENT);
	assert_int_equal(cor_hooks_open(&h, f->pid, 0x10, NULL), -EFAULT);
}

static void test_hooks_are_found_without_registration(void **state)
{
	struct fixture *f = *state;
	struct cor_hooks told, found;

	start_hooked(f, &told);
	assert_int_equal(cor_hooks_find(&found, f->pid, NULL), 0);
	assert_int_equal(found.addr, told.addr);
	assert_int_equal(cor_hooks_find(&found, getpid(), NULL), -ENOENT);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(test_registers_once_and_closes),
		T(test_cor_run_loads_and_registers),
		T(test_starts_without_a_daemon),
		T(test_a_full_queue_does_not_hold_it_up),
		T(test_hooks_without_the_library_say_so),
		T(test_before_runs_last_registered_first),
		T(test_arrival_runs_after_and_registers_anew),
		T(test_cancel_runs_after_where_it_is),
		T(test_cancel_of_a_stopped_task_undoes_the_arrival),
		T(test_hooks_are_found_without_registration),
		T(test_a_wrong_address_is_no_hook),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
