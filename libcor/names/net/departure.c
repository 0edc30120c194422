/* See net/departure.h. */
#include "libcor/names/net/departure.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "libcor/base/cleanup.h"
#include "libcor/base/error.h"
#include "libcor/names/file_ops.h"
#include "libcor/names/net/departure_private.h"
#include "libcor/names/net/socket.h"
#include "libcor/names/net/tcp_repair.h"

int cor_departure_new(struct cor_departure **out, const char *const *texts, unsigned n,
		      struct cor_error *err)
{
	struct cor_departure *d = calloc(1, sizeof(*d));
	int r = 0;

	if (!d)
		return cor_fail(err, -ENOMEM, "out of memory");
	d->rtnl = d->announcer = d->silencer = -1;
	if (n > COR_ADDRESSES_MAX)
		r = cor_fail(err, -E2BIG, "more than %d addresses", COR_ADDRESSES_MAX);
	if (r == 0 && n) {
		d->rtnl = cor_rtnl_open();
		if (d->rtnl < 0)
			r = cor_fail_code(err, d->rtnl, "a NETLINK_ROUTE socket");
		d->announcer = cor_address_announcer();
		if (r == 0 && d->announcer < 0)
			r = cor_fail_code(err, d->announcer, "a packet socket");
	}
	for (; r == 0 && d->naddresses < n; d->naddresses++) {
		struct cor_address *a = &d->addresses[d->naddresses];

		r = cor_address_parse(texts[d->naddresses], a, err);
		if (r == 0)
			memcpy(d->wanted[d->naddresses], a->ifname, IF_NAMESIZE);
		if (r == 0 && cor_departure_moves(d, &a->host))
			r = cor_fail(err, -EINVAL, "%s is named twice", texts[d->naddresses]);
		if (r == 0)
			r = cor_address_locate(a, d->rtnl, err);
	}
	if (r < 0)
		cor_departure_free(d);
	else
		*out = d;
	return r;
}

void cor_departure_free(struct cor_departure *d)
{
	if (!d)
		return;
	for (unsigned i = 0; i < d->nheld; i++)
		close(d->held[i].fd);
	free(d->held);
	cor_packet_hold_free(d->hold);
	free(d->gates);
	cor_closep(&d->rtnl);
	cor_closep(&d->announcer);
	cor_closep(&d->silencer);
	free(d);
}

int cor_departure_describe(const struct cor_departure *d, Cor__Names__FileTable *table)
{
	for (unsigned i = 0; i < d->naddresses; i++) {
		const struct cor_address *a = &d->addresses[i];
		Cor__Names__MovingAddress *m =
			COR_FILE_APPEND(table->addresses, table->n_addresses,
					Cor__Names__MovingAddress, cor__names__moving_address__init);

		if (!m || cor_file_bytes(&m->host, a->host.bytes, a->host.len) < 0)
			return -ENOMEM;
		m->prefix = a->prefix;
		m->flags = a->flags;
		m->scope = a->scope;
		m->interface = strdup(d->wanted[i]);
		if (!m->interface)
			return -ENOMEM;
	}
	return 0;
}

void cor_departure_next(struct cor_departure *d, unsigned i, const uint8_t hwaddr[6])
{
	if (i < d->naddresses && d->nhwaddr == i) {
		memcpy(d->hwaddr[i], hwaddr, 6);
		d->nhwaddr++;
	}
}

void cor_departure_stop(struct cor_departure *d)
{
	d->stopped = true;
	if (d->hold)
		cor_packet_hold_all(d->hold);
}

/* ---- what capturing kinds ask -------------------------------------------------- */

bool cor_departure_stopped(const struct cor_departure *d)
{
	return d && d->stopped;
}

bool cor_departure_moves_some(const struct cor_departure *d)
{
	return d && d->naddresses;
}

bool cor_departure_moves(const struct cor_departure *d, const struct cor_inet_addr *host)
{
	for (unsigned i = 0; d && i < d->naddresses; i++)
		if (cor_inet_addr_same(&d->addresses[i].host, host))
			return true;
	return false;
}

bool cor_departure_gated(const struct cor_departure *d, const Cor__Names__OpenFile *file)
{
	for (unsigned i = 0; d && i < d->ngated; i++)
		if (d->gates[i].ino == file->ino)
			return true;
	return false;
}

static struct held *grow(struct cor_departure *d)
{
	unsigned room = d->nheld_room ? d->nheld_room * 2 : 64;
	struct held *more;

	if (d->nheld < d->nheld_room)
		return &d->held[d->nheld];
	more = realloc(d->held, room * sizeof(*more));
	if (!more)
		return NULL;
	d->held = more;
	d->nheld_room = room;
	return &d->held[d->nheld];
}

int cor_departure_hold(struct cor_departure *d, struct cor_file_seen *seen, unsigned index,
		       struct cor_error *err)
{
	struct held *h = grow(d);

	if (!h)
		return -ENOMEM;
	*h = (struct held){ .fd = fcntl(seen->dup, F_DUPFD_CLOEXEC, 0), .index = index };
	if (h->fd < 0)
		return cor_fail_errno(err, "descriptor %d", seen->fd);
	seen->held = d->nheld++;
	return 0;
}

int cor_departure_silence(struct cor_departure *d, const struct cor_file_seen *seen,
			  const Cor__Names__OpenFile *file, struct cor_error *err)
{
	struct held *h = &d->held[seen->held];
	int r;

	h->reuse = cor_socket_has_option(file, SOL_SOCKET, SO_REUSEADDR);
	r = cor_tcp_silence(h->fd, d->silencer);
	if (r < 0)
		return cor_fail_code(err, r, "descriptor %d: silencing its socket", seen->fd);
	h->silent = true;
	h->sent_again = cor_tcp_sent_again(h->fd);
	return 0;
}

/* ---- leaving, and staying --------------------------------------------------------- */

int cor_departure_check(const struct cor_departure *d, const Cor__Names__FileTable *table,
			struct cor_error *err)
{
	for (unsigned i = 0; i < d->nheld; i++) {
		const struct held *h = &d->held[i];
		const Cor__Names__OpenFile *file = table->files[h->index];

		if (h->silent && file->connection &&
		    cor_tcp_unchanged(h->fd, file->connection, h->sent_again) < 0)
			return cor_fail(err, -EAGAIN, "descriptor %d: its connection has moved on "
					"while it was read; try again",
					cor_file_number(table, h->index));
	}
	return 0;
}

int cor_departure_leave(struct cor_departure *d, const Cor__Names__FileTable *table,
			struct cor_error *err)
{
	for (; d->nremoved < d->naddresses; d->nremoved++) {
		int r = cor_address_remove(&d->addresses[d->nremoved], d->rtnl, err);

		if (r < 0)
			return r;
	}
	return cor_departure_check(d, table, err);
}

static void drop_held(struct cor_departure *d, void (*how)(const struct held *h))
{
	for (unsigned i = 0; i < d->nheld; i++) {
		how(&d->held[i]);
		close(d->held[i].fd);
	}
	d->nheld = 0;
}

/* What listened here refuses clients from now on. */
static void forget(const struct held *h)
{
	struct tcp_info info = { 0 };
	socklen_t len = sizeof(info);

	if (getsockopt(h->fd, IPPROTO_TCP, TCP_INFO, &info, &len) == 0 &&
	    info.tcpi_state == TCP_LISTEN)
		shutdown(h->fd, SHUT_RDWR);
	else
		cor_tcp_forget(h->fd);
}

void cor_departure_done(struct cor_departure *d)
{
	drop_held(d, forget);
	d->nremoved = 0;
}

unsigned cor_departure_forward(struct cor_departure *d)
{
	return d->hold ? cor_packet_hold_forward(d->hold) : 0;
}

unsigned cor_departure_poll(const struct cor_departure *d, struct pollfd *out)
{
	return d->hold ? cor_packet_hold_poll(d->hold, out) : 0;
}

static void let_go(const struct held *h)
{
	if (h->silent)
		cor_tcp_unsilence(h->fd, h->reuse);
}

void cor_departure_release(struct cor_departure *d)
{
	drop_held(d, let_go);
}

int cor_departure_undo(struct cor_departure *d, struct cor_error *err)
{
	int first = 0;

	/* first the addresses: what leaves silence asks the peer at once */
	while (d->nremoved) {
		const struct cor_address *a = &d->addresses[--d->nremoved];
		int r = cor_address_put_back(a, d->rtnl, first ? NULL : err);

		/* a destination that had begun may have been heard */
		if (r == 0)
			cor_address_announce(a, d->announcer, NULL);
		if (first == 0)
			first = r;
	}
	drop_held(d, let_go);
	cor_departure_ungate(d);
	d->stopped = false;
	return first;
}
