/* Equal steps in a thread's faults; see trend.h. */
#include "libcor/paging/trend.h"

#include <stddef.h>
#include <string.h>

/* A walk from page to page may come so far between two faults. */
#define FORWARD_MAX 2048

struct cor_trend *cor_trend_of(struct cor_trends *ts, uint32_t tid)
{
	for (unsigned i = 0; i < COR_TRENDS; i++)
		if (ts->of[i].used && ts->of[i].tid == tid)
			return &ts->of[i];
	return NULL;
}

static struct cor_trend *take(struct cor_trends *ts, uint32_t tid)
{
	struct cor_trend *t = cor_trend_of(ts, tid), *oldest = &ts->of[0];

	if (t)
		return t;
	for (unsigned i = 1; i < COR_TRENDS; i++)
		if (ts->of[i].used < oldest->used)
			oldest = &ts->of[i];
	memset(oldest, 0, sizeof(*oldest));
	oldest->tid = tid;
	return oldest;
}

/* Does distance lead along step, no farther than was looked ahead and one more? */
static bool along(int64_t distance, int64_t step)
{
	return step && distance % step == 0 && distance / step > 0 &&
	       distance / step <= (int64_t)COR_TREND_DEPTH + 1;
}

bool cor_trend_fault(struct cor_trends *ts, uint32_t tid, uint64_t page,
		     bool (*all_there)(void *arg, uint64_t from, uint64_t to), void *arg)
{
	struct cor_trend *t = take(ts, tid);
	int64_t distance = t->used ? (int64_t)(page - t->page) : 0;
	bool onward = distance > 0 && distance <= FORWARD_MAX && all_there(arg, t->page + 1, page);
	bool expected = true;

	if (along(distance, t->step)) {
		t->confirmed++;
	} else if (onward && (t->step == 1 || t->last == 1)) {
		t->step = 1;
		t->confirmed++;
	} else if (distance && distance == t->last) {
		t->step = distance;
		t->confirmed = 1;
	} else {
		t->step = 0;
		t->confirmed = 0;
		expected = false;
	}
	t->last = onward ? 1 : distance;
	t->page = page;
	t->used = ++ts->clock;
	return expected;
}

unsigned cor_trend_depth(const struct cor_trend *t)
{
	if (!t->step)
		return 0;
	return t->confirmed >= 5 ? COR_TREND_DEPTH : 2u << t->confirmed;
}
