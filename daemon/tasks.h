/* The tasks that arrived here: from their arrival until they end, and the last
 * ones that ended. */
#pragma once

#include <jansson.h>
#include <stdint.h>
#include <sys/types.h>

#include "daemon/loop.h"

struct tasks;

/* state: the state directory, borrowed. */
int  tasks_new(struct tasks **out, struct loop *loop, int state);
void tasks_free(struct tasks *t);

/* Takes over the tasks that arrived under an earlier cord: found is called for each that
 * runs (NULL: not). */
int  tasks_adopt(struct tasks *t, void (*found)(void *arg, const json_t *about), void *arg);

/* How often the task pid, running here, has been handed over; 0: it started here. */
uint64_t tasks_epoch(const struct tasks *t, pid_t pid);

/* The session by which the task pid, running here, has arrived; NULL: it started here. */
const uint8_t *tasks_session(const struct tasks *t, pid_t pid);

/* Kills the task that came by this session: its pages cannot be had any more. -ENOENT:
 * there is none; -EPIPE: its supervisor is gone as well. */
int  tasks_kill(struct tasks *t, const uint8_t session[16]);

/* A worker's "arrived" message. report is taken in any case. 0, -EINVAL, -ENOMEM. */
int  tasks_arrived(struct tasks *t, const json_t *message, int report);

/* A fresh array, oldest first. */
json_t *tasks_json(const struct tasks *t);
