/* cord's control socket: the clients (cor) and their requests. */
#pragma once

#include <cor/error.h>

#include "daemon/client.h"

struct clients;

/* Makes the socket at config->control. One that is there and has
 * nobody behind it is removed first; -EADDRINUSE where somebody answers,
 * -EEXIST where it is no socket. */
int  clients_new(struct clients **out, const struct client_env *env, struct cor_error *err);
/* Tells those that wait that cord ends, and removes the socket. NULL allowed. */
void clients_free(struct clients *c);

/* A record has changed: those who wait for it are told. */
void clients_changed(struct clients *c, struct entry *e);
