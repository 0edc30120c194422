/* A message as it travels over a queue pair, for the backends of rdma.h. */
#pragma once

#include <errno.h>
#include <string.h>

#include "libcor/transport/rdma.h"

enum rdma_message_kind {
	RDMA_MESSAGE = 1,
	RDMA_NOTE,              /* where a write cannot carry it (iWARP) */
};

struct rdma_message {
	uint8_t  kind;          /* enum rdma_message_kind */
	uint8_t  len;
	uint8_t  reserved[2];
	uint32_t note;
	uint8_t  bytes[COR_RDMA_MESSAGE];
};
_Static_assert(sizeof(struct rdma_message) == 56, "fits inline");

static inline void rdma_message_make(struct rdma_message *m, const void *bytes, size_t len)
{
	*m = (struct rdma_message){ .kind = RDMA_MESSAGE, .len = (uint8_t)len };
	memcpy(m->bytes, bytes, len);
}

/* What a message of received bytes means: 1, or -EPROTO. */
static inline int rdma_message_take(const struct rdma_message *m, size_t received,
				    struct cor_rdma_event *out)
{
	if (received != sizeof(*m))
		return -EPROTO;
	if (m->kind == RDMA_NOTE) {
		out->kind = COR_RDMA_NOTE;
		out->note = m->note;
		return 1;
	}
	if (m->kind != RDMA_MESSAGE || !m->len || m->len > COR_RDMA_MESSAGE)
		return -EPROTO;
	out->kind = COR_RDMA_MSG;
	out->len = m->len;
	memcpy(out->bytes, m->bytes, m->len);
	return 1;
}
