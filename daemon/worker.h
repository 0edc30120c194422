/* The contract between cord and its workers.
 *
 * cord itself never traces or parses a task. Each migration runs in a worker
 * process forked from it: a source worker where the task leaves, a destination
 * worker where it arrives. A worker is the leader of a session of its own, holds
 * none of cord's sockets but those in its arguments, and outlives cord.
 *
 * Both talk over a SOCK_SEQPACKET socket: one JSON object per message, at most
 * WORKER_MESSAGE_MAX bytes, descriptors attached by SCM_RIGHTS. The worker's end
 * blocks. When cord is gone, sending gives -EPIPE and receiving gives 0; neither
 * is a reason to stop.
 *
 * Worker to cord, by "type":
 *
 *   session  {"id":HEX,"secret":HEX,"role":"destination","pid":N,"comm":S,"peer":S}
 *            The destination worker's session, as told by the source. To be sent
 *            before the source is told to connect its lanes.
 *   status   {"state":STATE, ...figures}: merged into cord's record of the session
 *            and streamed to the clients that wait.
 *   arrived  {"pid":N,"supervisor":N,"comm":S,"from":S,"hooks":N} with one descriptor: the
 *            socket on which the task's supervisor reports its end (struct
 *            cor_rebuild_exit, or end of file).
 *   refused  {"what":S,"why":S}: a connection that cord has handed over had no right to
 *            be here; for the log
 *   result   {"ok":BOOL,"exit":0|1|3,"error":S, ...figures}: the last message. A
 *            worker that ends without has failed, but for a destination worker
 *            whose task runs: its exit status 0 is as good.
 *
 * cord to worker:
 *
 *   cancel   give up, if the task was not committed yet
 *   resolve  a person says that the other host is dead
 *   go       the task that is to leave has all of its pages now
 *   prefetch fetch everything soon: the task is to move on
 *   lane     {"kind":"demand"|"bulk"|"control","index":N,"tls":BOOL} with one descriptor: a
 *            connected socket behind its answered preamble; with TLS its handshake is
 *            still to come, and the proof of the secret with it; a control channel replaces
 *            the session's own, which the source has lost
 *
 * Figures, all optional: pid, destination_pid, comm, peer, transport, freeze_us,
 * drain_us, pages, pages_total, pages_demand, pages_prefetched, pages_zero,
 * bytes_wire, faults, fault_us {p50, p90, p99, max}, error. Others are kept and
 * shown as they are.
 *
 * States (cord acts on these names; see worker_state_parse):
 *
 *   prepare  the task runs on the source; nothing was committed
 *   freeze   the task is stopped on the source
 *   commit   only the destination may run it from here on
 *   in-doubt the source has lost touch and does not know whether it was taken over
 *   paging   it runs on the destination, pages are still at the source
 *   drained  every page has arrived
 *   released the ghost is gone: the good end
 *   aborted  it runs on the source as if nothing had happened
 *   lost     it runs nowhere
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "libcor/names/mechanism.h"

struct cord_config;

#define WORKER_MESSAGE_MAX 65536

struct worker_source_args {
	char     id[33];          /* the session's identity, 32 hex digits */
	uint8_t  session[16];     /* the same in bytes, as in preambles */
	uint8_t  secret[32];      /* what a lane of this session must show */
	pid_t    pid;             /* the task, as cord sees it */
	char     dest[256];       /* ADDR:PORT of the destination's cord */
	char     peer[256];       /* the same as it was named */
	bool     wait_for_go;     /* the task's pages are still arriving: begin at "go" */
	bool     settle;          /* to this host itself: its home's files are copied first */
	bool     prefetch;        /* false: only what is referenced moves */
	bool     outside;         /* it may come to lead to others while this is prepared */
	char     transport[32];   /* "": the best both sides have */
	cor_mechanism_set without;/* mechanisms that this migration does not use */
	uint64_t epoch;           /* of this hand-over of the task: one more than of the last */
	const uint8_t *arrived;   /* the session by which the task has come here; NULL: by none */
	char   **addresses;       /* that move along, "ADDR/PREFIX[@IFACE]", NULL at the end; or NULL */
	uint64_t hooks;           /* address of the program's hook words; 0: none */
	int64_t  owner;           /* the user whose it must be still when it stops; -1: anybody's */
	int      cord;            /* socket to cord */
	const struct cord_config *config;
};

/* undo: what a worker that has died had noted in the state directory (state_undo()). */
struct worker_mend_args {
	char     id[33];
	uint8_t  session[16];
	int      undo;
	const struct cord_config *config;
};

struct worker_destination_args {
	int      control;         /* the accepted control connection, its preamble answered */
	bool     tls;             /* its handshake is to come: whose it is, is not known yet */
	char     peer[128];       /* the other side's address, for messages */
	int      cord;            /* socket to cord */
	const struct cord_config *config;
};

/* Each runs in a forked worker process and returns its exit status. */
int session_source_run(const struct worker_source_args *args);
int session_source_obituary(const struct worker_source_args *args);
int session_source_mend(const struct worker_mend_args *args);
int session_destination_run(const struct worker_destination_args *args);

/* What cord runs in its workers; tests put their own here. */
struct worker_ops {
	int (*source)(const struct worker_source_args *args);
	int (*destination)(const struct worker_destination_args *args);
	/* The workers of a committed session have died, all of them, and the ghost with
	 * them: the destination is told. NULL: it is not. args->cord is -1. */
	int (*obituary)(const struct worker_source_args *args);
	/* The source's worker has died before COMMIT, and the task goes on: it gets back what
	 * was taken from it. NULL: it does not. */
	int (*mend)(const struct worker_mend_args *args);
};
