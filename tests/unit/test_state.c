/* The state directory, and the table of states. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon/state.h"
#include "libcor/base/cleanup.h"

static const uint8_t session[16] = { 0xab, 1 };
static const uint8_t secret[32] = { 0xcd, 2 };
#define NAME "ab010000000000000000000000000000.source"

struct fixture {
	char path[160];
	int  dir;
	struct state_page *page;
};

static int setup(void **state)
{
	static struct fixture f;

	*state = &f;
	/* longer than an address of a UNIX socket may be */
	strcpy(f.path, "/tmp/cor-state-a-name-that-is-long-enough-to-be-too-long-for-a-socket-"
	       "whose-address-has-but-108-bytes-of-room-XXXXXX");
	if (!mkdtemp(f.path))
		return -1;
	f.dir = state_open(f.path, NULL);
	return f.dir < 0 || state_page_new(f.dir, STATE_SOURCE, session, secret, &f.page, NULL,
					   NULL) < 0 ? -1 : 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	state_page_unmap(f->page);
	state_remove(f->dir, STATE_SOURCE, session);
	close(f->dir);
	return rmdir(f->path);
}

static void a_page_is_there_for_the_next_one(void **state)
{
	struct fixture *f = *state;
	json_t *about, *result;
	struct state_page *again;

	state_page_tell(f->page, json_pack("{s:i}", "pid", 7));
	atomic_store(&f->page->state, SESSION_PAGING);
	atomic_store(&f->page->epoch, 5);
	assert_int_equal(state_page_open(f->dir, NAME, &again), 0);
	assert_int_equal(atomic_load(&again->state), SESSION_PAGING);
	assert_int_equal(atomic_load(&again->epoch), 5);
	assert_memory_equal(again->secret, secret, sizeof(secret));
	about = state_page_about(again);
	assert_int_equal(json_integer_value(json_object_get(about, "pid")), 7);
	assert_null(state_page_result(again));
	state_page_end(f->page, json_pack("{s:b}", "ok", 1));
	result = state_page_result(again);
	assert_true(json_is_true(json_object_get(result, "ok")));
	json_decref(about);
	json_decref(result);
	state_page_unmap(again);
}

static void a_session_has_one_page(void **state)
{
	struct fixture *f = *state;
	struct state_page *again;

	assert_int_equal(state_page_new(f->dir, STATE_SOURCE, session, secret, &again, NULL, NULL),
			 -EEXIST);
}

static void on_alarm(int sig)
{
}

/* On a tmpfs, where fallocate gives up for a signal: /run is one. */
static void a_signal_is_no_reason_to_give_up(void **state)
{
	const struct sigaction sa = { .sa_handler = on_alarm };
	const struct itimerval often = { { 0, 20 }, { 0, 20 } }, never = { 0 };
	struct cor_error err = COR_ERROR_INIT;
	char path[] = "/dev/shm/cor-state-XXXXXX";
	struct state_page *p;
	int dir, r = 0;

	assert_non_null(mkdtemp(path));
	dir = open(path, O_DIRECTORY | O_CLOEXEC);
	assert_true(dir >= 0);
	sigaction(SIGALRM, &sa, NULL);
	setitimer(ITIMER_REAL, &often, NULL);
	for (int i = 0; i < 2000 && r == 0; i++) {
		r = state_page_new(dir, STATE_SOURCE, session, secret, &p, NULL, &err);
		if (r == 0) {
			state_page_unmap(p);
			state_remove(dir, STATE_SOURCE, session);
		}
	}
	setitimer(ITIMER_REAL, &never, NULL);
	close(dir);
	rmdir(path);
	if (r < 0)
		fail_msg("%s", err.text);
}

static void a_text_without_room_leaves_the_last_one(void **state)
{
	struct fixture *f = *state;
	char *big = malloc(STATE_RESULT + 1);
	json_t *o;

	memset(big, 'x', STATE_RESULT);
	big[STATE_RESULT] = 0;
	state_page_end(f->page, json_pack("{s:b}", "ok", 1));
	state_page_end(f->page, json_pack("{s:s}", "error", big));
	o = state_page_result(f->page);
	assert_true(json_is_true(json_object_get(o, "ok")));
	json_decref(o);
	free(big);
}

static void a_page_of_an_earlier_boot_is_stale(void **state)
{
	struct fixture *f = *state;
	struct state_page *again;

	f->page->boot[0] ^= 1;
	assert_int_equal(state_page_open(f->dir, NAME, &again), -ESTALE);
}

static void what_is_no_page_is_refused(void **state)
{
	struct fixture *f = *state;
	struct state_page *again;

	f->page->about_len = STATE_ABOUT + 1;
	assert_int_equal(state_page_open(f->dir, NAME, &again), -EPROTO);
	f->page->about_len = 0;
	atomic_store(&f->page->state, SESSION_STATES);
	assert_int_equal(state_page_open(f->dir, NAME, &again), -EPROTO);
	atomic_store(&f->page->state, 0);
	f->page->magic[0] = 'x';
	assert_int_equal(state_page_open(f->dir, NAME, &again), -EPROTO);
	f->page->magic[0] = 'c';
	assert_int_equal(state_page_open(f->dir, NAME, &again), 0);
	state_page_unmap(again);
}

static void a_file_cut_short_is_no_page(void **state)
{
	struct fixture *f = *state;
	struct state_page *again;
	int fd = openat(f->dir, NAME, O_RDWR | O_CLOEXEC);

	assert_int_equal(ftruncate(fd, 4096), 0);
	assert_int_equal(state_page_open(f->dir, NAME, &again), -EPROTO);
	assert_int_equal(ftruncate(fd, sizeof(*again)), 0);
	close(fd);
}

static void a_process_is_itself_only(void **state)
{
	struct fixture *f = *state;
	struct state_process *p = &f->page->keeper;
	int fd;

	assert_int_equal(state_process_open(p), -ESRCH);
	state_process_set(p, getpid());
	fd = state_process_open(p);
	assert_true(fd >= 0);
	close(fd);
	atomic_fetch_add(&p->start, 1);         /* its number, but another one */
	assert_int_equal(state_process_open(p), -ESRCH);
}

static void a_process_that_has_ended_is_not_found(void **state)
{
	struct fixture *f = *state;
	int gate[2];
	char byte;
	pid_t child;

	assert_int_equal(pipe(gate), 0);
	child = fork();
	if (child == 0) {
		close(gate[1]);
		_exit((int)read(gate[0], &byte, 1));
	}
	close(gate[0]);
	state_process_set(&f->page->part, child);
	close(gate[1]);
	waitpid(child, NULL, 0);
	assert_int_equal(state_process_open(&f->page->part), -ESRCH);
}

static void a_worker_is_reached_by_its_socket(void **state)
{
	struct fixture *f = *state;
	int listening, client, server;

	assert_int_equal(state_connect(f->dir, STATE_SOURCE, session), -ENOENT);
	listening = state_listen(f->dir, STATE_SOURCE, session, NULL);
	assert_true(listening >= 0);
	client = state_connect(f->dir, STATE_SOURCE, session);
	assert_true(client >= 0);
	server = accept(listening, NULL, NULL);
	assert_true(server >= 0);
	close(server);
	close(client);
	close(listening);
	assert_int_equal(state_connect(f->dir, STATE_SOURCE, session), -ECONNREFUSED);
}

static void note(void *arg, const char *name)
{
	strcat(arg, name);
}

static void pages_are_listed_by_their_kind(void **state)
{
	struct fixture *f = *state;
	char names[256] = "";
	int listening = state_listen(f->dir, STATE_SOURCE, session, NULL);

	assert_int_equal(state_each(f->dir, STATE_SOURCE, note, names), 0);
	assert_string_equal(names, NAME);
	assert_int_equal(state_each(f->dir, STATE_TASK, note, names), 0);
	assert_string_equal(names, NAME);
	close(listening);
}

static void waits_go_with_their_task(void **state)
{
	struct fixture *f = *state;
	char names[256] = "";
	int fd;

	assert_int_equal(state_waits(f->dir, session, false), -ENOENT);
	fd = state_waits(f->dir, session, true);
	assert_true(fd >= 0);
	close(fd);
	/* no page of a task */
	assert_int_equal(state_each(f->dir, STATE_TASK, note, names), 0);
	assert_string_equal(names, "");
	state_remove(f->dir, STATE_SOURCE, session);
	fd = state_waits(f->dir, session, false);
	assert_true(fd >= 0);
	close(fd);
	state_remove(f->dir, STATE_TASK, session);
	assert_int_equal(state_waits(f->dir, session, false), -ENOENT);
}

/* Whoever writes it may die amid that: until it is whole, the last one counts. */
static void what_is_to_be_undone_is_there_once_it_is_whole(void **state)
{
	struct fixture *f = *state;
	char text[8] = "";
	int fd = state_undo(f->dir, session, true);

	assert_int_equal(write(fd, "one", 4), 4);
	close(fd);
	assert_int_equal(state_undo(f->dir, session, false), -ENOENT);
	assert_int_equal(state_undo_written(f->dir, session), 0);
	close(state_undo(f->dir, session, true));
	fd = state_undo(f->dir, session, false);
	assert_int_equal(read(fd, text, sizeof(text)), 4);
	assert_string_equal(text, "one");
	close(fd);
	state_remove(f->dir, STATE_SOURCE, session);
	assert_int_equal(state_undo(f->dir, session, false), -ENOENT);
	assert_int_equal(state_undo_written(f->dir, session), -ENOENT);
}

static void one_cord_has_the_directory(void **state)
{
	struct fixture *f = *state;
	int first = state_open_alone(f->path, NULL), second;

	assert_true(first >= 0);
	assert_int_equal(state_open_alone(f->path, NULL), -EBUSY);
	close(first);
	second = state_open_alone(f->path, NULL);
	assert_true(second >= 0);
	close(second);
}

/* ---- the table ------------------------------------------------------------------------ */

static void every_state_has_a_name_of_its_own(void **state)
{
	for (int i = 0; i < SESSION_STATES; i++)
		assert_int_equal(session_state_parse(session_state_name((enum session_state)i)), i);
	assert_int_equal(session_state_parse("dreaming"), -EINVAL);
}

/* Behind COMMIT a source only comes back by way of doubt. */
static void no_way_leads_back_from_what_was_resumed(void **state)
{
	static const enum session_state behind[] = {
		SESSION_PAGING, SESSION_DETACHED, SESSION_DRAINED, SESSION_RELEASED,
	};

	for (size_t i = 0; i < ARRAY_SIZE(behind); i++) {
		assert_true(session_state_committed(behind[i]));
		assert_true(session_state_resumed(behind[i]));
		assert_false(session_state_may(behind[i], SESSION_ABORTED));
		assert_false(session_state_may(behind[i], SESSION_PREPARE));
		assert_false(session_state_may(behind[i], SESSION_FREEZE));
	}
	assert_false(session_state_committed(SESSION_ABORTED));
	assert_true(session_state_committed(SESSION_LOST));
}

static void the_last_states_are_final(void **state)
{
	for (int i = 0; i < SESSION_STATES; i++)
		assert_int_equal(session_state_final((enum session_state)i),
				 i >= SESSION_RELEASED);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(a_page_is_there_for_the_next_one),
		TEST(a_session_has_one_page),
		TEST(a_signal_is_no_reason_to_give_up),
		TEST(a_text_without_room_leaves_the_last_one),
		TEST(a_page_of_an_earlier_boot_is_stale),
		TEST(what_is_no_page_is_refused),
		TEST(a_file_cut_short_is_no_page),
		TEST(a_process_is_itself_only),
		TEST(a_process_that_has_ended_is_not_found),
		TEST(a_worker_is_reached_by_its_socket),
		TEST(pages_are_listed_by_their_kind),
		TEST(waits_go_with_their_task),
		TEST(what_is_to_be_undone_is_there_once_it_is_whole),
		TEST(one_cord_has_the_directory),
		cmocka_unit_test(every_state_has_a_name_of_its_own),
		cmocka_unit_test(no_way_leads_back_from_what_was_resumed),
		cmocka_unit_test(the_last_states_are_final),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
