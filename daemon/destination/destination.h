/* The destination's side of a migration, as its files share it: keeper.c starts it all, run.c
 * goes on until the task runs (build.c makes what it consists of), paging.c until no page is
 * missing, release.c to the end; task.c is what outlives all of it, retake.c goes on after a
 * death. */
#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "daemon/config.h"
#include "daemon/control.h"
#include "daemon/doors.h"
#include "daemon/session/session.h"
#include "daemon/session/home.h"
#include "daemon/session/clock.h"
#include "daemon/session/pumps.h"
#include "daemon/worker.h"
#include "libcor/names/net/arrival.h"
#include "libcor/names/net/departure.h"
#include "libcor/names/files.h"
#include "libcor/paging/pager.h"
#include "libcor/task/capture.h"
#include "libcor/task/rebuild.h"
#include "libcor/transport/choice.h"
#include "libcor/transport/rdma.h"
#include "libcor/transport/stream.h"

#define ANSWER_TIMEOUT_MS ((int)d->args->config->timeouts.prepare_s * 1000)

/* What the keeper and its workers share: memory that all of them have mapped, about a
 * table of descriptors that all of them have. Written by a worker ahead of COMMIT, but for
 * what is said to change. */
struct arrival {
	/* descriptors; -1: none (yet) */
	_Atomic int page, listen;       /* the session's, in the state directory */
	_Atomic int journal;            /* the pager's */
	_Atomic int ctl, pidfd;         /* to the supervisor, of the stub or task */
	_Atomic pid_t pid, supervisor;  /* of the task */
	_Atomic uint64_t hooks;
	_Atomic bool check, pack;
	_Atomic bool prefetch;          /* changes */
	_Atomic bool task_ended;        /* set at the drain */
	struct destination_pumps_shared pumps;
};

/* Where we listen for queue pairs, and what they show. */
struct destination_rdma {
	struct cor_rdma *device;        /* NULL: nowhere */
	uint8_t token[COR_RDMA_TOKEN];
};

struct destination {
	const struct worker_destination_args *args;
	struct arrival *shared;
	struct session session;
	struct cor_mechanisms mechanisms;
	struct cor_ctx *ctx;
	struct cor_stream *control;     /* NULL: lost */
	/* lanes before the pager has them: over TCP, and those that came over rdma */
	struct cor_stream *demand, *bulk, *fast_demand, *fast_bulk, *one_sided;
	struct destination_rdma rdma;   /* for lanes; nowhere where the transport is TCP */
	struct destination_rdma reach;  /* for one-sided demand */
	struct doors doors;             /* encrypted ones that are not proved yet */
	const struct cord_peer *peer;   /* whose task it is, by its key; NULL: in the clear */
	struct cor_as_user as;          /* whose rights its names are looked up with, */
	bool limited;                   /* since the peer may not send root's tasks */
	int report;                     /* the supervisor's exit report, on its way to cord */
	int task_listen, task_record;   /* what it gets besides; see task.c */
	struct state_page *task_page;   /* the task's; NULL: not yet */
	struct control_message early;   /* came before the lanes; body NULL: none */
	bool prefetch;
	bool check;                     /* pages are checked as they come */
	bool paging;                    /* lanes that come are replacements */
	uint64_t hooks;                 /* address of the program's hook words; 0: none */
	bool cancelled;
	bool lane_missed;               /* there was no descriptor left for one */
	bool resolved;                  /* a person says that the source is dead */
	uint64_t image_ns;              /* when the image came; cor_now_ns() */
	Cor__Task__Sleepers *sleepers;  /* threads that were told of ahead; NULL: none */
	Cor__Task__Image *image;        /* the skeleton, then the image */
	Cor__Names__FileTable *files;
	Cor__Task__Image *skeleton;     /* once the image is here */
	Cor__Names__FileTable *skeleton_files;
	bool ahead;                     /* descriptors and memory of the skeleton are in place */
	bool *file_ok;                  /* by file of the image */
	struct cor_region *regions;     /* what is lazy */
	unsigned nregions;
	struct session_clocks offsets;  /* of the task's time namespace */
	bool time_ns;
	char listen[256], host[64];     /* the source's cord, as it says itself */
	struct destination_pumps pumps;
	struct cor_rebuild *rebuild;
	struct cor_arrival *arrival;    /* of addresses and connections */
	uint64_t announce_ns;           /* when the network is told of them next; 0: no more */
	pthread_t connector;            /* makes the connections */
	bool connecting;                /* it runs, and has these two */
	int connect_rc;
	struct cor_error connect_error;
	struct cor_pager *pager;
	struct cor_journal *journal;
	uint64_t epoch;                 /* COMMIT's, as told by PREPARE */
	pid_t pid;                      /* the resumed task */
	bool task_ended;                /* before its last page came */
	bool superseded;                /* the source connected anew before COMMIT */
	uint64_t alone_since_ns;        /* no lane leads to the source; 0: one does */
	Cor__Control__Progress last;    /* the figures at the drain */
	struct destination_home home;
	int *objects;                   /* descriptor of object i + 1; behind them, fetched files */
	unsigned nobjects;
	int stub_keep_from;             /* the stub's own descriptors lie from here */
	struct {                        /* huge.c */
		uint64_t *addrs;        /* were in huge pages at the source */
		size_t n;
		int pidfd;              /* of the task; -1: nothing to do */
	} huge;
};

#define DESTINATION_INIT(a, s) { \
	.args = (a), .shared = (s), .report = -1, .task_listen = -1, .task_record = -1, \
	.huge.pidfd = -1, .pumps.watch = { -1, -1 }, \
	.doors = { .fd = -1 }, \
}

/* What a worker does, its exit status: the first one, from the control connection's first
 * message to the end; and one that goes on for another that was killed. */
int destination_receive(const struct worker_destination_args *a, struct arrival *s);
int destination_retake(const struct worker_destination_args *a, struct arrival *s);
/* Ends a worker, for which r is what it came to: tells, lets go of everything. */
int destination_end(struct destination *d, int r, struct cor_error *err);

/* prepare.c. HELLO and its answer: what both sides can, and where the session is kept. */
int destination_hello(struct destination *d, struct cor_error *err);
/* From PREPARE to PREPARED: checks the announced task, and makes ahead what can be. */
int destination_prepare(struct destination *d, struct cor_error *err);
/* What the messages PREPARE and IMAGE carry becomes d->image and d->files; what they were
 * before is kept as what was built ahead. -EPROTO. */
int destination_unpack(struct destination *d, const ProtobufCBinaryData *task,
		       const ProtobufCBinaryData *files, struct cor_error *err);
/* NULL allowed, both. */
void destination_forget(Cor__Task__Image *image, Cor__Names__FileTable *files);

/* lanes.c. Those over TCP come through cord, others by themselves and before them; all must be
 * here before memory is needed. The pager has them then, unless one is needed before that. */
int destination_await_lanes(struct destination *d, struct cor_error *err);
/* Those that the pager has not got yet. */
int destination_hand_lanes(struct destination *d, struct cor_error *err);

/* Takes the control connection that replaces one that the source has lost. */
void destination_rejoin(struct destination *d, struct cor_stream *control);
/* Says that nothing is missing any more, as far as there is a connection. */
int destination_tell_drained(struct destination *d);

/* Before a supervisor is started: report, listen and record of its plan. report[1] is the
 * plan's, report[0] the caller's. */
int destination_task_begin(struct destination *d, struct cor_rebuild_plan *plan,
			   int report[2], struct cor_error *err);
/* The task runs: cord is told, and the state directory. */
void destination_task_arrived(struct destination *d);
/* The same by a worker that goes on for another, which may have done it already. */
void destination_task_found(struct destination *d);
/* The session has ended; a task that has not arrived leaves nothing. */
void destination_task_end(struct destination *d);
/* Room for the transports that a HELLO_REPLY names. */
struct destination_offer {
	char *list[COR_TRANSPORTS];
};

/* Which of HELLO's transports could be had here; o and ask must live as long as reply. */
void destination_offer_transports(struct destination *d, const Cor__Control__Hello *ask,
				  struct destination_offer *o, Cor__Control__Hello *reply);
/* Listens for the lanes of a transport, as TRANSPORT asks, or says why not. */
int destination_hear_transport(struct destination *d, const struct control_message *m,
			       struct cor_error *err);
/* Takes the lanes that have come over it, when this descriptor is readable (-1: none). */
int  destination_rdma_fd(const struct destination_rdma *on);
void destination_accept_rdma(struct destination *d, struct destination_rdma *on);

/* The task is lost: adds to the error, and to the figures, what it lacks. */
void destination_note_missing(struct destination *d, struct cor_error *err);

/* Acts on what cord has said so far, and on encrypted connections that have come further. */
void destination_hear_cord(struct destination *d);

/* Who is at the other end of the first connection, args->control? Shakes hands where it is
 * encrypted. -EKEYREJECTED and others: nobody who may be here. */
int destination_greet(struct destination *d, struct cor_error *err);

/* Takes the rights of the task's user for what follows, where the peer is limited. */
int destination_as_user(const struct destination *d, struct cor_as_user_saved *saved,
			struct cor_error *err);

/* May the peer send a task with this identity and these capabilities? -EPERM names what it
 * may not. */
int destination_permit(struct destination *d, const Cor__Task__Image *image,
		       struct cor_error *err);

/* build.c. A fresh supervisor and stub for d->image. */
int destination_build_begin(struct destination *d, struct cor_error *err);
/* Descriptors and memory, as much as can be before the freeze: d->ahead. That it cannot (the
 * task holds an address or a lock that both hosts see, or shared memory) is no failure:
 * then all of it is done in the freeze. */
int destination_build_ahead(struct destination *d, struct cor_error *err);
/* The threads of d->sleepers, which were sent from_ns (cor_now_ns()), where it is d->ahead. */
int destination_build_sleepers(struct destination *d, uint64_t from_ns, struct cor_error *err);
/* What has changed since, or all of it. */
int destination_build_in_freeze(struct destination *d, struct cor_error *err);

/* network.c: chooses where the addresses will be, and checks. */
int destination_network_begin(struct destination *d, struct cor_error *err);
/* What to tell of them in PREPARED: how many. */
size_t destination_hardware(struct destination *d, ProtobufCBinaryData out[COR_ADDRESSES_MAX]);
/* Begins to make the connections of d->files, whose sockets are in the stub; waits for
 * them; forgets them, since the stub goes. */
void destination_connect(struct destination *d);
int  destination_connected(struct destination *d, struct cor_error *err);
void destination_disconnect(struct destination *d);
/* Behind COMMIT, before the task runs. */
void destination_network_take(struct destination *d);
/* Once it runs, now and then: tells the network where its addresses are, when that is due
 * (d->announce_ns); and as often as it remains to be told. */
void destination_announce(struct destination *d);
void destination_announce_all(struct destination *d);

/* Pages until nothing is missing or the task has ended. -EIO, -ETIMEDOUT (the source
 * was out of reach for too long) and others: it is lost. */
int destination_page(struct destination *d, struct cor_error *err);
/* Tells the source, and waits until its ghost is gone. */
int destination_release(struct destination *d, struct cor_error *err);
/* Brings d->last up to date. */
void destination_look(struct destination *d);
/* It goes on its way to the source, and to cord. */
void destination_report(struct destination *d);

/* While the pager still knows: notes where the source had huge pages. */
void destination_huge_begin(struct destination *d);
/* Behind the release: makes them again, while the task runs, and tells the source. */
void destination_huge(struct destination *d);
void destination_huge_end(struct destination *d);
