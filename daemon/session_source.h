/* The source's side of a migration, as its files share it: session_source.c goes up
 * to COMMIT, session_source_paging.c on from there. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "daemon/config.h"
#include "daemon/session.h"
#include "daemon/session_home.h"
#include "daemon/session_transport.h"
#include "daemon/worker.h"
#include "libcor/names/files.h"
#include "libcor/paging/server.h"
#include "libcor/task/capture.h"
#include "libcor/task/hooks.h"
#include "libcor/task/tracee.h"
#include "libcor/transport/lane.h"

#define CONNECT_TIMEOUT_MS ((int)s->args->config->timeouts.connect_s * 1000)
#define ANSWER_TIMEOUT_MS  ((int)s->args->config->timeouts.prepare_s * 1000)

struct source {
	const struct worker_source_args *args;
	struct session session;
	struct cor_mechanisms mechanisms;
	struct cor_stream *control;     /* NULL: lost */
	struct cor_transports transports; /* that may be used; behind HELLO: that both have */
	char transport[COR_TRANSPORT_TEXT]; /* that is used */
	/* lanes before the page server has them: over TCP, and beside these of a better
	 * transport (NULL: none) */
	struct cor_stream *demand, *bulk, *fast_demand, *fast_bulk;
	struct cor_capture_options options;
	Cor__Task__Image *skeleton, *image;
	Cor__Names__FileTable *files;   /* of the last capture */
	struct cor_files_object *extra; /* objects only reachable by a descriptor */
	unsigned nextra;
	struct cor_tracee *tracee;
	struct cor_page_server *server;
	struct cor_source *memory;      /* the server's */
	uint64_t freeze_from_ns, captured_ns, ready_ns;
	struct cor_hooks hooks;
	bool have_hooks;
	bool parked;                    /* the task's addresses and locks are the destination's */
	bool refused;                   /* the destination has given up, not having seen COMMIT */
	bool moved;                     /* it has all pages */
	struct source_home home;
	bool huge_follow;                  /* it will say when the task is as it was at home */
	uint64_t mend_ns;               /* connections are looked after again then */
};

/* Has cord asked to give up? *go (NULL allowed): set when it said go. */
bool source_cancelled(struct source *s, bool *go);

/* A connection to the destination's cord, which fails when the other side is silent. */
int source_connect(const struct source *s, enum cor_connection_kind kind, const uint8_t *session,
		   const uint8_t *secret, int timeout_ms, struct cor_stream **out,
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
/* Sets up the best of them, with the lanes that are its own. Fails only where the
 * control channel does. */
int source_connect_transport(struct source *s, struct cor_error *err);
/* Notes what is used. */
void source_transport_set(struct source *s, const char *name);

/* Sends COMMIT, and returns 0 once it is known that the destination took the task
 * over, however long that takes. s->refused: it did not, and never will. */
int source_commit(struct source *s, struct cor_error *err);
/* Serves the ghost's pages until the destination has them all. Fails only where it
 * says that it has lost the task. */
int source_page(struct source *s, struct cor_error *err);
/* All pages are there: ends the ghost, and says so. Then waits, where that was
 * promised, until the destination has nothing more to do for the task. */
void source_release(struct source *s);
