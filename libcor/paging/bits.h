/* Bitmaps of pages: plain arrays of 64-bit words, bit i of the map is bit
 * i % 64 of word i / 64. Small enough to be inline. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

static inline uint64_t cor_bits_words(uint64_t nbits)
{
	return (nbits + 63) / 64;
}

static inline bool cor_bit(const uint64_t *w, uint64_t i)
{
	return w[i / 64] >> (i % 64) & 1;
}

/* The bits of word number word that lie in [first, end). */
static inline uint64_t cor_bits_mask(uint64_t word, uint64_t first, uint64_t end)
{
	uint64_t mask = ~0ull, low = word * 64;

	if (first > low)
		mask &= ~0ull << (first - low);
	if (end < low + 64)
		mask &= end > low ? ~0ull >> (64 - (end - low)) : 0;
	return mask;
}

static inline void cor_bits_put(uint64_t *w, uint64_t first, uint64_t n, bool on)
{
	for (uint64_t i = first / 64; n && i <= (first + n - 1) / 64; i++) {
		uint64_t mask = cor_bits_mask(i, first, first + n);

		w[i] = on ? w[i] | mask : w[i] & ~mask;
	}
}

/* Length of the run of clear bits that begins at first, at most max. */
static inline uint64_t cor_bits_clear_run(const uint64_t *w, uint64_t first, uint64_t max)
{
	for (uint64_t i = first / 64; max && i <= (first + max - 1) / 64; i++) {
		uint64_t set = w[i] & cor_bits_mask(i, first, first + max);

		if (set)
			return i * 64 + (uint64_t)__builtin_ctzll(set) - first;
	}
	return max;
}
