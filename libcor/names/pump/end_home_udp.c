/* Ends that are UDP sockets, at home: the task's own; see pump/udp.h. Its O_NONBLOCK is
 * not ours to set. */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "libcor/base/cleanup.h"
#include "libcor/base/compat.h"
#include "libcor/base/error.h"
#include "libcor/names/pump/datagram.h"
#include "libcor/names/pump/udp.h"

#define ERRORS_AT_ONCE 16

static int take(struct cor_pump_end *e, const Cor__Names__PumpChannel *ch, int fd,
		struct cor_error *err)
{
	int r = cor_pump_udp_begin(e, ch);

	if (r < 0)
		return cor_fail_code(err, r, "the addresses of %s", ch->what);
	e->fd = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	if (e->fd < 0)
		return cor_fail_errno(err, "a descriptor for %s", ch->what);
	e->reads = e->writes = e->readable = e->writable = true;
	return 0;
}

static void set(int fd, int level, int name, int value)
{
	setsockopt(fd, level, name, &value, sizeof(value));
}

/* Once the task runs elsewhere for sure the socket is ours: before, it would see these. Errors
 * would fill a queue that nobody reads; whether it may broadcast, and how it cuts up what it
 * sends, is the affair of the socket that it has now. */
static void begin(struct cor_pump_end *e)
{
	struct cor_pump_udp *u = e->udp;

	if (u->asks)
		return;
	u->asks = true;
	set(e->fd, SOL_SOCKET, SO_BROADCAST, 1);
	set(e->fd, IPPROTO_UDP, UDP_SEGMENT, 0);
	set(e->fd, IPPROTO_IP, IP_RECVERR, 0);
	if (u->any)
		set(e->fd, IPPROTO_IP, IP_PKTINFO, 1);
	if (u->domain != AF_INET6)
		return;
	set(e->fd, IPPROTO_IPV6, IPV6_RECVERR, 0);
	if (u->any)
		set(e->fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, 1);
}

/* ---- from outside ------------------------------------------------------------------------- */

static void take_name(struct cor_inet_addr *a, const void *name, size_t len)
{
	ProtobufCBinaryData bytes = { len, (uint8_t *)name };

	if (cor_inet_addr_of(&bytes, a) < 0)
		*a = (struct cor_inet_addr){ 0 };
}

/* Where it was sent to (*to: of family 0 where that is not told), and of how many bytes
 * each is where the kernel has put several together (UDP_GRO). */
static void take_control(struct msghdr *m, struct cor_inet_addr *to, int *each)
{
	struct sockaddr_in6 sin6 = { .sin6_family = AF_INET6 };
	struct sockaddr_in sin = { .sin_family = AF_INET };
	struct in6_pktinfo info6;
	struct in_pktinfo info;

	for (struct cmsghdr *h = CMSG_FIRSTHDR(m); h; h = CMSG_NXTHDR(m, h)) {
		if (h->cmsg_level == IPPROTO_IP && h->cmsg_type == IP_PKTINFO) {
			memcpy(&info, CMSG_DATA(h), sizeof(info));
			sin.sin_addr = info.ipi_addr;
			take_name(to, &sin, sizeof(sin));
		} else if (h->cmsg_level == IPPROTO_IPV6 && h->cmsg_type == IPV6_PKTINFO) {
			memcpy(&info6, CMSG_DATA(h), sizeof(info6));
			sin6.sin6_addr = info6.ipi6_addr;
			take_name(to, &sin6, sizeof(sin6));
		} else if (h->cmsg_level == IPPROTO_UDP && h->cmsg_type == UDP_GRO) {
			memcpy(each, CMSG_DATA(h), sizeof(*each));
		}
	}
}

static bool is_of_a_link(const struct cor_inet_addr *a)
{
	return a->family == AF_INET6 && a->bytes[0] == 0xfe && (a->bytes[1] & 0xc0) == 0x80;
}

/* One datagram, or several of *each bytes; -errno. */
static int receive(struct cor_pump_end *e, struct cor_datagram *d, int *each)
{
	union {
		struct cmsghdr h;
		char space[1024];       /* of what the task has asked for, too */
	} c;
	struct sockaddr_storage from;
	struct iovec iov = { e->udp->buf, COR_DATAGRAM_MAX };
	struct msghdr m = { .msg_name = &from, .msg_namelen = sizeof(from), .msg_iov = &iov,
			    .msg_iovlen = 1, .msg_control = &c, .msg_controllen = sizeof(c) };
	struct cor_inet_addr to = { 0 };
	ssize_t n = recvmsg(e->fd, &m, MSG_DONTWAIT);

	if (n < 0)
		return -errno;
	*each = 0;
	*d = (struct cor_datagram){ .data = e->udp->buf, .len = (size_t)n };
	take_name(&d->theirs, &from, m.msg_namelen);
	take_control(&m, &to, each);
	if (e->udp->any && to.family == d->theirs.family)
		d->ours = to;
	return 0;
}

static ssize_t queue_each(struct cor_pump_queue *q, const struct cor_datagram *all, size_t each)
{
	struct cor_datagram d = *all;
	ssize_t sum = 0;

	for (size_t at = 0; at < all->len; at += each) {
		ssize_t n;

		d.data = all->data + at;
		d.len = COR_MIN(each, all->len - at);
		n = cor_datagram_queue(q, &d);
		if (n <= 0)
			return n;
		sum += n;
	}
	return sum;
}

static ssize_t queue_refusal(struct cor_pump_end *e, struct cor_pump_queue *q)
{
	struct cor_datagram d = { .theirs = e->udp->theirs, .refused = true };

	e->udp->refused = false;
	return cor_datagram_queue(q, &d);
}

static ssize_t read_end(struct cor_pump_end *e, struct cor_pump_queue *q, size_t room)
{
	struct cor_pump_udp *u = e->udp;
	struct cor_datagram d;

	begin(e);
	for (unsigned i = 0; i < ERRORS_AT_ONCE && !u->refused; i++) {
		int each, r = receive(e, &d, &each);

		if (r == -EAGAIN)
			return -EAGAIN;
		u->refused = r == -ECONNREFUSED && u->theirs.family;
		/* an answer would not find its way back into the link */
		if (r == 0 && d.theirs.family && !is_of_a_link(&d.theirs))
			return each > 0 ? queue_each(q, &d, (size_t)each) : cor_datagram_queue(q, &d);
	}
	return u->refused ? queue_refusal(e, q) : -EAGAIN;
}

/* ---- and to it ------------------------------------------------------------------------------ */

/* The address that the task has chosen. */
static void put_source(struct msghdr *m, int domain, const struct cor_inet_addr *ours)
{
	struct cmsghdr *h = m->msg_control;
	struct sockaddr_storage ss;
	struct in6_pktinfo info6 = { 0 };
	struct in_pktinfo info = { 0 };
	bool v4 = domain == AF_INET;
	size_t size = v4 ? sizeof(info) : sizeof(info6);
	socklen_t len;

	memcpy(&info.ipi_spec_dst, ours->bytes, sizeof(info.ipi_spec_dst));
	cor_inet_addr_wrapped(ours, 0, &ss, &len);
	info6.ipi6_addr = ((struct sockaddr_in6 *)&ss)->sin6_addr;
	h->cmsg_level = v4 ? IPPROTO_IP : IPPROTO_IPV6;
	h->cmsg_type = v4 ? IP_PKTINFO : IPV6_PKTINFO;
	h->cmsg_len = CMSG_LEN(size);
	memcpy(CMSG_DATA(h), v4 ? (void *)&info : (void *)&info6, size);
	m->msg_controllen = CMSG_SPACE(size);
}

static bool is_peer(const struct cor_pump_udp *u, const struct cor_inet_addr *a)
{
	return u->theirs.family && u->theirs.port == a->port && cor_inet_addr_same(&u->theirs, a);
}

static int send_datagram(const struct cor_pump_end *e, const struct cor_datagram *d)
{
	const struct cor_pump_udp *u = e->udp;
	_Alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(struct in6_pktinfo))] = { 0 };
	struct sockaddr_storage to;
	struct iovec iov = { (void *)d->data, d->len };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control };
	socklen_t len;

	if (u->domain == AF_INET6)
		cor_inet_addr_wrapped(&d->theirs, d->theirs.port, &to, &len);
	else
		cor_inet_addr_sockaddr(&d->theirs, d->theirs.port, &to, &len);
	if (!is_peer(u, &d->theirs)) {
		m.msg_name = &to;
		m.msg_namelen = len;
	}
	if (u->any && d->ours.family)
		put_source(&m, u->domain, &d->ours);
	else
		m.msg_control = NULL;
	return sendmsg(e->fd, &m, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 ? -errno : 0;
}

/* As the task has done it with its own. Without a peer a socket that has never been bound
 * loses its port: it is bound again, and where it has not lost it that does nothing. */
static void follow(struct cor_pump_end *e, const struct cor_datagram *d)
{
	struct cor_pump_udp *u = e->udp;
	struct sockaddr_storage ss = { .ss_family = AF_UNSPEC };
	socklen_t len = sizeof(ss);

	if (d->peer == COR_PUMP_PEER_AS_BEFORE)
		return;
	u->theirs = d->peer == COR_PUMP_PEER_NEW ? d->theirs : (struct cor_inet_addr){ 0 };
	if (d->peer == COR_PUMP_PEER_NEW && u->domain == AF_INET6)
		cor_inet_addr_wrapped(&d->theirs, d->theirs.port, &ss, &len);
	else if (d->peer == COR_PUMP_PEER_NEW)
		cor_inet_addr_sockaddr(&d->theirs, d->theirs.port, &ss, &len);
	(void)!connect(e->fd, (struct sockaddr *)&ss, len);
	if (d->peer == COR_PUMP_PEER_NONE)
		(void)!bind(e->fd, (struct sockaddr *)&u->address, u->address_len);
}

/* What cannot be sent is lost; but an error may be that of an earlier datagram. */
static ssize_t write_end(struct cor_pump_end *e, struct cor_pump_queue *q)
{
	_cleanup_free_ uint8_t *bytes = NULL;
	struct cor_datagram d;
	ssize_t n = cor_datagram_first(q, &d, &bytes);
	int r;

	if (n < 0 || !d.theirs.family || d.refused)
		return n;
	begin(e);
	follow(e, &d);
	r = send_datagram(e, &d);
	if (r == -ECONNREFUSED && e->udp->theirs.family)
		e->udp->refused = e->readable = true;
	if (r < 0 && r != -EAGAIN)
		r = send_datagram(e, &d);
	return r == -EAGAIN ? -EAGAIN : n;
}

static void shut(struct cor_pump_end *e, bool reading)
{
	*(reading ? &e->reads : &e->writes) = false;
}

static bool gone(const struct cor_pump_end *e, uint32_t events)
{
	return false;
}

const struct cor_pump_end_ops cor_pump_end_home_udp = {
	.kind  = COR__NAMES__PUMP_KIND__PUMP_UDP,
	.take  = take,
	.read  = read_end,
	.write = write_end,
	.shut  = shut,
	.gone  = gone,
};
