/* See sparse.h. */
#include "libcor/task/sparse.h"

#include <string.h>

#define WORDS 512u
#define GROUPS (WORDS / 64)

size_t cor_sparse_pack(const void *page, uint8_t out[COR_SPARSE_MAX])
{
	const uint64_t *word = page;
	uint64_t bits[GROUPS];
	uint8_t *at = out + sizeof(bits);

	for (unsigned g = 0; g < GROUPS; g++, word += 64) {
		bits[g] = 0;
		for (unsigned i = 0; i < 64; i++) {
			/* without a branch that would be guessed wrong */
			memcpy(at, &word[i], sizeof(*word));
			bits[g] |= (uint64_t)(word[i] != 0) << i;
			at += word[i] ? sizeof(*word) : 0;
		}
	}
	memcpy(out, bits, sizeof(bits));
	return (size_t)(at - out);
}

bool cor_sparse_unpack(const uint8_t *data, size_t len, void *page)
{
	uint64_t bits[GROUPS], *word = page;
	const uint8_t *at = data + sizeof(bits);
	size_t n = 0;

	if (len < sizeof(bits))
		return false;
	memcpy(bits, data, sizeof(bits));
	for (unsigned g = 0; g < GROUPS; g++)
		n += (unsigned)__builtin_popcountll(bits[g]);
	if (len != sizeof(bits) + n * sizeof(*word))
		return false;
	memset(page, 0, WORDS * sizeof(*word));
	for (unsigned g = 0; g < GROUPS; g++) {
		for (uint64_t left = bits[g]; left; left &= left - 1, at += sizeof(*word))
			memcpy(&word[g * 64 + (unsigned)__builtin_ctzll(left)], at, sizeof(*word));
	}
	return true;
}
