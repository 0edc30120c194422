/* procfs: parsers on the kernel's texts and on broken ones. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "libcor/base/cleanup.h"
#include "libcor/base/io.h"
#include "libcor/task/procfs.h"
#include "libcor/task/task.pb-c.h"

static void map_line_is_read(void **state)
{
	const char *text = "7f22a938f000-7f22a9391000 rw-p 00033000 fe:00 332383                     /a b (deleted)\n"
			   "ffffffffff600000-ffffffffff601000 --xs 00000000 00:00 0                  \n";
	struct cor_map_line m;

	assert_int_equal(cor_parse_map_line(&text, &m), 1);
	assert_true(m.start == 0x7f22a938f000 && m.end == 0x7f22a9391000);
	assert_int_equal(m.prot, PROT_READ | PROT_WRITE);
	assert_false(m.shared);
	assert_int_equal(m.offset, 0x33000);
	assert_true(m.dev == makedev(0xfe, 0));
	assert_int_equal(m.ino, 332383);
	assert_int_equal(m.name_len, strlen("/a b (deleted)"));
	assert_memory_equal(m.name, "/a b (deleted)", m.name_len);
	assert_int_equal(cor_parse_map_line(&text, &m), 1);
	assert_int_equal(m.prot, PROT_EXEC);
	assert_true(m.shared);
	assert_int_equal(m.name_len, 0);
	assert_int_equal(cor_parse_map_line(&text, &m), 0);
}

static void broken_map_lines_are_refused(void **state)
{
	static const char *const bad[] = {
		"x", "\n", "1000", "1000-", "1000-2000", "1000-2000 rw", "2000-1000 rw-p 0 0:0 0 \n",
		"1000-2000 rwzp 0 0:0 0\n", "1000-2000 rw-q 0 0:0 0\n", "1000-2000 rw-p 0 0 0\n",
		"1000-2000 rw-p 0 0:0\n", "1000-2000 rw-p 0 0:0 -4\n",
		"11111111111111111-22222222222222222 rw-p 0 0:0 0\n", "-1-2000 rw-p 0 0:0 0\n",
	};

	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
		const char *p = bad[i];
		struct cor_map_line m;

		assert_int_equal(cor_parse_map_line(&p, &m), -EINVAL);
		assert_ptr_equal(p, bad[i]);
	}
}

static void own_maps_are_read_whole(void **state)
{
	_cleanup_free_ char *text = NULL;
	struct cor_map_line m;
	const char *p;
	unsigned n = 0, lines = 0;
	int r;

	assert_int_equal(cor_slurp(AT_FDCWD, "/proc/self/maps", &text, NULL), 0);
	for (p = text; *p; p++)
		lines += *p == '\n';
	for (p = text; (r = cor_parse_map_line(&p, &m)) == 1; n++)
		;
	assert_int_equal(r, 0);
	assert_int_equal(n, lines);
}

static void smaps_flags_are_read(void **state)
{
	const char *text =
		"7ffd00000000-7ffd00021000 rw-p 00000000 00:00 0    [stack]\n"
		"Size:                132 kB\nProtectionKey:         3\nVmFlags: rd wr mr mw me gd ac hg\n"
		"7ffe00000000-7ffe00021000 rw-p 00000000 00:00 0    [x]\n"
		"Size:                132 kB\nVmFlags: rd ht io\n";
	struct cor_smap s;

	assert_int_equal(cor_parse_smap(&text, &s), 1);
	assert_int_equal(s.flags, COR__TASK__VMA_FLAG__GROWSDOWN | COR__TASK__VMA_FLAG__HUGEPAGE);
	assert_int_equal(s.key, 3);
	assert_false(s.hugetlb);
	assert_int_equal(cor_parse_smap(&text, &s), 1);
	assert_true(s.hugetlb && s.device);
	assert_int_equal(s.flags, 0);
	assert_int_equal(cor_parse_smap(&text, &s), 0);
}

static void own_smaps_agree_with_maps(void **state)
{
	_cleanup_free_ char *text = NULL;
	struct cor_smap s;
	const char *p;
	unsigned n = 0;
	int r;

	assert_int_equal(cor_slurp(AT_FDCWD, "/proc/self/smaps", &text, NULL), 0);
	for (p = text; (r = cor_parse_smap(&p, &s)) == 1; n++)
		;
	assert_int_equal(r, 0);
	assert_true(n > 5);
}

static void own_status_is_read(void **state)
{
	_cleanup_free_ char *text = NULL;
	struct cor_proc_status s;

	signal(SIGUSR2, SIG_IGN);
	assert_int_equal(cor_slurp(AT_FDCWD, "/proc/self/status", &text, NULL), 0);
	assert_int_equal(cor_parse_status(text, &s), 0);
	assert_int_equal(s.pid, getpid());
	assert_int_equal(s.tgid, getpid());
	assert_int_equal(s.ns_sid, getsid(0));
	assert_int_equal(s.uid[1], geteuid());
	assert_int_equal(s.state, 'R');
	assert_true(s.sig_ignored >> (SIGUSR2 - 1) & 1);
	assert_int_equal(s.threads, 1);
}

static void innermost_pid_is_the_last(void **state)
{
	struct cor_proc_status s;

	assert_int_equal(cor_parse_status("Name:\ta\\nTgid:\nState:\tS (sleeping)\nTgid:\t70\nPid:\t70\n"
					  "Uid:\t1\t2\t3\t4\nGid:\t5\t6\t7\t8\nGroups:\t4 24 \n"
					  "NSpid:\t70\t12\t3\nx86_Thread_features:\tshstk wrss \n", &s), 0);
	assert_int_equal(s.ns_pid, 3);
	assert_int_equal(s.ns_depth, 3);
	assert_int_equal(s.ngroups, 2);
	assert_int_equal(s.groups[1], 24);
	assert_int_equal(s.gid[3], 8);
	assert_true(s.shadow_stack);
}

static void a_short_status_is_refused(void **state)
{
	struct cor_proc_status s;

	assert_int_equal(cor_parse_status("", &s), -EINVAL);
	assert_int_equal(cor_parse_status("Name:\tx\n", &s), -EINVAL);
	assert_int_equal(cor_parse_status("Name:\tx\nState:\tS\nTgid:\t1\nPid:\t1\nUid:\t1\n", &s), -EINVAL);
}

static void stat_survives_a_nasty_name(void **state)
{
	char text[1024] = "42 (a) S 1 (b) R 7 8 9";
	struct cor_proc_stat s;

	for (int i = 7; i <= 52; i++)
		sprintf(text + strlen(text), " %d", i);
	assert_int_equal(cor_parse_stat(text, &s), 0);
	assert_string_equal(s.comm, "a) S 1 (b");
	assert_int_equal(s.pid, 42);
	assert_int_equal(s.state, 'R');
	assert_int_equal(s.ppid, 7);
	assert_int_equal(s.pgrp, 8);
	assert_int_equal(s.session, 9);
	assert_int_equal(s.start_code, 26);
	assert_int_equal(s.env_end, 51);
}

static void a_short_stat_is_refused(void **state)
{
	struct cor_proc_stat s;

	assert_int_equal(cor_parse_stat("", &s), -EINVAL);
	assert_int_equal(cor_parse_stat("42 (a", &s), -EINVAL);
	assert_int_equal(cor_parse_stat("42 )a( S 1", &s), -EINVAL);
	assert_int_equal(cor_parse_stat("42 (a) S 1 2 3", &s), -EINVAL);
}

static void timers_are_read(void **state)
{
	const char *text = "ID: 1\nsignal: 34/00007ffd0badc0de\nnotify: signal/pid.42\nClockID: 1\n"
			   "ID: 7\nsignal: 0/0000000000000000\nnotify: none/pid.42\nClockID: -6\n"
			   "ID: 8\nsignal: 14/0000000000000000\nnotify: signal/tid.43\nClockID: 0\n";
	struct cor_proc_timer t;

	assert_int_equal(cor_parse_timer(&text, &t), 1);
	assert_int_equal(t.id, 1);
	assert_int_equal(t.signo, 34);
	assert_int_equal(t.value, 0x7ffd0badc0deull);
	assert_int_equal(t.notify, SIGEV_SIGNAL);
	assert_int_equal(t.clock, 1);
	assert_int_equal(cor_parse_timer(&text, &t), 1);
	assert_int_equal(t.notify, SIGEV_NONE);
	assert_int_equal(t.clock, -6);
	assert_int_equal(cor_parse_timer(&text, &t), 1);
	assert_int_equal(t.notify, SIGEV_SIGNAL | SIGEV_THREAD_ID);
	assert_int_equal(t.target, 43);
	assert_int_equal(cor_parse_timer(&text, &t), 0);
	text = "ID: 1\nsignal: 34/0\nnotify: pigeon/pid.42\nClockID: 1\n";
	assert_int_equal(cor_parse_timer(&text, &t), -EINVAL);
}

static void pid_lists_are_read(void **state)
{
	const char *text = "12 3456 ", *bad = "12 x", *none = "";
	pid_t p;

	assert_int_equal(cor_parse_pid_list(&text, &p), 1);
	assert_int_equal(p, 12);
	assert_int_equal(cor_parse_pid_list(&text, &p), 1);
	assert_int_equal(p, 3456);
	assert_int_equal(cor_parse_pid_list(&text, &p), 0);
	assert_int_equal(cor_parse_pid_list(&bad, &p), 1);
	assert_int_equal(cor_parse_pid_list(&bad, &p), -EINVAL);
	assert_int_equal(cor_parse_pid_list(&none, &p), 0);
}

static void time_namespace_offsets_are_read(void **state)
{
	int64_t m, b;

	assert_int_equal(cor_parse_timens("monotonic       -12 500000000\nboottime   3 0\n", &m, &b), 0);
	assert_int_equal(m, -11500000000ll);
	assert_int_equal(b, 3000000000ll);
	assert_int_equal(cor_parse_timens("monotonic  1 0\n", &m, &b), -EINVAL);
	assert_int_equal(cor_parse_timens("monotonic 9223372036854775807 0\nboottime 0 0\n", &m, &b), -EINVAL);
}

static void own_sched_is_read(void **state)
{
	_cleanup_free_ char *text = NULL;
	struct cor_proc_sched s;

	assert_int_equal(cor_slurp(AT_FDCWD, "/proc/self/sched", &text, NULL), 0);
	assert_int_equal(cor_parse_sched(text, &s), 0);
	assert_true(s.ran_at_ns > 0);
	assert_int_equal(cor_parse_sched("nr_switches : 1", &s), -EINVAL);
}

static void runs_are_counted(void **state)
{
	_cleanup_free_ char *text = NULL;
	uint64_t runs = 7;

	assert_int_equal(cor_slurp(AT_FDCWD, "/proc/thread-self/schedstat", &text, NULL), 0);
	if (cor_parse_schedstat(text, &runs) == 0)
		assert_true(runs > 0);
	assert_int_equal(cor_parse_schedstat("668805 1658527 3\n", &runs), 0);
	assert_int_equal(runs, 3);
	assert_int_equal(cor_parse_schedstat("0 0 0\n", &runs), -EINVAL);
	assert_int_equal(cor_parse_schedstat("1 2\n", &runs), -EINVAL);
	assert_int_equal(runs, 3);
}

static void a_blocked_call_is_read(void **state)
{
	struct cor_proc_syscall s;

	assert_int_equal(cor_parse_syscall("202 0x1 0x80 0x2 0x0 0x0 0xffffffffffffffff 0x7ffe0 0x7f12\n",
					   &s), 0);
	assert_int_equal(s.nr, 202);
	assert_int_equal(s.arg[1], 0x80);
	assert_true(s.arg[5] == UINT64_MAX);
	assert_int_equal(s.sp, 0x7ffe0);
	assert_int_equal(s.pc, 0x7f12);
	assert_int_equal(cor_parse_syscall("running\n", &s), -EAGAIN);
	assert_int_equal(cor_parse_syscall("-1 0x7ffe0 0x7f12\n", &s), -EAGAIN);
	assert_int_equal(cor_parse_syscall("202 0x1 0x80\n", &s), -EINVAL);
	assert_int_equal(cor_parse_syscall("", &s), -EINVAL);
	assert_int_equal(s.nr, 202);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(map_line_is_read),
		cmocka_unit_test(broken_map_lines_are_refused),
		cmocka_unit_test(own_maps_are_read_whole),
		cmocka_unit_test(smaps_flags_are_read),
		cmocka_unit_test(own_smaps_agree_with_maps),
		cmocka_unit_test(own_status_is_read),
		cmocka_unit_test(innermost_pid_is_the_last),
		cmocka_unit_test(a_short_status_is_refused),
		cmocka_unit_test(stat_survives_a_nasty_name),
		cmocka_unit_test(a_short_stat_is_refused),
		cmocka_unit_test(timers_are_read),
		cmocka_unit_test(pid_lists_are_read),
		cmocka_unit_test(time_namespace_offsets_are_read),
		cmocka_unit_test(own_sched_is_read),
		cmocka_unit_test(runs_are_counted),
		cmocka_unit_test(a_blocked_call_is_read),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
