/* The prefetcher, lanes that end, children, and the end of paging. */
#include "tests/unit/pager_fixture.h"

#include <dirent.h>
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "libcor/base/cleanup.h"
#include "libcor/base/io.h"
#include "tests/stream.h"
#include "tests/thp.h"

static bool a_third(uint64_t page)
{
	return page % 3 == 0;
}

static unsigned wrong_pages(struct lazy *l)
{
	unsigned wrong = 0;

	for (uint64_t i = 0; i < NPAGES; i++)
		wrong += !page_is(l, l->mem, i, i);
	return wrong;
}

static void await_faults(struct lazy *l, uint64_t n)
{
	uint64_t deadline = cor_now_ns() + 5000000000ull;

	while (lazy_stats(l).faults < n) {
		assert_true(cor_now_ns() < deadline);
		sched_yield();
	}
}

static void drain(struct lazy *l)
{
	cor_pager_prefetch(l->pager, true);
	lazy_await(l, COR_PAGER_DRAINED);
}

static void nothing_moves_before_the_prefetcher_is_on(void **state)
{
	struct lazy *l = *state;

	lazy_start(l);
	assert_true(page_is(l, l->mem, 0, 0));
	assert_int_equal(l->toy.reads[COR_CONN_BULK], 0);
	assert_int_equal(cor_pager_finish(l->pager, NULL), -EBUSY);
}

/* Switched off, no page comes by itself; but that all have come is known. */
static void references_alone_drain_it_too(void **state)
{
	struct lazy *l = *state;

	lazy_start(l);
	cor_pager_prefetch(l->pager, false);
	for (unsigned i = 0; i < NPAGES; i++)
		assert_true(page_is(l, l->mem, i, i));
	lazy_await(l, COR_PAGER_DRAINED);
	assert_int_equal(l->toy.reads[COR_CONN_BULK], 0);
}

static void drain_brings_every_page(void **state)
{
	struct lazy *l = *state;
	struct cor_paging_stats st;

	lazy_start(l);
	drain(l);
	st = lazy_stats(l);
	assert_true(st.presence_known);
	assert_int_equal(st.pages_total, NPAGES);
	assert_int_equal(st.pages_prefetched, NPAGES);
	assert_int_equal(st.pages_demand, 0);
	assert_int_equal(wrong_pages(l), 0);
	assert_int_equal(lazy_stats(l).faults, 0);
}

static void drain_leaves_zero_pages_alone(void **state)
{
	struct lazy *l = *state;
	struct cor_paging_stats st;

	l->toy.holds = a_third;
	lazy_start(l);
	drain(l);
	st = lazy_stats(l);
	assert_int_equal(st.pages_total, (NPAGES + 2) / 3);
	assert_int_equal(st.pages_prefetched, (NPAGES + 2) / 3);
	assert_true(page_is(l, l->mem, 3, 3));
	assert_true(page_is_zero(l->mem, 4));
	assert_int_equal(l->toy.reads[COR_CONN_DEMAND], 0);
}

/* Without a bulk lane, so that nothing else brings pages. */
static void prefetch_without_bulk(struct lazy *l)
{
	l->toy.cut_after = 1;
	l->toy.cut_kind = COR_CONN_BULK;
	lazy_start(l);
	cor_pager_prefetch(l->pager, true);
	lazy_await_lanes(l, COR_CONN_BULK, 0);
}

static void await_prefetched(struct lazy *l, uint64_t n)
{
	uint64_t deadline = cor_now_ns() + 5000000000ull;

	while (lazy_stats(l).pages_prefetched < n) {
		assert_true(cor_now_ns() < deadline);
		sched_yield();
	}
}

static void what_lies_on_a_threads_way_is_sent_along(void **state)
{
	struct lazy *l = *state;

	prefetch_without_bulk(l);
	for (unsigned i = 0; i < 3; i++)
		assert_true(page_is(l, l->mem, i * 8, i * 8));
	await_prefetched(l, 4);
	for (unsigned i = 3; i < 7; i++)
		assert_true(page_is(l, l->mem, i * 8, i * 8));
	/* a fault may be told of twice, a page is asked for once */
	assert_int_equal(lazy_stats(l).pages_demand, 3);
	for (unsigned i = 0; i < 7; i++)
		assert_int_equal(l->toy.asked[i * 8], 1);
	assert_int_equal(l->toy.asked[4], 0);
}

static void nothing_is_sent_along_without_a_way(void **state)
{
	static const unsigned pages[] = { 500, 3, 77, 900, 10, 641, 222, 30 };
	struct lazy *l = *state;

	prefetch_without_bulk(l);
	for (unsigned i = 0; i < ARRAY_SIZE(pages); i++)
		assert_true(page_is(l, l->mem, pages[i], pages[i]));
	assert_int_equal(l->toy.reads[COR_CONN_DEMAND], ARRAY_SIZE(pages));
	assert_int_equal(lazy_stats(l).pages_prefetched, 0);
}

static void drain_knows_dropped_and_moved_pages(void **state)
{
	struct lazy *l = *state;
	unsigned char *to = mmap(NULL, 64 * P, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct cor_paging_stats st;

	lazy_start(l);
	assert_int_equal(madvise(l->mem, 100 * P, MADV_DONTNEED), 0);
	assert_ptr_equal(mremap(l->mem + 500 * P, 64 * P, 64 * P, MREMAP_MAYMOVE | MREMAP_FIXED, to),
			 to);
	drain(l);
	st = lazy_stats(l);
	assert_int_equal(st.pages_prefetched, NPAGES - 100);
	assert_true(page_is_zero(l->mem, 99));
	assert_true(page_is(l, l->mem, 100, 100));
	for (uint64_t i = 0; i < 64; i++)
		assert_true(page_is(l, to, i, 500 + i));
	munmap(to, 64 * P);
}

static void whole_regions_need_no_presence(void **state)
{
	struct lazy *l = *state;
	struct cor_region r = {
		.start = (uintptr_t)l->mem, .len = NPAGES * P, .offset = SOURCE_BASE, .whole = true,
	};

	l->toy.holds = a_third;
	assert_int_equal(cor_pager_add_region(l->pager, &r, NULL), 0);
	assert_int_equal(cor_pager_start(l->pager, lazy_uffd(), NULL), 0);
	assert_int_equal(lazy_stats(l).pages_total, NPAGES);
	drain(l);
	assert_true(page_is(l, l->mem, 999, 999));
	assert_true(page_is_zero(l->mem, 1000));
}

static void hints_come_first(void **state)
{
	struct lazy *l = *state;
	uint64_t hint;

	lazy_start(l);
	hint = (uintptr_t)l->mem + 700 * P + 8;
	cor_pager_hint(l->pager, &hint, 1);
	drain(l);
	assert_int_equal(wrong_pages(l), 0);
}

static void installed_pages_are_not_fetched(void **state)
{
	struct lazy *l = *state;
	static unsigned char pages[2 * P];
	uint64_t at = (uintptr_t)l->mem;

	memset(pages, 0x77, sizeof(pages));
	assert_int_equal(cor_pager_install(l->pager, at + 5 * P, pages, sizeof(pages), NULL), 0);
	lazy_start(l);
	assert_int_equal(cor_pager_install(l->pager, at + 6 * P, l->truth, 2 * P, NULL), 0);
	assert_int_equal(lazy_stats(l).pages_eager, 3);
	drain(l);
	assert_memory_equal(l->mem + 5 * P, pages, sizeof(pages));
	assert_true(page_is(l, l->mem, 7, 1));
	assert_int_equal(l->toy.asked[5] + l->toy.asked[6] + l->toy.asked[7], 0);
	assert_int_equal(cor_pager_install(l->pager, 4096, pages, P, NULL), -ENOENT);
}

/* --- lanes ------------------------------------------------------------------ */

static void replace_lane(struct lazy *l, enum cor_connection_kind kind)
{
	lazy_await_lanes(l, kind, 0);
	assert_int_equal(cor_pager_add_lane(l->pager, stream_of(toy_connect(&l->toy, kind)), kind, NULL), 0);
}

static void a_cut_bulk_lane_is_replaced(void **state)
{
	struct lazy *l = *state;

	l->toy.cut_kind = COR_CONN_BULK;
	l->toy.cut_after = 6;
	lazy_start(l);
	cor_pager_prefetch(l->pager, true);
	replace_lane(l, COR_CONN_BULK);
	lazy_await(l, COR_PAGER_DRAINED);
	assert_int_equal(wrong_pages(l), 0);
}

static void *touch(void *arg)
{
	return (void *)(uintptr_t)*(volatile unsigned char *)arg;
}

static void faults_wait_for_a_new_demand_lane(void **state)
{
	struct lazy *l = *state;
	pthread_t t;

	l->toy.cut_kind = COR_CONN_BULK;
	l->toy.cut_after = 1;
	lazy_start(l);
	cor_pager_prefetch(l->pager, true);
	lazy_await_lanes(l, COR_CONN_BULK, 0);
	l->toy.cut_kind = COR_CONN_DEMAND;
	l->toy.cut_after = 1;
	pthread_create(&t, NULL, touch, l->mem + 33 * P);
	replace_lane(l, COR_CONN_DEMAND);
	pthread_join(t, NULL);
	assert_true(page_is(l, l->mem, 33, 33));
}

static void faults_may_use_a_bulk_lane(void **state)
{
	struct lazy *l = *state;

	l->toy.cut_kind = COR_CONN_DEMAND;
	l->toy.cut_after = 1;
	lazy_start(l);
	assert_true(page_is(l, l->mem, 44, 44));
	assert_int_equal(cor_pager_lanes(l->pager, COR_CONN_DEMAND), 0);
	assert_int_equal(l->toy.reads[COR_CONN_BULK], 1);
}

static void a_malformed_reply_closes_the_lane(void **state)
{
	struct lazy *l = *state;

	l->toy.bad_page = 55 + 1;
	lazy_start(l);
	assert_true(page_is(l, l->mem, 55, 55));
	assert_int_equal(cor_pager_lanes(l->pager, COR_CONN_DEMAND), 0);
	assert_int_equal(cor_pager_state(l->pager, NULL), COR_PAGER_PAGING);
}

static void an_unreadable_page_fails_with_its_name(void **state)
{
	struct lazy *l = *state;
	struct cor_error why = COR_ERROR_INIT;

	l->toy.error_page = 66 + 1;
	lazy_start(l);
	cor_pager_prefetch(l->pager, true);
	lazy_await(l, COR_PAGER_FAILED);
	assert_int_equal(cor_pager_state(l->pager, &why), COR_PAGER_FAILED);
	assert_int_equal(why.code, -EIO);
	assert_non_null(strstr(why.text, "0x5000000"));
	assert_true(page_is(l, l->mem, 500, 500));
}

static void an_error_that_is_none_fails_too(void **state)
{
	struct lazy *l = *state;
	struct cor_error why = COR_ERROR_INIT;

	l->toy.error_page = 66 + 1;
	l->toy.error = 0x80000000u;
	lazy_start(l);
	cor_pager_prefetch(l->pager, true);
	lazy_await(l, COR_PAGER_FAILED);
	assert_int_equal(cor_pager_state(l->pager, &why), COR_PAGER_FAILED);
	assert_int_equal(why.code, -EIO);
}

static void a_fault_overtakes_bulk_data(void **state)
{
	struct lazy *l = *state;

	lazy_start(l);
	cor_pager_prefetch(l->pager, true);
	for (uint64_t i = NPAGES; i-- > 0; )
		assert_true(page_is(l, l->mem, i, i));
	lazy_await(l, COR_PAGER_DRAINED);
	assert_int_equal(lazy_stats(l).pages_demand + lazy_stats(l).pages_prefetched, NPAGES);
}

/* --- children --------------------------------------------------------------- */

static int child_reads_all(struct lazy *l)
{
	return wrong_pages(l) != 0;
}

static void a_child_sees_the_same_pages(void **state)
{
	struct lazy *l = *state;

	lazy_start(l);
	assert_true(page_is(l, l->mem, 0, 0));
	assert_int_equal(in_child(child_reads_all, l), 0);
	assert_int_equal(wrong_pages(l), 0);
}

static void children_are_drained_too(void **state)
{
	struct lazy *l = *state;
	pid_t pid;
	int hold[2], status;
	char c;

	assert_int_equal(pipe(hold), 0);
	lazy_start(l);
	pid = _Fork();
	if (pid == 0) {
		close(hold[1]);
		_exit(read(hold[0], &c, 1) == 0 ? child_reads_all(l) : 2);
	}
	close(hold[0]);
	drain(l);
	assert_int_equal(cor_pager_finish(l->pager, NULL), 0);
	close(hold[1]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

static void a_child_forked_during_the_drain(void **state)
{
	struct lazy *l = *state;

	lazy_start(l);
	cor_pager_prefetch(l->pager, true);
	for (unsigned i = 0; i < 5; i++)
		assert_int_equal(in_child(child_reads_all, l), 0);
	lazy_await(l, COR_PAGER_DRAINED);
	assert_int_equal(wrong_pages(l), 0);
}

static int child_drops_and_leaves(struct lazy *l)
{
	madvise(l->mem, 10 * P, MADV_DONTNEED);
	return !page_is_zero(l->mem, 5) || !page_is(l, l->mem, 10, 10);
}

static void what_a_child_drops_stays_with_its_parent(void **state)
{
	struct lazy *l = *state;

	lazy_start(l);
	assert_int_equal(in_child(child_drops_and_leaves, l), 0);
	assert_true(page_is(l, l->mem, 5, 5));
	drain(l);
	assert_int_equal(wrong_pages(l), 0);
}

/* --- pages that change while they are on their way --------------------------- */

static void a_page_dropped_while_asked_for_is_zero(void **state)
{
	struct lazy *l = *state;
	pthread_t t;
	void *seen;

	l->toy.hold_demand = true;
	lazy_start(l);
	pthread_create(&t, NULL, touch, l->mem + 12 * P);
	await_faults(l, 1);
	assert_int_equal(madvise(l->mem + 12 * P, P, MADV_DONTNEED), 0);
	l->toy.hold_demand = false;
	pthread_join(t, &seen);
	assert_null(seen);
	assert_true(page_is_zero(l->mem, 12));
	assert_true(page_is(l, l->mem, 13, 13));
}

static void moves_during_the_drain_lose_nothing(void **state)
{
	struct lazy *l = *state;
	unsigned char *a = l->mem + 256 * P, *b;

	b = mmap(NULL, 512 * P, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	lazy_start(l);
	cor_pager_prefetch(l->pager, true);
	for (unsigned i = 0; i < 20; i++) {
		unsigned char *from = i % 2 ? b : a, *to = i % 2 ? a : b;

		assert_ptr_equal(mremap(from, 512 * P, 512 * P, MREMAP_MAYMOVE | MREMAP_FIXED, to), to);
		assert_true(page_is(l, to, 25 * i, 256 + 25 * i));
	}
	lazy_await(l, COR_PAGER_DRAINED);
	assert_int_equal(wrong_pages(l), 0);
	munmap(b, 512 * P);
}

static int child_touches_the_gone_page(struct lazy *l)
{
	signal(SIGBUS, SIG_DFL);        /* not cmocka's */
	return l->mem[77 * P];
}

static void a_page_that_does_not_exist_cannot_be_touched(void **state)
{
	struct lazy *l = *state;
	pid_t pid;
	int status;

	l->toy.gone_page = 77 + 1;
	lazy_start(l);
	drain(l);
	pid = _Fork();
	if (pid == 0)
		_exit(child_touches_the_gone_page(l));
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGBUS);
	assert_true(page_is(l, l->mem, 76, 76) && page_is(l, l->mem, 78, 78));
	assert_int_equal(cor_pager_state(l->pager, NULL), COR_PAGER_DRAINED);
}

/* --- the end ---------------------------------------------------------------- */

/* Is some mapping in [mem, mem+len) still registered (VmFlags: um)? */
static bool registered(const unsigned char *mem, size_t len)
{
	_cleanup_fclose_ FILE *f = fopen("/proc/self/smaps", "re");
	unsigned long start = 0, end = 0, a, b;
	char line[512];
	bool found = false;

	while (f && fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%lx-%lx ", &a, &b) == 2) {
			start = a;
			end = b;
		} else if (strncmp(line, "VmFlags:", 8) == 0 && strstr(line, " um")) {
			found |= start < (uintptr_t)mem + len && end > (uintptr_t)mem;
		}
	}
	return found;
}

/* Announced ahead: what came true, and what did not. */
static void the_last_regions_count(void **state)
{
	struct lazy *l = *state;
	struct cor_region r[2] = {
		{ .start = (uintptr_t)l->mem, .len = 512 * P, .offset = SOURCE_BASE },
		{ .start = (uintptr_t)l->mem + 512 * P, .len = 512 * P,
		  .offset = SOURCE_BASE + 512 * P },
	};

	assert_int_equal(cor_pager_set_regions(l->pager, r, 1, NULL), 0);
	assert_int_equal(cor_pager_set_regions(l->pager, r, 1, NULL), 0);
	assert_int_equal(cor_pager_set_regions(l->pager, r, 2, NULL), 0);
	assert_int_equal(cor_pager_start(l->pager, lazy_uffd(), NULL), 0);
	assert_int_equal(cor_pager_set_regions(l->pager, r, 1, NULL), -EBUSY);
	drain(l);
	assert_int_equal(lazy_stats(l).pages_total, NPAGES);
	assert_int_equal(wrong_pages(l), 0);
	assert_int_equal(cor_pager_finish(l->pager, NULL), 0);
}

static void regions_that_overlap_leave_none(void **state)
{
	struct lazy *l = *state;
	struct cor_region r[2] = {
		{ .start = (uintptr_t)l->mem, .len = 512 * P, .offset = SOURCE_BASE },
		{ .start = (uintptr_t)l->mem + 511 * P, .len = P, .offset = SOURCE_BASE },
	};

	assert_true(cor_pager_set_regions(l->pager, r, 2, NULL) < 0);
	assert_int_equal(lazy_stats(l).pages_total, 0);
	assert_int_equal(cor_pager_set_regions(l->pager, r, 1, NULL), 0);
	assert_int_equal(cor_pager_start(l->pager, lazy_uffd(), NULL), 0);
	drain(l);
	assert_true(page_is(l, l->mem, 511, 511) && page_is_zero(l->mem, 512));
	assert_int_equal(cor_pager_finish(l->pager, NULL), 0);
}

/* 64 GiB, of which the ends are there. */
#define VOID_PAGES (UINT64_C(1) << 24)

static bool at_the_ends(uint64_t page)
{
	return page < 10 || page == VOID_PAGES - 1;
}

static unsigned char *map_void(void)
{
	unsigned char *mem = mmap(NULL, VOID_PAGES * P, PROT_READ | PROT_WRITE,
				  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	assert_ptr_not_equal(mem, MAP_FAILED);
	return mem;
}

static void a_void_is_asked_about_in_large_steps(void **state)
{
	struct lazy *l = *state;
	unsigned char *there = map_void(), *mem = map_void();
	struct cor_region r = { .start = (uintptr_t)mem, .len = VOID_PAGES * P, .offset = SOURCE_BASE };

	there[9 * P] = 9;
	there[(VOID_PAGES - 1) * P] = 1;
	l->toy.data = there;
	l->toy.holds = at_the_ends;
	assert_int_equal(cor_pager_add_region(l->pager, &r, NULL), 0);
	assert_int_equal(cor_pager_start(l->pager, lazy_uffd(), NULL), 0);
	drain(l);
	assert_int_equal(lazy_stats(l).pages_total, 11);
	assert_int_equal(mem[9 * P], 9);
	assert_int_equal(mem[(VOID_PAGES - 1) * P], 1);
	/* of 128 MiB each they would be 512 */
	assert_true(atomic_load(&l->toy.presences) < 20);
	assert_int_equal(cor_pager_finish(l->pager, NULL), 0);
	munmap(mem, VOID_PAGES * P);
	munmap(there, VOID_PAGES * P);
}

static void huge_pages_of_the_source_are_known(void **state)
{
	struct lazy *l = *state;
	unsigned char *mem = (unsigned char *)thp_room(2);
	struct cor_region r = { .start = (uintptr_t)mem, .len = NPAGES * P, .offset = SOURCE_BASE };
	uint64_t *addrs;
	size_t n;

	l->toy.huge = true;
	l->toy.holds = a_third;         /* also where zeros are left out */
	assert_int_equal(cor_pager_add_region(l->pager, &r, NULL), 0);
	assert_int_equal(cor_pager_start(l->pager, lazy_uffd(), NULL), 0);
	drain(l);
	assert_int_equal(cor_pager_huge(l->pager, &addrs, &n, NULL), 0);
	assert_int_equal(n, 2);
	assert_int_equal(addrs[0], (uintptr_t)mem);
	assert_int_equal(addrs[1], (uintptr_t)mem + THP);
	free(addrs);
	assert_int_equal(cor_pager_finish(l->pager, NULL), 0);
	munmap(mem, 2 * THP);
}

static void finish_leaves_nothing_registered(void **state)
{
	struct lazy *l = *state;
	int uffd = lazy_uffd(), keep = dup(uffd);
	struct cor_region r = { .start = (uintptr_t)l->mem, .len = NPAGES * P, .offset = SOURCE_BASE };

	assert_int_equal(cor_pager_add_region(l->pager, &r, NULL), 0);
	assert_int_equal(cor_pager_start(l->pager, uffd, NULL), 0);
	assert_true(registered(l->mem, NPAGES * P));
	munmap(l->mem + 200 * P, P);
	drain(l);
	assert_int_equal(cor_pager_finish(l->pager, NULL), 0);
	/* although somebody else still holds the userfaultfd */
	assert_false(registered(l->mem, NPAGES * P));
	assert_true(page_is(l, l->mem, 201, 201));
	assert_int_equal(cor_pager_add_lane(l->pager, stream_of(dup(keep)), COR_CONN_BULK, NULL), -ESHUTDOWN);
	close(keep);
}

static void untouched_growth_is_released_too(void **state)
{
	struct lazy *l = *state;
	int uffd = lazy_uffd(), keep = dup(uffd);
	struct cor_region r = { .len = 900 * P, .offset = SOURCE_BASE };

	/* room to grow into, and something else behind */
	r.start = (uintptr_t)l->mem;
	munmap(l->mem + 900 * P, (NPAGES - 900) * P);
	assert_int_equal(cor_pager_add_region(l->pager, &r, NULL), 0);
	assert_int_equal(cor_pager_start(l->pager, uffd, NULL), 0);
	assert_ptr_equal(mremap(l->mem, 900 * P, 1000 * P, 0), l->mem);
	drain(l);
	assert_int_equal(cor_pager_finish(l->pager, NULL), 0);
	assert_false(registered(l->mem, NPAGES * P));
	assert_true(page_is(l, l->mem, 899, 899) && page_is_zero(l->mem, 950));
	close(keep);
}

/* A child that owns the lazy memory and ends with missing pages. */
static void the_end_of_the_task_is_noticed(void **state)
{
	struct lazy *l = *state;
	struct cor_region r = { .start = (uintptr_t)l->mem, .len = NPAGES * P, .offset = SOURCE_BASE };
	int pair[2], uffd;
	unsigned n = 1;
	pid_t pid;
	char c;

	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
	pid = fork();
	if (pid == 0) {
		uffd = lazy_uffd();
		cor_send_fds(pair[1], "u", 1, &uffd, 1);
		_exit(recv(pair[1], &c, 1, 0) != 1);
	}
	assert_int_equal(cor_recv_fds(pair[0], &c, 1, &uffd, &n), 1);
	assert_int_equal(cor_pager_add_region(l->pager, &r, NULL), 0);
	assert_int_equal(cor_pager_start(l->pager, uffd, NULL), 0);
	assert_int_equal(send(pair[0], "x", 1, 0), 1);
	waitpid(pid, NULL, 0);
	lazy_await(l, COR_PAGER_TASK_GONE);
	assert_int_equal(cor_pager_finish(l->pager, NULL), 0);
	close(pair[0]);
	close(pair[1]);
}

static unsigned open_descriptors(void)
{
	DIR *d = opendir("/proc/self/fd");
	unsigned n = 0;

	while (readdir(d))
		n++;
	closedir(d);
	return n;
}

static void a_pager_that_never_started_is_freed(void **state)
{
	struct lazy *l = *state;

	unsigned before = open_descriptors();

	assert_int_equal(cor_pager_install(l->pager, (uintptr_t)l->mem, l->truth, P, NULL), 0);
	assert_int_equal(cor_pager_state(l->pager, NULL), COR_PAGER_IDLE);
	cor_pager_free(l->pager);
	/* two lanes, two eventfds, the ring */
	assert_int_equal(open_descriptors(), before - 5);
	l->pager = NULL;
}

#define T(f) cmocka_unit_test_setup_teardown(f, lazy_setup, lazy_teardown)
int main(void)
{
	const struct CMUnitTest tests[] = {
		T(nothing_moves_before_the_prefetcher_is_on), T(references_alone_drain_it_too), T(drain_brings_every_page),
		T(drain_leaves_zero_pages_alone), T(drain_knows_dropped_and_moved_pages),
		T(what_lies_on_a_threads_way_is_sent_along), T(nothing_is_sent_along_without_a_way),
		T(whole_regions_need_no_presence), T(hints_come_first),
		T(installed_pages_are_not_fetched), T(a_cut_bulk_lane_is_replaced),
		T(faults_wait_for_a_new_demand_lane), T(faults_may_use_a_bulk_lane),
		T(a_malformed_reply_closes_the_lane), T(an_unreadable_page_fails_with_its_name),
		T(an_error_that_is_none_fails_too),
		T(a_fault_overtakes_bulk_data), T(a_child_sees_the_same_pages),
		T(children_are_drained_too), T(a_child_forked_during_the_drain),
		T(what_a_child_drops_stays_with_its_parent),
		T(a_page_dropped_while_asked_for_is_zero), T(moves_during_the_drain_lose_nothing),
		T(a_page_that_does_not_exist_cannot_be_touched), T(untouched_growth_is_released_too),
		T(the_last_regions_count),
		T(regions_that_overlap_leave_none),
		T(a_void_is_asked_about_in_large_steps),
		T(huge_pages_of_the_source_are_known), T(finish_leaves_nothing_registered),
		T(the_end_of_the_task_is_noticed), T(a_pager_that_never_started_is_freed),
	};

	return cmocka_run_group_tests_name("pager drain", tests, NULL, NULL);
}
