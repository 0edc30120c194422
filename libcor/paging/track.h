/* What is known of the pages of one region.
 *
 * A struct cor_presence says what the source holds; it is the same for a task
 * and for its forked children, who share it. A struct cor_track is the state of
 * these pages in one address space: installed, dropped, asked for. Pages are
 * numbered from the region's first byte at the source, so nothing here changes
 * when the task moves the memory about (space.h follows that).
 *
 * Only the pager's thread uses these: no locks, plain reference counts.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct cor_space;
struct cor_track;

struct cor_presence {
	unsigned refs;
	uint16_t object;
	uint64_t offset;            /* of page 0 in the object, bytes */
	uint64_t npages;
	uint64_t known;             /* for pages below this, data[] is the whole truth */
	uint64_t counted;           /* pages that hold data */
	bool whole;                 /* made so: every page does */
	uint64_t *data;
	uint64_t *huge;             /* huge pages at the source, the first one being that of
				       page 0; NULL: none */
	struct cor_track *tracks;   /* one per address space */
};

struct cor_track {
	unsigned refs;              /* extents and requests in flight */
	struct cor_presence *presence;
	struct cor_space *space;    /* whose totals these pages count in */
	struct cor_track *sibling;  /* the next of presence->tracks */
	struct cor_track *twin;     /* its copy, while a space is being cloned */
	bool shared;                /* shmem: EEXIST is ordinary, REMOVE keeps the data */
	uint32_t number;            /* while a snapshot is made (pager_journal.c) */
	uint64_t want;              /* pages with data: not there, not asked for */
	uint64_t *own;              /* what was allocated for the maps */
	uint64_t *have;             /* nothing to fetch: installed or dropped */
	uint64_t *drop;             /* zero from now on */
	uint64_t *busy;             /* asked for in bulk */
};

enum cor_track_bit {
	COR_TRACK_INSTALLED,
	COR_TRACK_DROPPED,
	COR_TRACK_BUSY,
};

/* whole: every page holds data, nothing needs to be asked. */
struct cor_presence *cor_presence_new(uint16_t object, uint64_t offset, uint64_t npages,
				      bool whole);
void cor_presence_unref(struct cor_presence *pr);

/* The whole truth at once, before there is any track. */
void cor_presence_load(struct cor_presence *pr, const uint64_t *data);

/* Pages [first, first+n) hold data, or do not; the totals of every space that
 * waits for them follow. Does not move known. */
void cor_presence_learn(struct cor_presence *pr, uint64_t first, uint64_t n, bool data);

/* Pages [first, first+n) lie in huge pages at the source. Without memory for it that
 * is forgotten. */
void cor_presence_learn_huge(struct cor_presence *pr, uint64_t first, uint64_t n);
bool cor_presence_is_huge(const struct cor_presence *pr, uint64_t page);

/* A track with one reference; it takes its own reference on pr. NULL: no memory. */
struct cor_track *cor_track_new(struct cor_presence *pr, struct cor_space *space, bool shared);
/* The same state in another space, with nothing in flight. */
struct cor_track *cor_track_clone(const struct cor_track *t, struct cor_space *space);
void cor_track_unref(struct cor_track *t);

/* DROPPED implies that there is nothing to fetch any more. INSTALLED and DROPPED
 * are only ever set. */
void cor_track_mark(struct cor_track *t, enum cor_track_bit bit, uint64_t first, uint64_t n,
		    bool on);

/* Marks every page whose bit is set: INSTALLED or DROPPED. */
void cor_track_load(struct cor_track *t, enum cor_track_bit bit, const uint64_t *set);

/* The map of what is there lies at have from here, which holds the same, and outlives t. */
void cor_track_move(struct cor_track *t, uint64_t *have);

/* Pages of [first, first+n) that hold data and are neither installed nor dropped. */
uint64_t cor_track_missing(const struct cor_track *t, uint64_t first, uint64_t n);

/* The first page in [first, end) that is wanted (data, not there, not asked for);
 * end when there is none. *run: how many follow each other, at most max. */
uint64_t cor_track_find(const struct cor_track *t, uint64_t first, uint64_t end, uint64_t max,
			uint64_t *run);
