/* clients [-p FILE] PROTOCOL ADDRESS PORT N RATE [FROM]
 *
 * N clients of a server that speaks redis, memcached or echo (what it gets comes
 * back): each has one connection and sends RATE requests a second, writing a value and
 * reading it again, and checks every answer. A client whose connection ends connects
 * again, and that is counted. FROM: the address they come from.
 *
 * On SIGUSR2 it says how things were since the last time, as one JSON object on a line:
 * requests, failed, reconnects, gap_us (the longest that a client waited for an
 * answer), silence_us (the longest during which none came at all). */
#include "check.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#define VALUE 100
#define ROOM  1024

struct protocol;

struct client {
	int      fd;
	unsigned number;
	uint64_t round;
	bool     waits;
	uint64_t sent_ns, next_ns;
	char     want[ROOM], got[ROOM];
	size_t   nwant, ngot;
};

struct protocol {
	const char *name;
	/* Both give a length: of the request, of the answer that is wanted. */
	size_t (*request)(const struct client *c, char *buf);
	size_t (*answer)(const struct client *c, char *buf);
};

static struct figures {
	uint64_t requests, failed, reconnects, gap_ns, silence_ns;
} g_now, g_all;

static struct sockaddr_storage g_to, g_from;
static socklen_t g_to_len, g_from_len;
static char g_host[64];         /* in the names of keys: clients of several hosts */
static int g_epoll;
static const struct protocol *g_protocol;
static volatile sig_atomic_t g_asked;

/* ---- what is said ------------------------------------------------------------------- */

/* The value of the pair of rounds: printable, without a line's end. */
static void value_of(const struct client *c, char value[VALUE + 1])
{
	for (unsigned i = 0; i < VALUE; i++)
		value[i] = (char)('a' + check_mix(c->round / 2 * 1000003 + c->number + i * 131) % 26);
	value[VALUE] = 0;
}

static bool writes(const struct client *c)
{
	return c->round % 2 == 0;
}

static size_t redis_request(const struct client *c, char *buf)
{
	char value[VALUE + 1];

	value_of(c, value);
	return (size_t)(writes(c) ? sprintf(buf, "SET client:%s:%u %s\r\n", g_host, c->number, value) :
			sprintf(buf, "GET client:%s:%u\r\n", g_host, c->number));
}

static size_t redis_answer(const struct client *c, char *buf)
{
	char value[VALUE + 1];

	value_of(c, value);
	return (size_t)(writes(c) ? sprintf(buf, "+OK\r\n") :
			sprintf(buf, "$%d\r\n%s\r\n", VALUE, value));
}

static size_t memcached_request(const struct client *c, char *buf)
{
	char value[VALUE + 1];

	value_of(c, value);
	return (size_t)(writes(c) ?
			sprintf(buf, "set client:%s:%u 0 0 %d\r\n%s\r\n", g_host, c->number, VALUE,
				value) :
			sprintf(buf, "get client:%s:%u\r\n", g_host, c->number));
}

static size_t memcached_answer(const struct client *c, char *buf)
{
	char value[VALUE + 1];

	value_of(c, value);
	return (size_t)(writes(c) ? sprintf(buf, "STORED\r\n") :
			sprintf(buf, "VALUE client:%s:%u 0 %d\r\n%s\r\nEND\r\n", g_host, c->number, VALUE,
				value));
}

static size_t echo_request(const struct client *c, char *buf)
{
	char value[VALUE + 1];

	value_of(c, value);
	return (size_t)sprintf(buf, "%u %s\n", c->number, value);
}

static const struct protocol protocols[] = {
	{ "redis", redis_request, redis_answer },
	{ "memcached", memcached_request, memcached_answer },
	{ "echo", echo_request, echo_request },
};

/* ---- connections --------------------------------------------------------------------- */

static void open_connection(struct client *c)
{
	struct epoll_event e = { .events = EPOLLIN, .data.ptr = c };
	struct timeval patience = { .tv_sec = 10 };
	int one = 1;

	c->fd = socket(g_to.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	need(c->fd >= 0);
	setsockopt(c->fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
	if (g_from_len)
		need(!bind(c->fd, (struct sockaddr *)&g_from, g_from_len));
	if (connect(c->fd, (struct sockaddr *)&g_to, g_to_len) < 0) {
		check_fail("client %u: connecting: %s", c->number, strerror(errno));
		close(c->fd);
		c->fd = -1;
		return;
	}
	setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	need(!epoll_ctl(g_epoll, EPOLL_CTL_ADD, c->fd, &e));
}

/* A request that got no answer, or a wrong one. The next pair begins anew. */
static void failed(struct client *c, const char *what)
{
	check_fail("client %u, round %llu: %s", c->number, (unsigned long long)c->round, what);
	g_now.failed++;
	g_now.reconnects++;
	close(c->fd);
	open_connection(c);
	c->waits = false;
	c->round = (c->round / 2 + 1) * 2;
	c->next_ns = check_now_ns(CLOCK_MONOTONIC) + 100000000;
}

static void ask(struct client *c, uint64_t now)
{
	char buf[ROOM];
	size_t len = g_protocol->request(c, buf);

	if (c->fd < 0)
		return;
	c->nwant = g_protocol->answer(c, c->want);
	c->ngot = 0;
	c->sent_ns = now;
	c->waits = true;
	if (send(c->fd, buf, len, MSG_NOSIGNAL) != (ssize_t)len)
		failed(c, strerror(errno));
}

static uint64_t g_last_answer;

static void hear(struct client *c, uint64_t every_ns)
{
	ssize_t n = recv(c->fd, c->got + c->ngot, sizeof(c->got) - c->ngot, MSG_DONTWAIT);
	uint64_t now;

	if (n < 0 && errno == EAGAIN)
		return;
	if (n <= 0 || !c->waits) {
		failed(c, n < 0 ? strerror(errno) : n ? "an answer to no question" : "it has ended");
		return;
	}
	c->ngot += (size_t)n;
	if (c->ngot < c->nwant && memcmp(c->got, c->want, c->ngot) == 0)
		return;
	if (c->ngot != c->nwant || memcmp(c->got, c->want, c->nwant)) {
		failed(c, "a wrong answer");
		return;
	}
	now = check_now_ns(CLOCK_MONOTONIC);
	if (now - c->sent_ns > g_now.gap_ns)
		g_now.gap_ns = now - c->sent_ns;
	if (g_last_answer && now - g_last_answer > g_now.silence_ns)
		g_now.silence_ns = now - g_last_answer;
	g_last_answer = now;
	g_now.requests++;
	c->waits = false;
	c->round++;
	c->next_ns += every_ns;
	if (c->next_ns < now)
		c->next_ns = now;
}

/* ---- the whole ------------------------------------------------------------------------- */

static void add_up(void)
{
	g_all.requests += g_now.requests;
	g_all.failed += g_now.failed;
	g_all.reconnects += g_now.reconnects;
	if (g_now.gap_ns > g_all.gap_ns)
		g_all.gap_ns = g_now.gap_ns;
	if (g_now.silence_ns > g_all.silence_ns)
		g_all.silence_ns = g_now.silence_ns;
	g_now = (struct figures){ 0 };
}

static void tell(void)
{
	printf("{\"requests\":%llu,\"failed\":%llu,\"reconnects\":%llu,\"gap_us\":%llu,"
	       "\"silence_us\":%llu}\n", (unsigned long long)g_now.requests,
	       (unsigned long long)g_now.failed, (unsigned long long)g_now.reconnects,
	       (unsigned long long)g_now.gap_ns / 1000, (unsigned long long)g_now.silence_ns / 1000);
	fflush(stdout);
	add_up();
}

static void on_asked(int sig)
{
	g_asked = 1;
}

static socklen_t parse(const char *text, uint16_t port, struct sockaddr_storage *ss)
{
	struct sockaddr_in6 *sin6 = (struct sockaddr_in6 *)ss;
	struct sockaddr_in *sin = (struct sockaddr_in *)ss;

	memset(ss, 0, sizeof(*ss));
	if (inet_pton(AF_INET, text, &sin->sin_addr) == 1) {
		sin->sin_family = AF_INET;
		sin->sin_port = htons(port);
		return sizeof(*sin);
	}
	need(inet_pton(AF_INET6, text, &sin6->sin6_addr) == 1);
	sin6->sin6_family = AF_INET6;
	sin6->sin6_port = htons(port);
	return sizeof(*sin6);
}

/* Asks what is due. The time until the next, in milliseconds. */
static int ask_all(struct client *clients, unsigned n)
{
	uint64_t now = check_now_ns(CLOCK_MONOTONIC), next = now + 20000000;

	for (unsigned i = 0; i < n; i++) {
		if (clients[i].waits)
			continue;
		if (clients[i].next_ns <= now)
			ask(&clients[i], now);
		else if (clients[i].next_ns < next)
			next = clients[i].next_ns;
	}
	return (int)((next - now + 999999) / 1000000);
}

static void run(struct client *clients, unsigned n, uint64_t every_ns)
{
	uint64_t beat_ns = 0;

	while (!check_stopping()) {
		struct epoll_event events[64];
		int got = epoll_wait(g_epoll, events, 64, ask_all(clients, n));

		for (int i = 0; i < got; i++)
			hear(events[i].data.ptr, every_ns);
		if (g_asked) {
			g_asked = 0;
			tell();
		}
		if (check_now_ns(CLOCK_MONOTONIC) - beat_ns > 20000000 && g_now.requests) {
			check_beat();
			beat_ns = check_now_ns(CLOCK_MONOTONIC);
		}
	}
}

int main(int argc, char **argv)
{
	struct sigaction sa = { .sa_handler = on_asked, .sa_flags = SA_RESTART };
	int first = check_init(argc, argv, "clients");
	struct client *clients;
	uint64_t every_ns, start;
	unsigned n;

	if (argc - first < 5) {
		fprintf(stderr, "clients PROTOCOL ADDRESS PORT N RATE [FROM]\n");
		return 2;
	}
	for (unsigned i = 0; i < sizeof(protocols) / sizeof(protocols[0]); i++)
		if (!strcmp(protocols[i].name, argv[first]))
			g_protocol = &protocols[i];
	need(g_protocol);
	g_to_len = parse(argv[first + 1], (uint16_t)atoi(argv[first + 2]), &g_to);
	n = (unsigned)atoi(argv[first + 3]);
	every_ns = 1000000000u / (unsigned)atoi(argv[first + 4]);
	if (argc - first > 5)
		g_from_len = parse(argv[first + 5], 0, &g_from);
	sigaction(SIGUSR2, &sa, NULL);
	gethostname(g_host, sizeof(g_host) - 1);
	g_epoll = epoll_create1(EPOLL_CLOEXEC);
	clients = calloc(n, sizeof(*clients));
	need(clients && g_epoll >= 0);
	for (unsigned i = 0; i < n; i++) {
		clients[i].number = i;
		open_connection(&clients[i]);
	}
	start = check_now_ns(CLOCK_MONOTONIC);
	for (unsigned i = 0; i < n; i++)
		clients[i].next_ns = start + every_ns * i / n;
	run(clients, n, every_ns);
	add_up();
	check_done("%u clients, %llu requests, %llu failed, %llu reconnects, longest gap %llu us", n,
		   (unsigned long long)g_all.requests, (unsigned long long)g_all.failed,
		   (unsigned long long)g_all.reconnects, (unsigned long long)g_all.gap_ns / 1000);
}
