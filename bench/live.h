/* live: libcor's page server (a process of its own) and pager (in cor-bench)
 * between a ghost and a task, over loopback TCP. */
#pragma once

#include "bench/rig.h"
#include "libcor/paging/pager.h"

struct live {
	pid_t  server;
	int    hold;            /* the server ends when this closes */
	struct cor_pager *pager;
	struct task *task;
};

/* Faults are answered from here on; takes the task's userfaultfd. */
void live_start(struct live *l, const struct cor_ctx *ctx, const struct ghost *g,
		struct task *t, bool prefetch);
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
