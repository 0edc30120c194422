/* See file_forward_udp.h. What stays of UDP:
 *
 *  - what is bound to an address that does not move along, whether it is connected or not;
 *  - what is bound to a port alone, unless some address moves along: its clients know it by
 *    one of this host's;
 *  - on the loopback what is connected to a socket that is not the task's.
 *
 * What has no port yet is made anew where the task goes. */
#include "libcor/base/compat.h"
#include "libcor/names/file_forward_udp.h"

#include <errno.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "libcor/base/cleanup.h"
#include "libcor/base/error.h"
#include "libcor/names/file_forward_common.h"
#include "libcor/names/net/departure.h"
#include "libcor/names/net/socket.h"
#include "libcor/names/net/udp_special.h"
#include "libcor/names/pump/datagram.h"
#include "libcor/names/pump/udp.h"

/* ---- which --------------------------------------------------------------------------------- */

struct search {
	const struct cor_file_capture *c;
	const struct cor_file_seen *seen;
	struct cor_inet_addr theirs;
	bool found, own;
};

/* Who gets what is sent to theirs? */
static bool is_peer(void *arg, const struct cor_inet_socket *socket)
{
	struct search *s = arg;

	if (socket->ours.port != s->theirs.port ||
	    (!cor_inet_addr_same(&socket->ours, &s->theirs) && !cor_inet_addr_is_any(&socket->ours)))
		return false;
	s->found = true;
	s->own |= cor_forward_is_own(s->c, s->seen, socket);
	return s->own;
}

/* Without anybody there it may as well be at the other host. */
static bool leads_to_others(struct search *s)
{
	return cor_forward_name(s->seen->dup, true, &s->theirs) &&
	       cor_inet_diag_udp(is_peer, s) == 0 && s->found && !s->own;
}

static bool is_multicast(const struct cor_inet_addr *a)
{
	return a->family == AF_INET ? (a->bytes[0] & 0xf0) == 0xe0 : a->bytes[0] == 0xff;
}

bool cor_forward_udp_stays(const struct cor_file_capture *c, const struct cor_file_seen *seen)
{
	struct search s = { .c = c, .seen = seen };
	struct cor_inet_addr ours;
	int before;

	if (!cor_forward_is_on(c, COR_MECHANISM_UDP) || !c->same_netns ||
	    !cor_forward_name(seen->dup, false, &ours) || ours.port == 0 ||
	    cor_forward_is_away(seen->dup))
		return false;
	before = cor_forward_before(c, seen);
	if (before >= 0)
		return before;
	if (cor_inet_addr_is_any(&ours))
		return !cor_departure_moves_some(c->departure);
	if (cor_inet_addr_is_loopback(&ours))
		return leads_to_others(&s);
	return !is_multicast(&ours) && !cor_departure_moves(c->departure, &ours);
}

/* ---- capture ---------------------------------------------------------------------------------- */

static int add_source(Cor__Names__PumpChannel *ch, const struct cor_inet_addr *a)
{
	ProtobufCBinaryData *more = realloc(ch->sources, (ch->n_sources + 1) * sizeof(*more));
	struct sockaddr_storage ss;
	socklen_t len;

	if (!more)
		return -ENOMEM;
	ch->sources = more;
	more[ch->n_sources] = (ProtobufCBinaryData){ 0 };
	cor_inet_addr_sockaddr(a, 0, &ss, &len);
	return cor_file_bytes(&more[ch->n_sources++], &ss, len);
}

/* An address of this host's, or one that is nobody's (RFC 5737, 3849). */
static void find_source(const struct ifaddrs *list, int family, struct cor_inet_addr *out)
{
	static const uint8_t nobodys[2][16] = { { 192, 0, 2, 1 },
						{ 0x20, 0x01, 0x0d, 0xb8, [15] = 1 } };
	size_t len = family == AF_INET ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6);

	*out = (struct cor_inet_addr){ .family = family, .len = family == AF_INET ? 4 : 16 };
	memcpy(out->bytes, nobodys[family == AF_INET6], out->len);
	for (const struct ifaddrs *i = list; i; i = i->ifa_next) {
		ProtobufCBinaryData name = { len, (uint8_t *)i->ifa_addr };
		struct cor_inet_addr a;

		if (!i->ifa_addr || i->ifa_addr->sa_family != family || !(i->ifa_flags & IFF_UP) ||
		    cor_inet_addr_of(&name, &a) < 0 || cor_inet_addr_is_loopback(&a) ||
		    cor_forward_is_of_a_link(&name))
			continue;
		*out = a;
		return;
	}
}

/* What a socket without an address of its own may be known by. */
static int add_sources(Cor__Names__PumpChannel *ch, int domain)
{
	struct cor_inet_addr v4, v6;
	struct ifaddrs *list = NULL;
	int r = 0;

	if (getifaddrs(&list) < 0)
		return -errno;
	find_source(list, AF_INET, &v4);
	find_source(list, AF_INET6, &v6);
	freeifaddrs(list);
	if (domain == AF_INET || !ch->v6only)
		r = add_source(ch, &v4);
	return r == 0 && domain == AF_INET6 ? add_source(ch, &v6) : r;
}

int cor_forward_udp_describe(const struct cor_file_seen *seen, Cor__Names__PumpChannel *ch)
{
	struct sockaddr_storage peer;
	struct cor_inet_addr ours;
	struct cor_socket kind;
	int v6only = 0, r = cor_socket_query(seen->dup, &kind);
	socklen_t len = sizeof(peer);

	if (r < 0)
		return r;
	if (getpeername(seen->dup, (struct sockaddr *)&peer, &len) == 0)
		r = cor_file_bytes(&ch->peer_address, &peer, len);
	len = sizeof(v6only);
	if (kind.domain == AF_INET6 &&
	    getsockopt(seen->dup, IPPROTO_IPV6, IPV6_V6ONLY, &v6only, &len) == 0)
		ch->v6only = v6only != 0;
	if (r == 0)
		r = cor_inet_addr_of(&ch->address, &ours);
	if (r == 0 && cor_inet_addr_is_any(&ours))
		r = add_sources(ch, kind.domain);
	ch->kind = COR__NAMES__PUMP_KIND__PUMP_UDP;
	ch->task_reads = ch->task_writes = true;
	ch->identity = seen->st.st_ino;
	return r;
}

int cor_forward_udp_capture(const struct cor_file_seen *seen, Cor__Names__OpenFile *out,
			    struct cor_error *err)
{
	struct pollfd p = { .fd = seen->dup, .events = POLLRDHUP };
	struct cor_inet_addr theirs;

	if (out->domain == AF_INET6 && cor_inet_addr_of(&out->peer_address, &theirs) == 0 &&
	    theirs.family == AF_INET6 && cor_inet_addr_is_loopback(&theirs))
		return cor_file_refuse(err, seen, "a UDP socket that is connected to another process "
				       "by the loopback of IPv6: that is not forwarded");
	if (poll(&p, 1, 0) == 1) {
		out->shut_read = p.revents & (POLLRDHUP | POLLHUP);
		out->shut_write = p.revents & POLLHUP;
	}
	return cor_udp_refuse_special(seen, out, err);
}

/* ---- what has not been read -------------------------------------------------------------------- */

static void take_name(struct cor_inet_addr *a, const void *name, size_t len)
{
	ProtobufCBinaryData bytes = { len, (uint8_t *)name };

	if (cor_inet_addr_of(&bytes, a) < 0)
		*a = (struct cor_inet_addr){ 0 };
}

static void take_destination(struct msghdr *m, struct cor_inet_addr *to)
{
	for (struct cmsghdr *h = CMSG_FIRSTHDR(m); h; h = CMSG_NXTHDR(m, h))
		if ((h->cmsg_level == IPPROTO_IP && h->cmsg_type == IP_ORIGDSTADDR) ||
		    (h->cmsg_level == IPPROTO_IPV6 && h->cmsg_type == IPV6_ORIGDSTADDR))
			take_name(to, CMSG_DATA(h), h->cmsg_len - CMSG_LEN(0));
}

/* One message of out->unread, whose address is what goes beside a datagram. */
static int add(Cor__Names__OpenFile *out, struct msghdr *m, const void *data, size_t len, bool any)
{
	Cor__Names__Message *message = COR_FILE_APPEND(out->unread, out->n_unread,
						       Cor__Names__Message,
						       cor__names__message__init);
	struct cor_datagram d = { 0 };
	struct cor_pump_datagram payload;

	if (!message)
		return -ENOMEM;
	take_name(&d.theirs, m->msg_name, m->msg_namelen);
	if (any)
		take_destination(m, &d.ours);
	if (d.ours.family != d.theirs.family)
		d.ours.family = 0;
	cor_datagram_pack(&d, &payload);
	return cor_file_bytes(&message->address, &payload, sizeof(payload)) < 0 ||
	       cor_file_bytes(&message->data, data, len) < 0 ? -ENOMEM : 0;
}

/* The next one, as a message of out. 1: there was one; 0, -errno. */
static int peek(const struct cor_file_seen *seen, Cor__Names__OpenFile *out, bool any, uint8_t *buf)
{
	_Alignas(struct cmsghdr) char control[1024];
	struct sockaddr_storage from;
	struct iovec iov = { buf, COR_DATAGRAM_MAX };
	struct msghdr m = { .msg_name = &from, .msg_namelen = sizeof(from), .msg_iov = &iov,
			    .msg_iovlen = 1, .msg_control = control,
			    .msg_controllen = sizeof(control) };
	ssize_t n;

	do
		n = recvmsg(seen->dup, &m, MSG_PEEK | MSG_DONTWAIT);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return errno == EAGAIN ? 0 : -errno;
	return add(out, &m, buf, (size_t)n, any) < 0 ? -ENOMEM : 1;
}

static int swap_option(int fd, int level, int name, int value)
{
	int was = value;
	socklen_t len = sizeof(was);

	getsockopt(fd, level, name, &was, &len);
	setsockopt(fd, level, name, &value, sizeof(value));
	return was;
}

/* What it takes to be told where datagrams were sent to; and to see them from the first on. */
struct peeking {
	int fd;
	bool v6, any;
	int offset, told, told6;
};

static void begin(struct peeking *p, const struct cor_file_seen *seen,
		  const Cor__Names__OpenFile *out)
{
	struct cor_inet_addr ours;

	p->fd = seen->dup;
	p->v6 = out->domain == AF_INET6;
	p->any = cor_inet_addr_of(&out->address, &ours) == 0 && cor_inet_addr_is_any(&ours);
	p->offset = swap_option(p->fd, SOL_SOCKET, SO_PEEK_OFF, 0);
	p->told = swap_option(p->fd, IPPROTO_IP, IP_RECVORIGDSTADDR, p->any);
	if (p->v6)
		p->told6 = swap_option(p->fd, IPPROTO_IPV6, IPV6_RECVORIGDSTADDR, p->any);
}

static void end(const struct peeking *p)
{
	swap_option(p->fd, SOL_SOCKET, SO_PEEK_OFF, p->offset);
	swap_option(p->fd, IPPROTO_IP, IP_RECVORIGDSTADDR, p->told);
	if (p->v6)
		swap_option(p->fd, IPPROTO_IPV6, IPV6_RECVORIGDSTADDR, p->told6);
}

int cor_forward_udp_unread(const struct cor_file_seen *seen, Cor__Names__OpenFile *out,
			   struct cor_error *err)
{
	_cleanup_free_ uint8_t *buf = malloc(COR_DATAGRAM_MAX);
	struct peeking p;
	int r;

	if (seen->ahead)
		return 0;
	if (!buf)
		return -ENOMEM;
	begin(&p, seen, out);
	do
		r = peek(seen, out, p.any, buf);
	while (r == 1);
	end(&p);
	return r == 0 ? 0 : cor_fail_code(err, r, "descriptor %d: datagrams that it has not read",
					  seen->fd);
}

/* One that was not put together of several (UDP_GRO), or has come by a link: pump/end_home_udp.c. */
static bool is_plain(const struct cor_file_seen *seen)
{
	struct sockaddr_storage from;
	socklen_t from_len = sizeof(from), len = sizeof(int);
	ProtobufCBinaryData name = { .data = (uint8_t *)&from };
	int gro = 0;

	getsockopt(seen->dup, IPPROTO_UDP, UDP_GRO, &gro, &len);
	if (gro || recvfrom(seen->dup, NULL, 0, MSG_PEEK | MSG_DONTWAIT, (struct sockaddr *)&from,
			    &from_len) < 0)
		return false;
	name.len = from_len;
	return !cor_forward_is_of_a_link(&name);
}

int cor_forward_udp_first(const struct cor_file_seen *seen, Cor__Names__OpenFile *out)
{
	_cleanup_free_ uint8_t *buf = malloc(COR_DATAGRAM_MAX);
	struct peeking p;
	int r;

	if (!buf)
		return -ENOMEM;
	if (!is_plain(seen))
		return 0;
	begin(&p, seen, out);
	r = peek(seen, out, p.any, buf);
	end(&p);
	return r == -ENOMEM ? r : 0;
}
