/* The map of one address space (libcor/paging/space.c, track.c). */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "libcor/paging/bits.h"
#include "libcor/paging/space.h"

#define P 4096ull
#define BASE 0x10000000ull

struct fixture {
	struct cor_space space;
	struct cor_presence *presence;
	struct cor_track *track;     /* 100 pages at BASE, borrowed from the space */
};

static int setup(void **state)
{
	struct fixture *f = test_calloc(1, sizeof(*f));

	cor_space_init(&f->space);
	f->presence = cor_presence_new(0, 0x70000000, 100, true);
	f->track = cor_track_new(f->presence, &f->space, false);
	assert_int_equal(cor_space_add(&f->space, BASE, 100, f->track, 0), 0);
	cor_track_unref(f->track);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	cor_space_fini(&f->space);
	cor_presence_unref(f->presence);
	test_free(f);
	return 0;
}

static void assert_at(struct cor_space *s, uint64_t page, enum cor_page_is is, uint64_t index)
{
	struct cor_place at = { NULL, ~0ull, 0 };

	assert_int_equal(cor_space_look(s, BASE + page * P, &at), is);
	if (is != COR_IS_FOREIGN)
		assert_int_equal(at.index, index);
}

static void look_finds_both_ends_of_an_extent(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(cor_space_look(&f->space, BASE - P, NULL), COR_IS_FOREIGN);
	assert_at(&f->space, 0, COR_IS_MISSING, 0);
	assert_at(&f->space, 99, COR_IS_MISSING, 99);
	assert_int_equal(cor_space_look(&f->space, BASE + 100 * P, NULL), COR_IS_FOREIGN);
}

static void look_takes_any_address_inside_a_page(void **state)
{
	struct fixture *f = *state;
	struct cor_place at;

	assert_int_equal(cor_space_look(&f->space, BASE + 5 * P + 17, &at), COR_IS_MISSING);
	assert_int_equal(at.index, 5);
	assert_int_equal(at.pages, 95);
}

static void add_refuses_overlaps(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(cor_space_add(&f->space, BASE + 99 * P, 2, NULL, 0), -EEXIST);
	assert_int_equal(cor_space_add(&f->space, BASE - P, 2, NULL, 0), -EEXIST);
	assert_int_equal(cor_space_add(&f->space, BASE - P, 1, NULL, 0), 0);
	assert_int_equal(cor_space_add(&f->space, BASE + 100 * P, 1, NULL, 0), 0);
}

static void counts_follow_installation(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(f->space.missing, 100);
	cor_track_mark(f->track, COR_TRACK_INSTALLED, 10, 20, true);
	cor_track_mark(f->track, COR_TRACK_INSTALLED, 10, 5, true);
	assert_int_equal(f->space.missing, 80);
	assert_at(&f->space, 10, COR_IS_INSTALLED, 10);
	assert_at(&f->space, 30, COR_IS_MISSING, 30);
}

static void removed_pages_are_zero_but_stay(void **state)
{
	struct fixture *f = *state;

	cor_track_mark(f->track, COR_TRACK_INSTALLED, 10, 5, true);
	assert_int_equal(cor_space_remove(&f->space, BASE + 8 * P, 10 * P), 5);
	assert_at(&f->space, 12, COR_IS_ZERO, 12);
	assert_at(&f->space, 7, COR_IS_MISSING, 7);
	assert_int_equal(f->space.missing, 90);
	assert_int_equal(f->space.n, 1);
}

static void remove_keeps_shared_memory(void **state)
{
	struct fixture *f = *state;

	f->track->shared = true;
	assert_int_equal(cor_space_remove(&f->space, BASE, 10 * P), 0);
	assert_at(&f->space, 3, COR_IS_MISSING, 3);
}

static void unmap_in_the_middle_splits(void **state)
{
	struct fixture *f = *state;
	uint64_t lost = 0;

	assert_int_equal(cor_space_unmap(&f->space, BASE + 40 * P, 20 * P, &lost), 0);
	assert_int_equal(lost, 20);
	assert_int_equal(f->space.n, 2);
	assert_at(&f->space, 39, COR_IS_MISSING, 39);
	assert_at(&f->space, 40, COR_IS_FOREIGN, 0);
	assert_at(&f->space, 60, COR_IS_MISSING, 60);
	assert_int_equal(f->space.missing, 80);
}

static void unmap_reaches_beyond_both_ends(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(cor_space_unmap(&f->space, BASE - 5 * P, 10 * P, NULL), 0);
	assert_int_equal(cor_space_unmap(&f->space, BASE + 95 * P, 50 * P, NULL), 0);
	assert_at(&f->space, 4, COR_IS_FOREIGN, 0);
	assert_at(&f->space, 5, COR_IS_MISSING, 5);
	assert_at(&f->space, 95, COR_IS_FOREIGN, 0);
	assert_int_equal(f->space.missing, 90);
}

static void unmap_of_everything_ends_the_track(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(cor_space_unmap(&f->space, 0, 1ull << 46, NULL), 0);
	assert_int_equal(f->space.n, 0);
	assert_int_equal(f->space.missing, 0);
	assert_null(f->presence->tracks);
}

static void remap_carries_the_source_along(void **state)
{
	struct fixture *f = *state;

	cor_track_mark(f->track, COR_TRACK_INSTALLED, 12, 1, true);
	assert_int_equal(cor_space_remap(&f->space, BASE + 10 * P, BASE + 500 * P, 5 * P), 0);
	assert_int_equal(f->space.n, 3);
	assert_at(&f->space, 10, COR_IS_FOREIGN, 0);
	assert_at(&f->space, 500, COR_IS_MISSING, 10);
	assert_at(&f->space, 502, COR_IS_INSTALLED, 12);
	assert_at(&f->space, 15, COR_IS_MISSING, 15);
	assert_int_equal(f->space.missing, 99);
}

static void remap_downwards_keeps_the_order(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(cor_space_remap(&f->space, BASE + 90 * P, BASE - 100 * P, 10 * P), 0);
	assert_int_equal(cor_space_look(&f->space, BASE - 91 * P, NULL), COR_IS_MISSING);
	assert_at(&f->space, 0, COR_IS_MISSING, 0);
	assert_at(&f->space, 90, COR_IS_FOREIGN, 0);
	assert_true(f->space.extents[0].start < f->space.extents[1].start);
}

static void remap_over_an_existing_piece_replaces_it(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(cor_space_remap(&f->space, BASE, BASE + 50 * P, 10 * P), 0);
	assert_at(&f->space, 49, COR_IS_MISSING, 49);
	assert_at(&f->space, 50, COR_IS_MISSING, 0);
	assert_at(&f->space, 59, COR_IS_MISSING, 9);
	assert_at(&f->space, 60, COR_IS_MISSING, 60);
	assert_int_equal(f->space.missing, 90);
}

static void remap_of_unknown_memory_clears_the_target(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(cor_space_remap(&f->space, BASE + 900 * P, BASE + 50 * P, P), 0);
	assert_at(&f->space, 50, COR_IS_FOREIGN, 0);
	assert_at(&f->space, 51, COR_IS_MISSING, 51);
}

static void growth_coalesces_both_ways(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(cor_space_grow(&f->space, BASE - P), 0);
	assert_int_equal(cor_space_grow(&f->space, BASE - 2 * P), 0);
	assert_int_equal(cor_space_grow(&f->space, BASE + 100 * P), 0);
	assert_int_equal(cor_space_grow(&f->space, BASE + 101 * P), 0);
	assert_int_equal(f->space.n, 3);
	assert_int_equal(cor_space_look(&f->space, BASE - 2 * P, NULL), COR_IS_ZERO);
	assert_int_equal(cor_space_look(&f->space, BASE + 101 * P, NULL), COR_IS_ZERO);
}

static void clone_is_independent(void **state)
{
	struct fixture *f = *state;
	struct cor_space child;

	cor_space_init(&child);
	assert_int_equal(cor_space_unmap(&f->space, BASE + 50 * P, P, NULL), 0);
	cor_track_mark(f->track, COR_TRACK_BUSY, 0, 10, true);
	cor_track_mark(f->track, COR_TRACK_INSTALLED, 20, 1, true);
	assert_int_equal(cor_space_clone(&child, &f->space), 0);
	assert_int_equal(child.n, 2);
	assert_int_equal(child.missing, 98);
	assert_int_equal(child.want, 98);
	assert_int_equal(f->space.want, 88);
	cor_track_mark(f->track, COR_TRACK_INSTALLED, 30, 1, true);
	assert_at(&child, 30, COR_IS_MISSING, 30);
	assert_at(&child, 20, COR_IS_INSTALLED, 20);
	cor_space_fini(&child);
}

static void clone_of_many_splits_shares_one_track(void **state)
{
	struct fixture *f = *state;
	struct cor_space child;

	cor_space_init(&child);
	for (uint64_t i = 1; i < 100; i += 2)
		assert_int_equal(cor_space_unmap(&f->space, BASE + i * P, P, NULL), 0);
	assert_int_equal(cor_space_clone(&child, &f->space), 0);
	assert_int_equal(child.n, 50);
	assert_int_equal(child.missing, 50);
	assert_int_equal(child.extents[0].track->refs, 50);
	cor_space_fini(&child);
}

static void next_goes_round_once(void **state)
{
	struct fixture *f = *state;
	struct cor_place at;
	uint64_t addr;

	assert_int_equal(cor_space_next(&f->space, BASE + 90 * P, 64, &addr, &at), 10);
	assert_int_equal(addr, BASE + 90 * P);
	cor_track_mark(f->track, COR_TRACK_BUSY, 90, 10, true);
	assert_int_equal(cor_space_next(&f->space, BASE + 90 * P, 64, &addr, &at), 64);
	assert_int_equal(addr, BASE);
	cor_track_mark(f->track, COR_TRACK_INSTALLED, 0, 90, true);
	assert_int_equal(cor_space_next(&f->space, BASE + 90 * P, 64, &addr, &at), 0);
}

static void next_stops_at_pages_that_are_there(void **state)
{
	struct fixture *f = *state;
	struct cor_place at;
	uint64_t addr;

	cor_track_mark(f->track, COR_TRACK_INSTALLED, 0, 3, true);
	cor_track_mark(f->track, COR_TRACK_INSTALLED, 70, 1, true);
	assert_int_equal(cor_space_next(&f->space, BASE, 1000, &addr, &at), 67);
	assert_int_equal(addr, BASE + 3 * P);
	assert_int_equal(at.index, 3);
}

static void presence_tells_zero_from_data(void **state)
{
	struct fixture *f = *state;
	struct cor_presence *pr = cor_presence_new(0, 0, 200, false);
	struct cor_track *t = cor_track_new(pr, &f->space, false);

	assert_int_equal(cor_space_add(&f->space, BASE + 1000 * P, 200, t, 0), 0);
	cor_track_unref(t);
	assert_int_equal(f->space.missing, 100);
	assert_at(&f->space, 1000, COR_IS_MISSING, 0);
	cor_presence_learn(pr, 60, 10, true);
	cor_presence_learn(pr, 65, 10, true);
	assert_int_equal(pr->counted, 15);
	assert_int_equal(f->space.missing, 115);
	pr->known = 100;
	assert_at(&f->space, 1000, COR_IS_ZERO, 0);
	assert_at(&f->space, 1060, COR_IS_MISSING, 60);
	assert_at(&f->space, 1100, COR_IS_MISSING, 100);
	cor_presence_learn(pr, 60, 1, false);
	assert_int_equal(f->space.missing, 114);
	cor_presence_unref(pr);
}

#define H 512ull                 /* pages in a huge one */

/* Memory of four huge pages, the first half of the first one being somebody else's. */
static void setup_huge(struct fixture *f, struct cor_presence **pr, struct cor_track **t)
{
	*pr = cor_presence_new(0, 0x40000000 + H / 2 * P, 4 * H - H / 2, true);
	*t = cor_track_new(*pr, &f->space, false);
	assert_int_equal(cor_space_add(&f->space, 0x60000000 + H / 2 * P, 4 * H - H / 2, *t, 0), 0);
	cor_track_unref(*t);
}

static void huge_pages_are_found_where_they_lie_now(void **state)
{
	struct fixture *f = *state;
	struct cor_presence *pr;
	struct cor_track *t;
	uint64_t at[4] = { 0 };

	setup_huge(f, &pr, &t);
	assert_int_equal(cor_space_huge(&f->space, at, 4), 0);
	/* a few pages of the second, as where a request ended in its midst; all of the last */
	cor_presence_learn_huge(pr, 0, 10);
	cor_presence_learn_huge(pr, H / 2 + 500, 12);
	cor_presence_learn_huge(pr, H / 2 + 2 * H, H);
	assert_true(cor_presence_is_huge(pr, 0) && cor_presence_is_huge(pr, H / 2));
	assert_false(cor_presence_is_huge(pr, H / 2 + H));
	/* the first is not all there */
	assert_int_equal(cor_space_huge(&f->space, NULL, 0), 2);
	assert_int_equal(cor_space_huge(&f->space, at, 1), 2);
	assert_int_equal(at[0], 0x60000000 + H * P);
	assert_int_equal(cor_space_huge(&f->space, at, 4), 2);
	assert_int_equal(at[1], 0x60000000 + 3 * H * P);
	cor_presence_unref(pr);
}

static void huge_pages_are_lost_by_what_tears_them(void **state)
{
	struct fixture *f = *state;
	struct cor_presence *pr;
	struct cor_track *t;
	uint64_t at[4] = { 0 };

	setup_huge(f, &pr, &t);
	cor_presence_learn_huge(pr, 0, 4 * H - H / 2);
	assert_int_equal(cor_space_huge(&f->space, at, 4), 3);
	/* the second: dropped in part; the third: moved by a page; the last: as a whole */
	cor_space_remove(&f->space, 0x60000000 + H * P + 100 * P, P);
	assert_int_equal(cor_space_remap(&f->space, 0x60000000 + 2 * H * P, 0x80000000 + P, H * P), 0);
	assert_int_equal(cor_space_remap(&f->space, 0x60000000 + 3 * H * P, 0x90000000, H * P), 0);
	assert_int_equal(cor_space_huge(&f->space, at, 4), 1);
	assert_int_equal(at[0], 0x90000000);
	cor_presence_unref(pr);
}

static void bit_runs_cross_words(void **state)
{
	uint64_t map[3] = { 0 };

	cor_bits_put(map, 60, 70, true);
	assert_false(cor_bit(map, 59));
	assert_true(cor_bit(map, 60) && cor_bit(map, 129));
	assert_false(cor_bit(map, 130));
	assert_int_equal(cor_bits_clear_run(map, 0, 192), 60);
	assert_int_equal(cor_bits_clear_run(map, 130, 62), 62);
	cor_bits_put(map, 64, 64, false);
	assert_int_equal(cor_bits_clear_run(map, 64, 128), 64);
	assert_int_equal(cor_bits_mask(0, 0, 64), ~0ull);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
int main(void)
{
	const struct CMUnitTest tests[] = {
		T(look_finds_both_ends_of_an_extent), T(look_takes_any_address_inside_a_page),
		T(add_refuses_overlaps), T(counts_follow_installation),
		T(removed_pages_are_zero_but_stay), T(remove_keeps_shared_memory),
		T(unmap_in_the_middle_splits), T(unmap_reaches_beyond_both_ends),
		T(unmap_of_everything_ends_the_track), T(remap_carries_the_source_along),
		T(remap_downwards_keeps_the_order), T(remap_over_an_existing_piece_replaces_it),
		T(remap_of_unknown_memory_clears_the_target), T(growth_coalesces_both_ways),
		T(clone_is_independent), T(clone_of_many_splits_shares_one_track),
		T(next_goes_round_once), T(next_stops_at_pages_that_are_there),
		T(presence_tells_zero_from_data),
		T(huge_pages_are_found_where_they_lie_now), T(huge_pages_are_lost_by_what_tears_them),
		cmocka_unit_test(bit_runs_cross_words),
	};

	return cmocka_run_group_tests_name("space", tests, NULL, NULL);
}
