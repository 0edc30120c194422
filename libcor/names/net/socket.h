/* A socket, of whatever kind: what it is, its names, and a new one like it. */
#pragma once

#include <netinet/in.h>
#include <sys/socket.h>

#include "libcor/names/file_ops.h"

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

/* Is the option, a number, other than 0? Not if there is no such option here. */
bool cor_socket_is_on(int fd, int level, int name);
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
