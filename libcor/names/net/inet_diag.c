/* See net/inet_diag.h. */
#include "libcor/names/net/inet_diag.h"

#include <errno.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/sock_diag.h>
#include <linux/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "libcor/base/cleanup.h"
#include "libcor/base/error.h"

static void copy_addr(struct cor_inet_addr *to, uint8_t family, const __be32 from[4], __be16 port)
{
	static const uint32_t mapped[3] = { 0, 0, 0xffff0000 };     /* little-endian */
	bool within = family == AF_INET6 && memcmp(from, mapped, sizeof(mapped)) == 0;

	*to = (struct cor_inet_addr){ .family = within ? AF_INET : family, .port = port };
	to->len = to->family == AF_INET ? 4 : 16;
	memcpy(to->bytes, within ? from + 3 : from, to->len);
}

static void parse(const struct nlmsghdr *h, struct cor_inet_socket *s)
{
	const struct inet_diag_msg *m = NLMSG_DATA(h);
	const struct rtattr *a = (const struct rtattr *)(m + 1);
	int left = (int)(h->nlmsg_len - NLMSG_LENGTH(sizeof(*m)));
	struct tcp_info info;

	*s = (struct cor_inet_socket){
		.state = m->idiag_state, .ino = m->idiag_inode, .to_send = m->idiag_wqueue,
		.waiting = m->idiag_rqueue,
	};
	copy_addr(&s->ours, m->idiag_family, m->id.idiag_src, m->id.idiag_sport);
	copy_addr(&s->theirs, m->idiag_family, m->id.idiag_dst, m->id.idiag_dport);
	for (; RTA_OK(a, left); a = RTA_NEXT(a, left)) {
		if (a->rta_type == INET_DIAG_MD5SIG)
			s->signed_ = true;
		if (a->rta_type != INET_DIAG_INFO)
			continue;
		memset(&info, 0, sizeof(info));
		memcpy(&info, RTA_DATA(a), COR_MIN(sizeof(info), (size_t)RTA_PAYLOAD(a)));
		s->silent_ms = info.tcpi_last_ack_recv;
		s->received = info.tcpi_bytes_received;
	}
}

/* One datagram of answers. 1: the walk is over; 0: more to come; -errno. */
static int handle(const uint8_t *buf, ssize_t len, cor_inet_visit visit, void *arg)
{
	int left = (int)len;

	for (const struct nlmsghdr *h = (const struct nlmsghdr *)buf; NLMSG_OK(h, (unsigned)left);
	     h = NLMSG_NEXT(h, left)) {
		struct cor_inet_socket s;

		if (h->nlmsg_type == NLMSG_DONE)
			return 1;
		if (h->nlmsg_type == NLMSG_ERROR)
			return ((const struct nlmsgerr *)NLMSG_DATA(h))->error ?: 1;
		if (h->nlmsg_type != SOCK_DIAG_BY_FAMILY)
			continue;
		parse(h, &s);
		if (visit(arg, &s))
			return 1;
	}
	return 0;
}

struct request {
	struct nlmsghdr h;
	struct inet_diag_req_v2 r;
};

static int ask(const struct request *request, cor_inet_visit visit, void *arg)
{
	_cleanup_close_ int sock = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);
	_Alignas(struct nlmsghdr) uint8_t buf[32768];

	if (sock < 0 || send(sock, request, sizeof(*request), 0) < 0)
		return -errno;
	for (;;) {
		ssize_t n = recv(sock, buf, sizeof(buf), 0);
		int r;

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		r = handle(buf, n, visit, arg);
		if (r)
			return r < 0 ? r : 0;
	}
}

static struct request request_of(uint8_t family, uint8_t protocol, uint32_t states)
{
	return (struct request){
		.h = { .nlmsg_len = sizeof(struct request), .nlmsg_type = SOCK_DIAG_BY_FAMILY,
		       .nlmsg_flags = NLM_F_REQUEST },
		.r = { .sdiag_family = family, .sdiag_protocol = protocol,
		       .idiag_states = states, .idiag_ext = 1 << (INET_DIAG_INFO - 1) },
	};
}

static int dump(uint8_t family, uint8_t protocol, uint32_t states, cor_inet_visit visit,
		void *arg)
{
	struct request request = request_of(family, protocol, states);

	request.h.nlmsg_flags |= NLM_F_DUMP;
	return ask(&request, visit, arg);
}

static bool take(void *arg, const struct cor_inet_socket *s)
{
	*(struct cor_inet_socket *)arg = *s;
	return true;
}

int cor_inet_diag_connection(const struct cor_inet_addr *ours, const struct cor_inet_addr *theirs,
			     struct cor_inet_socket *out)
{
	struct request request = request_of((uint8_t)ours->family, IPPROTO_TCP, ~0u);
	struct inet_diag_sockid *id = &request.r.id;
	struct cor_inet_socket found = { 0 };
	int r;

	if (ours->family != theirs->family)
		return -ENOENT;
	id->idiag_cookie[0] = id->idiag_cookie[1] = INET_DIAG_NOCOOKIE;
	id->idiag_sport = ours->port;
	id->idiag_dport = theirs->port;
	memcpy(id->idiag_src, ours->bytes, ours->len);
	memcpy(id->idiag_dst, theirs->bytes, theirs->len);
	r = ask(&request, take, &found);
	if (r < 0)
		return r;
	/* a listening socket is what else would answer there */
	if (found.ours.port != ours->port || found.theirs.port != theirs->port)
		return -ENOENT;
	*out = found;
	return 0;
}

int cor_inet_diag(uint32_t states, cor_inet_visit visit, void *arg, struct cor_error *err)
{
	int r = dump(AF_INET, IPPROTO_TCP, states, visit, arg);

	if (r == 0)
		r = dump(AF_INET6, IPPROTO_TCP, states, visit, arg);
	return r < 0 ? cor_fail_code(err, r, "asking for this host's TCP connections") : 0;
}

int cor_inet_diag_udp(cor_inet_visit visit, void *arg)
{
	int r = dump(AF_INET, IPPROTO_UDP, ~0u, visit, arg);

	return r < 0 ? r : dump(AF_INET6, IPPROTO_UDP, ~0u, visit, arg);
}
