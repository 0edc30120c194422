/* TCP sockets that are connected, are being, or were. Connections move with their
 * address (net/address.h, net/tcp_repair.h): in the stub a socket is made that stands for
 * each, and the connection itself when the task has stopped (net/arrival.h). What has ended
 * needs no address: only what is left to be read, and how it ended. */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "libcor/base/cleanup.h"
#include "libcor/base/error.h"
#include "libcor/names/file_forward_common.h"
#include "libcor/names/file_socket.h"
#include "libcor/names/net/departure.h"
#include "libcor/names/net/inet_diag.h"
#include "libcor/names/net/socket.h"
#include "libcor/names/net/socket_options.h"
#include "libcor/names/net/tcp_repair.h"
#include "libcor/names/net/tcp_special.h"
#include "libcor/names/net/tcp_unread.h"

static int get_info(int fd, struct tcp_info *info)
{
	socklen_t len = sizeof(*info);

	memset(info, 0, sizeof(*info));
	return getsockopt(fd, IPPROTO_TCP, TCP_INFO, info, &len) < 0 ? -errno : 0;
}

/* A socket that was connected once stays shut down for reading. */
static bool has_ended(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLRDHUP };

	return poll(&p, 1, 0) == 1 && (p.revents & POLLRDHUP);
}

static int recognise(const struct cor_file_capture *c, const struct cor_file_seen *seen)
{
	struct tcp_info info;
	struct cor_socket s;

	if (!S_ISSOCK(seen->st.st_mode) || cor_socket_query(seen->dup, &s) < 0 ||
	    (s.domain != AF_INET && s.domain != AF_INET6) || s.type != SOCK_STREAM || s.listening ||
	    (s.protocol != IPPROTO_TCP && s.protocol != IPPROTO_MPTCP))
		return -1;
	if (get_info(seen->dup, &info) < 0 ||
	    (info.tcpi_state == TCP_CLOSE && !has_ended(seen->dup)))
		return -1;
	return COR__NAMES__FILE_KIND__TCP;
}

/* ---- refusals --------------------------------------------------------------- */

static int refuse_forward(struct cor_file_capture *c, const struct cor_file_seen *seen,
			  const Cor__Names__OpenFile *out, struct cor_error *err)
{
	char ours[COR_SOCKET_NAME], theirs[COR_SOCKET_NAME], what[2 * COR_SOCKET_NAME + 160];

	cor_socket_print_bytes(&out->address, ours);
	cor_socket_print_bytes(&out->peer_address, theirs);
	snprintf(what, sizeof(what), "descriptor %d is a TCP connection from %s to %s, whose address "
		 "stays on this host unless it is named (cor migrate --address): it", seen->fd, ours,
		 theirs);
	return cor_mechanism_require(c->mechanisms,
				     cor_mechanism_on(c->mechanisms, COR_MECHANISM_PUMP) ?
				     COR_MECHANISM_FORWARD : COR_MECHANISM_PUMP, what, err);
}

/* Can it be had on the other host? Connections of the task with itself are looked at
 * by relate(), when all are known. */
static int refuse_stationary(struct cor_file_capture *c, const struct cor_file_seen *seen,
			     const Cor__Names__OpenFile *out, struct cor_error *err)
{
	struct cor_inet_addr ours, theirs;
	int r = cor_mechanism_on(c->mechanisms, COR_MECHANISM_TCP) ? 0 :
		cor_file_require(c->mechanisms, COR_MECHANISM_TCP, seen->fd, seen->link, err);

	if (r < 0)
		return r;
	if (!c->departure)
		return cor_tcp_refuse(seen, out, "no connection can move", err);
	if (cor_inet_addr_of(&out->address, &ours) < 0)
		return cor_tcp_refuse(seen, out, "its address is not understood", err);
	if (cor_inet_addr_of(&out->peer_address, &theirs) == 0 &&
	    cor_inet_addr_is_loopback(&ours) && cor_inet_addr_is_loopback(&theirs))
		return 0;
	if (cor_departure_moves(c->departure, &ours))
		return 0;
	if (!cor_mechanism_on(c->mechanisms, COR_MECHANISM_FORWARD) ||
	    !cor_mechanism_on(c->mechanisms, COR_MECHANISM_PUMP))
		return refuse_forward(c, seen, out, err);
	return cor_tcp_refuse(seen, out, "its address stays on this host; it moves along if it is "
			      "named (cor migrate --address)", err);
}

/* ---- capture -------------------------------------------------------------------- */

static int capture_unread(const struct cor_file_seen *seen, Cor__Names__Connection *conn,
			  struct cor_error *err)
{
	_cleanup_free_ uint8_t *data = NULL;
	ssize_t n = cor_tcp_peek_unread(seen->dup, UINT64_MAX, &data);

	if (n < 0)
		return cor_fail_code(err, (int)n, "descriptor %d: what it has not read yet", seen->fd);
	return n == 0 ? 0 : cor_file_bytes(&conn->unread, data, (size_t)n);
}

/* Nothing can happen to it any more. Its error, if one waits, cannot be looked at
 * without taking it away: nearly always it is this one. */
static int capture_ended(struct cor_file_capture *c, const struct cor_file_seen *seen,
			 Cor__Names__Connection *conn, struct cor_error *err)
{
	struct pollfd p = { .fd = seen->dup };

	conn->failed = poll(&p, 1, 0) == 1 && (p.revents & POLLERR);
	return c->with_content ? capture_unread(seen, conn, err) : 0;
}

struct attempt {
	uint64_t ino;
	Cor__Names__OpenFile *out;
	int rc;
};

static bool is_attempt(void *arg, const struct cor_inet_socket *s)
{
	struct attempt *a = arg;
	struct sockaddr_storage ss;
	socklen_t len;

	if (s->ino != a->ino)
		return false;
	/* connect(2) of an IPv6 socket to an IPv4 address takes it wrapped */
	if (a->out->domain == AF_INET6)
		cor_inet_addr_wrapped(&s->theirs, s->theirs.port, &ss, &len);
	else
		cor_inet_addr_sockaddr(&s->theirs, s->theirs.port, &ss, &len);
	a->rc = cor_file_bytes(&a->out->peer_address, &ss, len);
	return true;
}

/* connect(2) has not come to an end: getpeername(2) does not tell. */
static int peer_of_attempt(const struct cor_file_seen *seen, Cor__Names__OpenFile *out,
			   struct cor_error *err)
{
	struct attempt a = { .ino = seen->st.st_ino, .out = out, .rc = -EAGAIN };
	int r = cor_inet_diag(1u << TCP_SYN_SENT, is_attempt, &a, err);

	if (r == 0 && a.rc == -EAGAIN)
		return cor_fail(err, -EAGAIN, "descriptor %d: its connection changes", seen->fd);
	return r < 0 ? r : a.rc;
}

static int capture_connection(struct cor_file_capture *c, const struct cor_file_seen *seen,
			      Cor__Names__OpenFile *out, struct cor_error *err)
{
	int r = 0;

	if (out->connection->state == TCP_SYN_SENT)
		r = peer_of_attempt(seen, out, err);
	if (r == 0)
		r = cor_tcp_refuse_special(seen, out, err);
	if (r == 0)
		r = refuse_stationary(c, seen, out, err);
	if (r < 0 || !cor_departure_stopped(c->departure))
		return r;
	r = cor_departure_silence(c->departure, seen, out, err);
	return r < 0 ? r : cor_tcp_read(seen->dup, seen->fd, out->connection, err);
}

static int capture(struct cor_file_capture *c, const struct cor_file_seen *seen,
		   Cor__Names__OpenFile *out, struct cor_error *err)
{
	int r = cor_socket_begin(c, seen, out, err);

	if (r < 0)
		return r;
	out->connection = malloc(sizeof(*out->connection));
	if (!out->connection)
		return -ENOMEM;
	cor__names__connection__init(out->connection);
	return cor_departure_stopped(c->departure) ?
	       cor_departure_hold(c->departure, &c->seen[c->index], c->index, err) : 0;
}

static int capture_late(struct cor_file_capture *c, unsigned index, struct cor_error *err)
{
	const struct cor_file_seen *seen = &c->seen[index];
	Cor__Names__OpenFile *out = c->table->files[index];
	struct tcp_info info;
	int r = cor_socket_capture(c, seen, out, err);

	if (r == 0)
		r = cor_socket_address(seen, false, &out->address, err);
	if (r == 0)
		r = cor_socket_address(seen, true, &out->peer_address, err);
	if (r < 0)
		return r;
	r = get_info(seen->dup, &info);
	if (r < 0)
		return cor_fail_code(err, r, "descriptor %d: TCP_INFO", seen->fd);
	/* of one that was forwarded, and whose pump has let go, only that is left */
	out->connection->state = cor_forward_is_away(seen->dup) ? TCP_CLOSE : info.tcpi_state;
	if (out->connection->state == TCP_CLOSE)
		return capture_ended(c, seen, out->connection, err);
	return capture_connection(c, seen, out, err);
}

/* The file whose addresses are these the other way round, -1: none. */
static int other_end(const Cor__Names__FileTable *table, unsigned index)
{
	const Cor__Names__OpenFile *one = table->files[index];

	for (unsigned i = 0; i < table->n_files; i++) {
		const Cor__Names__OpenFile *f = table->files[i];
		struct cor_inet_addr a, b;

		if (f->kind != COR__NAMES__FILE_KIND__TCP || i == index)
			continue;
		if (cor_inet_addr_of(&f->address, &a) == 0 &&
		    cor_inet_addr_of(&one->peer_address, &b) == 0 &&
		    cor_inet_addr_same(&a, &b) && a.port == b.port &&
		    cor_inet_addr_of(&f->peer_address, &a) == 0 &&
		    cor_inet_addr_of(&one->address, &b) == 0 &&
		    cor_inet_addr_same(&a, &b) && a.port == b.port)
			return (int)i;
	}
	return -1;
}

/* A peer that this host would lose the address of, or that stays behind on a
 * loopback device: it must be the task itself. */
static int relate(struct cor_file_capture *c, unsigned index, struct cor_error *err)
{
	const Cor__Names__OpenFile *out = c->table->files[index];
	struct cor_inet_addr theirs;
	bool here;

	if (out->connection->state == TCP_CLOSE ||
	    cor_inet_addr_of(&out->peer_address, &theirs) < 0)
		return 0;
	here = cor_inet_addr_is_loopback(&theirs) || cor_departure_moves(c->departure, &theirs);
	if (!here || other_end(c->table, index) >= 0)
		return 0;
	return cor_tcp_refuse(&c->seen[index], out, "its other end is another process of this "
			      "host, and would have no such address any more", err);
}

/* ---- the destination ------------------------------------------------------------ */

/* May a peer's table ask for this? Only addresses that move, or within a host. */
static bool is_permitted(const Cor__Names__FileTable *table, const Cor__Names__OpenFile *file)
{
	struct cor_inet_addr ours, theirs;

	if (cor_inet_addr_of(&file->address, &ours) < 0 ||
	    cor_inet_addr_of(&file->peer_address, &theirs) < 0)
		return false;
	if (cor_inet_addr_is_loopback(&ours) && cor_inet_addr_is_loopback(&theirs))
		return true;
	return cor_file_moves(table, &ours);
}

static int check_table(const struct cor_file_place *place, unsigned index, struct cor_error *err)
{
	const Cor__Names__OpenFile *file = cor_file_at(place, index);

	if (!file->connection || file->type != SOCK_STREAM)
		return cor_fail(err, -EPROTO, "descriptor %d: its TCP connection is missing",
				cor_file_number(place->table, index));
	if (file->connection->state != TCP_CLOSE && !is_permitted(place->table, file))
		return cor_fail(err, -EPROTO, "descriptor %d: its TCP connection has an address that "
				"does not move along", cor_file_number(place->table, index));
	return 0;
}

/* The socket that stands for it, with the file's options, or -errno. */
static int make(const struct cor_file_place *place, unsigned index, struct cor_error *err)
{
	const Cor__Names__OpenFile *file = cor_file_at(place, index);
	int number = cor_file_number(place->table, index);
	_cleanup_close_ int fd = -1;
	int r = check_table(place, index, err);

	if (r < 0)
		return r;
	fd = cor_socket_make(file);
	if (fd < 0)
		return cor_fail_code(err, fd, "descriptor %d: a socket of family %d and protocol %d "
				     "cannot be made here", number, file->domain, file->protocol);
	r = cor_socket_options_set(file, fd, true, number, err);
	if (r == 0)
		r = cor_socket_options_set(file, fd, false, number, err);
	return r < 0 ? r : take_fd(&fd);
}

static int check(const struct cor_file_place *place, unsigned index, struct cor_error *err)
{
	_cleanup_close_ int fd = make(place, index, err);
	int one = 1;

	if (fd < 0)
		return fd;
	if (setsockopt(fd, IPPROTO_TCP, TCP_REPAIR, &one, sizeof(one)) < 0)
		return cor_fail_errno(err, "descriptor %d: a TCP connection cannot be made here "
				      "(TCP_REPAIR)", cor_file_number(place->table, index));
	return 0;
}

/* A listening socket of our own on loopback, whose address is *ss. */
static int listen_here(int domain, struct sockaddr_storage *ss, socklen_t *len)
{
	_cleanup_close_ int fd = socket(domain, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct cor_inet_addr loopback = { .family = domain == AF_INET6 ? AF_INET6 : AF_INET };

	loopback.len = loopback.family == AF_INET6 ? 16 : 4;
	loopback.bytes[loopback.len - 1] = 1;
	if (loopback.family == AF_INET)
		loopback.bytes[0] = 127;
	cor_inet_addr_sockaddr(&loopback, 0, ss, len);
	if (fd < 0 || bind(fd, (struct sockaddr *)ss, *len) < 0 || listen(fd, 1) < 0 ||
	    getsockname(fd, (struct sockaddr *)ss, len) < 0)
		return -errno;
	return take_fd(&fd);
}

static int connect_blocking(int fd, const struct sockaddr_storage *ss, socklen_t len)
{
	int flags = fcntl(fd, F_GETFL), r;

	if (flags < 0 || fcntl(fd, F_SETFL, flags & ~O_NONBLOCK) < 0)
		return -errno;
	r = connect(fd, (const struct sockaddr *)ss, len) < 0 ? -errno : 0;
	return fcntl(fd, F_SETFL, flags) < 0 ? -errno : r;
}

/* Connects fd to a socket of our own, which says what is left to be read and then
 * resets the connection. The error of that is taken away unless one had waited. */
static int end_it(int fd, const Cor__Names__OpenFile *file)
{
	struct linger at_once = { .l_onoff = 1 };
	struct pollfd p = { .fd = fd };
	struct sockaddr_storage ss;
	_cleanup_close_ int listener = -1, peer = -1;
	socklen_t len;
	int r, e;

	listener = listen_here(file->domain, &ss, &len);
	if (listener < 0)
		return listener;
	r = connect_blocking(fd, &ss, len);
	if (r < 0)
		return r;
	peer = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	if (peer < 0)
		return -errno;
	for (size_t done = 0; done < file->connection->unread.len; ) {
		ssize_t n = send(peer, file->connection->unread.data + done,
				 file->connection->unread.len - done, MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n < 0)
			return -errno;
		done += (size_t)n;
	}
	setsockopt(peer, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
	close(take_fd(&peer));
	if (poll(&p, 1, 1000) != 1)
		return -ETIMEDOUT;
	len = sizeof(e);
	if (!file->connection->failed)
		getsockopt(fd, SOL_SOCKET, SO_ERROR, &e, &len);
	return 0;
}

static int restore(struct cor_file_restore *r, unsigned index, struct cor_error *err)
{
	const Cor__Names__OpenFile *file = cor_file_at(&r->place, index);
	_cleanup_close_ int fd = make(&r->place, index, err);
	int rc = 0;

	if (fd < 0)
		return fd;
	if (file->connection->state == TCP_CLOSE)
		rc = end_it(fd, file);
	if (rc < 0)
		return cor_fail_code(err, rc, "descriptor %d: a TCP connection that has ended",
				     cor_file_number(r->place.table, index));
	return cor_file_made(r, index, take_fd(&fd), "the socket", err);
}

const struct cor_file_ops cor_file_tcp = {
	.recognise = recognise,
	.capture   = capture,
	.capture_late = capture_late,
	.relate    = relate,
	.check     = check,
	.restore   = restore,
	.mechanism = COR_MECHANISM_TCP,
	.kinds     = 1u << COR__NAMES__FILE_KIND__TCP,
};
