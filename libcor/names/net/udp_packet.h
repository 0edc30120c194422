/* UDP datagrams as IP packets (RFC 768, 791, 8200), as a TUN device gives and takes
 * them (pump/tun.h). No system calls. */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "libcor/names/net/inet_addr.h"

#define COR_UDP_PACKET_MAX (40 + 65535)

struct cor_udp_packet {
	struct cor_inet_addr from, to;  /* with their ports */
	const uint8_t *data;
	size_t len;
};

/* data is within bytes. -EPROTO: no datagram, or not a whole one. */
int cor_udp_packet_parse(const void *bytes, size_t len, struct cor_udp_packet *out);

/* Into buf, of COR_UDP_PACKET_MAX bytes. Its length; -EAFNOSUPPORT: addresses of two
 * families; -EMSGSIZE: more than a packet of that family holds. */
ssize_t cor_udp_packet_build(const struct cor_udp_packet *p, uint8_t *buf);

/* The same of what ICMP says when p has come to a port that nobody has: it goes to p->from,
 * and all that it tells of p are its addresses. */
ssize_t cor_udp_packet_refusal(const struct cor_udp_packet *p, uint8_t *buf);
