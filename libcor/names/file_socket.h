/* What the kinds of sockets share: names, options, queued messages. */
#pragma once

#include <netinet/in.h>
#include <sys/socket.h>

#include "libcor/names/file_ops.h"

#ifndef IPPROTO_MPTCP
#define IPPROTO_MPTCP 262
#endif

#define COR_SOCKET_NAME 136     /* room for a printable address */

struct cor_socket {
	int  domain, type, protocol;
	bool listening;
};

/* -errno when it is not a socket. */
int cor_socket_query(int fd, struct cor_socket *out);

/* "10.0.0.1:80", "[::1]:80", "/run/x.sock", "@abstract", "(unnamed)". */
void cor_socket_print(const struct sockaddr_storage *ss, socklen_t len,
		      char name[COR_SOCKET_NAME]);

/* getsockname(2) or getpeername(2) into bytes; nothing where there is none. */
int cor_socket_address(const struct cor_file_seen *seen, bool peer, ProtobufCBinaryData *out,
		       struct cor_error *err);

/* An address that came in a table, whose length was checked. -EPROTO. */
int cor_socket_sockaddr(const ProtobufCBinaryData *bytes, struct sockaddr_storage *out,
			socklen_t *len);

/* An address as it travels, or "(unnamed)". */
void cor_socket_print_bytes(const ProtobufCBinaryData *bytes, char name[COR_SOCKET_NAME]);

/* Domain, type and protocol into out; what cor_socket_capture() compares with is found
 * out, so that it may be called in several threads. */
int cor_socket_begin(struct cor_file_capture *c, const struct cor_file_seen *seen,
		     Cor__Names__OpenFile *out, struct cor_error *err);

/* Domain, type, protocol and options into out; refuses what all sockets are
 * refused for: another network namespace, another holder, a packet filter. */
int cor_socket_capture(struct cor_file_capture *c, const struct cor_file_seen *seen,
		       Cor__Names__OpenFile *out, struct cor_error *err);

/* Is it listed: does it differ from a new socket's? */
bool cor_socket_has_option(const Cor__Names__OpenFile *file, int level, int name);

/* Lets fd be bound to an address that is not here yet, and be connected from it; and
 * back to what file says. -errno. */
int cor_socket_transparent(int fd, int domain, int on);
int cor_socket_opaque(const Cor__Names__OpenFile *file, int fd);

/* A table comes from a peer, who may have only what is carried: no raw sockets, no
 * family whose module the kernel would load for it. */
bool cor_socket_is_carried(const Cor__Names__OpenFile *file);

/* A new socket of the file's kind, close-on-exec, O_NONBLOCK as it was.
 * -EPROTONOSUPPORT: not one that is carried; -errno. */
int cor_socket_make(const Cor__Names__OpenFile *file);

/* Refuses what a TCP connection may have that is not carried: MPTCP, urgent data, TLS of
 * the kernel's, ... out: its addresses are set. (file_tcp.c) */
int cor_tcp_refuse_special(const struct cor_file_seen *seen, const Cor__Names__OpenFile *out,
			   struct cor_error *err);

/* Refuses what a UDP socket may have that is not carried: members of multicast groups, ...
 * out: its address is set. (net/udp_special.c) */
int cor_udp_refuse_special(const struct cor_file_seen *seen, const Cor__Names__OpenFile *out,
			   struct cor_error *err);

/* --- net/socket_options.c ------------------------------------------------------ */

#define COR_SOCKET_OPTIONS    128       /* how many are known, at most */
#define COR_SOCKET_OPTION_MAX 64        /* the longest value */

/* The options of a new socket of that kind; len 0: it has no such option. */
struct cor_socket_usual {
	struct cor_socket_usual *next;
	int domain, type, protocol;
	socklen_t len[COR_SOCKET_OPTIONS];
	unsigned char value[COR_SOCKET_OPTIONS][COR_SOCKET_OPTION_MAX];
};

/* At the end of a capture. */
void cor_socket_usual_free(struct cor_file_capture *c);

/* Finds out what the options of a new socket of out's kind are. */
int cor_socket_options_usual(struct cor_file_capture *c, const struct cor_file_seen *seen,
			     const Cor__Names__OpenFile *out, struct cor_error *err);

/* Options that differ from those of a new socket. */
int cor_socket_options_capture(struct cor_file_capture *c, const struct cor_file_seen *seen, Cor__Names__OpenFile *out,
			       struct cor_error *err);

/* Sets those that must be set before bind(2), or all the others. number: the
 * descriptor's, for the sentence. */
int cor_socket_options_set(const Cor__Names__OpenFile *file, int fd, bool before_bind, int number,
			   struct cor_error *err);

/* --- net/socket_unread.c ------------------------------------------------------- */

/* The queued messages of a UNIX socket, peeked: one for a stream, each for the
 * other types. */
int cor_socket_unread_capture(const struct cor_file_seen *seen, Cor__Names__OpenFile *out,
			      struct cor_error *err);

/* Sends file's messages through from, whose peer is the socket that had them. -errno. */
int cor_socket_unread_send(const Cor__Names__OpenFile *file, int from);
