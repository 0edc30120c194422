/* remote: queue pairs (libcor/transport/rdma.h) between cor-bench and a child. The two
 * tell each other what they must know over sock, a pair of sockets. Both end the program
 * where something cannot be had.
 *
 * Who has opened an adapter must fork nobody who uses one (rdma.h). So a process that
 * measures does that once, and is a child itself (in_child()); and its own children are all
 * there before the first of the functions whose names end with _here. */
#pragma once

#include "bench/rig.h"
#include "libcor/paging/reach.h"
#include "libcor/transport/stream_rdma.h"

struct remote {
	const char *transport;  /* fabric:tcp, verbs */
	const char *address;    /* of this host, numeric, which the adapter has */
};

enum { REMOTE_LANES = 2 };      /* demand, bulk */

/* What the transport can do (enum cor_rdma_caps); ends the program with the reason where it
 * cannot be had here. */
unsigned remote_check(const struct remote *r);

/* The pager's ends of its lanes; the page server's in the child. */
void remote_lanes_here(const struct remote *r, int sock, struct cor_stream *out[REMOTE_LANES]);
void remote_lanes_there(const struct remote *r, int sock, struct cor_stream *out[REMOTE_LANES]);

#define REMOTE_BOUND (256ull << 20)

/* A child that has a ghost's pages itself and offers them for one-sided reads (reach.h), of
 * which it registers bound bytes at the most. end_child() ends it. *sock is the caller's. */
pid_t remote_owner_start(const struct remote *r, const struct ghost *g, uint64_t bound, int *sock);
/* The pager's end of the lane to it. */
struct cor_stream *remote_owner_here(const struct remote *r, int sock);

struct remote_owned {
	struct cor_reach_stats stats;
	uint64_t whole_ns;      /* that it took to register all of it at once; 0: refused */
};
void remote_owner_ask(int sock, struct remote_owned *out);

/* Reads of 4 KiB each out of memory that a child on g's host has registered, one at a time, in
 * no order, spinning for each; the child spins too where the provider needs it. */
void remote_raw(const struct remote *r, const struct ghost *g, unsigned count,
		struct cor_hist *into);
