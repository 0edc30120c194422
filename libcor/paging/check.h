/* The check of a reply on a page lane (COR_PAGE_CHECKED, wire.h). */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "libcor/paging/wire.h"

/* What h->check is to be: it covers the payload of len bytes and all of the header,
 * since a header that says ZERO where DATA was meant spoils a page as well. */
uint64_t cor_page_check(const struct cor_page_reply *h, const void *payload, size_t len);

/* Is h checked, and the check right? */
bool cor_page_intact(const struct cor_page_reply *h, const void *payload, size_t len);
