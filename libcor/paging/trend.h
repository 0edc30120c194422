/* What the faults of one thread have in common: whether it goes through memory in
 * equal steps, so that the pages on its way can be sent for before it gets there.
 *
 * A step is believed once it has been seen twice in a row (three faults), and going
 * from page to page also when all pages in between are there already: prefetched
 * pages do not fault. The more often the next fault confirms it, the farther ahead
 * it is worth looking (compare the majority trend of Leap, USENIX ATC 2020). One fault
 * elsewhere ends it.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define COR_TRENDS 8u           /* threads that are told apart; the least recent is forgotten */
#define COR_TREND_DEPTH 32u     /* pages looked ahead at the most */

struct cor_trend {
	uint32_t tid;
	uint64_t page;          /* of the last fault: address / page size */
	int64_t  step;          /* in pages; 0: none is seen */
	int64_t  last;          /* distance of the last two faults; 1: also where nothing
				   between them was missing */
	unsigned confirmed;     /* how often in a row */
	uint64_t used;          /* for forgetting */
};

struct cor_trends {
	struct cor_trend of[COR_TRENDS];
	uint64_t clock;
};

/* A fault of thread tid at page. all_there: every page between its last fault's and
 * this one is there. True when the fault was to be expected. */
bool cor_trend_fault(struct cor_trends *ts, uint32_t tid, uint64_t page,
		     bool (*all_there)(void *arg, uint64_t from, uint64_t to), void *arg);

/* The thread's trend, NULL: nothing is known of it. */
struct cor_trend *cor_trend_of(struct cor_trends *ts, uint32_t tid);

/* How many pages ahead of the last fault it is worth looking; 0: none. */
unsigned cor_trend_depth(const struct cor_trend *t);
