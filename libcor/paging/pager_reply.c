/* What a reply means: for a fault, for a run in bulk, for a presence request. */
#include "libcor/paging/pager_private.h"

#include <errno.h>
#include <string.h>

#include "libcor/base/cleanup.h"
#include "libcor/base/io.h"
#include "libcor/paging/uffd.h"

static bool valid_read(const struct pager_lane *l, const struct pager_request *rq)
{
	const struct cor_page_reply *re = &l->reply;
	bool last = re->flags & COR_PAGE_LAST;

	if (re->offset != rq->wire.offset + (l->answered << COR_PAGE_SHIFT))
		return false;
	if (!re->npages || re->npages > rq->wire.npages - l->answered)
		return false;
	if (last != (l->answered + re->npages == rq->wire.npages))
		return re->status == COR_PAGE_ERROR && last;
	return (re->status != COR_PAGE_DATA && re->status != COR_PAGE_PACKED) ||
	       re->npages <= l->buf_pages;
}

static bool valid_packed(const struct pager_lane *l, const struct pager_request *rq)
{
	const struct cor_page_reply *re = &l->reply;

	return rq->wire.op == COR_PAGE_READ && (rq->wire.flags & COR_PAGE_MAY_PACK) &&
	       valid_read(l, rq) && re->packed &&
	       re->packed < (uint64_t)re->npages << COR_PAGE_SHIFT;
}

bool pager_reply_valid(struct pager_lane *l)
{
	const struct cor_page_reply *re = &l->reply;
	const struct pager_request *rq = pager_lane_oldest(l);

	l->need = 0;
	if (l->head == l->sent || re->object != rq->wire.object)
		return false;
	switch (re->status) {
	case COR_PAGE_DATA:
		l->need = (size_t)re->npages << COR_PAGE_SHIFT;
		/* fall through */
	case COR_PAGE_ZERO:
		return rq->wire.op == COR_PAGE_READ && valid_read(l, rq);
	case COR_PAGE_GONE:
	case COR_PAGE_ERROR:
		return rq->wire.op != COR_PAGE_READ || valid_read(l, rq);
	case COR_PAGE_PACKED:
		l->need = re->packed;
		return valid_packed(l, rq);
	case COR_PAGE_RUNS:
		l->need = (size_t)re->npages * sizeof(struct cor_page_run);
		return rq->wire.op == COR_PAGE_PRESENCE &&
		       l->need <= (size_t)l->buf_pages << COR_PAGE_SHIFT;
	}
	return false;
}

/* --- one page, for a fault ------------------------------------------------- */

static void cannot_read(struct cor_pager *p, const struct pager_lane *l)
{
	/* what is no errno (errno(3)) would not be a failure here */
	int error = l->reply.error - 1 < 4095 ? (int)l->reply.error : EIO;

	pager_fail(p, -error, "the source cannot read its page at 0x%llx of object %u: %s",
		   (unsigned long long)l->reply.offset, l->reply.object,
		   strerrordesc_np(error) ?: "unknown error");
}

static void answer_fault(struct cor_pager *p, struct pager_lane *l, struct pager_slot *s)
{
	if (l->reply.status == COR_PAGE_ERROR) {
		cannot_read(p, l);
		pager_fault_stuck(p, s);
		return;
	}
	if (l->one_sided)
		PAGER_COUNT(p, pages_one_sided, 1);
	pager_fault_answer(p, s, (struct pager_answer) {
		l->reply.status, l->reply.status == COR_PAGE_DATA ? l->data : NULL });
}

/* --- a run, in bulk -------------------------------------------------------- */

/* A forked child lacks the same pages at the same place, as a rule. What does
 * not fit there is left to the child's own requests. */
static void install_in_others(struct cor_pager *p, const struct pager_request *rq, uint64_t first,
			      uint64_t n, const unsigned char *data)
{
	struct pager_mm *mm, *next;

	for (mm = TAILQ_FIRST(&p->mms); mm; mm = next) {
		uint64_t done = 0, fresh = 0;

		next = TAILQ_NEXT(mm, link);
		if (mm == rq->mm || !mm->space.missing)
			continue;
		pager_mm_ref(mm);
		pager_install_run(p, mm, rq->addr + (first << COR_PAGE_SHIFT),
				  rq->track->presence, rq->index + first, n, data, n, &done, &fresh);
		PAGER_COUNT(p, pages_prefetched, fresh);
		/* the list may have changed where this one was closed */
		if (mm->gone)
			next = NULL;
		pager_mm_unref(mm);
	}
}

static bool place_data(struct cor_pager *p, struct pager_lane *l, const struct pager_request *rq)
{
	uint64_t first = l->answered + l->placed, n = l->reply.npages - l->placed;
	unsigned char *data = l->data + (l->placed << COR_PAGE_SHIFT);
	uint64_t done = 0, fresh = 0;
	enum install_result r;

	r = pager_install_run(p, rq->mm, rq->addr + (first << COR_PAGE_SHIFT), rq->track->presence,
			      rq->index + first, n, data, COR_MIN(n, pager_bulk_piece(p)), &done, &fresh);
	PAGER_COUNT(p, pages_prefetched, fresh);
	if (rq->mm->gone || TAILQ_FIRST(&p->mms) != TAILQ_LAST(&p->mms, pager_mms))
		install_in_others(p, rq, first, r == INSTALL_FAILED ? n : done, data);
	l->placed += done;
	p->stalled |= r == INSTALL_LATER;
	return l->placed == l->reply.npages || r == INSTALL_FAILED;
}

/* Pages that do not exist at the source (a file's end inside its mapping): to
 * touch them fails here as it did there. Those that cannot be marked now are
 * asked for again. */
static void place_gone(struct cor_pager *p, const struct pager_request *rq, uint64_t first,
		       uint64_t n)
{
	for (uint64_t i = first; i < first + n && !rq->mm->gone; i++) {
		uint64_t addr = rq->addr + (i << COR_PAGE_SHIFT), done;
		struct cor_place at;

		if (cor_space_look(&rq->mm->space, addr, &at) != COR_IS_MISSING ||
		    at.track != rq->track || at.index != rq->index + i)
			continue;
		switch (cor_uffd_poison(rq->mm->uffd, addr, PAGE, &done)) {
		case COR_UFFD_DONE:
		case COR_UFFD_EXISTS:
			cor_track_mark(rq->track, COR_TRACK_INSTALLED, at.index, 1, true);
			break;
		case COR_UFFD_BAD:
			pager_fail(p, -EFAULT, "the source has no memory for the page at 0x%llx",
				   (unsigned long long)addr);
			return;
		default:
			pager_mm_read(p, rq->mm);
		}
	}
}

static bool place_run(struct cor_pager *p, struct pager_lane *l, const struct pager_request *rq)
{
	switch (l->reply.status) {
	case COR_PAGE_DATA:
		return place_data(p, l, rq);
	case COR_PAGE_ERROR:
		cannot_read(p, l);
		return true;
	case COR_PAGE_GONE:
		place_gone(p, rq, l->answered, l->reply.npages);
		return true;
	default:
		/* zeros: nothing to install, a fault there needs nobody */
		cor_presence_learn(rq->track->presence, rq->index + l->answered,
				   l->reply.npages, false);
		return true;
	}
}

/* --- presence -------------------------------------------------------------- */

static void learn(struct cor_pager *p, struct pager_lane *l, struct pager_request *rq)
{
	const struct cor_page_run *runs = (const struct cor_page_run *)l->buf;
	struct cor_presence *pr = rq->presence;
	uint64_t total = 0;

	for (uint32_t i = 0; l->reply.status == COR_PAGE_RUNS && i < l->reply.npages; i++) {
		uint64_t first = (runs[i].offset - rq->wire.offset) >> COR_PAGE_SHIFT, n;

		if (runs[i].offset < rq->wire.offset || first >= rq->wire.npages)
			continue;
		n = COR_MIN(runs[i].npages, rq->wire.npages - first);
		first += (rq->wire.offset - pr->offset) >> COR_PAGE_SHIFT;
		cor_presence_learn(pr, first, n, true);
		if (runs[i].flags & COR_RUN_HUGE)
			cor_presence_learn_huge(pr, first, n);
	}
	rq->found += l->reply.npages;
	if (l->reply.flags & COR_PAGE_LAST) {
		p->presence_pages = rq->found ? PAGER_PRESENCE :
				    COR_MIN(p->presence_pages * 4, PAGER_VOID);
		pr->known = ((rq->wire.offset - pr->offset) >> COR_PAGE_SHIFT) + rq->wire.npages;
		if (pr->known == pr->npages)
			p->unknown--;
	}
	for (unsigned i = 0; i < p->npresences; i++)
		total += p->presences[i]->counted;
	PAGER_COUNT(p, pages_total, total - p->stats.pages_total);
	p->stats.presence_known = !p->unknown;
}

bool pager_reply(struct cor_pager *p, struct pager_lane *l)
{
	struct pager_request *rq = pager_lane_oldest(l);

	if (rq->slot) {
		answer_fault(p, l, rq->slot);
		rq->slot = NULL;
		return true;
	}
	if (rq->wire.op == COR_PAGE_READ)
		return place_run(p, l, rq);
	if (l->reply.status == COR_PAGE_ERROR)
		cannot_read(p, l);
	else
		learn(p, l, rq);
	return true;
}

void pager_request_end(struct cor_pager *p, struct pager_request *rq)
{
	if (rq->presence)
		p->presence_asked = false;
	if (!rq->track)
		return;
	cor_track_mark(rq->track, COR_TRACK_BUSY, rq->index, rq->wire.npages, false);
	cor_track_unref(rq->track);
	pager_mm_unref(rq->mm);
	rq->track = NULL;
}
