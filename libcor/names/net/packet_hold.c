/* See net/packet_hold.h. */
#include "libcor/base/compat.h"
#include "libcor/names/net/packet_hold.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/filter.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/virtio_net.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "libcor/base/cleanup.h"
#include "libcor/base/error.h"

#define HOLD_BYTES   (32 << 20)     /* at most; a freeze is short */
#define FRAME_MAX    (ETH_HLEN + 65535 + 64)
#define LOOPBACK     1              /* its index, in every network namespace */
#define PROGRAM_MAX  512

struct place {
	unsigned ifindex;
	int      fd;            /* hears */
};

struct next {
	struct cor_inet_addr host;
	unsigned ifindex;       /* where it was: the way to the next host */
	uint8_t  own[ETH_ALEN], to[ETH_ALEN];
	bool     known;
};

struct cor_packet_hold {
	struct next *next;
	unsigned n;
	struct place places[COR_PACKET_HOLD_FDS];
	unsigned nplaces;
	int      out;           /* speaks */
	uint8_t *frame;
};

/* ---- the filter ------------------------------------------------------------------ */

#define IP_AT     ETH_HLEN
#define V4_PROTO  (IP_AT + 9)
#define V4_TO     (IP_AT + 16)
#define V6_PROTO  (IP_AT + 6)
#define V6_TO     (IP_AT + 24)
#define V6_HEADER 40
#define FLAGS_AT  13            /* in the TCP header */
#define SYN_ACK   0x12
#define SYN       0x02

struct program {
	struct sock_filter code[PROGRAM_MAX];
	unsigned short n;
};

static void emit(struct program *p, struct sock_filter f)
{
	if (p->n < PROGRAM_MAX)
		p->code[p->n++] = f;
}

#define STMT(c, k)          emit(p, (struct sock_filter)BPF_STMT(c, k))
#define JUMP(c, k, jt, jf)  emit(p, (struct sock_filter)BPF_JUMP(c, k, jt, jf))

static uint32_t word(const uint8_t *bytes)
{
	return (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 | bytes[3];
}

/* What a packet of the right family for the right address comes to. */
static void emit_verdict(struct program *p, int family, bool all)
{
	if (all) {
		STMT(BPF_RET | BPF_K, UINT32_MAX);
		return;
	}
	STMT(BPF_LD | BPF_B | BPF_ABS, family == AF_INET ? V4_PROTO : V6_PROTO);
	JUMP(BPF_JMP | BPF_JEQ | BPF_K, IPPROTO_TCP, 1, 0);
	STMT(BPF_RET | BPF_K, 0);
	if (family == AF_INET) {
		STMT(BPF_LDX | BPF_B | BPF_MSH, IP_AT);
		STMT(BPF_LD | BPF_B | BPF_IND, IP_AT + FLAGS_AT);
	} else {
		STMT(BPF_LD | BPF_B | BPF_ABS, IP_AT + V6_HEADER + FLAGS_AT);
	}
	STMT(BPF_ALU | BPF_AND | BPF_K, SYN_ACK);
	JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYN, 0, 1);
	STMT(BPF_RET | BPF_K, UINT32_MAX);
	STMT(BPF_RET | BPF_K, 0);
}

/* Tests for one address; what does not match falls through to the next test. */
static void emit_address(struct program *p, const struct cor_inet_addr *a, bool all)
{
	unsigned short verdict = all ? 1 : a->family == AF_INET ? 9 : 8;

	STMT(BPF_LD | BPF_H | BPF_ABS, 12);
	if (a->family == AF_INET) {
		JUMP(BPF_JMP | BPF_JEQ | BPF_K, ETH_P_IP, 0, (uint8_t)(2 + verdict));
		STMT(BPF_LD | BPF_W | BPF_ABS, V4_TO);
		JUMP(BPF_JMP | BPF_JEQ | BPF_K, word(a->bytes), 0, (uint8_t)verdict);
	} else {
		JUMP(BPF_JMP | BPF_JEQ | BPF_K, ETH_P_IPV6, 0, (uint8_t)(8 + verdict));
		for (unsigned i = 0; i < 4; i++) {
			STMT(BPF_LD | BPF_W | BPF_ABS, V6_TO + i * 4);
			JUMP(BPF_JMP | BPF_JEQ | BPF_K, word(a->bytes + i * 4), 0,
			     (uint8_t)((3 - i) * 2 + verdict));
		}
	}
	emit_verdict(p, a->family, all);
}

static int filter(struct cor_packet_hold *h, bool all)
{
	struct program program = { .n = 0 }, *p = &program;
	struct sock_fprog prog = { .filter = program.code };

	for (unsigned i = 0; i < h->n; i++)
		emit_address(p, &h->next[i].host, all);
	STMT(BPF_RET | BPF_K, 0);
	prog.len = program.n;
	for (unsigned i = 0; i < h->nplaces; i++)
		if (setsockopt(h->places[i].fd, SOL_SOCKET, SO_ATTACH_FILTER, &prog, sizeof(prog)) < 0)
			return -errno;
	return 0;
}

/* ---- life ---------------------------------------------------------------------------- */

static int open_packets(void)
{
	int on = 1, room = HOLD_BYTES;
	_cleanup_close_ int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0 || setsockopt(fd, SOL_PACKET, PACKET_VNET_HDR, &on, sizeof(on)) < 0)
		return -errno;
	setsockopt(fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, &on, sizeof(on));
	setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof(room));
	return take_fd(&fd);
}

static int add_place(struct cor_packet_hold *h, unsigned ifindex)
{
	for (unsigned i = 0; i < h->nplaces; i++)
		if (h->places[i].ifindex == ifindex)
			return 0;
	if (h->nplaces == COR_PACKET_HOLD_FDS)
		return -E2BIG;
	h->places[h->nplaces] = (struct place){ ifindex, open_packets() };
	return h->places[h->nplaces].fd < 0 ? h->places[h->nplaces].fd : (int)(h->nplaces++, 0);
}

/* Nothing is heard before: the filter must be there first. */
static int listen_all(struct cor_packet_hold *h)
{
	for (unsigned i = 0; i < h->nplaces; i++) {
		struct sockaddr_ll at = {
			.sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL),
			.sll_ifindex = (int)h->places[i].ifindex,
		};

		if (bind(h->places[i].fd, (struct sockaddr *)&at, sizeof(at)) < 0)
			return -errno;
	}
	return 0;
}

int cor_packet_hold_new(struct cor_packet_hold **out, const struct cor_address *addresses,
			unsigned n, struct cor_error *err)
{
	struct cor_packet_hold *h = calloc(1, sizeof(*h));
	int r = 0;

	if (!h)
		return cor_fail(err, -ENOMEM, "out of memory");
	h->next = calloc(n ? n : 1, sizeof(*h->next));
	h->frame = malloc(FRAME_MAX);
	h->n = n;
	h->out = open_packets();
	if (!h->next || !h->frame)
		r = -ENOMEM;
	else if (h->out < 0)
		r = h->out;
	for (unsigned i = 0; r == 0 && i < n; i++) {
		h->next[i] = (struct next){ .host = addresses[i].host,
					    .ifindex = addresses[i].ifindex };
		memcpy(h->next[i].own, addresses[i].hwaddr, ETH_ALEN);
		r = add_place(h, addresses[i].ifindex);
	}
	if (r == 0)
		r = add_place(h, LOOPBACK);
	if (r == 0)
		r = filter(h, false);
	if (r == 0)
		r = listen_all(h);
	if (r < 0) {
		cor_packet_hold_free(h);
		return cor_fail_code(err, r, "keeping packets for addresses that move");
	}
	*out = h;
	return 0;
}

void cor_packet_hold_free(struct cor_packet_hold *h)
{
	if (!h)
		return;
	for (unsigned i = 0; i < h->nplaces; i++)
		close(h->places[i].fd);
	cor_closep(&h->out);
	free(h->next);
	free(h->frame);
	free(h);
}

int cor_packet_hold_all(struct cor_packet_hold *h)
{
	return filter(h, true);
}

void cor_packet_hold_next(struct cor_packet_hold *h, unsigned i, const uint8_t hwaddr[6])
{
	if (i >= h->n)
		return;
	memcpy(h->next[i].to, hwaddr, ETH_ALEN);
	h->next[i].known = true;
}

/* ---- sending on ----------------------------------------------------------------------- */

static const struct next *next_of(const struct cor_packet_hold *h, size_t len)
{
	const uint8_t *frame = h->frame;
	bool v4 = frame[12] == ETH_P_IP >> 8 && frame[13] == (ETH_P_IP & 0xff);
	size_t at = v4 ? V4_TO : V6_TO;

	for (unsigned i = 0; i < h->n; i++) {
		const struct next *next = &h->next[i];

		if (next->known && next->host.family == (v4 ? AF_INET : AF_INET6) &&
		    len >= at + next->host.len &&
		    memcmp(frame + at, next->host.bytes, next->host.len) == 0)
			return next;
	}
	return NULL;
}

/* The packet stays as it is, what is left to be computed or cut into segments too
 * (struct virtio_net_hdr); only the frame around it is new. */
static void send_on(struct cor_packet_hold *h, const struct virtio_net_hdr *vnet, size_t len)
{
	const struct next *next = next_of(h, len);
	struct iovec iov[2] = { { (void *)vnet, sizeof(*vnet) }, { h->frame, len } };
	struct sockaddr_ll to = { .sll_family = AF_PACKET, .sll_halen = ETH_ALEN };
	struct msghdr m = { .msg_name = &to, .msg_namelen = sizeof(to), .msg_iov = iov,
			    .msg_iovlen = 2 };

	if (!next)
		return;
	memcpy(h->frame, next->to, ETH_ALEN);
	memcpy(h->frame + ETH_ALEN, next->own, ETH_ALEN);
	to.sll_ifindex = (int)next->ifindex;
	memcpy(to.sll_addr, next->to, ETH_ALEN);
	sendmsg(h->out, &m, 0);
}

unsigned cor_packet_hold_forward(struct cor_packet_hold *h)
{
	struct virtio_net_hdr vnet;
	struct iovec iov[2] = { { &vnet, sizeof(vnet) }, { h->frame, FRAME_MAX } };
	struct msghdr m = { .msg_iov = iov, .msg_iovlen = 2 };
	unsigned n = 0;

	for (unsigned i = 0; i < h->nplaces; i++) {
		ssize_t len;

		while ((len = recvmsg(h->places[i].fd, &m, 0)) > 0 ||
		       (len < 0 && (errno == EINTR || errno == ENETDOWN))) {
			if (len < (ssize_t)(sizeof(vnet) + ETH_HLEN) || (m.msg_flags & MSG_TRUNC))
				continue;
			send_on(h, &vnet, (size_t)len - sizeof(vnet));
			n++;
		}
	}
	return n;
}

unsigned cor_packet_hold_poll(const struct cor_packet_hold *h, struct pollfd *out)
{
	for (unsigned i = 0; i < h->nplaces; i++)
		out[i] = (struct pollfd){ .fd = h->places[i].fd, .events = POLLIN };
	return h->nplaces;
}
