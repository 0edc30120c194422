/* cor resolve: a person decides what the hosts cannot, since one of them is dead. */
#include <stdio.h>
#include <string.h>

#include "tools/one.h"
#include "tools/output.h"

struct wish {
	struct one one;
	bool       dead;
};

static const struct argp_option options[] = {
	{ "peer-is-dead", 'd', NULL, 0, "Say that the other host is dead, or will never be "
	  "back with what runs on it now; nothing else can be decided on", 0 },
	{ 0 },
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct wish *w = state->input;

	(void)arg;
	switch (key) {
	case ARGP_KEY_INIT:
		state->child_inputs[0] = &w->one;
		return 0;
	case 'd':
		w->dead = true;
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

static int resolve(const struct wish *w)
{
	const struct one *o = &w->one;
	json_auto_t *result = NULL;
	int status;

	if (!o->id)
		return one_fail(o, "resolve takes the ID of a session (see cor status)");
	if (!w->dead)
		return one_fail(o, "resolve decides what only the other host can know, and so must be "
				   "told that this is dead: --peer-is-dead");
	status = one_ask(o, json_pack("{s:s, s:s, s:s}", "command", "resolve", "id", o->id, "peer",
				      "dead"), &result);
	if (status == COR_EXIT_DONE && !o->json)
		print_outcome(result);
	return status;
}

int cor_resolve(struct cor_globals *globals, int argc, char **argv)
{
	static const struct argp_child children[] = { { &one_argp, 0, NULL, 0 }, { 0 } };
	static const struct argp parser = {
		options, parse, "ID --peer-is-dead",
		"Ends the migration ID (its first digits are enough), which waits for a host that "
		"will not be back. A task that was frozen here, and may or may not have been handed "
		"over, goes on here; one whose memory is on the dead host is killed and reported "
		"as lost. If the other host lives after all the task may run there as well: be "
		"sure.",
		children, NULL, NULL,
	};
	struct wish w = { .one.globals = globals };

	if (argp_parse(&parser, argc, argv, 0, NULL, &w) != 0)
		return COR_EXIT_FAILED;
	return resolve(&w);
}
