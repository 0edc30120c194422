/* The source's side of a migration, as its files share it: run.c goes up to COMMIT, by the way
 * of freeze.c. From there on there are two processes: the tracer, which keeps the ghost
 * (keeper.c), and the serving part (server.c, paging.c), which it has started ahead of the
 * freeze (serving.c). */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "daemon/config.h"
#include "daemon/session/session.h"
#include "daemon/session/home.h"
#include "daemon/session/pumps.h"
#include "daemon/session/standin.h"
#include "daemon/session/transport.h"
#include "daemon/worker.h"
#include "libcor/names/net/departure.h"
#include "libcor/names/files.h"
#include "libcor/paging/reach.h"
#include "libcor/paging/server.h"
#include "libcor/task/capture.h"
#include "libcor/task/ghost.h"
#include "libcor/task/hooks.h"
#include "libcor/task/tracee.h"
#include "libcor/transport/lane.h"

#define CONNECT_TIMEOUT_MS ((int)s->args->config->timeouts.connect_s * 1000)
#define SOURCE_RETRY_FOR_NS 2000000000ull /* short-lived children, threads being born */
#define ANSWER_TIMEOUT_MS  ((int)s->args->config->timeouts.prepare_s * 1000)

struct control_message;

/* Has the ghost's memory registered, by its tracer; see reach.c. */
struct source_registrar {
	struct cor_reach_registrar base;
	struct cor_rdma *device;        /* the queue pair's, which has a reference */
	int link;                       /* to the tracer, the source's */
	uint64_t at;
	bool given, failed;             /* the ghost has, or cannot have, the device's descriptor */
};

struct source {
	const struct worker_source_args *args;
	struct session session;
	struct cor_mechanisms mechanisms;
	struct cor_tls *keys;           /* until the control channel stands; NULL: in the clear */
	const char *psk;                /* what of keys is shown; see cord_keys_psk() */
	struct cor_departure *departure; /* of addresses and connections; NULL: none move */
	uint64_t forwarded;             /* packets that have come for its addresses since */
	bool all_first;                 /* it fetches all pages before it says READY */
	bool same_netns;                /* the destination is in our network namespace */
	struct cor_stream *control;     /* NULL: lost */
	struct cor_transports transports; /* that may be used; behind HELLO: that both have */
	char transport[COR_TRANSPORT_TEXT]; /* that is used */
	/* the serving part's lanes before they are served: over TCP, and beside these of a better
	 * transport (NULL: none) */
	struct cor_stream *demand, *bulk, *fast_demand, *fast_bulk;
	struct cor_capture_options options;
	struct cor_waits waits;         /* those that it has brought along, or was let go in */
	struct cor_sleepers sleepers;   /* read ahead of the freeze, where options have them */
	Cor__Task__Image *skeleton, *image;
	Cor__Names__FileTable *files;   /* of the last capture */
	struct cor_files_object *extra; /* objects only reachable by a descriptor */
	unsigned nextra;
	struct cor_tracee *tracee;
	struct cor_page_server *server;
	struct cor_source *memory;      /* the tracer's; the serving part's is a copy */
	int reach_link;                 /* between tracer and serving part, for one-sided demand; -1 */
	struct cor_ghost ghost;         /* the tracer's: what of the ghost's memory it is for */
	struct source_registrar registrar;      /* the serving part's, */
	struct cor_reach_owner *reach;  /* NULL: no one-sided demand */
	uint64_t freeze_from_ns, captured_ns, ready_ns;
	bool undo_noted;                /* see undo.c */
	uint64_t undo_digest;
	uint64_t looked_ns;             /* that the task has stood still ahead of the freeze */
	struct source_pumps pumps;
	struct source_standin standin;
	struct cor_hooks hooks;
	bool have_hooks;
	bool parked;                    /* the task's addresses and locks are the destination's */
	bool refused;                   /* the destination has given up, not having seen COMMIT */
	bool moved;                     /* it has all pages */
	bool resolved;                  /* a person says that the destination is dead */
	int link;                       /* between tracer and serving part; -1 */
	pid_t server_pid;               /* the tracer's: the serving part; 0: none */
	bool first_join;                /* the serving part's: it has no connection yet */
	bool serving;                   /* the tracer's: it has been told to */
	bool tracer_died;               /* the serving part's */
	enum session_state end;         /* the tracer's: what the last verdict came to */
	struct source_home home;
	bool huge_follow;                  /* it will say when the task is as it was at home */
	uint64_t mend_ns;               /* connections are looked after again then */
	uint64_t lost_ns;               /* since when one is missing */
};

/* cord.c: has cord asked to give up? *go (NULL allowed): set when it said go. */
bool source_cancelled(struct source *s, bool *go);
/* Waits until it says go, where it is to. -ECANCELED; -ENOTCONN: it has ended. */
int source_await_go(struct source *s, struct cor_error *err);

/* connect.c: a connection to the destination's cord, which fails when the other side is silent, and
 * is encrypted where there are keys. */
int source_connect(const struct source *s, enum cor_connection_kind kind, const uint8_t *session,
		   const uint8_t *secret, int timeout_ms, struct cor_stream **out,
		   struct cor_error *err);
/* The destination's ABORT as an error of ours, which names it. */
int source_refused(const struct source *s, const struct control_message *abort,
		   struct cor_error *err);

/* Room for the transports that a HELLO names. */
struct source_offer {
	char *list[COR_TRANSPORTS];
};

/* HELLO's transports; o must live as long as h. */
void source_offer_transports(struct source *s, struct source_offer *o, Cor__Control__Hello *h);
/* Settles s->transports. -EPROTONOSUPPORT: the only ones that were asked for are not
 * common to both. */
int source_agree_transports(struct source *s, const Cor__Control__Hello *reply,
			    struct cor_error *err);
/* The serving part's: sets up the best of them, with the lanes that are its own. Fails only
 * where the control channel does, on which the tracer asks for it: */
int source_connect_transport(struct source *s, struct cor_error *err);
int source_answer_transport(struct source *s, const json_t *ask);
/* Notes what is used. */
void source_transport_set(struct source *s, const char *name);

/* reach.c: one-sided demand, beside the lanes of transport. The serving part's:
 * is it to be had; begin, with a queue pair of device, which the owner takes; what cor status
 * shows of it; and the end, while the ghost still is. */
bool source_reach_wanted(const struct source *s, const char *transport);
int  source_reach_begin(struct source *s, struct cor_rdma *device, struct cor_rdma_qp *qp,
			struct cor_error *err);
void source_reach_figures(struct source *s);
void source_reach_stop(struct source *s);
/* The tracer's: when this descriptor is readable (-1: not yet, or no more), does what the
 * serving part asks. At the end, and where the ghost is to become something else, nothing is
 * left of it there. */
int  source_reach_fd(const struct source *s);
void source_reach_obey(struct source *s);
void source_reach_end(struct source *s);

/* network.c: addresses that move along, and connections. Finds them,
 * the task running; then waits until nothing is half done that nobody could carry. */
int source_network_begin(struct source *s, struct cor_error *err);
int source_network_settle(struct source *s, struct cor_error *err);
/* In the freeze: is what was captured as it was read? -EAGAIN: another one is worth it. */
int source_network_check(struct source *s, struct cor_error *err);
/* The stopped task's addresses go. Undone before a thaw, or done with behind COMMIT. */
int source_network_leave(struct source *s, struct cor_error *err);
void source_network_undo(struct source *s);
void source_network_done(struct source *s);
/* Sends on what has come for the addresses since. */
void source_network_forward(struct source *s);

/* undo.c: notes what may be taken from the task from here on, or has been, for the case that we
 * die; once it has all back, or is elsewhere, that is forgotten. */
int  source_undo_note(struct source *s, struct cor_error *err);
/* The same in the freeze, if there are other names or locks now. */
int  source_undo_renew(struct source *s, struct cor_error *err);
void source_undo_forget(struct source *s);

/* objects.c: the task's descriptors, into s->files and s->extra; -EAGAIN: they
 * changed while they were read. image: what the memory capture found. */
int source_capture_files(struct source *s, const Cor__Task__Image *image, struct cor_error *err);
/* The same for the skeleton, and a task that need not be stopped. */
int source_capture_running_files(struct source *s, struct cor_error *err);
/* Marks, and completes, what of the image's shared memory s->files lead to. */
int source_note_descriptor_objects(struct source *s, Cor__Task__Image *image,
				   struct cor_error *err);
/* look.c: has the task stand still for as long as look takes; and when it went on, in what it
 * waited for. t NULL: it has not been stopped. */
uint64_t source_let_go(struct source *s, struct cor_tracee *t);
int  source_look(struct source *s,
		 int (*look)(struct source *s, struct cor_tracee *t, struct cor_error *err),
		 struct cor_error *err);
/* filters.c: may the image's seccomp filters go along? And ahead of the freeze: can they be read,
 * and moved? The skeleton has them then. */
int source_check_filters(struct source *s, const Cor__Task__Image *image, struct cor_error *err);
int source_read_filters(struct source *s, struct cor_error *err);
/* mapped.c: settles which of the files that the image maps shared must be the very files there
 * (File.use); can they be? With s->files of the same moment. */
int source_check_mapped(struct source *s, Cor__Task__Image *image, struct cor_error *err);
/* Ahead of settling, with the skeleton: is there none that a copy could not be for? */
int source_check_settled(struct source *s, struct cor_error *err);
/* Has the page server serve the image's shared memory. */
int source_give_image_objects(struct source *s, const Cor__Task__Image *image,
			      struct cor_error *err);

/* ---- the tracer ------------------------------------------------------------------------- */

/* freeze.c: may the user who asked for it move this task? -EPERM. frozen: the image is a
 * stopped task's. */
int  source_check_owner(const struct source *s, const Cor__Task__Image *image, bool frozen,
			struct cor_error *err);
/* Stops the task and reads it, into s->image and s->files; as often as something short-lived
 * is in the way. */
int  source_freeze(struct source *s, struct cor_error *err);
/* Of a stopped task: its addresses and locks are the destination's; and is the server that was
 * started ahead still one for it? */
int  source_park(struct source *s, struct cor_error *err);
int  source_check_server(struct source *s, struct cor_error *err);
/* Lets the task go on as if nothing had happened. */
void source_thaw(struct source *s);

/* serving.c. Ahead of the freeze: starts the serving part, which connects the lanes. */
int  source_start_server(struct source *s, struct cor_error *err);
/* Has it serve the task's memory, with n objects of shared memory (fds, in order, the
 * caller's). Its word on that is waited for, or only looked at. */
int  source_give_objects(struct source *s, const int *fds, unsigned n, struct cor_error *err);
int  source_await_serving(struct source *s, struct cor_error *err);
int  source_check_serving(struct source *s, struct cor_error *err);
/* Before COMMIT: it is not needed. */
void source_end_server(struct source *s);
/* again: in the place of one that has died. */
int  source_fork_server(struct source *s, bool again, struct cor_error *err);

/* paging.c: the task runs over there, and what is parked here is done with; once, by whoever was
 * the first to know. */
void source_bury(struct source *s);
/* Sends COMMIT and waits for RESUMED. Not heard: doubt, a text, says why; else it is "". */
void source_commit(struct source *s, char *doubt, size_t size);
/* keeper.c: keeps the ghost until the serving part has its verdict; returns the exit status. */
int  source_keep(struct source *s, const char *doubt);

/* ---- the serving part ------------------------------------------------------------------------ */

/* server.c: all of it, from its start; again: another one has died. Returns the exit status. */
int source_serve(struct source *s, bool again);

/* Whether COMMIT arrived: 0 once it is known that the destination took the task over,
 * however long that takes. err: in, why it is not known. s->refused: it did not, and never
 * will; s->tracer_died. */
int source_ask(struct source *s, struct cor_error *err);
/* One attempt to join the session again; see paging.c. */
int source_join_again(struct source *s, int *pid, struct cor_error *err);
/* Serves the ghost's pages until the destination has them all. Fails only where it
 * says that it has lost the task, or where the tracer has died. */
int source_page(struct source *s, struct cor_error *err);
/* Behind the release: waits, where that was promised, until the destination has nothing
 * more to do for the task. */
void source_await_huge(struct source *s);

/* ---- between them (link.c): JSON over SOCK_SEQPACKET ------------------------------------------------- */

#define SOURCE_LINK_FDS 64      /* descriptors in one message */

/* message is stolen; fds stay the caller's. */
int source_link_say(int link, json_t *message, const int *fds, unsigned nfds);
/* -EPIPE: the other one has ended. fds NULL: none are expected. */
int source_link_hear(int link, json_t **out, int *fds, unsigned *nfds);
