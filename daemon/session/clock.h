/* The clocks of a task that moves: CLOCK_MONOTONIC and CLOCK_BOOTTIME must go on
 * from where they were. Where the two hosts' clocks differ the task arrives in
 * a time namespace (time_namespaces(7)) whose offsets make up for it. */
#pragma once

#include <cor/error.h>
#include <stdbool.h>
#include <stdint.h>

#include "libcor/task/task.pb-c.h"

struct session_clocks { int64_t monotonic_ns, boottime_ns; };

/* What the two clocks show now in the initial time namespace of this kernel. */
int session_clocks_initial(struct session_clocks *now, struct cor_error *err);

/* What they show now to a task with these offsets (cor.task.Clock). */
int session_clocks_of_task(const Cor__Task__Clock *task, struct session_clocks *now,
			   struct cor_error *err);

/* What a time namespace must add to ours so that they go on from theirs, a peer's, as
 * they were up to trip_ns ago. The whole of that is added: a clock of the task may be
 * ahead by as much, but never goes back, not even one that shows the last tick only
 * (CLOCK_MONOTONIC_COARSE). -EPROTO: no clock shows that. */
int session_clocks_offsets(const struct session_clocks *theirs, const struct session_clocks *ours,
			   uint64_t trip_ns, struct session_clocks *out, struct cor_error *err);

/* Do they tell the same time here, in cord's own time namespace? */
bool session_clocks_same(const Cor__Task__Clock *task);
