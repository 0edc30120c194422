/* Sockets: what all of them have, and the refusal of families not carried. */
#include "libcor/names/file_socket.h"

#include <sys/socket.h>

#include "libcor/base/error.h"
#include "libcor/names/net/departure.h"
#include "libcor/names/net/socket.h"
#include "libcor/names/net/socket_options.h"

int cor_socket_begin(struct cor_file_capture *c, const struct cor_file_seen *seen,
		     Cor__Names__OpenFile *out, struct cor_error *err)
{
	struct cor_socket s;
	int rc = cor_socket_query(seen->dup, &s);

	if (rc < 0)
		return cor_fail_code(err, rc, "descriptor %d: its socket", seen->fd);
	out->domain = s.domain;
	out->type = s.type;
	out->protocol = s.protocol;
	out->listening = s.listening;
	return cor_socket_options_usual(c, seen, out, err);
}

int cor_socket_capture(struct cor_file_capture *c, const struct cor_file_seen *seen,
		       Cor__Names__OpenFile *out, struct cor_error *err)
{
	socklen_t instructions = 0;
	int rc = out->domain ? 0 : cor_socket_begin(c, seen, out, err);

	if (rc < 0)
		return rc;
	if (!c->same_netns)
		return cor_file_refuse(err, seen, "a socket of a network namespace that is not "
				       "cord's: that is not carried yet");
	if (seen->holder.pid)
		return cor_file_refuse_shared(err, seen, "a socket");
	if (getsockopt(seen->dup, SOL_SOCKET, SO_GET_FILTER, NULL, &instructions) == 0 &&
	    instructions && !cor_departure_gated(c->departure, out))
		return cor_file_refuse(err, seen, "a socket with a packet filter: filters are not "
				       "carried yet");
	return cor_socket_options_capture(c, seen, out, err);
}

/* --- all the others -------------------------------------------------------- */

static int recognise(const struct cor_file_capture *c, const struct cor_file_seen *seen)
{
	/* any kind: capture refuses it, whatever it is */
	return S_ISSOCK(seen->st.st_mode) ? COR__NAMES__FILE_KIND__INET : -1;
}

static const char *family_name(const struct cor_socket *s)
{
	switch (s->domain) {
	case AF_NETLINK:   return "a netlink socket";
	case AF_PACKET:    return "a packet socket";
	case AF_VSOCK:     return "a vsock socket";
	case AF_ALG:       return "a socket of the kernel's crypto interface (AF_ALG)";
	case AF_BLUETOOTH: return "a Bluetooth socket";
	case AF_XDP:       return "an XDP socket";
	case AF_CAN:       return "a CAN socket";
	case AF_TIPC:      return "a TIPC socket";
	case AF_INET:
	case AF_INET6:     return s->type == SOCK_RAW ? "a raw socket" : "an IP socket";
	default:           return "a socket";
	}
}

static int capture(struct cor_file_capture *c, const struct cor_file_seen *seen,
		   Cor__Names__OpenFile *out, struct cor_error *err)
{
	struct cor_socket s = { 0 };

	cor_socket_query(seen->dup, &s);
	return cor_file_refuse(err, seen, "%s (family %d, type %d, protocol %d): only TCP, UDP and "
			       "UNIX sockets are carried", family_name(&s), s.domain, s.type,
			       s.protocol);
}

const struct cor_file_ops cor_file_socket = {
	.recognise = recognise,
	.capture   = capture,
};
