/* Which files a task sees where it arrives. The source reads what the task sees now
 * (mountinfo, and what it has open); the destination decides for each part of the tree
 * whether it is the same there, its own, or the home's (trees.proto).
 *
 * Unless the configuration says otherwise: what is the same file system on both hosts is
 * shared; what the kernel makes up (/proc, /sys, devices) and what describes the running
 * host (/run, /dev) is the destination's, but where the task has something open in it;
 * all else is the home's. Where everything is shared, nothing is done at all.
 */
#pragma once

#include <cor/error.h>
#include <stdbool.h>
#include <sys/types.h>

#include "libcor/names/trees.pb-c.h"

/* A path prefix of the configuration, "/" for everything. */
struct cor_tree_wish {
	char prefix[256];
	Cor__Names__TreeMode mode;
};

/* "shared", "local", "home"; -EINVAL. */
int cor_tree_mode_parse(const char *name);
const char *cor_tree_mode_name(Cor__Names__TreeMode mode);

/* On the source: free with cor__names__trees__free_unpacked(). */
int cor_trees_read(Cor__Names__Trees **out, pid_t pid, const struct cor_tree_wish *wishes,
		   unsigned nwishes, struct cor_error *err);

/* On the destination. Empty when nothing is the home's. -ESTALE: what is wished to be
 * shared is not the same here, by name. */
int cor_trees_plan(Cor__Names__Plan **out, const Cor__Names__Trees *trees, struct cor_error *err);

/* The tree that path lies in: an index of plan->trees, or -1 (an empty plan). */
int cor_plan_find(const Cor__Names__Plan *plan, const char *path);
/* Is any tree that of the home with this index of plan->homes? */
bool cor_plan_uses(const Cor__Names__Plan *plan, unsigned home);
/* Is path the home's? */
bool cor_plan_at_home(const Cor__Names__Plan *plan, const char *path);

/* One line of mountinfo (proc(5)) taken apart in place; what the kernel escapes is plain
 * again. */
struct cor_mount_line {
	unsigned id, parent;
	uint64_t dev;
	char *root, *point, *type, *source;
};
/* -EINVAL: not such a line. */
int cor_parse_mount(char *line, struct cor_mount_line *out);
