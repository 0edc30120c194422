/* How bulk work keeps out of the way of faults. While a task faults where nobody
 * could know, each piece of bulk work is followed by a pause of several times its
 * length, and pieces are small: most faults then find nothing in their way, and the
 * drain goes on all the same. A task that goes through memory in order is served
 * best by bulk work, which is not slowed down then.
 *
 * Faults that go on and on end only when everything is here, and a page costs several
 * times less in bulk than by itself. So a task that has been in need for long is helped
 * most by the drain, though each of its faults takes longer meanwhile: when it has lost
 * about as much time as all of the drain may cost it, the drain gets half of it. */
#include "libcor/paging/pager_private.h"

#include <time.h>

#include "libcor/base/cleanup.h"
#include "libcor/base/io.h"

/* Where faults are dense, a timer is set for no less than this. */
#define DENSE_NS (250 * 1000ull)
/* Without a surprise for so long, the task is not in need. */
#define CALM_NS  (2 * 1000000ull)
/* Of the time while it is, bulk work takes one part in so many; once it has been for so long,
 * of larger pieces, one in so many. */
#define SHARE         6u
#define LASTING_NS    (100 * 1000000ull)
#define SHARE_LASTING 2u
/* Faults that follow each other without a gap do not keep it out for longer. */
#define STARVED_NS (2 * 1000000ull)

void pager_surprised(struct cor_pager *p)
{
	uint64_t now = cor_now_ns(), gap = COR_MIN(now - p->surprised_at, CALM_NS);

	/* as long a calm makes up for it */
	if (gap < CALM_NS)
		p->need_ns = COR_MIN(p->need_ns + gap, 2 * LASTING_NS);
	else
		p->need_ns -= COR_MIN(p->need_ns, now - p->surprised_at);
	p->gap_ns = p->gap_ns - p->gap_ns / 8 + gap / 8;
	p->surprised_at = now;
}

/* No fault has come as a surprise of late. */
static bool calm(const struct cor_pager *p)
{
	return cor_now_ns() - p->surprised_at > CALM_NS;
}

static bool lasting(const struct cor_pager *p)
{
	return p->need_ns > LASTING_NS;
}

unsigned pager_bulk_piece(const struct cor_pager *p)
{
	return calm(p) || lasting(p) ? PAGER_RUN : PAGER_PIECE;
}

unsigned pager_bulk_window(const struct cor_pager *p)
{
	return calm(p) ? PAGER_WINDOW : lasting(p) ? 2 : 1;
}

uint64_t pager_bulk_wait(const struct cor_pager *p)
{
	uint64_t now = cor_now_ns(), until;

	if (now - p->surprised_at > CALM_NS)
		return 0;
	until = p->asked && !lasting(p) ? p->bulk_worked_at + STARVED_NS : p->bulk_free_at;
	return now < until ? until - now : 0;
}

/* Each fault that has been answered is an occasion: where they come more often than the pause is
 * long there is no need to be exact. */
uint64_t pager_bulk_alarm(const struct cor_pager *p)
{
	uint64_t pause = pager_bulk_wait(p);

	return pause && p->gap_ns < pause ? COR_MAX(pause, DENSE_NS) : pause;
}

void pager_bulk_worked(struct cor_pager *p, uint64_t since)
{
	unsigned share = lasting(p) ? SHARE_LASTING : SHARE;

	p->bulk_worked_at = cor_now_ns();
	p->bulk_free_at = p->bulk_worked_at + (p->bulk_worked_at - since) * (share - 1);
}

/* ---- hunger ------------------------------------------------------------------------------ */

/* Looked at so often; the parts of time, in eighths, from which on the pager is hungry, and up
 * to which it is content again. */
#define HUNGER_NS (50 * 1000000ull)
#define HUNGRY    6u
#define CONTENT   1u

void pager_waited(struct cor_pager *p, uint64_t since)
{
	for (unsigned i = 0; i < PAGER_LANES; i++) {
		struct pager_lane *l = p->lanes[i];

		if (l && l->open && l->kind == COR_CONN_BULK && pager_lane_unanswered(l)) {
			p->waited_ns += cor_now_ns() - since;
			return;
		}
	}
}

bool pager_hungry(struct cor_pager *p, uint64_t now)
{
	uint64_t passed = now - p->hungry_since;

	if (passed < HUNGER_NS)
		return p->hungry;
	if (p->waited_ns * 8 > passed * HUNGRY)
		p->hungry = true;
	else if (p->waited_ns * 8 < passed * CONTENT)
		p->hungry = false;
	p->hungry_since = now;
	p->waited_ns = 0;
	return p->hungry;
}

/* ---- storms ------------------------------------------------------------------------------ */

/* A thread that gives memory back without a pause lets pages be placed in the moment between
 * two events only: one or two microseconds, which begin when it has been woken from the first.
 * Where it shares a processor with us that moment is over whenever we come to run, unless a
 * timer brings us into it: so at a time that no cycle of theirs can keep clear of. */
static void pause_at_random(struct cor_pager *p)
{
	struct timespec ts = { 0 };

	p->random = p->random * UINT32_C(1664525) + UINT32_C(1013904223);
	ts.tv_nsec = 1000 + (long)(p->random >> 16) % PAGER_STORM_NS;
	clock_nanosleep(CLOCK_MONOTONIC, 0, &ts, NULL);
}

bool pager_try_again(struct cor_pager *p, struct pager_storm *s)
{
	if (!s->deadline) {
		s->deadline = cor_now_ns() + PAGER_PATIENCE_NS;
	} else if (cor_now_ns() > s->deadline) {
		if (s->pauses++ == PAGER_STORM_TRIES)
			return false;
		pause_at_random(p);
	}
	return true;
}
