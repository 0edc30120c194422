/* Ends that are UDP sockets, where the task is; see pump/udp.h. */
#include "libcor/names/pump/udp.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "libcor/base/cleanup.h"
#include "libcor/base/error.h"
#include "libcor/names/file_ops.h"
#include "libcor/names/net/socket.h"
#include "libcor/names/net/inet_diag.h"
#include "libcor/names/pump/datagram.h"
#include "libcor/names/pump/tun.h"
#include "libcor/names/net/udp_packet.h"

#define BUFFER (COR_PUMP_TUN_HEAD + COR_UDP_PACKET_MAX)

void cor_pump_udp_free(struct cor_pump_udp *u)
{
	if (!u)
		return;
	cor_pump_net_free(u->net);
	free(u->buf);
	free(u);
}

static int take_addresses(struct cor_pump_udp *u, const Cor__Names__PumpChannel *ch)
{
	if (cor_inet_addr_of(&ch->address, &u->ours) < 0 ||
	    cor_socket_sockaddr(&ch->address, &u->address, &u->address_len) < 0 ||
	    (ch->peer_address.len && cor_inet_addr_of(&ch->peer_address, &u->theirs) < 0) ||
	    ch->n_sources > COR_UDP_SOURCES)
		return -EPROTO;
	u->domain = u->address.ss_family;
	u->v6only = ch->v6only;
	u->any = cor_inet_addr_is_any(&u->ours);
	for (; u->nsources < ch->n_sources; u->nsources++)
		if (cor_inet_addr_of(&ch->sources[u->nsources], &u->sources[u->nsources]) < 0)
			return -EPROTO;
	return u->any && !u->nsources ? -EPROTO : 0;
}

int cor_pump_udp_begin(struct cor_pump_end *e, const Cor__Names__PumpChannel *ch)
{
	struct cor_pump_udp *u = calloc(1, sizeof(*u));
	int r;

	if (!u)
		return -ENOMEM;
	u->buf = calloc(1, BUFFER);
	r = u->buf ? take_addresses(u, ch) : -ENOMEM;
	if (r < 0)
		cor_pump_udp_free(u);
	else
		e->udp = u;
	return r;
}

/* ---- the task's socket -------------------------------------------------------------------- */

static int make_socket(struct cor_pump_end *e, const Cor__Names__PumpChannel *ch, int *task)
{
	struct cor_pump_udp *u = e->udp;
	_cleanup_close_ int fd = cor_pump_net_udp(u->net, u->domain, u->v6only, &ch->address);
	struct stat st;

	if (fd < 0)
		return fd;
	if (fstat(fd, &st) < 0)
		return -errno;
	e->inode = st.st_ino;
	*task = take_fd(&fd);
	return 0;
}

static int make(struct cor_pump_end *e, const Cor__Names__PumpChannel *ch, int *task,
		struct cor_error *err)
{
	struct cor_pump_udp *u;
	int r = cor_pump_udp_begin(e, ch);

	if (r < 0)
		return cor_fail_code(err, r, "the addresses of %s", ch->what);
	u = e->udp;
	r = u->any ? cor_pump_tun_new(u->sources, u->nsources, &u->net, &e->fd, err) :
		     cor_pump_tun_new(&u->ours, 1, &u->net, &e->fd, err);
	if (r == 0) {
		r = make_socket(e, ch, task);
		if (r < 0)
			cor_fail_code(err, r, "a UDP socket in the place of %s", ch->what);
	}
	if (r < 0) {
		cor_pump_udp_free(take_ptr(e->udp));
		cor_closep(&e->fd);
		e->fd = -1;
		return r;
	}
	e->reads = e->writes = e->readable = e->writable = true;
	return 0;
}

/* Nothing tells that the task has closed it, but that its port is free. */
static bool tick(struct cor_pump_end *e, struct cor_pump_queue *q)
{
	const struct cor_pump_udp *u = e->udp;
	ProtobufCBinaryData address = { u->address_len, (uint8_t *)&u->address };
	_cleanup_close_ int fd = e->ended ? -1 :
				 cor_pump_net_udp(u->net, u->domain, u->v6only, &address);

	if (fd < 0)
		return false;
	e->ended = e->readable = e->writable = true;
	return true;
}

static uint64_t identity(const struct cor_pump_end *e)
{
	return e->ended ? 0 : e->inode;
}

/* ---- datagrams ------------------------------------------------------------------------------ */

/* Is that what the kernel has taken because the task has bound nothing? At home it takes
 * what is right there. */
static bool is_kernels_choice(const struct cor_pump_udp *u, const struct cor_inet_addr *a)
{
	for (unsigned i = 0; i < u->nsources; i++)
		if (cor_inet_addr_same(a, &u->sources[i]))
			return true;
	return !u->any;
}

struct search {
	uint64_t inode;
	bool found;
	struct cor_inet_addr theirs;
};

static bool see(void *arg, const struct cor_inet_socket *socket)
{
	struct search *s = arg;

	s->found = socket->ino == s->inode;
	s->theirs = socket->theirs;
	return s->found;
}

static bool same(const struct cor_inet_addr *a, const struct cor_inet_addr *b)
{
	return a->port == b->port && cor_inet_addr_same(a, b);
}

/* A connected socket has sent something elsewhere: has the task connected it anew? Home would
 * not hear the answer. */
static enum cor_pump_peer look_for_peer(struct cor_pump_end *e, const struct cor_inet_addr *to)
{
	struct cor_pump_udp *u = e->udp;
	struct search s = { .inode = e->inode };
	int r;

	if (!u->theirs.family || same(&u->theirs, to) || cor_pump_net_enter(u->net) < 0)
		return COR_PUMP_PEER_AS_BEFORE;
	r = cor_inet_diag_udp(see, &s);
	cor_pump_net_leave(u->net);
	if (r < 0 || !s.found || (s.theirs.port && !same(&s.theirs, to)))
		return COR_PUMP_PEER_AS_BEFORE;
	u->theirs = s.theirs.port ? *to : (struct cor_inet_addr){ 0 };
	return s.theirs.port ? COR_PUMP_PEER_NEW : COR_PUMP_PEER_NONE;
}

/* Who has the socket next is to know, too. */
static int describe(const struct cor_pump_end *e, Cor__Names__PumpChannel *ch)
{
	const struct cor_pump_udp *u = e->udp;
	struct sockaddr_storage ss;
	struct cor_inet_addr was;
	socklen_t len;

	if (!ch->peer_address.len || cor_inet_addr_of(&ch->peer_address, &was) < 0 ||
	    (u->theirs.family && same(&u->theirs, &was)))
		return 0;
	free(take_ptr(ch->peer_address.data));
	ch->peer_address.len = 0;
	if (!u->theirs.family)
		return 0;
	if (u->domain == AF_INET6)
		cor_inet_addr_wrapped(&u->theirs, u->theirs.port, &ss, &len);
	else
		cor_inet_addr_sockaddr(&u->theirs, u->theirs.port, &ss, &len);
	return cor_file_bytes(&ch->peer_address, &ss, len);
}

static ssize_t read_end(struct cor_pump_end *e, struct cor_pump_queue *q, size_t room)
{
	struct cor_pump_udp *u = e->udp;
	struct cor_udp_packet p;
	struct cor_datagram d;
	ssize_t n;

	/* what is no datagram is of no interest: ICMP, groups that the kernel looks for */
	do
		n = read(e->fd, u->buf, BUFFER);
	while (n >= 0 ? n <= COR_PUMP_TUN_HEAD ||
	       cor_udp_packet_parse(u->buf + COR_PUMP_TUN_HEAD, (size_t)n - COR_PUMP_TUN_HEAD, &p) < 0 :
	       errno == EINTR);
	if (n < 0)
		return errno == EAGAIN && !e->ended ? -EAGAIN : -EPROTO;
	d = (struct cor_datagram){ .theirs = p.to, .data = p.data, .len = p.len,
				   .peer = look_for_peer(e, &p.to) };
	if (!is_kernels_choice(u, &p.from))
		d.ours = p.from;
	return cor_datagram_queue(q, &d);
}

/* As a packet, behind COR_PUMP_TUN_HEAD. */
static ssize_t build(const struct cor_pump_udp *u, const struct cor_datagram *d)
{
	struct cor_udp_packet p = { .from = d->theirs, .to = d->ours.family ? d->ours : u->ours,
				    .data = d->data, .len = d->len };
	uint8_t *buf = u->buf + COR_PUMP_TUN_HEAD;

	for (unsigned i = 0; u->any && !d->ours.family && i < u->nsources; i++)
		if (u->sources[i].family == d->theirs.family)
			p.to = u->sources[i];
	p.to.port = u->ours.port;
	if (d->refused) {
		p = (struct cor_udp_packet){ .from = p.to, .to = d->theirs };
		return cor_udp_packet_refusal(&p, buf);
	}
	return cor_udp_packet_build(&p, buf);
}

/* What the kernel does not take is lost. */
static ssize_t write_end(struct cor_pump_end *e, struct cor_pump_queue *q)
{
	_cleanup_free_ uint8_t *bytes = NULL;
	struct cor_pump_udp *u = e->udp;
	struct cor_datagram d;
	ssize_t n = e->ended ? -EPIPE : cor_datagram_first(q, &d, &bytes), len;

	if (n < 0 || !d.theirs.family)
		return n;
	len = build(u, &d);
	memset(u->buf, 0, COR_PUMP_TUN_HEAD);
	while (len > 0 && write(e->fd, u->buf, COR_PUMP_TUN_HEAD + (size_t)len) < 0 && errno == EINTR)
		;
	return n;
}

static void shut(struct cor_pump_end *e, bool reading)
{
	*(reading ? &e->reads : &e->writes) = false;
}

static bool gone(const struct cor_pump_end *e, uint32_t events)
{
	return e->ended;
}

const struct cor_pump_end_ops cor_pump_end_udp = {
	.kind  = COR__NAMES__PUMP_KIND__PUMP_UDP,
	.make  = make,
	.describe = describe,
	.read  = read_end,
	.write = write_end,
	.early = true,
	.shut  = shut,
	.gone  = gone,
	.tick  = tick,
	.identity = identity,
};
