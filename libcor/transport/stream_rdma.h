/* A byte stream over a queue pair (rdma.h): for pages that their server stages, because
 * it does not own the memory they are in. Whoever sends copies into a registered buffer
 * and writes it straight into the receiver's, behind each other in a ring; a note says
 * how much has come, and a message in the other direction how much was taken out.
 *
 * Unlike other streams it is used by one thread at a time, but for its shutdown.
 */
#pragma once

#include "libcor/transport/rdma.h"
#include "libcor/transport/stream.h"

/* What each kind of lane wants at the pager's end, and at the server's. */
#define COR_RDMA_ROOM_DEMAND   (128u << 10)
#define COR_RDMA_ROOM_BULK     (1u << 20)
#define COR_RDMA_ROOM_REQUESTS (16u << 10)

/* Makes a stream of qp, which it owns from here on, also on failure; it takes a
 * reference on the device. room: bytes that may be on their way to us, a power of two and at least
 * a page. Agrees with the peer, which does the same, within timeout_ms: -ETIMEDOUT. */
int cor_stream_rdma(struct cor_stream **out, struct cor_rdma_qp *qp, size_t room,
		    unsigned timeout_ms, struct cor_error *err);
