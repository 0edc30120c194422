/* Huge pages in another process (libcor/paging/collapse.c). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "libcor/base/cleanup.h"
#include "libcor/paging/collapse.h"
#include "tests/thp.h"

#define PAGES 3u                 /* huge ones */

struct victim {
	char *mem;
	pid_t pid;
	int pidfd;
	int wake[2];
};

static int word_of(size_t i)
{
	return (int)(i * 2654435761u >> 3);
}

/* Writes every other page, waits, and says whether all is as it was. */
static _Noreturn void child(struct victim *v)
{
	char c;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	/* not by themselves at the first touch */
	madvise(v->mem, PAGES * THP, MADV_NOHUGEPAGE);
	for (size_t i = 0; i < PAGES * THP; i += 8192)
		*(int *)(v->mem + i) = word_of(i);
	madvise(v->mem, (PAGES - 1) * THP, MADV_HUGEPAGE);
	if (write(v->wake[1], "x", 1) != 1 || read(v->wake[1], &c, 1) != 1)
		_exit(1);
	for (size_t i = 0; i < PAGES * THP; i += 8192)
		if (*(int *)(v->mem + i) != word_of(i) || *(int *)(v->mem + i + 4096))
			_exit(2);
	_exit(0);
}

static int start(void **state)
{
	static struct victim v;
	char c;

	v.mem = thp_room(PAGES);
	assert_true(v.mem != MAP_FAILED);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, v.wake), 0);
	v.pid = fork();
	if (v.pid == 0)
		child(&v);
	assert_int_equal(read(v.wake[0], &c, 1), 1);
	v.pidfd = (int)syscall(SYS_pidfd_open, v.pid, 0);
	assert_true(v.pidfd >= 0);
	*state = &v;
	return 0;
}

static int stop(void **state)
{
	struct victim *v = *state;

	if (v->pid) {
		kill(v->pid, SIGKILL);
		waitpid(v->pid, NULL, 0);
	}
	close(v->pidfd);
	close(v->wake[0]);
	close(v->wake[1]);
	munmap(v->mem, PAGES * THP);
	return 0;
}

/* All of them, the last of which must not be one. */
static size_t collapse_all(struct victim *v, int *why)
{
	uint64_t addrs[PAGES];

	for (unsigned i = 0; i < PAGES; i++)
		addrs[i] = (uintptr_t)v->mem + i * THP;
	return cor_collapse(v->pidfd, addrs, PAGES, why);
}

static void becomes_huge_where_it_may(void **state)
{
	struct victim *v = *state;
	int why = 0, status;
	char c = 0;

	assert_int_equal(collapse_all(v, &why), PAGES - 1);
	assert_int_equal(why, -EINVAL);
	assert_int_equal(thp_kib(v->pid, v->mem, PAGES * THP), (PAGES - 1) * 2048);
	assert_int_equal(write(v->wake[0], &c, 1), 1);
	assert_int_equal(waitpid(v->pid, &status, 0), v->pid);
	v->pid = 0;
	assert_int_equal(status, 0);
}

static void a_process_that_has_ended_has_none(void **state)
{
	struct victim *v = *state;
	int why = 0;

	kill(v->pid, SIGKILL);
	waitpid(v->pid, NULL, 0);
	v->pid = 0;
	assert_int_equal(collapse_all(v, &why), 0);
	assert_int_equal(why, -ESRCH);
}

static void what_is_not_mapped_is_told(void **state)
{
	struct victim *v = *state;
	/* the victim was there before, and has nothing in the middle of it */
	char *ours = mmap(NULL, 512 * THP, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	uint64_t nowhere = ((uintptr_t)ours / THP + 256) * THP;
	int why = 0;

	assert_true(ours != MAP_FAILED);
	assert_int_equal(cor_collapse(v->pidfd, &nowhere, 1, &why), 0);
	assert_int_equal(why, -ENOMEM);
	munmap(ours, 512 * THP);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(becomes_huge_where_it_may, start, stop),
		cmocka_unit_test_setup_teardown(a_process_that_has_ended_has_none, start, stop),
		cmocka_unit_test_setup_teardown(what_is_not_mapped_is_told, start, stop),
	};

	return cmocka_run_group_tests_name("collapse", tests, NULL, NULL);
}
