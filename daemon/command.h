/* Carrying out a client's request. */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "daemon/client.h"
#include "daemon/request.h"

enum client_wait {
	WAIT_NONE,
	WAIT_RESUMED,           /* until the task runs on the destination */
	WAIT_ENDED,             /* until its session has ended */
	WAIT_CANCELLED,         /* until that is so, or too late */
	WAIT_RESOLVED,          /* until its session has ended, however that is */
};

struct client {
	struct client    *prev, *next;
	struct clients   *clients;
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

const struct clients_env *client_env(const struct client *k);

/* Queues a line; takes message. may_skip: dropped when the client is slow. False
 * when it was not queued. */
bool client_say(struct client *k, json_t *message, bool may_skip);

/* Queues a result that says no. */
void client_refuse(struct client *k, const char *why);

/* A request's line, without its newline. */
void command_run(struct client *k, const char *line, size_t len);
/* What k waits for has changed. */
void command_progress(struct client *k);
/* cord ends while k waits. */
void command_farewell(struct client *k);
