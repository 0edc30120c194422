/* cor's connection to cord: requests out, events in, a JSON object a line. */
#pragma once

#include <cor/error.h>
#include <jansson.h>

struct client;

/* -ENOENT, -ECONNREFUSED (no cord there), -EACCES, ... */
int  client_open(struct client **out, const char *control, struct cor_error *err);
/* NULL allowed. */
void client_close(struct client *c);

/* Takes request. */
int  client_ask(struct client *c, json_t *request, struct cor_error *err);

/* The next event: a fresh object with "event". -ENODATA: cord is gone; -EINTR: a
 * signal came; -EPROTO: not an event. */
int  client_next(struct client *c, json_t **out, struct cor_error *err);

/* Asks, and waits for the result. */
int  client_call(struct client *c, json_t *request, json_t **result, struct cor_error *err);
