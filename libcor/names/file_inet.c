/* TCP sockets that listen or were never connected (the others: file_tcp.c), and UDP
 * sockets that move, with their address or without one (the others: file_forward_udp.c).
 * Datagrams that wait in these stay behind, as UDP may lose them: they could not be made
 * again with their senders' addresses. */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <unistd.h>

#include "libcor/base/cleanup.h"
#include "libcor/base/error.h"
#include "libcor/names/file_socket.h"
#include "libcor/names/net/departure.h"
#include "libcor/names/net/socket.h"
#include "libcor/names/net/socket_options.h"
#include "libcor/names/net/udp_special.h"

static int recognise(const struct cor_file_capture *c, const struct cor_file_seen *seen)
{
	struct cor_socket s;

	if (!S_ISSOCK(seen->st.st_mode) || cor_socket_query(seen->dup, &s) < 0 ||
	    (s.domain != AF_INET && s.domain != AF_INET6))
		return -1;
	if ((s.type == SOCK_STREAM && (s.protocol == IPPROTO_TCP || s.protocol == IPPROTO_MPTCP)) ||
	    (s.type == SOCK_DGRAM && s.protocol == IPPROTO_UDP))
		return COR__NAMES__FILE_KIND__INET;
	return -1;
}

static int capture_listener(struct cor_file_capture *c, struct cor_file_seen *seen,
			    Cor__Names__OpenFile *out, struct cor_error *err)
{
	char name[COR_SOCKET_NAME];
	struct tcp_info info = { 0 };
	socklen_t len = sizeof(info);

	if (cor_departure_stopped(c->departure)) {
		int r = cor_departure_hold(c->departure, seen, c->index, err);

		if (r == 0)
			r = cor_departure_silence(c->departure, seen, out, err);
		if (r < 0)
			return r;
	}
	if (getsockopt(seen->dup, IPPROTO_TCP, TCP_INFO, &info, &len) < 0)
		return cor_fail_errno(err, "descriptor %d: TCP_INFO", seen->fd);
	/* of a listener these two are the queue of connections and its limit (tcp(7)) */
	out->backlog = (int32_t)info.tcpi_sacked;
	if (info.tcpi_unacked == 0 || !c->with_content ||
	    (c->departure && !cor_departure_stopped(c->departure)))
		return 0;
	cor_socket_print_bytes(&out->address, name);
	return cor_fail(err, c->departure ? -EAGAIN : -EOPNOTSUPP, "descriptor %d is a TCP socket "
			"listening on %s with %u connections that are not accepted yet: try again",
			seen->fd, name, info.tcpi_unacked);
}

/* A connected one whose address stays: nobody else could answer for it. One that is not
 * connected is bound on the destination, if its address can be had there. */
static int refuse_stationary(struct cor_file_capture *c, const struct cor_file_seen *seen,
			     const Cor__Names__OpenFile *out, struct cor_error *err)
{
	char ours[COR_SOCKET_NAME], theirs[COR_SOCKET_NAME], what[2 * COR_SOCKET_NAME + 160];
	bool pump = cor_mechanism_on(c->mechanisms, COR_MECHANISM_PUMP);
	struct cor_inet_addr addr;

	if (!c->departure || !out->peer_address.len || cor_inet_addr_of(&out->address, &addr) < 0 ||
	    cor_inet_addr_is_loopback(&addr) || cor_departure_moves(c->departure, &addr))
		return 0;
	cor_socket_print_bytes(&out->address, ours);
	cor_socket_print_bytes(&out->peer_address, theirs);
	snprintf(what, sizeof(what), "descriptor %d is a UDP socket from %s to %s, whose address "
		 "stays on this host unless it is named (cor migrate --address): it", seen->fd, ours,
		 theirs);
	return cor_mechanism_require(c->mechanisms, pump ? COR_MECHANISM_FORWARD : COR_MECHANISM_PUMP,
				     what, err);
}

static int capture_udp(struct cor_file_capture *c, const struct cor_file_seen *seen,
		       Cor__Names__OpenFile *out, struct cor_error *err)
{
	int rc = cor_mechanism_on(c->mechanisms, COR_MECHANISM_UDP) ?
		 refuse_stationary(c, seen, out, err) : 0;

	return rc < 0 ? rc : cor_udp_refuse_special(seen, out, err);
}

static int capture(struct cor_file_capture *c, const struct cor_file_seen *seen,
		   Cor__Names__OpenFile *out, struct cor_error *err)
{
	int rc = cor_socket_capture(c, seen, out, err);

	if (rc == 0)
		rc = cor_socket_address(seen, false, &out->address, err);
	if (rc == 0)
		rc = cor_socket_address(seen, true, &out->peer_address, err);
	if (rc == 0 && out->type == SOCK_DGRAM)
		return capture_udp(c, seen, out, err);
	if (rc < 0 || !out->listening)
		return rc;
	return capture_listener(c, &c->seen[c->index], out, err);
}

/* --- the destination --------------------------------------------------------- */

static bool is_bound(const struct sockaddr_storage *ss)
{
	const struct sockaddr_in6 *sin6 = (const struct sockaddr_in6 *)ss;
	const struct sockaddr_in *sin = (const struct sockaddr_in *)ss;

	if (ss->ss_family == AF_INET6)
		return sin6->sin6_port != 0 || !IN6_IS_ADDR_UNSPECIFIED(&sin6->sin6_addr);
	return sin->sin_port != 0 || sin->sin_addr.s_addr != 0;
}

static bool has_reuseaddr(const Cor__Names__OpenFile *file)
{
	return cor_socket_has_option(file, SOL_SOCKET, SO_REUSEADDR);
}

static void set_reuseaddr(int fd, int value)
{
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &value, sizeof(value));
}

/* Does its address move along, and is not here yet? */
static bool moves(const Cor__Names__FileTable *table, const Cor__Names__OpenFile *file)
{
	struct cor_inet_addr ours;

	return cor_inet_addr_of(&file->address, &ours) == 0 && cor_file_moves(table, &ours);
}

static int bind_again(const struct cor_file_place *place, unsigned index, int fd,
		      struct cor_error *err)
{
	const Cor__Names__OpenFile *file = cor_file_at(place, index);
	int number = cor_file_number(place->table, index);
	char name[COR_SOCKET_NAME];
	struct sockaddr_storage ss;
	socklen_t len;
	int rc = cor_socket_sockaddr(&file->address, &ss, &len);

	if (rc < 0)
		return cor_fail(err, rc, "descriptor %d: its address is wrong", number);
	if (!is_bound(&ss) || bind(fd, (struct sockaddr *)&ss, len) == 0)
		return 0;
	rc = -errno;
	cor_socket_print(&ss, len, name);
	return cor_fail_code(err, rc, "descriptor %d: the address %s (%s) cannot be had here", number,
			     name, file->type == SOCK_STREAM ? "TCP" : "UDP");
}

/* A new socket with the file's options, bound as it was; or -errno. SO_REUSEADDR is
 * set where that helps; restore() puts it as it was. */
static int make_bound(const struct cor_file_place *place, unsigned index, struct cor_error *err)
{
	const Cor__Names__OpenFile *file = cor_file_at(place, index);
	int number = cor_file_number(place->table, index);
	_cleanup_close_ int fd = cor_socket_make(file);
	int rc;

	if (fd < 0)
		return cor_fail_code(err, fd, "descriptor %d: a socket of family %d and protocol %d "
				     "cannot be made here", number, file->domain, file->protocol);
	rc = cor_socket_options_set(file, fd, true, number, err);
	/* neither connections that ended here a moment ago, nor the parked socket on
	 * the source, must keep the port */
	if (file->type == SOCK_STREAM || cor_file_is_source(place, index))
		set_reuseaddr(fd, 1);
	if (rc == 0 && moves(place->table, file))
		rc = cor_socket_transparent(fd, file->domain, 1);
	if (rc == 0)
		rc = bind_again(place, index, fd, err);
	return rc < 0 ? rc : take_fd(&fd);
}

static int check(const struct cor_file_place *place, unsigned index, struct cor_error *err)
{
	_cleanup_close_ int fd = make_bound(place, index, err);

	/* the task itself has it, and gives it up when it moves */
	if (fd == -EADDRINUSE && cor_file_is_source(place, index))
		return 0;
	return fd < 0 ? fd : 0;
}

static int connect_udp(const Cor__Names__OpenFile *file, int fd, int number, struct cor_error *err)
{
	char name[COR_SOCKET_NAME];
	struct sockaddr_storage ss;
	socklen_t len;
	int rc = cor_socket_sockaddr(&file->peer_address, &ss, &len);

	if (rc < 0)
		return cor_fail(err, rc, "descriptor %d: its peer's address is wrong", number);
	if (connect(fd, (struct sockaddr *)&ss, len) == 0)
		return 0;
	rc = -errno;
	cor_socket_print(&ss, len, name);
	return cor_fail_code(err, rc, "descriptor %d: connecting to %s (UDP)", number, name);
}

static int restore(struct cor_file_restore *r, unsigned index, struct cor_error *err)
{
	const Cor__Names__OpenFile *file = cor_file_at(&r->place, index);
	int number = cor_file_number(r->place.table, index);
	_cleanup_close_ int fd = make_bound(&r->place, index, err);
	int rc;

	if (fd < 0)
		return fd;
	rc = cor_socket_options_set(file, fd, false, number, err);
	if (rc == 0 && file->listening && listen(fd, file->backlog) < 0)
		rc = cor_fail_errno(err, "descriptor %d: listening", number);
	/* not before: listening asks for the port once more. Where that is still to come
	 * it stays set, as long as the parked socket may be there */
	if (!has_reuseaddr(file) && (file->listening || file->type == SOCK_DGRAM ||
				     !cor_file_is_source(&r->place, index)))
		set_reuseaddr(fd, 0);
	if (rc == 0 && file->type == SOCK_DGRAM && file->peer_address.len)
		rc = connect_udp(file, fd, number, err);
	if (rc == 0 && moves(r->place.table, file))
		rc = cor_socket_opaque(file, fd);
	return rc < 0 ? rc : cor_file_made(r, index, take_fd(&fd), "the socket", err);
}

/* A listener that is shut down refuses clients. It keeps its port, and can listen again; a port whose
 * sockets all have SO_REUSEADDR and do not listen can be bound once more. */
static int park(int dup, const Cor__Names__OpenFile *file, enum cor_file_parking what)
{
	switch (what) {
	case COR_FILE_PARK_NETNS:
		set_reuseaddr(dup, 1);
		return file->listening && shutdown(dup, SHUT_RDWR) < 0 ? -errno : 0;
	case COR_FILE_UNPARK:
		if (file->listening && listen(dup, file->backlog) < 0)
			return -errno;
		if (!has_reuseaddr(file))
			set_reuseaddr(dup, 0);
		return 0;
	case COR_FILE_BURY:
		return file->listening && shutdown(dup, SHUT_RDWR) < 0 ? -errno : 0;
	default:
		return 0;
	}
}

static enum cor_mechanism mechanism_of(const Cor__Names__OpenFile *file)
{
	return file->type == SOCK_DGRAM ? COR_MECHANISM_UDP : COR_MECHANISM_TCP;
}

const struct cor_file_ops cor_file_inet = {
	.recognise = recognise,
	.capture   = capture,
	.check     = check,
	.restore   = restore,
	.park      = park,
	.mechanism_of = mechanism_of,
	.kinds     = 1u << COR__NAMES__FILE_KIND__INET,
};
