/* udp [-p FILE] [-l] ROLE KIND ADDRESS PORT
 *
 * Both ends of UDP sockets whose address stays when one of them moves: "serve" is the
 * task, at ADDRESS, "visit" its peer elsewhere. Each datagram says who has sent it and
 * which it is; none may be another one's, cut, put together, or doubled. None of these
 * kinds sends more than a socket holds, so none may be lost either. Each ends on SIGTERM
 * with its verdict. */
#include "visit.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#define LARGEST  20000
#define AT_ONCE  64
#define VISITORS 20

/* What a datagram begins with. */
struct head {
	struct sockaddr_storage from;
	uint64_t round;
};

static int fresh(void)
{
	return visit_socket(SOCK_DGRAM);
}

static void name_of(int fd, struct sockaddr_storage *out)
{
	socklen_t len = sizeof(*out);

	memset(out, 0, sizeof(*out));
	need(!getsockname(fd, (struct sockaddr *)out, &len));
}

/* The address without its host. */
static struct sockaddr_storage port_alone(void)
{
	struct sockaddr_storage any = visit_address;

	if (any.ss_family == AF_INET6)
		((struct sockaddr_in6 *)&any)->sin6_addr = in6addr_any;
	else
		((struct sockaddr_in *)&any)->sin_addr.s_addr = INADDR_ANY;
	return any;
}

static int bound_to(const struct sockaddr_storage *address)
{
	int fd = fresh();

	need(!bind(fd, (const struct sockaddr *)address, visit_length));
	return fd;
}

static int connected(void)
{
	int fd = fresh();

	need(!connect(fd, (struct sockaddr *)&visit_address, visit_length));
	return fd;
}

/* Something to read, within a time in which a forwarded datagram comes in any case. */
static bool readable(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	int r;

	do
		r = poll(&p, 1, 10000);
	while (r < 0 && errno == EINTR && !check_stopping());
	if (check_stopping())
		return false;
	check(r == 1 || visit_stops_soon(), "nothing came in 10 s");
	return r == 1;
}

/* ---- questions ------------------------------------------------------------------------------- */

static size_t size_of(uint64_t round)
{
	return round % 16 == 0 ? LARGEST : sizeof(struct head) + round * 37 % 1400;
}

static size_t question(char data[LARGEST], int fd, uint64_t round)
{
	struct head h = { .round = round };
	size_t len = size_of(round);

	name_of(fd, &h.from);
	check_fill(data, len, round * 104729);
	memcpy(data, &h, sizeof(h));
	return len;
}

static bool answered(int fd, const char *want, size_t len, uint64_t round)
{
	char got[LARGEST + 1];
	ssize_t n;

	if (!readable(fd))
		return false;
	n = recv(fd, got, sizeof(got), MSG_DONTWAIT);
	if (n < 0) {
		check(visit_stops_soon(), "recv: %s", strerror(errno));
		return false;
	}
	check(n == (ssize_t)len && !memcmp(got, want, len), "another answer in round %llu: %zd bytes "
	      "instead of %zu", (unsigned long long)round, n, len);
	return !check_failed();
}

static bool put(int fd, const void *data, size_t len)
{
	if (send(fd, data, len, 0) == (ssize_t)len)
		return true;
	check(visit_stops_soon(), "send: %s", strerror(errno));
	return false;
}

static void asks(int fd)
{
	char data[LARGEST];

	for (uint64_t round = 0; !check_stopping() && !check_failed(); round++) {
		size_t len = question(data, fd, round);

		if (!put(fd, data, len) || !answered(fd, data, len, round))
			break;
		check_beat();
		check_sleep_ms(1);
	}
}

static void echo_visit(void) { asks(connected()); }

/* Many sockets, each of which has a port and a count of its own. */
static void many_visit(void)
{
	int fds[VISITORS];
	char data[LARGEST];

	for (unsigned i = 0; i < VISITORS; i++)
		fds[i] = connected();
	/* one or two of them are large at a time */
	for (uint64_t at = 1; !check_stopping() && !check_failed(); at += VISITORS) {
		for (unsigned i = 0; i < VISITORS; i++)
			if (!put(fds[i], data, question(data, fds[i], at + i)))
				return;
		for (unsigned i = 0; i < VISITORS; i++)
			if (!answered(fds[i], data, question(data, fds[i], at + i), at + i))
				return;
		check_beat();
		check_sleep_ms(1);
	}
}

/* ---- answers --------------------------------------------------------------------------------- */

static bool same_name(const struct sockaddr_storage *a, const struct sockaddr_storage *b)
{
	const struct sockaddr_in6 *x = (const void *)a, *y = (const void *)b;

	if (a->ss_family == AF_INET)
		return !memcmp(a, b, offsetof(struct sockaddr_in, sin_zero));
	return a->ss_family == b->ss_family && x->sin6_port == y->sin6_port &&
	       !memcmp(&x->sin6_addr, &y->sin6_addr, sizeof(x->sin6_addr));
}

/* One question, back to where it came from, which must be where it says. False: there is
 * none now. */
static bool answer(int fd)
{
	struct sockaddr_storage from = { 0 };
	socklen_t len = sizeof(from);
	char data[LARGEST + 1];
	struct head h;
	ssize_t n = recvfrom(fd, data, sizeof(data), 0, (struct sockaddr *)&from, &len);

	if (n < 0) {
		check(errno == EAGAIN || errno == EINTR, "recvfrom: %s", strerror(errno));
		return false;
	}
	memcpy(&h, data, sizeof(h));
	check(n >= (ssize_t)sizeof(h) && n == (ssize_t)size_of(h.round) && same_name(&h.from, &from),
	      "%zd bytes of another one", n);
	check(sendto(fd, data, (size_t)n, 0, (struct sockaddr *)&from, len) == n, "sendto: %s",
	      strerror(errno));
	return true;
}

static void same_address(int fd, const struct sockaddr_storage *was)
{
	struct sockaddr_storage now;

	name_of(fd, &now);
	check(same_name(&now, was), "another address");
}

static void serve(int fd)
{
	struct timeval second = { .tv_sec = 1 };
	struct sockaddr_storage was;

	need(!setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &second, sizeof(second)));
	name_of(fd, &was);
	while (!check_stopping() && !check_failed()) {
		answer(fd);
		same_address(fd, &was);
		check_beat();
	}
}

static void echo_serve(void) { serve(bound_to(&visit_address)); }

static void port_serve(void)
{
	struct sockaddr_storage any = port_alone();

	serve(bound_to(&any));
}

/* Edge-triggered: what has come while it stood still must be told. */
static void edge_serve(void)
{
	int fd = bound_to(&visit_address), set = epoll_create1(EPOLL_CLOEXEC);
	struct epoll_event e = { .events = EPOLLIN | EPOLLET };

	need(!fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK));
	need(!epoll_ctl(set, EPOLL_CTL_ADD, fd, &e));
	while (!check_stopping() && !check_failed()) {
		if (epoll_wait(set, &e, 1, 100) == 1)
			while (answer(fd))
				;
		check_beat();
	}
}

/* ---- a socket that is told where datagrams were sent to -------------------------------------- */

/* The address in what is told beside a datagram; NULL: it is not. */
static void *told_address(struct msghdr *m)
{
	bool v6 = visit_address.ss_family == AF_INET6;
	struct cmsghdr *h = CMSG_FIRSTHDR(m);

	if (!h || h->cmsg_level != (v6 ? IPPROTO_IPV6 : IPPROTO_IP) ||
	    h->cmsg_type != (v6 ? IPV6_PKTINFO : IP_PKTINFO))
		return NULL;
	return v6 ? (void *)&((struct in6_pktinfo *)CMSG_DATA(h))->ipi6_addr :
	       &((struct in_pktinfo *)CMSG_DATA(h))->ipi_addr;
}

static bool is_ours(const void *address)
{
	return visit_address.ss_family == AF_INET6 ?
	       !memcmp(address, &((struct sockaddr_in6 *)&visit_address)->sin6_addr, 16) :
	       !memcmp(address, &((struct sockaddr_in *)&visit_address)->sin_addr, 4);
}

/* The same, as the answer's own address, by any interface. */
static void answer_from_there(struct msghdr *m)
{
	struct cmsghdr *h = CMSG_FIRSTHDR(m);
	struct in6_pktinfo *info6 = (struct in6_pktinfo *)CMSG_DATA(h);
	struct in_pktinfo *info = (struct in_pktinfo *)CMSG_DATA(h);

	if (visit_address.ss_family == AF_INET6)
		info6->ipi6_ifindex = 0;
	else
		*info = (struct in_pktinfo){ .ipi_spec_dst = info->ipi_addr };
}

static void tell(int fd)
{
	int one = 1;

	need(!(visit_address.ss_family == AF_INET6 ?
	       setsockopt(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, &one, sizeof(one)) :
	       setsockopt(fd, IPPROTO_IP, IP_PKTINFO, &one, sizeof(one))));
}

/* It answers from there, as a server does that has several addresses. */
static void told_serve(void)
{
	struct sockaddr_storage any = port_alone(), from;
	struct timeval second = { .tv_sec = 1 };
	char data[LARGEST + 1], control[256];
	int fd = bound_to(&any);

	tell(fd);
	need(!setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &second, sizeof(second)));
	while (!check_stopping() && !check_failed()) {
		struct iovec iov = { data, sizeof(data) };
		struct msghdr m = { .msg_name = &from, .msg_namelen = sizeof(from), .msg_iov = &iov,
				    .msg_iovlen = 1, .msg_control = control,
				    .msg_controllen = sizeof(control) };
		ssize_t n = recvmsg(fd, &m, 0);
		const void *address = n < 0 ? NULL : told_address(&m);

		check_beat();
		if (n < 0)
			continue;
		check(address && is_ours(address), "it was not told, or sent to another address");
		if (check_failed())
			break;
		answer_from_there(&m);
		iov.iov_len = (size_t)n;
		check(sendmsg(fd, &m, 0) == n, "sendmsg: %s", strerror(errno));
	}
}

/* ---- unread ones ----------------------------------------------------------------------------- */

/* As many as wait in a socket anywhere; the next only when all were read. */
static void unread_visit(void)
{
	int fd = connected();

	for (uint64_t round = 1; !check_stopping() && !check_failed(); round++) {
		uint64_t done = 0;

		for (uint64_t i = 0; i < AT_ONCE; i++) {
			struct head h = { .round = round * AT_ONCE + i };

			name_of(fd, &h.from);
			if (!put(fd, &h, sizeof(h)))
				return;
		}
		if (!readable(fd))
			break;
		check((recv(fd, &done, sizeof(done), 0) == sizeof(done) && done == round) ||
		      visit_stops_soon(), "%llu is done, and not %llu", (unsigned long long)done,
		      (unsigned long long)round);
		check_beat();
	}
}

static void unread_serve(void)
{
	int fd = bound_to(&visit_address);
	struct timeval second = { .tv_sec = 1 };
	uint64_t next = AT_ONCE;

	need(!setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &second, sizeof(second)));
	while (!check_stopping() && !check_failed()) {
		struct sockaddr_storage from = { 0 };
		socklen_t len = sizeof(from);
		struct head h;
		uint64_t done;
		ssize_t n = recvfrom(fd, &h, sizeof(h), 0, (struct sockaddr *)&from, &len);

		check_beat();
		if (n < 0)
			continue;
		check(n == sizeof(h) && same_name(&h.from, &from) && h.round == next,
		      "datagram %llu instead of %llu", (unsigned long long)h.round,
		      (unsigned long long)next);
		next = h.round + 1;
		done = h.round / AT_ONCE;
		if (next % AT_ONCE == 0)
			sendto(fd, &done, sizeof(done), 0, (struct sockaddr *)&from, len);
		check_sleep_ms(2);
	}
}

/* ---- the task is the one that asks ----------------------------------------------------------- */

static struct sockaddr_storage the_visitor(void)
{
	struct sockaddr_storage to = visit_address;

	if (to.ss_family == AF_INET6)
		((struct sockaddr_in6 *)&to)->sin6_addr.s6_addr[15] = 3;
	else
		inet_pton(AF_INET, "10.123.0.3", &((struct sockaddr_in *)&to)->sin_addr);
	return to;
}

/* From a port that the kernel has chosen: nobody has bound it. */
static void client_serve(void)
{
	struct sockaddr_storage to = the_visitor(), ours, peer;
	int fd = fresh();
	char data[LARGEST];

	need(!connect(fd, (struct sockaddr *)&to, visit_length));
	name_of(fd, &ours);
	for (uint64_t round = 0; !check_stopping() && !check_failed(); round++) {
		size_t len = question(data, fd, round);
		socklen_t peer_len = sizeof(peer);

		if (!put(fd, data, len) || !answered(fd, data, len, round))
			break;
		same_address(fd, &ours);
		check(!getpeername(fd, (struct sockaddr *)&peer, &peer_len) && same_name(&peer, &to),
		      "another peer");
		check_beat();
		check_sleep_ms(1);
	}
}

static void client_visit(void) { port_serve(); }

/* It goes from one server to another and back, on the same socket. */
static void anew_serve(void)
{
	struct sockaddr_storage to = the_visitor();
	/* at the same place in either family's address */
	in_port_t *port = &((struct sockaddr_in *)&to)->sin_port;
	char data[LARGEST];
	int fd = fresh();

	for (uint64_t round = 0; !check_stopping() && !check_failed(); round++) {
		size_t len;

		if (round % 8 == 0) {
			*port = htons((uint16_t)(ntohs(*port) + (round % 16 ? 1 : round ? -1 : 0)));
			need(!connect(fd, (struct sockaddr *)&to, visit_length));
		}
		len = question(data, fd, round);
		if (!put(fd, data, len) || !answered(fd, data, len, round))
			break;
		check_beat();
		check_sleep_ms(1);
	}
}

static void anew_visit(void)
{
	struct sockaddr_storage any = port_alone();
	in_port_t *port = &((struct sockaddr_in *)&any)->sin_port;
	struct pollfd p[2] = { { .fd = bound_to(&any), .events = POLLIN }, { .events = POLLIN } };

	*port = htons((uint16_t)(ntohs(*port) + 1));
	p[1].fd = bound_to(&any);
	while (!check_stopping() && !check_failed()) {
		poll(p, 2, 1000);
		for (unsigned i = 0; i < 2; i++)
			if (p[i].revents & POLLIN)
				answer(p[i].fd);
		check_beat();
	}
}

/* ---- the whole ------------------------------------------------------------------------------- */

static const struct visit_kind kinds[] = {
	{ "echo", echo_serve, echo_visit },
	{ "many", echo_serve, many_visit },
	{ "edge", edge_serve, echo_visit },
	{ "port", port_serve, echo_visit },
	{ "told", told_serve, echo_visit },
	{ "unread", unread_serve, unread_visit },
	{ "client", client_serve, client_visit },
	{ "anew", anew_serve, anew_visit },
};
#define NKINDS (sizeof(kinds) / sizeof(kinds[0]))

int main(int argc, char **argv)
{
	return visit_main(argc, argv, "udp", kinds, NKINDS, NKINDS);
}
