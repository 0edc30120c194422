/* Record locks that pass from one holder to another. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "libcor/base/cleanup.h"
#include "libcor/names/file_locks.h"

static char g_path[] = "/tmp/cor-locks.XXXXXX";

static int setup(void **state)
{
	int fd;

	strcpy(strrchr(g_path, '.'), ".XXXXXX");
	fd = mkstemp(g_path);
	close(fd);
	return fd < 0 ? -1 : 0;
}

static int teardown(void **state)
{
	return unlink(g_path);
}

static int set(void *arg, const struct flock *range)
{
	return fcntl(*(int *)arg, F_OFD_SETLK, range) < 0 ? -errno : 0;
}

/* What a third one is kept from: F_UNLCK, nothing. */
static int held_at(off_t at)
{
	struct flock range = { .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = at, .l_len = 1 };
	_cleanup_close_ int fd = open(g_path, O_RDWR | O_CLOEXEC);

	assert_int_equal(fcntl(fd, F_OFD_GETLK, &range), 0);
	return range.l_type;
}

static Cor__Names__LockRecord lock_of(int type)
{
	Cor__Names__LockRecord lock = COR__NAMES__LOCK_RECORD__INIT;

	lock.type = type;
	lock.start = 10;
	lock.len = 5;
	return lock;
}

static void assert_passes(int type)
{
	_cleanup_close_ int a = open(g_path, O_RDWR | O_CLOEXEC), b = open(g_path, O_RDWR | O_CLOEXEC);
	struct cor_lock_holder from = { set, &a }, to = { set, &b };
	Cor__Names__LockRecord lock = lock_of(type);
	struct flock range = cor_lock_range(&lock, type);

	assert_int_equal(set(&a, &range), 0);
	assert_int_equal(cor_lock_pass(&lock, &from, &to), 0);
	assert_int_equal(held_at(10), type);
	assert_int_equal(held_at(15), F_UNLCK);
	cor_closep(&a);         /* it had nothing any more */
	assert_int_equal(held_at(14), type);
}

static void a_write_lock_passes(void **state)
{
	assert_passes(F_WRLCK);
}

static void a_read_lock_passes(void **state)
{
	assert_passes(F_RDLCK);
}

/* The other may not hold what is to pass: the first one has it as before. */
static void what_cannot_pass_stays(void **state)
{
	_cleanup_close_ int a = open(g_path, O_RDWR | O_CLOEXEC), b = open(g_path, O_RDONLY | O_CLOEXEC);
	struct cor_lock_holder from = { set, &a }, to = { set, &b };
	Cor__Names__LockRecord lock = lock_of(F_WRLCK);
	struct flock range = cor_lock_range(&lock, F_WRLCK);

	assert_int_equal(set(&a, &range), 0);
	assert_int_equal(cor_lock_pass(&lock, &from, &to), -EBADF);
	assert_int_equal(held_at(10), F_WRLCK);
	cor_closep(&b);
	assert_int_equal(held_at(10), F_WRLCK);
	cor_closep(&a);
	assert_int_equal(held_at(10), F_UNLCK);
}

/* One that reads came in between, and goes again. */
static struct { int fd, times; } g_reader;

static int set_beside_reader(void *arg, const struct flock *range)
{
	struct flock theirs = *range;

	if (range->l_type == F_WRLCK && g_reader.times++ == 0) {
		theirs.l_type = F_RDLCK;
		assert_int_equal(fcntl(g_reader.fd, F_OFD_SETLK, &theirs), 0);
	} else if (range->l_type == F_WRLCK && g_reader.times == 4) {
		theirs.l_type = F_UNLCK;
		fcntl(g_reader.fd, F_OFD_SETLK, &theirs);
	}
	return set(arg, range);
}

static void who_reads_in_between_is_waited_for(void **state)
{
	_cleanup_close_ int a = open(g_path, O_RDWR | O_CLOEXEC), b = open(g_path, O_RDWR | O_CLOEXEC);
	struct cor_lock_holder from = { set, &a }, to = { set_beside_reader, &b };
	Cor__Names__LockRecord lock = lock_of(F_WRLCK);
	struct flock range = cor_lock_range(&lock, F_WRLCK);

	g_reader.fd = open(g_path, O_RDWR | O_CLOEXEC);
	g_reader.times = 0;
	assert_int_equal(set(&a, &range), 0);
	assert_int_equal(cor_lock_pass(&lock, &from, &to), 0);
	assert_true(g_reader.times > 3);
	assert_int_equal(held_at(10), F_WRLCK);
	close(g_reader.fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_write_lock_passes, setup, teardown),
		cmocka_unit_test_setup_teardown(a_read_lock_passes, setup, teardown),
		cmocka_unit_test_setup_teardown(what_cannot_pass_stays, setup, teardown),
		cmocka_unit_test_setup_teardown(who_reads_in_between_is_waited_for, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
