/* The pumps of a task that moves (libcor/names/pump/pump.h), as the two workers of its
 * session deal with them. */
#pragma once

#include <cor/error.h>
#include <stdbool.h>
#include <sys/types.h>

#include "daemon/config.h"
#include "libcor/names/files.h"
#include "libcor/names/pump/pump.h"

/* ---- the source ------------------------------------------------------------------------ */

struct source_pumps {
	const struct cord_config *config;
	char dir[128];
	struct cor_pump_client *away;   /* those that the task has here, having come from elsewhere */
	unsigned naway;
	Cor__Names__PumpLink fresh;     /* the link for what leads outside here */
	uint8_t id[COR_SESSION_ID], secret[COR_SECRET];
	int  home;                      /* the pump of that link, -1: not needed */
	bool expected;                  /* it is in every table, used or not */
	bool ended;                     /* an away pump has, having been asked before */
	bool missed;                    /* something led outside, and there was no pump for it */
	Cor__Names__PumpChannel task;   /* of the fresh link, if the task's place is to be kept */
	bool frozen;
	struct cor_files_pumps seen;    /* for captures */
	Cor__Names__PumpLink **links;   /* what seen points to */
};

/* Finds the task's pumps. */
enum source_pumps_flag {
	SOURCE_PUMPS_STANDIN  = 1 << 0, /* the task's place here is to be kept */
	SOURCE_PUMPS_EXPECTED = 1 << 1, /* it may come to lead outside, and is to be moved then, too */
};
int  source_pumps_begin(struct source_pumps *p, const struct cord_config *config, pid_t pid,
			unsigned flags, struct cor_error *err);
/* table: of the running task. Starts the home pump if it will be needed; then it is there for
 * whatever leads outside in the freeze, or nothing. */
int  source_pumps_prepare(struct source_pumps *p, const Cor__Names__FileTable *table,
			  struct cor_error *err);
/* The task stands still, and is to be captured: so do its pumps. A failure with p->ended set is
 * worth another attempt. */
int  source_pumps_freeze(struct source_pumps *p, struct cor_error *err);
/* And goes on here after all. Nothing where they were not frozen. */
void source_pumps_thaw(struct source_pumps *p);
/* table: of the stopped task, whose descriptors the home pump is given. -EAGAIN: one leads
 * outside where none did before: p->missed. */
int  source_pumps_hand(struct source_pumps *p, pid_t pid, const Cor__Names__FileTable *table,
		       struct cor_error *err);
/* COMMIT is about to be sent. */
void source_pumps_commit(struct source_pumps *p);
/* The task runs on the other host: its pumps let go, and its ghost must too. */
void source_pumps_left(struct source_pumps *p, struct cor_tracee *ghost,
		       const Cor__Names__FileTable *table);
/* It stays: as if there had been no home pump; waits until it has ended. */
void source_pumps_drop(struct source_pumps *p);
void source_pumps_end(struct source_pumps *p);

/* ---- the destination -------------------------------------------------------------------- */

struct destination_pumps {
	int     *socks;                 /* of the away pumps, one for each link */
	unsigned n;
	int      watch[2];              /* the task's supervisor tells a pump how it fares: the pump's
					   end, and the supervisor's; -1: nobody waits at home */
	unsigned watcher;               /* of which link */
	int     *fds;                   /* the task's sides, by cor_pump_channel_index() */
	unsigned nfds;
};

/* Makes table complete: where home is, what its host is called. peer: the source's
 * address; listen, host: as the source says of itself. */
int  destination_pumps_address(Cor__Names__FileTable *table, const char *peer, const char *listen,
			       const char *host, struct cor_error *err);
/* Starts a pump for each link, and sees whether it reaches home. */
int  destination_pumps_begin(struct destination_pumps *p, const struct cord_config *config,
			     const Cor__Names__FileTable *table, struct cor_error *err);
/* The task's sides of its channels, made anew: fds. */
int  destination_pumps_make(struct destination_pumps *p, const Cor__Names__FileTable *table,
			    struct cor_error *err);
/* Behind _make: the task's controlling terminal, a descriptor of p's; -1: it has none. */
int  destination_pumps_terminal(const struct destination_pumps *p,
				const Cor__Names__FileTable *table, bool *foreground);
/* They are in the stub now. */
void destination_pumps_handed(struct destination_pumps *p);
/* table: of the stopped task: what is on its way. */
int  destination_pumps_load(struct destination_pumps *p, const Cor__Names__FileTable *table,
			    struct cor_error *err);
/* That they have taken it is waited for at the end of the rebuild, beside which they do. */
int  destination_pumps_loaded(struct destination_pumps *p, const Cor__Names__FileTable *table,
			      struct cor_error *err);
/* What a worker that goes on for another needs, to start them if the other did not come to
 * it: descriptors, -1: none. */
#define DESTINATION_PUMPS_SHARED 8
struct destination_pumps_shared {
	_Atomic int socks[DESTINATION_PUMPS_SHARED];
	_Atomic int watch;
	_Atomic unsigned watcher;
};
void destination_pumps_share_init(struct destination_pumps_shared *s);
/* Ahead of COMMIT. false: they are too many. */
bool destination_pumps_share(const struct destination_pumps *p,
			     struct destination_pumps_shared *s);
/* The task runs here from now on. */
void destination_pumps_start(struct destination_pumps *p, pid_t pid);
/* The same by another worker, whether they were started or not. */
void destination_pumps_start_shared(struct destination_pumps_shared *s, pid_t pid);
void destination_pumps_end(struct destination_pumps *p);
