/* A log-linear histogram of nanoseconds: 32 linear steps in each power of two,
 * so a percentile is off by at most 1/32 (3.2 %). No allocation, no lock: one
 * writer; readers may copy it at any time and see a slightly older state. */
#pragma once

#include <stdint.h>

#define COR_HIST_SUB  32
#define COR_HIST_BUCKETS (COR_HIST_SUB * 37)   /* up to 2^41 ns, 36 minutes */

struct cor_hist {
	uint64_t count, sum, max, min;
	uint32_t bucket[COR_HIST_BUCKETS];
};

void     cor_hist_init(struct cor_hist *h);
void     cor_hist_add(struct cor_hist *h, uint64_t ns);
void     cor_hist_merge(struct cor_hist *into, const struct cor_hist *from);
/* The value below which p (0..1) of the samples lie; 0 when there are none. */
uint64_t cor_hist_percentile(const struct cor_hist *h, double p);
