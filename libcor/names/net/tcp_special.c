/* See net/tcp_special.h. */
#include "libcor/base/compat.h"
#include "libcor/names/net/tcp_special.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>

#include "libcor/names/net/socket.h"

int cor_tcp_refuse(const struct cor_file_seen *seen, const Cor__Names__OpenFile *out,
		   const char *why, struct cor_error *err)
{
	char ours[COR_SOCKET_NAME], theirs[COR_SOCKET_NAME];

	cor_socket_print_bytes(&out->address, ours);
	cor_socket_print_bytes(&out->peer_address, theirs);
	return cor_file_refuse(err, seen, "a TCP connection from %s to %s: %s", ours, theirs, why);
}

/* What TCP_REPAIR does not know of. */
int cor_tcp_refuse_special(const struct cor_file_seen *seen, const Cor__Names__OpenFile *out,
			   struct cor_error *err)
{
	struct pollfd p = { .fd = seen->dup, .events = POLLPRI };
	char ulp[32] = "", why[96];
	socklen_t len = sizeof(ulp) - 1;

	if (out->protocol == IPPROTO_MPTCP)
		return cor_tcp_refuse(seen, out, "it is MPTCP, which is not carried", err);
	if (poll(&p, 1, 0) == 1 && (p.revents & POLLPRI))
		return cor_tcp_refuse(seen, out, "it has urgent data that is not read yet, "
				      "which is not carried", err);
	if (getsockopt(seen->dup, IPPROTO_TCP, TCP_ULP, ulp, &len) == 0 && len && ulp[0]) {
		snprintf(why, sizeof(why), "the kernel does %s for it (TCP_ULP), which is not "
			 "carried", ulp);
		return cor_tcp_refuse(seen, out, why, err);
	}
	len = sizeof(why);
	if (getsockopt(seen->dup, IPPROTO_TCP, TCP_AO_INFO, why, &len) == 0)
		return cor_tcp_refuse(seen, out, "it is authenticated (TCP_AO), which is not "
				      "carried", err);
	if (cor_socket_is_on(seen->dup, SOL_SOCKET, SO_ZEROCOPY))
		return cor_tcp_refuse(seen, out, "it sends without copying (SO_ZEROCOPY), which is "
				      "not carried", err);
	if (cor_socket_is_on(seen->dup, SOL_SOCKET, SO_TIMESTAMPING))
		return cor_tcp_refuse(seen, out, "it has timestamps reported (SO_TIMESTAMPING), "
				      "which is not carried", err);
	return 0;
}
