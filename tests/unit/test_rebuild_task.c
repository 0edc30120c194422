/* rebuild from an image made by hand (handmade_fixture.h). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#include "libcor/base/cleanup.h"
#include "libcor/base/io.h"
#include "libcor/task/layout.h"
#include "libcor/task/vdso.h"
#include "tests/unit/handmade_fixture.h"

static void task_finds_its_memory_and_registers(void **state)
{
	assert_int_equal(handmade_run(*state), 42);
}

static void old_vdso_is_redirected(void **state)
{
	struct task *task = *state;

	task->plan.force_foreign_vdso = true;
	assert_int_equal(handmade_run(task), 42);
}

/* It was stopped behind the first instruction of clock_gettime, where a jump is
 * written: what a return address on its stack leads to says how it went. */
static void thread_at_the_entry_of_an_old_vdso_function(void **state)
{
	struct task *task = *state;
	uint64_t offset = handmade_clock_gettime_at(task) - (VDSO + handmade_vdso_code_offset(task));
	const unsigned char *code = (void *)(task->own_vdso + offset);
	uint64_t *stack = (uint64_t *)(STACK - 64);

	/* "push %rbp", after endbr64 where there is one */
	if (!memcmp(code, "\xf3\x0f\x1e\xfa", 4)) {
		code += 4;
		offset += 4;
	}
	if (*code != 0x55)
		skip();
	stack[0] = task->regs[0].rbp;           /* as if pushed */
	stack[1] = CODE + (uint64_t)(test_vdso_return - test_task_code);
	task->regs[0].rip = VDSO + handmade_vdso_code_offset(task) + offset + 1;
	task->regs[0].rdi = 1;
	task->regs[0].rsi = DATA + 4096;
	task->plan.force_foreign_vdso = true;
	assert_int_equal(handmade_run(task), 43);
}

static void file_that_differs_is_fetched(void **state)
{
	struct task *task = *state;

	/* the source's bytes, instead of the file's */
	memcpy(handmade_place(FILEAT, 8192) + 4096, &(uint64_t){ MAGIC }, 8);
	task->file_ok = false;
	assert_int_equal(handmade_run(task), 42);
}

static void written_pages_can_be_lazy(void **state)
{
	struct task *task = *state;

	memcpy(handmade_place(FILEAT, 8192) + 4096, &(uint64_t){ MAGIC }, 8);
	task->vma[3].written_lazy = true;
	task->image.n_pages = 0;
	assert_int_equal(handmade_run(task), 42);
}

static void threads_have_their_tids(void **state)
{
	struct task *task = *state;

	((struct data *)DATA)->other_runs = 1;
	task->image.n_threads = 2;
	assert_int_equal(handmade_run(task), 42);
}

static void no_mapping_of_ours_remains(void **state)
{
	struct task *task = *state;
	struct cor_layout l = { 0 };

	handmade_rebuild(task);
	assert_int_equal(cor_layout_read(&l, cor_rebuild_pid(task->rb), NULL), 0);
	for (size_t i = 0; i < l.n; i++) {
		bool known = false;

		for (size_t k = 0; k < task->memory.n_vmas; k++)
			known |= task->vma[k].start <= l.ranges[i].start &&
				 l.ranges[i].start < task->vma[k].end;
		if (!known)
			fail_msg("stray mapping at %#lx", (unsigned long)l.ranges[i].start);
	}
	cor_layout_clear(&l);
}

static void no_descriptor_of_ours_remains(void **state)
{
	struct task *task = *state;
	char path[64];
	int n = 0;
	DIR *d;

	handmade_rebuild(task);
	snprintf(path, sizeof(path), "/proc/%d/fd", cor_rebuild_pid(task->rb));
	d = opendir(path);
	assert_non_null(d);
	for (struct dirent *e; (e = readdir(d));)
		n += e->d_name[0] != '.';
	closedir(d);
	assert_int_equal(n, 0);
}

static void abort_when_ready_leaves_nothing(void **state)
{
	struct task *task = *state;
	pid_t pid;

	task->image.n_threads = 2;
	handmade_rebuild(task);
	pid = cor_rebuild_pid(task->rb);
	cor_rebuild_abort(task->rb);
	task->rb = NULL;
	assert_int_equal(kill(pid, 0), -1);
}

/* Its threads cannot be looked up then; it hung. */
static void abort_needs_no_descriptor(void **state)
{
	struct task *task = *state;
	struct rlimit before, none;
	pid_t pid;

	task->image.n_threads = 2;
	handmade_rebuild(task);
	pid = cor_rebuild_pid(task->rb);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
	none = (struct rlimit){ 3, before.rlim_max };
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	alarm(10);
	cor_rebuild_abort(task->rb);
	alarm(0);
	task->rb = NULL;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
	assert_int_equal(kill(pid, 0), -1);
}

static void task_can_be_killed(void **state)
{
	struct task *task = *state;
	struct cor_error err = COR_ERROR_INIT;
	struct cor_rebuild_exit e;

	((struct data *)DATA)->other_runs = 1;  /* the leader waits for a thread that is not there */
	handmade_rebuild(task);
	OK(cor_rebuild_resume(task->rb, &task->let_go, &err));
	cor_rebuild_kill_task(task->rb);
	assert_int_equal(cor_read_full(task->report[0], &e, sizeof(e)), 0);
	assert_true(WIFSIGNALED(e.status));
	OK(cor_rebuild_release(task->rb, &err));
	task->rb = NULL;
}

static void stopped_task_arrives_stopped(void **state)
{
	struct task *task = *state;
	struct cor_error err = COR_ERROR_INIT;
	struct cor_rebuild_exit e;
	char path[64], *text = NULL;
	bool stopped = false;

	task->image.stopped = true;
	handmade_rebuild(task);
	OK(cor_rebuild_resume(task->rb, &task->let_go, &err));
	snprintf(path, sizeof(path), "/proc/%d/stat", cor_rebuild_pid(task->rb));
	for (int i = 0; i < 500 && !stopped; i++) {
		assert_int_equal(cor_slurp(AT_FDCWD, path, &text, NULL), 0);
		stopped = strstr(text, ") T ") != NULL;
		free(text);
		usleep(1000);
	}
	assert_true(stopped);
	kill(cor_rebuild_pid(task->rb), SIGCONT);
	assert_int_equal(cor_read_full(task->report[0], &e, sizeof(e)), 0);
	assert_int_equal(WEXITSTATUS(e.status), 42);
	OK(cor_rebuild_release(task->rb, &err));
	task->rb = NULL;
}

/* A line of the task's /proc/PID/status, tabs and all. */
static void assert_status(struct task *task, const char *line)
{
	_cleanup_free_ char *text = NULL;
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/status", cor_rebuild_pid(task->rb));
	assert_int_equal(cor_slurp(AT_FDCWD, path, &text, NULL), 0);
	if (!strstr(text, line))
		fail_msg("no '%s' in %s", line, text);
}

static void credentials_are_given_up(void **state)
{
	struct task *task = *state;
	Cor__Task__Credentials c = COR__TASK__CREDENTIALS__INIT;
	uint32_t groups[] = { 7, 1000 };

	c.uid = c.euid = c.fsuid = 65534;
	c.suid = 1000;
	c.gid = c.egid = c.sgid = c.fsgid = 65533;
	c.groups = groups;
	c.n_groups = 2;
	c.cap_permitted = c.cap_inheritable = c.cap_bounding = 1u << 10 | 1u << 13;
	c.cap_effective = c.cap_ambient = 1u << 10;
	c.no_new_privs = true;
	task->thread[0].creds = &c;
	task->thread[0].pdeathsig = SIGUSR1;
	handmade_rebuild(task);
	assert_status(task, "\nUid:\t65534\t65534\t1000\t65534\n");
	assert_status(task, "\nGid:\t65533\t65533\t65533\t65533\n");
	assert_status(task, "\nGroups:\t7 1000 ");
	assert_status(task, "\nCapInh:\t0000000000002400\n");
	assert_status(task, "\nCapPrm:\t0000000000002400\n");
	assert_status(task, "\nCapEff:\t0000000000000400\n");
	assert_status(task, "\nCapBnd:\t0000000000002400\n");
	assert_status(task, "\nCapAmb:\t0000000000000400\n");
	assert_status(task, "\nNoNewPrivs:\t1\n");
}

static uint64_t own_capabilities(void)
{
	_cleanup_free_ char *text = NULL;

	assert_int_equal(cor_slurp(AT_FDCWD, "/proc/self/status", &text, NULL), 0);
	return strtoull(strstr(text, "\nCapPrm:") + 8, NULL, 16);
}

static void credentials_are_never_gained(void **state)
{
	struct task *task = *state;
	Cor__Task__Credentials c = COR__TASK__CREDENTIALS__INIT;
	uint64_t own = own_capabilities();
	char line[64];

	c.cap_permitted = c.cap_effective = c.cap_bounding = c.cap_inheritable = ~0ull;
	task->thread[0].creds = &c;
	handmade_rebuild(task);
	snprintf(line, sizeof(line), "\nCapPrm:\t%016llx\n", (unsigned long long)own);
	assert_status(task, line);
	snprintf(line, sizeof(line), "\nCapEff:\t%016llx\n", (unsigned long long)own);
	assert_status(task, line);
}

static void malformed_image_is_refused(void **state)
{
	struct task *task = *state;
	struct cor_error err = COR_ERROR_INIT;

	task->vma[1].start = task->vma[0].start;
	OK(cor_rebuild_begin(&task->rb, &task->plan, &err));
	assert_int_equal(cor_rebuild_memory(task->rb, &task->image, &task->file_ok, NULL, 0,
					    &task->regions, &task->nregions, &err), -EPROTO);
	assert_null(task->regions);
}

static void files_are_compared(void **state)
{
	struct task *task = *state;
	bool ok = false;

	assert_int_equal(cor_rebuild_check_files(&task->memory, &ok, NULL), 0);
	assert_true(ok);
	task->file.mtime_ns++;
	assert_int_equal(cor_rebuild_check_files(&task->memory, &ok, NULL), 0);
	assert_false(ok);
}

#define T(f) cmocka_unit_test_setup_teardown(f, handmade_setup, handmade_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(task_finds_its_memory_and_registers),
		T(old_vdso_is_redirected),
		T(thread_at_the_entry_of_an_old_vdso_function),
		T(file_that_differs_is_fetched),
		T(written_pages_can_be_lazy),
		T(threads_have_their_tids),
		T(no_mapping_of_ours_remains),
		T(no_descriptor_of_ours_remains),
		T(abort_when_ready_leaves_nothing),
		T(abort_needs_no_descriptor),
		T(task_can_be_killed),
		T(stopped_task_arrives_stopped),
		T(credentials_are_given_up),
		T(credentials_are_never_gained),
		T(malformed_image_is_refused),
		T(files_are_compared),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
