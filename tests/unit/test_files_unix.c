/* UNIX sockets: pairs with what waits in them, listeners, datagram sockets. */
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
#include <sys/un.h>
#include <unistd.h>

#include "files_fixture.h"

static struct sockaddr_un address_of(const char *name)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX };

	snprintf(sun.sun_path, sizeof(sun.sun_path), "%s", fixture_path(name));
	return sun;
}

static void stream_pair(void)
{
	int ends[2];

	HOLDS(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
	HOLDS(send(0, "to one ", 7, 0) == 7 && send(0, "again", 5, 0) == 5);
	HOLDS(send(1, "to zero", 7, 0) == 7);
	HOLDS(fcntl(1, F_SETFL, O_NONBLOCK) == 0);
	HOLDS(setsockopt(0, SOL_SOCKET, SO_SNDBUF, &(int){ 50000 }, sizeof(int)) == 0);
}

static void read_stream_pair(void)
{
	char text[32];

	HOLDS(recv(1, text, sizeof(text), 0) == 12 && memcmp(text, "to one again", 12) == 0);
	HOLDS(recv(0, text, sizeof(text), 0) == 7 && memcmp(text, "to zero", 7) == 0);
	HOLDS(recv(1, text, sizeof(text), 0) == -1 && errno == EAGAIN);
}

static void verify_stream_pair(void)
{
	socklen_t len = sizeof(int);
	char text[32];
	int size;

	HOLDS(getsockopt(0, SOL_SOCKET, SO_SNDBUF, &size, &len) == 0 && size == 100000);
	HOLDS(fcntl(0, F_GETFD) == FD_CLOEXEC);
	read_stream_pair();
	HOLDS(send(1, "x", 1, 0) == 1 && recv(0, text, 1, 0) == 1);
	HOLDS(close(0) == 0);
	HOLDS(recv(1, text, 1, 0) == 0);
}

static void test_stream_pair_keeps_what_waits(void **state)
{
	round_trip(stream_pair, verify_stream_pair);
}

static void test_capture_consumes_nothing(void **state)
{
	struct subject s = subject_start(stream_pair, read_stream_pair);

	capture(&s);
	capture(&s);
	subject_finish(&s);
}

static void test_ahead_of_the_freeze_messages_are_left_alone(void **state)
{
	const struct cor_files_options o = { .with_content = true, .ahead = true };
	struct subject s = subject_start(stream_pair, read_stream_pair);
	Cor__Names__FileTable *table = NULL;
	struct cor_files_object *extra = NULL;
	unsigned nextra;

	assert_int_equal(cor_files_capture_with(s.pid, &o, &extra, &nextra, &table, NULL), 0);
	for (size_t i = 0; i < table->n_files; i++)
		assert_int_equal(table->files[i]->n_unread, 0);
	cor__names__file_table__free_unpacked(table, NULL);
	free(extra);
	subject_finish(&s);
}

static void full_stream_pair(void)
{
	static char block[1 << 20];
	int ends[2];
	ssize_t n;

	HOLDS(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends) == 0);
	memset(block, 'f', sizeof(block));
	n = send(0, block, sizeof(block), 0);
	HOLDS(n > 100000);
	HOLDS(write(1, &n, sizeof(n)) == sizeof(n));
}

static void verify_full_stream_pair(void)
{
	static char block[1 << 20];
	ssize_t sent, got = 0, n;

	HOLDS(read(0, &sent, sizeof(sent)) == sizeof(sent));
	while ((n = recv(1, block, sizeof(block), 0)) > 0)
		got += n;
	HOLDS(got == sent);
}

static void test_full_stream_pair_is_carried_whole(void **state)
{
	round_trip(full_stream_pair, verify_full_stream_pair);
}

static void message_pairs(void)
{
	int ends[2];

	HOLDS(socketpair(AF_UNIX, SOCK_DGRAM, 0, ends) == 0);
	HOLDS(send(0, "one", 3, 0) == 3 && send(0, "", 0, 0) == 0 && send(0, "three", 5, 0) == 5);
	HOLDS(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, ends) == 0);
	HOLDS(send(2, "first", 5, 0) == 5 && send(2, "second", 6, 0) == 6);
}

static void verify_message_pairs(void)
{
	char text[32];

	HOLDS(recv(1, text, sizeof(text), 0) == 3);
	HOLDS(recv(1, text, sizeof(text), 0) == 0);
	HOLDS(recv(1, text, sizeof(text), 0) == 5 && memcmp(text, "three", 5) == 0);
	HOLDS(recv(3, text, sizeof(text), 0) == 5);
	HOLDS(recv(3, text, sizeof(text), 0) == 6 && memcmp(text, "second", 6) == 0);
}

static void test_messages_keep_their_boundaries(void **state)
{
	round_trip(message_pairs, verify_message_pairs);
}

static void packets_with_empty_ones(void)
{
	int ends[2];

	HOLDS(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, ends) == 0);
	HOLDS(send(0, "one", 3, 0) == 3 && send(0, "", 0, 0) == 0 && send(0, "", 0, 0) == 0 &&
	      send(0, "four", 4, 0) == 4 && send(0, "", 0, 0) == 0);
}

static void end_them(void)
{
	packets_with_empty_ones();
	HOLDS(shutdown(0, SHUT_WR) == 0);
}

static void verify_packets_with_empty_ones(void)
{
	char text[8];

	HOLDS(recv(1, text, sizeof(text), 0) == 3);
	HOLDS(recv(1, text, sizeof(text), 0) == 0 && recv(1, text, sizeof(text), 0) == 0);
	HOLDS(recv(1, text, sizeof(text), 0) == 4 && memcmp(text, "four", 4) == 0);
	HOLDS(recv(1, text, sizeof(text), MSG_DONTWAIT) == 0);
}

static void verify_that_nothing_waits(void)
{
	char text[8];
	int on = 1;
	socklen_t len = sizeof(on);

	verify_packets_with_empty_ones();
	HOLDS(recv(1, text, sizeof(text), MSG_DONTWAIT) == -1 && errno == EAGAIN);
	HOLDS(getsockopt(1, SOL_SOCKET, SO_PASSCRED, &on, &len) == 0 && !on);
}

static void verify_their_end(void)
{
	char text[8];

	verify_packets_with_empty_ones();
	HOLDS(recv(1, text, sizeof(text), 0) == 0 && recv(1, text, sizeof(text), 0) == 0);
}

static void test_empty_packets_are_no_end(void **state)
{
	round_trip(packets_with_empty_ones, verify_that_nothing_waits);
	round_trip(end_them, verify_their_end);
}

static void half_closed_pair(void)
{
	int ends[2];

	HOLDS(socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0);
	HOLDS(send(0, "end", 3, 0) == 3 && shutdown(0, SHUT_WR) == 0);
}

static void verify_half_closed(void)
{
	char text[8];

	signal(SIGPIPE, SIG_IGN);
	HOLDS(recv(1, text, sizeof(text), 0) == 3);
	HOLDS(recv(1, text, sizeof(text), 0) == 0);
	HOLDS(send(0, "x", 1, 0) == -1 && errno == EPIPE);
	HOLDS(send(1, "y", 1, 0) == 1 && recv(0, text, 1, 0) == 1);
}

static void test_shutdown_is_kept(void **state)
{
	round_trip(half_closed_pair, verify_half_closed);
}

static void closed_pairs(void)
{
	int ends[2];

	HOLDS(socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0);
	HOLDS(send(1, "bye", 3, 0) == 3 && close(1) == 0);
	HOLDS(socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0 && ends[0] == 1 && ends[1] == 2);
	HOLDS(send(1, "never read", 10, 0) == 10 && close(2) == 0);
}

static void verify_closed(void)
{
	char text[8];

	signal(SIGPIPE, SIG_IGN);
	HOLDS(recv(0, text, sizeof(text), 0) == 3);
	HOLDS(recv(0, text, sizeof(text), 0) == 0);
	HOLDS(send(0, "x", 1, 0) == -1 && errno == EPIPE);
	HOLDS(recv(1, text, sizeof(text), 0) == -1 && errno == ECONNRESET);
	HOLDS(recv(1, text, sizeof(text), 0) == 0);
}

static void test_closed_peer_is_end_or_reset(void **state)
{
	round_trip(closed_pairs, verify_closed);
}

static void descriptor_in_flight(void)
{
	union { struct cmsghdr h; char room[CMSG_SPACE(sizeof(int))]; } control = { 0 };
	struct iovec iov = { .iov_base = (char *)"x", .iov_len = 1 };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control,
			      .msg_controllen = sizeof(control) };
	int ends[2];

	HOLDS(socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0);
	control.h = (struct cmsghdr){ .cmsg_len = CMSG_LEN(sizeof(int)), .cmsg_level = SOL_SOCKET,
				      .cmsg_type = SCM_RIGHTS };
	memcpy(CMSG_DATA(&control.h), &ends[0], sizeof(int));
	HOLDS(sendmsg(0, &msg, 0) == 1);
}

static void test_descriptor_in_flight_is_refused(void **state)
{
	const char *text = refusal_of(descriptor_in_flight);

	assert_mentions(text, "descriptor 1 is a UNIX socket with 1 descriptors on their way");
}

static struct sockaddr_un server_address;

static void connect_out(void)
{
	HOLDS(socket(AF_UNIX, SOCK_STREAM, 0) == 0);
	HOLDS(connect(0, (struct sockaddr *)&server_address, sizeof(server_address)) == 0);
}

static void test_peer_in_another_process_is_named(void **state)
{
	int listener = socket(AF_UNIX, SOCK_STREAM, 0), server;
	struct subject s;
	const char *text;
	char me[64];

	server_address = address_of("server.sock");
	assert_int_equal(bind(listener, (struct sockaddr *)&server_address,
			      sizeof(server_address)), 0);
	assert_int_equal(listen(listener, 1), 0);
	s = subject_start(connect_out, NULL);
	assert_mentions(capture_refused(&s), "has not accepted yet");
	server = accept(listener, NULL, NULL);
	text = capture_refused(&s);
	close(server);
	close(listener);
	snprintf(me, sizeof(me), "server.sock of process %d (", (int)getpid());
	assert_mentions(text, "descriptor 0 is a UNIX socket connected to");
	assert_mentions(text, me);
}

static void listeners(void)
{
	struct sockaddr_un sun = address_of("listen.sock");
	struct sockaddr_un abstract = { .sun_family = AF_UNIX };
	int len = snprintf(abstract.sun_path + 1, sizeof(abstract.sun_path) - 1, "cor-test-%s",
			   fixture_path(""));

	HOLDS(socket(AF_UNIX, SOCK_STREAM, 0) == 0);
	HOLDS(bind(0, (struct sockaddr *)&sun, sizeof(sun)) == 0 && listen(0, 5) == 0);
	HOLDS(chmod(sun.sun_path, 0621) == 0);
	HOLDS(socket(AF_UNIX, SOCK_SEQPACKET, 0) == 1);
	HOLDS(bind(1, (struct sockaddr *)&abstract,
		   (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)len)) == 0);
	HOLDS(listen(1, 7) == 0);
	HOLDS(socket(AF_UNIX, SOCK_STREAM, 0) == 2);
}

static void connect_to_name_of(int listener, int type)
{
	struct sockaddr_un sun;
	socklen_t len = sizeof(sun);
	int client = socket(AF_UNIX, type, 0), server;
	char c;

	HOLDS(getsockname(listener, (struct sockaddr *)&sun, &len) == 0);
	HOLDS(connect(client, (struct sockaddr *)&sun, len) == 0);
	server = accept(listener, NULL, NULL);
	HOLDS(server >= 0 && send(client, "h", 1, 0) == 1 && recv(server, &c, 1, 0) == 1 &&
	      c == 'h');
}

static void verify_listeners(void)
{
	struct stat st;

	connect_to_name_of(0, SOCK_STREAM);
	connect_to_name_of(1, SOCK_SEQPACKET);
	HOLDS(stat(fixture_path("listen.sock"), &st) == 0 && (st.st_mode & 0777) == 0621);
	HOLDS(listen(2, 1) == -1 && errno == EINVAL);   /* it has no name yet */
}

static void test_listeners_listen_again(void **state)
{
	round_trip(listeners, verify_listeners);
}

static void test_listener_in_use_is_not_replaced(void **state)
{
	struct subject s = subject_start(listeners, NULL);
	Cor__Names__FileTable *table = capture(&s);
	struct cor_error err = COR_ERROR_INIT;
	struct stat before, after;

	table->boot_id[0] ^= 1;         /* someone else than the source's task listens there */
	assert_int_equal(stat(fixture_path("listen.sock"), &before), 0);
	assert_int_equal(cor_files_check(table, NULL, NULL, &err), -EADDRINUSE);
	assert_mentions(err.text, fixture_path("listen.sock"));
	assert_mentions(restore_refused(table, -EADDRINUSE), "descriptor 0");
	assert_int_equal(stat(fixture_path("listen.sock"), &after), 0);
	assert_int_equal(before.st_ino, after.st_ino);
}

static void path_listener(void)
{
	struct sockaddr_un sun = address_of("moved.sock");

	HOLDS(socket(AF_UNIX, SOCK_STREAM, 0) == 0);
	HOLDS(bind(0, (struct sockaddr *)&sun, sizeof(sun)) == 0 && listen(0, 5) == 0);
}

static void verify_path_listener(void)
{
	connect_to_name_of(0, SOCK_STREAM);
}

static void test_parked_path_can_be_had_here(void **state)
{
	struct subject s = subject_start(path_listener, NULL);
	Cor__Names__FileTable *table = capture(&s);
	struct cor_error err = COR_ERROR_INIT;

	assert_int_equal(cor_files_check(table, NULL, NULL, &err), 0);
	assert_int_equal(cor_files_park(s.pid, table, true, &err), 0);
	restore_and(table, verify_path_listener);
	cor_files_bury(s.pid, table);
	assert_int_equal(unlink(fixture_path("moved.sock")), 0);
	assert_int_equal(rmdir(fixture_path("")), 0);   /* nothing is left behind */
	assert_int_equal(mkdir(fixture_path(""), 0700), 0);
}

static void test_unparked_path_leads_to_the_task_again(void **state)
{
	struct subject s = subject_start(path_listener, verify_path_listener);
	Cor__Names__FileTable *table = capture(&s);
	struct cor_error err = COR_ERROR_INIT;

	assert_int_equal(cor_files_park(s.pid, table, true, &err), 0);
	assert_int_equal(access(fixture_path("moved.sock"), F_OK), -1);
	assert_int_equal(cor_files_unpark(s.pid, table, &err), 0);
	subject_finish(&s);
}

static void pending_connection(void)
{
	struct sockaddr_un sun = address_of("pending.sock");

	HOLDS(socket(AF_UNIX, SOCK_STREAM, 0) == 0);
	HOLDS(bind(0, (struct sockaddr *)&sun, sizeof(sun)) == 0 && listen(0, 5) == 0);
	HOLDS(socket(AF_UNIX, SOCK_STREAM, 0) == 1);
	HOLDS(connect(1, (struct sockaddr *)&sun, sizeof(sun)) == 0);
}

static void test_pending_connection_is_refused(void **state)
{
	const char *text = refusal_of(pending_connection);

	assert_mentions(text, "pending.sock with 1 connections that are not accepted");
}

static void datagram_sockets(void)
{
	struct sockaddr_un sun = address_of("dgram.sock");

	HOLDS(socket(AF_UNIX, SOCK_DGRAM, 0) == 0);
	HOLDS(bind(0, (struct sockaddr *)&sun, sizeof(sun)) == 0);
	HOLDS(socket(AF_UNIX, SOCK_DGRAM, 0) == 1);
	HOLDS(sendto(1, "waiting", 7, 0, (struct sockaddr *)&sun, sizeof(sun)) == 7);
}

static void verify_datagram_sockets(void)
{
	struct sockaddr_un sun = address_of("dgram.sock");
	char text[16];

	HOLDS(recv(0, text, sizeof(text), 0) == 7 && memcmp(text, "waiting", 7) == 0);
	HOLDS(sendto(1, "new", 3, 0, (struct sockaddr *)&sun, sizeof(sun)) == 3);
	HOLDS(recv(0, text, sizeof(text), 0) == 3);
}

static void test_datagram_sockets_keep_names_and_messages(void **state)
{
	round_trip(datagram_sockets, verify_datagram_sockets);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		FILES_TEST(test_stream_pair_keeps_what_waits),
		FILES_TEST(test_capture_consumes_nothing),
		FILES_TEST(test_ahead_of_the_freeze_messages_are_left_alone),
		FILES_TEST(test_full_stream_pair_is_carried_whole),
		FILES_TEST(test_messages_keep_their_boundaries),
		FILES_TEST(test_empty_packets_are_no_end),
		FILES_TEST(test_shutdown_is_kept),
		FILES_TEST(test_closed_peer_is_end_or_reset),
		FILES_TEST(test_descriptor_in_flight_is_refused),
		FILES_TEST(test_peer_in_another_process_is_named),
		FILES_TEST(test_listeners_listen_again),
		FILES_TEST(test_listener_in_use_is_not_replaced),
		FILES_TEST(test_parked_path_can_be_had_here),
		FILES_TEST(test_unparked_path_leads_to_the_task_again),
		FILES_TEST(test_pending_connection_is_refused),
		FILES_TEST(test_datagram_sockets_keep_names_and_messages),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
