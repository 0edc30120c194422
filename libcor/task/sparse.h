/* A page without its zeros: of a thread's stack and control block, which travel in the
 * freeze, six words in seven are. The form is a bitmap of the page's 512 words that are not
 * zero (bit 0 of byte 0: the first), and those words. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define COR_SPARSE_MAX (64 + 4096)      /* bytes of a page that has no zero word */

/* page: 4096 bytes, at an address divisible by 8. Returns how many bytes out has. */
size_t cor_sparse_pack(const void *page, uint8_t out[COR_SPARSE_MAX]);

/* False, with page in any state: these are not the bytes of a page. */
bool cor_sparse_unpack(const uint8_t *data, size_t len, void *page);
