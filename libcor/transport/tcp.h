/* TCP: addresses, listening, connecting, and what each kind of lane wants of its
 * socket. See tcp(7), socket(7), getaddrinfo(3). */
#pragma once

#include <cor/error.h>
#include <stddef.h>

#include "libcor/transport/preamble.h"

/* Room for the host of an ADDR:PORT (RFC 1035 names, IPv6 text with a scope)
 * and for its port, NUL included. */
#define COR_HOST_TEXT 256
#define COR_PORT_TEXT 6
/* Room for "[host]:port". */
#define COR_ADDRPORT_TEXT (COR_HOST_TEXT + COR_PORT_TEXT + 3)

struct cor_addrport {
	char host[COR_HOST_TEXT];   /* without brackets; empty: any address */
	char port[COR_PORT_TEXT];   /* decimal, 0..65535 */
};

/* Takes "ADDR:PORT" apart: IPv4 or a name, "[IPv6]:port", ":port" or "*:port" for
 * any address. The port is decimal. -EINVAL. */
int cor_addrport_parse(const char *text, struct cor_addrport *out, struct cor_error *err);

/* Whether every address that addrport resolves to is a loopback one: 1, 0, or -EINVAL,
 * -EADDRNOTAVAIL (it resolves to none). */
int cor_addrport_is_loopback(const char *addrport);

/* Listens on addrport with SO_REUSEADDR; port 0 lets the kernel choose. Stores a
 * non-blocking, close-on-exec socket in *fd and returns the bound port (> 0), or
 * -EINVAL (address text), -ENXIO (the name does not resolve), -errno of bind(2). */
int cor_tcp_listen(const char *addrport, int *fd, struct cor_error *err);

/* One waiting connection, non-blocking and close-on-exec, with keepalive; -EAGAIN. */
int cor_tcp_accept(int listener, struct cor_error *err);

/* Connects to the first address of addrport that answers within timeout_ms
 * altogether (resolving a name comes on top). Stores a blocking, close-on-exec
 * socket with TCP_NODELAY and keepalive. An empty host means loopback.
 * -EINVAL, -ENXIO, -ETIMEDOUT, -errno of connect(2). */
int cor_tcp_connect(const char *addrport, unsigned timeout_ms, int *fd, struct cor_error *err);

/* A peer that has not answered for so long (data, or probes where there is none) is
 * taken as gone: reading then fails with ETIMEDOUT (tcp(7): TCP_USER_TIMEOUT,
 * TCP_KEEPIDLE). seconds > 0. Without this it is half a minute. Not a TCP socket:
 * nothing. */
void cor_tcp_give_up_after(int fd, unsigned seconds);

/* Tunes a connected socket for its kind of lane. Not a TCP socket: nothing. */
void cor_tcp_tune(int fd, enum cor_connection_kind kind);
