/* live: libcor's page server (a process of its own) and pager (in cor-bench)
 * between a ghost and a task, over loopback TCP. */
#pragma once

#include "bench/rig.h"
#include "libcor/paging/pager.h"

struct live {
	pid_t  server;
	pid_t  owner;           /* whose memory is read one-sided, or 0 */
	int    hold;            /* the server ends when this closes */
	struct cor_pager *pager;
	struct task *task;
};

/* What covers the bytes on their way. */
enum live_cover {
	LIVE_CLEAR,             /* TCP's own checksum */
	LIVE_CHECKED,           /* the check of each reply (paging.check) */
	LIVE_TLS,               /* encryption, as between hosts with keys */
	LIVE_COVERS
};

/* Faults are answered from here on; takes the task's userfaultfd. */
void live_start(struct live *l, const struct cor_ctx *ctx, const struct ghost *g,
		struct task *t, bool prefetch);
void live_start_covered(struct live *l, const struct cor_ctx *ctx, const struct ghost *g,
			struct task *t, bool prefetch, enum live_cover cover);
/* The same over another transport (remote.h); the lanes over TCP are not there. one_sided:
 * faults are read out of the memory of a process that owns it, and not staged. */
struct remote;
void live_start_over(struct live *l, const struct cor_ctx *ctx, const struct ghost *g,
		     struct task *t, const struct remote *over, bool one_sided);
/* Until every page is there. */
void live_await_drained(struct live *l);
/* Ends pager, server and task. */
void live_end(struct live *l);

/* One drain of the whole ghost with nobody touching anything. */
struct drained {
	uint64_t wall_ns;
	uint64_t cpu_source_ns, cpu_destination_ns;
	uint64_t bytes_wire;
};
void live_drain(const struct cor_ctx *ctx, const struct ghost *g, struct drained *out);
void live_drain_covered(const struct cor_ctx *ctx, const struct ghost *g, enum live_cover cover,
			struct drained *out);
