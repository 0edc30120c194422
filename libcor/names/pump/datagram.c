/* See pump/datagram.h. */
#include "libcor/names/pump/datagram.h"

#include <errno.h>
#include <string.h>

static uint8_t put_addr(uint8_t to[28], const struct cor_inet_addr *a)
{
	struct sockaddr_storage ss;
	socklen_t len;

	if (!a->family)
		return 0;
	cor_inet_addr_sockaddr(a, a->port, &ss, &len);
	memcpy(to, &ss, len);
	return (uint8_t)len;
}

static int take_addr(const uint8_t from[28], uint8_t len, struct cor_inet_addr *a)
{
	ProtobufCBinaryData bytes = { len, (uint8_t *)from };

	return len > 28 || cor_inet_addr_of(&bytes, a) < 0 ? -EPROTO : 0;
}

void cor_datagram_pack(const struct cor_datagram *d, struct cor_pump_datagram *out)
{
	*out = (struct cor_pump_datagram){ .refused = d->refused, .peer = (uint8_t)d->peer };
	out->ours_len = put_addr(out->ours, &d->ours);
	out->theirs_len = put_addr(out->theirs, &d->theirs);
}

int cor_datagram_unpack(const void *payload, size_t len, struct cor_datagram *out)
{
	struct cor_pump_datagram raw;
	struct cor_datagram d = { 0 };

	if (len != sizeof(raw))
		return -EPROTO;
	memcpy(&raw, payload, sizeof(raw));
	if (raw.refused > 1 || raw.peer > COR_PUMP_PEER_NONE ||
	    take_addr(raw.theirs, raw.theirs_len, &d.theirs) < 0 ||
	    (raw.ours_len && take_addr(raw.ours, raw.ours_len, &d.ours) < 0))
		return -EPROTO;
	if (d.ours.family && d.ours.family != d.theirs.family)
		return -EPROTO;
	d.refused = raw.refused;
	d.peer = (enum cor_pump_peer)raw.peer;
	*out = d;
	return 0;
}

ssize_t cor_datagram_queue(struct cor_pump_queue *q, const struct cor_datagram *d)
{
	struct cor_pump_datagram payload;

	cor_datagram_pack(d, &payload);
	if (cor_pump_queue_bytes(q, d->data, d->len) < 0 ||
	    cor_pump_queue_event(q, COR_PUMP_DATAGRAM, &payload, sizeof(payload)) < 0)
		return 0;
	return (ssize_t)d->len + 1;
}

ssize_t cor_datagram_first(struct cor_pump_queue *q, struct cor_datagram *out, uint8_t **bytes)
{
	const struct cor_pump_item *event;
	struct cor_datagram d = { 0 };
	ssize_t n = cor_pump_queue_message(q, bytes, &event);

	if (n == -ENODATA && cor_pump_queue_length(q) > COR_DATAGRAM_MAX)
		return -EPIPE;
	if (n < 0)
		return n == -ENOMEM ? -EAGAIN : n;
	if (event->event == COR_PUMP_DATAGRAM && n <= COR_DATAGRAM_MAX &&
	    cor_datagram_unpack(event->data, event->len, &d) < 0)
		d = (struct cor_datagram){ 0 };
	d.data = *bytes;
	d.len = (size_t)n;
	*out = d;
	/* an END behind bytes is for the caller to see */
	return event->event == COR_PUMP_END ? n : n + 1;
}
