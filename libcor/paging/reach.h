/* One-sided demand: pages that are read straight out of the memory of the process that has
 * them (RDMA READ), with no page server between. To a pager it is a lane that speaks the
 * page lane protocol (wire.h); what answers is on this side of it.
 *
 * An adapter reads registered memory only, and registering pins it. So memory is registered
 * in *chunks* of 2 MiB, as the pager asks for them: it asks for a chunk in which it has faulted
 * twice of late, gives the least recently used one back when the bound is reached, and has all
 * else answered by a page server. Who owns the memory keeps the bound, whatever is asked.
 *
 * Only what holds data is registered: so nothing comes into being by it, nothing is written to,
 * and what was never touched is answered, as zeros, by the page server. Pages that are swapped
 * out at the owner's are read in and stay until the chunk is given back. The memory must not
 * change meanwhile.
 *
 * Presence is not answered here: it is for demand lanes.
 */
#pragma once

#include <stdbool.h>

#include "libcor/paging/reach_wire.h"
#include "libcor/paging/source.h"
#include "libcor/transport/rdma.h"
#include "libcor/transport/stream.h"

/* ---- whose memory it is -------------------------------------------------------------- */

struct cor_reach_registrar;

struct cor_reach_registrar_ops {
	/* Registers [offset, offset + len) of object 0, which holds data, to be read by the
	 * peer. The owner's thread. -errno: it cannot be had so. */
	int (*enroll)(struct cor_reach_registrar *r, uint64_t offset, uint64_t len,
		      struct cor_rdma_memory *m);
	/* The peer reads it no more. */
	void (*forget)(struct cor_reach_registrar *r, struct cor_rdma_memory *m);
};

struct cor_reach_registrar {
	const struct cor_reach_registrar_ops *ops;
};

/* A registrar for memory of this process, where object 0's offsets are addresses. */
struct cor_reach_own {
	struct cor_reach_registrar base;
	struct cor_rdma *device;
};
void cor_reach_own_init(struct cor_reach_own *own, struct cor_rdma *device);

struct cor_reach_options {
	struct cor_source *source;      /* tells what holds data */
	struct cor_reach_registrar *registrar;
	uint64_t bound;                 /* bytes registered at once, at the most */
};

struct cor_reach_stats {
	uint64_t pinned, pinned_max;    /* bytes */
	uint64_t chunks;                /* registered, in all */
};

struct cor_reach_owner;

/* Begins to attend to qp, which it owns from here on (on failure too), in a thread of its own.
 * What options names must outlive the owner. */
int cor_reach_owner_new(struct cor_reach_owner **out, struct cor_rdma_qp *qp,
			const struct cor_reach_options *options, struct cor_error *err);
void cor_reach_owner_stats(struct cor_reach_owner *o, struct cor_reach_stats *out);
/* Ends the connection, then forgets what is registered. NULL allowed. */
void cor_reach_owner_free(struct cor_reach_owner *o);

/* ---- the pager ------------------------------------------------------------------------ */

/* Makes a stream of qp, which it owns from here on, also on failure; it takes
 * a reference on the device. Waits for the owner's greeting within timeout_ms. -ETIMEDOUT,
 * -EPROTO. */
int cor_stream_reach(struct cor_stream **out, struct cor_rdma_qp *qp, unsigned timeout_ms,
		     struct cor_error *err);

/* Is it such a stream? */
bool cor_stream_is_reach(const struct cor_stream *s);

/* Do its reads wait until software of the other side's has a look? */
bool cor_reach_waits(struct cor_stream *s);

/* Can the page be asked for there now, by a request for it alone? That it cannot is noted, and
 * may be a reason to ask for its chunk. By the thread that uses the stream. What is asked for
 * all the same, or is no longer there, costs the lane. */
bool cor_reach_has(struct cor_stream *s, uint16_t object, uint64_t offset);
