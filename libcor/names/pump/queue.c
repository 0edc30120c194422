/* A list of items; small portions of bytes share one. See pump/queue.h. */
#include "libcor/names/pump/queue.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <utlist.h>

#include "libcor/base/cleanup.h"

#define ITEM_MIN 4096u          /* room of an item of bytes: for many small portions */
#define ITEM_MAX 65536u

void cor_pump_queue_init(struct cor_pump_queue *q, uint64_t at)
{
	*q = (struct cor_pump_queue){ .start = at, .end = at };
}

static void forget(struct cor_pump_queue *q, struct cor_pump_item *i)
{
	if (q->hint == i)
		q->hint = NULL;
	DL_DELETE(q->items, i);
	free(i);
}

void cor_pump_queue_clear(struct cor_pump_queue *q)
{
	while (q->items)
		forget(q, q->items);
	cor_pump_queue_init(q, q->end);
}

static struct cor_pump_item *append(struct cor_pump_queue *q, enum cor_pump_event event,
				    size_t room)
{
	struct cor_pump_item *i = malloc(sizeof(*i) + room);

	if (!i)
		return NULL;
	*i = (struct cor_pump_item){ .at = q->end, .event = (uint8_t)event,
				     .room = (uint32_t)room };
	DL_APPEND(q->items, i);
	return i;
}

uint8_t *cor_pump_queue_room(struct cor_pump_queue *q, size_t want, size_t *room)
{
	struct cor_pump_item *last = q->items ? q->items->prev : NULL;

	if (!last || last->event || last->len == last->room) {
		size_t size = COR_MAX(want, (size_t)ITEM_MIN);

		last = append(q, COR_PUMP_BYTES, COR_MIN(size, (size_t)ITEM_MAX));
		if (!last)
			return NULL;
	}
	*room = COR_MIN(want, (size_t)(last->room - last->len));
	return last->data + last->len;
}

void cor_pump_queue_added(struct cor_pump_queue *q, size_t n)
{
	struct cor_pump_item *last = q->items->prev;

	last->len += (uint32_t)n;
	q->end += n;
	if (last->len == 0)
		forget(q, last);
}

ssize_t cor_pump_queue_read(struct cor_pump_queue *q, int fd, size_t want)
{
	uint8_t *to = cor_pump_queue_room(q, want, &want);
	ssize_t n;

	if (!to)
		return -ENOMEM;
	do
		n = read(fd, to, want);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		n = -errno;
	cor_pump_queue_added(q, n > 0 ? (size_t)n : 0);
	return n;
}

int cor_pump_queue_bytes(struct cor_pump_queue *q, const void *data, size_t len)
{
	const uint8_t *from = data;

	while (len) {
		size_t n;
		uint8_t *to = cor_pump_queue_room(q, len, &n);

		if (!to)
			return -ENOMEM;
		memcpy(to, from, n);
		cor_pump_queue_added(q, n);
		from += n;
		len -= n;
	}
	return 0;
}

int cor_pump_queue_event(struct cor_pump_queue *q, enum cor_pump_event event,
			 const void *payload, size_t len)
{
	struct cor_pump_item *i = append(q, event, len);

	if (!i)
		return -ENOMEM;
	if (len)
		memcpy(i->data, payload, len);
	i->len = (uint32_t)len;
	q->end++;
	return 0;
}

int cor_pump_queue_event_first(struct cor_pump_queue *q, enum cor_pump_event event,
			       const void *payload, size_t len)
{
	struct cor_pump_item *i = malloc(sizeof(*i) + len), *first = q->items;

	if (!i || q->start == 0) {
		free(i);
		return i ? -ERANGE : -ENOMEM;
	}
	/* a part of the first item may have been dropped: its place is taken then */
	if (first && first->at < q->start) {
		size_t gone = q->start - first->at;

		memmove(first->data, first->data + gone, first->len - gone);
		first->at += gone;
		first->len -= (uint32_t)gone;
	}
	*i = (struct cor_pump_item){ .at = --q->start, .event = (uint8_t)event,
				     .len = (uint32_t)len, .room = (uint32_t)len };
	if (len)
		memcpy(i->data, payload, len);
	DL_PREPEND(q->items, i);
	return 0;
}

const struct cor_pump_item *cor_pump_queue_at(struct cor_pump_queue *q, uint64_t at)
{
	struct cor_pump_item *i = q->hint && q->hint->at <= at ? q->hint : q->items;

	if (at < q->start || at >= q->end)
		return NULL;
	while (cor_pump_item_end(i) <= at)
		i = i->next;
	q->hint = i;
	return i;
}

/* What of an item of bytes has been dropped. */
static size_t dropped(const struct cor_pump_queue *q, const struct cor_pump_item *i)
{
	return i->at < q->start ? q->start - i->at : 0;
}

ssize_t cor_pump_queue_message(struct cor_pump_queue *q, uint8_t **out,
			       const struct cor_pump_item **event)
{
	const struct cor_pump_item *first = cor_pump_queue_at(q, q->start), *i = first;
	size_t len = 0, at = 0;
	uint8_t *bytes;

	for (; i && !i->event; i = i->next)
		len += i->len - dropped(q, i);
	if (!i)
		return -ENODATA;
	bytes = malloc(len + 1);
	if (!bytes)
		return -ENOMEM;
	*event = i;
	for (i = first; !i->event; i = i->next) {
		size_t skip = dropped(q, i);

		memcpy(bytes + at, i->data + skip, i->len - skip);
		at += i->len - skip;
	}
	*out = bytes;
	return (ssize_t)len;
}

void cor_pump_queue_drop(struct cor_pump_queue *q, uint64_t to)
{
	while (q->items && cor_pump_item_end(q->items) <= to)
		forget(q, q->items);
	q->start = to;
}
