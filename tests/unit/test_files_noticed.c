/* Which descriptors of a running task are looked at only while it stands still. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <unistd.h>

#include "files_fixture.h"

static int try(const struct subject *s, bool running, struct cor_error *err)
{
	const struct cor_files_options o = { .with_content = true, .running = running };
	Cor__Names__FileTable *table = NULL;
	struct cor_files_object *extra = NULL;
	unsigned nextra;
	int r = cor_files_capture_with(s->pid, &o, &extra, &nextra, &table, err);

	if (r < 0)
		return r;
	cor__names__file_table__free_unpacked(table, NULL);
	free(extra);
	return 0;
}

static void assert_noticed(void (*setup)(void), const char *what)
{
	struct cor_error err = COR_ERROR_INIT;
	struct subject s = subject_start(setup, NULL);

	assert_int_equal(try(&s, true, &err), -EBUSY);
	assert_mentions(err.text, what);
	assert_int_equal(try(&s, false, NULL), 0);
	subject_kill(&s);
}

static void open_quiet(void)
{
	HOLDS(open("/dev/null", O_RDWR) == 0);
	HOLDS(open("/etc/passwd", O_RDONLY) == 1);
	HOLDS(open("/", O_RDONLY | O_DIRECTORY) == 2);
	HOLDS(eventfd(0, 0) == 3);
	HOLDS(open("/", O_PATH) == 4);
}

static void what_nobody_notices_is_read_of_a_running_task(void **state)
{
	struct subject s = subject_start(open_quiet, NULL);

	assert_int_equal(try(&s, true, NULL), 0);
	subject_kill(&s);
}

static void open_epoll(void)
{
	open_quiet();
	HOLDS(epoll_create1(0) == 5);
}

static void an_epoll_set_would_tell(void **state)
{
	assert_noticed(open_epoll, "descriptor 5 is anon_inode:[eventpoll]");
}

static void open_socket(void)
{
	open_quiet();
	HOLDS(socket(AF_INET, SOCK_STREAM, 0) == 5);
}

static void a_socket_keeps_its_port(void **state)
{
	assert_noticed(open_socket, "descriptor 5 is socket:[");
}

static void open_pipe(void)
{
	int ends[2];

	HOLDS(pipe(ends) == 0);
}

static void a_pipe_keeps_its_reader(void **state)
{
	assert_noticed(open_pipe, "descriptor 0 is pipe:[");
}

static void open_locked(void)
{
	HOLDS(open(fixture_path("locked"), O_RDONLY | O_CREAT, 0600) == 0);
	HOLDS(flock(0, LOCK_EX) == 0);
}

static void a_lock_is_kept(void **state)
{
	assert_noticed(open_locked, "locked, which");
}

static void open_written(void)
{
	HOLDS(open(fixture_path("written"), O_WRONLY | O_CREAT, 0600) == 0);
}

static void what_is_written_cannot_be_executed(void **state)
{
	assert_noticed(open_written, "written, which");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		FILES_TEST(what_nobody_notices_is_read_of_a_running_task),
		FILES_TEST(an_epoll_set_would_tell),
		FILES_TEST(a_socket_keeps_its_port),
		FILES_TEST(a_pipe_keeps_its_reader),
		FILES_TEST(a_lock_is_kept),
		FILES_TEST(what_is_written_cannot_be_executed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
