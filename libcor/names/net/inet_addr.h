/* An Internet address out of a sockaddr, IPv4 within IPv6 unwrapped. */
#pragma once

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#include "libcor/names/files.pb-c.h"

struct cor_inet_addr {
	int      family;        /* AF_INET, AF_INET6 */
	unsigned len;           /* 4, 16 */
	uint8_t  bytes[16];
	uint16_t port;          /* as on the wire */
};

/* bytes: a sockaddr as it travels. -EAFNOSUPPORT: no Internet address; -EPROTO. */
int cor_inet_addr_of(const ProtobufCBinaryData *bytes, struct cor_inet_addr *out);

void cor_inet_addr_sockaddr(const struct cor_inet_addr *addr, uint16_t port,
			    struct sockaddr_storage *out, socklen_t *len);

/* The same, an IPv4 address within IPv6. */
void cor_inet_addr_wrapped(const struct cor_inet_addr *addr, uint16_t port,
			   struct sockaddr_storage *out, socklen_t *len);

/* The same host address, whatever the ports? */
bool cor_inet_addr_same(const struct cor_inet_addr *a, const struct cor_inet_addr *b);

bool cor_inet_addr_is_any(const struct cor_inet_addr *a);
bool cor_inet_addr_is_loopback(const struct cor_inet_addr *a);
