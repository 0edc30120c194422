/* What goes one way through a channel of the pump (pump/pump.h), in order: bytes, and
 * events between them. Each byte and each event has a position, counted from the
 * channel's beginning; both sides tell by positions what has come, so that nothing is
 * lost or doubled when a connection is replaced by another, or a host by another.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Numbers on the wire: only additions. */
enum cor_pump_event {
	COR_PUMP_BYTES   = 0,   /* no event: bytes */
	COR_PUMP_MESSAGE = 1,   /* the bytes since the last one are a message, or a packet */
	COR_PUMP_END     = 2,   /* nothing more comes this way */
	COR_PUMP_PAUSE   = 3,   /* no writer has the FIFO open now: end of file until more comes */
	COR_PUMP_SIGNAL  = 4,   /* of the task's channel: siginfo_t, a signal for it */
	COR_PUMP_STATUS  = 5,   /* of the task's channel: int32_t, as wait(2) tells of it */
	COR_PUMP_TYPED   = 6,   /* of a terminal: input that was echoed and edited already */
	COR_PUMP_TERMINAL = 7,  /* of the task's channel: struct cor_pump_tty_event (pump/tty.h) */
	COR_PUMP_CAME = 8,      /* of a listener's channel: struct cor_pump_came (pump/wire.h) */
	COR_PUMP_DATAGRAM = 9,  /* the bytes since the last one are a datagram of a UDP socket:
				   struct cor_pump_datagram (pump/wire.h) */
	COR_PUMP_EVENTS
};

#define COR_PUMP_PAYLOAD_MAX 128        /* bytes of an event's payload */

/* A run of bytes (one position each), or an event (one position, whatever its payload). */
struct cor_pump_item {
	struct cor_pump_item *prev, *next;
	uint64_t at;            /* position of its first byte, or of the event */
	uint8_t  event;         /* enum cor_pump_event */
	uint32_t len;           /* bytes in data */
	uint32_t room;
	uint8_t  data[];
};

struct cor_pump_queue {
	struct cor_pump_item *items;    /* oldest first */
	struct cor_pump_item *hint;     /* the item that was found last */
	uint64_t start, end;            /* what is in it: [start, end) */
};

static inline uint64_t cor_pump_queue_length(const struct cor_pump_queue *q)
{
	return q->end - q->start;
}

/* The position behind an item. */
static inline uint64_t cor_pump_item_end(const struct cor_pump_item *i)
{
	return i->at + (i->event ? 1 : i->len);
}

/* Empty, at a position. A zeroed one is empty at 0. */
void cor_pump_queue_init(struct cor_pump_queue *q, uint64_t at);
void cor_pump_queue_clear(struct cor_pump_queue *q);

/* Room for bytes at the end, at least 1 and at most want: where to put them and how
 * many fit in *room. They are in the queue when _added says how many there are. NULL: no
 * memory. */
uint8_t *cor_pump_queue_room(struct cor_pump_queue *q, size_t want, size_t *room);
void cor_pump_queue_added(struct cor_pump_queue *q, size_t n);

/* What read(2) of fd gives, up to want bytes: as read(2), but -errno. Across EINTR. */
ssize_t cor_pump_queue_read(struct cor_pump_queue *q, int fd, size_t want);

/* -ENOMEM. */
int cor_pump_queue_bytes(struct cor_pump_queue *q, const void *data, size_t len);
int cor_pump_queue_event(struct cor_pump_queue *q, enum cor_pump_event event,
			 const void *payload, size_t len);

/* In front of all others: start is one less then, and must not be 0. */
int cor_pump_queue_event_first(struct cor_pump_queue *q, enum cor_pump_event event,
			       const void *payload, size_t len);

/* The item that holds position at, start <= at < end; else NULL. */
const struct cor_pump_item *cor_pump_queue_at(struct cor_pump_queue *q, uint64_t at);

/* The bytes in front of the first event of q, in one piece (malloc), and that event. Their
 * number; -ENODATA: it has not come yet; -ENOMEM. */
ssize_t cor_pump_queue_message(struct cor_pump_queue *q, uint8_t **out,
			       const struct cor_pump_item **event);

/* Forgets everything before position to; start is there then. start <= to <= end. */
void cor_pump_queue_drop(struct cor_pump_queue *q, uint64_t to);
