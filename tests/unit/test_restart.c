/* restart: the table of interrupted calls. */
#include <errno.h>
#include <linux/futex.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "libcor/base/cleanup.h"
#include "libcor/base/io.h"
#include "libcor/task/asleep.h"
#include "libcor/task/restart.h"
#include "libcor/task/waits.h"

#define NONE  COR__TASK__RESTART_KIND__RESTART_NONE
#define BLOCK COR__TASK__RESTART_KIND__RESTART_BLOCK
#define TIMEOUT COR__TASK__RESTART_KIND__RESTART_TIMEOUT

static struct user_regs_struct in_call(long nr, long ret)
{
	struct user_regs_struct r;

	memset(&r, 0, sizeof(r));
	r.orig_rax = (unsigned long long)nr;
	r.rax = (unsigned long long)ret;
	r.rip = 0x1002;
	return r;
}

static struct cor_restart image(struct user_regs_struct *r, uint64_t slept, enum cor_handler h)
{
	struct cor_restart out = { 0 };

	assert_int_equal(cor_restart_image(getpid(), r, slept, NULL, h, &out, NULL), 0);
	return out;
}

enum { REWOUND, AS_IT_WAS, EINTR_NOW };

static const struct {
	long nr, ret;
	enum cor_handler handler;
	int want;
} table[] = {
	{ SYS_read, -512, COR_HANDLER_NONE, REWOUND },
	{ SYS_read, -512, COR_HANDLER_RESTART, REWOUND },
	{ SYS_read, -512, COR_HANDLER_EINTR, EINTR_NOW },
	{ SYS_clone, -513, COR_HANDLER_NONE, REWOUND },
	{ SYS_clone, -513, COR_HANDLER_EINTR, REWOUND },
	{ SYS_pause, -514, COR_HANDLER_NONE, REWOUND },
	{ SYS_pause, -514, COR_HANDLER_RESTART, EINTR_NOW },
	{ SYS_epoll_wait, -EINTR, COR_HANDLER_NONE, REWOUND },
	{ SYS_epoll_wait, -EINTR, COR_HANDLER_EINTR, AS_IT_WAS },
	{ SYS_epoll_pwait2, -EINTR, COR_HANDLER_NONE, REWOUND },
	{ SYS_rt_sigtimedwait, -EINTR, COR_HANDLER_NONE, REWOUND },
	{ SYS_semtimedop, -EINTR, COR_HANDLER_NONE, REWOUND },
	{ SYS_recvfrom, -EINTR, COR_HANDLER_NONE, REWOUND },
	{ SYS_close, -EINTR, COR_HANDLER_NONE, AS_IT_WAS },
	{ SYS_read, -EAGAIN, COR_HANDLER_NONE, AS_IT_WAS },
	{ SYS_read, 5, COR_HANDLER_NONE, AS_IT_WAS },
	{ -1, -512, COR_HANDLER_NONE, AS_IT_WAS },
	{ -1, -EINTR, COR_HANDLER_NONE, AS_IT_WAS },
};

static void every_case_of_the_table(void **state)
{
	for (unsigned i = 0; i < ARRAY_SIZE(table); i++) {
		struct user_regs_struct r = in_call(table[i].nr, table[i].ret), before = r;
		struct cor_restart out;

		r.r10 = before.r10 = (unsigned long long)-1;
		out = image(&r, 0, table[i].handler);
		assert_int_equal(out.kind, NONE);
		if (table[i].want == AS_IT_WAS) {
			assert_memory_equal(&r, &before, sizeof(r));
			continue;
		}
		assert_true(r.orig_rax == (unsigned long long)-1);
		if (table[i].want == REWOUND) {
			assert_true(r.rip == 0x1000);
			assert_true((long)r.rax == table[i].nr);
		} else {
			assert_true(r.rip == 0x1002);
			assert_true((long)r.rax == -EINTR);
		}
	}
}

static void the_source_rewinds_only_plain_eintr(void **state)
{
	struct user_regs_struct r = in_call(SYS_read, -512), before = r;

	assert_false(cor_restart_source(&r, 0, COR_HANDLER_NONE));
	assert_memory_equal(&r, &before, sizeof(r));
	r = in_call(SYS_epoll_wait, -EINTR);
	assert_true(cor_restart_source(&r, 0, COR_HANDLER_NONE));
	assert_true(r.rip == 0x1000);
	r = in_call(SYS_epoll_wait, -EINTR);
	assert_false(cor_restart_source(&r, 0, COR_HANDLER_EINTR));
}

static void epoll_timeout_is_lowered(void **state)
{
	struct user_regs_struct r = in_call(SYS_epoll_wait, -EINTR);

	r.r10 = 1000;
	assert_int_equal(image(&r, 300000000, COR_HANDLER_NONE).kind, TIMEOUT);
	assert_int_equal(r.r10, 700);
	r = in_call(SYS_epoll_pwait, -EINTR);
	r.r10 = 1000;
	image(&r, 5000000000ull, COR_HANDLER_NONE);
	assert_int_equal(r.r10, 0);
}

static void an_endless_epoll_stays_endless(void **state)
{
	struct user_regs_struct r = in_call(SYS_epoll_wait, -EINTR);

	r.r10 = (uint32_t)-1;
	assert_int_equal(image(&r, 300000000, COR_HANDLER_NONE).kind, NONE);
	assert_int_equal(r.r10, (uint32_t)-1);
}

static void nanosleep_is_continued_with_what_is_left(void **state)
{
	struct timespec req = { .tv_sec = 10 };
	struct user_regs_struct r = in_call(SYS_nanosleep, -516), before;
	struct cor_restart out;

	r.rdi = (uintptr_t)&req;
	before = r;
	out = image(&r, 4000000000ull, COR_HANDLER_NONE);
	assert_int_equal(out.kind, BLOCK);
	assert_int_equal(out.remaining_ns, 6000000000ull);
	assert_memory_equal(&r, &before, sizeof(r));
}

static void nanosleep_believes_the_kernels_remainder(void **state)
{
	struct timespec req = { .tv_sec = 10 }, rem = { .tv_sec = 1, .tv_nsec = 5 };
	struct user_regs_struct r = in_call(SYS_clock_nanosleep, -516);

	r.rdx = (uintptr_t)&req;
	r.r10 = (uintptr_t)&rem;
	assert_int_equal(image(&r, 4000000000ull, COR_HANDLER_NONE).remaining_ns, 1000000005ull);
}

static void poll_and_futex_are_continued(void **state)
{
	struct timespec req = { .tv_nsec = 500000000 };
	struct user_regs_struct r = in_call(SYS_poll, -516);

	r.rdx = 2000;
	assert_int_equal(image(&r, 500000000, COR_HANDLER_NONE).remaining_ns, 1500000000);
	r = in_call(SYS_futex, -516);
	r.rsi = FUTEX_WAIT | FUTEX_PRIVATE_FLAG;
	r.r10 = (uintptr_t)&req;
	assert_int_equal(image(&r, 100000000, COR_HANDLER_NONE).remaining_ns, 400000000);
}

static void calls_without_an_interval_are_rewound(void **state)
{
	struct user_regs_struct r = in_call(SYS_poll, -516);

	r.rdx = (uint32_t)-1;
	assert_int_equal(image(&r, 500000000, COR_HANDLER_NONE).kind, NONE);
	assert_true(r.rip == 0x1000 && r.rax == SYS_poll);
	r = in_call(SYS_futex, -516);
	r.rsi = FUTEX_WAIT_BITSET;
	assert_int_equal(image(&r, 0, COR_HANDLER_NONE).kind, NONE);
	assert_true(r.rip == 0x1000 && r.rax == SYS_futex);
}

static void a_restarted_sleep_is_recognised_by_its_code(void **state)
{
	static unsigned char code[40];
	struct timespec req = { .tv_sec = 10 };
	struct user_regs_struct r = in_call(SYS_restart_syscall, -516);
	struct cor_restart out = { 0 };
	struct cor_error err = COR_ERROR_INIT;

	memset(code, 0x90, sizeof(code));
	memcpy(code + 33, (unsigned char[]){ 0xb8, SYS_nanosleep, 0, 0, 0, 0x0f, 0x05 }, 7);
	r.rip = (uintptr_t)code + 40;
	r.rdi = (uintptr_t)&req;
	out = image(&r, 1000000000, COR_HANDLER_NONE);
	assert_int_equal(out.kind, BLOCK);
	assert_int_equal(out.remaining_ns, 9000000000ull);
	assert_int_equal(r.orig_rax, SYS_nanosleep);

	code[33] = 0x90;
	r = in_call(SYS_restart_syscall, -516);
	r.rip = (uintptr_t)code + 40;
	assert_int_equal(cor_restart_image(getpid(), &r, 0, NULL, COR_HANDLER_NONE, &out, &err), -EOPNOTSUPP);
}

/* As made by syscall(3), whose code does not hold the number. */
static struct user_regs_struct restarted_elsewhere(void)
{
	static unsigned char code[40];
	struct user_regs_struct r = in_call(SYS_restart_syscall, -516);

	memset(code, 0x90, sizeof(code));
	r.rip = (uintptr_t)code + 40;
	return r;
}

static void a_restarted_call_is_recognised_by_its_arguments(void **state)
{
	static uint32_t word = 1;
	struct timespec ten = { .tv_sec = 10 };
	struct pollfd fds[2] = { { .fd = 3 }, { .fd = -1 } };
	struct user_regs_struct r = restarted_elsewhere();

	r.rdi = (uintptr_t)&word;
	r.rsi = FUTEX_WAIT_PRIVATE;
	r.r10 = (uintptr_t)&ten;
	assert_int_equal(image(&r, 0, COR_HANDLER_NONE).kind, BLOCK);
	assert_int_equal(r.orig_rax, SYS_futex);

	r = restarted_elsewhere();
	r.rsi = 0;
	r.rdi = CLOCK_MONOTONIC;
	r.rdx = (uintptr_t)&ten;
	assert_int_equal(image(&r, 0, COR_HANDLER_NONE).kind, BLOCK);
	assert_int_equal(r.orig_rax, SYS_clock_nanosleep);

	r = restarted_elsewhere();
	r.rdi = (uintptr_t)fds;
	r.rsi = 2;
	r.rdx = 5000;
	assert_int_equal(image(&r, 0, COR_HANDLER_NONE).kind, BLOCK);
	assert_int_equal(r.orig_rax, SYS_poll);
}

/* A word that reads as a time too, and no flag: nanosleep or futex. */
static void a_call_that_could_be_two_is_refused(void **state)
{
	struct timespec ten = { .tv_sec = 10 };
	struct user_regs_struct r = restarted_elsewhere();
	struct cor_restart out = { 0 };

	r.rdi = (uintptr_t)&ten;
	r.r10 = (uintptr_t)&ten;
	assert_int_equal(cor_restart_image(getpid(), &r, 0, NULL, COR_HANDLER_NONE, &out, NULL),
			 -EOPNOTSUPP);
}

/* It has come from elsewhere, where a second of its ten was over, and moves on. */
static void a_wait_that_was_begun_here_is_known(void **state)
{
	struct timespec ten = { .tv_sec = 10 };
	struct user_regs_struct begun = in_call(SYS_nanosleep, -516), r = restarted_elsewhere();
	struct cor_wait list[2];
	struct cor_waits waits = { 2, list };
	struct cor_restart out = { 0 };
	uint64_t left = 0;

	begun.rip = r.rip;
	begun.rdi = r.rdi = (uintptr_t)&ten;
	/* which could be a futex, too */
	begun.r10 = r.r10 = (uintptr_t)&ten;
	list[0] = cor_wait_of(7, &begun, 5000000000);
	list[1] = cor_wait_of(8, &begun, 9000000000);
	list[0].switches = list[1].switches = 12;
	assert_true(cor_waits_find(&waits, 8, 2000000000, 12, &r, &left));
	assert_int_equal(r.orig_rax, SYS_nanosleep);
	assert_int_equal(left, 7000000000);
	assert_int_equal(cor_restart_image(getpid(), &r, 0, &left, COR_HANDLER_NONE, &out, NULL), 0);
	assert_int_equal(out.kind, BLOCK);
	assert_int_equal(out.remaining_ns, 7000000000);
	r.orig_rax = SYS_restart_syscall;
	assert_true(cor_waits_find(&waits, 8, 9000000001, 12, &r, &left));
	assert_int_equal(left, 0);
}

static void another_wait_than_was_begun_here_is_not_known(void **state)
{
	struct user_regs_struct begun = in_call(SYS_poll, -516), r = begun;
	struct cor_wait one = cor_wait_of(7, &begun, 5000000000);
	struct cor_waits waits = { 1, &one };
	uint64_t left = 11;

	one.switches = 12;
	/* the same call, but made anew */
	assert_false(cor_waits_find(&waits, 7, 2000000000, 12, &r, &left));
	r.orig_rax = SYS_restart_syscall;
	assert_false(cor_waits_find(&waits, 8, 2000000000, 12, &r, &left));
	assert_false(cor_waits_find(NULL, 7, 2000000000, 12, &r, &left));
	/* restarted as well, but it has run since it was seen */
	assert_false(cor_waits_find(&waits, 7, 2000000000, 13, &r, &left));
	r.rsp -= 8;
	assert_false(cor_waits_find(&waits, 7, 2000000000, 12, &r, &left));
	assert_int_equal(left, 11);
}

/* A child in a sleep that was interrupted, and restarted; where it is. */
static pid_t restarted_child(struct user_regs_struct *regs)
{
	char path[40], text[256];
	pid_t pid = fork();
	int status;

	assert_true(pid >= 0);
	if (!pid) {
		const struct timespec ten = { .tv_sec = 10 };

		prctl(PR_SET_PDEATHSIG, SIGKILL);
		nanosleep(&ten, NULL);
		_exit(0);
	}
	snprintf(path, sizeof(path), "/proc/%d/syscall", (int)pid);
	for (;;) {
		FILE *f = fopen(path, "r");
		long nr;
		int n;

		assert_non_null(f);
		assert_non_null(fgets(text, sizeof(text), f));
		fclose(f);
		n = sscanf(text, "%ld %*s %*s %*s %*s %*s %*s %llx %llx", &nr, &regs->rsp, &regs->rip);
		if (n == 3 && nr == SYS_restart_syscall)
			return pid;
		/* glibc's nanosleep is clock_nanosleep */
		if (n == 3 && (nr == SYS_nanosleep || nr == SYS_clock_nanosleep)) {
			kill(pid, SIGSTOP);
			assert_int_equal(waitpid(pid, &status, WUNTRACED), pid);
			kill(pid, SIGCONT);
		}
		usleep(1000);
	}
}

static void only_threads_in_their_waits_stay_listed(void **state)
{
	struct user_regs_struct regs = in_call(SYS_clock_nanosleep, -516), other;
	pid_t pid = restarted_child(&regs);
	struct cor_wait list[3] = { { 0 } };
	struct cor_waits waits = { 3, list };
	uint64_t left;

	other = regs;
	other.rsp += 8;
	list[0] = cor_wait_of(pid, &other, 5000000000);
	list[1] = cor_wait_of(pid, &regs, 6000000000);
	list[2] = cor_wait_of(getpid(), &regs, 7000000000);
	cor_waits_confirm(&waits, pid, 2000000);
	assert_int_equal(waits.n, 1);
	assert_int_equal(list[0].until_ns, 6000000000);
	assert_true(list[0].switches > 0);
	regs.orig_rax = SYS_restart_syscall;
	assert_true(cor_waits_find(&waits, pid, 1000000000, list[0].switches, &regs, &left));
	assert_int_equal(left, 5000000000);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	cor_waits_confirm(&waits, pid, 0);
	assert_int_equal(waits.n, 0);
}

/* Stopped for a moment, as by source_look(). */
static void look(pid_t pid, struct cor_waits *waits)
{
	struct cor_tracee *t = NULL;

	assert_int_equal(cor_tracee_seize(&t, pid, NULL), 0);
	assert_int_equal(cor_tracee_stop(t, 1000, NULL), 0);
	assert_int_equal(cor_waits_note(waits, t), 0);
	cor_tracee_thaw(t);
	cor_waits_confirm(waits, pid, 1000000000);
	assert_int_equal(waits->n, 1);
}

static void a_wait_ends_when_it_would_after_two_looks(void **state)
{
	const struct timespec ten = { .tv_sec = 10 };
	struct cor_waits waits = { 0 };
	uint64_t from = cor_now_ns(), first;
	pid_t pid = fork();

	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		nanosleep(&ten, NULL);
		_exit(0);
	}
	assert_true(pid > 0);
	while (!cor_asleep_undisturbed(pid, pid))
		usleep(1000);
	usleep(100000);
	look(pid, &waits);
	first = waits.list[0].until_ns;
	assert_in_range(first, from + 10000000000, cor_now_ns() + 10000000000);
	/* it is in restart_syscall(2) now, and only the list tells */
	usleep(100000);
	look(pid, &waits);
	assert_int_equal(waits.list[0].until_ns, first);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	cor_waits_done(&waits);
}

static int file_of(const void *bytes, size_t len)
{
	int fd = memfd_create("waits", MFD_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, bytes, len), len);
	assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
	return fd;
}

static void waits_are_written_and_read(void **state)
{
	struct user_regs_struct r = in_call(SYS_poll, -516);
	struct cor_wait list[] = { cor_wait_of(7, &r, 5), cor_wait_of(8, &r, 6) };
	const struct cor_waits waits = { 2, list };
	struct cor_waits back = { 0 };
	char bytes[16 + sizeof(list)];
	int fd = file_of("", 0);

	assert_int_equal(cor_waits_write(&waits, fd), 0);
	assert_int_equal(pread(fd, bytes, sizeof(bytes), 0), sizeof(bytes));
	assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
	assert_int_equal(cor_waits_read(&back, fd), 0);
	assert_int_equal(back.n, 2);
	assert_memory_equal(back.list, list, sizeof(list));
	cor_waits_done(&back);
	close(fd);
	/* cut, or something else */
	for (size_t len = 0; len < sizeof(bytes); len += 8) {
		fd = file_of(bytes, len);
		assert_int_equal(cor_waits_read(&back, fd), -EPROTO);
		close(fd);
	}
	bytes[15] = 1;
	fd = file_of(bytes, sizeof(bytes));
	assert_int_equal(cor_waits_read(&back, fd), -EPROTO);
	close(fd);
	assert_null(back.list);
}

static bool wants(long nr, uint64_t rsi, uint64_t r10)
{
	struct user_regs_struct r = in_call(nr, -516);

	r.rsi = rsi;
	r.r10 = r10;
	return cor_restart_wants_slept(&r);
}

static void time_slept_matters_where_nothing_else_tells(void **state)
{
	assert_true(wants(SYS_nanosleep, 0, 0));
	assert_false(wants(SYS_nanosleep, 0x1000, 0));
	assert_true(wants(SYS_clock_nanosleep, 0, 0));
	assert_false(wants(SYS_clock_nanosleep, 0, 0x1000));
	assert_false(wants(SYS_clock_nanosleep, TIMER_ABSTIME, 0));
	assert_true(wants(SYS_futex, FUTEX_WAIT_PRIVATE, 0x1000));
	assert_false(wants(SYS_futex, FUTEX_WAIT_BITSET_PRIVATE, 0x1000));
	assert_true(wants(SYS_poll, 1, 0));
	assert_true(wants(SYS_restart_syscall, 0x1000, 0));
}

/* ---- standing still ------------------------------------------------------------ */

/* A thread in call nr with so much left, ns later. */
static Cor__Task__Thread stood(long nr, uint64_t rdi, uint64_t left, bool asleep, uint64_t ns,
			       struct user_regs_struct *regs)
{
	Cor__Task__Thread th = COR__TASK__THREAD__INIT, *list[] = { &th };
	Cor__Task__Image in = COR__TASK__IMAGE__INIT;

	*regs = in_call(nr, COR_RESTARTBLOCK);
	regs->rdi = rdi;
	th.regs = (ProtobufCBinaryData){ sizeof(*regs), (uint8_t *)regs };
	th.restart = BLOCK;
	th.remaining_ns = left;
	th.asleep = asleep;
	in.threads = list;
	in.n_threads = 1;
	cor_restart_elapse(&in, ns);
	return th;
}

static void what_is_left_gets_less(void **state)
{
	struct user_regs_struct regs;

	assert_int_equal(stood(SYS_nanosleep, 0, 1000, false, 400, &regs).remaining_ns, 600);
	assert_int_equal((int64_t)regs.rax, COR_RESTARTBLOCK);
	assert_int_equal(stood(SYS_futex, 0, 1000, false, 400, &regs).remaining_ns, 600);
}

static void a_sleep_that_has_ended_returns(void **state)
{
	struct user_regs_struct regs;

	assert_int_equal(stood(SYS_nanosleep, 0, 1000, false, 1000, &regs).restart, NONE);
	assert_int_equal((int64_t)regs.rax, 0);
	assert_int_equal((int64_t)regs.orig_rax, -1);
	assert_int_equal(stood(SYS_clock_nanosleep, CLOCK_MONOTONIC, 1000, false, 5000, &regs).restart,
			 NONE);
	assert_int_equal((int64_t)regs.rax, 0);
}

/* Its descriptors want to be looked at. */
static void a_poll_that_has_ended_is_begun_without_time(void **state)
{
	struct user_regs_struct regs;
	Cor__Task__Thread th = stood(SYS_poll, 0, 1000, false, 5000, &regs);

	assert_int_equal(th.restart, BLOCK);
	assert_int_equal(th.remaining_ns, 0);
	assert_int_equal((int64_t)regs.orig_rax, SYS_poll);
}

static void processor_time_does_not_elapse(void **state)
{
	struct user_regs_struct regs;

	assert_int_equal(stood(SYS_clock_nanosleep, CLOCK_PROCESS_CPUTIME_ID, 1000, false, 5000,
			       &regs).remaining_ns, 1000);
}

static void who_is_asleep_knows_the_end(void **state)
{
	struct user_regs_struct regs;

	assert_int_equal(stood(SYS_nanosleep, 0, 1000, true, 5000, &regs).remaining_ns, 1000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_case_of_the_table),
		cmocka_unit_test(the_source_rewinds_only_plain_eintr),
		cmocka_unit_test(epoll_timeout_is_lowered),
		cmocka_unit_test(an_endless_epoll_stays_endless),
		cmocka_unit_test(nanosleep_is_continued_with_what_is_left),
		cmocka_unit_test(nanosleep_believes_the_kernels_remainder),
		cmocka_unit_test(poll_and_futex_are_continued),
		cmocka_unit_test(time_slept_matters_where_nothing_else_tells),
		cmocka_unit_test(calls_without_an_interval_are_rewound),
		cmocka_unit_test(a_restarted_sleep_is_recognised_by_its_code),
		cmocka_unit_test(a_restarted_call_is_recognised_by_its_arguments),
		cmocka_unit_test(a_call_that_could_be_two_is_refused),
		cmocka_unit_test(a_wait_that_was_begun_here_is_known),
		cmocka_unit_test(another_wait_than_was_begun_here_is_not_known),
		cmocka_unit_test(only_threads_in_their_waits_stay_listed),
		cmocka_unit_test(a_wait_ends_when_it_would_after_two_looks),
		cmocka_unit_test(waits_are_written_and_read),
		cmocka_unit_test(what_is_left_gets_less),
		cmocka_unit_test(a_sleep_that_has_ended_returns),
		cmocka_unit_test(a_poll_that_has_ended_is_begun_without_time),
		cmocka_unit_test(processor_time_does_not_elapse),
		cmocka_unit_test(who_is_asleep_knows_the_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
