/* cord's TCP side: accepts connections, reads what each is for (its preamble,
 * transport/preamble.h) without ever blocking the loop, and passes it on. */
#pragma once

#include <cor/error.h>
#include <stdbool.h>

#include "daemon/config.h"
#include "daemon/loop.h"
#include "daemon/registry.h"

struct listener;

/* Listens where config, which is borrowed, says. Where this host has keys every connection
 * must be encrypted, else none can be. -EADDRINUSE and others, with a sentence. */
int  listener_new(struct listener **out, struct loop *loop, struct registry *reg,
		  const struct cord_config *config, struct cor_error *err);
/* Connections that have not said what they are for are closed. NULL allowed. */
void listener_free(struct listener *l);

/* The port it is bound to. */
unsigned listener_port(const struct listener *l);
