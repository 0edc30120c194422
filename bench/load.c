/* The clients: one thread around epoll, one question on its way for each. */
#include "bench/load.h"

#include <arpa/inet.h>
#include <err.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "libcor/base/cleanup.h"
#include "libcor/base/io.h"

#define ROOM      (LOAD_VALUE + 128)
#define EVENTS    64
#define TURN_MS   10
#define SERVER_NS (10 * UINT64_C(1000000000))

struct client {
	int    fd;              /* -1: to connect again at retry_ns */
	bool   sets;
	unsigned long key;
	size_t got;
	uint64_t retry_ns;
	char   answer[ROOM];
};

struct load {
	struct sockaddr_in to;
	unsigned n, reconnects;
	unsigned long keys;
	uint64_t seed;
	int epoll;
	uint64_t started, marked, last_answer, silent_since, silence_ns;
	bool wrong;
	unsigned answers[LOAD_BUCKETS];
	struct client clients[];
};

struct load *load_new(const char *address, unsigned port, unsigned n, unsigned long keys)
{
	struct load *l = calloc(1, sizeof(*l) + n * sizeof(l->clients[0]));

	if (!l)
		err(1, "the clients");
	l->to = (struct sockaddr_in){ .sin_family = AF_INET, .sin_port = htons((uint16_t)port) };
	inet_pton(AF_INET, address, &l->to.sin_addr);
	l->n = n;
	l->keys = keys;
	l->seed = 88172645463325252ull;
	l->epoll = epoll_create1(EPOLL_CLOEXEC);
	if (l->epoll < 0)
		err(1, "epoll");
	for (unsigned i = 0; i < n; i++)
		l->clients[i].fd = -1;
	return l;
}

void load_free(struct load *l)
{
	for (unsigned i = 0; i < l->n; i++)
		if (l->clients[i].fd >= 0)
			close(l->clients[i].fd);
	close(l->epoll);
	free(l);
}

/* --- one client -------------------------------------------------------------------- */

/* What DEBUG POPULATE gave the key, and what is written again: its name, then zeros. */
static size_t value_name(char *out, size_t size, unsigned long key)
{
	return (size_t)snprintf(out, size, "value:%lu", key);
}

static int ask(struct load *l, struct client *c)
{
	char q[ROOM] = "";
	size_t n;

	l->seed ^= l->seed << 13;
	l->seed ^= l->seed >> 7;
	l->seed ^= l->seed << 17;
	c->key = l->seed % l->keys;
	c->sets = l->seed >> 63;
	c->got = 0;
	if (c->sets) {
		char name[32];

		n = (size_t)snprintf(name, sizeof(name), "key:%lu", c->key);
		n = (size_t)snprintf(q, sizeof(q), "*3\r\n$3\r\nSET\r\n$%zu\r\n%s\r\n$%u\r\n", n, name,
				     LOAD_VALUE);
		value_name(q + n, sizeof(q) - n, c->key);
		n += LOAD_VALUE;
		memcpy(q + n, "\r\n", 2);
		n += 2;
	} else {
		n = (size_t)snprintf(q, sizeof(q), "GET key:%lu\r\n", c->key);
	}
	return cor_write_full(c->fd, q, n);
}

static void lost(struct load *l, struct client *c, uint64_t now)
{
	if (c->fd >= 0) {
		close(c->fd);
		l->reconnects++;
	}
	c->fd = -1;
	c->retry_ns = now + LOAD_BUCKET_NS;
}

static void connect_client(struct load *l, struct client *c, uint64_t now)
{
	struct epoll_event e = { .events = EPOLLIN, .data.ptr = c };
	const struct timeval patience = { .tv_usec = 200000 };
	int one = 1;

	c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (c->fd < 0)
		err(1, "socket");
	setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	setsockopt(c->fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
	if (connect(c->fd, (struct sockaddr *)&l->to, sizeof(l->to))) {
		close(c->fd);
		c->fd = -1;
		c->retry_ns = now + LOAD_BUCKET_NS;
		return;
	}
	epoll_ctl(l->epoll, EPOLL_CTL_ADD, c->fd, &e);
	if (ask(l, c))
		lost(l, c, now);
}

static bool is_right(const struct client *c)
{
	char head[48];
	size_t n = (size_t)snprintf(head, sizeof(head), "$%u\r\n", LOAD_VALUE);

	if (c->sets)
		return !memcmp(c->answer, "+OK\r\n", 5);
	n += value_name(head + n, sizeof(head) - n, c->key);
	return !memcmp(c->answer, head, n) && !c->answer[n] && c->got == LOAD_VALUE + 9;
}

static void answered(struct load *l, uint64_t now)
{
	uint64_t bucket = (now - l->started) / LOAD_BUCKET_NS;

	if (bucket < LOAD_BUCKETS)
		l->answers[bucket]++;
	if (l->marked && now - l->last_answer > l->silence_ns) {
		l->silence_ns = now - l->last_answer;
		l->silent_since = l->last_answer;
	}
	l->last_answer = now;
}

static void readable(struct load *l, struct client *c)
{
	size_t want = c->sets ? 5 : LOAD_VALUE + 9;     /* $1024 CR LF value CR LF */
	ssize_t n = recv(c->fd, c->answer + c->got, sizeof(c->answer) - c->got, MSG_DONTWAIT);
	uint64_t now = cor_now_ns();

	if (n < 0 && errno == EAGAIN)
		return;
	if (n <= 0) {
		lost(l, c, now);
		return;
	}
	c->got += (size_t)n;
	if (c->got < want && c->answer[0] != '-')
		return;
	if (!is_right(c)) {
		warnx("key:%lu: a wrong answer: %.40s", c->key, c->answer);
		l->wrong = true;
	}
	answered(l, now);
	if (ask(l, c))
		lost(l, c, now);
}

/* --- all of them ------------------------------------------------------------------- */

int load_run(struct load *l, uint64_t ns)
{
	uint64_t now = cor_now_ns(), end = now + ns;
	struct epoll_event e[EVENTS];

	if (!l->started)
		l->started = l->last_answer = now;
	while (now < end && !l->wrong) {
		int n;

		for (unsigned i = 0; i < l->n; i++)
			if (l->clients[i].fd < 0 && now >= l->clients[i].retry_ns)
				connect_client(l, &l->clients[i], now);
		n = epoll_wait(l->epoll, e, EVENTS, TURN_MS);
		for (int i = 0; i < n; i++)
			readable(l, e[i].data.ptr);
		now = cor_now_ns();
	}
	return l->wrong ? -EBADMSG : 0;
}

int load_fill(struct load *l)
{
	uint64_t end = cor_now_ns() + SERVER_NS;
	_cleanup_close_ int fd = -1;
	char line[80];
	int n;

	do {
		cor_closep(&fd);
		fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
		if (!connect(fd, (struct sockaddr *)&l->to, sizeof(l->to)))
			break;
		if (cor_now_ns() > end) {
			warnx("redis-server does not listen");
			return -ETIMEDOUT;
		}
		usleep(10000);
	} while (true);
	n = snprintf(line, sizeof(line), "DEBUG POPULATE %lu key %u\r\n", l->keys, LOAD_VALUE);
	if (cor_write_full(fd, line, (size_t)n) || cor_read_full(fd, line, 5) || memcmp(line, "+OK\r\n", 5)) {
		warnx("redis-server was not filled: it is to know DEBUG POPULATE");
		return -EPROTO;
	}
	return 0;
}

void load_mark(struct load *l)
{
	l->marked = cor_now_ns();
	l->silence_ns = 0;
}

void load_figures(const struct load *l, struct load_figures *out)
{
	uint64_t whole = (cor_now_ns() - l->started) / LOAD_BUCKET_NS;

	*out = (struct load_figures){
		.started = l->started, .answers = l->answers,
		.nbuckets = (unsigned)COR_MIN(whole, (uint64_t)LOAD_BUCKETS),
		.reconnects = l->reconnects,
		.silent_since = l->silent_since, .silence_ns = l->silence_ns,
	};
}
