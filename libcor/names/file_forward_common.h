/* What is asked of a socket that may stay, be it TCP (file_forward.c) or UDP
 * (file_forward_udp.c), and of one that has stayed. */
#pragma once

#include "libcor/names/file_ops.h"
#include "libcor/names/net/inet_diag.h"

/* Are the mechanism and what forwarding takes on? */
bool cor_forward_is_on(const struct cor_file_capture *c, enum cor_mechanism of);

/* False: it has none. */
bool cor_forward_name(int fd, bool peer, struct cor_inet_addr *out);

/* A socket of another network namespace than ours: that of a pump. */
bool cor_forward_is_away(int fd);

/* How it was decided by the earlier capture: 1: it stays, 0; -ENOENT: there was none. */
int cor_forward_before(const struct cor_file_capture *c, const struct cor_file_seen *seen);

/* Has the task that socket, which is of the same kind as seen? */
bool cor_forward_is_own(const struct cor_file_capture *c, const struct cor_file_seen *seen,
			const struct cor_inet_socket *socket);

/* One of IPv6 that means something on one link only. */
bool cor_forward_is_of_a_link(const ProtobufCBinaryData *address);
