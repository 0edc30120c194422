/* The interval map of one address space; see space.h. */
#include "libcor/paging/space.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "libcor/base/cleanup.h"
#include "libcor/paging/bits.h"
#include "libcor/paging/wire.h"

static uint64_t extent_end(const struct cor_extent *e)
{
	return e->start + (e->npages << COR_PAGE_SHIFT);
}

void cor_space_init(struct cor_space *s)
{
	memset(s, 0, sizeof(*s));
}

void cor_space_fini(struct cor_space *s)
{
	for (size_t i = 0; i < s->n; i++)
		cor_track_unref(s->extents[i].track);
	free(s->extents);
	s->extents = NULL;
	s->n = s->room = 0;
}

/* Makes room for more extents, so that what follows cannot fail. */
static int reserve(struct cor_space *s, size_t more)
{
	struct cor_extent *e;
	size_t room = s->room ? s->room : 16;

	if (s->n + more <= s->room)
		return 0;
	while (room < s->n + more)
		room *= 2;
	e = reallocarray(s->extents, room, sizeof(*e));
	if (!e)
		return -ENOMEM;
	s->extents = e;
	s->room = room;
	return 0;
}

size_t cor_space_seek(const struct cor_space *s, uint64_t addr)
{
	size_t low = 0, high = s->n;

	while (low < high) {
		size_t mid = (low + high) / 2;

		if (extent_end(&s->extents[mid]) <= addr)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

static void insert(struct cor_space *s, size_t at, struct cor_extent e)
{
	memmove(&s->extents[at + 1], &s->extents[at], (s->n - at) * sizeof(e));
	s->extents[at] = e;
	s->n++;
}

/* Sees to it that no extent reaches across addr; returns the index of the first
 * extent at or behind it. Needs room for one. */
static size_t cut(struct cor_space *s, uint64_t addr)
{
	size_t i = cor_space_seek(s, addr);
	struct cor_extent *e, tail;
	uint64_t head;

	if (i == s->n || s->extents[i].start >= addr)
		return i;
	e = &s->extents[i];
	head = (addr - e->start) >> COR_PAGE_SHIFT;
	tail = (struct cor_extent) {
		.start = addr, .npages = e->npages - head,
		.track = e->track, .first = e->first + head,
	};
	if (tail.track)
		tail.track->refs++;
	e->npages = head;
	insert(s, i + 1, tail);
	return i + 1;
}

int cor_space_add(struct cor_space *s, uint64_t start, uint64_t npages,
		  struct cor_track *track, uint64_t first)
{
	size_t i = cor_space_seek(s, start);

	if (i < s->n && s->extents[i].start < start + (npages << COR_PAGE_SHIFT))
		return -EEXIST;
	if (reserve(s, 1) < 0)
		return -ENOMEM;
	if (track)
		track->refs++;
	insert(s, i, (struct cor_extent) { start, npages, track, first });
	return 0;
}

enum cor_page_is cor_space_look(const struct cor_space *s, uint64_t addr, struct cor_place *place)
{
	size_t i = cor_space_seek(s, addr);
	const struct cor_extent *e = &s->extents[i];
	struct cor_place at;
	uint64_t skip;

	if (i == s->n || e->start > addr)
		return COR_IS_FOREIGN;
	skip = (addr - e->start) >> COR_PAGE_SHIFT;
	at = (struct cor_place) { e->track, e->first + skip, e->npages - skip };
	if (place)
		*place = at;
	if (!at.track || cor_bit(at.track->drop, at.index))
		return COR_IS_ZERO;
	if (cor_bit(at.track->have, at.index))
		return COR_IS_INSTALLED;
	if (at.index < at.track->presence->known && !cor_bit(at.track->presence->data, at.index))
		return COR_IS_ZERO;
	return COR_IS_MISSING;
}

uint64_t cor_space_remove(struct cor_space *s, uint64_t start, uint64_t len)
{
	uint64_t end = start + len, lost = 0;

	for (size_t i = cor_space_seek(s, start); i < s->n && s->extents[i].start < end; i++) {
		struct cor_extent *e = &s->extents[i];
		uint64_t from = COR_MAX(start, e->start), to = COR_MIN(end, extent_end(e));
		uint64_t first = e->first + ((from - e->start) >> COR_PAGE_SHIFT);
		uint64_t n = (to - from) >> COR_PAGE_SHIFT;

		if (!e->track || e->track->shared)
			continue;
		lost += cor_track_missing(e->track, first, n);
		cor_track_mark(e->track, COR_TRACK_DROPPED, first, n, true);
	}
	return lost;
}

/* Forgets extents [a, b); their pages count as dropped, for requests in flight
 * may still hold the track. */
static uint64_t forget(struct cor_space *s, size_t a, size_t b)
{
	uint64_t lost = 0;

	for (size_t i = a; i < b; i++) {
		struct cor_extent *e = &s->extents[i];

		if (!e->track)
			continue;
		lost += cor_track_missing(e->track, e->first, e->npages);
		cor_track_mark(e->track, COR_TRACK_DROPPED, e->first, e->npages, true);
		cor_track_unref(e->track);
	}
	memmove(&s->extents[a], &s->extents[b], (s->n - b) * sizeof(*s->extents));
	s->n -= b - a;
	return lost;
}

int cor_space_unmap(struct cor_space *s, uint64_t start, uint64_t len, uint64_t *lost)
{
	uint64_t count;
	size_t a, b;

	if (reserve(s, 2) < 0)
		return -ENOMEM;
	a = cut(s, start);
	b = cut(s, start + len);
	count = forget(s, a, b);
	if (lost)
		*lost = count;
	return 0;
}

int cor_space_remap(struct cor_space *s, uint64_t from, uint64_t to, uint64_t len)
{
	_cleanup_free_ struct cor_extent *moved = NULL;
	size_t a, b, n;

	/* two cuts around the origin, two around the target */
	if (reserve(s, 4) < 0)
		return -ENOMEM;
	a = cut(s, from);
	b = cut(s, from + len);
	n = b - a;
	moved = reallocarray(NULL, n + 1, sizeof(*moved));
	if (!moved)
		return -ENOMEM;
	memcpy(moved, &s->extents[a], n * sizeof(*moved));
	memmove(&s->extents[a], &s->extents[b], (s->n - b) * sizeof(*moved));
	s->n -= n;

	a = cut(s, to);
	b = cut(s, to + len);
	forget(s, a, b);
	memmove(&s->extents[a + n], &s->extents[a], (s->n - a) * sizeof(*moved));
	for (size_t i = 0; i < n; i++) {
		moved[i].start = moved[i].start - from + to;
		s->extents[a + i] = moved[i];
	}
	s->n += n;
	return 0;
}

int cor_space_grow(struct cor_space *s, uint64_t addr)
{
	size_t i = cor_space_seek(s, addr);
	struct cor_extent *next = i < s->n ? &s->extents[i] : NULL;
	struct cor_extent *last = i > 0 ? &s->extents[i - 1] : NULL;

	if (last && !last->track && extent_end(last) == addr) {
		last->npages++;
		return 0;
	}
	if (next && !next->track && next->start == addr + (1u << COR_PAGE_SHIFT)) {
		next->start = addr;
		next->npages++;
		return 0;
	}
	return cor_space_add(s, addr, 1, NULL, 0);
}

/* The copy of t for a clone: made at its first extent, found again at the others. */
static struct cor_track *twin_of(struct cor_track *t, struct cor_space *into)
{
	if (!t->twin)
		return t->twin = cor_track_clone(t, into);
	t->twin->refs++;
	return t->twin;
}

int cor_space_clone(struct cor_space *into, const struct cor_space *s)
{
	int r = 0;

	if (reserve(into, s->n) < 0)
		return -ENOMEM;
	for (size_t i = 0; i < s->n; i++) {
		struct cor_extent e = s->extents[i];

		if (e.track)
			e.track = twin_of(e.track, into);
		if (s->extents[i].track && !e.track) {
			r = -ENOMEM;
			break;
		}
		into->extents[into->n++] = e;
	}
	for (size_t i = 0; i < s->n; i++)
		if (s->extents[i].track)
			s->extents[i].track->twin = NULL;
	if (r < 0)
		cor_space_fini(into);
	return r;
}

/* The first wanted run inside extent e at or behind run-time address cursor. */
static uint64_t next_in(const struct cor_extent *e, uint64_t cursor, uint64_t max,
			uint64_t *addr, struct cor_place *place)
{
	uint64_t skip = cursor > e->start ? (cursor - e->start) >> COR_PAGE_SHIFT : 0;
	uint64_t run, at;

	if (!e->track || !e->track->want || skip >= e->npages)
		return 0;
	at = cor_track_find(e->track, e->first + skip, e->first + e->npages, max, &run);
	if (!run)
		return 0;
	*addr = e->start + ((at - e->first) << COR_PAGE_SHIFT);
	*place = (struct cor_place) { e->track, at, e->first + e->npages - at };
	return run;
}

uint64_t cor_space_next(const struct cor_space *s, uint64_t cursor, uint64_t max,
			uint64_t *addr, struct cor_place *place)
{
	size_t from = cor_space_seek(s, cursor);
	uint64_t run = 0;

	if (!s->want)
		return 0;
	for (size_t i = from; i < s->n && !run; i++)
		run = next_in(&s->extents[i], cursor, max, addr, place);
	/* once round: the extent under the cursor again, now from its beginning */
	for (size_t i = 0; i < s->n && i <= from && !run; i++)
		run = next_in(&s->extents[i], 0, max, addr, place);
	return run;
}

#define HUGE ((uint64_t)1 << COR_HUGE_SHIFT)
#define HUGE_PAGES ((uint64_t)1 << (COR_HUGE_SHIFT - COR_PAGE_SHIFT))

static size_t extent_huge(const struct cor_extent *e, uint64_t *addrs, size_t max)
{
	uint64_t addr = (e->start + HUGE - 1) & ~(HUGE - 1);
	size_t n = 0;

	/* a move by less than a huge page has torn them all */
	if (!e->track || !e->track->presence->huge ||
	    (e->track->presence->offset + (e->first << COR_PAGE_SHIFT) - e->start) & (HUGE - 1))
		return 0;
	for (; addr + HUGE <= extent_end(e); addr += HUGE) {
		uint64_t page = e->first + ((addr - e->start) >> COR_PAGE_SHIFT);

		if (!cor_presence_is_huge(e->track->presence, page) ||
		    cor_bits_clear_run(e->track->drop, page, HUGE_PAGES) < HUGE_PAGES)
			continue;
		if (n < max)
			addrs[n] = addr;
		n++;
	}
	return n;
}

size_t cor_space_huge(const struct cor_space *s, uint64_t *addrs, size_t max)
{
	size_t n = 0;

	for (size_t i = 0; i < s->n; i++)
		n += extent_huge(&s->extents[i], addrs + COR_MIN(n, max), n < max ? max - n : 0);
	return n;
}
