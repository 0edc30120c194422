/* A record with its worker process: starting it, talking to it, its end.
 * For registry.c. */
#pragma once

#include <cor/error.h>
#include <jansson.h>

#include "daemon/registry.h"

struct entry {
	struct entry    *prev, *next;
	struct registry *registry;
	struct record    record;
	pid_t            pid;          /* a source's task */
	struct entry    *after;        /* the task's own arrival, which must end first; or NULL */
	pid_t            worker;       /* 0: none (any more) */
	int              sock;         /* to the worker, non-blocking; -1 */
	struct watch    *watch;        /* on sock */
};

struct registry {
	struct registry_env env;
	struct entry       *list;
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

/* The worker has ended and was reaped; status: wait(2)'s. */
void entry_worker_ended(struct entry *e, int status);

/* Reads and acts on what the worker has sent so far. e lives on. */
void entry_receive(struct entry *e);

/* Takes message (NULL: -ENOMEM); fd -1 or attached, and stays the caller's.
 * Never blocks: -EAGAIN. */
int  entry_send(struct entry *e, json_t *message, int fd);
