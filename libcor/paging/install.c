/* Putting runs of pages in place: one UFFDIO_COPY for as long a run as belongs
 * together and is missing. */
#include "libcor/paging/pager_private.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "libcor/base/cleanup.h"
#include "libcor/base/error.h"
#include "libcor/base/io.h"
#include "libcor/paging/bits.h"
#include "libcor/paging/uffd.h"

struct target {
	struct pager_mm *mm;
	uint64_t addr;
	const struct cor_presence *presence;
	uint64_t index, n;      /* pages that remain */
	const unsigned char *data;
};

static void advance(struct target *t, uint64_t pages)
{
	t->addr += pages << COR_PAGE_SHIFT;
	t->data += pages << COR_PAGE_SHIFT;
	t->index += pages;
	t->n -= pages;
}

/* How many pages from t on can go in one piece; 0 when the first one is not
 * wanted here (any more). */
static uint64_t piece(const struct target *t, uint64_t limit, struct cor_place *at)
{
	enum cor_page_is is = cor_space_look(&t->mm->space, t->addr, at);
	uint64_t most = COR_MIN(t->n, limit);

	if (is != COR_IS_MISSING || at->track->presence != t->presence || at->index != t->index)
		return 0;
	return cor_bits_clear_run(at->track->have, at->index,
				  COR_MIN(most, at->pages));
}

/* What to do after one attempt; *limit shrinks where a run spans two mappings. */
static enum install_result attempt(struct cor_pager *p, struct target *t, struct cor_place at,
				   uint64_t n, uint64_t *limit, uint64_t *fresh)
{
	uint64_t bytes;
	enum cor_uffd_result r = cor_uffd_copy(t->mm->uffd, t->addr, t->data, n << COR_PAGE_SHIFT,
					       &bytes);

	n = bytes >> COR_PAGE_SHIFT;
	switch (r) {
	case COR_UFFD_DONE:
	case COR_UFFD_PARTIAL:
		cor_track_mark(at.track, COR_TRACK_INSTALLED, at.index, n, true);
		pager_fault_landed(p, t->mm, t->addr, n);
		*fresh += n;
		advance(t, n);
		p->short_since = 0;
		return INSTALL_DONE;
	case COR_UFFD_EXISTS:
		cor_track_mark(at.track, COR_TRACK_INSTALLED, at.index, 1, true);
		advance(t, 1);
		return INSTALL_DONE;
	case COR_UFFD_AGAIN:
	case COR_UFFD_NO_MEMORY:
		return INSTALL_LATER;
	case COR_UFFD_RANGE_GONE:
		*limit /= 2;
		return *limit ? INSTALL_DONE : INSTALL_LATER;
	case COR_UFFD_MM_GONE:
		pager_mm_close(p, t->mm);
		return INSTALL_FAILED;
	case COR_UFFD_BAD:
		break;
	}
	pager_fail(p, -EINVAL, "installing pages at 0x%llx: refused by the kernel",
		   (unsigned long long)t->addr);
	return INSTALL_FAILED;
}

/* A single page is in no registered mapping although all events were read: it
 * is not there to be filled. */
static void skip_unmapped(struct target *t, struct cor_place at)
{
	cor_track_mark(at.track, COR_TRACK_DROPPED, at.index, 1, true);
	cor_uffd_wake(t->mm->uffd, t->addr, PAGE);
	advance(t, 1);
}

enum install_result pager_install_run(struct cor_pager *p, struct pager_mm *mm, uint64_t addr,
				      const struct cor_presence *pr, uint64_t index, uint64_t n,
				      const unsigned char *data, uint64_t limit,
				      uint64_t *done, uint64_t *fresh)
{
	struct target t = { mm, addr, pr, index, n, data };
	uint64_t start = *fresh, longest = limit;
	struct pager_storm storm = { 0 };
	unsigned strikes = 0;

	while (t.n && !mm->gone && *fresh - start < limit) {
		struct cor_place at;
		uint64_t run = piece(&t, longest, &at), before = t.n;
		enum install_result r;

		if (!run) {
			advance(&t, 1);
			continue;
		}
		longest = COR_MIN(longest, run);
		r = attempt(p, &t, at, run, &longest, fresh);
		if (r == INSTALL_FAILED)
			return r;
		if (t.n != before) {
			longest = limit;
			strikes = 0;
			continue;
		}
		if (!longest && strikes++) {
			skip_unmapped(&t, at);
			longest = limit;
			continue;
		}
		/* Not now, or not here: events say why. */
		pager_mm_read(p, mm);
		if (r == INSTALL_DONE)
			continue;
		longest = COR_MAX(longest, 1ull);
		if (!pager_try_again(p, &storm)) {
			*done = n - t.n;
			return INSTALL_LATER;
		}
	}
	*done = n - t.n;
	return mm->gone ? INSTALL_FAILED : INSTALL_DONE;
}

/* Where [addr, addr+len) goes, for pages that the caller brings. */
static int install_piece(struct cor_pager *p, uint64_t addr, const unsigned char *data,
			 uint64_t n, uint64_t *done)
{
	uint64_t fresh = 0, deadline = cor_now_ns() + 1000000000ull;
	enum install_result r = INSTALL_DONE;
	struct cor_place at = { NULL, 0, 0 };

	*done = 1;
	switch (cor_space_look(&p->root->space, addr, &at)) {
	case COR_IS_FOREIGN:
		return -ENOENT;
	case COR_IS_INSTALLED:
	case COR_IS_ZERO:
		return 0;
	case COR_IS_MISSING:
		break;
	}
	n = COR_MIN(n, at.pages);
	do {
		r = pager_install_run(p, p->root, addr, at.track->presence, at.index, n, data, n,
				      done, &fresh);
	} while (r == INSTALL_LATER && !*done && cor_now_ns() < deadline);
	PAGER_COUNT(p, pages_eager, fresh);
	if (r == INSTALL_FAILED)
		return p->root->gone ? -ESRCH : -EIO;
	return *done ? 0 : -EAGAIN;
}

static int keep_early(struct cor_pager *p, struct pager_command *c)
{
	struct pager_early *e = malloc(sizeof(*e) + c->install.len);
	struct pager_early **at = &p->early;

	if (!e)
		return cor_fail(c->err, -ENOMEM, "out of memory for %zu bytes of pages",
				c->install.len);
	memcpy(e->data, c->install.data, c->install.len);
	e->addr = c->install.addr;
	e->len = c->install.len;
	e->next = NULL;
	while (*at)
		at = &(*at)->next;
	*at = e;
	return 0;
}

void pager_drop_early(struct cor_pager *p)
{
	struct pager_early *e;

	while ((e = p->early)) {
		p->early = e->next;
		free(e);
	}
}

int pager_install_early(struct cor_pager *p, struct cor_error *err)
{
	int r = 0;

	for (struct pager_early *e = p->early; e && r == 0; e = e->next) {
		struct pager_command c = {
			.err = err,
			.install = { .addr = e->addr, .data = e->data, .len = e->len },
		};

		r = pager_run_install(p, &c);
	}
	pager_drop_early(p);
	return r;
}

int pager_run_install(struct cor_pager *p, struct pager_command *c)
{
	const unsigned char *data = c->install.data;
	uint64_t n = c->install.len >> COR_PAGE_SHIFT, addr = c->install.addr, done;

	if (p->root->uffd < 0 && !p->root->gone)
		return keep_early(p, c);
	for (; n; n -= done) {
		int r = install_piece(p, addr, data, n, &done);

		if (r < 0)
			return cor_fail_code(c->err, r, "installing pages at 0x%llx",
					     (unsigned long long)addr);
		addr += done << COR_PAGE_SHIFT;
		data += done << COR_PAGE_SHIFT;
	}
	return 0;
}
