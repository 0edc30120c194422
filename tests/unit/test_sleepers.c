/* sleepers: threads that sleep, read ahead of the freeze, are in the image what they would have
 * been had they been read in it. */
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "libcor/base/cleanup.h"
#include "libcor/base/io.h"
#include "libcor/task/capture.h"
#include "tests/unit/victim.h"

#define NS 1000000000ull
#define STACK 65536

/* How the victim's threads wait. The first four go on by themselves behind a stop. */
enum { ON_FUTEX, IN_NANOSLEEP, ON_FUTEX_TIMED, IN_POLL, IN_EPOLL, ON_CPU_TIME, THREADS };

/* In the shared page. */
struct facts {
	_Atomic uint32_t futex[THREADS];
	_Atomic int32_t tid[THREADS];
	_Atomic uint32_t woken;         /* times that a thread has left its futex */
	_Atomic uint32_t renamed;       /* times that who is IN_POLL was, on a byte from us each */
};

static struct victim v;
static struct cor_sleepers sleepers;
static struct cor_tracee *t;
static Cor__Task__Image *image;
static Cor__Task__Sleepers *sent;

static int setup(void **state)
{
	memset(&v, 0, sizeof(v));
	sleepers = (struct cor_sleepers){ 0 };
	t = NULL;
	image = NULL;
	sent = NULL;
	return 0;
}

static int teardown(void **state)
{
	if (image)
		cor__task__image__free_unpacked(image, NULL);
	if (sent)
		cor__task__sleepers__free_unpacked(sent, NULL);
	cor_tracee_thaw(t);
	cor_sleepers_done(&sleepers);
	victim_end(&v);
	return 0;
}

/* ---- the victim ---------------------------------------------------------------- */

/* The number of the call before the instruction, as most code has it. */
static long wait_on(_Atomic uint32_t *word, const struct timespec *timeout)
{
	register const struct timespec *limit __asm__("r10") = timeout;
	long ret;

	__asm__ volatile("movl %1, %%eax\n\tsyscall"
			 : "=&a"(ret)
			 : "i"(SYS_futex), "D"(word), "S"(FUTEX_WAIT), "d"(*word), "r"(limit)
			 : "rcx", "r11", "memory");
	return ret;
}

static void wait_somehow(struct facts *f, long kind)
{
	const struct timespec hour = { .tv_sec = 3600 };
	struct timespec rest;
	struct epoll_event event;

	switch (kind) {
	case ON_FUTEX:
		wait_on(&f->futex[kind], NULL);
		f->woken++;
		break;
	case ON_FUTEX_TIMED:
		wait_on(&f->futex[kind], &hour);
		break;
	case IN_NANOSLEEP:
		nanosleep(&hour, NULL);
		break;
	case IN_POLL:
		poll(NULL, 0, 3600 * 1000);
		break;
	case ON_CPU_TIME:
		clock_nanosleep(CLOCK_PROCESS_CPUTIME_ID, 0, &hour, &rest);
		break;
	default:
		epoll_wait(epoll_create1(0), &event, 1, -1);
	}
}

static struct facts *facts;

static void *worker(void *arg)
{
	stack_t s = { .ss_sp = malloc(STACK), .ss_size = STACK };
	long kind = (long)(intptr_t)arg;
	sigset_t blocked;
	char name[16];

	sigaltstack(&s, NULL);
	sigemptyset(&blocked);
	sigaddset(&blocked, SIGUSR1);
	pthread_sigmask(SIG_BLOCK, &blocked, NULL);
	snprintf(name, sizeof(name), "worker %ld", kind);
	prctl(PR_SET_NAME, name);
	facts->tid[kind] = gettid();
	for (;;)
		wait_somehow(facts, kind);
	return NULL;
}

/* Only a process itself may. */
static void rename_poller(void)
{
	char path[64], name[16];

	snprintf(path, sizeof(path), "/proc/self/task/%d/comm", facts->tid[IN_POLL]);
	snprintf(name, sizeof(name), "another%u", facts->renamed);
	if (cor_spew(AT_FDCWD, path, name) == 0)
		facts->renamed++;
}

static int live(struct victim *self, void *arg)
{
	pthread_t thread;
	char c;

	facts = self->shared;
	for (intptr_t i = 0; i < THREADS; i++)
		pthread_create(&thread, NULL, worker, (void *)i);
	for (int i = 0; i < THREADS; i++)
		while (!facts->tid[i])
			sched_yield();
	victim_ready(self);
	while (read(self->to, &c, 1) == 1)
		rename_poller();
	return 0;
}

static void begin(void)
{
	victim_start(&v, live, NULL);
	victim_await_sleep(v.pid);
}

static const struct facts *told(void) { return v.shared; }

/* ---- the reading --------------------------------------------------------------- */

static void need_count(void)
{
	int fd = cor_asleep_open(getpid(), getpid());

	if (fd < 0)
		skip();
	close(fd);
}

static void freeze(bool with)
{
	struct cor_capture_options o = { .sleepers = with ? &sleepers : NULL };

	assert_int_equal(cor_tracee_seize(&t, v.pid, NULL), 0);
	if (with)
		cor_sleepers_attach(&sleepers, t);
	assert_int_equal(cor_tracee_stop(t, 5000, NULL), 0);
	assert_int_equal(cor_capture_image(t, &o, NULL, &image, NULL), 0);
}

static void look(void)
{
	const struct cor_capture_options o = { 0 };

	cor_sleepers_look(v.pid, &o, &sleepers);
	cor_sleepers_settle(&sleepers, v.pid);
}

/* All that sleep so; who has not gone back to it in time is left out. */
static void look_well(void)
{
	for (unsigned i = 0; i < 50 && sleepers.n != 4; i++) {
		cor_sleepers_done(&sleepers);
		look();
	}
	assert_int_equal(sleepers.n, 4);
}

static void thaw(void)
{
	cor__task__image__free_unpacked(image, NULL);
	image = NULL;
	cor_tracee_thaw(t);
	t = NULL;
}

/* Until so many are taken as they were read, with what happens in between: on a machine that has
 * other things to do one may run once more than it has to, which is no harm. */
static void look_and_freeze(unsigned expected, void (*between)(void))
{
	for (unsigned i = 0; i < 50; i++) {
		look();
		if (between)
			between();
		freeze(true);
		if (cor_sleepers_taken(image) == expected)
			return;
		thaw();
		cor_sleepers_done(&sleepers);
		victim_await_sleep(v.pid);
	}
	fail_msg("never %u threads that slept", expected);
}

static Cor__Task__Thread *thread_of(const Cor__Task__Image *in, int32_t tid)
{
	for (size_t i = 0; i < in->n_threads; i++)
		if (in->threads[i]->tid == tid)
			return in->threads[i];
	fail_msg("no thread %d", tid);
	return NULL;
}

static void four_kinds_are_found(void **state)
{
	need_count();
	begin();
	look_well();
	for (unsigned i = 0; i < sleepers.n; i++) {
		assert_int_not_equal(sleepers.list[i].asleep.tid, v.pid);
		assert_int_not_equal(sleepers.list[i].asleep.tid, told()->tid[IN_EPOLL]);
		assert_int_not_equal(sleepers.list[i].asleep.tid, told()->tid[ON_CPU_TIME]);
	}
}

/* Without the numbers in brackets: what others do on this machine. */
static char *maps(void)
{
	char path[32], *text = NULL;

	snprintf(path, sizeof(path), "/proc/%d/maps", v.pid);
	assert_int_equal(cor_slurp(AT_FDCWD, path, &text, NULL), 0);
	return text;
}

static void nothing_is_left_behind(void **state)
{
	_cleanup_free_ char *before = NULL, *after = NULL;
	struct cor_proc_status st;
	_cleanup_free_ char *status = NULL;
	char path[64];

	need_count();
	begin();
	before = maps();
	look();
	after = maps();
	assert_string_equal(before, after);
	snprintf(path, sizeof(path), "/proc/%d/task/%d/status", v.pid, told()->tid[ON_FUTEX]);
	assert_int_equal(cor_slurp(AT_FDCWD, path, &status, NULL), 0);
	assert_int_equal(cor_parse_status(status, &st), 0);
	assert_int_equal(st.tracer, 0);
}

static uint8_t *packed(Cor__Task__Thread *th, size_t *len)
{
	uint8_t *buf;

	th->asleep = false;
	th->remaining_ns = 0;
	*len = cor__task__thread__get_packed_size(th);
	buf = malloc(*len);
	cor__task__thread__pack(th, buf);
	return buf;
}

/* Field by field, as the wire has them. */
static void the_image_is_what_it_would_be(void **state)
{
	uint64_t left[THREADS] = { 0 };
	uint8_t *was[THREADS];
	size_t len[THREADS];

	need_count();
	begin();
	freeze(false);
	for (int i = 0; i < THREADS; i++) {
		Cor__Task__Thread *th = thread_of(image, told()->tid[i]);

		left[i] = th->remaining_ns;
		was[i] = packed(th, &len[i]);
	}
	thaw();
	victim_await_sleep(v.pid);
	look_and_freeze(4, NULL);
	for (int i = 0; i < THREADS; i++) {
		Cor__Task__Thread *th = thread_of(image, told()->tid[i]);
		bool counts = th->restart == COR__TASK__RESTART_KIND__RESTART_BLOCK;
		_cleanup_free_ uint8_t *is = NULL;
		size_t n;

		assert_true(counts == (left[i] != 0));
		assert_true(!counts || (th->remaining_ns <= 3600 * NS && th->remaining_ns > 3500 * NS));
		is = packed(th, &n);
		assert_int_equal(n, len[i]);
		assert_memory_equal(is, was[i], n);
		free(was[i]);
	}
}

static void wake(void)
{
	struct facts *f = v.shared;
	uint32_t before = f->woken;

	f->futex[ON_FUTEX]++;
	syscall(SYS_futex, &f->futex[ON_FUTEX], FUTEX_WAKE, 1, NULL);
	while (f->woken == before)
		sched_yield();
	victim_await_sleep(v.pid);
}

static void who_has_run_since_is_read_again(void **state)
{
	need_count();
	begin();
	look_and_freeze(3, wake);
	assert_false(thread_of(image, told()->tid[ON_FUTEX])->asleep);
}

static void rename_it(void)
{
	uint32_t before = told()->renamed;

	assert_int_equal(write(v.to, "r", 1), 1);
	while (told()->renamed == before)
		sched_yield();
}

static void who_is_renamed_is_read_again(void **state)
{
	need_count();
	begin();
	look_and_freeze(3, rename_it);
	assert_false(thread_of(image, told()->tid[IN_POLL])->asleep);
	assert_memory_equal(thread_of(image, told()->tid[IN_POLL])->comm, "another", 7);
}

static void set_cpus(void)
{
	static bool one;
	cpu_set_t set;

	sched_getaffinity(0, sizeof(set), &set);
	one = !one;
	if (one) {
		CPU_ZERO(&set);
		CPU_SET(sched_getcpu(), &set);
	}
	sched_setaffinity(told()->tid[IN_NANOSLEEP], sizeof(set), &set);
}

static void whose_cpus_changed_is_read_again(void **state)
{
	need_count();
	if (sysconf(_SC_NPROCESSORS_ONLN) < 2)
		skip();
	begin();
	look_and_freeze(3, set_cpus);
	assert_false(thread_of(image, told()->tid[IN_NANOSLEEP])->asleep);
}

static void signal_it(void)
{
	assert_int_equal(syscall(SYS_tgkill, v.pid, told()->tid[IN_NANOSLEEP], SIGUSR1), 0);
}

/* Which is blocked and so does not wake it. */
static void who_got_a_signal_is_told_with_it(void **state)
{
	Cor__Task__Thread *th;

	need_count();
	begin();
	look_and_freeze(3, signal_it);
	th = thread_of(image, told()->tid[IN_NANOSLEEP]);
	assert_false(th->asleep);
	assert_int_equal(th->n_pending, 1);
	assert_int_equal(th->restart, COR__TASK__RESTART_KIND__RESTART_BLOCK);
	assert_true(th->remaining_ns <= 3600 * NS && th->remaining_ns > 3500 * NS);
}

/* ---- on the way ----------------------------------------------------------------- */

static void pack_and_send(void)
{
	_cleanup_free_ uint8_t *buf = NULL;
	size_t len = 0;

	if (sent)
		cor__task__sleepers__free_unpacked(sent, NULL);
	assert_int_equal(cor_sleepers_pack(&sleepers, &buf, &len), 0);
	sent = cor__task__sleepers__unpack(NULL, len, buf);
	assert_non_null(sent);
}

static Cor__Task__Image *over_the_wire(void)
{
	_cleanup_free_ uint8_t *buf = NULL;
	Cor__Task__Image lean, *out;
	size_t len;

	assert_int_equal(cor_sleepers_lean(image, &lean), 0);
	len = cor__task__image__get_packed_size(&lean);
	buf = malloc(len);
	cor__task__image__pack(&lean, buf);
	cor_sleepers_lean_done(image, &lean);
	out = cor__task__image__unpack(NULL, len, buf);
	assert_non_null(out);
	return out;
}

static void a_lean_image_is_completed(void **state)
{
	Cor__Task__Image *there;

	need_count();
	begin();
	look_and_freeze(4, pack_and_send);
	assert_int_equal(sent->n_threads, 4);
	there = over_the_wire();
	assert_int_equal(thread_of(there, told()->tid[ON_FUTEX])->regs.len, 0);
	assert_int_equal(cor_sleepers_complete(there, sent, NULL), 0);
	for (size_t i = 0; i < image->n_threads; i++) {
		_cleanup_free_ uint8_t *is = NULL, *was = NULL;
		size_t n, m;

		assert_int_equal(there->threads[i]->asleep, image->threads[i]->asleep);
		assert_true(there->threads[i]->remaining_ns == image->threads[i]->remaining_ns);
		was = packed(image->threads[i], &n);
		is = packed(there->threads[i], &m);
		assert_int_equal(n, m);
		assert_memory_equal(is, was, n);
	}
	cor__task__image__free_unpacked(there, NULL);
}

static void who_was_not_announced_is_refused(void **state)
{
	struct cor_error err = COR_ERROR_INIT;
	Cor__Task__Image *there;

	need_count();
	begin();
	look_and_freeze(4, pack_and_send);
	there = over_the_wire();
	assert_int_equal(cor_sleepers_complete(there, NULL, &err), -EPROTO);
	sent->threads[2]->tid = 1;
	assert_int_equal(cor_sleepers_complete(there, sent, &err), -EPROTO);
	cor__task__image__free_unpacked(there, NULL);
}

static void who_wakes_soon_is_announced_and_read_again(void **state)
{
	need_count();
	begin();
	look_well();
	for (unsigned i = 0; i < sleepers.n; i++)
		if (sleepers.list[i].until_ns)
			sleepers.list[i].until_ns = cor_now_ns() + NS / 100;
	pack_and_send();
	assert_int_equal(sent->n_threads, 4);
	assert_int_equal(sleepers.n, 1);
	assert_int_equal(sleepers.list[0].asleep.tid, told()->tid[ON_FUTEX]);
}

static void nobody_sleeps_in_one_thread(void **state)
{
	cor_sleepers_look(getpid(), NULL, &sleepers);
	assert_int_equal(sleepers.n, 0);
	pack_and_send();
	assert_int_equal(sent->n_threads, 0);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(four_kinds_are_found),
		T(nothing_is_left_behind),
		T(the_image_is_what_it_would_be),
		T(who_has_run_since_is_read_again),
		T(who_is_renamed_is_read_again),
		T(whose_cpus_changed_is_read_again),
		T(who_got_a_signal_is_told_with_it),
		T(a_lean_image_is_completed),
		T(who_was_not_announced_is_refused),
		T(who_wakes_soon_is_announced_and_read_again),
		T(nobody_sleeps_in_one_thread),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
