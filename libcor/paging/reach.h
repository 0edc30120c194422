/* One-sided demand: a lane whose pages are read straight out of the memory of the process
 * that owns them (RDMA READ), with no page server between. To a pager it is a stream that
 * speaks the page lane protocol (wire.h); what answers is on this side of it.
 *
 * The owner registers ranges of its memory, offers them over a queue pair, and attends to
 * that: where the adapter does all (COR_RDMA_OFFLOADED) it sleeps. Its memory must not
 * change meanwhile. Ranges are offered whole: a page that was never touched is read as
 * zeros, and is there afterwards.
 *
 * Presence is not answered (an ERROR of EOPNOTSUPP): it is for demand lanes.
 */
#pragma once

#include <stdatomic.h>

#include "libcor/transport/rdma.h"
#include "libcor/transport/stream.h"

#define COR_REACH_RANGES 32u

/* Ascending by object and offset, page aligned, not overlapping. */
struct cor_reach_range {
	uint16_t object;        /* as in wire.h, like offset */
	uint64_t offset, len;
	uint64_t remote, key;   /* of the registered memory (struct cor_rdma_memory) */
};

/* The owner: tells the peer its n <= COR_REACH_RANGES ranges. -EINVAL, -errno. */
int cor_reach_offer(struct cor_rdma_qp *qp, const struct cor_reach_range *ranges, unsigned n,
		    struct cor_error *err);
/* The owner, afterwards: sees to it that reads get on, until the peer ends, which not
 * every provider tells, or soon after another thread has set *stop. */
void cor_reach_attend(struct cor_rdma_qp *qp, const atomic_bool *stop);

/* The pager: makes a stream of qp, which it owns from here on, also on failure; it takes
 * a reference on the device. Waits for the offer within timeout_ms. -ETIMEDOUT, -EPROTO.
 * A page outside what is offered is answered with an ERROR of EFAULT. */
int cor_stream_reach(struct cor_stream **out, struct cor_rdma_qp *qp, unsigned timeout_ms,
		     struct cor_error *err);
