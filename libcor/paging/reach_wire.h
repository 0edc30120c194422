/* What the two ends of one-sided demand (reach.h) say to each other.
 *
 * The owner's HELLO comes first, and may come again. The pager's WANT is answered by one or more
 * RANGE, the last of which has left 0; len 0: there is nothing to be had so. DROP is not
 * answered: the pager has no read of that chunk under way.
 */
#pragma once

#include <assert.h>
#include <stdbool.h>
#include <stdint.h>

#include "libcor/paging/source.h"
#include "libcor/transport/rdma.h"

#define COR_REACH_VERSION 1         /* of the mechanism "one-sided" in HELLO */
#define COR_REACH_CHUNK_SHIFT 21
#define COR_REACH_CHUNK   (UINT64_C(1) << COR_REACH_CHUNK_SHIFT)
#define COR_REACH_CHUNKS  1024u     /* known to a lane at once, at the most */
#define COR_REACH_RANGES  8u        /* registered of one chunk */

#define REACH_MAGIC 0x32727263u         /* "crr2" */

#define REACH_WANTS    4u               /* WANTs that are not answered */
/* Messages that the owner may not have taken yet: it has room for COR_RDMA_UNREAD. */
#define REACH_UNHEARD  (COR_RDMA_UNREAD / 2)
_Static_assert(REACH_WANTS * COR_REACH_RANGES <= COR_RDMA_UNREAD / 2, "answers fit as well");

enum reach_kind {
	REACH_HELLO = 1,        /* offset: REACH_MAGIC; len: the bound, in bytes */
	REACH_RANGE,
	REACH_WANT,             /* offset: the chunk's */
	REACH_DROP,
};

struct reach_message {
	uint8_t  kind;          /* enum reach_kind */
	uint8_t  left;
	uint16_t object;
	uint32_t reserved;
	uint64_t offset, len;
	uint64_t remote, key;
} __attribute__((packed));
static_assert(sizeof(struct reach_message) == 40, "in one message");

static inline uint64_t reach_chunk_of(uint64_t offset)
{
	return offset & ~(COR_REACH_CHUNK - 1);
}

static inline bool reach_aligned(uint64_t n)
{
	return (n & ((1u << COR_PAGE_SHIFT) - 1)) == 0;
}
