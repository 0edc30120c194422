/* The TCP backend; see tcp.h. */
#include "libcor/transport/tcp.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>

#include "libcor/base/cleanup.h"
#include "libcor/base/error.h"
#include "libcor/base/io.h"
#include "libcor/transport/transport.h"

#define BACKLOG SOMAXCONN

/* A silent peer is given up after KEEP_IDLE + KEEP_COUNT * KEEP_INTERVAL
 * seconds, and one that does not acknowledge after as long. */
#define KEEP_IDLE     10
#define KEEP_INTERVAL 5
#define KEEP_COUNT    4
#define UNACKED_MS    ((KEEP_IDLE + KEEP_COUNT * KEEP_INTERVAL) * 1000)

static void set_option(int fd, int level, int name, int value)
{
	/* tuning only: a socket that refuses works as well, only slower */
	(void)setsockopt(fd, level, name, &value, sizeof(value));
}

static bool port_is_valid(const char *port)
{
	unsigned long value = 0;
	size_t len = strlen(port);

	if (len == 0 || len >= COR_PORT_TEXT)
		return false;
	for (size_t i = 0; i < len; i++) {
		if (port[i] < '0' || port[i] > '9')
			return false;
		value = value * 10 + (unsigned long)(port[i] - '0');
	}
	return value <= 65535;
}

int cor_addrport_parse(const char *text, struct cor_addrport *out, struct cor_error *err)
{
	const char *host = text, *colon, *end;
	struct cor_addrport a = { 0 };

	if (text[0] == '[') {
		host = text + 1;
		end = strchr(host, ']');
		if (!end || end == host || end[1] != ':')
			return cor_fail(err, -EINVAL, "\"%.100s\" is not [IPv6]:PORT", text);
		colon = end + 1;
	} else {
		end = colon = strchr(text, ':');
		if (!colon)
			return cor_fail(err, -EINVAL, "\"%.100s\" has no port: ADDR:PORT is expected", text);
	}
	if (!port_is_valid(colon + 1))
		return cor_fail(err, -EINVAL, "\"%.100s\" does not end in a port number", text);
	/* "[[f]:2" would be the host "[f", which cannot be written any other way */
	if (memchr(host, '[', (size_t)(end - host)) || memchr(host, ']', (size_t)(end - host)))
		return cor_fail(err, -EINVAL, "\"%.100s\" has a bracket in its host", text);
	if ((size_t)(end - host) >= sizeof(a.host))
		return cor_fail(err, -EINVAL, "\"%.100s...\" is too long for a host", text);
	if (!(end - host == 1 && *host == '*'))
		memcpy(a.host, host, (size_t)(end - host));
	strcpy(a.port, colon + 1);
	*out = a;
	return 0;
}

static bool is_loopback(const struct sockaddr *sa)
{
	if (sa->sa_family == AF_INET) {
		const struct sockaddr_in *in = (const struct sockaddr_in *)sa;

		return ntohl(in->sin_addr.s_addr) >> 24 == 127;
	}
	if (sa->sa_family == AF_INET6)
		return IN6_IS_ADDR_LOOPBACK(&((const struct sockaddr_in6 *)sa)->sin6_addr);
	return false;
}

int cor_addrport_is_loopback(const char *addrport)
{
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE }, *list;
	struct cor_addrport parts;
	int all = 1;

	if (cor_addrport_parse(addrport, &parts, NULL) < 0)
		return -EINVAL;
	if (getaddrinfo(parts.host[0] ? parts.host : NULL, parts.port, &hints, &list) != 0)
		return -EADDRNOTAVAIL;
	for (struct addrinfo *a = list; a; a = a->ai_next)
		all &= is_loopback(a->ai_addr);
	freeaddrinfo(list);
	return all;
}

static int resolve(const char *addrport, int flags, struct addrinfo **list, struct cor_error *err)
{
	struct addrinfo hints = {
		.ai_family = AF_UNSPEC,
		.ai_socktype = SOCK_STREAM,
		.ai_flags = flags | AI_NUMERICSERV,
	};
	struct cor_addrport a;
	int r = cor_addrport_parse(addrport, &a, err);

	if (r < 0)
		return r;
	r = getaddrinfo(a.host[0] ? a.host : NULL, a.port, &hints, list);
	if (r == EAI_SYSTEM)
		return cor_fail_errno(err, "resolving %s", addrport);
	if (r == EAI_MEMORY)
		return cor_fail(err, -ENOMEM, "resolving %s: out of memory", addrport);
	if (r)
		return cor_fail(err, -ENXIO, "resolving %s: %s", addrport, gai_strerror(r));
	return 0;
}

static void freeaddrinfop(struct addrinfo **list)
{
	if (*list)
		freeaddrinfo(*list);
}

static int bound_port(int fd)
{
	struct sockaddr_storage ss;
	socklen_t len = sizeof(ss);

	if (getsockname(fd, (struct sockaddr *)&ss, &len) < 0)
		return -errno;
	if (ss.ss_family == AF_INET6)
		return ntohs(((struct sockaddr_in6 *)&ss)->sin6_port);
	return ntohs(((struct sockaddr_in *)&ss)->sin_port);
}

static int listen_one(const struct addrinfo *ai)
{
	_cleanup_close_ int fd = socket(ai->ai_family, ai->ai_socktype | SOCK_CLOEXEC | SOCK_NONBLOCK,
					ai->ai_protocol);

	if (fd < 0)
		return -errno;
	set_option(fd, SOL_SOCKET, SO_REUSEADDR, 1);
	if (bind(fd, ai->ai_addr, ai->ai_addrlen) < 0 || listen(fd, BACKLOG) < 0)
		return -errno;
	return take_fd(&fd);
}

int cor_tcp_listen(const char *addrport, int *fd, struct cor_error *err)
{
	_cleanup_(freeaddrinfop) struct addrinfo *list = NULL;
	_cleanup_close_ int sock = -1;
	int r = resolve(addrport, AI_PASSIVE, &list, err);

	if (r < 0)
		return r;
	r = -ENXIO;
	for (const struct addrinfo *ai = list; ai && sock < 0; ai = ai->ai_next)
		sock = r = listen_one(ai);
	if (sock < 0)
		return cor_fail_code(err, r, "listening on %s", addrport);
	r = bound_port(sock);
	if (r < 0)
		return cor_fail_code(err, r, "reading the address of %s", addrport);
	*fd = take_fd(&sock);
	return r;
}

static void keep_alive(int fd)
{
	set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
	set_option(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
	set_option(fd, IPPROTO_TCP, TCP_KEEPIDLE, KEEP_IDLE);
	set_option(fd, IPPROTO_TCP, TCP_KEEPINTVL, KEEP_INTERVAL);
	set_option(fd, IPPROTO_TCP, TCP_KEEPCNT, KEEP_COUNT);
	set_option(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, UNACKED_MS);
}

void cor_tcp_give_up_after(int fd, unsigned seconds)
{
	int third = (int)COR_MAX(seconds / 3, 1u);

	set_option(fd, IPPROTO_TCP, TCP_KEEPIDLE, third);
	set_option(fd, IPPROTO_TCP, TCP_KEEPINTVL, third);
	set_option(fd, IPPROTO_TCP, TCP_KEEPCNT, 2);
	set_option(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, (int)COR_MIN(seconds, 2000000u) * 1000);
}

/* accept(2) hands on errors of the connection that came: those are not the listener's. */
static bool accept_error_is_transient(int e)
{
	return e == ECONNABORTED || e == EPROTO || e == ENETDOWN || e == ENOPROTOOPT ||
	       e == EHOSTDOWN || e == ENONET || e == EHOSTUNREACH || e == ENETUNREACH ||
	       e == EOPNOTSUPP || e == EINTR;
}

int cor_tcp_accept(int listener, struct cor_error *err)
{
	int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	if (fd < 0) {
		if (errno == EAGAIN || accept_error_is_transient(errno))
			return -EAGAIN;
		return cor_fail_errno(err, "accepting a connection on descriptor %d", listener);
	}
	keep_alive(fd);
	return fd;
}

/* Waits until the non-blocking connect has ended; 0 or -errno. */
static int await_connected(int fd, uint64_t deadline)
{
	for (;;) {
		struct pollfd p = { .fd = fd, .events = POLLOUT };
		uint64_t now = cor_now_ns();
		uint64_t left_ms = now < deadline ? (deadline - now + 999999) / 1000000 : 0;
		int r = poll(&p, 1, (int)COR_MIN(left_ms, (uint64_t)INT32_MAX));
		socklen_t len = sizeof(r);

		if (r < 0 && errno == EINTR)
			continue;
		if (r < 0)
			return -errno;
		if (r == 0)
			return -ETIMEDOUT;
		if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &r, &len) < 0)
			return -errno;
		return -r;
	}
}

static int connect_one(const struct addrinfo *ai, uint64_t deadline)
{
	_cleanup_close_ int fd = socket(ai->ai_family, ai->ai_socktype | SOCK_CLOEXEC | SOCK_NONBLOCK,
					ai->ai_protocol);
	int r;

	if (fd < 0)
		return -errno;
	if (connect(fd, ai->ai_addr, ai->ai_addrlen) < 0) {
		if (errno != EINPROGRESS)
			return -errno;
		r = await_connected(fd, deadline);
		if (r < 0)
			return r;
	}
	keep_alive(fd);
	r = fcntl(fd, F_GETFL);
	if (r < 0 || fcntl(fd, F_SETFL, r & ~O_NONBLOCK) < 0)
		return -errno;
	return take_fd(&fd);
}

int cor_tcp_connect(const char *addrport, unsigned timeout_ms, int *fd, struct cor_error *err)
{
	_cleanup_(freeaddrinfop) struct addrinfo *list = NULL;
	uint64_t deadline;
	int r = resolve(addrport, 0, &list, err);

	if (r < 0)
		return r;
	deadline = cor_now_ns() + timeout_ms * UINT64_C(1000000);
	r = -ENXIO;
	for (const struct addrinfo *ai = list; ai; ai = ai->ai_next) {
		r = connect_one(ai, deadline);
		if (r >= 0) {
			*fd = r;
			return 0;
		}
	}
	return cor_fail_code(err, r, "connecting to %s", addrport);
}

void cor_tcp_tune(int fd, enum cor_connection_kind kind)
{
	set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
	if (kind == COR_CONN_DEMAND) {
		/* a lone request must not wait for a delayed acknowledgement of the last */
		set_option(fd, IPPROTO_TCP, TCP_QUICKACK, 1);
		set_option(fd, SOL_SOCKET, SO_PRIORITY, 6);
	}
	/* A bulk lane keeps the kernel's buffer autotuning: a size set by hand is
	 * bounded by net.core.[rw]mem_max, far below what autotuning reaches. */
}

const struct cor_transport_ops cor_transport_tcp = {
	.name = "tcp",
	.caps = COR_TRANSPORT_STREAM,
	.listen = cor_tcp_listen,
	.accept = cor_tcp_accept,
	.connect = cor_tcp_connect,
	.tune = cor_tcp_tune,
};

const struct cor_transport_ops cor_transport_tls = {
	.name = "tls",
	.caps = COR_TRANSPORT_STREAM | COR_TRANSPORT_ENCRYPTED,
	.listen = cor_tcp_listen,
	.accept = cor_tcp_accept,
	.connect = cor_tcp_connect,
	.tune = cor_tcp_tune,
};
