/* What to ask for before it is touched. In bulk: hints first, then the nearest missing
 * run behind the last fault, as fast as pace.c allows. And along with a fault that has a
 * trend (trend.h): the pages that the thread will come to. */
#include "libcor/paging/pager_private.h"

#include <string.h>

#include "libcor/base/cleanup.h"
#include "libcor/base/io.h"
#include "libcor/paging/bits.h"

#define HINT_RUN 8u

void pager_hint_add(struct cor_pager *p, const uint64_t *addrs, unsigned n)
{
	n = COR_MIN(n, PAGER_HINTS - p->nhints);
	if (!n)
		return;
	memcpy(p->hints + p->nhints, addrs, n * sizeof(*addrs));
	p->nhints += n;
}

static void ask_run(struct cor_pager *p, struct pager_lane *l, struct pager_mm *mm, uint64_t addr,
		    const struct cor_place *at, uint64_t n)
{
	struct pager_request *rq = pager_lane_request(l);
	const struct cor_presence *pr = at->track->presence;

	rq->wire = (struct cor_page_request) {
		.op = COR_PAGE_READ, .object = pr->object, .npages = (uint32_t)n,
		.offset = pr->offset + (at->index << COR_PAGE_SHIFT),
	};
	rq->mm = mm;
	rq->addr = addr;
	rq->track = at->track;
	rq->index = at->index;
	at->track->refs++;
	pager_mm_ref(mm);
	cor_track_mark(at->track, COR_TRACK_BUSY, at->index, n, true);
	pager_lane_push(p, l);
}

/* --- along with a fault ---------------------------------------------------------- */

bool pager_prefetching(struct cor_pager *p)
{
	return atomic_load_explicit(&p->prefetch, memory_order_relaxed) == PAGER_PREFETCH;
}

/* A single page, if it is one that is missing and nobody has asked for. */
static bool ask_page(struct cor_pager *p, struct pager_lane *l, struct pager_mm *mm, uint64_t addr)
{
	struct cor_place at;

	if (cor_space_look(&mm->space, addr, &at) != COR_IS_MISSING ||
	    !cor_bits_clear_run(at.track->busy, at.index, 1) ||
	    pager_lane_unanswered(l) >= PAGER_DEPTH / 2)
		return false;
	ask_run(p, l, mm, addr, &at, 1);
	return true;
}

/* From page to page the bulk lanes do better: they go on behind the fault. */
void pager_look_ahead(struct cor_pager *p, struct pager_lane *l, struct pager_mm *mm, uint32_t tid)
{
	struct cor_trend *t = cor_trend_of(&mm->trends, tid);
	unsigned depth = t ? cor_trend_depth(t) : 0;

	if (!depth || (t->step == 1 && atomic_load(&p->nlanes[COR_CONN_BULK])))
		return;
	for (unsigned i = 1; i <= depth; i++) {
		uint64_t page = t->page + (uint64_t)t->step * i;

		if (page >= 1ull << (63 - COR_PAGE_SHIFT))
			return;
		ask_page(p, l, mm, page << COR_PAGE_SHIFT);
	}
}

/* --- in bulk ------------------------------------------------------------------------ */

/* Hinted pages may lie where the presence map has not been seen yet. */
static bool ask_hint(struct cor_pager *p, struct pager_lane *l)
{
	while (p->nhints && !p->root->gone) {
		uint64_t addr = p->hints[0] & ~(PAGE - 1), n;
		struct cor_place at;

		p->nhints--;
		memmove(p->hints, p->hints + 1, p->nhints * sizeof(*p->hints));
		if (cor_space_look(&p->root->space, addr, &at) != COR_IS_MISSING)
			continue;
		n = cor_bits_clear_run(at.track->have, at.index, COR_MIN(at.pages, HINT_RUN));
		n = cor_bits_clear_run(at.track->busy, at.index, n);
		if (!n)
			continue;
		ask_run(p, l, p->root, addr, &at, n);
		return true;
	}
	return false;
}

/* In order, one request at a time: known only ever grows. In a void (the shadow memory of a
 * sanitizer spans 16 TiB) each asks for more than the one before. */
static bool ask_presence(struct cor_pager *p, struct pager_lane *l)
{
	struct pager_request *rq;
	struct cor_presence *pr = NULL;

	if (!p->unknown || p->presence_asked)
		return false;
	for (unsigned i = 0; i < p->npresences && !pr; i++)
		if (p->presences[i]->known < p->presences[i]->npages)
			pr = p->presences[i];
	if (!pr)
		return false;
	rq = pager_lane_request(l);
	rq->presence = pr;
	rq->wire = (struct cor_page_request) {
		.op = COR_PAGE_PRESENCE, .object = pr->object,
		.npages = (uint32_t)COR_MIN(pr->npages - pr->known, p->presence_pages),
		.offset = pr->offset + (pr->known << COR_PAGE_SHIFT),
	};
	p->presence_asked = true;
	pager_lane_push(p, l);
	return true;
}

/* The task's own pages first: forked children get theirs along with them. */
static bool ask_next(struct cor_pager *p, struct pager_lane *l)
{
	struct pager_mm *mm;

	TAILQ_FOREACH(mm, &p->mms, link) {
		struct cor_place at;
		uint64_t most = COR_MIN(l->buf_pages, pager_bulk_piece(p));
		uint64_t addr, n = cor_space_next(&mm->space, mm->cursor, most, &addr, &at);

		if (!n)
			continue;
		ask_run(p, l, mm, addr, &at, n);
		mm->cursor = addr + (n << COR_PAGE_SHIFT);
		return true;
	}
	return false;
}

/* Switched off it still learns what there is: else nobody knew when all has come. */
static bool ask(struct cor_pager *p, struct pager_lane *l, enum pager_prefetching how)
{
	if (how == PAGER_PRESENCE_ONLY)
		return ask_presence(p, l);
	return ask_hint(p, l) || ask_presence(p, l) || ask_next(p, l);
}

static void fill_lane(struct cor_pager *p, struct pager_lane *l, unsigned window,
		      enum pager_prefetching how)
{
	while (pager_lane_unanswered(l) < window)
		if (!ask(p, l, how))
			break;
	pager_lane_flush(p, l);
}

void pager_prefetch_step(struct cor_pager *p)
{
	enum pager_prefetching how = atomic_load_explicit(&p->prefetch, memory_order_relaxed);
	unsigned rank;

	if (how == PAGER_NO_BULK ||
	    atomic_load_explicit(&p->state, memory_order_relaxed) != COR_PAGER_PAGING)
		return;
	if (pager_bulk_wait(p))
		return;
	rank = pager_bulk_rank(p);
	for (unsigned i = 0; i < PAGER_LANES; i++) {
		struct pager_lane *l = p->lanes[i];

		if (l && l->open && l->kind == COR_CONN_BULK && l->stream->rank == rank &&
		    !l->blocked)
			fill_lane(p, l, pager_bulk_window(p), how);
	}
}
