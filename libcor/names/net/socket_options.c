/* Socket options as a table of {level, name}: those that differ from a new
 * socket's are carried (socket(7), ip(7), ipv6(7), tcp(7), udp(7)). */
#include <errno.h>
#include <fcntl.h>
#include <linux/in6.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <unistd.h>

#include "libcor/base/cleanup.h"
#include "libcor/base/compat.h"
#include "libcor/base/error.h"
#include "libcor/names/net/socket.h"
#include "libcor/names/net/socket_options.h"

enum { AFTER = 0, BEFORE = 1 };  /* before bind(2) */

static const struct option {
	int level, name;
	int when;
	const char *label;
} options[] = {
#define OPTION(level, name, when) { level, name, when, #name }
	OPTION(SOL_SOCKET, SO_REUSEADDR, BEFORE),
	OPTION(SOL_SOCKET, SO_REUSEPORT, BEFORE),
	OPTION(SOL_SOCKET, SO_BINDTODEVICE, BEFORE),
	OPTION(SOL_SOCKET, SO_MARK, BEFORE),
	OPTION(SOL_SOCKET, SO_KEEPALIVE, AFTER),
	OPTION(SOL_SOCKET, SO_BROADCAST, AFTER),
	OPTION(SOL_SOCKET, SO_OOBINLINE, AFTER),
	OPTION(SOL_SOCKET, SO_LINGER, AFTER),
	OPTION(SOL_SOCKET, SO_SNDBUF, AFTER),
	OPTION(SOL_SOCKET, SO_RCVBUF, AFTER),
	OPTION(SOL_SOCKET, SO_RCVLOWAT, AFTER),
	OPTION(SOL_SOCKET, SO_RCVTIMEO, AFTER),
	OPTION(SOL_SOCKET, SO_SNDTIMEO, AFTER),
	OPTION(SOL_SOCKET, SO_PASSCRED, AFTER),
	OPTION(SOL_SOCKET, SO_PASSSEC, AFTER),
	OPTION(SOL_SOCKET, SO_DONTROUTE, AFTER),
	OPTION(SOL_SOCKET, SO_TIMESTAMP, AFTER),
	OPTION(SOL_SOCKET, SO_TIMESTAMPNS, AFTER),
	OPTION(SOL_SOCKET, SO_BUSY_POLL, AFTER),
	OPTION(SOL_SOCKET, SO_NO_CHECK, AFTER),
	OPTION(SOL_SOCKET, SO_RXQ_OVFL, AFTER),
	OPTION(SOL_SOCKET, SO_PEEK_OFF, AFTER),
	OPTION(SOL_SOCKET, SO_ZEROCOPY, AFTER),
	OPTION(SOL_SOCKET, SO_MAX_PACING_RATE, AFTER),
	OPTION(IPPROTO_IP, IP_FREEBIND, BEFORE),
	OPTION(IPPROTO_IP, IP_TRANSPARENT, BEFORE),
	OPTION(IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, BEFORE),
	OPTION(IPPROTO_IP, IP_LOCAL_PORT_RANGE, BEFORE),
	OPTION(IPPROTO_IP, IP_TOS, AFTER),
	OPTION(SOL_SOCKET, SO_PRIORITY, AFTER),         /* which IP_TOS changes */
	OPTION(IPPROTO_IP, IP_TTL, AFTER),
	OPTION(IPPROTO_IP, IP_MINTTL, AFTER),
	OPTION(IPPROTO_IP, IP_PKTINFO, AFTER),
	OPTION(IPPROTO_IP, IP_RECVTTL, AFTER),
	OPTION(IPPROTO_IP, IP_RECVTOS, AFTER),
	OPTION(IPPROTO_IP, IP_RECVERR, AFTER),
	OPTION(IPPROTO_IP, IP_RECVORIGDSTADDR, AFTER),
	OPTION(IPPROTO_IP, IP_MTU_DISCOVER, AFTER),
	OPTION(IPPROTO_IP, IP_MULTICAST_TTL, AFTER),
	OPTION(IPPROTO_IP, IP_MULTICAST_LOOP, AFTER),
	OPTION(IPPROTO_IPV6, IPV6_V6ONLY, BEFORE),
	OPTION(IPPROTO_IPV6, IPV6_FREEBIND, BEFORE),
	OPTION(IPPROTO_IPV6, IPV6_TRANSPARENT, BEFORE),
	OPTION(IPPROTO_IPV6, IPV6_TCLASS, AFTER),
	OPTION(IPPROTO_IPV6, IPV6_UNICAST_HOPS, AFTER),
	OPTION(IPPROTO_IPV6, IPV6_MULTICAST_HOPS, AFTER),
	OPTION(IPPROTO_IPV6, IPV6_MULTICAST_LOOP, AFTER),
	OPTION(IPPROTO_IPV6, IPV6_RECVPKTINFO, AFTER),
	OPTION(IPPROTO_IPV6, IPV6_RECVHOPLIMIT, AFTER),
	OPTION(IPPROTO_IPV6, IPV6_RECVTCLASS, AFTER),
	OPTION(IPPROTO_IPV6, IPV6_RECVERR, AFTER),
	OPTION(IPPROTO_IPV6, IPV6_MTU_DISCOVER, AFTER),
	OPTION(IPPROTO_IPV6, IPV6_DONTFRAG, AFTER),
	OPTION(IPPROTO_IPV6, IPV6_MINHOPCOUNT, AFTER),
	OPTION(IPPROTO_TCP, TCP_NODELAY, AFTER),
	OPTION(IPPROTO_TCP, TCP_CORK, AFTER),
	OPTION(IPPROTO_TCP, TCP_KEEPIDLE, AFTER),
	OPTION(IPPROTO_TCP, TCP_KEEPINTVL, AFTER),
	OPTION(IPPROTO_TCP, TCP_KEEPCNT, AFTER),
	OPTION(IPPROTO_TCP, TCP_SYNCNT, AFTER),
	OPTION(IPPROTO_TCP, TCP_LINGER2, AFTER),
	OPTION(IPPROTO_TCP, TCP_DEFER_ACCEPT, AFTER),
	OPTION(IPPROTO_TCP, TCP_WINDOW_CLAMP, AFTER),
	OPTION(IPPROTO_TCP, TCP_MAXSEG, AFTER),
	OPTION(IPPROTO_TCP, TCP_USER_TIMEOUT, AFTER),
	OPTION(IPPROTO_TCP, TCP_NOTSENT_LOWAT, AFTER),
	OPTION(IPPROTO_TCP, TCP_SAVE_SYN, AFTER),
	OPTION(IPPROTO_TCP, TCP_FASTOPEN, AFTER),
	OPTION(IPPROTO_TCP, TCP_FASTOPEN_CONNECT, AFTER),
	OPTION(IPPROTO_TCP, TCP_FASTOPEN_NO_COOKIE, AFTER),
	OPTION(IPPROTO_TCP, TCP_CONGESTION, AFTER),
	OPTION(IPPROTO_TCP, TCP_THIN_LINEAR_TIMEOUTS, AFTER),
	OPTION(IPPROTO_TCP, TCP_INQ, AFTER),
	OPTION(IPPROTO_UDP, UDP_SEGMENT, AFTER),
	OPTION(IPPROTO_UDP, UDP_GRO, AFTER),
#undef OPTION
};

#define VALUE_MAX COR_SOCKET_OPTION_MAX
_Static_assert(ARRAY_SIZE(options) <= COR_SOCKET_OPTIONS, "room for usual values");

/* What of a connection is carried with its state, or has none of its own. */
static bool is_of_connection(const struct option *o)
{
	static const struct { int level, name; } others[] = {
		{ SOL_SOCKET, SO_SNDBUF }, { SOL_SOCKET, SO_RCVBUF },
		{ IPPROTO_TCP, TCP_MAXSEG }, { IPPROTO_TCP, TCP_WINDOW_CLAMP },
		{ IPPROTO_TCP, TCP_DEFER_ACCEPT }, { IPPROTO_TCP, TCP_SAVE_SYN },
		{ IPPROTO_TCP, TCP_FASTOPEN }, { IPPROTO_TCP, TCP_FASTOPEN_CONNECT },
		{ IPPROTO_TCP, TCP_FASTOPEN_NO_COOKIE }, { SOL_SOCKET, SO_BROADCAST },
		{ SOL_SOCKET, SO_NO_CHECK }, { SOL_SOCKET, SO_RXQ_OVFL },
		{ IPPROTO_IP, IP_MULTICAST_TTL }, { IPPROTO_IP, IP_MULTICAST_LOOP },
		{ IPPROTO_IPV6, IPV6_MULTICAST_HOPS }, { IPPROTO_IPV6, IPV6_MULTICAST_LOOP },
	};

	for (unsigned i = 0; i < ARRAY_SIZE(others); i++)
		if (others[i].level == o->level && others[i].name == o->name)
			return true;
	return false;
}

/* Which levels a socket has. */
static bool applies(const Cor__Names__OpenFile *file, const struct option *o)
{
	if (file->kind == COR__NAMES__FILE_KIND__TCP && is_of_connection(o))
		return false;
	/* one that stays: of the sizes it is file_forward.c that knows */
	if (file->kind == COR__NAMES__FILE_KIND__PUMPED && file->domain != AF_UNIX &&
	    file->type == SOCK_STREAM && !file->listening && is_of_connection(o) &&
	    (o->level != SOL_SOCKET || (o->name != SO_SNDBUF && o->name != SO_RCVBUF)))
		return false;
	switch (o->level) {
	case IPPROTO_IP:
		return file->domain == AF_INET || file->domain == AF_INET6;
	case IPPROTO_IPV6:
		return file->domain == AF_INET6;
	case IPPROTO_TCP:
		return file->domain != AF_UNIX && file->type == SOCK_STREAM;
	case IPPROTO_UDP:
		return file->domain != AF_UNIX && file->type == SOCK_DGRAM;
	default:
		return true;
	}
}

/* Its length; 0: this kernel or this socket has no such option. */
static socklen_t get(int fd, const struct option *o, unsigned char value[VALUE_MAX])
{
	socklen_t len = VALUE_MAX;

	memset(value, 0, VALUE_MAX);
	return getsockopt(fd, o->level, o->name, value, &len) < 0 ? 0 : len;
}

static int add(Cor__Names__OpenFile *out, const struct option *o, const void *value, size_t len)
{
	Cor__Names__SocketOption *option = COR_FILE_APPEND(out->options, out->n_options,
							   Cor__Names__SocketOption,
							   cor__names__socket_option__init);

	if (!option)
		return -ENOMEM;
	option->level = o->level;
	option->name = o->name;
	return cor_file_bytes(&option->value, value, len);
}

static const struct cor_socket_usual *usual_of(const struct cor_file_capture *c,
					       const Cor__Names__OpenFile *out)
{
	for (const struct cor_socket_usual *u = c->usual; u; u = u->next)
		if (u->domain == out->domain && u->type == out->type && u->protocol == out->protocol)
			return u;
	return NULL;
}

int cor_socket_options_usual(struct cor_file_capture *c, const struct cor_file_seen *seen,
			     const Cor__Names__OpenFile *out, struct cor_error *err)
{
	_cleanup_close_ int fresh = -1;
	struct cor_socket_usual *u;

	if (usual_of(c, out))
		return 0;
	fresh = cor_socket_make(out);
	if (fresh < 0)
		return cor_fail_code(err, fresh, "descriptor %d: a socket to compare with", seen->fd);
	u = calloc(1, sizeof(*u));
	if (!u)
		return -ENOMEM;
	*u = (struct cor_socket_usual){ .next = c->usual, .domain = out->domain, .type = out->type,
					.protocol = out->protocol };
	c->usual = u;
	for (unsigned i = 0; i < ARRAY_SIZE(options); i++)
		u->len[i] = get(fresh, &options[i], u->value[i]);
	return 0;
}

int cor_socket_options_capture(struct cor_file_capture *c, const struct cor_file_seen *seen,
			       Cor__Names__OpenFile *out, struct cor_error *err)
{
	const struct cor_socket_usual *usual = usual_of(c, out);

	if (!usual)
		return cor_fail(err, -EINVAL, "descriptor %d: nothing to compare with", seen->fd);
	for (unsigned i = 0; i < ARRAY_SIZE(options); i++) {
		unsigned char value[VALUE_MAX];
		socklen_t len;
		int rc;

		/* what a new socket has not, this one has not either */
		if (!usual->len[i] || !applies(out, &options[i]))
			continue;
		len = get(seen->dup, &options[i], value);
		if (len == 0 || (len == usual->len[i] && memcmp(value, usual->value[i], len) == 0))
			continue;
		rc = add(out, &options[i], value, len);
		if (rc < 0)
			return rc;
	}
	return 0;
}

void cor_socket_usual_free(struct cor_file_capture *c)
{
	while (c->usual) {
		struct cor_socket_usual *u = c->usual;

		c->usual = u->next;
		free(u);
	}
}

static const struct option *find(const Cor__Names__SocketOption *o)
{
	for (unsigned i = 0; i < ARRAY_SIZE(options); i++)
		if (options[i].level == o->level && options[i].name == o->name)
			return &options[i];
	return NULL;
}

/* The kernel doubles buffer sizes when they are set; beyond its limit it takes
 * them by the privileged option only. */
static int set_buffer(int fd, const Cor__Names__SocketOption *o)
{
	int size, force = o->name == SO_SNDBUF ? SO_SNDBUFFORCE : SO_RCVBUFFORCE;

	if (o->value.len != sizeof(size))
		return -EPROTO;
	memcpy(&size, o->value.data, sizeof(size));
	size /= 2;
	if (setsockopt(fd, SOL_SOCKET, force, &size, sizeof(size)) == 0 ||
	    setsockopt(fd, SOL_SOCKET, o->name, &size, sizeof(size)) == 0)
		return 0;
	return -errno;
}

static int set(int fd, const Cor__Names__SocketOption *o)
{
	if (o->level == SOL_SOCKET && (o->name == SO_SNDBUF || o->name == SO_RCVBUF))
		return set_buffer(fd, o);
	return setsockopt(fd, o->level, o->name, o->value.data, (socklen_t)o->value.len) < 0 ?
	       -errno : 0;
}

int cor_socket_options_set(const Cor__Names__OpenFile *file, int fd, bool before_bind, int number,
			   struct cor_error *err)
{
	for (size_t i = 0; i < file->n_options; i++) {
		const Cor__Names__SocketOption *o = file->options[i];
		const struct option *known = find(o);
		int rc;

		if (!known)
			return cor_fail(err, -EOPNOTSUPP, "descriptor %d: socket option %d of level %d "
					"is not known here", number, o->name, o->level);
		if ((known->when == BEFORE) != before_bind)
			continue;
		rc = set(fd, o);
		if (rc < 0)
			return cor_fail_code(err, rc, "descriptor %d: socket option %s", number,
					     known->label);
	}
	return 0;
}
