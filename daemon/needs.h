/* What tasks still need from other hosts, and what this host still does for tasks that
 * are elsewhere: for cor status. Nothing here asks another process or touches a file of
 * another host's, so that it cannot block. */
#pragma once

#include <jansson.h>

#include "daemon/config.h"

/* Adds "needs" to each task of the list (tasks_json()) that runs: an array of
 * {"what":"files"|"memory"|"processes", "host":NAME, figures...}, empty when it has no
 * tie left.
 * sessions: registry_json()'s, which tell of memory. Processes on this host itself, where a
 * task has come home, are no need. */
void needs_add(json_t *tasks, const json_t *sessions, const struct cord_config *config);

/* What the task pid, which runs here, needs still: the same, and with it what leads to
 * processes of this host itself through its pumps. */
json_t *needs_remaining(pid_t pid, const json_t *sessions, const struct cord_config *config);

/* The file servers of this host, an array: {"tree":HEX, "pid":N of the task that left, ...} */
json_t *needs_served(const char *state_dir);
