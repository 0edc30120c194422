/* What the files of the pager share. One thread runs all of it, except for the
 * functions of pager.h, which hand their wishes over (pager_control.c).
 *
 *	pager.c          life cycle
 *	pager_control.c  commands from other threads, state, statistics
 *	pager_loop.c     the thread and its ring
 *	pager_event.c    reading userfaultfds: faults and events, address spaces
 *	pager_fault.c    one slot per waiting page: how a fault is resolved
 *	pager_missing.c  what will never come
 *	pager_lane.c     requests out, replies in
 *	pager_reply.c    what a reply means
 *	pager_journal.c  what another pager needs to go on from where this one dies
 *	install.c        putting runs of pages in place
 *	prefetch.c       what to ask for next in bulk
 *	pace.c           when: out of the way of faults; and whether it waits for the source
 */
#pragma once

#include <liburing.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <sys/queue.h>

#include "libcor/paging/journal.h"
#include "libcor/paging/pager.h"
#include "libcor/paging/space.h"
#include "libcor/paging/trend.h"
#include "libcor/paging/wire.h"

#define PAGE (1ull << COR_PAGE_SHIFT)

/* A task's address space (x86-64, four-level page tables); as a rule nothing is mapped
 * below LOWEST. */
#define PAGER_LOWEST   (1ull << 16)
#define PAGER_TASK_END 0x7ffffffff000ull

#define PAGER_SLOTS      1024u      /* pages waited for at once */
#define PAGER_CHAINS     1024u      /* of the hash that finds them */
#define PAGER_HELD       64u        /* pages that came while they could not be installed */
#define PAGER_LANES      16u
#define PAGER_HINTS      256u
#define PAGER_DEPTH      256u       /* unanswered requests of one lane */
#define PAGER_SPOILED    8u         /* spoiled replies in a row: the lane is no good */
#define PAGER_RUN        64u        /* pages in one bulk request: 256 KiB */
#define PAGER_WINDOW     8u         /* bulk requests in flight on one lane: 2 MiB */
#define PAGER_PIECE      16u        /* pages installed at once while a fault waits */
#define PAGER_PRESENCE   32768u     /* pages in one presence request: 128 MiB, */
#define PAGER_VOID       (1u << 22) /* and up to 16 GiB where there is nothing */

/* In the midst of a drain: what is worth waking for, in bytes or time; and what must have come
 * between two waits. */
#define PAGER_NAP_BYTES  (512u << 10)
#define PAGER_NAP_NS     (400 * 1000ull)
#define PAGER_NAP_LEAST  (16u << 10)

/* A peer that answers within NEAR is worth spinning for, so long at the most. */
#define PAGER_NEAR_NS     (150 * 1000ull)
#define PAGER_SPIN_NS     (200 * 1000ull)
#define PAGER_TRY_SPIN    16u

/* Longest wait inside one attempt for the mappings to stop changing. */
#define PAGER_PATIENCE_NS (50 * 1000ull)
/* And how often it is tried besides, at some time within so long. */
#define PAGER_STORM_TRIES 16u
#define PAGER_STORM_NS    (32 * 1000)
/* A lane of a better kind than TCP's that has answered nothing for so long is lost. */
#define PAGER_SILENCE_NS  (10 * 1000000000ull)
/* How long memory may be short before the pager gives up. */
#define PAGER_STARVED_NS  (10 * 1000000000ull)

/* One address space that is served: the task's, or a forked child's. */
struct pager_mm {
	TAILQ_ENTRY(pager_mm) link;
	struct cor_space space;
	int uffd;
	unsigned refs;          /* the list, the ring's poll, slots, requests */
	unsigned waiting;       /* slots of it */
	bool root, gone, readable;
	bool unserved;          /* its map could not be made: kept open, not answered */
	uint64_t cursor;        /* where the prefetcher goes on: behind the last fault */
	uint32_t id;            /* in the journal */
	struct cor_trends trends;
};

TAILQ_HEAD(pager_mms, pager_mm);

enum slot_state {
	SLOT_FREE,
	SLOT_FRESH,             /* to be looked at */
	SLOT_UNSENT,            /* must be asked for */
	SLOT_SENT,
	SLOT_COMING,            /* asked for in bulk already: it is on its way */
	SLOT_HELD,              /* could not be installed yet */
	SLOT_STUCK,             /* cannot be had: the pager has failed */
	SLOT_STATES
};

/* What the source said about a page; status 0: nothing. */
struct pager_answer {
	uint8_t status;         /* enum cor_page_status */
	void *data;
};

/* One page that somebody waits for. */
struct pager_slot {
	TAILQ_ENTRY(pager_slot) link;
	LIST_ENTRY(pager_slot) chain;
	enum slot_state state;
	bool landed;            /* came by another way meanwhile */
	bool expected;          /* the thread's faults have a trend, and this one is in it */
	bool waited;            /* for what was on its way, in vain */
	uint32_t tid;           /* of the thread, as far as the kernel tells; 0 */
	uint64_t coming_until;  /* COMING: then it is asked for */
	struct pager_mm *mm;
	uint64_t addr;
	uint64_t since;         /* when the fault was read */
	struct cor_presence *presence;   /* what was asked for: this page of it */
	uint64_t index;
	struct pager_answer answer;
};
TAILQ_HEAD(pager_slots, pager_slot);

/* One unanswered request; which of the members are set depends on what for. */
struct pager_request {
	struct cor_page_request wire;
	uint64_t sent_at;
	struct pager_slot *slot;         /* for a fault */
	struct pager_mm *mm;             /* in bulk: where to, */
	uint64_t addr;
	struct cor_track *track;         /* and from where */
	uint64_t index;
	struct cor_presence *presence;   /* a presence request, */
	uint64_t found;                  /* and the runs that it has brought */
};

enum lane_phase { LANE_HEADER, LANE_PAYLOAD, LANE_REPLY };

struct pager_lane {
	struct cor_stream *stream;      /* NULL: lost */
	enum cor_connection_kind kind;
	bool one_sided;         /* it has some pages only (reach.h) */
	bool open;
	bool readable;          /* no receive has found it empty since it was ready */
	bool spinning;          /* it is looked at all the time */
	bool naps;              /* in_fd tells of PAGER_NAP_BYTES, or of the end, only */
	uint64_t best_ns, mean_ns;       /* that a demand request takes of late; 0: none yet */
	unsigned spared;        /* one_sided: requests that it was too slow for */
	size_t heard;           /* bytes since the last time that nothing was left */
	bool unwatched;         /* and so the ring may not tell of what has come since */
	bool blocked;           /* a write would */
	bool polled, polled_out;
	/* requests, oldest first: [head, sent) are on their way, [sent, tail) wait */
	unsigned head, sent, tail;
	unsigned partial;       /* bytes of request sent that are already gone */
	struct pager_request queue[PAGER_DEPTH];
	/* the reply that is coming in */
	enum lane_phase phase;
	struct cor_page_reply reply;
	size_t header_got, need, got;
	size_t carry_at, carry; /* bytes in buf that belong to what follows */
	uint64_t answered;      /* pages of the oldest request */
	unsigned spoiled;       /* replies since the last intact one */
	uint64_t placed;        /* pages of this reply that are dealt with */
	unsigned char *buf;
	unsigned buf_pages;
	unsigned char *data;    /* the reply's pages: in buf, or in plain */
	unsigned char *plain;   /* of packed ones, as large as buf; NULL: none has come yet */
};

/* Pages that cor_pager_install() got before there was a userfaultfd. */
struct pager_early {
	struct pager_early *next;
	uint64_t addr;
	size_t len;
	unsigned char data[];
};

struct pager_command {
	STAILQ_ENTRY(pager_command) link;
	int (*run)(struct cor_pager *p, struct pager_command *c);
	int result;
	bool done;
	struct cor_error *err;
	union {
		struct { struct cor_stream *stream; enum cor_connection_kind kind; } lane;
		struct { uint64_t addr; const void *data; size_t len; } install;
		struct { const uint64_t *addrs; unsigned n; } hint;
		struct { uint64_t **addrs; size_t *n; } huge;
		struct { struct cor_missing *out; unsigned max; } missing;
	};
};
STAILQ_HEAD(pager_commands, pager_command);

/* What the bulk lanes are for. */
enum pager_prefetching {
	PAGER_NO_BULK,          /* not said yet: nothing */
	PAGER_PRESENCE_ONLY,
	PAGER_PREFETCH,
};

struct cor_pager {
	/* the pager's thread alone */
	struct io_uring ring;
	struct pager_mms mms;
	struct pager_mm *root;
	struct cor_presence **presences;
	unsigned npresences;
	struct cor_region *set;          /* by cor_pager_set_regions() */
	unsigned nset;
	unsigned unknown;                /* presences whose map is incomplete */
	bool presence_asked;             /* one such request is in flight, */
	uint32_t presence_pages;         /* and the next is to ask for so many */
	struct pager_slot slots[PAGER_SLOTS];
	struct pager_slots lists[SLOT_STATES];
	LIST_HEAD(, pager_slot) chains[PAGER_CHAINS];
	void *held_pages;
	void *held_free[PAGER_HELD];
	unsigned nheld_free;
	struct pager_lane *lanes[PAGER_LANES];
	uint64_t hints[PAGER_HINTS];
	unsigned nhints;
	unsigned asked;                  /* demand requests on their way */
	uint64_t spin_ns;                /* how long for a reply, at the most */
	uint64_t spin_until;
	bool check;                      /* replies are to be checked */
	bool may_pack;                   /* the source can pack pages */
	bool hungry;                     /* pace.c: more time goes in waiting than in work */
	uint64_t waited_ns, hungry_since; /* since then, for bulk pages */
	uint64_t rtt_ns;                 /* the best of late of a demand request */
	uint32_t random;                 /* pace.c: when to try again in a storm */
	unsigned unspun;                 /* faults without spinning */
	uint64_t surprised_at;           /* pace.c: the last fault that nobody could expect */
	uint64_t need_ns;                /* for how long they have followed each other closely */
	uint64_t gap_ns;                 /* between two of them, of late */
	uint64_t bulk_worked_at;         /* the end of the last bulk work */
	uint64_t bulk_free_at;           /* when the next may begin */
	uint64_t alarm_at;               /* when the ring's timer goes off; 0: it is not set */
	struct __kernel_timespec alarm;
	bool stalled;                    /* bulk data waits for mappings to settle */
	uint64_t short_since;            /* memory is short since */
	unsigned polls;                  /* armed in the ring, control aside */
	bool leave;                      /* the thread is to end */
	struct pager_early *early;       /* pages given before start */
	struct cor_journal *journal;     /* borrowed; NULL: none */
	uint32_t next_mm;                /* the id of the last address space */
	uint64_t started_at;
	/* written by the thread, copied by others without a lock */
	struct cor_paging_stats stats;
	/* shared */
	atomic_int prefetch;             /* enum pager_prefetching */
	atomic_int state;
	atomic_uint nlanes[4];           /* by kind */
	int control_fd;                  /* commands wait, or the prefetcher was switched */
	int event_fd;
	bool running;
	bool threaded;                   /* the thread is there, parked until start */
	sem_t begin;
	pthread_t thread;
	pthread_mutex_t lock;            /* of what follows */
	pthread_cond_t answered;
	struct pager_commands commands;
	bool closed;                     /* commands are no longer taken */
	struct cor_error error;
};

/* A counter that others read. */
#define PAGER_COUNT(p, field, n) \
	__atomic_store_n(&(p)->stats.field, (p)->stats.field + (n), __ATOMIC_RELAXED)

/* pager_control.c */
int  pager_command(struct cor_pager *p, struct pager_command *c);
void pager_run_commands(struct cor_pager *p);
void pager_refuse_commands(struct cor_pager *p);
void pager_set_state(struct cor_pager *p, enum cor_pager_state state);
void pager_notify(struct cor_pager *p);
/* Only the first failure is kept. */
void pager_fail(struct cor_pager *p, int code, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* pager_loop.c */
int   pager_ring_init(struct cor_pager *p, struct cor_error *err);
void *pager_thread(void *p);
void  pager_poll_mm(struct cor_pager *p, struct pager_mm *mm);
void  pager_poll_lane(struct cor_pager *p, struct pager_lane *l);
void  pager_poll_lane_out(struct cor_pager *p, struct pager_lane *l);
void  pager_unpoll(struct cor_pager *p, void *what);

/* pager_event.c */
struct pager_mm *pager_mm_new(struct cor_pager *p, int uffd);
void pager_mm_ref(struct pager_mm *mm);
void pager_mm_unref(struct pager_mm *mm);
/* The address space ended, or needs us no more. */
void pager_mm_close(struct cor_pager *p, struct pager_mm *mm);
int  pager_mm_unregister(struct pager_mm *mm);
/* One message of mm's userfaultfd. */
void pager_mm_event(struct cor_pager *p, struct pager_mm *mm, const struct uffd_msg *m);
/* Lets all that wait for its pages look again. */
void pager_mm_wake(struct pager_mm *mm);
/* Reads everything there is: events are handled, faults queued as fresh slots. */
void pager_mm_read(struct cor_pager *p, struct pager_mm *mm);
/* Closes what is complete, notices what is gone, says DRAINED. */
void pager_check_done(struct cor_pager *p);
void pager_probe_mms(struct cor_pager *p);

/* pager_journal.c, where there is a journal */
int pager_journal_prepare(struct cor_pager *p, struct cor_error *err);
int pager_journal_start(struct cor_pager *p, struct cor_error *err);
int pager_journal_take(struct cor_pager *p, struct cor_error *err);
struct uffd_msg *pager_journal_room(struct cor_pager *p, const struct pager_mm *mm, unsigned n);
/* What read(2) gave in the room; len < 0: nothing. */
void pager_journal_read(struct cor_pager *p, const struct uffd_msg *m, ssize_t len);
/* Or where there is none. */
void pager_journal_closed(struct cor_pager *p, const struct pager_mm *mm);

/* pager_fault.c */
void pager_slots_init(struct cor_pager *p);
void pager_slots_fini(struct cor_pager *p);
void pager_fault_new(struct cor_pager *p, struct pager_mm *mm, uint64_t addr, uint32_t tid);
void pager_fault_work(struct cor_pager *p);
void pager_fault_send(struct cor_pager *p);
/* The reply for a sent slot; a.data is only borrowed. */
void pager_fault_answer(struct cor_pager *p, struct pager_slot *s, struct pager_answer a);
void pager_fault_lost(struct cor_pager *p, struct pager_slot *s);
/* Those that wait for bulk data ask themselves when it is late. Returns ns until the
 * next one does, UINT64_MAX: none waits. */
uint64_t pager_fault_late(struct cor_pager *p);
void pager_fault_stuck(struct cor_pager *p, struct pager_slot *s);
/* Pages were installed otherwise: whoever waits for one of them has it now. */
void pager_fault_landed(struct cor_pager *p, struct pager_mm *mm, uint64_t addr, uint64_t n);

/* pager_lane.c */
int  pager_lane_open(struct cor_pager *p, struct cor_stream *stream, enum cor_connection_kind kind,
		     struct cor_error *err);
void pager_lane_lost(struct cor_pager *p, struct pager_lane *l);
void pager_lane_free(struct pager_lane *l);
void pager_probe_lanes(struct cor_pager *p);
/* NULL when the queue is full. The caller fills it and then pushes. */
struct pager_request *pager_lane_request(struct pager_lane *l);
void pager_lane_push(struct cor_pager *p, struct pager_lane *l);
void pager_lane_flush(struct cor_pager *p, struct pager_lane *l);
/* How long one may sleep while lanes do not tell of everything; and what follows. */
uint64_t pager_nap(const struct cor_pager *p);
void pager_nap_over(struct cor_pager *p);
/* One unit of work on what came in; false: nothing to do just now. */
bool pager_lane_work(struct cor_pager *p, struct pager_lane *l);
/* The lane that faults go to; NULL: none. */
struct pager_lane *pager_demand_lane(struct cor_pager *p);
/* The one that has this page for a request for it alone, without a page server; NULL: none. */
struct pager_lane *pager_reach_lane(struct cor_pager *p, uint16_t object, uint64_t offset);
/* Of the bulk lanes only those of this rank are used; the others are spare. */
unsigned pager_bulk_rank(struct cor_pager *p);
static inline unsigned pager_lane_unanswered(const struct pager_lane *l)
{
	return l->tail - l->head;
}
static inline struct pager_request *pager_lane_oldest(struct pager_lane *l)
{
	return &l->queue[l->head % PAGER_DEPTH];
}

/* pager_reply.c */
/* Is this what the oldest request may be answered with? Sets l->need. */
bool pager_reply_valid(struct pager_lane *l);
/* Deals with the reply in l, or with a part of it; true when all is done. */
bool pager_reply(struct cor_pager *p, struct pager_lane *l);
/* Lets the oldest request go; pages that did not come are wanted again. */
void pager_request_end(struct cor_pager *p, struct pager_request *rq);

/* install.c */
enum install_result { INSTALL_DONE, INSTALL_LATER, INSTALL_FAILED };
/* Source pages [index, index+n) of pr, whose bytes are at data, go to run-time
 * address addr in mm, as far as they still belong there and are missing. *done
 * counts pages dealt with, *fresh the ones really installed. At most limit pages
 * are installed by one call. */
enum install_result pager_install_run(struct cor_pager *p, struct pager_mm *mm, uint64_t addr,
				      const struct cor_presence *pr, uint64_t index, uint64_t n,
				      const unsigned char *data, uint64_t limit,
				      uint64_t *done, uint64_t *fresh);
int pager_run_install(struct cor_pager *p, struct pager_command *c);
/* Installs what was given before start, and lets it go. */
int pager_install_early(struct cor_pager *p, struct cor_error *err);
void pager_drop_early(struct cor_pager *p);

/* pace.c */
void pager_surprised(struct cor_pager *p);
/* Pages in a bulk request just now, and installed at once; and requests in flight on a lane. */
unsigned pager_bulk_piece(const struct cor_pager *p);
unsigned pager_bulk_window(const struct cor_pager *p);
/* How long bulk work has to wait, ns; 0: it may be done. And when to look, if nothing else
 * wakes the loop before. */
uint64_t pager_bulk_wait(const struct cor_pager *p);
uint64_t pager_bulk_alarm(const struct cor_pager *p);
/* Some was done. */
void pager_bulk_worked(struct cor_pager *p, uint64_t since);
/* To place something while the mappings change: is it to be tried again now (which may take some
 * microseconds to come to), or later? Begins as { 0 } with each attempt. */
struct pager_storm {
	uint64_t deadline;
	unsigned pauses;
};
bool pager_try_again(struct cor_pager *p, struct pager_storm *s);
/* The ring was waited for since then. */
void pager_waited(struct cor_pager *p, uint64_t since);
/* Does more time go in waiting for bulk pages than in anything else? */
bool pager_hungry(struct cor_pager *p, uint64_t now);

/* prefetch.c */
/* Sends for what the thread that faulted at addr will want next. */
void pager_look_ahead(struct cor_pager *p, struct pager_lane *l, struct pager_mm *mm,
		      uint32_t tid);
bool pager_prefetching(struct cor_pager *p);
void pager_prefetch_step(struct cor_pager *p);
void pager_hint_add(struct cor_pager *p, const uint64_t *addrs, unsigned n);
