/* Regular files, directories, O_PATH, devices, locks: carried by their names. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "libcor/base/error.h"
#include "files_fixture.h"

static void write_file(const char *name, const char *text)
{
	int fd = open(fixture_path(name), O_WRONLY | O_CREAT | O_TRUNC, 0644);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	close(fd);
}

static void open_shared_by_dup(void)
{
	HOLDS(open(fixture_path("data"), O_RDWR) == 0);
	HOLDS(dup2(0, 7) == 7);
	HOLDS(open(fixture_path("data"), O_RDONLY | O_CLOEXEC) == 1);
	HOLDS(lseek(0, 4, SEEK_SET) == 4);
}

static void verify_shared_by_dup(void)
{
	char c;

	HOLDS(read(7, &c, 1) == 1 && c == '4');
	HOLDS(lseek(0, 0, SEEK_CUR) == 5);
	HOLDS(lseek(1, 0, SEEK_CUR) == 0);
	HOLDS(fcntl(1, F_GETFD) == FD_CLOEXEC);
	HOLDS(fcntl(7, F_GETFD) == 0);
	HOLDS(fcntl(2, F_GETFD) == -1);
}

static void test_offset_is_shared_by_duplicates_only(void **state)
{
	write_file("data", "0123456789");
	round_trip(open_shared_by_dup, verify_shared_by_dup);
}

static void open_append(void)
{
	HOLDS(open(fixture_path("log"), O_WRONLY | O_APPEND | O_CREAT | O_TRUNC, 0600) == 0);
	HOLDS(write(0, "before ", 7) == 7);
}

static void verify_append(void)
{
	char text[16] = "";
	int fd;

	HOLDS(fcntl(0, F_GETFL) & O_APPEND);
	HOLDS(lseek(0, 0, SEEK_SET) == 0);
	HOLDS(write(0, "after", 5) == 5);
	fd = open(fixture_path("log"), O_RDONLY);
	HOLDS(read(fd, text, sizeof(text)) == 12 && memcmp(text, "before after", 12) == 0);
}

static void test_append_goes_on_and_nothing_is_truncated(void **state)
{
	round_trip(open_append, verify_append);
}

static void open_then_unlink(void)
{
	HOLDS(open(fixture_path("gone"), O_RDWR | O_CREAT, 0640) == 0);
	HOLDS(write(0, "still here", 10) == 10);
	HOLDS(open(fixture_path("gone"), O_RDONLY) == 1);
	HOLDS(unlink(fixture_path("gone")) == 0);
	HOLDS(lseek(0, 6, SEEK_SET) == 6);
}

static void verify_unlinked(void)
{
	char text[16];
	struct stat st;

	HOLDS(fstat(0, &st) == 0 && st.st_nlink == 0 && st.st_size == 10);
	HOLDS((st.st_mode & 07777) == 0640);
	HOLDS(read(0, text, 4) == 4 && memcmp(text, "here", 4) == 0);
	HOLDS(pwrite(0, "S", 1, 0) == 1);
	HOLDS(pread(1, text, 5, 0) == 5 && memcmp(text, "Still", 5) == 0);
}

static void test_nameless_file_is_carried_whole(void **state)
{
	round_trip(open_then_unlink, verify_unlinked);
}

static void open_tmpfile(void)
{
	HOLDS(open("/tmp", O_TMPFILE | O_RDWR, 0640) == 0);
	HOLDS(write(0, "nobody's", 8) == 8);
}

static void verify_tmpfile(void)
{
	struct stat st;
	char text[9] = "";

	HOLDS(pread(0, text, sizeof(text), 0) == 8 && strcmp(text, "nobody's") == 0);
	HOLDS(lseek(0, 0, SEEK_CUR) == 8);
	HOLDS(fstat(0, &st) == 0 && st.st_nlink == 0 && (st.st_mode & 0777) == 0640);
	HOLDS((fcntl(0, F_GETFL) & O_ACCMODE) == O_RDWR);
}

/* Its flags hold O_DIRECTORY, as part of O_TMPFILE. */
static void test_file_that_never_had_a_name_is_carried(void **state)
{
	round_trip(open_tmpfile, verify_tmpfile);
}

static void open_large_then_unlink(void)
{
	HOLDS(open(fixture_path("big"), O_RDWR | O_CREAT, 0640) == 0);
	HOLDS(ftruncate(0, 2 << 20) == 0);
	HOLDS(unlink(fixture_path("big")) == 0);
}

static void test_large_nameless_file_is_refused(void **state)
{
	const char *text = refusal_of(open_large_then_unlink);

	assert_mentions(text, "descriptor 0 ");
	assert_mentions(text, "big");
	assert_mentions(text, "2097152 bytes");
}

static void test_shared_nameless_file_is_refused(void **state)
{
	struct subject s = subject_start(open_then_unlink, NULL);
	struct cor_error err = COR_ERROR_INIT;
	int copy = cor_files_duplicate(s.pid, 0, &err);
	char me[32];
	const char *text;

	assert_true(copy >= 0);
	text = capture_refused(&s);
	close(copy);
	snprintf(me, sizeof(me), "process %d", (int)getpid());
	assert_mentions(text, me);
}

static void open_data(void)
{
	HOLDS(open(fixture_path("data"), O_RDONLY) == 0);
}

static Cor__Names__FileTable *table_from_elsewhere(void)
{
	struct subject s = subject_start(open_data, NULL);
	Cor__Names__FileTable *table = capture(&s);

	subject_kill(&s);
	table->boot_id[0] ^= 1;
	return table;
}

static void test_missing_file_is_named(void **state)
{
	struct cor_error err = COR_ERROR_INIT;
	Cor__Names__FileTable *table;

	write_file("data", "0123456789");
	table = table_from_elsewhere();
	unlink(fixture_path("data"));
	assert_int_equal(cor_files_check(table, NULL, NULL, &err), -ENOENT);
	assert_mentions(err.text, fixture_path("data"));
	assert_mentions(restore_refused(table, -ENOENT), fixture_path("data"));
}

static void count_doubts(void *arg, unsigned file, const struct cor_error *why)
{
	unsigned *found = arg;

	assert_int_equal(why->code, -ENOENT);
	assert_mentions(why->text, fixture_path("data"));
	found[0]++;
	found[1] = file;
}

/* A file that cannot be had is in the way for as long as the task has it by that name. */
static void test_doubt_lasts_while_the_task_has_the_file(void **state)
{
	struct subject s;
	Cor__Names__FileTable *table;
	unsigned found[2] = { 0 };

	write_file("data", "0123456789");
	s = subject_start(open_data, NULL);
	table = capture(&s);
	assert_true(cor_files_still(table, s.pid, 0));
	unlink(fixture_path("data"));
	table->boot_id[0] ^= 1;
	assert_int_equal(cor_files_check(table, count_doubts, found, NULL), 0);
	assert_int_equal(found[0], 1);
	assert_false(cor_files_still(table, s.pid, found[1]));
	subject_kill(&s);
	assert_false(cor_files_still(table, s.pid, found[1]));
}

/* sqlite3's journal comes and goes with each transaction, by one name and at one inode. */
static void test_file_of_the_same_inode_is_not_the_same(void **state)
{
	const struct cor_files_options options = { .with_content = true, .running = true };
	struct subject s;
	struct cor_files_object *extra;
	Cor__Names__FileTable *table;
	ProtobufCBinaryData *handle;
	unsigned nextra;

	write_file("data", "0123456789");
	s = subject_start(open_data, NULL);
	assert_int_equal(cor_files_capture_with(s.pid, &options, &extra, &nextra, &table, NULL), 0);
	handle = &table->files[0]->handle;
	assert_true(handle->len > 4);
	assert_true(cor_files_still(table, s.pid, 0));
	handle->data[handle->len - 1] ^= 1;
	assert_false(cor_files_still(table, s.pid, 0));
	cor__names__file_table__free_unpacked(table, NULL);
	free(extra);
	subject_kill(&s);
}

static void test_file_of_other_size_is_named(void **state)
{
	struct cor_error err = COR_ERROR_INIT;
	Cor__Names__FileTable *table;

	write_file("data", "0123456789");
	table = table_from_elsewhere();
	write_file("data", "01234567");
	assert_int_equal(cor_files_check(table, NULL, NULL, &err), -ESTALE);
	assert_mentions(err.text, fixture_path("data"));
	assert_mentions(err.text, "size is 8, on the source 10");
}

static void test_file_of_other_time_is_named(void **state)
{
	struct timespec times[2] = { { 1000, 0 }, { 1000, 5 } };
	struct cor_error err = COR_ERROR_INIT;
	Cor__Names__FileTable *table;

	write_file("data", "0123456789");
	table = table_from_elsewhere();
	assert_int_equal(utimensat(AT_FDCWD, fixture_path("data"), times, 0), 0);
	assert_int_equal(cor_files_check(table, NULL, NULL, &err), -ESTALE);
	assert_mentions(err.text, "modified at 1000.000000005");
}

static void open_devices(void)
{
	HOLDS(open("/dev/null", O_RDWR) == 0);
	HOLDS(open("/dev/zero", O_RDONLY) == 1);
	HOLDS(open("/dev/full", O_WRONLY) == 2);
	HOLDS(open("/dev/random", O_RDONLY) == 3);
	HOLDS(open("/dev/urandom", O_RDONLY | O_NONBLOCK) == 4);
}

static void verify_devices(void)
{
	static const unsigned minors[] = { 3, 5, 7, 8, 9 };
	struct stat st;

	for (int fd = 0; fd < 5; fd++)
		HOLDS(fstat(fd, &st) == 0 && st.st_rdev == makedev(1, minors[fd]));
	HOLDS(write(2, "x", 1) == -1 && errno == ENOSPC);
	HOLDS(fcntl(4, F_GETFL) & O_NONBLOCK);
}

static void test_memory_devices_are_carried(void **state)
{
	round_trip(open_devices, verify_devices);
}

static void open_terminal(void)
{
	int master = posix_openpt(O_RDWR | O_NOCTTY);

	HOLDS(master == 0 && grantpt(master) == 0 && unlockpt(master) == 0);
	HOLDS(open(ptsname(master), O_RDWR | O_NOCTTY) == 1);
	close(master);
}

static void test_terminal_is_refused(void **state)
{
	const char *text = refusal_of(open_terminal);

	assert_mentions(text, "descriptor 1 is the terminal /dev/pts/");
	assert_mentions(text, "terminals are not carried yet");
}

static void open_directories(void)
{
	HOLDS(open(fixture_path(""), O_RDONLY | O_DIRECTORY) == 0);
	HOLDS(open(fixture_path("data"), O_PATH) == 1);
	HOLDS(open("/proc/self/stat", O_RDONLY) == 2);
	HOLDS(symlink("nowhere", fixture_path("link")) == 0);
	HOLDS(open(fixture_path("link"), O_PATH | O_NOFOLLOW) == 3);
}

static void verify_directories(void)
{
	char text[32], own[32];
	struct stat st;

	HOLDS(openat(0, "data", O_RDONLY) == 4);
	HOLDS(fcntl(1, F_GETFL) & O_PATH);
	HOLDS(fstat(1, &st) == 0 && S_ISREG(st.st_mode));
	HOLDS(read(2, text, sizeof(text)) > 8);
	snprintf(own, sizeof(own), "%d (", (int)getpid());
	HOLDS(strncmp(text, own, strlen(own)) == 0);
	HOLDS(fstat(3, &st) == 0 && S_ISLNK(st.st_mode));
}

static void test_directories_paths_and_own_proc_are_carried(void **state)
{
	write_file("data", "0123456789");
	round_trip(open_directories, verify_directories);
}

static void open_locked(void)
{
	struct flock range = { .l_type = F_WRLCK, .l_start = 2, .l_len = 3 };
	struct flock other = { .l_type = F_RDLCK, .l_start = 100 };

	HOLDS(open(fixture_path("data"), O_RDWR) == 0);
	HOLDS(fcntl(0, F_SETLK, &range) == 0);
	HOLDS(open(fixture_path("data"), O_RDWR) == 1);
	HOLDS(fcntl(1, F_OFD_SETLK, &other) == 0);
	HOLDS(open(fixture_path("flocked"), O_RDWR | O_CREAT, 0600) == 2);
	HOLDS(flock(2, LOCK_EX) == 0);
}

/* What a fresh open file description meets when it wants that range. */
static struct flock probe(const char *name, off_t start, off_t len)
{
	struct flock range = { .l_type = F_WRLCK, .l_start = start, .l_len = len };
	int fd = open(fixture_path(name), O_RDWR);

	HOLDS(fcntl(fd, F_OFD_GETLK, &range) == 0);
	return range;       /* left open: closing would drop the task's POSIX locks */
}

static void verify_locked(void)
{
	struct flock range = probe("data", 0, 50);
	int fd;

	HOLDS(range.l_type == F_WRLCK && range.l_start == 2 && range.l_len == 3);
	HOLDS(range.l_pid == getpid());
	range = probe("data", 60, 0);
	HOLDS(range.l_type == F_RDLCK && range.l_start == 100 && range.l_len == 0);
	HOLDS(range.l_pid == -1);
	fd = open(fixture_path("flocked"), O_RDWR);
	HOLDS(flock(fd, LOCK_SH | LOCK_NB) == -1 && errno == EWOULDBLOCK);
}

static void test_locks_are_taken_again(void **state)
{
	write_file("data", "0123456789");
	round_trip(open_locked, verify_locked);
}

static void test_lock_held_by_another_is_refused(void **state)
{
	struct subject s;

	write_file("data", "0123456789");
	s = subject_start(open_locked, NULL);
	/* the subject lives and has its locks */
	assert_mentions(restore_refused(capture(&s), -EAGAIN), "held by another process");
}

static void open_and_replace(void)
{
	char other[160];

	snprintf(other, sizeof(other), "%s", fixture_path("other"));
	HOLDS(open(fixture_path("data"), O_RDWR) == 0);
	HOLDS(link(fixture_path("data"), other) == 0);
	HOLDS(unlink(fixture_path("data")) == 0);
	HOLDS(open(fixture_path("data"), O_RDWR | O_CREAT, 0600) == 1);
}

static void test_replaced_file_is_refused(void **state)
{
	write_file("data", "0123456789");
	assert_mentions(refusal_of(open_and_replace), "no longer leads to");
}

/* ---- a list that the kernel writes as it is read ------------------------------------- */

static char first_line[256];

static void read_a_part(void)
{
	HOLDS(open("/proc/self/maps", O_RDONLY) == 0);
	HOLDS(pread(0, first_line, sizeof(first_line) - 1, 0) > 20);
	HOLDS(read(0, first_line, 10) == 10);
}

/* What the kernel had written then, whatever is mapped by now. */
static void read_the_rest(void)
{
	char rest[100];

	HOLDS(mmap((void *)0x10000, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE,
		   -1, 0) != MAP_FAILED);
	HOLDS(read(0, rest, sizeof(rest)) == (ssize_t)sizeof(rest));
	HOLDS(memcmp(rest, first_line + 10, sizeof(rest)) == 0);
}

static void test_reading_of_maps_is_not_disturbed(void **state)
{
	struct subject s = subject_start(read_a_part, read_the_rest);
	const struct cor_files_options o = { .with_content = true, .before = capture(&s) };
	struct cor_error err = COR_ERROR_INIT;
	struct cor_files_object *extra;
	Cor__Names__FileTable *table;
	unsigned nextra;

	assert_int_equal(cor_files_capture_with(s.pid, &o, &extra, &nextra, &table, &err), -EAGAIN);
	assert_mentions(err.text, "in the middle of reading /proc/self/maps");
	subject_finish(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		FILES_TEST(test_offset_is_shared_by_duplicates_only),
		FILES_TEST(test_append_goes_on_and_nothing_is_truncated),
		FILES_TEST(test_nameless_file_is_carried_whole),
		FILES_TEST(test_file_that_never_had_a_name_is_carried),
		FILES_TEST(test_large_nameless_file_is_refused),
		FILES_TEST(test_shared_nameless_file_is_refused),
		FILES_TEST(test_missing_file_is_named),
		FILES_TEST(test_doubt_lasts_while_the_task_has_the_file),
		FILES_TEST(test_file_of_the_same_inode_is_not_the_same),
		FILES_TEST(test_file_of_other_size_is_named),
		FILES_TEST(test_file_of_other_time_is_named),
		FILES_TEST(test_memory_devices_are_carried),
		FILES_TEST(test_terminal_is_refused),
		FILES_TEST(test_directories_paths_and_own_proc_are_carried),
		FILES_TEST(test_locks_are_taken_again),
		FILES_TEST(test_lock_held_by_another_is_refused),
		FILES_TEST(test_replaced_file_is_refused),
		FILES_TEST(test_reading_of_maps_is_not_disturbed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
