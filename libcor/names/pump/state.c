/* What is on its way through a channel, as a message: the task moves on to a third
 * host with it. See pump/channel.h. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "libcor/base/cleanup.h"
#include "libcor/names/file_ops.h"
#include "libcor/names/pump/channel.h"

/* More than any channel carries: what is added to it does not overflow. */
#define POSITION_MAX (UINT64_MAX / 2)

static int save_queue(const struct cor_pump_queue *q, Cor__Names__PumpItem ***items, size_t *n)
{
	for (const struct cor_pump_item *i = q->items; i; i = i->next) {
		size_t skip = i->event || i->at >= q->start ? 0 : q->start - i->at;
		Cor__Names__PumpItem *out = COR_FILE_APPEND(*items, *n, Cor__Names__PumpItem,
							    cor__names__pump_item__init);

		if (!out)
			return -ENOMEM;
		out->event = i->event;
		if (i->len - skip && cor_file_bytes(&out->data, i->data + skip, i->len - skip) < 0)
			return -ENOMEM;
	}
	return 0;
}

int cor_pump_channel_save(const struct cor_pump_channel *c, Cor__Names__PumpState **out)
{
	Cor__Names__PumpState *s = malloc(sizeof(*s));
	int r;

	if (!s)
		return -ENOMEM;
	cor__names__pump_state__init(s);
	s->in_at = c->in.start;
	s->out_at = c->out.start;
	s->reading_over = c->reading_over;
	s->writing_over = c->writing_over;
	s->peer_over = c->peer_over;
	s->gone = c->gone;
	r = save_queue(&c->in, &s->in, &s->n_in);
	if (r == 0)
		r = save_queue(&c->out, &s->out, &s->n_out);
	if (r < 0)
		cor__names__pump_state__free_unpacked(s, NULL);
	else
		*out = s;
	return r;
}

static int load_queue(struct cor_pump_queue *q, uint64_t at, Cor__Names__PumpItem *const *items,
		      size_t n, bool *ended)
{
	*ended = false;
	if (at > POSITION_MAX)
		return -EPROTO;
	cor_pump_queue_clear(q);
	cor_pump_queue_init(q, at);
	for (size_t i = 0; i < n; i++) {
		const ProtobufCBinaryData *data = &items[i]->data;
		int r;

		if (*ended || items[i]->event >= COR_PUMP_EVENTS ||
		    (items[i]->event && data->len > COR_PUMP_PAYLOAD_MAX))
			return -EPROTO;
		if (items[i]->event)
			r = cor_pump_queue_event(q, (enum cor_pump_event)items[i]->event, data->data,
						 data->len);
		else
			r = cor_pump_queue_bytes(q, data->data, data->len);
		if (r < 0)
			return r;
		*ended = items[i]->event == COR_PUMP_END;
	}
	return 0;
}

int cor_pump_channel_load(struct cor_pump_channel *c, const Cor__Names__PumpState *s)
{
	bool in_ended, out_ended;
	int r = load_queue(&c->in, s->in_at, s->in, s->n_in, &in_ended);

	if (r == 0)
		r = load_queue(&c->out, s->out_at, s->out, s->n_out, &out_ended);
	if (r < 0)
		return r;
	/* an END that is still on its way has been said; one in the queue has come, and is
	 * not delivered; who takes nothing more has nothing waiting */
	if ((out_ended && !s->reading_over) || (in_ended && !s->peer_over) ||
	    (s->writing_over && s->n_in) || (s->gone && !s->writing_over))
		return -EPROTO;
	c->reading_over = s->reading_over;
	c->writing_over = s->writing_over;
	c->peer_over = s->peer_over;
	c->gone = s->gone;
	if (c->reading_over && c->end.reads)
		c->end.ops->shut(&c->end, true);
	if (c->writing_over && c->end.writes)
		c->end.ops->shut(&c->end, false);
	return 0;
}

int cor_pump_channel_ahead(struct cor_pump_channel *c, const Cor__Names__PumpState *s)
{
	uint64_t bytes = 0, messages = 0;

	for (size_t i = 0; i < s->n_in; i++) {
		messages += s->in[i]->event != COR_PUMP_BYTES;
		bytes += s->in[i]->data.len * (s->in[i]->event == COR_PUMP_BYTES);
	}
	if (bytes > COR_PUMP_AHEAD_ENDED || s->in_at + bytes + messages != COR_PUMP_AHEAD_END)
		return -EPROTO;
	cor_pump_queue_init(&c->out, COR_PUMP_AHEAD_END);
	c->end.ahead = messages ?: bytes;
	return 0;
}

/* The positions of n messages, as they were counted when they came. */
static uint64_t positions(Cor__Names__Message *const *messages, size_t n, enum cor_pump_event event)
{
	uint64_t sum = event ? n : 0;

	for (size_t i = 0; i < n; i++)
		sum += messages[i]->data.len;
	return sum;
}

static Cor__Names__PumpItem *new_item(uint32_t event, const ProtobufCBinaryData *data)
{
	Cor__Names__PumpItem *item = malloc(sizeof(*item));

	if (!item)
		return NULL;
	cor__names__pump_item__init(item);
	item->event = event;
	if (data && data->len && cor_file_bytes(&item->data, data->data, data->len) < 0) {
		free(item);
		return NULL;
	}
	return item;
}

int cor_pump_state_prepend(Cor__Names__PumpState *s, Cor__Names__Message *const *messages,
			   size_t n, enum cor_pump_event event)
{
	bool addressed = event == COR_PUMP_DATAGRAM;
	Cor__Names__PumpItem **items;
	size_t k = 0;

	/* the task takes nothing more */
	if (n == 0 || s->gone)
		return 0;
	items = calloc(2 * n + s->n_in + 1, sizeof(*items));
	if (!items)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++) {
		items[k++] = new_item(COR_PUMP_BYTES, &messages[i]->data);
		if (event)
			items[k++] = new_item(event, addressed ? &messages[i]->address : NULL);
	}
	for (size_t i = 0; i < s->n_in; i++)
		items[k++] = s->in[i];
	free(s->in);
	s->in = items;
	s->in_at -= positions(messages, n, event);
	/* an END that has passed is to come again, behind these */
	if (s->writing_over) {
		s->writing_over = false;
		s->in_at--;
		items[k++] = new_item(COR_PUMP_END, NULL);
	}
	s->n_in = k;
	for (size_t i = 0; i < k; i++)
		if (!items[i])
			return -ENOMEM;
	return 0;
}
