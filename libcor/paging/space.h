/* The map of one address space: run-time address -> page of a region.
 *
 * A sorted array of extents. An extent is a piece of a track (track.h), or has
 * no track: memory that is ours to serve but was never at the source (a stack
 * that grew), zero throughout. Splitting and moving an extent never touches the
 * page state, which belongs to the track.
 *
 * Not thread-safe. Functions that return int may fail with -ENOMEM, and have
 * then changed nothing.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "libcor/paging/track.h"

struct cor_extent {
	uint64_t start;             /* run-time address */
	uint64_t npages;
	struct cor_track *track;    /* NULL: zeros */
	uint64_t first;             /* the track's page at start */
};

struct cor_space {
	struct cor_extent *extents; /* ascending, none empty, none overlapping */
	size_t n, room;
	uint64_t missing;           /* pages with data, neither installed nor dropped */
	uint64_t want;              /* of these, the ones not asked for in bulk */
};

/* Where a run-time address leads. */
struct cor_place {
	struct cor_track *track;
	uint64_t index;             /* the track's page */
	uint64_t pages;             /* from here to the extent's end */
};

enum cor_page_is {
	COR_IS_FOREIGN,             /* in no extent */
	COR_IS_MISSING,             /* holds data, or may do so */
	COR_IS_ZERO,                /* known to be zero, dropped, or in an extent without a track */
	COR_IS_INSTALLED,
};

void cor_space_init(struct cor_space *s);
/* Lets all tracks go; s may be initialized again. */
void cor_space_fini(struct cor_space *s);

/* -EEXIST when something is there already. Takes a reference on track. */
int cor_space_add(struct cor_space *s, uint64_t start, uint64_t npages,
		  struct cor_track *track, uint64_t first);

/* What the page at addr is. *place (NULL allowed) is filled unless FOREIGN. O(log n). */
enum cor_page_is cor_space_look(const struct cor_space *s, uint64_t addr, struct cor_place *place);

/* The extent that holds addr, or the first one behind it; s->n: none. O(log n). */
size_t cor_space_seek(const struct cor_space *s, uint64_t addr);

/* The task threw the contents of [start, start+len) away: zero from now on. In
 * shared memory the data survives that (madvise(2), MADV_DONTNEED). Returns
 * how many pages of data need not come any more. */
uint64_t cor_space_remove(struct cor_space *s, uint64_t start, uint64_t len);

/* [start, start+len) is unmapped. *lost (NULL allowed) as cor_space_remove(). */
int cor_space_unmap(struct cor_space *s, uint64_t start, uint64_t len, uint64_t *lost);

/* [from, from+len) now lies at to; what was there is forgotten. */
int cor_space_remap(struct cor_space *s, uint64_t from, uint64_t to, uint64_t len);

/* Memory without a source appeared: one page of zeros at addr, which was FOREIGN. */
int cor_space_grow(struct cor_space *s, uint64_t addr);

/* Fills an initialized, empty space with a copy (fork). Nothing is in flight in it. */
int cor_space_clone(struct cor_space *into, const struct cor_space *s);

/* Stores in addrs[0..max) the run-time addresses of the huge pages' worth of memory
 * that is in a huge page at the source, lies where one can be here, and has lost
 * nothing of it since. Returns how many there are, which may be more than max. */
size_t cor_space_huge(const struct cor_space *s, uint64_t *addrs, size_t max);

/* The next run of wanted pages at or behind cursor, going round at the end: its
 * run-time address, its place, and its length in pages (at most max). 0: none. */
uint64_t cor_space_next(const struct cor_space *s, uint64_t cursor, uint64_t max,
			uint64_t *addr, struct cor_place *place);
