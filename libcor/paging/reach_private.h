/* What the two ends of one-sided demand (reach.h) say to each other, and the pager's table.
 *
 *	reach.c        the pager's stream
 *	reach_table.c  its table of chunks
 *	reach_owner.c  the owner
 *
 * The owner's HELLO comes first, and may come again. The pager's WANT is answered by one or more RANGE, the last of
 * which has left 0; len 0: there is nothing to be had so. DROP is not answered: the pager has
 * no read of that chunk under way.
 */
#pragma once

#include <assert.h>

#include "libcor/paging/reach.h"

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

/* ---- the pager's table ------------------------------------------------------------------ */

#define REACH_SEEN 64u                  /* chunks of late faults */

struct reach_range {
	uint64_t offset, len;
	struct cor_rdma_remote remote;
};

struct reach_chunk {
	bool     wanted;        /* asked for, and not answered */
	unsigned n;
	struct reach_range range[COR_REACH_RANGES];
	uint64_t bytes;
	uint64_t used_ns;
	unsigned reading;       /* reads under way */
	uint32_t heard;         /* wanted: messages that its answer shows to be taken */
};

struct reach_table {
	uint64_t bound, bytes;
	unsigned n, wants;
	uint32_t said, heard;   /* messages to the owner; those it has taken for sure */
	uint64_t key[COR_REACH_CHUNKS];         /* each chunk's offset */
	struct reach_chunk chunk[COR_REACH_CHUNKS];
	uint64_t seen[REACH_SEEN];              /* offset + 1 */
	unsigned next_seen;
	/* sends a message: 0 or -errno */
	int (*say)(void *arg, const struct reach_message *m);
	void *arg;
};

/* The chunk of offset, or NULL. It must not be kept: others come and go. */
struct reach_chunk *reach_table_find(struct reach_table *t, uint64_t offset);
const struct reach_range *reach_chunk_find(const struct reach_chunk *c, uint64_t offset);
/* A fault in no chunk: notes it, and perhaps asks for the chunk. */
void reach_table_miss(struct reach_table *t, uint64_t offset);
/* A RANGE has come. -EPROTO: it makes no sense. */
int reach_table_take(struct reach_table *t, const struct reach_message *m);
