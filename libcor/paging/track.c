/* Presence and state bitmaps of one region; see track.h. */
#include "libcor/paging/track.h"

#include <stdlib.h>
#include <string.h>

#include "libcor/base/cleanup.h"
#include "libcor/paging/bits.h"
#include "libcor/paging/space.h"
#include "libcor/paging/wire.h"

struct cor_presence *cor_presence_new(uint16_t object, uint64_t offset, uint64_t npages,
				      bool whole)
{
	struct cor_presence *pr = calloc(1, sizeof(*pr));

	if (!pr)
		return NULL;
	pr->data = calloc(cor_bits_words(npages), sizeof(*pr->data));
	if (!pr->data) {
		free(pr);
		return NULL;
	}
	pr->refs = 1;
	pr->object = object;
	pr->offset = offset;
	pr->npages = npages;
	pr->whole = whole;
	if (whole) {
		cor_bits_put(pr->data, 0, npages, true);
		pr->known = pr->counted = npages;
	}
	return pr;
}

void cor_presence_unref(struct cor_presence *pr)
{
	if (!pr || --pr->refs)
		return;
	free(pr->data);
	free(pr->huge);
	free(pr);
}

void cor_presence_load(struct cor_presence *pr, const uint64_t *data)
{
	pr->counted = 0;
	for (uint64_t i = 0; i < cor_bits_words(pr->npages); i++) {
		pr->data[i] = data[i] & cor_bits_mask(i, 0, pr->npages);
		pr->counted += (uint64_t)__builtin_popcountll(pr->data[i]);
	}
	pr->known = pr->npages;
}

/* Which bit of huge a page's is. */
static uint64_t huge_of(const struct cor_presence *pr, uint64_t page)
{
	return ((pr->offset + (page << COR_PAGE_SHIFT)) >> COR_HUGE_SHIFT) -
	       (pr->offset >> COR_HUGE_SHIFT);
}

void cor_presence_learn_huge(struct cor_presence *pr, uint64_t first, uint64_t n)
{
	uint64_t from = huge_of(pr, first);

	if (!n)
		return;
	if (!pr->huge)
		pr->huge = calloc(cor_bits_words(huge_of(pr, pr->npages - 1) + 1),
				  sizeof(*pr->huge));
	if (pr->huge)
		cor_bits_put(pr->huge, from, huge_of(pr, first + n - 1) - from + 1, true);
}

bool cor_presence_is_huge(const struct cor_presence *pr, uint64_t page)
{
	return pr->huge && cor_bit(pr->huge, huge_of(pr, page));
}

/* Counts pages of [first, first+n): those with data that are not there, and of
 * these the ones not asked for. */
static void count(const struct cor_track *t, uint64_t first, uint64_t n,
		  uint64_t *missing, uint64_t *want)
{
	*missing = *want = 0;
	for (uint64_t i = first / 64; n && i <= (first + n - 1) / 64; i++) {
		uint64_t m = t->presence->data[i] & cor_bits_mask(i, first, first + n);

		/* a void's other maps were never touched, and so take no memory */
		if (!m)
			continue;
		m &= ~t->have[i];
		*missing += (uint64_t)__builtin_popcountll(m);
		*want += (uint64_t)__builtin_popcountll(m & ~t->busy[i]);
	}
}

/* Takes the pages out of the totals, or puts them back. */
static void account(struct cor_track *t, uint64_t first, uint64_t n, bool in)
{
	uint64_t missing, want;

	if (!t->presence->counted)
		return;         /* nothing is known to hold data, so nothing is missing */
	count(t, first, n, &missing, &want);
	t->want += in ? want : -want;
	t->space->want += in ? want : -want;
	t->space->missing += in ? missing : -missing;
}

void cor_presence_learn(struct cor_presence *pr, uint64_t first, uint64_t n, bool data)
{
	struct cor_track *t;

	for (t = pr->tracks; t; t = t->sibling)
		account(t, first, n, false);
	for (uint64_t i = first / 64; n && i <= (first + n - 1) / 64; i++)
		pr->counted -= (uint64_t)__builtin_popcountll(
			pr->data[i] & cor_bits_mask(i, first, first + n));
	cor_bits_put(pr->data, first, n, data);
	if (data)
		pr->counted += n;
	for (t = pr->tracks; t; t = t->sibling)
		account(t, first, n, true);
}

/* The three state maps lie behind each other in one allocation. */
static struct cor_track *allocate(struct cor_presence *pr, struct cor_space *space, bool shared)
{
	uint64_t words = cor_bits_words(pr->npages);
	struct cor_track *t = calloc(1, sizeof(*t));

	if (!t)
		return NULL;
	t->own = t->have = calloc(3 * words, sizeof(*t->have));
	if (!t->have) {
		free(t);
		return NULL;
	}
	t->drop = t->have + words;
	t->busy = t->drop + words;
	t->refs = 1;
	t->shared = shared;
	t->space = space;
	t->presence = pr;
	pr->refs++;
	return t;
}

static void attach(struct cor_track *t)
{
	t->sibling = t->presence->tracks;
	t->presence->tracks = t;
	account(t, 0, t->presence->npages, true);
}

struct cor_track *cor_track_new(struct cor_presence *pr, struct cor_space *space, bool shared)
{
	struct cor_track *t = allocate(pr, space, shared);

	if (t)
		attach(t);
	return t;
}

struct cor_track *cor_track_clone(const struct cor_track *t, struct cor_space *space)
{
	struct cor_track *c = allocate(t->presence, space, t->shared);
	size_t len = cor_bits_words(t->presence->npages) * sizeof(*t->have);

	if (!c)
		return NULL;
	memcpy(c->have, t->have, len);
	memcpy(c->drop, t->drop, len);
	attach(c);
	return c;
}

void cor_track_unref(struct cor_track *t)
{
	struct cor_track **at;

	if (!t || --t->refs)
		return;
	account(t, 0, t->presence->npages, false);
	for (at = &t->presence->tracks; *at != t; at = &(*at)->sibling)
		;
	*at = t->sibling;
	cor_presence_unref(t->presence);
	free(t->own);
	free(t);
}

void cor_track_load(struct cor_track *t, enum cor_track_bit bit, const uint64_t *set)
{
	uint64_t npages = t->presence->npages;

	account(t, 0, npages, false);
	for (uint64_t i = 0; i < cor_bits_words(npages); i++) {
		t->have[i] |= set[i];
		if (bit == COR_TRACK_DROPPED)
			t->drop[i] |= set[i];
	}
	account(t, 0, npages, true);
}

void cor_track_move(struct cor_track *t, uint64_t *have)
{
	t->have = have;
}

void cor_track_mark(struct cor_track *t, enum cor_track_bit bit, uint64_t first, uint64_t n,
		    bool on)
{
	account(t, first, n, false);
	switch (bit) {
	case COR_TRACK_DROPPED:
		cor_bits_put(t->drop, first, n, on);
		/* fall through */
	case COR_TRACK_INSTALLED:
		cor_bits_put(t->have, first, n, on);
		break;
	case COR_TRACK_BUSY:
		cor_bits_put(t->busy, first, n, on);
		break;
	}
	account(t, first, n, true);
}

uint64_t cor_track_missing(const struct cor_track *t, uint64_t first, uint64_t n)
{
	uint64_t missing, want;

	count(t, first, n, &missing, &want);
	return missing;
}

static uint64_t wanted(const struct cor_track *t, uint64_t word)
{
	uint64_t data = t->presence->data[word];

	return data ? data & ~t->have[word] & ~t->busy[word] : 0;
}

uint64_t cor_track_find(const struct cor_track *t, uint64_t first, uint64_t end, uint64_t max,
			uint64_t *run)
{
	uint64_t at = end, stop;

	*run = 0;
	for (uint64_t i = first / 64; first < end && i <= (end - 1) / 64; i++) {
		uint64_t w = wanted(t, i) & cor_bits_mask(i, first, end);

		if (w) {
			at = i * 64 + (uint64_t)__builtin_ctzll(w);
			break;
		}
	}
	stop = COR_MIN(end, at + max);
	for (uint64_t i = at / 64; at < stop && i <= (stop - 1) / 64; i++) {
		uint64_t rest = ~wanted(t, i) & cor_bits_mask(i, at, stop);

		if (rest) {
			stop = i * 64 + (uint64_t)__builtin_ctzll(rest);
			break;
		}
	}
	*run = stop - at;
	return at;
}
