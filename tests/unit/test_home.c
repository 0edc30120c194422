/* Files that stay at home, seen through the file system: what they are, what becomes of
 * changes on either side, locks, and a connection that is lost. */
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
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "home_fixture.h"

static void test_reads_what_is_at_home(void **state)
{
	const struct home_lab *l = *state;
	struct stat here, there;

	write_home(l, "file", "content");
	assert_string_equal(read_path(from_far(l, "file")), "content");
	assert_int_equal(stat(at_home(l, "file"), &here), 0);
	assert_int_equal(stat(from_far(l, "file"), &there), 0);
	assert_int_equal(here.st_ino, there.st_ino);
	assert_int_equal(here.st_size, there.st_size);
	assert_int_equal(here.st_mode, there.st_mode);
	assert_int_equal(here.st_mtim.tv_nsec, there.st_mtim.tv_nsec);
	assert_string_equal(read_path(from_far(l, "none")), "error 2");
}

static void test_writes_go_home(void **state)
{
	const struct home_lab *l = *state;
	int fd = open(from_far(l, "new"), O_RDWR | O_CREAT | O_EXCL, 0640);
	struct stat st;

	assert_true(fd >= 0);
	assert_int_equal(write(fd, "hello", 5), 5);
	assert_string_equal(read_path(at_home(l, "new")), "hello");
	assert_int_equal(pwrite(fd, "J", 1, 0), 1);
	assert_int_equal(fsync(fd), 0);
	assert_string_equal(read_path(at_home(l, "new")), "Jello");
	assert_int_equal(ftruncate(fd, 2), 0);
	assert_int_equal(stat(at_home(l, "new"), &st), 0);
	assert_int_equal(st.st_size, 2);
	assert_int_equal(st.st_mode & 07777, 0640);
	assert_int_equal(fchmod(fd, 0600), 0);
	assert_int_equal(stat(at_home(l, "new"), &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	close(fd);
}

static bool is_second(const struct home_lab *l)
{
	return strcmp(read_path(from_far(l, "file")), "second") == 0;
}

static bool is_there(const struct home_lab *l)
{
	return access(from_far(l, "later"), F_OK) == 0;
}

static bool is_not_there(const struct home_lab *l)
{
	return access(from_far(l, "later"), F_OK) < 0;
}

/* What was read is kept, until the home says that it has changed. */
static void test_changes_at_home_are_seen(void **state)
{
	const struct home_lab *l = *state;

	write_home(l, "file", "first!");
	assert_string_equal(read_path(from_far(l, "file")), "first!");
	write_home(l, "file", "second");
	assert_true(eventually(is_second, l));
	assert_true(is_not_there(l));
	write_home(l, "later", "");
	assert_true(eventually(is_there, l));
	assert_int_equal(unlink(at_home(l, "later")), 0);
	assert_true(eventually(is_not_there, l));
}

static void test_open_file_sees_changes_of_its_size(void **state)
{
	const struct home_lab *l = *state;
	char buf[16];
	int fd;

	write_home(l, "file", "1234");
	fd = open(from_far(l, "file"), O_RDONLY);
	assert_int_equal(read(fd, buf, sizeof(buf)), 4);
	assert_int_equal(read(fd, buf, sizeof(buf)), 0);
	write_home(l, "file", "123456");
	assert_int_equal(cor_home_sync(fd), 0);
	assert_int_equal(read(fd, buf, sizeof(buf)), 2);
	close(fd);
}

/* As a task's next host does, which looks while the task still writes. */
static void test_another_client_sees_what_one_has_changed(void **state)
{
	struct home_lab *l = *state;
	char next[160], path[170], buf[16] = "";
	int here, there;
	struct stat st;

	write_home(l, "file", "1234");
	home_lab_next(l, next);
	here = open(from_far(l, "file"), O_RDWR);
	snprintf(path, sizeof(path), "%s/file", next);
	there = open(path, O_RDONLY);
	assert_int_equal(read(there, buf, sizeof(buf)), 4);
	snprintf(path, sizeof(path), "%s/later", next);
	assert_int_equal(access(path, F_OK), -1);
	assert_int_equal(pwrite(here, "Xyz456", 6, 0), 6);
	close(open(from_far(l, "later"), O_CREAT | O_WRONLY, 0600));
	assert_int_equal(cor_home_sync(there), 0);
	assert_int_equal(fstat(there, &st), 0);
	assert_int_equal(st.st_size, 6);
	assert_int_equal(pread(there, buf, sizeof(buf), 0), 6);
	assert_memory_equal(buf, "Xyz456", 6);
	assert_int_equal(access(path, F_OK), 0);
	close(here);
	close(there);
}

static unsigned count_entries(const char *path)
{
	DIR *d = opendir(path);
	unsigned n = 0;

	assert_non_null(d);
	while (readdir(d))
		n++;
	closedir(d);
	return n;
}

static void test_directories(void **state)
{
	const struct home_lab *l = *state;
	char name[32], to[256];

	assert_int_equal(mkdir(from_far(l, "dir"), 0755), 0);
	for (unsigned i = 0; i < 1500; i++) {
		snprintf(name, sizeof(name), "dir/a-long-enough-name-%u", i);
		write_home(l, name, "x");
	}
	assert_int_equal(count_entries(from_far(l, "dir")), 1502);
	assert_int_equal(rmdir(from_far(l, "dir")), -1);
	assert_int_equal(errno, ENOTEMPTY);
	strcpy(to, from_far(l, "renamed"));
	assert_int_equal(rename(from_far(l, "dir"), to), 0);
	assert_int_equal(access(at_home(l, "renamed/a-long-enough-name-7"), F_OK), 0);
	assert_int_equal(access(from_far(l, "dir"), F_OK), -1);
	assert_int_equal(access(from_far(l, "renamed/a-long-enough-name-7"), F_OK), 0);
}

static void test_links(void **state)
{
	const struct home_lab *l = *state;
	char buf[64] = "", from[256];
	struct stat st;

	write_home(l, "file", "linked");
	strcpy(from, from_far(l, "file"));
	assert_int_equal(link(from, from_far(l, "hard")), 0);
	assert_int_equal(stat(from_far(l, "hard"), &st), 0);
	assert_int_equal(st.st_nlink, 2);
	assert_int_equal(symlink("file", from_far(l, "soft")), 0);
	assert_int_equal(readlink(from_far(l, "soft"), buf, sizeof(buf)), 4);
	assert_string_equal(buf, "file");
	assert_string_equal(read_path(from_far(l, "soft")), "linked");
	assert_int_equal(unlink(from_far(l, "hard")), 0);
	assert_int_equal(access(at_home(l, "hard"), F_OK), -1);
}

static void test_appending(void **state)
{
	const struct home_lab *l = *state;
	int far, home;

	write_home(l, "log", "");
	far = open(from_far(l, "log"), O_WRONLY | O_APPEND);
	home = open(at_home(l, "log"), O_WRONLY | O_APPEND);
	assert_int_equal(write(far, "far ", 4), 4);
	assert_int_equal(write(home, "home ", 5), 5);
	assert_int_equal(write(far, "far ", 4), 4);
	assert_int_equal(write(home, "home", 4), 4);
	assert_string_equal(read_path(at_home(l, "log")), "far home far home");
	close(far);
	close(home);
}

static void test_deleted_but_open(void **state)
{
	const struct home_lab *l = *state;
	char buf[16] = "";
	struct stat st;
	int fd;

	write_home(l, "file", "still there");
	fd = open(from_far(l, "file"), O_RDWR);
	assert_int_equal(unlink(from_far(l, "file")), 0);
	assert_int_equal(access(at_home(l, "file"), F_OK), -1);
	assert_int_equal(pwrite(fd, "S", 1, 0), 1);
	assert_int_equal(pread(fd, buf, 11, 0), 11);
	assert_string_equal(buf, "Still there");
	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(st.st_nlink, 0);
	close(fd);
}

static void test_beyond_four_gib(void **state)
{
	const struct home_lab *l = *state;
	const off_t far_out = 5ll << 30;
	char buf[8] = "";
	struct stat st;
	int fd = open(from_far(l, "sparse"), O_RDWR | O_CREAT, 0600);

	assert_int_equal(pwrite(fd, "end", 3, far_out), 3);
	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(st.st_size, far_out + 3);
	close(fd);
	fd = open(at_home(l, "sparse"), O_RDONLY);
	assert_int_equal(pread(fd, buf, 3, far_out), 3);
	assert_string_equal(buf, "end");
	close(fd);
}

static void test_mapping(void **state)
{
	const struct home_lab *l = *state;
	char *p;
	int fd;

	write_home(l, "file", "mapped file");
	fd = open(from_far(l, "file"), O_RDWR);
	p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	assert_true(p != MAP_FAILED);
	assert_memory_equal(p, "mapped file", 11);
	p[0] = 'M';
	assert_int_equal(msync(p, 4096, MS_SYNC), 0);
	assert_string_equal(read_path(at_home(l, "file")), "Mapped file");
	munmap(p, 4096);
	p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
	p[0] = 'P';
	assert_string_equal(read_path(at_home(l, "file")), "Mapped file");
	munmap(p, 4096);
	close(fd);
}

static void test_more_of_the_file_system(void **state)
{
	const struct home_lab *l = *state;
	struct statvfs a, b;
	char buf[16] = "";
	int fd;

	write_home(l, "file", "x");
	assert_int_equal(statvfs(at_home(l, "file"), &a), 0);
	assert_int_equal(statvfs(from_far(l, "file"), &b), 0);
	assert_int_equal(a.f_blocks, b.f_blocks);
	if (setxattr(at_home(l, "file"), "user.color", "blue", 4, 0) == 0) {
		assert_int_equal(getxattr(from_far(l, "file"), "user.color", buf, sizeof(buf)), 4);
		assert_string_equal(buf, "blue");
		assert_int_equal(setxattr(from_far(l, "file"), "user.size", "9", 1, 0), 0);
		assert_int_equal(getxattr(at_home(l, "file"), "user.size", buf, sizeof(buf)), 1);
		assert_true(listxattr(from_far(l, "file"), buf, 0) > 0);
	}
	fd = open(from_far(l, "file"), O_RDWR);
	assert_int_equal(fallocate(fd, 0, 0, 65536), 0);
	assert_int_equal(lseek(fd, 0, SEEK_END), 65536);
	close(fd);
	assert_int_equal(mkfifo(from_far(l, "fifo"), 0600), 0);
}

/* ---- locks --------------------------------------------------------------------------- */

/* In another process: is path locked for a writer? */
static bool others_see_lock(const char *path)
{
	pid_t pid = fork();
	int status;

	if (pid == 0) {
		struct flock fl = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
		int fd = open(path, O_RDWR);

		_exit(fd < 0 ? 2 : fcntl(fd, F_SETLK, &fl) < 0 ? 1 : 0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) < 2);
	return WEXITSTATUS(status) == 1;
}

static bool others_see_flock(const char *path)
{
	int fd = open(path, O_RDWR), r = flock(fd, LOCK_EX | LOCK_NB);

	close(fd);
	return r < 0;
}

static bool home_unlocked(const struct home_lab *l)
{
	return !others_see_lock(at_home(l, "file"));
}

static bool home_unflocked(const struct home_lab *l)
{
	return !others_see_flock(at_home(l, "file"));
}

static void test_locks_are_seen_at_home(void **state)
{
	struct flock fl = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
	const struct home_lab *l = *state;
	int fd, other;

	write_home(l, "file", "x");
	fd = open(from_far(l, "file"), O_RDWR);
	assert_int_equal(fcntl(fd, F_SETLK, &fl), 0);
	assert_true(others_see_lock(at_home(l, "file")));
	assert_true(others_see_lock(from_far(l, "file")));
	/* POSIX locks end with any descriptor of the file */
	other = open(from_far(l, "file"), O_RDONLY);
	close(other);
	assert_true(eventually(home_unlocked, l));
	assert_int_equal(flock(fd, LOCK_EX), 0);
	assert_true(others_see_flock(at_home(l, "file")));
	close(fd);
	assert_true(eventually(home_unflocked, l));
}

static void test_locks_at_home_hold_here(void **state)
{
	struct flock fl = { .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 10, .l_len = 5 };
	const struct home_lab *l = *state;
	int home, fd;

	write_home(l, "file", "x");
	home = open(at_home(l, "file"), O_RDWR);
	assert_int_equal(fcntl(home, F_OFD_SETLK, &fl), 0);
	fd = open(from_far(l, "file"), O_RDWR);
	fl.l_pid = 0;
	assert_int_equal(fcntl(fd, F_SETLK, &fl), -1);
	assert_int_equal(errno, EAGAIN);
	fl = (struct flock){ .l_type = F_WRLCK, .l_whence = SEEK_SET };
	assert_int_equal(fcntl(fd, F_GETLK, &fl), 0);
	assert_int_equal(fl.l_type, F_WRLCK);
	assert_int_equal(fl.l_start, 10);
	assert_int_equal(fl.l_len, 5);
	close(home);
	fl = (struct flock){ .l_type = F_WRLCK, .l_whence = SEEK_SET };
	assert_int_equal(fcntl(fd, F_SETLK, &fl), 0);
	close(fd);
}

static void on_alarm(int sig)
{
}

static void test_waiting_for_a_lock(void **state)
{
	struct sigaction alarm_action = { .sa_handler = on_alarm };
	struct flock fl = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
	const struct home_lab *l = *state;
	char buf[16] = "";
	int fd, status;
	pid_t holder;

	write_home(l, "file", "before");
	fd = open(from_far(l, "file"), O_RDWR);
	assert_int_equal(read(fd, buf, sizeof(buf)), 6);
	holder = fork();
	if (holder == 0) {
		int home = open(at_home(l, "file"), O_RDWR);

		if (fcntl(home, F_SETLK, &fl) < 0)
			_exit(1);
		raise(SIGSTOP);
		usleep(30000);
		if (pwrite(home, "behind", 6, 0) != 6)
			_exit(1);
		_exit(0);
	}
	assert_int_equal(waitpid(holder, &status, WUNTRACED), holder);
	assert_true(WIFSTOPPED(status));
	/* a signal ends the waiting */
	sigaction(SIGALRM, &alarm_action, NULL);
	ualarm(50000, 0);
	assert_int_equal(fcntl(fd, F_SETLKW, &fl), -1);
	assert_int_equal(errno, EINTR);
	kill(holder, SIGCONT);
	assert_int_equal(fcntl(fd, F_SETLKW, &fl), 0);
	/* and with the lock comes what its holder wrote */
	assert_int_equal(pread(fd, buf, 6, 0), 6);
	assert_string_equal(buf, "behind");
	close(fd);
	assert_int_equal(waitpid(holder, &status, 0), holder);
	assert_int_equal(status, 0);
}

/* ---- handles ---------------------------------------------------------------------------- */

static void test_open_file_is_handed_over(void **state)
{
	struct cor_home_expect e = { 0 };
	const struct home_lab *l = *state;
	struct cor_home_file info;
	char link[256] = "", self[64], buf[16] = "";
	int fd, top, far;

	/* deleted, locked, and opened for writing though its mode forbids it */
	write_home(l, "file", "handed over");
	fd = open(at_home(l, "file"), O_RDWR);
	assert_int_equal(flock(fd, LOCK_EX), 0);
	chmod(at_home(l, "file"), 0400);
	assert_int_equal(unlink(at_home(l, "file")), 0);
	assert_int_equal(cor_home_adopt(l->control, fd, &e.handle), 0);
	close(fd);

	strcpy(e.path, at_home(l, "file"));
	top = open(l->far, O_RDONLY | O_DIRECTORY);
	assert_int_equal(ioctl(top, COR_HOME_EXPECT, &e), 0);
	far = open(from_far(l, "file"), O_RDWR);
	assert_true(far >= 0);
	assert_int_equal(pread(far, buf, 11, 0), 11);
	assert_string_equal(buf, "handed over");
	assert_int_equal(ioctl(far, COR_HOME_FILE, &info), 0);
	assert_int_equal(info.nlink, 0);
	assert_int_equal(info.nlocks, 1);
	assert_int_equal(info.locks[0].kind, HOME_LOCK_OWN);
	assert_int_equal(info.locks[0].type, F_WRLCK);
	snprintf(self, sizeof(self), "/proc/self/fd/%d", far);
	usleep(20000);
	assert_true(readlink(self, link, sizeof(link) - 1) > 0);
	assert_non_null(strstr(link, "/file (deleted)"));
	/* it is no name for anyone else */
	assert_int_equal(open(from_far(l, "file"), O_RDWR), -1);
	assert_int_equal(cor_home_unpin(l->control), 0);
	assert_int_equal(pread(far, buf, 11, 0), 11);
	/* and the home can have it back */
	fd = cor_home_fetch(l->control, info.handle);
	assert_true(fd >= 0);
	assert_int_equal(flock(fd, LOCK_EX | LOCK_NB), 0);
	close(fd);
	close(far);
	close(top);
}

static void test_lost_connection_is_waited_for(void **state)
{
	struct home_lab *l = *state;
	struct flock fl = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
	struct cor_home_info info;
	char buf[16] = "", name[32];
	int fd;

	write_home(l, "file", "patience");
	fd = open(from_far(l, "file"), O_RDWR);
	assert_int_equal(fcntl(fd, F_SETLK, &fl), 0);
	for (unsigned i = 0; i < 5; i++) {
		cut_home(l);
		snprintf(name, sizeof(name), "made-%u", i);
		assert_int_equal(mkdir(from_far(l, name), 0700), 0);
		assert_int_equal(pread(fd, buf, 8, 0), 8);
		assert_string_equal(buf, "patience");
	}
	assert_true(others_see_lock(at_home(l, "file")));
	assert_int_equal(ioctl(fd, COR_HOME_INFO, &info), 0);
	assert_true(info.reconnects >= 5);
	assert_string_equal(info.host, "homely");
	close(fd);
}

/* ---- rights ------------------------------------------------------------------------------ */

/* As another user: can it be read? */
static int read_as(uid_t uid, const char *path)
{
	pid_t pid = fork();
	int status;

	if (pid == 0) {
		if (setgid(uid) < 0 || setuid(uid) < 0)
			_exit(99);
		_exit(open(path, O_RDONLY) < 0 ? errno : 0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WEXITSTATUS(status);
}

static void test_rights_are_the_askers(void **state)
{
	const struct home_lab *l = *state;

	write_home(l, "secret", "s");
	chmod(at_home(l, "secret"), 0600);
	write_home(l, "theirs", "t");
	chmod(at_home(l, "theirs"), 0600);
	assert_int_equal(chown(at_home(l, "theirs"), 4711, 4711), 0);
	assert_int_equal(read_as(4711, from_far(l, "secret")), EACCES);
	assert_int_equal(read_as(4711, from_far(l, "theirs")), 0);
	assert_int_equal(read_as(4712, from_far(l, "theirs")), EACCES);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, home_lab_setup, home_lab_teardown)
	const struct CMUnitTest tests[] = {
		T(test_reads_what_is_at_home),
		T(test_writes_go_home),
		T(test_changes_at_home_are_seen),
		T(test_open_file_sees_changes_of_its_size),
		T(test_another_client_sees_what_one_has_changed),
		T(test_directories),
		T(test_links),
		T(test_appending),
		T(test_deleted_but_open),
		T(test_beyond_four_gib),
		T(test_mapping),
		T(test_more_of_the_file_system),
		T(test_locks_are_seen_at_home),
		T(test_locks_at_home_hold_here),
		T(test_waiting_for_a_lock),
		T(test_open_file_is_handed_over),
		T(test_lost_connection_is_waited_for),
		T(test_rights_are_the_askers),
	};
#undef T
	return cmocka_run_group_tests(tests, NULL, NULL);
}
