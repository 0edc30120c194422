/* The chunks of the owner's memory (reach.h) as its pager knows them: which can be read, which
 * have been asked for, which are given back. */
#pragma once

#include "libcor/paging/reach_wire.h"

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
