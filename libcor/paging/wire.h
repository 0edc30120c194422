/* The page lane protocol, version 2.
 *
 * A lane is a byte stream between a pager (client) and a page server. The
 * client sends 16-byte requests, as many at once as it likes; the server
 * answers each in order with one or more replies, the last of which carries
 * COR_PAGE_LAST. A reply is a 32-byte header, then its payload:
 *
 *	DATA   npages * 4096 bytes
 *	PACKED packed bytes, which LZ4 (a block) makes npages * 4096 of
 *	ZERO   nothing: these pages read as zero (never touched, or all zero)
 *	GONE   nothing: the source has no such memory (npages pages of it)
 *	ERROR  nothing: reading failed; error holds the positive errno
 *	RUNS   npages is the number of struct cor_page_run that follow
 *
 * The replies to one READ cover its pages in ascending order without a hole.
 * A PRESENCE request asks what [offset, offset + npages pages) holds; RUNS
 * replies list only pages that hold data, ascending; what is in no run is zero.
 *
 * Pages are named by (object, offset): object 0 is the task's address space and
 * offset its virtual address there; object n > 0 is shared memory object n of
 * the session, offset in bytes from its beginning. Everything is page aligned.
 * All integers little-endian. docs: cor-protocol(7).
 */
#pragma once

#include <assert.h>
#include <stddef.h>
#include <stdint.h>

#define COR_PAGING_VERSION 2         /* of the mechanism "paging" in HELLO */

#define COR_PAGE_SHIFT 12
#define COR_HUGE_SHIFT 21            /* a huge page */

/* The largest READ a server accepts: bounds its buffer. */
#define COR_PAGE_MAX_RUN 1024u        /* pages: 4 MiB */

enum cor_page_op {
	COR_PAGE_READ     = 1,
	COR_PAGE_PRESENCE = 2,
};

enum cor_page_status {
	COR_PAGE_DATA  = 1,
	COR_PAGE_ZERO  = 2,
	COR_PAGE_GONE  = 3,
	COR_PAGE_ERROR = 4,
	COR_PAGE_RUNS  = 5,
	COR_PAGE_PACKED = 6,    /* only where the request permits it */
};

enum cor_page_flags {
	COR_PAGE_LAST    = 1,   /* reply: the request is answered completely */
	COR_PAGE_CHECKED = 2,   /* request: please fill check; each reply: check is valid */
	COR_PAGE_MAY_PACK = 4,  /* READ: data may come packed. Both hosts have the mechanism
				   compress then */
};

struct cor_page_request {
	uint8_t  op;            /* enum cor_page_op */
	uint8_t  flags;
	uint16_t object;
	uint32_t npages;        /* READ: 1..COR_PAGE_MAX_RUN; PRESENCE: any */
	uint64_t offset;
} __attribute__((packed));
static_assert(sizeof(struct cor_page_request) == 16, "request is 16 bytes");

struct cor_page_reply {
	uint8_t  status;        /* enum cor_page_status */
	uint8_t  flags;
	uint16_t object;
	uint32_t npages;
	uint64_t offset;
	uint32_t error;         /* ERROR: a positive errno, else 0 */
	uint32_t packed;        /* PACKED: bytes that follow, less than the pages are; else 0 */
	uint64_t check;         /* CHECKED: of header and payload (check.h), else 0 */
} __attribute__((packed));
static_assert(sizeof(struct cor_page_reply) == 32, "reply header is 32 bytes");
static_assert(offsetof(struct cor_page_reply, check) == 24, "check at 24");

enum cor_run_flags {
	COR_RUN_HUGE = 1,       /* these pages lie in transparent huge pages at the source */
};

struct cor_page_run {
	uint64_t offset;
	uint32_t npages;
	uint32_t flags;         /* enum cor_run_flags; unknown ones mean nothing */
} __attribute__((packed));
static_assert(sizeof(struct cor_page_run) == 16, "run is 16 bytes");
