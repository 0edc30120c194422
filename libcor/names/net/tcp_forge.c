/* A FIN as of the peer's: TCP_REPAIR makes connections that both ends still have open
 * only. The packet is made here, and goes by the loopback device to the connection,
 * whose address is this host's, so that it leads nowhere else. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/ip.h>
#include <netinet/ip6.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "libcor/base/cleanup.h"
#include "libcor/base/error.h"
#include "libcor/base/io.h"
#include "libcor/names/net/inet_addr.h"
#include "libcor/names/net/tcp_repair.h"

#define ARRIVES_IN_NS  5000000ull       /* it is processed on this very processor */
#define ATTEMPTS       100
#define WINDOW_MAX     65535

struct packet {
	union {
		struct iphdr   v4;
		struct ip6_hdr v6;
		uint8_t        bytes[40 + sizeof(struct tcphdr)];
	};
};

static uint32_t add_up(uint32_t sum, const void *data, size_t len)
{
	const uint8_t *p = data;

	for (size_t i = 0; i + 1 < len; i += 2)
		sum += (uint32_t)p[i] << 8 | p[i + 1];
	return sum;
}

static uint16_t fold(uint32_t sum)
{
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return htons((uint16_t)~sum);
}

static void fill_tcp(struct tcphdr *tcp, const struct cor_inet_addr *from,
		     const struct cor_inet_addr *to, const Cor__Names__Connection *c)
{
	uint32_t window = c->send_window >> (c->options & TCPI_OPT_WSCALE ? c->send_scale : 0);
	uint32_t acked = c->send_next - (uint32_t)(c->sent.len + c->unsent.len);

	if (cor_tcp_fin_written(c->state))
		acked--;
	*tcp = (struct tcphdr){
		.source = from->port, .dest = to->port,
		.seq = htonl(c->recv_next - 1), .ack_seq = htonl(acked),
		.doff = sizeof(*tcp) / 4, .fin = 1, .ack = 1,
		.window = htons((uint16_t)COR_MIN(window, (uint32_t)WINDOW_MAX)),
	};
}

/* Its length. */
static size_t make(struct packet *p, const struct cor_inet_addr *from,
		   const struct cor_inet_addr *to, const Cor__Names__Connection *c)
{
	size_t head = to->family == AF_INET ? sizeof(p->v4) : sizeof(p->v6);
	struct tcphdr tcp;
	uint32_t sum = IPPROTO_TCP + sizeof(tcp);

	fill_tcp(&tcp, from, to, c);
	sum = add_up(sum, from->bytes, from->len);
	sum = add_up(sum, to->bytes, to->len);
	tcp.check = fold(add_up(sum, &tcp, sizeof(tcp)));
	memset(p, 0, sizeof(*p));
	if (to->family == AF_INET) {
		/* the kernel fills in id and checksum */
		p->v4.version = 4;
		p->v4.ihl = sizeof(p->v4) / 4;
		p->v4.tot_len = htons((uint16_t)(head + sizeof(tcp)));
		p->v4.ttl = 64;
		p->v4.protocol = IPPROTO_TCP;
		memcpy(&p->v4.saddr, from->bytes, from->len);
		memcpy(&p->v4.daddr, to->bytes, to->len);
	} else {
		p->v6.ip6_vfc = 6 << 4;
		p->v6.ip6_plen = htons(sizeof(tcp));
		p->v6.ip6_nxt = IPPROTO_TCP;
		p->v6.ip6_hlim = 64;
		memcpy(&p->v6.ip6_src, from->bytes, from->len);
		memcpy(&p->v6.ip6_dst, to->bytes, to->len);
	}
	memcpy(p->bytes + head, &tcp, sizeof(tcp));
	return head + sizeof(tcp);
}

/* With a header of its own, to where it is routed: to us. */
static int send_to_self(const struct cor_inet_addr *to, const struct packet *p, size_t len)
{
	_cleanup_close_ int raw = socket(to->family, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_RAW);
	struct sockaddr_storage ss;
	socklen_t ss_len;

	cor_inet_addr_sockaddr(to, 0, &ss, &ss_len);
	if (raw < 0 || sendto(raw, p, len, 0, (struct sockaddr *)&ss, ss_len) != (ssize_t)len)
		return -errno;
	return 0;
}

static bool has_arrived(int fd)
{
	struct tcp_info info = { 0 };
	socklen_t len = sizeof(info);

	return getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len) == 0 &&
	       info.tcpi_state != TCP_ESTABLISHED;
}

int cor_tcp_forge_fin(int fd, int number, const Cor__Names__OpenFile *file,
		      struct cor_error *err)
{
	struct cor_inet_addr ours, theirs;
	struct packet p;
	size_t len;
	int r = cor_inet_addr_of(&file->address, &ours);

	if (r == 0)
		r = cor_inet_addr_of(&file->peer_address, &theirs);
	if (r < 0 || ours.family != theirs.family)
		return cor_fail(err, -EPROTO, "descriptor %d: its addresses are wrong", number);
	len = make(&p, &theirs, &ours, file->connection);
	for (unsigned i = 0; i < ATTEMPTS; i++) {
		uint64_t until;

		r = send_to_self(&ours, &p, len);
		if (r < 0)
			return cor_fail_code(err, r, "descriptor %d: telling its connection that the "
					     "peer has ended", number);
		/* by a thread of the kernel where there is much to do, which must run for that */
		for (until = cor_now_ns() + ARRIVES_IN_NS; cor_now_ns() < until; sched_yield())
			if (has_arrived(fd))
				return 0;
	}
	return cor_fail(err, -ETIMEDOUT, "descriptor %d: its connection does not hear that the peer "
			"has ended: is there a packet filter?", number);
}
