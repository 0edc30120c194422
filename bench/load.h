/* load: clients of a redis-server that ask as fast as it answers, like
 * redis-benchmark(1)'s, but check every answer and connect again where they must; and
 * how many answers came when. */
#pragma once

#include "bench/bench.h"

#define LOAD_BUCKET_NS (20 * UINT64_C(1000000))
#define LOAD_BUCKETS   6000u            /* two minutes */
#define LOAD_VALUE     1024u            /* bytes of each value */

struct load;

/* n clients of the server at address:port that has keys keys, made by load_fill(). */
struct load *load_new(const char *address, unsigned port, unsigned n, unsigned long keys);
void load_free(struct load *l);

/* Waits for the server and makes it hold so many keys. -errno after a message. */
int load_fill(struct load *l);

/* Asks for ns nanoseconds. -errno after a message: a wrong answer. */
int load_run(struct load *l, uint64_t ns);

struct load_figures {
	uint64_t started;       /* the beginning of bucket 0, CLOCK_MONOTONIC */
	const unsigned *answers;        /* in each bucket */
	unsigned nbuckets;      /* whole ones */
	unsigned reconnects;
	/* The longest time without any answer since load_mark(): when, how long. */
	uint64_t silent_since, silence_ns;
};

/* From here on the longest silence is looked for. */
void load_mark(struct load *l);
void load_figures(const struct load *l, struct load_figures *out);
