/* The daemon: all of its parts in one event loop. */
#pragma once

#include <cor/error.h>

#include "daemon/config.h"
#include "daemon/worker.h"

/* Serves until SIGTERM, SIGINT or SIGHUP, which it blocks. Workers that are
 * busy then live on. 0; -errno with a sentence when it could not begin. */
int cord_run(const struct cord_config *config, const struct worker_ops *workers,
	     struct cor_error *err);
