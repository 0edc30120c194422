/* See pump/net.h. That every address is local is what a route of type "local" to
 * everywhere says; IPv6 wants IP_FREEBIND besides. */
#include "libcor/names/pump/net.h"

#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "libcor/base/cleanup.h"
#include "libcor/base/error.h"
#include "libcor/names/net/rtnetlink.h"
#include "libcor/names/net/socket.h"

#define LOOPBACK 1              /* its index, in each namespace */

struct cor_pump_net {
	int host, own;          /* namespaces */
};

/* ---- the namespace ---------------------------------------------------------------------- */

static int loopback_up(int rtnl)
{
	struct cor_rtnl_request r;

	cor_rtnl_begin(&r, RTM_NEWLINK, NLM_F_ACK, sizeof(r.link));
	r.link = (struct ifinfomsg){ .ifi_index = LOOPBACK, .ifi_flags = IFF_UP, .ifi_change = IFF_UP };
	return cor_rtnl_talk(rtnl, &r, NULL, NULL);
}

static int all_local(int rtnl, unsigned char family)
{
	uint32_t index = LOOPBACK;
	struct cor_rtnl_request r;

	cor_rtnl_begin(&r, RTM_NEWROUTE, NLM_F_ACK | NLM_F_CREATE, sizeof(r.route));
	r.route = (struct rtmsg){ .rtm_family = family, .rtm_table = RT_TABLE_LOCAL,
				  .rtm_protocol = RTPROT_STATIC, .rtm_scope = RT_SCOPE_HOST,
				  .rtm_type = RTN_LOCAL };
	if (!cor_rtnl_add(&r, RTA_OIF, &index, sizeof(index)))
		return -ENOBUFS;
	return cor_rtnl_talk(rtnl, &r, NULL, NULL);
}

static int set_up_all_local(void *arg)
{
	_cleanup_close_ int rtnl = cor_rtnl_open();
	int r = rtnl < 0 ? rtnl : loopback_up(rtnl);

	if (r == 0)
		r = all_local(rtnl, AF_INET);
	/* a kernel without IPv6 has no such connection either */
	if (r == 0)
		all_local(rtnl, AF_INET6);
	return r;
}

static int open_namespace(void)
{
	int fd = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

int cor_pump_net_make(struct cor_pump_net **out, int (*set_up)(void *arg), void *arg)
{
	struct cor_pump_net *n = malloc(sizeof(*n));
	int r;

	if (!n)
		return -ENOMEM;
	*n = (struct cor_pump_net){ .host = open_namespace(), .own = -1 };
	r = n->host < 0 ? n->host : unshare(CLONE_NEWNET) < 0 ? -errno : 0;
	if (r == 0) {
		n->own = open_namespace();
		r = n->own < 0 ? n->own : set_up(arg);
		cor_pump_net_leave(n);
	}
	if (r < 0)
		cor_pump_net_free(n);
	else
		*out = n;
	return r;
}

int cor_pump_net_new(struct cor_pump_net **out, struct cor_error *err)
{
	int r = cor_pump_net_make(out, set_up_all_local, NULL);

	return r < 0 ? cor_fail_code(err, r, "a network namespace for connections that stay at home") :
	       0;
}

void cor_pump_net_free(struct cor_pump_net *n)
{
	if (!n)
		return;
	cor_closep(&n->host);
	cor_closep(&n->own);
	free(n);
}

int cor_pump_net_enter(const struct cor_pump_net *n)
{
	return setns(n->own, CLONE_NEWNET) < 0 ? -errno : 0;
}

void cor_pump_net_leave(const struct cor_pump_net *n)
{
	/* elsewhere we would reach nobody any more */
	if (setns(n->host, CLONE_NEWNET) < 0)
		abort();
}

/* ---- sockets in it ------------------------------------------------------------------------ */

static int set(int fd, int level, int name, int value)
{
	return setsockopt(fd, level, name, &value, sizeof(value)) < 0 ? -errno : 0;
}

static int new_socket(const struct cor_pump_net *n, int domain, int type, int protocol)
{
	int r = cor_pump_net_enter(n), fd;

	if (r < 0)
		return r;
	fd = socket(domain, type | SOCK_CLOEXEC, protocol);
	r = fd < 0 ? -errno : fd;
	cor_pump_net_leave(n);
	return r;
}

/* Bound, whoever else has that port: what matters is the pair of addresses. */
static int bind_among_others(int fd, const ProtobufCBinaryData *address)
{
	struct sockaddr_storage ss;
	socklen_t len;
	int r = cor_socket_sockaddr(address, &ss, &len);

	if (r == 0)
		r = set(fd, IPPROTO_IP, IP_FREEBIND, 1);
	if (r == 0)
		r = set(fd, IPPROTO_TCP, TCP_REPAIR, 1);        /* SK_FORCE_REUSE */
	if (r == 0 && bind(fd, (struct sockaddr *)&ss, len) < 0)
		r = -errno;
	return r < 0 ? r : set(fd, IPPROTO_TCP, TCP_REPAIR, -1);
}

int cor_pump_net_connect(const struct cor_pump_net *n, int domain,
			 const ProtobufCBinaryData *ours, const ProtobufCBinaryData *theirs)
{
	_cleanup_close_ int fd = new_socket(n, domain, SOCK_STREAM | SOCK_NONBLOCK, IPPROTO_TCP);
	struct sockaddr_storage ss;
	socklen_t len;
	int r = fd < 0 ? fd : bind_among_others(fd, theirs);

	if (r == 0)
		r = cor_socket_sockaddr(ours, &ss, &len);
	if (r == 0)
		r = set(fd, IPPROTO_TCP, TCP_NODELAY, 1);
	if (r == 0 && connect(fd, (struct sockaddr *)&ss, len) < 0 && errno != EINPROGRESS)
		r = -errno;
	return r < 0 ? r : take_fd(&fd);
}

/* To an address that nobody there need have. */
static int bind_freely(int fd, int domain, bool v6only, const ProtobufCBinaryData *ours)
{
	struct sockaddr_storage ss;
	socklen_t len;
	int r = cor_socket_sockaddr(ours, &ss, &len);

	if (r == 0 && domain == AF_INET6)
		r = set(fd, IPPROTO_IPV6, IPV6_V6ONLY, v6only);
	if (r == 0)
		r = set(fd, IPPROTO_IP, IP_FREEBIND, 1);
	if (r == 0 && bind(fd, (struct sockaddr *)&ss, len) < 0)
		r = -errno;
	return r == 0 ? set(fd, IPPROTO_IP, IP_FREEBIND, 0) : r;
}

int cor_pump_net_listen(const struct cor_pump_net *n, int domain, bool v6only,
			const ProtobufCBinaryData *ours, int backlog)
{
	_cleanup_close_ int fd = new_socket(n, domain, SOCK_STREAM, IPPROTO_TCP);
	int r = fd < 0 ? fd : set(fd, SOL_SOCKET, SO_REUSEADDR, 1);

	if (r == 0)
		r = bind_freely(fd, domain, v6only, ours);
	if (r == 0 && listen(fd, backlog) < 0)
		r = -errno;
	return r < 0 ? r : take_fd(&fd);
}

int cor_pump_net_pair(const struct cor_pump_net *n, int domain, const ProtobufCBinaryData *ours,
		      const ProtobufCBinaryData *theirs, int *task, int *fd)
{
	_cleanup_close_ int listener = cor_pump_net_listen(n, domain, false, ours, 1), peer = -1;
	int made;

	if (listener < 0)
		return listener;
	peer = cor_pump_net_connect(n, domain, ours, theirs);
	if (peer < 0)
		return peer;
	made = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	if (made < 0)
		return -errno;
	*task = made;
	*fd = take_fd(&peer);
	return 0;
}

int cor_pump_net_udp(const struct cor_pump_net *n, int domain, bool v6only,
		     const ProtobufCBinaryData *ours)
{
	_cleanup_close_ int fd = new_socket(n, domain, SOCK_DGRAM, IPPROTO_UDP);
	int r = fd < 0 ? fd : bind_freely(fd, domain, v6only, ours);

	return r < 0 ? r : take_fd(&fd);
}
