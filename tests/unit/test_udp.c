/* UDP sockets that stay at home: packets (net/udp_packet.h), datagrams in a channel
 * (pump/datagram.h), and the two ends (pump/udp.h). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "libcor/base/cleanup.h"
#include "libcor/base/error.h"
#include "libcor/names/file_ops.h"
#include "libcor/names/net/multicast.h"
#include "libcor/names/pump/channel.h"
#include "libcor/names/pump/datagram.h"
#include "libcor/names/pump/udp.h"
#include "libcor/names/net/udp_packet.h"

static struct cor_error err;

static int set_up(void **state)
{
	err = (struct cor_error)COR_ERROR_INIT;
	return 0;
}

struct address {
	struct sockaddr_storage ss;
	socklen_t len;
	ProtobufCBinaryData bytes;
	struct cor_inet_addr addr;
};

static void address(struct address *a, const char *text, uint16_t port)
{
	struct sockaddr_in6 *sin6 = (struct sockaddr_in6 *)&a->ss;
	struct sockaddr_in *sin = (struct sockaddr_in *)&a->ss;

	memset(a, 0, sizeof(*a));
	if (inet_pton(AF_INET, text, &sin->sin_addr) == 1) {
		sin->sin_family = AF_INET;
		sin->sin_port = htons(port);
		a->len = sizeof(*sin);
	} else {
		assert_int_equal(inet_pton(AF_INET6, text, &sin6->sin6_addr), 1);
		sin6->sin6_family = AF_INET6;
		sin6->sin6_port = htons(port);
		a->len = sizeof(*sin6);
	}
	a->bytes = (ProtobufCBinaryData){ a->len, (uint8_t *)&a->ss };
	assert_int_equal(cor_inet_addr_of(&a->bytes, &a->addr), 0);
}

static void assert_addr(const struct cor_inet_addr *is, const struct address *want)
{
	assert_int_equal(is->family, want->addr.family);
	assert_memory_equal(is->bytes, want->addr.bytes, want->addr.len);
	assert_int_equal(is->port, want->addr.port);
}

/* ---- packets ------------------------------------------------------------------------- */

static const char *const ends[][2] = {
	{ "192.0.2.1", "198.51.100.7" }, { "2001:db8::1", "2001:db8:1::2" },
};

static void packets_read_as_they_were_written(void **state)
{
	static const size_t lens[] = { 0, 1, 2, 999, 65507 };
	static uint8_t data[65507], buf[COR_UDP_PACKET_MAX];

	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = (uint8_t)(i * 31);
	for (unsigned i = 0; i < ARRAY_SIZE(ends) * ARRAY_SIZE(lens); i++) {
		size_t len = lens[i / ARRAY_SIZE(ends)];
		struct cor_udp_packet p = { .data = data, .len = len }, q;
		struct address from, to;
		ssize_t n;

		address(&from, ends[i % ARRAY_SIZE(ends)][0], 7000);
		address(&to, ends[i % ARRAY_SIZE(ends)][1], 53);
		p.from = from.addr;
		p.to = to.addr;
		n = cor_udp_packet_build(&p, buf);
		assert_true(n > (ssize_t)len);
		assert_int_equal(cor_udp_packet_parse(buf, (size_t)n, &q), 0);
		assert_addr(&q.from, &from);
		assert_addr(&q.to, &to);
		assert_int_equal(q.len, len);
		assert_memory_equal(q.data, data, len);
		/* a part of one is none */
		assert_int_equal(cor_udp_packet_parse(buf, (size_t)n - 1, &q), -EPROTO);
		assert_int_equal(cor_udp_packet_parse(buf, 19, &q), -EPROTO);
	}
}

static void no_packets(void **state)
{
	uint8_t buf[COR_UDP_PACKET_MAX];
	struct cor_udp_packet p = { .data = (const uint8_t *)"abc", .len = 3 }, q;
	struct address from, to;
	ssize_t n;

	assert_int_equal(cor_udp_packet_parse("", 0, &q), -EPROTO);
	address(&from, "192.0.2.1", 1);
	address(&to, "2001:db8::1", 2);
	p.from = from.addr;
	p.to = to.addr;
	assert_int_equal(cor_udp_packet_build(&p, buf), -EAFNOSUPPORT);
	address(&to, "192.0.2.2", 2);
	p.to = to.addr;
	p.len = 65508;
	assert_int_equal(cor_udp_packet_build(&p, buf), -EMSGSIZE);
	p.len = 3;
	n = cor_udp_packet_build(&p, buf);
	buf[6] = 0x20;          /* a fragment */
	assert_int_equal(cor_udp_packet_parse(buf, (size_t)n, &q), -EPROTO);
	buf[6] = 0;
	buf[9] = IPPROTO_TCP;
	assert_int_equal(cor_udp_packet_parse(buf, (size_t)n, &q), -EPROTO);
	buf[9] = IPPROTO_UDP;
	buf[25] = 12;           /* the datagram is longer than the packet */
	assert_int_equal(cor_udp_packet_parse(buf, (size_t)n, &q), -EPROTO);
	buf[25] = 7;            /* shorter than its header */
	assert_int_equal(cor_udp_packet_parse(buf, (size_t)n, &q), -EPROTO);
}

/* ---- datagrams in a queue ----------------------------------------------------------------- */

static struct cor_datagram datagram(const struct address *ours, const struct address *theirs,
				    const char *text)
{
	struct cor_datagram d = { .theirs = theirs->addr, .data = (const uint8_t *)text,
				  .len = strlen(text) };

	if (ours)
		d.ours = ours->addr;
	return d;
}

static void datagrams_keep_their_bounds(void **state)
{
	static const char *const texts[] = { "first", "", "third" };
	struct cor_pump_queue q;
	struct address theirs;

	address(&theirs, "198.51.100.7", 53);
	cor_pump_queue_init(&q, 5);
	for (unsigned i = 0; i < ARRAY_SIZE(texts); i++) {
		struct cor_datagram d = datagram(NULL, &theirs, texts[i]);

		assert_int_equal(cor_datagram_queue(&q, &d), strlen(texts[i]) + 1);
	}
	for (unsigned i = 0; i < ARRAY_SIZE(texts); i++) {
		_cleanup_free_ uint8_t *bytes = NULL;
		struct cor_datagram d;
		ssize_t n = cor_datagram_first(&q, &d, &bytes);

		assert_int_equal(n, strlen(texts[i]) + 1);
		assert_int_equal(d.len, strlen(texts[i]));
		assert_memory_equal(d.data, texts[i], d.len);
		assert_addr(&d.theirs, &theirs);
		assert_int_equal(d.ours.family, 0);
		cor_pump_queue_drop(&q, q.start + (uint64_t)n);
	}
	cor_pump_queue_clear(&q);
}

static void parts_of_datagrams_wait(void **state)
{
	_cleanup_free_ uint8_t *bytes = NULL;
	struct cor_pump_queue q;
	struct cor_datagram d;

	cor_pump_queue_init(&q, 0);
	assert_int_equal(cor_pump_queue_bytes(&q, "abc", 3), 0);
	assert_int_equal(cor_datagram_first(&q, &d, &bytes), -ENODATA);
	/* an END is not taken along */
	assert_int_equal(cor_pump_queue_event(&q, COR_PUMP_END, NULL, 0), 0);
	assert_int_equal(cor_datagram_first(&q, &d, &bytes), 3);
	assert_int_equal(d.theirs.family, 0);
	cor_pump_queue_clear(&q);
}

static void wrong_payloads(void **state)
{
	struct cor_pump_datagram raw;
	struct cor_datagram d, out = { .len = 77 };
	struct address ours, theirs;

	address(&ours, "192.0.2.1", 7000);
	address(&theirs, "198.51.100.7", 53);
	d = datagram(&ours, &theirs, "");
	cor_datagram_pack(&d, &raw);
	assert_int_equal(cor_datagram_unpack(&raw, sizeof(raw) - 1, &out), -EPROTO);
	raw.theirs_len = 29;
	assert_int_equal(cor_datagram_unpack(&raw, sizeof(raw), &out), -EPROTO);
	cor_datagram_pack(&d, &raw);
	raw.theirs_len = 0;
	assert_int_equal(cor_datagram_unpack(&raw, sizeof(raw), &out), -EPROTO);
	cor_datagram_pack(&d, &raw);
	raw.theirs[0] = AF_UNIX;
	assert_int_equal(cor_datagram_unpack(&raw, sizeof(raw), &out), -EPROTO);
	address(&ours, "2001:db8::1", 7000);
	d.ours = ours.addr;
	cor_datagram_pack(&d, &raw);
	assert_int_equal(cor_datagram_unpack(&raw, sizeof(raw), &out), -EPROTO);
	assert_int_equal(out.len, 77);
}

/* ---- the away end ----------------------------------------------------------------------------- */

struct away {
	struct cor_pump_end e;
	struct cor_pump_queue out;
	int task;
};

static Cor__Names__PumpChannel channel(const struct address *ours)
{
	Cor__Names__PumpChannel ch = COR__NAMES__PUMP_CHANNEL__INIT;

	ch.id = 1;
	ch.kind = COR__NAMES__PUMP_KIND__PUMP_UDP;
	ch.task_reads = ch.task_writes = true;
	ch.what = (char *)"a UDP socket";
	ch.address = ours->bytes;
	return ch;
}

static void make(struct away *a, const Cor__Names__PumpChannel *ch)
{
	*a = (struct away){ .e = COR_PUMP_END_INIT, .task = -1 };
	cor_pump_queue_init(&a->out, 0);
	if (cor_pump_end_udp.make(&a->e, ch, &a->task, &err) == -ENOENT) {
		print_message("%s\n", err.text);
		skip();
	}
	assert_true(a->task >= 0);
	a->e.ops = &cor_pump_end_udp;
}

static void unmake(struct away *a)
{
	cor_closep(&a->task);
	cor_pump_queue_clear(&a->out);
	cor_pump_end_free(&a->e);
}

/* What comes from home for the task. */
static void give(struct away *a, const struct cor_datagram *d)
{
	struct cor_pump_queue q;

	cor_pump_queue_init(&q, 0);
	assert_true(cor_datagram_queue(&q, d) > 0);
	assert_int_equal(cor_pump_end_udp.write(&a->e, &q), (ssize_t)d->len + 1);
	cor_pump_queue_clear(&q);
}

/* The task gets it, from there. */
static void assert_got(int fd, const struct address *from, const char *text)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	struct sockaddr_storage ss;
	socklen_t len = sizeof(ss);
	char buf[100];
	ssize_t n;

	assert_int_equal(poll(&p, 1, 5000), 1);
	n = recvfrom(fd, buf, sizeof(buf), MSG_DONTWAIT, (struct sockaddr *)&ss, &len);
	assert_int_equal(n, strlen(text));
	assert_memory_equal(buf, text, (size_t)n);
	assert_int_equal(len, from->len);
	assert_memory_equal(&ss, &from->ss, len);
}

/* The pump gets it, for there. */
static void assert_sent(struct away *a, const struct address *to, const char *text)
{
	_cleanup_free_ uint8_t *bytes = NULL;
	struct pollfd p = { .fd = a->e.fd, .events = POLLIN };
	struct cor_datagram d;
	ssize_t n;

	assert_int_equal(poll(&p, 1, 5000), 1);
	assert_int_equal(cor_pump_end_udp.read(&a->e, &a->out, 65536), strlen(text) + 1);
	n = cor_datagram_first(&a->out, &d, &bytes);
	assert_int_equal(n, strlen(text) + 1);
	assert_memory_equal(d.data, text, d.len);
	assert_addr(&d.theirs, to);
	cor_pump_queue_drop(&a->out, a->out.start + (uint64_t)n);
}

static void send_to(int fd, const struct address *to, const char *text)
{
	assert_int_equal(sendto(fd, text, strlen(text), 0, (struct sockaddr *)&to->ss, to->len),
			 strlen(text));
}

/* Both addresses are nobody's here, and are what they were at home. */
static void both_ways(void **state)
{
	static const struct { const char *ours, *theirs; } cases[] = {
		{ "192.0.2.1", "198.51.100.7" }, { "127.0.0.1", "127.0.0.1" },
		{ "192.0.2.1", "192.0.2.1" }, { "192.0.2.1", "127.0.0.1" },
		{ "2001:db8::1", "2001:db8:1::2" }, { "2001:db8::1", "2001:db8::1" },
	};

	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
		struct address ours, theirs, name;
		Cor__Names__PumpChannel ch;
		struct cor_datagram d;
		struct away a;

		address(&ours, cases[i].ours, 7000);
		address(&theirs, cases[i].theirs, 40000);
		ch = channel(&ours);
		make(&a, &ch);
		name.len = sizeof(name.ss);
		assert_return_code(getsockname(a.task, (struct sockaddr *)&name.ss, &name.len), errno);
		assert_memory_equal(&name.ss, &ours.ss, ours.len);
		d = datagram(NULL, &theirs, "a question");
		give(&a, &d);
		assert_got(a.task, &theirs, "a question");
		send_to(a.task, &theirs, "its answer");
		assert_sent(&a, &theirs, "its answer");
		send_to(a.task, &theirs, "");
		assert_sent(&a, &theirs, "");
		/* its own address is home's affair, too */
		send_to(a.task, &ours, "to itself");
		assert_sent(&a, &ours, "to itself");
		unmake(&a);
	}
}

/* The largest that there is, of either family. */
static void large_ones(void **state)
{
	static uint8_t big[65507], got[65536];

	for (unsigned i = 0; i < ARRAY_SIZE(ends); i++) {
		_cleanup_free_ uint8_t *bytes = NULL;
		size_t len = i ? 65487 : sizeof(big);
		struct pollfd p = { .events = POLLIN };
		struct address ours, theirs;
		Cor__Names__PumpChannel ch;
		struct cor_datagram d;
		struct away a;

		memset(big, 'a' + (int)i, sizeof(big));
		address(&ours, ends[i][0], 7000);
		address(&theirs, ends[i][1], 40000);
		ch = channel(&ours);
		make(&a, &ch);
		d = (struct cor_datagram){ .theirs = theirs.addr, .data = big, .len = len };
		give(&a, &d);
		p.fd = a.task;
		assert_int_equal(poll(&p, 1, 5000), 1);
		assert_int_equal(recv(a.task, got, sizeof(got), MSG_DONTWAIT), len);
		assert_memory_equal(got, big, len);
		assert_int_equal(sendto(a.task, big, len, 0, (struct sockaddr *)&theirs.ss, theirs.len),
				 len);
		assert_int_equal(cor_pump_end_udp.read(&a.e, &a.out, 65536), len + 1);
		assert_int_equal(cor_datagram_first(&a.out, &d, &bytes), len + 1);
		assert_memory_equal(d.data, big, len);
		unmake(&a);
	}
}

/* A socket that has bound a port alone: of both families; what a datagram was sent to is
 * seen, and an address that the task chooses is told. */
static void bound_to_a_port(void **state)
{
	struct address ours, v4, v6, other, theirs, theirs6, sources[2];
	Cor__Names__PumpChannel ch;
	_cleanup_free_ uint8_t *bytes = NULL;
	ProtobufCBinaryData list[2];
	struct in6_pktinfo info = { 0 };
	char control[CMSG_SPACE(sizeof(info))] = { 0 };
	struct msghdr m = { 0 };
	struct cmsghdr *h;
	struct cor_datagram d;
	struct away a;

	address(&ours, "::", 7000);
	address(&sources[0], "192.0.2.1", 0);
	address(&sources[1], "2001:db8::1", 0);
	address(&other, "2001:db8::99", 7000);
	address(&theirs, "::ffff:198.51.100.7", 40000);
	address(&v4, "198.51.100.7", 40000);
	address(&v6, "2001:db8::1", 7000);
	address(&theirs6, "2001:db8:1::2", 40000);
	ch = channel(&ours);
	list[0] = sources[0].bytes;
	list[1] = sources[1].bytes;
	ch.n_sources = 2;
	ch.sources = list;
	make(&a, &ch);
	d = datagram(NULL, &v4, "four");
	give(&a, &d);
	assert_got(a.task, &theirs, "four");
	send_to(a.task, &theirs, "back");
	assert_sent(&a, &v4, "back");
	d = datagram(&other, &theirs6, "six");
	give(&a, &d);
	assert_got(a.task, &theirs6, "six");
	send_to(a.task, &theirs6, "the kernel's choice");
	assert_int_equal(cor_pump_end_udp.read(&a.e, &a.out, 65536), 20);
	assert_int_equal(cor_datagram_first(&a.out, &d, &bytes), 20);
	assert_int_equal(d.ours.family, 0);
	cor_pump_queue_drop(&a.out, a.out.end);
	free(take_ptr(bytes));
	/* and one that the task chooses, whatever it is */
	info.ipi6_addr = ((struct sockaddr_in6 *)&other.ss)->sin6_addr;
	m = (struct msghdr){ .msg_name = &theirs6.ss, .msg_namelen = theirs6.len,
			     .msg_iov = &(struct iovec){ (void *)"x", 1 }, .msg_iovlen = 1,
			     .msg_control = control, .msg_controllen = sizeof(control) };
	h = CMSG_FIRSTHDR(&m);
	*h = (struct cmsghdr){ .cmsg_level = IPPROTO_IPV6, .cmsg_type = IPV6_PKTINFO,
			       .cmsg_len = CMSG_LEN(sizeof(info)) };
	memcpy(CMSG_DATA(h), &info, sizeof(info));
	assert_int_equal(sendmsg(a.task, &m, 0), 1);
	assert_int_equal(cor_pump_end_udp.read(&a.e, &a.out, 65536), 2);
	assert_int_equal(cor_datagram_first(&a.out, &d, &bytes), 2);
	assert_addr(&d.ours, &other);
	unmake(&a);
}

/* Nobody was there: the task is told as it would have been. */
static void refused(void **state)
{
	for (unsigned i = 0; i < ARRAY_SIZE(ends); i++) {
		struct pollfd p = { .events = POLLERR };
		struct address ours, theirs;
		Cor__Names__PumpChannel ch;
		struct cor_datagram d;
		struct away a;
		char c;

		address(&ours, ends[i][0], 7000);
		address(&theirs, ends[i][1], 53);
		ch = channel(&ours);
		make(&a, &ch);
		assert_return_code(connect(a.task, (struct sockaddr *)&theirs.ss, theirs.len), errno);
		assert_int_equal(send(a.task, "x", 1, 0), 1);
		assert_sent(&a, &theirs, "x");
		d = datagram(NULL, &theirs, "");
		d.refused = true;
		give(&a, &d);
		p.fd = a.task;
		assert_int_equal(poll(&p, 1, 5000), 1);
		assert_int_equal(recv(a.task, &c, 1, MSG_DONTWAIT), -1);
		assert_int_equal(errno, ECONNREFUSED);
		unmake(&a);
	}
}

static enum cor_pump_peer peer_told(struct away *a)
{
	_cleanup_free_ uint8_t *bytes = NULL;
	struct cor_datagram d = { 0 };

	assert_true(cor_pump_end_udp.read(&a->e, &a->out, 65536) > 0);
	assert_true(cor_datagram_first(&a->out, &d, &bytes) > 0);
	cor_pump_queue_drop(&a->out, a->out.end);
	return d.peer;
}

/* Home's socket is to be connected as the task's is. */
static void connected_anew(void **state)
{
	struct sockaddr none = { .sa_family = AF_UNSPEC };
	struct address ours, first, second;
	Cor__Names__PumpChannel ch;
	struct away a;

	address(&ours, "192.0.2.1", 7000);
	address(&first, "198.51.100.7", 53);
	address(&second, "198.51.100.8", 53);
	ch = channel(&ours);
	ch.peer_address = first.bytes;
	make(&a, &ch);
	memset(&ch.peer_address, 0, sizeof(ch.peer_address));
	assert_int_equal(cor_file_bytes(&ch.peer_address, &first.ss, first.len), 0);
	assert_return_code(connect(a.task, (struct sockaddr *)&first.ss, first.len), errno);
	assert_int_equal(send(a.task, "x", 1, 0), 1);
	assert_int_equal(peer_told(&a), COR_PUMP_PEER_AS_BEFORE);
	/* this one is not connected to whom it sends something */
	send_to(a.task, &second, "x");
	assert_int_equal(peer_told(&a), COR_PUMP_PEER_AS_BEFORE);
	assert_return_code(connect(a.task, (struct sockaddr *)&second.ss, second.len), errno);
	assert_int_equal(send(a.task, "x", 1, 0), 1);
	assert_int_equal(peer_told(&a), COR_PUMP_PEER_NEW);
	assert_int_equal(send(a.task, "x", 1, 0), 1);
	assert_int_equal(peer_told(&a), COR_PUMP_PEER_AS_BEFORE);
	assert_int_equal(cor_pump_end_udp.describe(&a.e, &ch), 0);
	assert_memory_equal(ch.peer_address.data, &second.ss, second.len);
	assert_return_code(connect(a.task, &none, sizeof(none)), errno);
	send_to(a.task, &first, "x");
	assert_int_equal(peer_told(&a), COR_PUMP_PEER_NONE);
	assert_int_equal(cor_pump_end_udp.describe(&a.e, &ch), 0);
	assert_int_equal(ch.peer_address.len, 0);
	unmake(&a);
}

/* A datagram that the kernel cuts up into several (udp(7)). */
static void segments(void **state)
{
	struct address ours, theirs;
	Cor__Names__PumpChannel ch;
	struct away a;
	int size = 4;

	address(&ours, "192.0.2.1", 7000);
	address(&theirs, "198.51.100.7", 53);
	ch = channel(&ours);
	make(&a, &ch);
	if (setsockopt(a.task, IPPROTO_UDP, 103, &size, sizeof(size)) < 0)
		skip();
	send_to(a.task, &theirs, "onceagain!");
	assert_sent(&a, &theirs, "once");
	assert_sent(&a, &theirs, "agai");
	assert_sent(&a, &theirs, "n!");
	unmake(&a);
}

/* That the task has closed it shows, when all that it has sent was taken. */
static void closed(void **state)
{
	struct address ours, theirs;
	Cor__Names__PumpChannel ch;
	struct cor_pump_queue q;
	struct cor_datagram d;
	struct away a;

	address(&ours, "192.0.2.1", 7000);
	address(&theirs, "198.51.100.7", 53);
	ch = channel(&ours);
	make(&a, &ch);
	assert_false(cor_pump_end_udp.tick(&a.e, &a.out));
	assert_true(cor_pump_end_udp.identity(&a.e) != 0);
	assert_int_equal(cor_pump_end_udp.read(&a.e, &a.out, 65536), -EAGAIN);
	send_to(a.task, &theirs, "the last");
	cor_closep(&a.task);
	a.task = -1;
	assert_true(cor_pump_end_udp.tick(&a.e, &a.out));
	assert_int_equal(cor_pump_end_udp.identity(&a.e), 0);
	assert_sent(&a, &theirs, "the last");
	assert_int_equal(cor_pump_end_udp.read(&a.e, &a.out, 65536), -EPROTO);
	cor_pump_queue_init(&q, 0);
	d = datagram(NULL, &theirs, "late");
	assert_true(cor_datagram_queue(&q, &d) > 0);
	assert_int_equal(cor_pump_end_udp.write(&a.e, &q), -EPIPE);
	cor_pump_queue_clear(&q);
	unmake(&a);
}

/* ---- the home end ------------------------------------------------------------------------------ */

static int bound(struct address *a, const char *text)
{
	int fd;

	address(a, text, 0);
	fd = socket(a->ss.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	assert_return_code(fd, errno);
	assert_return_code(bind(fd, (struct sockaddr *)&a->ss, a->len), errno);
	a->len = sizeof(a->ss);
	assert_return_code(getsockname(fd, (struct sockaddr *)&a->ss, &a->len), errno);
	a->bytes.len = a->len;
	assert_int_equal(cor_inet_addr_of(&a->bytes, &a->addr), 0);
	return fd;
}

static void at_home(struct cor_pump_end *e, const Cor__Names__PumpChannel *ch, int fd)
{
	*e = (struct cor_pump_end)COR_PUMP_END_INIT;
	assert_int_equal(cor_pump_end_home_udp.take(e, ch, fd, &err), 0);
	e->ops = &cor_pump_end_home_udp;
}

static void assert_read(struct cor_pump_end *e, struct cor_datagram *d, const char *text)
{
	_cleanup_free_ uint8_t *bytes = NULL;
	struct pollfd p = { .fd = e->fd, .events = POLLIN };
	struct cor_pump_queue q;

	cor_pump_queue_init(&q, 0);
	assert_int_equal(poll(&p, 1, 5000), 1);
	assert_int_equal(e->ops->read(e, &q, 65536), strlen(text) + 1);
	assert_int_equal(cor_datagram_first(&q, d, &bytes), strlen(text) + 1);
	assert_memory_equal(d->data, text, d->len);
	cor_pump_queue_clear(&q);
}

static void write_home(struct cor_pump_end *e, const struct cor_datagram *d)
{
	struct cor_pump_queue q;

	cor_pump_queue_init(&q, 0);
	assert_true(cor_datagram_queue(&q, d) > 0);
	assert_int_equal(e->ops->write(e, &q), d->len + 1);
	cor_pump_queue_clear(&q);
}

/* What waited in the task's socket is not lost. */
static void home_takes_what_waited(void **state)
{
	struct address ours, theirs;
	int task = bound(&ours, "127.0.0.1"), peer = bound(&theirs, "127.0.0.1");
	Cor__Names__PumpChannel ch = channel(&ours);
	struct cor_pump_queue q;
	struct cor_datagram d;
	struct cor_pump_end e;

	send_to(peer, &ours, "one");
	send_to(peer, &ours, "");
	at_home(&e, &ch, task);
	assert_read(&e, &d, "one");
	assert_addr(&d.theirs, &theirs);
	assert_int_equal(d.ours.family, 0);
	assert_read(&e, &d, "");
	cor_pump_queue_init(&q, 0);
	assert_int_equal(e.ops->read(&e, &q, 65536), -EAGAIN);
	d = datagram(NULL, &theirs, "an answer");
	write_home(&e, &d);
	assert_got(peer, &ours, "an answer");
	cor_pump_end_free(&e);
	close(task);
	close(peer);
}

/* It tells which of its addresses was meant, and answers from that one. */
static void home_with_a_port_alone(void **state)
{
	struct address ours, theirs, source, name;
	int task = bound(&ours, "0.0.0.0"), peer = bound(&theirs, "127.0.0.1");
	Cor__Names__PumpChannel ch = channel(&ours);
	struct cor_datagram d;
	struct cor_pump_end e;

	address(&source, "192.0.2.1", 0);
	ch.n_sources = 1;
	ch.sources = &source.bytes;
	at_home(&e, &ch, task);
	address(&name, "127.0.0.9", ntohs(ours.addr.port));
	send_to(peer, &name, "hello");
	assert_read(&e, &d, "hello");
	address(&source, "127.0.0.9", 0);
	assert_addr(&d.ours, &source);
	d = datagram(&name, &theirs, "from there");
	write_home(&e, &d);
	assert_got(peer, &name, "from there");
	cor_pump_end_free(&e);
	close(task);
	close(peer);
}

static void home_is_refused(void **state)
{
	struct address ours, theirs;
	int task = bound(&ours, "127.0.0.1"), peer = bound(&theirs, "127.0.0.1");
	Cor__Names__PumpChannel ch = channel(&ours);
	struct cor_datagram d;
	struct cor_pump_end e;

	close(peer);
	assert_return_code(connect(task, (struct sockaddr *)&theirs.ss, theirs.len), errno);
	ch.peer_address = theirs.bytes;
	at_home(&e, &ch, task);
	d = datagram(NULL, &theirs, "anybody?");
	write_home(&e, &d);
	assert_read(&e, &d, "");
	assert_true(d.refused);
	assert_addr(&d.theirs, &theirs);
	/* the same where sending is what hears of it */
	d = datagram(NULL, &theirs, "anybody?");
	write_home(&e, &d);
	write_home(&e, &d);
	assert_read(&e, &d, "");
	assert_true(d.refused);
	cor_pump_end_free(&e);
	close(task);
}

static void home_follows_the_task(void **state)
{
	struct address ours, first, second;
	int one = bound(&first, "127.0.0.1"), other = bound(&second, "127.0.0.1");
	int task = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	Cor__Names__PumpChannel ch;
	struct cor_datagram d;
	struct cor_pump_end e;

	/* its port is the kernel's choice */
	assert_return_code(connect(task, (struct sockaddr *)&first.ss, first.len), errno);
	memset(&ours, 0, sizeof(ours));
	ours.len = sizeof(ours.ss);
	assert_return_code(getsockname(task, (struct sockaddr *)&ours.ss, &ours.len), errno);
	ours.bytes = (ProtobufCBinaryData){ ours.len, (uint8_t *)&ours.ss };
	ch = channel(&ours);
	ch.peer_address = first.bytes;
	at_home(&e, &ch, task);
	d = datagram(NULL, &second, "hello");
	d.peer = COR_PUMP_PEER_NEW;
	write_home(&e, &d);
	assert_got(other, &ours, "hello");
	send_to(other, &ours, "heard");
	assert_read(&e, &d, "heard");
	assert_addr(&d.theirs, &second);
	d = datagram(NULL, &first, "and you?");
	d.peer = COR_PUMP_PEER_NONE;
	write_home(&e, &d);
	assert_got(one, &ours, "and you?");
	send_to(one, &ours, "me too");
	assert_read(&e, &d, "me too");
	cor_pump_end_free(&e);
	close(task);
	close(one);
	close(other);
}

/* A channel that came from another host and makes no sense. */
static void wrong_channels(void **state)
{
	struct cor_pump_end e = COR_PUMP_END_INIT;
	Cor__Names__PumpChannel ch;
	struct address ours;
	int task = -1;

	address(&ours, "0.0.0.0", 7000);
	ch = channel(&ours);
	assert_int_equal(cor_pump_end_udp.make(&e, &ch, &task, &err), -EPROTO);
	address(&ours, "192.0.2.1", 7000);
	ch = channel(&ours);
	ch.peer_address = (ProtobufCBinaryData){ 3, (uint8_t *)"abc" };
	assert_int_equal(cor_pump_end_udp.make(&e, &ch, &task, &err), -EPROTO);
	ch = channel(&ours);
	ch.address.len = 2;
	assert_int_equal(cor_pump_end_home_udp.take(&e, &ch, 0, &err), -EPROTO);
	assert_null(e.udp);
	assert_int_equal(task, -1);
}

/* ---- groups ------------------------------------------------------------------------------------- */

static void groups_are_found(void **state)
{
	static const char text[] = "Idx\tDevice    : Count Querier\tGroup    Users Timer\tReporter\n"
		"1\tlo        :     1      V3\n\t\t\t\t010000E0     1 0:00000000\t\t0\n"
		"17\teth0      :     2      V3\n\t\t\t\tFB0000E0     1 0:00000000\t\t0\n";
	static const char text6[] =
		"4    eth0            ff0200000000000000000000000000fb     1 00000004 0\n";
	struct cor_multicast_group g = { 0 };
	char name[INET6_ADDRSTRLEN];
	const char *at = text;

	assert_int_equal(cor_parse_multicast(&at, &g), 1);
	assert_int_equal(g.ifindex, 1);
	assert_int_equal(cor_parse_multicast(&at, &g), 1);
	assert_int_equal(g.ifindex, 17);
	cor_multicast_print(&g, name);
	assert_string_equal(name, "224.0.0.251");
	assert_int_equal(cor_parse_multicast(&at, &g), 0);
	at = text6;
	assert_int_equal(cor_parse_multicast(&at, &g), 1);
	assert_int_equal(g.ifindex, 4);
	cor_multicast_print(&g, name);
	assert_string_equal(name, "ff02::fb");
	assert_int_equal(cor_parse_multicast(&at, &g), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(packets_read_as_they_were_written),
		cmocka_unit_test(no_packets),
		cmocka_unit_test(datagrams_keep_their_bounds),
		cmocka_unit_test(parts_of_datagrams_wait),
		cmocka_unit_test(wrong_payloads),
		cmocka_unit_test_setup(both_ways, set_up),
		cmocka_unit_test_setup(large_ones, set_up),
		cmocka_unit_test_setup(bound_to_a_port, set_up),
		cmocka_unit_test_setup(refused, set_up),
		cmocka_unit_test_setup(connected_anew, set_up),
		cmocka_unit_test_setup(segments, set_up),
		cmocka_unit_test_setup(closed, set_up),
		cmocka_unit_test_setup(home_takes_what_waited, set_up),
		cmocka_unit_test_setup(home_with_a_port_alone, set_up),
		cmocka_unit_test_setup(home_is_refused, set_up),
		cmocka_unit_test_setup(home_follows_the_task, set_up),
		cmocka_unit_test_setup(wrong_channels, set_up),
		cmocka_unit_test(groups_are_found),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
