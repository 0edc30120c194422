/* TCP sockets that stay at home: what the task has in their place (pump/net.h,
 * pump/end_tcp.c). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/sockios.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "libcor/base/cleanup.h"
#include "libcor/base/error.h"
#include "libcor/names/file_forward.h"
#include "libcor/names/file_forward_common.h"
#include "libcor/names/net/tcp_unread.h"
#include "libcor/names/pump/channel.h"
#include "libcor/names/pump/tcp.h"

static struct cor_pump_net *g_net;
static struct cor_error err;

static int set_up(void **state)
{
	err = (struct cor_error)COR_ERROR_INIT;
	return cor_pump_net_new(&g_net, &err);
}

static int tear_down(void **state)
{
	cor_pump_net_free(g_net);
	g_net = NULL;
	return 0;
}

struct address {
	struct sockaddr_storage ss;
	socklen_t len;
	ProtobufCBinaryData bytes;
};

static void address(struct address *a, int domain, const char *text, uint16_t port)
{
	struct sockaddr_in6 *sin6 = (struct sockaddr_in6 *)&a->ss;
	struct sockaddr_in *sin = (struct sockaddr_in *)&a->ss;

	memset(a, 0, sizeof(*a));
	if (domain == AF_INET) {
		sin->sin_family = AF_INET;
		sin->sin_port = htons(port);
		assert_int_equal(inet_pton(AF_INET, text, &sin->sin_addr), 1);
		a->len = sizeof(*sin);
	} else {
		sin6->sin6_family = AF_INET6;
		sin6->sin6_port = htons(port);
		assert_int_equal(inet_pton(AF_INET6, text, &sin6->sin6_addr), 1);
		a->len = sizeof(*sin6);
	}
	a->bytes = (ProtobufCBinaryData){ a->len, (uint8_t *)&a->ss };
}

static void assert_name(int fd, bool peer, const struct address *a)
{
	struct sockaddr_storage ss;
	socklen_t len = sizeof(ss);

	assert_return_code(peer ? getpeername(fd, (struct sockaddr *)&ss, &len) :
			   getsockname(fd, (struct sockaddr *)&ss, &len), errno);
	assert_int_equal(len, a->len);
	assert_memory_equal(&ss, &a->ss, len);
}

static Cor__Names__PumpChannel channel(const struct address *ours, const struct address *theirs)
{
	Cor__Names__PumpChannel ch = COR__NAMES__PUMP_CHANNEL__INIT;

	ch.id = 1;
	ch.kind = COR__NAMES__PUMP_KIND__PUMP_TCP;
	ch.task_reads = ch.task_writes = true;
	ch.what = (char *)"a connection";
	ch.address = ours->bytes;
	if (theirs)
		ch.peer_address = theirs->bytes;
	return ch;
}

/* Both addresses are nobody's here, and are the socket's own nevertheless. */
static void named_as_at_home(void **state)
{
	static const struct { int domain; const char *ours, *theirs; } cases[] = {
		{ AF_INET, "192.0.2.1", "198.51.100.7" },
		{ AF_INET, "127.0.0.1", "127.0.0.1" },
		{ AF_INET6, "2001:db8::1", "2001:db8:1::2" },
		{ AF_INET6, "::ffff:192.0.2.1", "::ffff:198.51.100.7" },
	};

	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
		struct address ours, theirs;
		int task, fd;

		address(&ours, cases[i].domain, cases[i].ours, 7000);
		address(&theirs, cases[i].domain, cases[i].theirs, (uint16_t)(40000 + i));
		assert_return_code(cor_pump_net_pair(g_net, cases[i].domain, &ours.bytes, &theirs.bytes,
						     &task, &fd), errno);
		assert_name(task, false, &ours);
		assert_name(task, true, &theirs);
		assert_true(cor_forward_is_away(task));
		close(task);
		close(fd);
	}
}

/* One port of the task's and one of a peer's may be those of many connections. */
static void ports_are_shared(void **state)
{
	struct address one, other, ours;
	int tasks[2], fds[2], listener;

	address(&ours, AF_INET, "192.0.2.1", 7000);
	address(&one, AF_INET, "192.0.2.8", 7000);
	address(&other, AF_INET, "192.0.2.9", 7000);
	assert_return_code(cor_pump_net_pair(g_net, AF_INET, &ours.bytes, &one.bytes, &tasks[0],
					     &fds[0]), errno);
	assert_return_code(cor_pump_net_pair(g_net, AF_INET, &ours.bytes, &other.bytes, &tasks[1],
					     &fds[1]), errno);
	listener = cor_pump_net_listen(g_net, AF_INET, false, &ours.bytes, 5);
	assert_return_code(listener, errno);
	assert_name(tasks[0], true, &one);
	assert_name(tasks[1], true, &other);
	for (unsigned i = 0; i < 2; i++) {
		close(tasks[i]);
		close(fds[i]);
	}
	close(listener);
}

static void made(struct cor_pump_end *e, const Cor__Names__PumpChannel *ch, int *task)
{
	*e = (struct cor_pump_end)COR_PUMP_END_INIT;
	e->net = g_net;
	assert_return_code(cor_pump_end_tcp.make(e, ch, task, &err), errno);
	e->ops = &cor_pump_end_tcp;
}

static void fill(struct cor_pump_queue *q, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		uint8_t c = (uint8_t)(i * 7 + i / 251);

		assert_int_equal(cor_pump_queue_bytes(q, &c, 1), 0);
	}
}

static void assert_bytes(const uint8_t *bytes, size_t n, size_t from)
{
	for (size_t i = 0; i < n; i++)
		assert_int_equal(bytes[i], (uint8_t)((from + i) * 7 + (from + i) / 251));
}

/* What was written, and neither arrived nor is lost, is found. */
static void what_did_not_arrive(void **state)
{
	struct address ours, theirs;
	Cor__Names__PumpChannel ch;
	struct cor_pump_queue q;
	struct cor_pump_end e;
	struct tcp_info info;
	socklen_t len = sizeof(info);
	uint8_t *unread;
	int task, small = 4096, there = 0;
	ssize_t n;

	address(&ours, AF_INET, "192.0.2.1", 7000);
	address(&theirs, AF_INET, "192.0.2.9", 40000);
	ch = channel(&ours, &theirs);
	made(&e, &ch, &task);
	setsockopt(task, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
	cor_pump_queue_init(&q, 0);
	fill(&q, 200000);
	while (cor_pump_queue_length(&q) && (n = cor_pump_end_tcp.write(&e, &q)) > 0)
		cor_pump_queue_drop(&q, q.start + (uint64_t)n);
	assert_return_code(cor_pump_tcp_hush(&e), errno);
	assert_return_code(getsockopt(task, IPPROTO_TCP, TCP_INFO, &info, &len), errno);
	assert_return_code(ioctl(task, SIOCINQ, &there), errno);
	assert_int_equal(info.tcpi_bytes_received, (uint64_t)there);
	assert_true(e.tcp->given > (uint64_t)there);
	assert_return_code(cor_pump_tcp_leftover(&e, info.tcpi_bytes_received), errno);
	assert_int_equal(e.tcp->npending + (size_t)there, e.tcp->given);
	unread = malloc((size_t)there);
	assert_int_equal(recv(task, unread, (size_t)there, MSG_PEEK | MSG_DONTWAIT), there);
	assert_bytes(unread, (size_t)there, 0);
	assert_bytes(e.tcp->pending, e.tcp->npending, (size_t)there);
	free(unread);
	cor_pump_queue_clear(&q);
	cor_pump_end_free(&e);
	close(task);
}

/* A task that goes on after all gets the rest by itself, once. */
static void nothing_twice_after_a_thaw(void **state)
{
	struct address ours, theirs;
	Cor__Names__PumpChannel ch;
	struct cor_pump_queue q;
	struct cor_pump_end e;
	struct tcp_info info;
	socklen_t len = sizeof(info);
	size_t got = 0;
	int task, small = 4096;
	ssize_t n;

	address(&ours, AF_INET, "192.0.2.1", 7000);
	address(&theirs, AF_INET, "192.0.2.9", 40000);
	ch = channel(&ours, &theirs);
	made(&e, &ch, &task);
	setsockopt(task, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
	cor_pump_queue_init(&q, 0);
	fill(&q, 60000);
	while (cor_pump_queue_length(&q) && (n = cor_pump_end_tcp.write(&e, &q)) > 0)
		cor_pump_queue_drop(&q, q.start + (uint64_t)n);
	assert_return_code(cor_pump_tcp_hush(&e), errno);
	assert_return_code(getsockopt(task, IPPROTO_TCP, TCP_INFO, &info, &len), errno);
	assert_return_code(cor_pump_tcp_leftover(&e, info.tcpi_bytes_received), errno);
	assert_true(e.tcp->npending > 0);
	cor_pump_tcp_go_on(&e);
	assert_null(e.tcp->pending);
	while (got < e.tcp->given) {
		uint8_t buf[4096];
		struct pollfd p = { .fd = task, .events = POLLIN };

		assert_int_equal(poll(&p, 1, 5000), 1);
		n = recv(task, buf, sizeof(buf), MSG_DONTWAIT);
		assert_true(n > 0);
		assert_bytes(buf, (size_t)n, got);
		got += (size_t)n;
	}
	assert_int_equal(recv(task, &small, 1, MSG_DONTWAIT), -1);
	cor_pump_queue_clear(&q);
	cor_pump_end_free(&e);
	close(task);
}

/* A client waits in the task's own listening socket, at its own address; what it has
 * said is kept until it is accepted. */
static void a_client_waits(void **state)
{
	struct address ours, theirs;
	struct cor_pump_end e = COR_PUMP_END_INIT;
	Cor__Names__PumpChannel ch;
	struct cor_pump_queue q;
	int listener, task;

	address(&ours, AF_INET, "192.0.2.1", 7000);
	address(&theirs, AF_INET, "192.0.2.9", 40000);
	ch = channel(&ours, &theirs);
	listener = cor_pump_net_listen(g_net, AF_INET, false, &ours.bytes, 5);
	assert_return_code(listener, errno);
	assert_return_code(cor_pump_tcp_call(&e, g_net, &ch), errno);
	e.ops = &cor_pump_end_tcp;
	cor_pump_queue_init(&q, 0);
	fill(&q, COR_PUMP_EARLY_MAX + 100);
	while (cor_pump_end_tcp.write(&e, &q) > 0)
		cor_pump_queue_drop(&q, e.tcp->given);
	assert_int_equal(e.tcp->given, COR_PUMP_EARLY_MAX);
	assert_int_equal(cor_pump_tcp_leftover(&e, 0), 0);
	assert_int_equal(e.tcp->npending, COR_PUMP_EARLY_MAX);
	assert_bytes(e.tcp->pending, e.tcp->npending, 0);
	assert_int_equal(cor_pump_end_tcp.describe(&e, &ch), 0);
	assert_true(ch.waiting);
	task = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	assert_return_code(task, errno);
	assert_name(task, true, &theirs);
	cor_pump_tcp_accepted(&e, 77);
	assert_int_equal(cor_pump_end_tcp.identity(&e), 77);
	assert_int_equal(cor_pump_end_tcp.describe(&e, &ch), 0);
	assert_false(ch.waiting);
	assert_true(cor_pump_end_tcp.write(&e, &q) > 0);
	cor_pump_queue_clear(&q);
	cor_pump_end_free(&e);
	close(task);
	close(listener);
}

/* Addresses that came from another host and are none. */
static size_t unread(int task, uint64_t arrived)
{
	const struct cor_file_seen seen = { .dup = task };
	Cor__Names__OpenFile out = COR__NAMES__OPEN_FILE__INIT;
	size_t n = 0;

	out.type = SOCK_STREAM;
	assert_int_equal(cor_forward_unread(&seen, arrived, &out, &err), 0);
	for (size_t i = 0; i < out.n_unread; i++) {
		n += out.unread[i]->data.len;
		for (size_t k = 0; k < out.unread[i]->data.len; k++)
			assert_int_equal(out.unread[i]->data.data[k], (uint8_t)k);
		cor__names__message__free_unpacked(out.unread[i], NULL);
	}
	free(out.unread);
	return n;
}

/* What arrives once the pump has counted, it gives again. */
static void late_bytes_are_the_pumps(void **state)
{
	struct address ours, theirs;
	uint8_t bytes[100];
	int task, fd;

	for (unsigned i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)i;
	address(&ours, AF_INET, "192.0.2.1", 7000);
	address(&theirs, AF_INET, "198.51.100.7", 40000);
	assert_return_code(cor_pump_net_pair(g_net, AF_INET, &ours.bytes, &theirs.bytes, &task, &fd),
			   errno);
	assert_int_equal(write(fd, bytes, sizeof(bytes)), sizeof(bytes));
	assert_int_equal(poll(&(struct pollfd){ .fd = task, .events = POLLIN }, 1, 5000), 1);
	assert_int_equal(cor_tcp_received(task), 100);
	assert_int_equal(unread(task, 0), 100);
	assert_int_equal(unread(task, 100 + 1), 100);
	assert_int_equal(unread(task, 60 + 1), 60);
	assert_int_equal(unread(task, 0 + 1), 0);
	/* an end is no byte */
	assert_int_equal(shutdown(fd, SHUT_WR), 0);
	assert_int_equal(poll(&(struct pollfd){ .fd = task, .events = POLLRDHUP }, 1, 5000), 1);
	assert_int_equal(cor_tcp_received(task), 100);
	assert_int_equal(unread(task, 100 + 1), 100);
	close(task);
	close(fd);
}

static void wrong_addresses(void **state)
{
	struct address ours, theirs;
	struct cor_pump_end e = COR_PUMP_END_INIT;
	Cor__Names__PumpChannel ch;
	int task = -1;

	address(&ours, AF_INET, "192.0.2.1", 7000);
	address(&theirs, AF_INET, "192.0.2.9", 40000);
	ch = channel(&ours, &theirs);
	ch.peer_address.len = 3;
	e.net = g_net;
	assert_int_equal(cor_pump_end_tcp.make(&e, &ch, &task, &err), -EPROTO);
	assert_null(e.tcp);
	ch = channel(&ours, &theirs);
	((struct sockaddr *)&ours.ss)->sa_family = AF_UNIX;
	assert_int_equal(cor_pump_end_tcp.make(&e, &ch, &task, &err), -EPROTO);
	/* no namespace: a link of another kind of table */
	e.net = NULL;
	assert_int_equal(cor_pump_end_listener.make(&e, &ch, &task, &err), -EINVAL);
	assert_int_equal(task, -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(named_as_at_home, set_up, tear_down),
		cmocka_unit_test_setup_teardown(ports_are_shared, set_up, tear_down),
		cmocka_unit_test_setup_teardown(what_did_not_arrive, set_up, tear_down),
		cmocka_unit_test_setup_teardown(nothing_twice_after_a_thaw, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_client_waits, set_up, tear_down),
		cmocka_unit_test_setup_teardown(late_bytes_are_the_pumps, set_up, tear_down),
		cmocka_unit_test_setup_teardown(wrong_addresses, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
