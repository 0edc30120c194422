/* cord as its clients, its peers and its workers see it; the workers are fakes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "daemon/control_socket.h"
#include "libcor/base/io.h"
#include "libcor/transport/tcp.h"
#include "tests/unit/cord_fixture.h"

static const uint8_t session[16] = { 0xab, 1, 2, 3 };
static const uint8_t secret[32] = { 0xcd, 4, 5, 6 };
#define SESSION_HEX "ab010203000000000000000000000000"
#define SECRET_HEX  "cd04050600000000000000000000000000000000000000000000000000000000"

static json_int_t number(const json_t *o, const char *key)
{
	return json_integer_value(json_object_get(o, key));
}

static const char *text(const json_t *o, const char *key)
{
	const char *s = json_string_value(json_object_get(o, key));

	return s ? s : "";
}

static bool is_true(const json_t *o, const char *key)
{
	return json_is_true(json_object_get(o, key));
}

static json_t *ask(struct cord_fixture *f, const char *line)
{
	json_t *o;

	cord_say(f->client, line);
	o = cord_hear_result(f->client);
	assert_non_null(o);
	return o;
}

static void says_its_version_and_name(void **state)
{
	json_t *o = ask(*state, "{\"command\":\"version\"}");

	assert_true(is_true(o, "ok"));
	assert_true(json_string_length(json_object_get(o, "version")) > 0);
	assert_true(json_string_length(json_object_get(o, "name")) > 0);
	json_decref(o);
}

static void refuses_a_line_that_is_no_request_and_serves_on(void **state)
{
	json_t *o = ask(*state, "hello");

	assert_false(is_true(o, "ok"));
	json_decref(o);
	o = ask(*state, "{\"command\":\"version\"}");
	assert_true(is_true(o, "ok"));
	json_decref(o);
}

static void refuses_a_line_without_end(void **state)
{
	struct cord_fixture *f = *state;
	char *big = malloc(70000);
	json_t *o;

	memset(big, ' ', 70000);
	cor_write_full(f->client, big, 70000);
	free(big);
	o = cord_hear_result(f->client);
	assert_non_null(strstr(text(o, "error"), "too long"));
	json_decref(o);
}

static void only_its_user_may_open_the_control_socket(void **state)
{
	struct cord_fixture *f = *state;
	struct stat st;

	assert_int_equal(stat(f->control, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
}

static void a_migration_reports_to_the_end(void **state)
{
	struct cord_fixture *f = *state;
	json_t *o;

	cord_ask_migrate(f->client, "good", "drained");
	o = cord_hear_result(f->client);
	assert_true(is_true(o, "ok"));
	assert_int_equal(number(o, "exit"), 0);
	assert_int_equal(number(o, "pid"), getpid());
	assert_int_equal(number(o, "destination_pid"), 77);
	assert_int_equal(number(o, "freeze_us"), 812);
	assert_int_equal(number(o, "drain_us"), 5000);
	assert_int_equal(number(o, "pages"), 9);
	assert_string_equal(text(o, "state"), "released");
	json_decref(o);
}

static void waiting_for_resumed_ends_while_pages_move(void **state)
{
	struct cord_fixture *f = *state;
	json_t *o;

	cord_ask_migrate(f->client, "stay", "resumed");
	o = cord_hear_result(f->client);
	assert_true(is_true(o, "ok"));
	assert_string_equal(text(o, "state"), "paging");
	json_decref(o);
}

static void a_worker_killed_before_commit_means_failed(void **state)
{
	struct cord_fixture *f = *state;
	json_t *o;

	cord_ask_migrate(f->client, "die", "drained");
	o = cord_hear_result(f->client);
	assert_false(is_true(o, "ok"));
	assert_int_equal(number(o, "exit"), 1);
	assert_non_null(strstr(text(o, "error"), "the worker ended unexpectedly, signal 9"));
	json_decref(o);
}

static void a_worker_killed_after_commit_means_lost(void **state)
{
	struct cord_fixture *f = *state;
	json_t *o;

	cord_ask_migrate(f->client, "commit-die", "drained");
	o = cord_hear_result(f->client);
	assert_int_equal(number(o, "exit"), 3);
	assert_string_equal(text(o, "state"), "lost");
	json_decref(o);
}

static void refuses_a_task_that_is_migrating(void **state)
{
	struct cord_fixture *f = *state;
	int other = cord_connect_client(f);
	json_t *o;

	cord_ask_migrate(f->client, "stay", "resumed");
	json_decref(cord_hear_result(f->client));
	cord_ask_migrate(other, "good", "drained");
	o = cord_hear_result(other);
	assert_non_null(strstr(text(o, "error"), "already migrating"));
	json_decref(o);
	close(other);
}

static void refuses_a_process_that_is_not_there(void **state)
{
	json_t *o = ask(*state, "{\"command\":\"migrate\",\"pid\":2147483647,\"dest\":\"h:1\"}");

	assert_non_null(strstr(text(o, "error"), "2147483647"));
	json_decref(o);
}

static void refuses_to_send_itself_away(void **state)
{
	struct cord_fixture *f = *state;
	char line[96], pid[16];
	json_t *o;

	snprintf(pid, sizeof(pid), "%d", (int)f->cord);
	snprintf(line, sizeof(line), "{\"command\":\"migrate\",\"pid\":%s,\"dest\":\"h:1\"}", pid);
	o = ask(f, line);
	assert_false(is_true(o, "ok"));
	assert_non_null(strstr(text(o, "error"), pid));
	json_decref(o);
}

static void refuses_an_unknown_peer(void **state)
{
	char line[96];
	json_t *o;

	snprintf(line, sizeof(line), "{\"command\":\"migrate\",\"pid\":%d,\"dest\":\"nobody\"}",
		 (int)getpid());
	o = ask(*state, line);
	assert_non_null(strstr(text(o, "error"), "nobody"));
	json_decref(o);
}

static char *begin_and_get_id(struct cord_fixture *f, const char *behaviour)
{
	json_t *o;
	char *id;

	cord_ask_migrate(f->client, behaviour, "resumed");
	o = cord_hear(f->client);
	id = strdup(text(o, "id"));
	json_decref(o);
	return id;
}

static json_t *cancel(struct cord_fixture *f, int client, const char *id)
{
	char line[96];

	snprintf(line, sizeof(line), "{\"command\":\"cancel\",\"id\":\"%.8s\"}", id);
	cord_say(client, line);
	return cord_hear_result(client);
}

static void cancelling_ends_a_migration_before_commit(void **state)
{
	struct cord_fixture *f = *state;
	char *id = begin_and_get_id(f, "cancel");
	int other = cord_connect_client(f);
	json_t *o = cancel(f, other, id);

	assert_true(is_true(o, "ok"));
	json_decref(o);
	o = cord_hear_result(f->client);
	assert_false(is_true(o, "ok"));
	assert_string_equal(text(o, "error"), "cancelled");
	json_decref(o);
	close(other);
	free(id);
}

static void cancelling_comes_too_late_after_commit(void **state)
{
	struct cord_fixture *f = *state;
	char *id = begin_and_get_id(f, "stay");
	json_t *o;

	json_decref(cord_hear_result(f->client));
	o = cancel(f, f->client, id);
	assert_false(is_true(o, "ok"));
	assert_non_null(strstr(text(o, "error"), "too late"));
	json_decref(o);
	free(id);
}

static void status_finds_a_session_by_its_first_digits(void **state)
{
	struct cord_fixture *f = *state;
	char *id = begin_and_get_id(f, "stay"), line[96];
	json_t *o;

	json_decref(cord_hear_result(f->client));
	snprintf(line, sizeof(line), "{\"command\":\"status\",\"id\":\"%.10s\"}", id);
	o = ask(f, line);
	assert_int_equal(json_array_size(json_object_get(o, "sessions")), 1);
	assert_string_equal(text(json_array_get(json_object_get(o, "sessions"), 0), "id"), id);
	json_decref(o);
	free(id);
}

static void a_migration_goes_on_without_its_client(void **state)
{
	struct cord_fixture *f = *state;
	char *id = begin_and_get_id(f, "cancel");
	json_t *o;

	close(f->client);
	f->client = cord_connect_client(f);
	o = ask(f, "{\"command\":\"ps\"}");
	assert_string_equal(text(json_array_get(json_object_get(o, "sessions"), 0), "state"),
			    "prepare");
	json_decref(o);
	json_decref(cancel(f, f->client, id));
	free(id);
}

static void tells_those_who_wait_that_it_ends(void **state)
{
	struct cord_fixture *f = *state;
	char *id = begin_and_get_id(f, "cancel");
	json_t *o;

	assert_int_equal(cord_end(f), 0);
	o = cord_hear_result(f->client);
	assert_int_equal(number(o, "exit"), 2);
	json_decref(o);
	free(id);
}

static void a_worker_lives_on_with_its_own_descriptors_only(void **state)
{
	struct cord_fixture *f = *state;
	struct pollfd p = { .events = POLLIN };
	char said[128] = "";

	assert_int_equal(mkfifo(f->fifo, 0600), 0);
	p.fd = open(f->fifo, O_RDWR | O_CLOEXEC);
	cord_ask_migrate(f->client, "outlive", "resumed");
	json_decref(cord_hear_result(f->client));
	assert_int_equal(cord_end(f), 0);
	assert_int_equal(poll(&p, 1, 10000), 1);
	assert_true(read(p.fd, said, sizeof(said) - 1) > 0);
	/* standard input, output and error, and the socket to cord */
	assert_string_equal(said, "leader 1 descriptors 4");
	close(p.fd);
}

static void reaps_what_a_worker_leaves_behind(void **state)
{
	struct cord_fixture *f = *state;
	struct pollfd p = { .events = POLLIN };
	json_t *o;

	cord_ask_migrate(f->client, "orphan", "drained");
	o = cord_hear_result(f->client);
	p.fd = (int)syscall(SYS_pidfd_open, (pid_t)number(o, "orphan"), 0);
	/* Reaped already, or it ends soon; cord hears of it when the worker has ended, too. */
	if (p.fd >= 0) {
		assert_int_equal(poll(&p, 1, 10000), 1);
		close(p.fd);
	}
	for (unsigned i = 0; kill((pid_t)number(o, "orphan"), 0) == 0; i++) {
		assert_in_range(i, 0, 5000);
		json_decref(ask(f, "{\"command\":\"version\"}"));
		usleep(1000);
	}
	json_decref(o);
}

static void answers_many_requests_sent_at_once(void **state)
{
	struct cord_fixture *f = *state;
	static const char line[] = "{\"command\":\"version\"}\n";
	char *many = malloc(2000 * strlen(line) + 1), *end = many;

	for (int i = 0; i < 2000; i++)
		end = stpcpy(end, line);
	cor_write_full(f->client, many, (size_t)(end - many));
	free(many);
	for (int i = 0; i < 2000; i++) {
		json_t *o = cord_hear(f->client);

		assert_non_null(o);
		json_decref(o);
	}
}

static void removes_its_socket_at_the_end(void **state)
{
	struct cord_fixture *f = *state;

	assert_int_equal(cord_end(f), 0);
	assert_int_equal(access(f->control, F_OK), -1);
}

/* A control connection whose (fake) worker has registered the session. */
static int register_session(struct cord_fixture *f)
{
	int answer, fd = cord_connect_peer(f, COR_CONN_CONTROL, NULL, NULL, &answer);
	char k;

	assert_true(fd >= 0);
	assert_int_equal(answer, 0);
	cor_write_full(fd, SESSION_HEX SECRET_HEX, 96);
	assert_int_equal(cor_read_full(fd, &k, 1), 0);
	return fd;
}

static void a_lane_reaches_the_worker_of_its_session(void **state)
{
	struct cord_fixture *f = *state;
	int control = register_session(f), answer;
	int lane = cord_connect_peer(f, COR_CONN_DEMAND, session, secret, &answer);
	char buf[256];
	ssize_t n;

	assert_int_equal(answer, 0);
	n = read(lane, buf, sizeof(buf) - 1);
	assert_true(n > 0);
	buf[n] = 0;
	assert_non_null(strstr(buf, "\"demand\""));
	close(lane);
	close(control);
}

static void a_lane_with_a_wrong_secret_is_refused(void **state)
{
	struct cord_fixture *f = *state;
	int control = register_session(f), answer;
	uint8_t wrong[32] = { 0xcd, 4, 5, 7 };
	int lane = cord_connect_peer(f, COR_CONN_BULK, session, wrong, &answer);

	assert_int_equal(answer, -EPERM);
	close(lane);
	close(control);
}

static void a_control_connection_of_a_session_reaches_its_worker(void **state)
{
	struct cord_fixture *f = *state;
	int control = register_session(f), answer;
	int again = cord_connect_peer(f, COR_CONN_CONTROL, session, secret, &answer);
	char buf[256];
	ssize_t n;

	assert_int_equal(answer, 0);
	n = read(again, buf, sizeof(buf) - 1);
	assert_true(n > 0);
	buf[n] = 0;
	assert_non_null(strstr(buf, "\"control\""));
	close(again);
	close(control);
}

static void a_control_connection_with_a_wrong_secret_is_refused(void **state)
{
	struct cord_fixture *f = *state;
	int control = register_session(f), answer;
	uint8_t wrong[32] = { 0xcd, 4, 5, 7 };
	int again = cord_connect_peer(f, COR_CONN_CONTROL, session, wrong, &answer);

	assert_int_equal(answer, -EPERM);
	close(again);
	close(control);
}

static void a_control_connection_of_no_session_is_refused(void **state)
{
	struct cord_fixture *f = *state;
	int answer, again = cord_connect_peer(f, COR_CONN_CONTROL, session, secret, &answer);

	assert_int_equal(answer, -ENOENT);
	close(again);
}

static void a_session_that_has_drained_says_so(void **state)
{
	struct cord_fixture *f = *state;
	int control = register_session(f), answer, again;
	int lane = cord_connect_peer(f, COR_CONN_DEMAND, session, secret, &answer);
	char byte;

	cor_write_full(control, "k", 1);
	while (read(lane, &byte, 1) == 1)       /* until the worker has ended */
		;
	again = cord_connect_peer(f, COR_CONN_CONTROL, session, secret, &answer);
	assert_int_equal(answer, -EALREADY);
	close(again);
	close(lane);
	close(control);
}

static void a_lane_of_no_session_is_refused(void **state)
{
	struct cord_fixture *f = *state;
	int answer, lane = cord_connect_peer(f, COR_CONN_BULK, session, secret, &answer);

	assert_int_equal(answer, -ENOENT);
	close(lane);
}

static void what_is_no_preamble_is_refused(void **state)
{
	struct cord_fixture *f = *state;
	char address[32], junk[64] = "GET / HTTP/1.1\r\n\r\n";
	struct cor_preamble_reply reply;
	int fd;

	snprintf(address, sizeof(address), "127.0.0.1:%u", f->port);
	assert_int_equal(cor_tcp_connect(address, 1000, &fd, NULL), 0);
	cor_write_full(fd, junk, sizeof(junk));
	assert_int_equal(cor_read_full(fd, &reply, sizeof(reply)), 0);
	assert_int_equal(reply.status, -EPROTO);
	close(fd);
}

static void a_connection_that_says_nothing_is_closed_in_time(void **state)
{
	struct cord_fixture *f = *state;
	struct pollfd p = { .events = POLLIN };
	char address[32], byte;

	snprintf(address, sizeof(address), "127.0.0.1:%u", f->port);
	assert_int_equal(cor_tcp_connect(address, 1000, &p.fd, NULL), 0);
	assert_int_equal(poll(&p, 1, 5000), 1);
	assert_int_equal(read(p.fd, &byte, 1), 0);
	close(p.fd);
}

static void more_half_open_connections_push_the_oldest_out(void **state)
{
	struct cord_fixture *f = *state;
	char address[32], byte, *log;
	int fds[130];

	snprintf(address, sizeof(address), "127.0.0.1:%u", f->port);
	for (int i = 0; i < 130; i++) {
		assert_int_equal(cor_tcp_connect(address, 5000, &fds[i], NULL), 0);
		/* Once it has answered it has accepted: the backlog does not fill up. */
		if (i % 8 == 0)
			json_decref(ask(f, "{\"command\":\"version\"}"));
	}
	assert_int_equal(read(fds[0], &byte, 1), 0);
	assert_int_equal(cor_slurp(AT_FDCWD, f->log, &log, NULL), 0);
	assert_non_null(strstr(log, "too many others"));
	free(log);
	for (int i = 0; i < 130; i++)
		close(fds[i]);
}

/* The arrived task's state once it is no longer "running". */
static json_t *await_end_of_task(struct cord_fixture *f)
{
	for (;;) {
		json_t *o = ask(f, "{\"command\":\"ps\"}");
		json_t *task = json_array_get(json_object_get(o, "tasks"), 0);

		assert_non_null(task);
		json_incref(task);
		json_decref(o);
		if (strcmp(text(task, "state"), "running"))
			return task;
		json_decref(task);
	}
}

static void an_arrived_task_is_listed_until_it_ends(void **state)
{
	struct cord_fixture *f = *state;
	int control = register_session(f), answer;
	int lane = cord_connect_peer(f, COR_CONN_DEMAND, session, secret, &answer);
	json_t *task;
	char byte;

	/* The worker's copy of the lane closes when it has ended. */
	cor_write_full(control, "k", 1);
	while (read(lane, &byte, 1) == 1)
		;
	task = await_end_of_task(f);
	assert_int_equal(number(task, "pid"), 99);
	assert_string_equal(text(task, "state"), "exited");
	assert_int_equal(number(task, "exit"), 5);
	json_decref(task);
	close(lane);
	close(control);
}

static void a_second_cord_does_not_take_the_socket(void **state)
{
	struct cord_fixture *f = *state;
	json_t *o;

	assert_int_equal(control_socket_open(f->control, 0600, (gid_t)-1, NULL), -EADDRINUSE);
	o = ask(f, "{\"command\":\"version\"}");
	json_decref(o);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, cord_setup, cord_teardown)
	const struct CMUnitTest tests[] = {
		T(says_its_version_and_name),
		T(refuses_a_line_that_is_no_request_and_serves_on),
		T(refuses_a_line_without_end),
		T(only_its_user_may_open_the_control_socket),
		T(a_migration_reports_to_the_end),
		T(waiting_for_resumed_ends_while_pages_move),
		T(a_worker_killed_before_commit_means_failed),
		T(a_worker_killed_after_commit_means_lost),
		T(refuses_a_task_that_is_migrating),
		T(refuses_a_process_that_is_not_there),
		T(refuses_to_send_itself_away),
		T(refuses_an_unknown_peer),
		T(cancelling_ends_a_migration_before_commit),
		T(cancelling_comes_too_late_after_commit),
		T(status_finds_a_session_by_its_first_digits),
		T(a_migration_goes_on_without_its_client),
		T(tells_those_who_wait_that_it_ends),
		T(a_worker_lives_on_with_its_own_descriptors_only),
		T(reaps_what_a_worker_leaves_behind),
		T(answers_many_requests_sent_at_once),
		T(removes_its_socket_at_the_end),
		T(a_lane_reaches_the_worker_of_its_session),
		T(a_lane_with_a_wrong_secret_is_refused),
		T(a_lane_of_no_session_is_refused),
		T(a_control_connection_of_a_session_reaches_its_worker),
		T(a_control_connection_with_a_wrong_secret_is_refused),
		T(a_control_connection_of_no_session_is_refused),
		T(a_session_that_has_drained_says_so),
		T(what_is_no_preamble_is_refused),
		T(a_connection_that_says_nothing_is_closed_in_time),
		T(more_half_open_connections_push_the_oldest_out),
		T(an_arrived_task_is_listed_until_it_ends),
		T(a_second_cord_does_not_take_the_socket),
	};
#undef T
	return cmocka_run_group_tests(tests, NULL, NULL);
}
