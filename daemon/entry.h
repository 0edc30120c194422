/* A record with its worker process: starting it, talking to it, its end.
 * For registry.c. */
#pragma once

#include <cor/error.h>
#include <jansson.h>

#include "daemon/registry.h"
#include "daemon/state.h"

#define TELLERS_MAX 16

struct entry {
	struct entry    *prev, *next;
	struct registry *registry;
	struct record    record;
	pid_t            pid;          /* a source's task */
	int64_t          owner;        /* the user who asked; -1: root, or it arrives */
	struct entry    *after;        /* the task's own arrival, which must end first; or NULL */
	pid_t            worker;       /* 0: none (any more) */
	int              pidfd;        /* of a worker that an earlier cord has started; -1 */
	struct watch    *pid_watch;    /* on pidfd */
	int              sock;         /* to the worker, non-blocking; -1 */
	struct watch    *watch;        /* on sock */
	struct state_page *page;       /* once looked at; see entry_page() */
};

struct registry {
	struct registry_env env;
	struct entry       *list;
	int                 timer;     /* ticks while a worker is not heard */
	struct watch       *timer_watch;
	pid_t               tellers[TELLERS_MAX];   /* see registry_tell_outcome(); 0: none */
};

/* What the worker process is given; on the parent's stack, copied by fork. */
struct entry_source_start {
	int (*run)(const struct worker_source_args *args);
	struct worker_source_args args;
};
struct entry_destination_start {
	int (*run)(const struct worker_destination_args *args);
	struct worker_destination_args args;
};

/* In the registry's list; no worker yet. -ENOMEM. */
int  entry_new(struct entry **out, struct registry *reg, bool source);
/* Forgets it; a worker lives on. */
void entry_free(struct entry *e);

/* Forks the worker, which keeps its end of the socket (stored in *cord before)
 * and extra (-1: none). */
int  entry_start(struct entry *e, const char *name, int *cord, int extra,
		 int (*run)(const void *arg), const void *arg, struct cor_error *err);

/* The worker has ended; status: wait(2)'s, -1: not known. */
void entry_worker_ended(struct entry *e, int status);

/* The session's page in the state directory, or NULL: it has none (yet). */
struct state_page *entry_page(struct entry *e);

/* Takes over the session that the page is of, from an earlier cord: with its worker, or
 * with how it ended. The page is e's from here. */
void entry_adopt(struct entry *e, struct state_page *page);

/* Its worker lives, but is not heard: as after a cord was killed, or when the worker's
 * part that talks to cord was. It may answer on its socket in the state directory. */
void entry_connect(struct entry *e);

/* The session that brought pid here, while pages of it are still missing; or NULL. */
struct entry *registry_arriving(struct registry *reg, pid_t pid);

/* Reads and acts on what the worker has sent so far. e lives on. */
void entry_receive(struct entry *e);

/* Takes message (NULL: -ENOMEM); fd -1 or attached, and stays the caller's.
 * Never blocks: -EAGAIN. */
int  entry_send(struct entry *e, json_t *message, int fd);
