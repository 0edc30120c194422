/* Pipes and FIFOs: bytes, packets, ends that are closed, and who shares them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "files_fixture.h"

static void pipe_with_bytes(void)
{
	int ends[2];

	HOLDS(pipe2(ends, O_CLOEXEC) == 0 && ends[0] == 0 && ends[1] == 1);
	HOLDS(fcntl(1, F_SETPIPE_SZ, 8192) == 8192);
	HOLDS(fcntl(0, F_SETFL, O_NONBLOCK) == 0);
	HOLDS(write(1, "unread", 6) == 6);
}

static void read_the_bytes(void)
{
	char text[16];

	HOLDS(read(0, text, sizeof(text)) == 6 && memcmp(text, "unread", 6) == 0);
	HOLDS(read(0, text, sizeof(text)) == -1 && errno == EAGAIN);
}

static void verify_pipe(void)
{
	char text[16];

	HOLDS(fcntl(0, F_GETPIPE_SZ) == 8192);
	HOLDS((fcntl(0, F_GETFL) & O_NONBLOCK) && !(fcntl(1, F_GETFL) & O_NONBLOCK));
	HOLDS((fcntl(0, F_GETFL) & O_ACCMODE) == O_RDONLY);
	HOLDS((fcntl(1, F_GETFL) & O_ACCMODE) == O_WRONLY);
	read_the_bytes();
	HOLDS(write(1, "more", 4) == 4);
	HOLDS(read(0, text, sizeof(text)) == 4);
	HOLDS(close(1) == 0);
	HOLDS(read(0, text, sizeof(text)) == 0);
}

static void test_pipe_keeps_its_bytes_and_size(void **state)
{
	round_trip(pipe_with_bytes, verify_pipe);
}

/* The writing end has the lower number, and is made first. */
static void turned_pipe_with_bytes(void)
{
	int fd[2];

	HOLDS(pipe2(fd, 0) == 0);
	HOLDS(dup2(fd[1], 20) == 20 && dup2(fd[0], 21) == 21);
	HOLDS(close(fd[0]) == 0 && close(fd[1]) == 0);
	HOLDS(write(20, "unread", 6) == 6);
}

static void verify_turned_pipe(void)
{
	char text[16];

	HOLDS(!(fcntl(20, F_GETFL) & O_NONBLOCK) && !(fcntl(21, F_GETFL) & O_NONBLOCK));
	HOLDS(read(21, text, sizeof(text)) == 6 && memcmp(text, "unread", 6) == 0);
}

static void test_writing_end_of_lower_number_still_blocks(void **state)
{
	round_trip(turned_pipe_with_bytes, verify_turned_pipe);
}

static void test_capture_consumes_nothing(void **state)
{
	struct subject s = subject_start(pipe_with_bytes, read_the_bytes);

	capture(&s);
	capture(&s);
	subject_finish(&s);
}

static void full_pipe(void)
{
	static char block[65536];
	int ends[2];

	HOLDS(pipe(ends) == 0);
	for (unsigned i = 0; i < sizeof(block); i++)
		block[i] = (char)(i * 7 + (i >> 8));
	HOLDS(write(1, block, sizeof(block)) == sizeof(block));
}

static void verify_full_pipe(void)
{
	static char block[65536];
	size_t got = 0;

	while (got < sizeof(block)) {
		ssize_t n = read(0, block + got, sizeof(block) - got);

		HOLDS(n > 0);
		got += (size_t)n;
	}
	for (unsigned i = 0; i < sizeof(block); i++)
		HOLDS(block[i] == (char)(i * 7 + (i >> 8)));
}

static void test_full_pipe_is_carried_whole(void **state)
{
	round_trip(full_pipe, verify_full_pipe);
}

static void packet_pipe(void)
{
	int ends[2];

	HOLDS(pipe2(ends, O_DIRECT) == 0);
	HOLDS(write(1, "one", 3) == 3 && write(1, "three", 5) == 5);
}

static void verify_packets(void)
{
	char text[16];

	HOLDS(fcntl(1, F_GETFL) & O_DIRECT);
	HOLDS(read(0, text, sizeof(text)) == 3);
	HOLDS(read(0, text, sizeof(text)) == 5 && memcmp(text, "three", 5) == 0);
}

static void test_packets_keep_their_boundaries(void **state)
{
	round_trip(packet_pipe, verify_packets);
}

static void writer_closed(void)
{
	int ends[2];

	HOLDS(pipe(ends) == 0 && write(1, "last", 4) == 4 && close(1) == 0);
}

static void verify_eof(void)
{
	char text[16];

	HOLDS(read(0, text, sizeof(text)) == 4);
	HOLDS(read(0, text, sizeof(text)) == 0);
}

static void test_closed_writer_is_end_of_file(void **state)
{
	round_trip(writer_closed, verify_eof);
}

static void reader_closed(void)
{
	int ends[2];

	HOLDS(pipe(ends) == 0 && close(0) == 0);
}

static void verify_epipe(void)
{
	signal(SIGPIPE, SIG_IGN);
	HOLDS(write(1, "x", 1) == -1 && errno == EPIPE);
}

static void test_closed_reader_is_broken_pipe(void **state)
{
	round_trip(reader_closed, verify_epipe);
}

static void reopened_pipe(void)
{
	int ends[2];

	HOLDS(pipe(ends) == 0 && write(1, "ab", 2) == 2);
	HOLDS(open("/proc/self/fd/0", O_RDONLY | O_NONBLOCK) == 2);
	HOLDS(open("/proc/self/fd/1", O_RDWR) == 3);
	HOLDS(dup2(1, 9) == 9 && close(1) == 0);
}

static void verify_reopened(void)
{
	char c;

	HOLDS(read(2, &c, 1) == 1 && c == 'a');
	HOLDS(read(0, &c, 1) == 1 && c == 'b');
	HOLDS(read(2, &c, 1) == -1 && errno == EAGAIN);
	HOLDS(write(3, "c", 1) == 1 && read(3, &c, 1) == 1 && c == 'c');
	HOLDS(close(3) == 0 && close(9) == 0);
	HOLDS(read(0, &c, 1) == 0);
}

static void test_further_descriptions_of_one_pipe(void **state)
{
	round_trip(reopened_pipe, verify_reopened);
}

static void test_pipe_to_another_process_is_refused(void **state)
{
	struct subject s = subject_start(pipe_with_bytes, NULL);
	struct cor_error err = COR_ERROR_INIT;
	int peer = cor_files_duplicate(s.pid, 1, &err);
	char me[64];
	const char *text;

	assert_true(peer >= 0);
	text = capture_refused(&s);
	close(peer);
	snprintf(me, sizeof(me), "process %d (", (int)getpid());
	assert_mentions(text, "descriptor 0 is a pipe");
	assert_mentions(text, me);
}

static void test_later_born_holder_is_found_again(void **state)
{
	struct subject s = subject_start(pipe_with_bytes, NULL);
	Cor__Names__FileTable *before = capture(&s), *after = NULL;
	struct cor_files_object *extra = NULL;
	struct cor_error err = COR_ERROR_INIT;
	unsigned nextra = 0;
	const struct cor_files_options again = { .with_content = true, .before = before };
	struct subject thief = subject_start(writer_closed, NULL);
	int rc;

	assert_int_equal(cor_files_capture_with(s.pid, &again, &extra, &nextra, &after, &err), 0);
	cor__names__file_table__free_unpacked(after, NULL);
	subject_kill(&thief);
	rc = cor_files_duplicate(s.pid, 0, &err);
	assert_true(rc >= 0);
	thief.pid = fork();
	if (thief.pid == 0) {
		pause();
		_exit(0);
	}
	close(rc);
	rc = cor_files_capture_with(s.pid, &again, &extra, &nextra, &after, &err);
	subject_kill(&thief);
	assert_int_equal(rc, -EOPNOTSUPP);
	assert_mentions(err.text, "descriptor 0 is a pipe that process");
}

/* With a pump, what leads to another process becomes a channel. */
static int capture_pumped(const struct subject *s, const Cor__Names__FileTable *before,
			  Cor__Names__FileTable **out, struct cor_error *err)
{
	static uint8_t id[16], secret[32];
	Cor__Names__PumpLink fresh = COR__NAMES__PUMP_LINK__INIT;
	struct cor_files_pumps pumps = { .fresh = &fresh };
	const struct cor_files_options o = { .with_content = true, .before = before,
					     .pumps = &pumps };
	struct cor_files_object *extra = NULL;
	unsigned nextra = 0;

	fresh.id = (ProtobufCBinaryData){ sizeof(id), id };
	fresh.secret = (ProtobufCBinaryData){ sizeof(secret), secret };
	return cor_files_capture_with(s->pid, &o, &extra, &nextra, out, err);
}

/* Twice the same end, of which one is not shared; the other end is outside. */
static int outside;

static void shared_pipe(void)
{
	char path[40];
	int ends[2];

	HOLDS(pipe(ends) == 0 && ends[0] == 0 && ends[1] == 1);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", 1);
	HOLDS(open(path, O_WRONLY | O_NONBLOCK) == 2);
	HOLDS(fcntl(1, F_DUPFD, 3) == 3);
}

static void writing_ends_only(void)
{
	shared_pipe();
	HOLDS(close(0) == 0);
	HOLDS(dup2(2, 0) == 0 && close(2) == 0);
}

static void test_shared_pipe_becomes_a_channel(void **state)
{
	struct subject s = subject_start(shared_pipe, NULL);
	struct cor_error err = COR_ERROR_INIT;
	Cor__Names__FileTable *table = NULL, *again = NULL;

	outside = cor_files_duplicate(s.pid, 1, &err);
	assert_true(outside >= 0);
	assert_int_equal(capture_pumped(&s, NULL, &table, &err), 0);
	assert_int_equal(table->n_links, 1);
	/* reading and writing it are two */
	assert_int_equal(cor_pump_channels(table), 2);
	assert_int_equal(table->n_files, 3);
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(table->files[i]->kind, COR__NAMES__FILE_KIND__PUMPED);
	assert_int_equal(cor_pump_channel_index(table, table->files[1]),
			 cor_pump_channel_index(table, table->files[2]));
	assert_true(table->links[0]->channels[0]->task_reads);
	assert_true(table->links[0]->channels[1]->task_writes);
	close(outside);
	/* once shared, it stays a channel: the other end may just have been closed */
	assert_int_equal(capture_pumped(&s, table, &again, &err), 0);
	assert_int_equal(cor_pump_channels(again), 2);
	cor__names__file_table__free_unpacked(table, NULL);
	cor__names__file_table__free_unpacked(again, NULL);
}

static void verify_pumped(void)
{
	HOLDS((fcntl(0, F_GETFL) & (O_ACCMODE | O_NONBLOCK)) == (O_WRONLY | O_NONBLOCK));
	HOLDS((fcntl(1, F_GETFL) & (O_ACCMODE | O_NONBLOCK)) == O_WRONLY);
	HOLDS(fcntl(3, F_SETFL, O_NONBLOCK) == 0 && (fcntl(1, F_GETFL) & O_NONBLOCK));
	HOLDS(write(0, "a", 1) == 1 && write(1, "b", 1) == 1 && write(3, "c", 1) == 1);
}

static void test_channels_are_given_to_the_task(void **state)
{
	struct subject s = subject_start(writing_ends_only, NULL);
	struct cor_error err = COR_ERROR_INIT;
	Cor__Names__FileTable *table = NULL;
	char text[8];
	int ends[2];

	outside = cor_files_duplicate(s.pid, 1, &err);
	assert_int_equal(capture_pumped(&s, NULL, &table, &err), 0);
	close(outside);
	subject_kill(&s);
	assert_int_equal(cor_pump_channels(table), 1);
	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	restore_with_objects(table, &ends[1], 1, verify_pumped);
	close(ends[1]);
	assert_int_equal(read(ends[0], text, sizeof(text)), 3);
	assert_memory_equal(text, "abc", 3);
	close(ends[0]);
	cor__names__file_table__free_unpacked(table, NULL);
}

/* No ancestor of the subject, which is our child, as another child of ours is not. */
static void test_pipe_that_others_read_is_refused(void **state)
{
	struct subject s = subject_start(shared_pipe, NULL);
	struct cor_error err = COR_ERROR_INIT;
	Cor__Names__FileTable *table = NULL;
	struct subject thief = subject_start(writer_closed, NULL);
	int fd = cor_files_duplicate(s.pid, 0, &err), rc;
	char name[40];

	subject_kill(&thief);
	thief.pid = fork();
	if (thief.pid == 0) {
		pause();
		_exit(0);
	}
	close(fd);
	rc = capture_pumped(&s, NULL, &table, &err);
	snprintf(name, sizeof(name), "which process %d (", thief.pid);
	subject_kill(&thief);
	assert_int_equal(rc, -EOPNOTSUPP);
	assert_mentions(err.text, "descriptor 0 is pipe:[");
	assert_mentions(err.text, name);
}

static void own_fifo(void)
{
	HOLDS(mkfifo(fixture_path("fifo"), 0600) == 0);
	HOLDS(open(fixture_path("fifo"), O_RDWR) == 0);
	HOLDS(open(fixture_path("fifo"), O_WRONLY) == 1);
	HOLDS(write(1, "through", 7) == 7);
}

static void verify_fifo(void)
{
	char text[16];

	HOLDS(read(0, text, sizeof(text)) == 7);
	HOLDS((fcntl(1, F_GETFL) & O_ACCMODE) == O_WRONLY);
	HOLDS(write(1, "x", 1) == 1 && read(0, text, 1) == 1);
}

static void test_fifo_of_the_task_alone_is_carried(void **state)
{
	struct subject s = subject_start(own_fifo, NULL);
	Cor__Names__FileTable *table = capture(&s);

	subject_kill(&s);
	table->boot_id[0] ^= 1;         /* as if it came from elsewhere: its bytes too */
	restore_and(table, verify_fifo);
}

static void test_fifo_opened_by_an_older_process_is_found_again(void **state)
{
	struct subject s = subject_start(own_fifo, NULL);
	Cor__Names__FileTable *before = capture(&s), *after = NULL;
	struct cor_files_object *extra = NULL;
	struct cor_error err = COR_ERROR_INIT;
	unsigned nextra = 0;
	const struct cor_files_options again = { .with_content = true, .before = before };
	int fd = open(fixture_path("fifo"), O_RDONLY | O_NONBLOCK);
	int rc = cor_files_capture_with(s.pid, &again, &extra, &nextra, &after, &err);

	close(fd);
	assert_int_equal(rc, -EOPNOTSUPP);
	assert_mentions(err.text, "descriptor 0 is the FIFO");
}

static void test_missing_fifo_is_named(void **state)
{
	struct subject s = subject_start(own_fifo, NULL);
	Cor__Names__FileTable *table = capture(&s);
	struct cor_error err = COR_ERROR_INIT;

	unlink(fixture_path("fifo"));
	assert_int_equal(cor_files_check(table, NULL, NULL, &err), -ENOENT);
	assert_mentions(err.text, fixture_path("fifo"));
}

static void test_fifo_to_another_process_is_refused(void **state)
{
	struct subject s = subject_start(own_fifo, NULL);
	int fd = open(fixture_path("fifo"), O_RDONLY | O_NONBLOCK);
	const char *text = capture_refused(&s);

	close(fd);
	assert_mentions(text, "descriptor 0 is the FIFO");
	assert_mentions(text, fixture_path("fifo"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		FILES_TEST(test_pipe_keeps_its_bytes_and_size),
		FILES_TEST(test_writing_end_of_lower_number_still_blocks),
		FILES_TEST(test_capture_consumes_nothing),
		FILES_TEST(test_full_pipe_is_carried_whole),
		FILES_TEST(test_packets_keep_their_boundaries),
		FILES_TEST(test_closed_writer_is_end_of_file),
		FILES_TEST(test_closed_reader_is_broken_pipe),
		FILES_TEST(test_further_descriptions_of_one_pipe),
		FILES_TEST(test_pipe_to_another_process_is_refused),
		FILES_TEST(test_later_born_holder_is_found_again),
		FILES_TEST(test_shared_pipe_becomes_a_channel),
		FILES_TEST(test_channels_are_given_to_the_task),
		FILES_TEST(test_pipe_that_others_read_is_refused),
		FILES_TEST(test_fifo_of_the_task_alone_is_carried),
		FILES_TEST(test_fifo_opened_by_an_older_process_is_found_again),
		FILES_TEST(test_missing_fifo_is_named),
		FILES_TEST(test_fifo_to_another_process_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
