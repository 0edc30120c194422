/* One slot per page that somebody waits for: found by a hash, so that threads
 * which fault on the same page share a request, and moved from list to list as
 * the fault is resolved. All of it is allocated before. */
#include "libcor/paging/pager_private.h"

#include <errno.h>
#include <string.h>

#include "libcor/base/cleanup.h"
#include "libcor/base/io.h"
#include "libcor/paging/bits.h"
#include "libcor/paging/uffd.h"

enum resolved {
	RESOLVED,
	NEED_DATA,              /* the source must be asked (again) */
	NOT_YET,                /* the mappings are changing */
	IMPOSSIBLE,
};

void pager_slots_init(struct cor_pager *p)
{
	for (unsigned i = 0; i < SLOT_STATES; i++)
		TAILQ_INIT(&p->lists[i]);
	for (unsigned i = 0; i < PAGER_CHAINS; i++)
		LIST_INIT(&p->chains[i]);
	for (unsigned i = 0; i < PAGER_SLOTS; i++)
		TAILQ_INSERT_TAIL(&p->lists[SLOT_FREE], &p->slots[i], link);
	for (unsigned i = 0; i < PAGER_HELD; i++)
		p->held_free[p->nheld_free++] = (char *)p->held_pages + i * PAGE;
}

/* Whoever still waits is not answered any more: the thread has ended. */
void pager_slots_fini(struct cor_pager *p)
{
	for (unsigned i = 0; i < PAGER_SLOTS; i++) {
		if (p->slots[i].mm)
			pager_mm_unref(p->slots[i].mm);
		p->slots[i].mm = NULL;
	}
}

static unsigned chain_of(const struct pager_mm *mm, uint64_t addr)
{
	uint64_t h = ((addr >> COR_PAGE_SHIFT) ^ ((uintptr_t)mm >> 6)) * 0x9e3779b97f4a7c15ull;

	return (unsigned)(h >> 32) % PAGER_CHAINS;
}

static struct pager_slot *find(struct cor_pager *p, const struct pager_mm *mm, uint64_t addr)
{
	struct pager_slot *s;

	LIST_FOREACH(s, &p->chains[chain_of(mm, addr)], chain)
		if (s->mm == mm && s->addr == addr)
			return s;
	return NULL;
}

static void move(struct cor_pager *p, struct pager_slot *s, enum slot_state state)
{
	TAILQ_REMOVE(&p->lists[s->state], s, link);
	TAILQ_INSERT_TAIL(&p->lists[state], s, link);
	s->state = state;
}

/* Data that was kept for a slot is not needed any more. */
static void let_go(struct cor_pager *p, struct pager_slot *s)
{
	if (s->state == SLOT_HELD && s->answer.data)
		p->held_free[p->nheld_free++] = s->answer.data;
	s->answer = (struct pager_answer) { 0, NULL };
}

static void landed(struct cor_pager *p, struct pager_slot *s)
{
	if (!s->landed)
		cor_hist_add(&p->stats.fault_ns, cor_now_ns() - s->since);
	s->landed = true;
}

static void finish(struct cor_pager *p, struct pager_slot *s)
{
	let_go(p, s);
	landed(p, s);
	LIST_REMOVE(s, chain);
	s->mm->waiting--;
	pager_mm_unref(s->mm);
	s->mm = NULL;
	move(p, s, SLOT_FREE);
}

/* For the trend: nothing between two faults is missing. */
static bool all_there(void *arg, uint64_t from, uint64_t to)
{
	struct pager_mm *mm = arg;

	while (from < to) {
		struct cor_place at;
		enum cor_page_is is = cor_space_look(&mm->space, from << COR_PAGE_SHIFT, &at);
		uint64_t n;

		if (is == COR_IS_FOREIGN || is == COR_IS_MISSING || !at.track)
			return false;
		n = COR_MIN(at.pages, to - from);
		if (cor_track_missing(at.track, at.index, n))
			return false;
		from += n;
	}
	return true;
}

void pager_fault_new(struct cor_pager *p, struct pager_mm *mm, uint64_t addr, uint32_t tid)
{
	struct pager_slot *s;

	addr &= ~(PAGE - 1);
	PAGER_COUNT(p, faults, 1);
	if (find(p, mm, addr))
		return;
	s = TAILQ_FIRST(&p->lists[SLOT_FREE]);
	if (!s) {
		/* More threads than slots: this one will fault again. */
		cor_uffd_wake(mm->uffd, addr, PAGE);
		return;
	}
	pager_mm_ref(mm);
	mm->waiting++;
	s->mm = mm;
	s->addr = addr;
	s->since = cor_now_ns();
	s->landed = s->waited = false;
	s->tid = tid;
	s->expected = pager_prefetching(p) &&
		      cor_trend_fault(&mm->trends, tid, addr >> COR_PAGE_SHIFT, all_there, mm);
	s->answer = (struct pager_answer) { 0, NULL };
	LIST_INSERT_HEAD(&p->chains[chain_of(mm, addr)], s, chain);
	move(p, s, SLOT_FRESH);
}

/* Makes the page at s->addr what it has to be, as the map stands now. */
static enum cor_uffd_result fill(struct cor_pager *p, struct pager_slot *s, bool missing)
{
	uint64_t done;

	if (missing && s->answer.status == COR_PAGE_DATA)
		return cor_uffd_copy(s->mm->uffd, s->addr, s->answer.data, PAGE, &done);
	if (missing && s->answer.status == COR_PAGE_GONE)
		return cor_uffd_poison(s->mm->uffd, s->addr, PAGE, &done);
	/* Also where the map says "installed": if the page is there, the kernel says
	 * so; if it went away behind our back (a hole punched in shared memory, a
	 * child that is to see zeros), then zeros are right. */
	return cor_uffd_zero(s->mm->uffd, s->addr, PAGE, &done);
}

static void filled(struct cor_pager *p, struct pager_slot *s, enum cor_page_is is,
		   const struct cor_place *at)
{
	p->short_since = 0;
	if (is == COR_IS_MISSING) {
		cor_track_mark(at->track, COR_TRACK_INSTALLED, at->index, 1, true);
		if (s->answer.status == COR_PAGE_DATA)
			PAGER_COUNT(p, pages_demand, 1);
		else if (s->answer.status == COR_PAGE_ZERO)
			PAGER_COUNT(p, pages_zero, 1);
		return;
	}
	PAGER_COUNT(p, pages_zero, 1);
	if (is == COR_IS_FOREIGN)
		cor_space_grow(&s->mm->space, s->addr);
	else if (is == COR_IS_ZERO && at->track)
		cor_track_mark(at->track, COR_TRACK_INSTALLED, at->index, 1, true);
}

/* The page cannot be there: not mapped any more (the thread that waits gets its
 * SIGSEGV from the kernel), or there already. */
static enum resolved give_up(struct pager_slot *s, enum cor_page_is is, const struct cor_place *at,
			     enum cor_track_bit bit)
{
	if (is == COR_IS_MISSING)
		cor_track_mark(at->track, bit, at->index, 1, true);
	cor_uffd_wake(s->mm->uffd, s->addr, PAGE);
	return RESOLVED;
}

static enum resolved starved(struct cor_pager *p)
{
	if (!p->short_since)
		p->short_since = cor_now_ns();
	if (cor_now_ns() - p->short_since < PAGER_STARVED_NS)
		return NOT_YET;
	pager_fail(p, -ENOMEM, "no memory for the task's pages since 10 seconds");
	return IMPOSSIBLE;
}

static enum resolved impossible(struct cor_pager *p, struct pager_slot *s)
{
	if (s->answer.status == COR_PAGE_GONE)
		pager_fail(p, -EFAULT, "the source has no memory for the page at 0x%llx",
			   (unsigned long long)s->addr);
	else
		pager_fail(p, -EINVAL, "installing the page at 0x%llx: refused by the kernel",
			   (unsigned long long)s->addr);
	return IMPOSSIBLE;
}

static enum resolved resolve(struct cor_pager *p, struct pager_slot *s)
{
	struct pager_storm storm = { 0 };
	unsigned strikes = 0;

	while (!s->mm->gone) {
		struct cor_place at = { NULL, 0, 0 };
		enum cor_page_is is = cor_space_look(&s->mm->space, s->addr, &at);
		bool missing = is == COR_IS_MISSING;

		/* What came may belong to what was here before an mremap. */
		if (missing && (!s->answer.status || at.track->presence != s->presence ||
				at.index != s->index))
			return NEED_DATA;
		switch (fill(p, s, missing)) {
		case COR_UFFD_DONE:
		case COR_UFFD_PARTIAL:
			filled(p, s, is, &at);
			return RESOLVED;
		case COR_UFFD_EXISTS:
			return give_up(s, is, &at, COR_TRACK_INSTALLED);
		case COR_UFFD_AGAIN:
			pager_mm_read(p, s->mm);
			if (!pager_try_again(p, &storm))
				return NOT_YET;
			break;
		case COR_UFFD_RANGE_GONE:
			/* Perhaps an event tells where it went; only then is it final. */
			if (strikes++)
				return give_up(s, is, &at, COR_TRACK_DROPPED);
			pager_mm_read(p, s->mm);
			break;
		case COR_UFFD_MM_GONE:
			pager_mm_close(p, s->mm);
			break;
		case COR_UFFD_NO_MEMORY:
			return starved(p);
		case COR_UFFD_BAD:
			return impossible(p, s);
		}
	}
	return RESOLVED;
}

/* Resolves s and puts it where it belongs then. */
static void settle(struct cor_pager *p, struct pager_slot *s)
{
	enum resolved r = resolve(p, s);

	if (r == RESOLVED) {
		finish(p, s);
	} else if (r == NEED_DATA) {
		let_go(p, s);
		move(p, s, SLOT_UNSENT);
	} else if (r == IMPOSSIBLE) {
		let_go(p, s);
		move(p, s, SLOT_STUCK);
	} else if (s->state != SLOT_HELD) {
		move(p, s, SLOT_HELD);
	}
}

void pager_fault_work(struct cor_pager *p)
{
	struct pager_slot *s, *next, *last;

	last = TAILQ_LAST(&p->lists[SLOT_HELD], pager_slots);
	for (s = TAILQ_FIRST(&p->lists[SLOT_HELD]); s && last; s = next) {
		next = s == last ? NULL : TAILQ_NEXT(s, link);
		settle(p, s);
	}
	while ((s = TAILQ_FIRST(&p->lists[SLOT_FRESH])))
		settle(p, s);
}

void pager_fault_answer(struct cor_pager *p, struct pager_slot *s, struct pager_answer a)
{
	enum resolved r;
	void *page;

	s->answer = a;
	r = resolve(p, s);
	if (r != NOT_YET) {
		s->answer.data = NULL;
		if (r == RESOLVED)
			finish(p, s);
		else
			move(p, s, r == NEED_DATA ? SLOT_UNSENT : SLOT_STUCK);
		return;
	}
	if (a.data && !p->nheld_free) {
		/* nowhere to keep it: ask again */
		s->answer = (struct pager_answer) { 0, NULL };
		move(p, s, SLOT_UNSENT);
		return;
	}
	if (a.data) {
		page = p->held_free[--p->nheld_free];
		memcpy(page, a.data, PAGE);
		s->answer.data = page;
	}
	move(p, s, SLOT_HELD);
}

void pager_fault_lost(struct cor_pager *p, struct pager_slot *s)
{
	move(p, s, SLOT_FRESH);
}

void pager_fault_stuck(struct cor_pager *p, struct pager_slot *s)
{
	move(p, s, SLOT_STUCK);
}

/* How long to spin for a reply: a near peer answers before that, asleep or not.
 * A far one is not spun for, but tried now and then: sleeping makes every peer
 * look farther than it is. */
static uint64_t spin_budget(struct cor_pager *p)
{
	if (p->rtt_ns > PAGER_NEAR_NS && ++p->unspun % PAGER_TRY_SPIN)
		return 0;
	return p->spin_ns;
}

/* How long to wait for what a trend has sent for already. */
#define COMING_NS (500 * 1000ull)

/* A page that is on its way, and whose reader comes along behind the data: to ask for
 * it once more would only hold both up. */
static bool is_coming(const struct pager_slot *s, const struct cor_place *at)
{
	return s->expected && !s->waited && !cor_bits_clear_run(at->track->busy, at->index, 1);
}

/* l and rq: of the lane that answers everything, if the page cannot be had better. */
static void ask_for(struct cor_pager *p, struct pager_lane *l, struct pager_request *rq,
		    struct pager_slot *s, const struct cor_place *at)
{
	const struct cor_presence *pr = at->track->presence;
	uint64_t offset = pr->offset + (at->index << COR_PAGE_SHIFT);
	struct pager_lane *reach = pager_reach_lane(p, pr->object, offset);
	struct pager_request *better = reach ? pager_lane_request(reach) : NULL;

	if (better) {
		l = reach;
		rq = better;
	}
	s->presence = at->track->presence;
	s->index = at->index;
	rq->slot = s;
	rq->wire = (struct cor_page_request) {
		.op = COR_PAGE_READ, .object = pr->object, .npages = 1, .offset = offset,
	};
	move(p, s, SLOT_SENT);
	pager_lane_push(p, l);
	p->asked++;
	p->spin_until = cor_now_ns() + spin_budget(p);
	/* a read that is posted needs no company */
	if (better)
		pager_lane_flush(p, reach);
}

void pager_fault_send(struct cor_pager *p)
{
	struct pager_lane *l = NULL;
	struct pager_slot *s;

	while ((s = TAILQ_FIRST(&p->lists[SLOT_UNSENT]))) {
		struct pager_request *rq;
		struct cor_place at;

		l = pager_demand_lane(p);
		rq = l ? pager_lane_request(l) : NULL;
		if (!rq)
			break;
		if (s->mm->gone || cor_space_look(&s->mm->space, s->addr, &at) != COR_IS_MISSING) {
			move(p, s, SLOT_FRESH);
			continue;
		}
		if (!s->expected)
			pager_surprised(p);
		s->mm->cursor = s->addr + PAGE;
		if (is_coming(s, &at)) {
			s->coming_until = cor_now_ns() + COMING_NS;
			move(p, s, SLOT_COMING);
		} else {
			ask_for(p, l, rq, s, &at);
		}
		if (s->expected)
			pager_look_ahead(p, l, s->mm, s->tid);
	}
	if (l)
		pager_lane_flush(p, l);
}

uint64_t pager_fault_late(struct cor_pager *p)
{
	struct pager_slot *s;
	uint64_t now;

	if (TAILQ_EMPTY(&p->lists[SLOT_COMING]))
		return UINT64_MAX;
	now = cor_now_ns();
	while ((s = TAILQ_FIRST(&p->lists[SLOT_COMING]))) {
		if (now < s->coming_until)
			return s->coming_until - now;
		s->waited = true;
		move(p, s, SLOT_FRESH);
	}
	return 0;
}

void pager_fault_landed(struct cor_pager *p, struct pager_mm *mm, uint64_t addr, uint64_t n)
{
	const uint64_t end = addr + (n << COR_PAGE_SHIFT);
	struct pager_slot *s, *next;

	if (!mm->waiting)
		return;
	TAILQ_FOREACH(s, &p->lists[SLOT_SENT], link)
		if (s->mm == mm && s->addr >= addr && s->addr < end)
			landed(p, s);
	for (s = TAILQ_FIRST(&p->lists[SLOT_COMING]); s; s = next) {
		next = TAILQ_NEXT(s, link);
		if (s->mm == mm && s->addr >= addr && s->addr < end)
			finish(p, s);
	}
}
