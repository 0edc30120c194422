/* tracee: stopping and letting go, which the task must not notice. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/inotify.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/rseq.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "libcor/base/io.h"
#include "libcor/task/inject.h"
#include "libcor/task/restart.h"
#include "libcor/task/tracee.h"
#include "libcor/task/tracee_state.h"
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

static char state_of(pid_t pid)
{
	char path[64], *text = NULL, s = 0;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	if (!cor_slurp(AT_FDCWD, path, &text, NULL))
		s = strrchr(text, ')')[2];
	free(text);
	return s;
}

/* ---- a program that waits in many ways ------------------------------------------ */

enum { READ, FUTEX, EPOLL, NANOSLEEP, POLL, SIGWAIT, INOTIFY, SELECT, RECV, WAYS };
static const char *const way_name[] = { "read", "futex", "epoll_wait", "nanosleep", "poll",
					"rt_sigtimedwait", "inotify read", "select", "recv" };

struct waits {                  /* in the shared page */
	atomic_int ready, go;
	atomic_int result[WAYS];        /* 1: as it should be; -errno or other: not */
	int futex;
};

static struct waits *w;
static int pipes[WAYS][2];

static int wait_one(int way)
{
	struct pollfd p = { .fd = pipes[way][0], .events = POLLIN };
	struct timespec ts = { .tv_nsec = 400000000 }, five = { .tv_sec = 5 };
	struct epoll_event ev = { .events = EPOLLIN };
	sigset_t set;
	fd_set fds;
	char c[64];
	int ep;

	switch (way) {
	case READ:
		return (int)read(pipes[way][0], c, 1);
	case FUTEX:
		return syscall(SYS_futex, &w->futex, 0, 0, NULL, NULL, 0) == 0 ? 1 : -errno;
	case EPOLL:
		ep = epoll_create1(0);
		epoll_ctl(ep, EPOLL_CTL_ADD, pipes[way][0], &ev);
		return epoll_wait(ep, &ev, 1, 30000) == 1 ? 1 : -errno;
	case NANOSLEEP:
		return nanosleep(&ts, NULL) == 0 ? 1 : -errno;
	case POLL:
		return poll(&p, 1, 30000) == 1 ? 1 : -errno;
	case SIGWAIT:
		sigemptyset(&set);
		sigaddset(&set, SIGUSR2);
		five.tv_sec = 30;
		return sigtimedwait(&set, NULL, &five) == SIGUSR2 ? 1 : -errno;
	case RECV:      /* with SO_RCVTIMEO the kernel itself does not restart it */
		return (int)recv(pipes[way][0], c, 1, 0);
	case INOTIFY:
		return read(pipes[way][0], c, sizeof(c)) > 0 ? 1 : -errno;
	case SELECT:
		FD_ZERO(&fds);
		FD_SET(pipes[way][0], &fds);
		return select(pipes[way][0] + 1, &fds, NULL, NULL, NULL) == 1 ? 1 : -errno;
	}
	return 0;
}

static void *waiter(void *arg)
{
	int way = (int)(intptr_t)arg;

	atomic_fetch_add(&w->ready, 1);
	atomic_store(&w->result[way], wait_one(way));
	return NULL;
}

static int body_waits(struct victim *self, void *arg)
{
	pthread_t t[WAYS];
	struct timeval limit = { .tv_sec = 30 };
	int fd = open("/tmp", O_TMPFILE | O_RDWR, 0600);        /* leaves nothing behind */
	char path[32], c;
	sigset_t set;

	w = self->shared;
	sigemptyset(&set);
	sigaddset(&set, SIGUSR2);
	sigprocmask(SIG_BLOCK, &set, NULL);
	for (int i = 0; i < WAYS; i++)
		if (pipe(pipes[i]))
			return 1;
	if (socketpair(AF_UNIX, SOCK_STREAM, 0, pipes[RECV]) ||
	    setsockopt(pipes[RECV][0], SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)))
		return 1;
	pipes[INOTIFY][0] = inotify_init1(0);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	inotify_add_watch(pipes[INOTIFY][0], path, IN_MODIFY);
	for (int i = 0; i < WAYS; i++)
		pthread_create(&t[i], NULL, waiter, (void *)(intptr_t)i);
	while (atomic_load(&w->ready) < WAYS)
		sched_yield();
	victim_ready(self);
	if (read(self->to, &c, 1) != 1)
		return 2;
	w->futex = 1;
	syscall(SYS_futex, &w->futex, 1, 1, NULL, NULL, 0);
	for (int i = 0; i < WAYS; i++)
		if (write(pipes[i][1], "x", 1) != 1 && i != INOTIFY)
			return 3;
	if (write(fd, "x", 1) != 1)
		return 4;
	kill(getpid(), SIGUSR2);
	for (int i = 0; i < WAYS; i++)
		pthread_join(t[i], NULL);
	for (int i = 0; i < WAYS; i++)
		if (atomic_load(&w->result[i]) != 1)
			return 10 + i;
	return 0;
}

static void stop_and_thaw(int inject)
{
	struct cor_error err = COR_ERROR_INIT;
	struct cor_tracee *t = NULL;

	if (cor_tracee_seize(&t, v.pid, &err) || cor_tracee_stop(t, 2000, &err))
		fail_msg("%s", err.text);
	if (inject) {
		struct cor_runner *r = NULL;
		struct cor_runner_job job[32] = { { 0 } };
		struct cor_call *c;

		if (cor_runner_map(&r, v.pid, cor_find_syscall_insn(v.pid), 0, 4096, &err))
			fail_msg("%s", err.text);
		c = cor_runner_room(r);
		memset(c, 0, 4096);
		for (unsigned i = 0; i < t->nthreads; i++) {
			c[i].nr = SYS_gettid;
			job[i] = (struct cor_runner_job){
				.tid = t->threads[i].tid, .calls = &c[i], .n = 1 };
		}
		assert_int_equal(cor_runner_run_many(r, job, t->nthreads, 0, &err), 0);
		for (unsigned i = 0; i < t->nthreads; i++)
			assert_int_equal(c[i].ret, t->threads[i].tid);
		assert_int_equal(cor_runner_unmap(r, v.pid, &err), 0);
	}
	cor_tracee_thaw(t);
}

static void check_results(void)
{
	int st;

	victim_await_sleep(v.pid);      /* else the futex may change before its waiter is back */
	st = victim_finish(&v);

	if (st >= 10)
		fail_msg("%s did not return what it should", way_name[st - 10]);
	assert_int_equal(st, 0);
}

static void hundred_stops_are_not_seen(void **state)
{
	victim_start(&v, body_waits, NULL);
	victim_await_sleep(v.pid);
	for (int i = 0; i < 100; i++)
		stop_and_thaw(0);
	check_results();
}

static void injected_calls_are_not_seen(void **state)
{
	victim_start(&v, body_waits, NULL);
	victim_await_sleep(v.pid);
	for (int i = 0; i < 30; i++)
		stop_and_thaw(1);
	check_results();
}

/* ---- a tracer that is killed ------------------------------------------------------ */

/* A thread whose registers, mask or clock would not be right. */
enum { WRONG_MASK = 1, WRONG_SUM, WRONG_SLEEP };

struct busy {
	_Atomic uint64_t rounds[3];
	atomic_int wrong;
};

static _Noreturn void *checks_mask(void *arg)
{
	struct busy *b = arg;

	for (;; atomic_fetch_add(&b->rounds[0], 1)) {
		uint64_t set = 0;

		syscall(SYS_rt_sigprocmask, SIG_BLOCK, NULL, &set, 8);
		if (set != 1u << (SIGUSR2 - 1))
			atomic_store(&b->wrong, WRONG_MASK);
	}
}

static _Noreturn void *sums(void *arg)
{
	struct busy *b = arg;

	for (;; atomic_fetch_add(&b->rounds[1], 1)) {
		uint64_t x = 1, y = 3, z = 5, first = 0;
		double d = 1;

		for (int twice = 0; twice < 2; twice++) {
			x = 1, y = 3, z = 5, d = 1;
			for (int i = 0; i < 1000; i++) {
				x = x * 6364136223846793005u + 1442695040888963407u;
				y ^= x >> 7;
				z += y * x;
				d = d * 1.0001 + (double)(z & 1);
			}
			if (twice && first != (x ^ y ^ z ^ (uint64_t)d))
				atomic_store(&b->wrong, WRONG_SUM);
			first = x ^ y ^ z ^ (uint64_t)d;
		}
	}
}

static _Noreturn void *sleeps(void *arg)
{
	struct busy *b = arg;

	for (;; atomic_fetch_add(&b->rounds[2], 1)) {
		struct timespec ts = { .tv_nsec = 500000 };

		if (nanosleep(&ts, NULL) < 0)
			atomic_store(&b->wrong, WRONG_SLEEP);
	}
}

static int body_busy(struct victim *self, void *arg)
{
	void *(*const what[])(void *) = { checks_mask, sums, sleeps };
	sigset_t set;
	pthread_t t;
	char c;

	sigemptyset(&set);
	sigaddset(&set, SIGUSR2);
	sigprocmask(SIG_SETMASK, &set, NULL);
	for (unsigned i = 0; i < 3; i++)
		pthread_create(&t, NULL, what[i], self->shared);
	victim_ready(self);
	while (read(self->to, &c, 1) < 0)
		;
	return 0;
}

/* Stops all threads and makes them run calls, for ever. */
static void trace_for_ever(int ready)
{
	struct cor_runner_job job[32] = { { 0 } };
	struct cor_runner *r = NULL;
	struct cor_tracee *t = NULL;
	struct cor_call *c;

	if (cor_tracee_seize(&t, v.pid, NULL) || cor_tracee_stop(t, 2000, NULL) ||
	    cor_runner_map(&r, v.pid, cor_find_syscall_insn(v.pid), 0, 8192, NULL))
		_exit(1);
	c = cor_runner_room(r);
	for (unsigned i = 0; i < t->nthreads; i++)
		job[i] = (struct cor_runner_job){
			.tid = t->threads[i].tid, .calls = &c[i * 3], .n = 3 };
	(void)!write(ready, "", 1);
	for (;;) {
		memset(c, 0, 4096);
		for (unsigned i = 0; i < 3 * t->nthreads; i++)
			c[i].nr = SYS_gettid;
		if (cor_runner_run_many(r, job, t->nthreads, 0, NULL))
			_exit(1);
	}
}

static void kill_a_tracer(unsigned us)
{
	int ready[2], status;
	char c;
	pid_t pid;

	assert_int_equal(pipe(ready), 0);
	pid = fork();
	if (pid == 0)
		trace_for_ever(ready[1]);
	close(ready[1]);
	assert_int_equal(read(ready[0], &c, 1), 1);
	close(ready[0]);
	usleep(us);
	kill(pid, SIGKILL);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status));
}

static void await_round(struct busy *b, unsigned i)
{
	uint64_t from = atomic_load(&b->rounds[i]);

	while (atomic_load(&b->rounds[i]) < from + 2) {
		assert_int_equal(waitpid(v.pid, NULL, WNOHANG), 0);
		sched_yield();
	}
}

static void a_task_goes_on_when_its_tracer_is_killed(void **state)
{
	struct busy *b;

	victim_start(&v, body_busy, NULL);
	b = v.shared;
	srandom(7);
	for (int i = 0; i < 100; i++) {
		kill_a_tracer((unsigned)random() % 1000);
		for (unsigned k = 0; k < 3; k++)
			await_round(b, k);
		assert_int_equal(atomic_load(&b->wrong), 0);
	}
	assert_int_equal(victim_finish(&v), 0);
}

static unsigned threads_of(pid_t pid)
{
	char path[64];
	struct stat st;

	snprintf(path, sizeof(path), "/proc/%d/task", pid);
	assert_int_equal(stat(path, &st), 0);
	return (unsigned)st.st_nlink - 2;
}

static void no_thread_is_left_out_for_want_of_a_descriptor(void **state)
{
	struct rlimit old;
	unsigned complete = 0;

	victim_start(&v, body_waits, NULL);
	victim_await_sleep(v.pid);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
	for (rlim_t n = 3; n < 32; n++) {
		struct rlimit few = { n, old.rlim_max };
		struct cor_tracee *t = NULL;
		int r;

		assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
		r = cor_tracee_seize(&t, v.pid, NULL);
		if (r == 0)
			r = cor_tracee_stop(t, 2000, NULL);
		assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
		if (r == 0)
			assert_int_equal(t->nthreads, threads_of(v.pid));
		else
			assert_int_equal(r, -EMFILE);
		complete += r == 0;
		cor_tracee_thaw(t);
	}
	assert_in_range(complete, 1, 28);
	check_results();
}

/* ---- signals that race ------------------------------------------------------------ */

static volatile sig_atomic_t hits;

static void on_usr1(int sig)
{
	hits++;
}

static int body_counts(struct victim *self, void *arg)
{
	signal(SIGUSR1, on_usr1);
	victim_ready(self);
	for (;;) {
		char c;
		ssize_t n = read(self->to, &c, 1);

		if (n == 1)
			return hits;
		if (n < 0 && errno != EINTR)
			return 99;
	}
}

static void signals_during_stops_are_delivered_once(void **state)
{
	victim_start(&v, body_counts, NULL);
	for (int i = 0; i < 20; i++) {
		struct cor_tracee *t = NULL;

		assert_int_equal(cor_tracee_seize(&t, v.pid, NULL), 0);
		kill(v.pid, SIGUSR1);
		assert_int_equal(cor_tracee_stop(t, 1000, NULL), 0);
		cor_tracee_thaw(t);
		victim_await_sleep(v.pid);      /* standard signals do not queue */
	}
	assert_int_equal(victim_finish(&v), 20);
}

static void a_stopped_task_stays_stopped(void **state)
{
	struct cor_tracee *t = NULL;
	int st;

	victim_start(&v, body_counts, NULL);
	kill(v.pid, SIGSTOP);
	assert_int_equal(waitpid(v.pid, &st, WUNTRACED), v.pid);
	assert_int_equal(cor_tracee_seize(&t, v.pid, NULL), 0);
	assert_int_equal(cor_tracee_stop(t, 1000, NULL), 0);
	assert_true(t->threads[0].group_stop);
	cor_tracee_thaw(t);
	/* its parent has been told once and is not told again */
	while (state_of(v.pid) != 'T')
		sched_yield();
	kill(v.pid, SIGCONT);
	assert_int_equal(victim_finish(&v), 0);
}

static void calls_in_a_stopped_task_leave_it_stopped(void **state)
{
	int st;

	victim_start(&v, body_counts, NULL);
	kill(v.pid, SIGSTOP);
	assert_int_equal(waitpid(v.pid, &st, WUNTRACED), v.pid);
	stop_and_thaw(1);
	while (state_of(v.pid) != 'T')
		sched_yield();
	kill(v.pid, SIGCONT);
	assert_int_equal(victim_finish(&v), 0);
}

static void death_of_many_threads_is_reported(void **state)
{
	struct cor_error err = COR_ERROR_INIT;
	struct cor_runner *r = NULL;
	struct cor_tracee *t = NULL;
	struct cor_call *c;

	victim_start(&v, body_waits, NULL);
	assert_int_equal(cor_tracee_seize(&t, v.pid, &err), 0);
	assert_int_equal(cor_tracee_stop(t, 2000, &err), 0);
	assert_int_equal(cor_runner_map(&r, v.pid, cor_find_syscall_insn(v.pid), 0, 4096, &err), 0);
	c = cor_runner_room(r);
	memset(c, 0, 64);
	c->nr = SYS_pause;
	kill(v.pid, SIGKILL);
	/* the leader's end is not reported while the others wait for us */
	assert_int_equal(cor_runner_run(r, v.pid, c, 1, 0, NULL, &err), -ESRCH);
	cor_runner_free(r);
	cor_tracee_kill(t);
}

/* ---- restartable sequences ------------------------------------------------------------ */

struct section {                /* struct rseq_cs, linux/rseq.h */
	uint32_t version, flags;
	uint64_t start_ip, post_commit_offset, abort_ip;
} __attribute__((aligned(32)));

static struct section section;

/* rdi: counts aborts; rsi: rseq_cs; rdx: the section. Spins in the section for ever. */
__asm__(".text\n"
	"test_spin:\n"
	"	mov %rdx, (%rsi)\n"
	"test_section:\n"
	"	pause\n"
	"	jmp test_section\n"
	"test_section_end:\n"
	"	ud2\n"
	"	.byte 0x0f, 0xb9, 0x3d\n"
	"	.long 0x53053053\n"            /* RSEQ_SIG */
	"test_abort:\n"
	"	incq (%rdi)\n"
	"	jmp test_spin\n");
void test_spin(void *count, void *cs, void *section);
extern const char test_section[], test_section_end[], test_abort[];

static int body_in_section(struct victim *self, void *arg)
{
	struct rseq *rs = (void *)((char *)__builtin_thread_pointer() + __rseq_offset);

	section.start_ip = (uintptr_t)test_section;
	section.post_commit_offset = (uint64_t)(test_section_end - test_section);
	section.abort_ip = (uintptr_t)test_abort;
	*(int *)((char *)self->shared + 64) = __rseq_size > 0;
	victim_ready(self);
	if (__rseq_size)
		test_spin(self->shared, &rs->rseq_cs, &section);
	return 0;
}

static void a_critical_section_is_aborted(void **state)
{
	struct cor_error err = COR_ERROR_INIT;
	struct user_regs_struct regs;
	struct cor_tracee *t = NULL;
	struct cor_call call = { .nr = SYS_getpid };
	int64_t ret;

	victim_start(&v, body_in_section, NULL);
	if (!*(int *)((char *)v.shared + 64))
		skip();                 /* this C library registers no rseq */
	for (int i = 0; i < 100; i++) {
		assert_int_equal(cor_tracee_seize(&t, v.pid, &err), 0);
		assert_int_equal(cor_tracee_stop(t, 1000, &err), 0);
		if (t->threads[0].rseq_abort_ip)
			break;
		cor_tracee_thaw(t);     /* it was just entering */
	}
	assert_true(t->threads[0].rseq_abort_ip == (uintptr_t)test_abort);
	assert_true(t->threads[0].rseq_cs == (uintptr_t)&section);
	/* an injected call makes the kernel forget the section */
	assert_int_equal(cor_step_call(v.pid, cor_find_syscall_insn(v.pid), &call, &ret, &err), 0);
	cor_thread_put_right(&t->threads[0]);
	assert_int_equal(ptrace(PTRACE_GETREGS, v.pid, NULL, &regs), 0);
	assert_true(regs.rip == (uintptr_t)test_abort);
	cor_tracee_thaw(t);
}

/* ---- refusals ------------------------------------------------------------------------ */

static int body_vforks(struct victim *self, void *arg)
{
	victim_ready(self);
	if (!vfork()) {
		char c;

		_exit(read(self->to, &c, 1) == 1 ? 0 : 1);
	}
	return 0;
}

static void a_vfork_parent_times_out(void **state)
{
	struct cor_error err = COR_ERROR_INIT;
	struct cor_tracee *t = NULL;
	char tid[16];
	int st;

	victim_start(&v, body_vforks, NULL);
	while (state_of(v.pid) != 'D')
		sched_yield();
	assert_int_equal(cor_tracee_seize(&t, v.pid, &err), 0);
	assert_int_equal(cor_tracee_stop(t, 30, &err), -ETIME);
	snprintf(tid, sizeof(tid), "%d", v.pid);
	assert_non_null(strstr(err.text, tid));
	assert_int_equal(write(v.to, "x", 1), 1);       /* the child ends, the parent stops */
	cor_tracee_thaw(t);
	assert_int_equal(waitpid(v.pid, &st, 0), v.pid);
	assert_true(WIFEXITED(st));
	v.pid = 0;
}

static void a_process_that_is_not_there_is_named(void **state)
{
	struct cor_error err = COR_ERROR_INIT;
	struct cor_tracee *t = NULL;

	assert_int_equal(cor_tracee_seize(&t, 4194000, &err), -ESRCH);
	assert_non_null(strstr(err.text, "4194000"));
	assert_null(t);
}

static int body_is_traced(struct victim *self, void *arg)
{
	pid_t me = getpid(), tracer = fork();
	char c;

	if (!tracer) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (ptrace(PTRACE_SEIZE, me, NULL, NULL))
			_exit(1);
		victim_ready(self);
		for (;;)
			pause();
	}
	prctl(PR_SET_PTRACER, tracer);
	*(pid_t *)self->shared = tracer;
	return read(self->to, &c, 1) == 1 ? 0 : 1;
}

static void another_tracer_is_named(void **state)
{
	struct cor_error err = COR_ERROR_INIT;
	struct cor_tracee *t = NULL;
	char tracer[16];

	victim_start(&v, body_is_traced, NULL);
	while (!*(volatile pid_t *)v.shared)
		sched_yield();
	snprintf(tracer, sizeof(tracer), "%d", *(pid_t *)v.shared);
	assert_int_equal(cor_tracee_seize(&t, v.pid, &err), -EPERM);
	assert_non_null(strstr(err.text, tracer));
	kill(*(pid_t *)v.shared, SIGKILL);
}

/* ---- what is found out ----------------------------------------------------------------- */

static int body_sleeps(struct victim *self, void *arg)
{
	struct timespec ts = { .tv_sec = 20 };

	victim_ready(self);
	nanosleep(&ts, NULL);
	return 0;
}

static void time_slept_is_known(void **state)
{
	struct cor_error err = COR_ERROR_INIT;
	struct user_regs_struct regs;
	struct cor_restart rs;
	struct cor_tracee *t = NULL;
	uint64_t since, until;

	victim_start(&v, body_sleeps, NULL);
	victim_await_sleep(v.pid);
	since = cor_now_ns();
	while (cor_now_ns() < since + 30000000)
		sched_yield();
	assert_int_equal(cor_tracee_seize(&t, v.pid, &err), 0);
	assert_int_equal(cor_tracee_stop(t, 1000, &err), 0);
	until = cor_now_ns();
	if (t->threads[0].slept_ns) {   /* unknown when the scheduler moved it to another CPU */
		assert_true(t->threads[0].slept_ns > 25000000);
		assert_true(t->threads[0].slept_ns < until - since + 1000000000);
	}
	regs = t->threads[0].regs;
	assert_int_equal(cor_restart_image(v.pid, &regs, t->threads[0].slept_ns, NULL, COR_HANDLER_NONE,
					   &rs, &err), 0);
	assert_int_equal(rs.kind, COR__TASK__RESTART_KIND__RESTART_BLOCK);
	assert_int_equal(rs.remaining_ns, 20000000000ull - t->threads[0].slept_ns);
	assert_memory_equal(&regs, &t->threads[0].regs, sizeof(regs));
	cor_tracee_thaw(t);
}

static void *born_late(void *arg)
{
	pause();
	return NULL;
}

static int body_breeds(struct victim *self, void *arg)
{
	pthread_t t;

	victim_ready(self);
	for (int i = 0; i < 40; i++)
		pthread_create(&t, NULL, born_late, NULL);
	pause();
	return 0;
}

static unsigned count_threads(pid_t pid, char *state)
{
	unsigned n = 0;
	char path[64];

	*state = state_of(pid);
	snprintf(path, sizeof(path), "/proc/%d/status", pid);
	{
		char *text = NULL;

		if (!cor_slurp(AT_FDCWD, path, &text, NULL))
			n = (unsigned)atoi(strstr(text, "\nThreads:") + 9);
		free(text);
	}
	return n;
}

static void threads_being_born_are_stopped(void **state)
{
	struct cor_tracee *t = NULL;
	char s;

	victim_start(&v, body_breeds, NULL);
	assert_int_equal(cor_tracee_seize(&t, v.pid, NULL), 0);
	assert_int_equal(cor_tracee_stop(t, 2000, NULL), 0);
	assert_int_equal(t->nthreads, count_threads(v.pid, &s));
	assert_int_equal(s, 't');
	assert_int_equal(t->threads[0].tid, v.pid);
	cor_tracee_thaw(t);
	while (count_threads(v.pid, &s) < 41)
		sched_yield();
}

/* ---- ghosts ------------------------------------------------------------------------------ */

static void a_killed_tracee_is_gone(void **state)
{
	struct cor_tracee *t = NULL;

	victim_start(&v, body_waits, NULL);
	assert_int_equal(cor_tracee_seize(&t, v.pid, NULL), 0);
	assert_int_equal(cor_tracee_stop(t, 2000, NULL), 0);
	assert_int_equal(cor_tracee_make_ghost(t, NULL), 0);
	cor_tracee_kill(t);
	assert_int_equal(kill(v.pid, 0), -1);
}

static void a_ghost_dies_with_its_tracer(void **state)
{
	pid_t tracer;
	int st;

	victim_start(&v, body_counts, NULL);
	tracer = fork();
	if (!tracer) {
		struct cor_tracee *t = NULL;

		if (cor_tracee_seize(&t, v.pid, NULL) || cor_tracee_stop(t, 1000, NULL) ||
		    cor_tracee_make_ghost(t, NULL))
			_exit(1);
		_exit(0);
	}
	assert_int_equal(waitpid(tracer, &st, 0), tracer);
	assert_int_equal(st, 0);
	assert_int_equal(waitpid(v.pid, &st, 0), v.pid);
	assert_true(WIFSIGNALED(st) && WTERMSIG(st) == SIGKILL);
	v.pid = 0;
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(hundred_stops_are_not_seen),
		T(injected_calls_are_not_seen),
		T(a_task_goes_on_when_its_tracer_is_killed),
		T(no_thread_is_left_out_for_want_of_a_descriptor),
		T(signals_during_stops_are_delivered_once),
		T(a_stopped_task_stays_stopped),
		T(calls_in_a_stopped_task_leave_it_stopped),
		T(death_of_many_threads_is_reported),
		T(a_critical_section_is_aborted),
		T(a_vfork_parent_times_out),
		T(a_process_that_is_not_there_is_named),
		T(another_tracer_is_named),
		T(time_slept_is_known),
		T(threads_being_born_are_stopped),
		T(a_killed_tracee_is_gone),
		T(a_ghost_dies_with_its_tracer),
	};

	if (geteuid())
		return 77;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
