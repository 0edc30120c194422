/* What the commands about one task or session share: its ID, --json, and a question to
 * cord with one answer. */
#pragma once

#include <jansson.h>

#include "tools/cor.h"

struct one {
	struct cor_globals *globals;
	const char *id;         /* NULL: none was given */
	bool        json;
};

/* A child parser whose input is the struct one; takes --control as well. */
extern const struct argp one_argp;

/* The parser of a command that has nothing else: hands the struct one on to one_argp, its
 * first child. */
error_t one_input(int key, char *arg, struct argp_state *state);

/* Something is wrong: says so, as JSON too where that is wanted. Returns
 * COR_EXIT_FAILED. */
int one_fail(const struct one *o, const char *why);

/* Asks (request is stolen). COR_EXIT_DONE: *result, the caller's, says "ok", and has been
 * printed where JSON is wanted; else it is fit for a terminal. Otherwise what is wrong has
 * been said. */
int one_ask(const struct one *o, json_t *request, json_t **result);
