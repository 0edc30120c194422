/* walker: a memory-bound task (bench/walk.c) that may move to another host between two
 * orders. It waits for SIGUSR1, walks, and writes what that took into a file. */
#pragma once

#include "bench/bench.h"

#define WALK_RANDOM_READS (1u << 18)
#define WALK_FRESH_PAGES  8192u

enum { WALKED_SEQUENTIAL, WALKED_RANDOM, WALKED_WRITING, WALKED_FRESH, WALKS };

struct walked {
	uint64_t turn;          /* grows by one with each order */
	uint64_t ns[WALKS];
	uint64_t sum;           /* of what was read: the same in every turn */
	uint64_t cpu;
};

struct walker {
	pid_t pid;
	char  path[96];         /* of the file, in the caller's directory */
	int   fd;
	uint64_t turn;
};

/* huge: with MADV_HUGEPAGE, else with none. dir must stay until walker_end(). Ends the
 * program with a message where there is no memory for it. */
void walker_start(struct walker *w, const char *dir, size_t size, bool huge);
/* One turn; -errno after a message where none comes. */
int  walker_order(struct walker *w, struct walked *out);
/* Of the memory that it walks, KiB that are in huge pages, and mappings that it is in. */
void walker_memory(const struct walker *w, uint64_t *huge_kib, unsigned *mappings);
void walker_end(struct walker *w);
