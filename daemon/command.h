/* Carrying out a client's request. */
#pragma once

#include <stddef.h>

#include "daemon/client.h"

/* A request's line, without its newline. */
void command_run(struct client *k, const char *line, size_t len);
/* What k waits for has changed. */
void command_progress(struct client *k);
/* cord ends while k waits. */
void command_farewell(struct client *k);
