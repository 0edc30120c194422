/* One client of the control socket (cor): its connection, and what is queued for it. */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "daemon/config.h"
#include "daemon/loop.h"
#include "daemon/programs.h"
#include "daemon/registry.h"
#include "daemon/tasks.h"

/* What requests are about; borrowed, and there for longer than any client. */
struct client_env {
	struct loop              *loop;
	struct registry          *registry;
	struct tasks             *tasks;
	struct programs          *programs;
	const struct cord_config *config;
};

enum client_wait {
	WAIT_NONE,
	WAIT_RESUMED,           /* until the task runs on the destination */
	WAIT_ENDED,             /* until its session has ended */
	WAIT_CANCELLED,         /* until that is so, or too late */
	WAIT_RESOLVED,          /* until its session has ended, however that is */
};

struct client {
	const struct client_env *env;
	struct watch     *watch;
	int               fd;
	uid_t             uid;          /* its user, and a process of his (SO_PEERCRED) */
	pid_t             pid;
	bool              eof;          /* it sends no more */
	char             *in, *out;
	size_t            in_len, out_len;
	enum client_wait  wait;
	struct entry     *entry;        /* waited for */
	bool              settles;      /* and what remains is to be told */
};

/* Begins k with the connection fd, which is k's from here on unless it fails (-errno); fn is
 * called, with arg, for what the loop sees of it. */
int  client_begin(struct client *k, const struct client_env *env, int fd, watch_fn fn, void *arg);
void client_end(struct client *k);

/* Queues a line; takes message. may_skip: dropped when the client is slow. False
 * when it was not queued. */
bool client_say(struct client *k, json_t *message, bool may_skip);

/* Queues a result that says no. */
void client_refuse(struct client *k, const char *why);

/* Receives what has come; sends what is queued, as far as it goes. False: the client is gone. */
bool client_fill(struct client *k);
bool client_flush(struct client *k);

/* The next request that may be carried out now, up to its newline: its length, from k->in;
 * -1: none, or the client waits, or has answers to read first. */
ssize_t client_line(const struct client *k);
void    client_drop_line(struct client *k, size_t len);

/* Has the loop watch for what matters now. */
void client_watch(struct client *k);
