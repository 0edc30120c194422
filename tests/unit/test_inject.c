/* inject: calls made by a forked process, which must not notice. */
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "libcor/task/inject.h"
#include "tests/unit/victim.h"

static struct victim v;

static int setup(void **state)
{
	memset(&v, 0, sizeof(v));
	return 0;
}

static int teardown(void **state)
{
	victim_end(&v);
	return 0;
}

/* Waits for one byte; 0 when read(2) saw nothing but that byte. */
static int body_reads(struct victim *w, void *arg)
{
	char c;

	if (arg)
		((void (*)(void))arg)();
	victim_ready(w);
	return read(w->to, &c, 1) == 1 && c == 'x' ? 0 : 1;
}

static void ignore_sigtrap(void)
{
	signal(SIGTRAP, SIG_IGN);
}

static void block_sigtrap_pending(void)
{
	sigset_t set;

	sigfillset(&set);
	sigprocmask(SIG_SETMASK, &set, NULL);
	raise(SIGTRAP);
}

static void on_trap(int sig)
{
	_exit(77);
}

static void handle_sigtrap(void)
{
	signal(SIGTRAP, on_trap);
}

static void start_stopped(void (*prepare)(void))
{
	victim_start(&v, body_reads, (void *)prepare);
	victim_await_sleep(v.pid);
	victim_seize(v.pid);
}

static struct cor_runner *map_runner(void)
{
	struct cor_error err = COR_ERROR_INIT;
	struct cor_runner *r = NULL;
	uint64_t insn = cor_find_syscall_insn(v.pid);

	assert_true(insn != 0);
	if (cor_runner_map(&r, v.pid, insn, 0, 8192, &err))
		fail_msg("%s", err.text);
	return r;
}

static void detach(void)
{
	assert_int_equal(ptrace(PTRACE_DETACH, v.pid, NULL, NULL), 0);
}

static unsigned count_lines(const char *what)
{
	char path[64];
	unsigned n = 0;
	FILE *f;
	int c;

	snprintf(path, sizeof(path), "/proc/%d/%s", v.pid, what);
	f = fopen(path, "r");
	assert_non_null(f);
	while ((c = getc(f)) != EOF)
		n += c == '\n';
	fclose(f);
	return n;
}

static void step_returns_the_calls_value(void **state)
{
	struct cor_call pid = { .nr = SYS_getpid }, bad = { .nr = SYS_close, .arg = { 4711 } };
	uint64_t insn;
	int64_t ret;

	start_stopped(NULL);
	insn = cor_find_syscall_insn(v.pid);
	assert_int_equal(cor_step_call(v.pid, insn, &pid, &ret, NULL), 0);
	assert_int_equal(ret, v.pid);
	assert_int_equal(cor_step_call(v.pid, insn, &bad, &ret, NULL), 0);
	assert_int_equal(ret, -EBADF);
	detach();
	assert_int_equal(victim_finish(&v), 0);
}

static void step_leaves_registers_and_mask(void **state)
{
	struct cor_call call = { .nr = SYS_getppid };
	struct user_regs_struct a, b;
	uint64_t mask_a, mask_b;
	int64_t ret;

	start_stopped(NULL);
	ptrace(PTRACE_GETREGS, v.pid, NULL, &a);
	ptrace(PTRACE_GETSIGMASK, v.pid, 8, &mask_a);
	assert_int_equal(cor_step_call(v.pid, cor_find_syscall_insn(v.pid), &call, &ret, NULL), 0);
	ptrace(PTRACE_GETREGS, v.pid, NULL, &b);
	ptrace(PTRACE_GETSIGMASK, v.pid, 8, &mask_b);
	assert_memory_equal(&a, &b, sizeof(a));
	assert_int_equal(mask_a, mask_b);
	detach();
	assert_int_equal(victim_finish(&v), 0);
}

/* As valgrind does it. */
static void unmap_the_vdso(void)
{
	unsigned long start = 0, end = 0;
	char line[200];
	FILE *f = fopen("/proc/self/maps", "r");

	while (f && fgets(line, sizeof(line), f))
		if (strstr(line, "[vdso]") && sscanf(line, "%lx-%lx", &start, &end) == 2)
			break;
	if (!end || munmap((void *)start, end - start) < 0)
		_exit(78);
}

static void without_a_vdso_other_code_has_an_instruction(void **state)
{
	struct cor_error err = COR_ERROR_INIT;
	struct cor_runner *r;
	struct cor_call *c;

	start_stopped(unmap_the_vdso);
	r = map_runner();
	c = cor_runner_room(r);
	c[0] = (struct cor_call){ .nr = SYS_getpid };
	assert_int_equal(cor_runner_run(r, v.pid, c, 1, 0, NULL, &err), 0);
	assert_int_equal(c[0].ret, v.pid);
	assert_int_equal(cor_runner_unmap(r, v.pid, &err), 0);
	detach();
	assert_int_equal(victim_finish(&v), 0);
}

static void run_fills_every_return_value(void **state)
{
	struct cor_runner *r;
	struct cor_call *c;
	unsigned done = 0;

	start_stopped(NULL);
	r = map_runner();
	c = cor_runner_room(r);
	memset(c, 0, cor_runner_size(r));
	c[0].nr = SYS_getpid;
	c[1].nr = SYS_close;
	c[1].arg[0] = 4711;
	c[2].nr = SYS_getppid;
	assert_int_equal(cor_runner_run(r, v.pid, c, 3, 0, &done, NULL), 0);
	assert_int_equal(done, 3);
	assert_int_equal(c[0].ret, v.pid);
	assert_int_equal(c[1].ret, -EBADF);
	assert_int_equal(c[2].ret, getpid());
	assert_int_equal(cor_runner_unmap(r, v.pid, NULL), 0);
	detach();
	assert_int_equal(victim_finish(&v), 0);
}

static void run_stops_at_first_error_if_asked(void **state)
{
	struct cor_runner *r;
	struct cor_call *c;
	unsigned done = 0;

	start_stopped(NULL);
	r = map_runner();
	c = cor_runner_room(r);
	memset(c, 0, cor_runner_size(r));
	c[0].nr = SYS_getpid;
	c[1].nr = SYS_close;
	c[1].arg[0] = 4711;
	c[2].nr = SYS_getpid;
	assert_int_equal(cor_runner_run(r, v.pid, c, 3, 1, &done, NULL), 0);
	assert_int_equal(done, 2);
	assert_int_equal(c[2].ret, 0);
	cor_runner_unmap(r, v.pid, NULL);
	detach();
	assert_int_equal(victim_finish(&v), 0);
}

static void data_in_the_room_reaches_the_call(void **state)
{
	struct cor_runner *r;
	struct cor_call *c;
	char *text, got[8] = "";

	start_stopped(NULL);
	r = map_runner();
	c = cor_runner_room(r);
	text = (char *)(c + 8);
	memset(c, 0, 64);
	strcpy(text, "hello");
	c->nr = SYS_write;
	c->arg[0] = 1;
	/* the victim's own write end: find it among its descriptors */
	for (int fd = 3; fd < 32; fd++) {
		char path[64], a[64] = "", b[64] = "";

		snprintf(path, sizeof(path), "/proc/%d/fd/%d", v.pid, fd);
		if (readlink(path, a, 63) < 0)
			continue;
		snprintf(path, sizeof(path), "/proc/self/fd/%d", v.from);
		assert_true(readlink(path, b, 63) > 0);
		if (!strcmp(a, b))
			c->arg[0] = (uint64_t)fd;
	}
	c->arg[1] = cor_runner_remote(r, text);
	c->arg[2] = 5;
	assert_int_equal(cor_runner_run(r, v.pid, c, 1, 0, NULL, NULL), 0);
	assert_int_equal(c->ret, 5);
	assert_int_equal(read(v.from, got, 5), 5);
	assert_string_equal(got, "hello");
	cor_runner_unmap(r, v.pid, NULL);
	detach();
	assert_int_equal(victim_finish(&v), 0);
}

static void runner_leaves_no_mapping_and_no_descriptor(void **state)
{
	struct cor_runner *r;
	unsigned maps;
	char path[64];
	int fd;

	start_stopped(NULL);
	maps = count_lines("maps");
	r = map_runner();
	assert_int_equal(count_lines("maps"), maps + 1);
	fd = open("/dev/null", O_RDONLY);    /* the victim's numbers are like ours */
	close(fd);
	snprintf(path, sizeof(path), "/proc/%d/fd/%d", v.pid, fd + 2);
	assert_int_equal(access(path, F_OK), -1);
	assert_int_equal(cor_runner_unmap(r, v.pid, NULL), 0);
	assert_int_equal(count_lines("maps"), maps);
	detach();
	assert_int_equal(victim_finish(&v), 0);
}

static void hint_is_exact_and_never_overmaps(void **state)
{
	struct cor_error err = COR_ERROR_INIT;
	struct cor_runner *r = NULL, *r2 = NULL;
	uint64_t insn, start, end, hint = 0x10000000;
	size_t size;

	start_stopped(NULL);
	insn = cor_find_syscall_insn(v.pid);
	assert_int_equal(cor_runner_map(&r, v.pid, insn, hint, 4096, &err), 0);
	cor_runner_range(r, &start, &end);
	assert_int_equal(start, hint);
	size = cor_runner_size(r);
	assert_true(size >= 4096 && end - start > size);
	assert_int_equal(cor_runner_map(&r2, v.pid, insn, hint, 4096, &err), -EEXIST);
	assert_null(r2);
	cor_runner_unmap(r, v.pid, NULL);
	detach();
	assert_int_equal(victim_finish(&v), 0);
}

/* Runs getpid and looks that SIGTRAP's entry in status stays as it was. */
static void run_with(void (*prepare)(void), const char *field)
{
	struct cor_runner *r;
	struct cor_call *c;
	char path[64], line[128], before[128] = "", after[128] = "";
	FILE *f;

	start_stopped(prepare);
	snprintf(path, sizeof(path), "/proc/%d/status", v.pid);
	f = fopen(path, "r");
	while (fgets(line, sizeof(line), f))
		if (!strncmp(line, field, strlen(field)))
			strcpy(before, line);
	fclose(f);
	r = map_runner();
	c = cor_runner_room(r);
	memset(c, 0, 128);
	c[0].nr = c[1].nr = SYS_getpid;
	assert_int_equal(cor_runner_run(r, v.pid, c, 2, 0, NULL, NULL), 0);
	assert_int_equal(c[1].ret, v.pid);
	cor_runner_unmap(r, v.pid, NULL);
	f = fopen(path, "r");
	while (fgets(line, sizeof(line), f))
		if (!strncmp(line, field, strlen(field)))
			strcpy(after, line);
	fclose(f);
	assert_string_equal(before, after);
	detach();
	assert_int_equal(victim_finish(&v), 0);
}

static void ignored_sigtrap_stays_ignored(void **state)
{
	run_with(ignore_sigtrap, "SigIgn:");
}

static void handler_of_sigtrap_is_not_run(void **state)
{
	run_with(handle_sigtrap, "SigCgt:");
}

static void pending_sigtrap_stays_pending(void **state)
{
	run_with(block_sigtrap_pending, "SigPnd:");
}

static void a_list_that_ignores_sigtrap_is_followed_by_another(void **state)
{
	struct { uint64_t handler, flags, restorer, mask; } *act;
	struct cor_runner *r;
	struct cor_call *c;

	start_stopped(NULL);
	r = map_runner();
	c = cor_runner_room(r);
	act = (void *)(c + 4);
	memset(c, 0, 4096);
	act->handler = 1;
	c->nr = SYS_rt_sigaction;
	c->arg[0] = SIGTRAP;
	c->arg[1] = cor_runner_remote(r, act);
	c->arg[3] = 8;
	assert_int_equal(cor_runner_run(r, v.pid, c, 1, 0, NULL, NULL), 0);
	assert_int_equal(c->ret, 0);
	c->arg[1] = 0;
	c->arg[2] = cor_runner_remote(r, act + 1);
	assert_int_equal(cor_runner_run(r, v.pid, c, 1, 0, NULL, NULL), 0);
	assert_int_equal(act[1].handler, 1);
	cor_runner_unmap(r, v.pid, NULL);
	detach();
	assert_int_equal(victim_finish(&v), 0);
}

static void sigstop_in_the_middle_is_kept(void **state)
{
	struct cor_runner *r;
	struct cor_call *c;
	int st;

	start_stopped(NULL);
	r = map_runner();
	c = cor_runner_room(r);
	memset(c, 0, 64);
	c->nr = SYS_getpid;
	kill(v.pid, SIGSTOP);
	assert_int_equal(cor_runner_run(r, v.pid, c, 1, 0, NULL, NULL), 0);
	assert_int_equal(c->ret, v.pid);
	cor_runner_unmap(r, v.pid, NULL);
	detach();
	assert_int_equal(waitpid(v.pid, &st, WUNTRACED), v.pid);
	assert_true(WIFSTOPPED(st) && WSTOPSIG(st) == SIGSTOP);
	kill(v.pid, SIGCONT);
	assert_int_equal(victim_finish(&v), 0);
}

static void death_in_the_middle_is_reported(void **state)
{
	struct cor_error err = COR_ERROR_INIT;
	struct cor_runner *r;
	struct cor_call *c;

	start_stopped(NULL);
	r = map_runner();
	c = cor_runner_room(r);
	memset(c, 0, 128);
	c[0].nr = SYS_kill;
	c[0].arg[0] = (uint64_t)v.pid;
	c[0].arg[1] = SIGKILL;
	c[1].nr = SYS_getpid;
	assert_int_equal(cor_runner_run(r, v.pid, c, 2, 0, NULL, &err), -ESRCH);
	assert_non_null(strstr(err.text, "thread"));
	cor_runner_free(r);
}

static void *thread_waits(void *arg)
{
	struct victim *w = arg;

	__atomic_store_n((int *)w->shared, (int)gettid(), __ATOMIC_SEQ_CST);
	syscall(SYS_futex, (int *)w->shared + 1, 0 /* FUTEX_WAIT */, 0, NULL, NULL, 0);
	return NULL;
}

static int body_two_threads(struct victim *w, void *arg)
{
	pthread_t t;
	char c;

	pthread_create(&t, NULL, thread_waits, w);
	while (!__atomic_load_n((int *)w->shared, __ATOMIC_SEQ_CST))
		sched_yield();
	victim_ready(w);
	return read(w->to, &c, 1) == 1 && !*((int *)w->shared + 1) ? 0 : 1;
}

static void run_many_runs_each_list_in_its_thread(void **state)
{
	struct cor_runner_job job[2] = { { 0 } };
	struct cor_runner *r;
	struct cor_call *c;

	victim_start(&v, body_two_threads, NULL);
	victim_await_sleep(v.pid);
	job[0].tid = v.pid;
	job[1].tid = *(int *)v.shared;
	victim_seize(job[0].tid);
	victim_seize(job[1].tid);
	r = map_runner();
	c = cor_runner_room(r);
	memset(c, 0, 128);
	for (int i = 0; i < 2; i++) {
		c[i].nr = SYS_gettid;
		job[i].calls = &c[i];
		job[i].n = 1;
	}
	assert_int_equal(cor_runner_run_many(r, job, 2, 0, NULL), 0);
	assert_int_equal(c[0].ret, job[0].tid);
	assert_int_equal(c[1].ret, job[1].tid);
	assert_int_equal(job[1].done, 1);
	cor_runner_unmap(r, v.pid, NULL);
	ptrace(PTRACE_DETACH, job[1].tid, NULL, NULL);
	detach();
	assert_int_equal(victim_finish(&v), 0);
}

/* The list waits, in a futex, for what the caller does between the two. */
static void lists_run_while_the_caller_goes_on(void **state)
{
	struct cor_running *running;
	struct cor_runner_job job;
	struct cor_runner *r;
	struct cor_call *c;
	uint32_t *word;

	victim_start(&v, body_two_threads, NULL);
	victim_await_sleep(v.pid);
	victim_seize(v.pid);
	r = map_runner();
	c = cor_runner_room(r);
	memset(c, 0, 128);
	word = (uint32_t *)(c + 2);
	*word = 1;
	c[0] = (struct cor_call){ .nr = SYS_futex,
				  .arg = { cor_runner_remote(r, word), FUTEX_WAIT, 1 } };
	c[1].nr = SYS_gettid;
	job = (struct cor_runner_job){ .tid = v.pid, .calls = c, .n = 2 };
	assert_int_equal(cor_runner_start_many(r, &job, 1, 0, &running, NULL), 0);
	victim_await_sleep(v.pid);
	assert_int_equal(c[1].ret, 0);
	__atomic_store_n(word, 2, __ATOMIC_SEQ_CST);
	assert_int_equal(syscall(SYS_futex, word, FUTEX_WAKE, 1, NULL, NULL, 0), 1);
	assert_int_equal(cor_runner_await_many(running, NULL), 0);
	assert_int_equal(job.done, 2);
	assert_int_equal(c[0].ret, 0);
	assert_int_equal(c[1].ret, v.pid);
	cor_runner_unmap(r, v.pid, NULL);
	detach();
	assert_int_equal(victim_finish(&v), 0);
}

/* A list of n calls the last of which sleeps so long; what that returned. */
static int64_t sleep_last(unsigned n, const struct timespec *how_long)
{
	struct cor_error err = COR_ERROR_INIT;
	struct cor_runner *r;
	struct cor_call *c;
	struct timespec *ts;
	struct cor_runner_job job;
	int64_t ret;

	start_stopped(NULL);
	r = map_runner();
	cor_runner_bare(r);
	c = cor_runner_room(r);
	ts = (void *)(c + n);
	*ts = *how_long;
	for (unsigned i = 0; i < n; i++)
		c[i] = (struct cor_call){ .nr = SYS_gettid };
	c[n - 1] = (struct cor_call){ .nr = SYS_nanosleep, .arg = { cor_runner_remote(r, ts) } };
	job = (struct cor_runner_job){ .tid = v.pid, .calls = c, .n = n, .waits = true };
	if (cor_runner_run_many(r, &job, 1, 0, &err))
		fail_msg("%s", err.text);
	assert_int_equal(job.done, n);
	for (unsigned i = 0; i + 1 < n; i++)
		assert_int_equal(c[i].ret, v.pid);
	ret = c[n - 1].ret;
	cor_runner_free(r);
	return ret;
}

static void a_last_call_that_waits_is_interrupted(void **state)
{
	assert_int_equal(sleep_last(20, &(struct timespec){ 1000, 0 }), -516);
}

static void so_is_one_that_is_the_only_call(void **state)
{
	assert_int_equal(sleep_last(1, &(struct timespec){ 1000, 0 }), -516);
}

/* Its end and the interrupt cross. */
static void a_last_call_that_is_over_at_once_ends_the_list(void **state)
{
	for (unsigned i = 0; i < 20; i++) {
		int64_t ret = sleep_last(1 + i % 3, &(struct timespec){ 0, 0 });

		assert_true(ret == 0 || ret == -516);
		victim_end(&v);
		memset(&v, 0, sizeof(v));
	}
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(step_returns_the_calls_value),
		T(step_leaves_registers_and_mask),
		T(without_a_vdso_other_code_has_an_instruction),
		T(run_fills_every_return_value),
		T(run_stops_at_first_error_if_asked),
		T(data_in_the_room_reaches_the_call),
		T(runner_leaves_no_mapping_and_no_descriptor),
		T(hint_is_exact_and_never_overmaps),
		T(ignored_sigtrap_stays_ignored),
		T(handler_of_sigtrap_is_not_run),
		T(pending_sigtrap_stays_pending),
		T(a_list_that_ignores_sigtrap_is_followed_by_another),
		T(sigstop_in_the_middle_is_kept),
		T(death_in_the_middle_is_reported),
		T(run_many_runs_each_list_in_its_thread),
		T(lists_run_while_the_caller_goes_on),
		T(a_last_call_that_waits_is_interrupted),
		T(so_is_one_that_is_the_only_call),
		T(a_last_call_that_is_over_at_once_ends_the_list),
	};

	if (geteuid())
		return 77;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
