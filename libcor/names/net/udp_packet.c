/* See net/udp_packet.h. */
#include "libcor/names/net/udp_packet.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/icmp6.h>
#include <netinet/ip.h>
#include <netinet/ip6.h>
#include <netinet/ip_icmp.h>
#include <netinet/udp.h>
#include <string.h>

#define TTL 64

/* ---- taken apart ------------------------------------------------------------------------- */

static void take_addr(struct cor_inet_addr *to, int family, const void *from)
{
	*to = (struct cor_inet_addr){ .family = family, .len = family == AF_INET ? 4 : 16 };
	memcpy(to->bytes, from, to->len);
}

/* Where the datagram begins, and *end behind the packet. -EPROTO. */
static ssize_t parse_v4(const uint8_t *bytes, size_t len, struct cor_udp_packet *p, size_t *end)
{
	size_t head, total;
	struct iphdr ip;

	if (len < sizeof(ip))
		return -EPROTO;
	memcpy(&ip, bytes, sizeof(ip));
	head = ip.ihl * 4u;
	total = ntohs(ip.tot_len);
	if (head < sizeof(ip) || total < head || total > len || ip.protocol != IPPROTO_UDP ||
	    (ntohs(ip.frag_off) & (IP_MF | IP_OFFMASK)))
		return -EPROTO;
	take_addr(&p->from, AF_INET, &ip.saddr);
	take_addr(&p->to, AF_INET, &ip.daddr);
	*end = total;
	return (ssize_t)head;
}

static ssize_t parse_v6(const uint8_t *bytes, size_t len, struct cor_udp_packet *p, size_t *end)
{
	struct ip6_hdr ip;

	if (len < sizeof(ip))
		return -EPROTO;
	memcpy(&ip, bytes, sizeof(ip));
	if (ip.ip6_nxt != IPPROTO_UDP || ntohs(ip.ip6_plen) > len - sizeof(ip))
		return -EPROTO;
	take_addr(&p->from, AF_INET6, &ip.ip6_src);
	take_addr(&p->to, AF_INET6, &ip.ip6_dst);
	*end = sizeof(ip) + ntohs(ip.ip6_plen);
	return sizeof(ip);
}

int cor_udp_packet_parse(const void *packet, size_t len, struct cor_udp_packet *out)
{
	const uint8_t *bytes = packet;
	unsigned version = len ? bytes[0] >> 4 : 0;
	struct cor_udp_packet p = { 0 };
	struct udphdr udp;
	size_t end = 0;
	ssize_t at = version == 4 ? parse_v4(bytes, len, &p, &end) :
		     version == 6 ? parse_v6(bytes, len, &p, &end) : -EPROTO;

	if (at < 0 || end - (size_t)at < sizeof(udp))
		return -EPROTO;
	memcpy(&udp, bytes + at, sizeof(udp));
	if (ntohs(udp.len) < sizeof(udp) || ntohs(udp.len) > end - (size_t)at)
		return -EPROTO;
	p.from.port = udp.source;
	p.to.port = udp.dest;
	p.data = bytes + at + sizeof(udp);
	p.len = ntohs(udp.len) - sizeof(udp);
	*out = p;
	return 0;
}

/* ---- and put together --------------------------------------------------------------------- */

/* RFC 1071: the sum of 16-bit words, not folded yet. */
static uint64_t sum(uint64_t so_far, const void *data, size_t len)
{
	const uint8_t *from = data;
	uint16_t word;

	for (; len > 1; len -= 2, from += 2) {
		memcpy(&word, from, sizeof(word));
		so_far += word;
	}
	if (len) {
		word = 0;
		memcpy(&word, from, 1);
		so_far += word;
	}
	return so_far;
}

static uint16_t fold(uint64_t sum)
{
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)~sum;
}

/* Of what IPv6, and UDP over IPv4, count beside their own bytes. */
static uint64_t sum_of_ends(const struct cor_inet_addr *from, const struct cor_inet_addr *to,
			    uint8_t protocol, size_t len)
{
	uint8_t tail[4] = { 0, protocol, (uint8_t)(len >> 8), (uint8_t)len };
	uint64_t s = sum(0, from->bytes, from->len);

	return sum(sum(s, to->bytes, to->len), tail, sizeof(tail));
}

/* The header of a packet with len bytes behind it; its length. */
static size_t put_head(uint8_t *buf, const struct cor_inet_addr *from,
		       const struct cor_inet_addr *to, uint8_t protocol, size_t len)
{
	struct iphdr ip = { .version = 4, .ihl = 5, .ttl = TTL, .protocol = protocol };
	struct ip6_hdr ip6 = { .ip6_flow = htonl(6u << 28), .ip6_hlim = TTL };

	if (from->family == AF_INET) {
		ip.tot_len = htons((uint16_t)(sizeof(ip) + len));
		ip.frag_off = htons(IP_DF);
		memcpy(&ip.saddr, from->bytes, 4);
		memcpy(&ip.daddr, to->bytes, 4);
		ip.check = fold(sum(0, &ip, sizeof(ip)));
		memcpy(buf, &ip, sizeof(ip));
		return sizeof(ip);
	}
	ip6.ip6_plen = htons((uint16_t)len);
	ip6.ip6_nxt = protocol;
	memcpy(&ip6.ip6_src, from->bytes, 16);
	memcpy(&ip6.ip6_dst, to->bytes, 16);
	memcpy(buf, &ip6, sizeof(ip6));
	return sizeof(ip6);
}

ssize_t cor_udp_packet_build(const struct cor_udp_packet *p, uint8_t *buf)
{
	struct udphdr udp = { .source = p->from.port, .dest = p->to.port };
	size_t len = sizeof(udp) + p->len, head, most;

	if (p->from.family != p->to.family)
		return -EAFNOSUPPORT;
	most = p->from.family == AF_INET ? UINT16_MAX - sizeof(struct iphdr) : UINT16_MAX;
	if (p->len > most || len > most)
		return -EMSGSIZE;
	udp.len = htons((uint16_t)len);
	udp.check = fold(sum(sum(sum_of_ends(&p->from, &p->to, IPPROTO_UDP, len), &udp,
				 sizeof(udp)), p->data, p->len));
	/* none at all is written as zero */
	if (udp.check == 0)
		udp.check = 0xffff;
	head = put_head(buf, &p->from, &p->to, IPPROTO_UDP, len);
	memcpy(buf + head, &udp, sizeof(udp));
	if (p->len)
		memcpy(buf + head + sizeof(udp), p->data, p->len);
	return (ssize_t)(head + len);
}

ssize_t cor_udp_packet_refusal(const struct cor_udp_packet *p, uint8_t *buf)
{
	struct cor_udp_packet empty = { .from = p->from, .to = p->to };
	uint8_t quoted[sizeof(struct ip6_hdr) + sizeof(struct udphdr)];
	bool v4 = p->from.family == AF_INET;
	uint8_t protocol = v4 ? IPPROTO_ICMP : IPPROTO_ICMPV6;
	uint8_t icmp[8] = { v4 ? ICMP_DEST_UNREACH : ICMP6_DST_UNREACH,
			    v4 ? ICMP_PORT_UNREACH : ICMP6_DST_UNREACH_NOPORT };
	ssize_t n = cor_udp_packet_build(&empty, quoted);
	uint64_t s;
	uint16_t check;
	size_t head;

	if (n < 0)
		return n;
	s = v4 ? 0 : sum_of_ends(&p->to, &p->from, protocol, sizeof(icmp) + (size_t)n);
	check = fold(sum(sum(s, icmp, sizeof(icmp)), quoted, (size_t)n));
	memcpy(icmp + 2, &check, sizeof(check));
	head = put_head(buf, &p->to, &p->from, protocol, sizeof(icmp) + (size_t)n);
	memcpy(buf + head, icmp, sizeof(icmp));
	memcpy(buf + head + sizeof(icmp), quoted, (size_t)n);
	return (ssize_t)(head + sizeof(icmp) + (size_t)n);
}
