/* The pages that are not here when they never will be: which they are, and seeing to it
 * that nobody takes zeros for them. */
#include "libcor/paging/pager_private.h"

#include "libcor/base/cleanup.h"
#include "libcor/paging/bits.h"
#include "libcor/paging/uffd.h"

static bool lacks(const struct cor_track *t, uint64_t index)
{
	const struct cor_presence *pr = t->presence;

	return !cor_bit(t->have, index) &&
	       (index >= pr->known || cor_bit(pr->data, index));
}

/* The first run of pages that e lacks at or behind page *at; its length, 0: there is none. */
static uint64_t next_run(const struct cor_extent *e, uint64_t *at)
{
	uint64_t from = *at, n = 0;

	while (e->track && from < e->npages && !lacks(e->track, e->first + from))
		from++;
	while (e->track && from + n < e->npages && lacks(e->track, e->first + from + n))
		n++;
	*at = from;
	return n;
}

static int run_missing(struct cor_pager *p, struct pager_command *c)
{
	const struct cor_space *s = &p->root->space;
	unsigned n = 0;

	for (size_t i = 0; i < s->n && n < c->missing.max; i++) {
		const struct cor_extent *e = &s->extents[i];
		struct cor_missing m = { .start = e->start, .len = e->npages << COR_PAGE_SHIFT };
		uint64_t at = 0, run;

		while ((run = next_run(e, &at))) {
			m.pages += run;
			at += run;
		}
		if (m.pages)
			c->missing.out[n++] = m;
	}
	return (int)n;
}

unsigned cor_pager_missing(struct cor_pager *p, struct cor_missing *out, unsigned max)
{
	struct pager_command c = { .run = run_missing, .missing = { .out = out, .max = max } };
	int n = pager_command(p, &c);

	return n > 0 ? (unsigned)n : 0;
}

static void spoil(const struct pager_mm *mm, uint64_t addr, uint64_t len)
{
	uint64_t done = 0;

	while (len) {
		enum cor_uffd_result r = cor_uffd_poison(mm->uffd, addr, len, &done);

		if (r != COR_UFFD_DONE && r != COR_UFFD_PARTIAL)
			done = PAGE;    /* there already, or not to be had: the next one */
		done = COR_MIN(done, len);
		addr += done;
		len -= done;
	}
}

static int run_spoil(struct cor_pager *p, struct pager_command *c)
{
	struct pager_mm *mm;

	TAILQ_FOREACH(mm, &p->mms, link) {
		pager_mm_read(p, mm);
		for (size_t i = 0; !mm->gone && i < mm->space.n; i++) {
			const struct cor_extent *e = &mm->space.extents[i];
			uint64_t at = 0, run;

			while ((run = next_run(e, &at))) {
				spoil(mm, e->start + (at << COR_PAGE_SHIFT), run << COR_PAGE_SHIFT);
				at += run;
			}
		}
		if (!mm->gone)
			pager_mm_wake(mm);
	}
	return 0;
}

void cor_pager_spoil(struct cor_pager *p)
{
	struct pager_command c = { .run = run_spoil };

	pager_command(p, &c);
}
