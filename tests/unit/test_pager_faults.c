/* Faults, and what the task does to its lazy memory (libcor/paging/pager*.c). */
#include "tests/unit/pager_fixture.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "libcor/base/io.h"

static bool even_pages(uint64_t page)
{
	return page % 2 == 0;
}

static void faults_get_the_right_bytes(void **state)
{
	struct lazy *l = *state;

	lazy_start(l);
	for (uint64_t i = 0; i < NPAGES; i += 37)
		assert_true(page_is(l, l->mem, i, i));
	assert_int_equal(lazy_stats(l).pages_demand, (NPAGES + 36) / 37);
	assert_int_equal(cor_pager_state(l->pager, NULL), COR_PAGER_PAGING);
}

/* A reply that comes when the pager sleeps wakes it, whatever came before. */
static void lanes_that_must_be_armed(void **state)
{
	struct lazy *l = *state;
	uint64_t began = cor_now_ns();

	alarm(30);              /* for whoever sleeps for ever */
	cor_pager_spin(l->pager, 0);
	lazy_start(l);
	for (uint64_t i = 0; i < 64; i++)
		assert_true(page_is(l, l->mem, i, i));
	cor_pager_prefetch(l->pager, true);
	lazy_await(l, COR_PAGER_DRAINED);
	alarm(0);
	/* and not because it looks again and again, or gives the lanes up for dead */
	assert_true(cor_now_ns() - began < 5000000000ull);
	assert_int_equal(cor_pager_lanes(l->pager, COR_CONN_DEMAND), 1);
}

static void faults_are_measured(void **state)
{
	struct lazy *l = *state;
	struct cor_paging_stats st;

	lazy_start(l);
	for (uint64_t i = 0; i < 16; i++)
		assert_true(page_is(l, l->mem, i, i));
	st = lazy_stats(l);
	/* the kernel may raise a fault once more while the first one is resolved */
	assert_in_range(st.faults, 16, 32);
	assert_in_range(st.fault_ns.count, 16, st.faults);
	assert_true(st.fault_ns.max >= st.fault_ns.min);
	assert_int_equal(st.bytes_wire, 16 * (4096 + 32));
}

static void untouched_pages_are_zero(void **state)
{
	struct lazy *l = *state;

	l->toy.holds = even_pages;
	lazy_start(l);
	assert_true(page_is_zero(l->mem, 3));
	assert_true(page_is(l, l->mem, 4, 4));
	assert_int_equal(lazy_stats(l).pages_zero, 1);
}

static void writes_to_missing_pages_keep_the_rest(void **state)
{
	struct lazy *l = *state;

	lazy_start(l);
	l->mem[7 * P + 100] = 0x5a;
	assert_int_equal(l->mem[7 * P + 100], 0x5a);
	assert_memory_equal(l->mem + 7 * P + 101, l->truth + 7 * P + 101, P - 101);
}

static void dropped_pages_are_zero_and_never_asked_for(void **state)
{
	struct lazy *l = *state;

	lazy_start(l);
	assert_true(page_is(l, l->mem, 10, 10));
	assert_int_equal(madvise(l->mem + 10 * P, 2 * P, MADV_DONTNEED), 0);
	assert_true(page_is_zero(l->mem, 10));
	assert_true(page_is_zero(l->mem, 11));
	assert_int_equal(l->toy.asked[10], 1);
	assert_int_equal(l->toy.asked[11], 0);
}

static void unmapped_pages_are_forgotten(void **state)
{
	struct lazy *l = *state;
	unsigned char *again;

	lazy_start(l);
	assert_int_equal(munmap(l->mem + 100 * P, 10 * P), 0);
	again = mmap(l->mem + 100 * P, 10 * P, PROT_READ | PROT_WRITE,
		     MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
	assert_ptr_equal(again, l->mem + 100 * P);
	assert_true(page_is_zero(l->mem, 105));
	assert_true(page_is(l, l->mem, 99, 99));
	assert_true(page_is(l, l->mem, 110, 110));
}

static void moved_pages_keep_their_source(void **state)
{
	struct lazy *l = *state;
	unsigned char *to = mmap(NULL, 16 * P, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	lazy_start(l);
	assert_true(page_is(l, l->mem, 21, 21));
	assert_ptr_equal(mremap(l->mem + 20 * P, 8 * P, 8 * P, MREMAP_MAYMOVE | MREMAP_FIXED, to), to);
	assert_true(page_is(l, to, 1, 21));
	assert_true(page_is(l, to, 5, 25));
	assert_true(page_is(l, l->mem, 28, 28));
	munmap(to, 16 * P);
}

static void growth_by_mremap_is_zero(void **state)
{
	struct lazy *l = *state;
	unsigned char *to;

	lazy_start(l);
	to = mremap(l->mem + 1000 * P, 24 * P, 64 * P, MREMAP_MAYMOVE);
	assert_true(to != MAP_FAILED);
	assert_true(page_is(l, to, 23, 1023));
	assert_true(page_is_zero(to, 24));
	assert_true(page_is_zero(to, 63));
	munmap(to, 64 * P);
}

static void runs_across_split_mappings_are_served(void **state)
{
	struct lazy *l = *state;

	lazy_start(l);
	assert_int_equal(mprotect(l->mem + 3 * P, P, PROT_READ), 0);
	assert_int_equal(mprotect(l->mem + 40 * P, P, PROT_NONE), 0);
	cor_pager_prefetch(l->pager, true);
	lazy_await(l, COR_PAGER_DRAINED);
	assert_int_equal(mprotect(l->mem + 40 * P, P, PROT_READ), 0);
	for (uint64_t i = 0; i < NPAGES; i++)
		assert_true(page_is(l, l->mem, i, i));
	assert_int_equal(lazy_stats(l).pages_dropped, 0);
}

/* --- several threads -------------------------------------------------------- */

struct reader {
	struct lazy *l;
	pthread_t thread;
	unsigned wrong;
};

static void *read_all(void *arg)
{
	struct reader *r = arg;

	for (uint64_t i = 0; i < 256; i++)
		r->wrong += !page_is(r->l, r->l->mem, i, i);
	return NULL;
}

static void many_threads_on_the_same_pages(void **state)
{
	struct lazy *l = *state;
	struct reader readers[8];
	unsigned wrong = 0;

	lazy_start(l);
	for (unsigned i = 0; i < 8; i++) {
		readers[i] = (struct reader) { .l = l };
		pthread_create(&readers[i].thread, NULL, read_all, &readers[i]);
	}
	for (unsigned i = 0; i < 8; i++) {
		pthread_join(readers[i].thread, NULL);
		wrong += readers[i].wrong;
	}
	assert_int_equal(wrong, 0);
	for (unsigned i = 0; i < 256; i++)
		assert_int_equal(l->toy.asked[i], 1);
}

static atomic_bool storm_over;

static void *storm(void *arg)
{
	unsigned char *mem = arg;

	while (!atomic_load(&storm_over))
		madvise(mem, P, MADV_DONTNEED);
	return NULL;
}

static void faults_survive_a_storm_of_events(void **state)
{
	struct lazy *l = *state;
	struct reader r = { .l = l };
	pthread_t stormer;

	lazy_start(l);
	atomic_store(&storm_over, false);
	pthread_create(&stormer, NULL, storm, l->mem + 1000 * P);
	read_all(&r);
	atomic_store(&storm_over, true);
	pthread_join(stormer, NULL);
	assert_int_equal(r.wrong, 0);
}

/* --- shared memory ---------------------------------------------------------- */

static void shared_memory_is_served(void **state)
{
	struct lazy *l = *state;
	int fd = memfd_create("lazy", MFD_CLOEXEC);
	struct cor_region r = { .len = NPAGES * P, .offset = SOURCE_BASE, .shared = true };
	unsigned char *other;

	assert_int_equal(ftruncate(fd, NPAGES * P), 0);
	assert_ptr_equal(mmap(l->mem, NPAGES * P, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0),
			 l->mem);
	r.start = (uintptr_t)l->mem;
	assert_int_equal(cor_pager_add_region(l->pager, &r, NULL), 0);
	assert_int_equal(cor_pager_start(l->pager, lazy_uffd(), NULL), 0);
	assert_true(page_is(l, l->mem, 9, 9));
	assert_int_equal(madvise(l->mem + 20 * P, P, MADV_DONTNEED), 0);
	assert_true(page_is(l, l->mem, 20, 20));
	cor_pager_prefetch(l->pager, true);
	lazy_await(l, COR_PAGER_DRAINED);
	other = mmap(NULL, NPAGES * P, PROT_READ, MAP_SHARED, fd, 0);
	assert_memory_equal(other, l->truth, NPAGES * P);
	munmap(other, NPAGES * P);
	close(fd);
}

#define T(f) cmocka_unit_test_setup_teardown(f, lazy_setup, lazy_teardown)
int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(lanes_that_must_be_armed, lazy_setup_drowsy,
						lazy_teardown),
		T(faults_get_the_right_bytes), T(faults_are_measured), T(untouched_pages_are_zero),
		T(writes_to_missing_pages_keep_the_rest),
		T(dropped_pages_are_zero_and_never_asked_for), T(unmapped_pages_are_forgotten),
		T(moved_pages_keep_their_source), T(growth_by_mremap_is_zero),
		T(runs_across_split_mappings_are_served), T(many_threads_on_the_same_pages),
		T(faults_survive_a_storm_of_events), T(shared_memory_is_served),
	};

	return cmocka_run_group_tests_name("pager faults", tests, NULL, NULL);
}
