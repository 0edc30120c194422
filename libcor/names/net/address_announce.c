/* Telling the network where an address is now: gratuitous ARP (RFC 5227) and, for
 * IPv6, an unsolicited neighbour advertisement (RFC 4861). */
#include <errno.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <netinet/icmp6.h>
#include <netinet/if_ether.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

#include "libcor/base/cleanup.h"
#include "libcor/base/error.h"
#include "libcor/names/net/address.h"

int cor_address_announcer(void)
{
	int fd = socket(AF_PACKET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	return fd < 0 ? -errno : fd;
}

/* Some update their tables by a request, some by a reply: both are sent. */
static int announce_arp(const struct cor_address *a, int fd, unsigned short op)
{
	struct sockaddr_ll to = {
		.sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ARP),
		.sll_ifindex = (int)a->ifindex, .sll_halen = ETH_ALEN,
	};
	struct ether_arp arp = {
		.ea_hdr = { .ar_hrd = htons(ARPHRD_ETHER), .ar_pro = htons(ETH_P_IP),
			    .ar_hln = ETH_ALEN, .ar_pln = 4, .ar_op = htons(op) },
	};

	memset(to.sll_addr, 0xff, ETH_ALEN);
	memcpy(arp.arp_sha, a->hwaddr, ETH_ALEN);
	memcpy(arp.arp_spa, a->host.bytes, 4);
	memcpy(arp.arp_tpa, a->host.bytes, 4);
	if (op == ARPOP_REPLY)
		memset(arp.arp_tha, 0xff, ETH_ALEN);
	if (sendto(fd, &arp, sizeof(arp), 0, (struct sockaddr *)&to, sizeof(to)) < 0)
		return -errno;
	return 0;
}

struct advertisement {
	struct nd_neighbor_advert na;
	struct nd_opt_hdr opt;
	uint8_t hwaddr[ETH_ALEN];
} __attribute__((packed));

static int announce_neighbour(const struct cor_address *a)
{
	_cleanup_close_ int fd = socket(AF_INET6, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_ICMPV6);
	struct sockaddr_in6 to = { .sin6_family = AF_INET6, .sin6_scope_id = a->ifindex };
	struct sockaddr_in6 from = { .sin6_family = AF_INET6, .sin6_scope_id = a->ifindex };
	struct advertisement m = {
		.na = { .nd_na_type = ND_NEIGHBOR_ADVERT, .nd_na_flags_reserved = ND_NA_FLAG_OVERRIDE },
		.opt = { .nd_opt_type = ND_OPT_TARGET_LINKADDR, .nd_opt_len = 1 },
	};
	static const uint8_t all_nodes[16] = { 0xff, 0x02, [15] = 1 };
	int hops = 255, ifindex = (int)a->ifindex;

	memcpy(&to.sin6_addr, all_nodes, sizeof(all_nodes));
	memcpy(&from.sin6_addr, a->host.bytes, 16);
	memcpy(&m.na.nd_na_target, a->host.bytes, 16);
	memcpy(m.hwaddr, a->hwaddr, ETH_ALEN);
	if (fd < 0 ||
	    setsockopt(fd, IPPROTO_IPV6, IPV6_MULTICAST_HOPS, &hops, sizeof(hops)) < 0 ||
	    setsockopt(fd, IPPROTO_IPV6, IPV6_MULTICAST_IF, &ifindex, sizeof(ifindex)) < 0 ||
	    bind(fd, (struct sockaddr *)&from, sizeof(from)) < 0 ||
	    sendto(fd, &m, sizeof(m), 0, (struct sockaddr *)&to, sizeof(to)) < 0)
		return -errno;
	return 0;
}

int cor_address_announce(const struct cor_address *a, int announcer, struct cor_error *err)
{
	char text[COR_ADDRESS_TEXT];
	int r;

	if (a->host.family == AF_INET6) {
		r = announce_neighbour(a);
	} else {
		r = announce_arp(a, announcer, ARPOP_REQUEST);
		if (r == 0)
			r = announce_arp(a, announcer, ARPOP_REPLY);
	}
	if (r == 0)
		return 0;
	cor_address_print(a, text);
	return cor_fail_code(err, r, "telling the network that %s is here", text);
}
