/* See check.h. */
#include "libcor/paging/check.h"

#include <xxhash.h>

uint64_t cor_page_check(const struct cor_page_reply *h, const void *payload, size_t len)
{
	struct cor_page_reply plain = *h;
	uint64_t seed;

	plain.check = 0;
	seed = XXH3_64bits(&plain, sizeof(plain));
	return len ? XXH3_64bits_withSeed(payload, len, seed) : seed;
}

bool cor_page_intact(const struct cor_page_reply *h, const void *payload, size_t len)
{
	return (h->flags & COR_PAGE_CHECKED) && h->check == cor_page_check(h, payload, len);
}
