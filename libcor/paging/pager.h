/* The pager: owns a task's userfaultfd on the destination, answers its faults
 * over the demand lane, and drains the rest over the bulk lanes.
 *
 * One thread with its own io_uring watches the userfaultfd, the lanes and a
 * control eventfd. On the demand path: no allocation, no lock. The pager never
 * touches the lazy memory itself. It follows the four userfaultfd events:
 *
 *	REMOVE   those pages read as zero from now on, never fetched again (but
 *	         shared memory keeps its data: the event does not tell MADV_DONTNEED,
 *	         which does so, from MADV_REMOVE, which does not)
 *	UNMAP    forgotten
 *	REMAP    keeps run-time address -> source address
 *	FORK     the child's userfaultfd arrives; its missing pages are served too,
 *	         and drained, until it is complete or gone
 *
 * A fault outside every region (a stack that grew, the new part of an mremap)
 * is filled with zeros. Lanes may end and be replaced at any time: faults wait
 * until a demand lane is there again. Requests lost with a lane are repeated.
 *
 * Life: new, add_region*, add_lane*, start, [prefetch], ..., finish or free.
 *
 * A pager with a journal (journal.h) may be killed at any moment: another process that
 * has its descriptors then goes on (cor_pager_retake).
 */
#pragma once

#include <cor/cor.h>
#include <stdbool.h>
#include <stdint.h>

#include "libcor/base/hist.h"
#include "libcor/transport/preamble.h"
#include "libcor/transport/stream.h"

struct cor_pager;
struct cor_journal;

struct cor_region {
	uint64_t start;         /* run-time address on the destination, page aligned */
	uint64_t len;           /* bytes, page aligned */
	uint64_t offset;        /* its first byte's place in the source object */
	uint16_t object;        /* source object, 0: the source's address space */
	bool     shared;        /* shmem here: another mapping of the same pages may
				   exist, so EEXIST from UFFDIO_COPY is ordinary */
	bool     whole;         /* every page holds data: the presence map is not asked
				   (a file mapping whose file the destination lacks) */
};

enum cor_pager_state {
	COR_PAGER_IDLE,         /* not started */
	COR_PAGER_PAGING,       /* faults are served, pages are missing */
	COR_PAGER_DRAINED,      /* every page is installed or dropped, children's too */
	COR_PAGER_TASK_GONE,    /* the address space ended (exit, exec) before that */
	COR_PAGER_FAILED,       /* a page cannot be had (ERROR from the source): see error */
};

/* The task's pages and its children's together: with children, more pages may be
 * installed than pages_total, which counts those of the source. */
struct cor_paging_stats {
	uint64_t pages_total;        /* pages that hold data at the source, as far as known */
	uint64_t pages_demand;       /* installed for a fault, by a demand lane */
	uint64_t pages_prefetched;   /* installed by the prefetcher or as a hint */
	uint64_t pages_zero;         /* zero pages installed */
	uint64_t pages_dropped;      /* removed or unmapped by the task before they came */
	uint64_t pages_eager;        /* installed by cor_pager_install() */
	uint64_t faults;             /* fault messages read */
	uint64_t bytes_wire;         /* received, headers included */
	uint64_t pages_one_sided;    /* read for a fault without a page server (reach.h) */
	uint64_t pages_corrupt;      /* came spoiled, and were asked for again */
	uint64_t pages_packed;       /* came compressed */
	uint64_t drain_ns;           /* from start to DRAINED; so far while PAGING */
	bool     presence_known;     /* the whole presence map has arrived */
	struct cor_hist fault_ns;    /* fault read -> page installed */
};

/* The pager does not own uffd until cor_pager_start(). */
int cor_pager_new(struct cor_pager **out, const struct cor_ctx *ctx, struct cor_error *err);

/* Before start: for how many microseconds the pager spins for the reply to a fault
 * before it sleeps (0: never). The default is 200. */
void cor_pager_spin(struct cor_pager *p, unsigned us);

/* Before start: are replies to be checked (wire.h)? What comes spoiled is not
 * installed but asked for again. The default is not. */
void cor_pager_check(struct cor_pager *p, bool on);

/* Before start: the source can compress pages (pack.h), and is asked to where the pager
 * waits for it. The default is that it cannot. */
void cor_pager_pack(struct cor_pager *p, bool on);

/* Before start. Regions must not overlap. Registers nothing: see cor_pager_start. */
int cor_pager_add_region(struct cor_pager *p, const struct cor_region *r, struct cor_error *err);

/* All regions, in place of those there were. Called ahead with what is expected, and again
 * when it is known: if it came true nothing is left to do. On failure there are none. */
int cor_pager_set_regions(struct cor_pager *p, const struct cor_region *list, unsigned n,
			  struct cor_error *err);

/* Any time. Takes ownership of lane (lane.h), also on failure. */
int cor_pager_add_lane(struct cor_pager *p, struct cor_stream *lane, enum cor_connection_kind kind,
		       struct cor_error *err);

/* Registers every region in missing mode with uffd (an API-handshaken,
 * O_NONBLOCK userfaultfd of the task's mm, owned by the pager from here, on
 * failure too) and starts the thread. Faults are served from here on; the
 * prefetcher waits for cor_pager_prefetch(). */
int cor_pager_start(struct cor_pager *p, int uffd, struct cor_error *err);

/* Features and the handshake that cor_pager_start() expects of a userfaultfd. */
int cor_pager_uffd_handshake(int uffd, struct cor_error *err);
/* Without the events of fork(2), for which a privilege is missing (-EPERM of the above): a
 * child sees zeros where a page was missing when it was made. */
int cor_pager_uffd_handshake_blind(int uffd, struct cor_error *err);

/* Before start, or instead of it before cor_pager_retake(): the journal, the caller's,
 * outlives the pager. */
void cor_pager_keep(struct cor_pager *p, struct cor_journal *journal);

/* Goes on where a pager was killed, instead of adding regions and start. The caller has
 * its descriptors, by the same numbers: of the journal and of the userfaultfds, of which
 * those that nobody needs any more are closed. Lanes are added as usual. */
int cor_pager_retake(struct cor_pager *p, struct cor_error *err);

/* Closes every userfaultfd that this process has, as after a pager that was killed when
 * it had put every page in place. */
void cor_pager_close_all_uffds(void);

/* Installs len bytes (whole pages) at run-time address addr, before or after
 * start; what is already there is left alone (returns 0). Thread-safe. Before
 * start the pages are kept and installed by start itself, which is far cheaper
 * than a call each to the running thread. -ENOENT: in no region; -ESRCH: the
 * task ended; -EAGAIN: its mappings kept changing for a second. */
int cor_pager_install(struct cor_pager *p, uint64_t addr, const void *data, size_t len,
		      struct cor_error *err);

/* Switches the prefetcher. Off: only what is referenced moves, and the presence map,
 * so that DRAINED is known when it comes. Before the first call: nothing by itself.
 * Thread-safe. */
void cor_pager_prefetch(struct cor_pager *p, bool on);

/* Run-time addresses worth fetching first, best first (registers, stack); before
 * or after start. Those beyond 256 that wait are ignored. Thread-safe. */
void cor_pager_hint(struct cor_pager *p, const uint64_t *addrs, unsigned n);

/* Readable whenever the state changed or a lane was lost; owned by the pager. */
int cor_pager_event_fd(const struct cor_pager *p);
enum cor_pager_state cor_pager_state(const struct cor_pager *p, struct cor_error *why);
/* Lanes connected now, of the given kind. */
unsigned cor_pager_lanes(const struct cor_pager *p, enum cor_connection_kind kind);
void cor_pager_stats(struct cor_pager *p, struct cor_paging_stats *out);

/* Where the source had transparent huge pages, as far as they could be some again:
 * run-time addresses of 2 MiB each, ascending, malloc'ed, the caller's. Of the task
 * alone, not of its children. From DRAINED on, until finish. */
int cor_pager_huge(struct cor_pager *p, uint64_t **addrs, size_t *n, struct cor_error *err);

/* A range of the task's memory of which pages are not here. */
struct cor_missing {
	uint64_t start, len;    /* run-time addresses, bytes */
	uint64_t pages;         /* that hold data at the source, or may do so */
};

/* Fills up to max ranges, ascending; returns how many. Thread-safe. */
unsigned cor_pager_missing(struct cor_pager *p, struct cor_missing *out, unsigned max);

/* Pages are missing and will never come: from now on who touches one, be it a child that
 * nobody knows of, gets SIGBUS (where the kernel can, 6.6), and no zeros when the
 * userfaultfds are closed. Thread-safe. */
void cor_pager_spoil(struct cor_pager *p);

/* When DRAINED (or TASK_GONE): unregisters every range, closes the userfaultfds
 * and the lanes, joins the thread. -EBUSY while pages are missing. */
int cor_pager_finish(struct cor_pager *p, struct cor_error *err);

/* Stops the thread and frees everything. Where pages are still missing the
 * caller must have made sure that the task is dead or that someone else holds
 * the userfaultfd: its last close turns missing pages into zeros. */
void cor_pager_free(struct cor_pager *p);
