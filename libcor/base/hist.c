#include "libcor/base/hist.h"

#include <string.h>

void cor_hist_init(struct cor_hist *h)
{
	memset(h, 0, sizeof(*h));
	h->min = UINT64_MAX;
}

/* Values below COR_HIST_SUB have a bucket each; above, the five bits behind the
 * leading one choose the linear step inside their power of two. */
static unsigned bucket_of(uint64_t ns)
{
	unsigned log, i;

	if (ns < COR_HIST_SUB)
		return (unsigned)ns;
	log = 63u - (unsigned)__builtin_clzll(ns);
	i = (log - 4) * COR_HIST_SUB + (unsigned)((ns >> (log - 5)) & (COR_HIST_SUB - 1));
	return i < COR_HIST_BUCKETS ? i : COR_HIST_BUCKETS - 1;
}

static uint64_t middle_of(unsigned i)
{
	unsigned log;
	uint64_t low;

	if (i < COR_HIST_SUB)
		return i;
	log = i / COR_HIST_SUB + 4;
	low = (uint64_t)(COR_HIST_SUB + i % COR_HIST_SUB) << (log - 5);
	return low + ((1ull << (log - 5)) >> 1);
}

void cor_hist_add(struct cor_hist *h, uint64_t ns)
{
	h->bucket[bucket_of(ns)]++;
	h->count++;
	h->sum += ns;
	if (ns > h->max)
		h->max = ns;
	if (ns < h->min)
		h->min = ns;
}

void cor_hist_merge(struct cor_hist *into, const struct cor_hist *from)
{
	for (unsigned i = 0; i < COR_HIST_BUCKETS; i++)
		into->bucket[i] += from->bucket[i];
	into->count += from->count;
	into->sum += from->sum;
	if (from->max > into->max)
		into->max = from->max;
	if (from->min < into->min)
		into->min = from->min;
}

uint64_t cor_hist_percentile(const struct cor_hist *h, double p)
{
	uint64_t want, seen = 0;

	if (!h->count)
		return 0;
	want = (uint64_t)(p * (double)h->count + 0.5);
	if (want < 1)
		want = 1;
	for (unsigned i = 0; i < COR_HIST_BUCKETS; i++) {
		seen += h->bucket[i];
		if (seen >= want) {
			uint64_t v = middle_of(i);

			return v > h->max ? h->max : v < h->min ? h->min : v;
		}
	}
	return h->max;
}
