/* The tasks that arrived here: from their arrival until they end, and the last
 * ones that ended. */
#pragma once

#include <jansson.h>

#include "daemon/loop.h"

struct tasks;

int  tasks_new(struct tasks **out, struct loop *loop);
void tasks_free(struct tasks *t);

/* A worker's "arrived" message. report is taken in any case. 0, -EINVAL, -ENOMEM. */
int  tasks_arrived(struct tasks *t, const json_t *message, int report);

/* A fresh array, oldest first. */
json_t *tasks_json(const struct tasks *t);
