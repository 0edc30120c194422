/* See file_forward.h; of UDP file_forward_udp.c has the rest. What stays of TCP:
 *
 *  - connections that have an address which does not move along, but for those that the
 *    task has with itself;
 *  - what listens at such an address;
 *  - what listens at all of them, if a connection through it stays. Without one it
 *    listens where the task goes. */
#include "libcor/base/compat.h"
#include "libcor/names/file_forward.h"

#include <cap-ng.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "libcor/base/cleanup.h"
#include "libcor/base/error.h"
#include "libcor/names/file_forward_common.h"
#include "libcor/names/file_forward_udp.h"
#include "libcor/names/file_socket.h"
#include "libcor/names/net/departure.h"
#include "libcor/names/net/inet_diag.h"
#include "libcor/names/net/socket.h"
#include "libcor/names/net/tcp_special.h"
#include "libcor/names/net/tcp_unread.h"
#include "libcor/names/pump/tun.h"

bool cor_forward_is_inet(const Cor__Names__PumpChannel *ch)
{
	return ch->kind == COR__NAMES__PUMP_KIND__PUMP_TCP ||
	       ch->kind == COR__NAMES__PUMP_KIND__PUMP_LISTENER ||
	       ch->kind == COR__NAMES__PUMP_KIND__PUMP_UDP;
}

/* ---- which --------------------------------------------------------------------------------- */

static uint8_t state_of(int fd)
{
	struct tcp_info info = { 0 };
	socklen_t len = sizeof(info);

	return getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len) < 0 ? TCP_CLOSE : info.tcpi_state;
}

static bool is_connected(uint8_t state)
{
	return state != TCP_CLOSE && state != TCP_LISTEN && state != TCP_SYN_SENT &&
	       state != TCP_SYN_RECV;
}

struct search {
	const struct cor_file_capture *c;
	const struct cor_file_seen *seen;
	struct cor_inet_addr ours, theirs;
	bool found;
};

static bool is_the_tasks(const struct search *s, const struct cor_inet_socket *socket)
{
	return cor_forward_is_own(s->c, s->seen, socket);
}

static bool stays_with_listener(void *arg, const struct cor_inet_socket *socket)
{
	struct search *s = arg;

	s->found = socket->ours.port == s->ours.port &&
		   !cor_inet_addr_is_loopback(&socket->ours) &&
		   !cor_departure_moves(s->c->departure, &socket->ours) && is_the_tasks(s, socket);
	return s->found;
}

#define CONNECTED (1u << TCP_ESTABLISHED | 1u << TCP_CLOSE_WAIT)

static bool listener_stays(struct search *s)
{
	const struct cor_file_capture *c = s->c;
	int before = cor_forward_before(c, s->seen);

	if (before >= 0)
		return before;
	if (cor_inet_addr_is_loopback(&s->ours))
		return false;
	if (!cor_inet_addr_is_any(&s->ours))
		return !cor_departure_moves(c->departure, &s->ours);
	return cor_inet_diag(CONNECTED, stays_with_listener, s, NULL) == 0 && s->found;
}

static bool connection_stays(struct search *s)
{
	struct cor_inet_socket other_end;
	int r;

	if (!cor_forward_name(s->seen->dup, true, &s->theirs) ||
	    cor_departure_moves(s->c->departure, &s->ours))
		return false;
	if (!cor_inet_addr_is_loopback(&s->ours) || !cor_inet_addr_is_loopback(&s->theirs))
		return true;
	r = cor_inet_diag_connection(&s->theirs, &s->ours, &other_end);
	return r == -ENOENT || (r == 0 && !is_the_tasks(s, &other_end));
}

bool cor_forward_stays(const struct cor_file_capture *c, const struct cor_file_seen *seen)
{
	struct search s = { .c = c, .seen = seen };
	struct cor_socket kind;
	uint8_t state;

	if (cor_socket_query(seen->dup, &kind) < 0 ||
	    (kind.domain != AF_INET && kind.domain != AF_INET6))
		return false;
	if (kind.type == SOCK_DGRAM && kind.protocol == IPPROTO_UDP)
		return cor_forward_udp_stays(c, seen);
	if (!cor_forward_is_on(c, COR_MECHANISM_TCP) || kind.type != SOCK_STREAM ||
	    kind.protocol != IPPROTO_TCP || !cor_forward_name(seen->dup, false, &s.ours))
		return false;
	state = state_of(seen->dup);
	if (!c->same_netns)
		return false;
	/* one that its pump has let go is what it is */
	if (cor_forward_is_away(seen->dup))
		return state == TCP_ESTABLISHED || kind.listening;
	return kind.listening ? listener_stays(&s) : is_connected(state) && connection_stays(&s);
}

/* ---- capture ---------------------------------------------------------------------------------- */

static int get_name(int fd, bool peer, ProtobufCBinaryData *out)
{
	struct sockaddr_storage ss;
	socklen_t len = sizeof(ss);
	int r = peer ? getpeername(fd, (struct sockaddr *)&ss, &len) :
		getsockname(fd, (struct sockaddr *)&ss, &len);

	return r < 0 ? -errno : cor_file_bytes(out, &ss, len);
}

int cor_forward_describe(const struct cor_file_seen *seen, Cor__Names__PumpChannel *ch)
{
	struct cor_socket kind;
	struct tcp_info info = { 0 };
	socklen_t len = sizeof(info);
	int v6only = 0, r = cor_socket_query(seen->dup, &kind);

	if (r == 0)
		r = get_name(seen->dup, false, &ch->address);
	if (r == 0 && kind.type == SOCK_DGRAM)
		return cor_forward_udp_describe(seen, ch);
	if (r == 0 && !kind.listening)
		r = get_name(seen->dup, true, &ch->peer_address);
	if (r < 0)
		return r;
	ch->kind = kind.listening ? COR__NAMES__PUMP_KIND__PUMP_LISTENER :
		   COR__NAMES__PUMP_KIND__PUMP_TCP;
	ch->task_reads = ch->task_writes = true;
	ch->identity = seen->st.st_ino;
	if (!kind.listening)
		return 0;
	if (getsockopt(seen->dup, IPPROTO_TCP, TCP_INFO, &info, &len) == 0)
		ch->backlog = (int32_t)info.tcpi_sacked;
	len = sizeof(v6only);
	if (kind.domain == AF_INET6 &&
	    getsockopt(seen->dup, IPPROTO_IPV6, IPV6_V6ONLY, &v6only, &len) == 0)
		ch->v6only = v6only != 0;
	return 0;
}

/* Decided when the socket was bound; or it means nothing where the other one is. locked: the
 * sizes of buffers that the task has set (SO_BUF_LOCK). */
static bool is_left_out(const Cor__Names__SocketOption *o, int locked)
{
	if (o->level == IPPROTO_IPV6)
		return o->name == IPV6_V6ONLY;
	if (o->level == SOL_SOCKET)
		return o->name == SO_BINDTODEVICE || (o->name == SO_SNDBUF && !(locked & 1)) ||
		       (o->name == SO_RCVBUF && !(locked & 2));
	return false;
}

static void leave_out(int fd, Cor__Names__OpenFile *out)
{
	int locked = 0;
	socklen_t len = sizeof(locked);
	size_t n = 0;

	getsockopt(fd, SOL_SOCKET, SO_BUF_LOCK, &locked, &len);
	for (size_t i = 0; i < out->n_options; i++) {
		Cor__Names__SocketOption *o = out->options[i];

		if (is_left_out(o, locked))
			cor__names__socket_option__free_unpacked(o, NULL);
		else
			out->options[n++] = o;
	}
	out->n_options = n;
}

/* How much the task's side holds, by now: a peer that has said all that it had to say, and a task
 * that waits for the end of it, would wait for each other where there is room for less. */
static void note_room(int fd, Cor__Names__OpenFile *out)
{
	int locked = 0, room = 0;
	socklen_t len = sizeof(int);

	if (getsockopt(fd, SOL_SOCKET, SO_BUF_LOCK, &locked, &len) == 0 && !(locked & 2) &&
	    getsockopt(fd, SOL_SOCKET, SO_RCVBUF, &room, &len) == 0)
		out->adapted_room = (uint32_t)room;
}

int cor_forward_capture(struct cor_file_capture *c, const struct cor_file_seen *seen, bool known,
			Cor__Names__OpenFile *out, struct cor_error *err)
{
	uint8_t state;
	int r;

	if (!known && cor_forward_is_away(seen->dup))
		return cor_fail(err, -EAGAIN, "descriptor %d is a connection that was made just now",
				seen->fd);
	r = cor_socket_begin(c, seen, out, err);
	if (r == 0)
		r = cor_socket_capture(c, seen, out, err);
	if (r == 0)
		r = cor_socket_address(seen, false, &out->address, err);
	if (r == 0)
		r = cor_socket_address(seen, true, &out->peer_address, err);
	if (r < 0)
		return r;
	leave_out(seen->dup, out);
	if (cor_forward_is_of_a_link(&out->address) || cor_forward_is_of_a_link(&out->peer_address))
		return cor_file_refuse(err, seen, "a %s socket of an IPv6 link: that is not forwarded",
				       out->type == SOCK_DGRAM ? "UDP" : "TCP");
	if (out->type == SOCK_DGRAM)
		return cor_forward_udp_capture(seen, out, err);
	if (!out->listening)
		note_room(seen->dup, out);
	state = state_of(seen->dup);
	out->shut_write = state == TCP_FIN_WAIT1 || state == TCP_FIN_WAIT2 || state == TCP_CLOSING ||
			  state == TCP_LAST_ACK;
	return out->listening ? 0 : cor_tcp_refuse_special(seen, out, err);
}

int cor_forward_unread(const struct cor_file_seen *seen, uint64_t arrived,
		       Cor__Names__OpenFile *out, struct cor_error *err)
{
	_cleanup_free_ uint8_t *data = NULL;
	Cor__Names__Message *m;
	ssize_t n;

	if (out->type == SOCK_DGRAM)
		return cor_forward_udp_unread(seen, out, err);
	/* what the kernel has delivered since the pump counted what had not arrived, the pump has
	 * too, and gives again */
	n = out->listening ? 0 :
	    cor_tcp_peek_unread(seen->dup, arrived ? arrived - 1 : UINT64_MAX, &data);
	if (n <= 0)
		return n < 0 ? cor_fail_code(err, (int)n, "descriptor %d: what it has not read",
					     seen->fd) : 0;
	m = COR_FILE_APPEND(out->unread, out->n_unread, Cor__Names__Message,
			    cor__names__message__init);
	return m ? cor_file_bytes(&m->data, data, (size_t)n) : -ENOMEM;
}

int cor_forward_check(const Cor__Names__OpenFile *file, int number, struct cor_error *err)
{
	struct cor_pump_net *net;
	int tun, r = file->type == SOCK_DGRAM ? cor_pump_tun_new(NULL, 0, &net, &tun, err) :
					       cor_pump_net_new(&net, err);

	if (r < 0)
		return cor_fail_prefix(err, r, "descriptor %d", number);
	if (file->type == SOCK_DGRAM)
		close(tun);
	cor_pump_net_free(net);
	return 0;
}

bool cor_forward_possible(void)
{
	return capng_get_caps_process() == 0 && capng_have_capability(CAPNG_EFFECTIVE, CAP_NET_ADMIN) &&
	       capng_have_capability(CAPNG_EFFECTIVE, CAP_SYS_ADMIN);
}
