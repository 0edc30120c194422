/* cor resolve: a person decides what the hosts cannot, since one of them is dead. */
#include "tools/cor.h"

#include <stdio.h>
#include <string.h>

#include "tools/client.h"
#include "tools/output.h"

struct wish {
	struct cor_globals *globals;
	const char *id;
	bool        dead;
	bool        json;
};

static const struct argp_option options[] = {
	{ "peer-is-dead", 'd', NULL, 0, "Say that the other host is dead, or will never be "
	  "back with what runs on it now; nothing else can be decided on", 0 },
	{ "json", 'j', NULL, 0, "Print the result as one JSON object", 0 },
	{ 0 },
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct wish *w = state->input;

	switch (key) {
	case ARGP_KEY_INIT:
		state->child_inputs[0] = w->globals;
		return 0;
	case 'd':
		w->dead = true;
		return 0;
	case 'j':
		w->json = true;
		return 0;
	case ARGP_KEY_ARG:
		if (state->arg_num > 0)
			return ARGP_ERR_UNKNOWN;
		w->id = arg;
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static void print_outcome(const json_t *r)
{
	if (!strcmp(output_text(r, "state"), "aborted"))
		printf("resolved: %s (%lld) runs on here\n", output_text(r, "comm"),
		       (long long)output_number(r, "pid"));
	else
		printf("resolved: %s is lost: %s\n", output_text(r, "comm"),
		       output_text(r, "error"));
}

static int fail(const struct wish *w, const char *why)
{
	if (w->json)
		output_json_error(COR_EXIT_FAILED, why);
	return cor_complain("%s", why);
}

static int resolve(const struct wish *w)
{
	struct cor_error err = COR_ERROR_INIT;
	struct client *c = NULL;
	json_auto_t *result = NULL;
	int r;

	if (!w->id)
		return fail(w, "resolve takes the ID of a session (see cor status)");
	if (!w->dead)
		return fail(w, "resolve decides what only the other host can know, and so must be told "
			    "that this is dead: --peer-is-dead");
	r = client_open(&c, w->globals->control, &err);
	if (r == 0)
		r = client_call(c, json_pack("{s:s, s:s, s:s}", "command", "resolve", "id", w->id,
					     "peer", "dead"), &result, &err);
	client_close(c);
	if (r < 0)
		return fail(w, err.text);
	if (w->json)
		output_json(result);
	if (!json_is_true(json_object_get(result, "ok")))
		return cor_complain("%s", output_reason(result));
	output_clean(result);
	if (!w->json)
		print_outcome(result);
	return COR_EXIT_DONE;
}

int cor_resolve(struct cor_globals *globals, int argc, char **argv)
{
	static const struct argp_child children[] = { { &cor_control_argp, 0, NULL, 0 }, { 0 } };
	static const struct argp parser = {
		options, parse, "ID --peer-is-dead",
		"Ends the migration ID (its first digits are enough), which waits for a host that "
		"will not be back. A task that was frozen here, and may or may not have been handed "
		"over, goes on here; one whose memory is on the dead host is killed and reported "
		"as lost. If the other host lives after all the task may run there as well: be "
		"sure.",
		children, NULL, NULL,
	};
	struct wish w = { .globals = globals };

	if (argp_parse(&parser, argc, argv, 0, NULL, &w) != 0)
		return COR_EXIT_FAILED;
	return resolve(&w);
}
