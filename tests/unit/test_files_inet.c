/* TCP listeners, sockets never connected, UDP; refusals of connections and of
 * other families. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/netlink.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "files_fixture.h"

static void set(int fd, int level, int name, int value)
{
	HOLDS(setsockopt(fd, level, name, &value, sizeof(value)) == 0);
}

static int get(int fd, int level, int name)
{
	int value = -1;
	socklen_t len = sizeof(value);

	HOLDS(getsockopt(fd, level, name, &value, &len) == 0);
	return value;
}

/* Binds to loopback at a free port. */
static void bind_loopback(int fd)
{
	struct sockaddr_in sin = { .sin_family = AF_INET,
				   .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };

	HOLDS(bind(fd, (struct sockaddr *)&sin, sizeof(sin)) == 0);
}

static void tcp_listeners(void)
{
	struct sockaddr_in6 sin6 = { .sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT };

	HOLDS(socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0) == 0);
	set(0, SOL_SOCKET, SO_REUSEADDR, 1);
	set(0, SOL_SOCKET, SO_KEEPALIVE, 1);
	set(0, IPPROTO_TCP, TCP_KEEPIDLE, 77);
	set(0, IPPROTO_TCP, TCP_DEFER_ACCEPT, 3);
	set(0, SOL_SOCKET, SO_RCVBUF, 30000);
	bind_loopback(0);
	HOLDS(listen(0, 9) == 0);
	HOLDS(socket(AF_INET6, SOCK_STREAM, 0) == 1);
	set(1, IPPROTO_IPV6, IPV6_V6ONLY, 1);
	HOLDS(bind(1, (struct sockaddr *)&sin6, sizeof(sin6)) == 0 && listen(1, 1) == 0);
	HOLDS(socket(AF_INET, SOCK_STREAM, 0) == 2);
	set(2, IPPROTO_TCP, TCP_NODELAY, 1);
	HOLDS(socket(AF_INET, SOCK_STREAM, 0) == 3);
	bind_loopback(3);
}

static void accept_one(int listener, int domain)
{
	struct sockaddr_storage ss;
	socklen_t len = sizeof(ss);
	int client = socket(domain, SOCK_STREAM, 0), server;
	char c;

	HOLDS(getsockname(listener, (struct sockaddr *)&ss, &len) == 0);
	HOLDS(connect(client, (struct sockaddr *)&ss, len) == 0);
	HOLDS(send(client, "h", 1, 0) == 1);
	HOLDS(fcntl(listener, F_SETFL, 0) == 0);
	server = accept(listener, NULL, NULL);
	HOLDS(server >= 0 && recv(server, &c, 1, 0) == 1 && c == 'h');
}

static void verify_tcp_listeners(void)
{
	struct tcp_info info;
	socklen_t len = sizeof(info);

	HOLDS(fcntl(0, F_GETFL) & O_NONBLOCK);
	HOLDS(get(0, SOL_SOCKET, SO_REUSEADDR) == 1 && get(1, SOL_SOCKET, SO_REUSEADDR) == 0);
	HOLDS(get(0, IPPROTO_TCP, TCP_KEEPIDLE) == 77 && get(0, SOL_SOCKET, SO_KEEPALIVE) == 1);
	HOLDS(get(0, IPPROTO_TCP, TCP_DEFER_ACCEPT) == 3);
	HOLDS(get(0, SOL_SOCKET, SO_RCVBUF) == 60000);
	HOLDS(getsockopt(0, IPPROTO_TCP, TCP_INFO, &info, &len) == 0 && info.tcpi_sacked == 9);
	HOLDS(get(1, IPPROTO_IPV6, IPV6_V6ONLY) == 1);
	HOLDS(get(2, IPPROTO_TCP, TCP_NODELAY) == 1);
	accept_one(0, AF_INET);
	accept_one(1, AF_INET6);
	HOLDS(listen(3, 1) == 0);
	accept_one(3, AF_INET);
}

static void test_listeners_listen_again_with_their_options(void **state)
{
	round_trip(tcp_listeners, verify_tcp_listeners);
}

static void test_address_in_use_is_named(void **state)
{
	struct subject s = subject_start(tcp_listeners, NULL);
	Cor__Names__FileTable *table = capture(&s);
	struct cor_error err = COR_ERROR_INIT;

	table->boot_id[0] ^= 1;         /* someone else than the source's task listens there */
	assert_int_equal(cor_files_check(table, NULL, NULL, &err), -EADDRINUSE);
	assert_mentions(err.text, "descriptor 0: the address 127.0.0.1:");
}

static void test_parked_address_can_be_had_here(void **state)
{
	struct subject s = subject_start(tcp_listeners, NULL);
	Cor__Names__FileTable *table = capture(&s);
	struct cor_error err = COR_ERROR_INIT;

	assert_int_equal(cor_files_check(table, NULL, NULL, &err), 0);
	assert_mentions(restore_refused(table, -EADDRINUSE), "descriptor 0");
	assert_int_equal(cor_files_park(s.pid, table, true, &err), 0);
	restore_and(table, verify_tcp_listeners);       /* beside the parked ones */
	subject_kill(&s);
}

static void test_unparked_task_listens_as_before(void **state)
{
	struct subject s = subject_start(tcp_listeners, verify_tcp_listeners);
	Cor__Names__FileTable *table = capture(&s);
	struct cor_error err = COR_ERROR_INIT;

	assert_int_equal(cor_files_park(s.pid, table, true, &err), 0);
	restore_and(table, NULL);       /* a destination that then fails */
	assert_int_equal(cor_files_unpark(s.pid, table, &err), 0);
	subject_finish(&s);
}

static void test_address_not_here_is_named(void **state)
{
	struct subject s = subject_start(tcp_listeners, NULL);
	Cor__Names__FileTable *table = capture(&s);
	struct cor_error err = COR_ERROR_INIT;
	struct sockaddr_in *sin = (struct sockaddr_in *)table->files[0]->address.data;

	inet_pton(AF_INET, "192.0.2.1", &sin->sin_addr);
	assert_int_equal(cor_files_check(table, NULL, NULL, &err), -EADDRNOTAVAIL);
	assert_mentions(err.text, "192.0.2.1:");
}

static void established(void)
{
	struct sockaddr_in sin;
	socklen_t len = sizeof(sin);

	HOLDS(socket(AF_INET, SOCK_STREAM, 0) == 0);
	bind_loopback(0);
	HOLDS(listen(0, 1) == 0 && getsockname(0, (struct sockaddr *)&sin, &len) == 0);
	HOLDS(socket(AF_INET, SOCK_STREAM, 0) == 1);
	HOLDS(connect(1, (struct sockaddr *)&sin, len) == 0);
	HOLDS(accept(0, NULL, NULL) == 2);
}

static void test_established_connection_is_named(void **state)
{
	const char *text = refusal_of(established);

	assert_mentions(text, "descriptor 1 is a TCP connection from 127.0.0.1:");
	assert_mentions(text, " to 127.0.0.1:");
	assert_mentions(text, "no connection can move");
}

static void pending(void)
{
	struct sockaddr_in sin;
	socklen_t len = sizeof(sin);
	int client;

	HOLDS(socket(AF_INET, SOCK_STREAM, 0) == 0);
	bind_loopback(0);
	HOLDS(listen(0, 1) == 0 && getsockname(0, (struct sockaddr *)&sin, &len) == 0);
	client = socket(AF_INET, SOCK_STREAM, 0);
	HOLDS(connect(client, (struct sockaddr *)&sin, len) == 0);
	HOLDS(close(client) == 0);
}

static void test_pending_connection_is_refused(void **state)
{
	const char *text = refusal_of(pending);

	assert_mentions(text, "descriptor 0 is a TCP socket listening on 127.0.0.1:");
	assert_mentions(text, "1 connections that are not accepted");
}

static void udp_sockets(void)
{
	struct sockaddr_in sin;
	socklen_t len = sizeof(sin);

	HOLDS(socket(AF_INET, SOCK_DGRAM, 0) == 0);
	set(0, SOL_SOCKET, SO_BROADCAST, 1);
	bind_loopback(0);
	HOLDS(getsockname(0, (struct sockaddr *)&sin, &len) == 0);
	HOLDS(socket(AF_INET, SOCK_DGRAM, 0) == 1);
	HOLDS(connect(1, (struct sockaddr *)&sin, len) == 0);
	HOLDS(socket(AF_INET6, SOCK_DGRAM, 0) == 2);
}

static void verify_udp_sockets(void)
{
	struct sockaddr_in ours, from;
	socklen_t len = sizeof(ours);
	char text[8];

	HOLDS(get(0, SOL_SOCKET, SO_BROADCAST) == 1);
	HOLDS(send(1, "hello", 5, 0) == 5);
	HOLDS(getsockname(1, (struct sockaddr *)&ours, &len) == 0);
	HOLDS(recvfrom(0, text, sizeof(text), 0, (struct sockaddr *)&from, &len) == 5);
	HOLDS(from.sin_port == ours.sin_port);
}

static void test_parked_udp_address_can_be_had_here(void **state)
{
	struct subject s = subject_start(udp_sockets, verify_udp_sockets);
	Cor__Names__FileTable *table = capture(&s);
	struct cor_error err = COR_ERROR_INIT;

	assert_int_equal(cor_files_check(table, NULL, NULL, &err), 0);
	assert_int_equal(cor_files_park(s.pid, table, true, &err), 0);
	restore_and(table, verify_udp_sockets);
	assert_int_equal(cor_files_unpark(s.pid, table, &err), 0);
	subject_finish(&s);
}

static void test_udp_is_bound_and_connected_again(void **state)
{
	round_trip(udp_sockets, verify_udp_sockets);
}

static void netlink(void)
{
	HOLDS(socket(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE) == 0);
}

static void test_netlink_is_refused(void **state)
{
	assert_mentions(refusal_of(netlink), "descriptor 0 is a netlink socket");
}

static void raw(void)
{
	HOLDS(socket(AF_INET, SOCK_RAW, IPPROTO_ICMP) == 0);
}

static void test_raw_socket_is_refused(void **state)
{
	assert_mentions(refusal_of(raw), "descriptor 0 is a raw socket");
}

static void test_listener_held_by_another_process_is_refused(void **state)
{
	struct subject s = subject_start(tcp_listeners, NULL);
	struct cor_error err = COR_ERROR_INIT;
	int copy = cor_files_duplicate(s.pid, 0, &err);
	const char *text;
	char me[64];

	assert_true(copy >= 0);
	text = capture_refused(&s);
	close(copy);
	snprintf(me, sizeof(me), "descriptor 0 is a socket that process %d (", (int)getpid());
	assert_mentions(text, me);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		FILES_TEST(test_listeners_listen_again_with_their_options),
		FILES_TEST(test_address_in_use_is_named),
		FILES_TEST(test_address_not_here_is_named),
		FILES_TEST(test_parked_address_can_be_had_here),
		FILES_TEST(test_unparked_task_listens_as_before),
		FILES_TEST(test_established_connection_is_named),
		FILES_TEST(test_pending_connection_is_refused),
		FILES_TEST(test_udp_is_bound_and_connected_again),
		FILES_TEST(test_parked_udp_address_can_be_had_here),
		FILES_TEST(test_netlink_is_refused),
		FILES_TEST(test_raw_socket_is_refused),
		FILES_TEST(test_listener_held_by_another_process_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
