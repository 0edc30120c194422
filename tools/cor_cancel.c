/* cor cancel: calls a migration off, as long as the task was not handed over. */
#include "tools/cor.h"

#include <stdio.h>

#include "tools/client.h"
#include "tools/output.h"

struct wish {
	struct cor_globals *globals;
	const char *id;
	bool        json;
};

static const struct argp_option options[] = {
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

static int cancel(const struct wish *w)
{
	struct cor_error err = COR_ERROR_INIT;
	struct client *c = NULL;
	json_auto_t *result = NULL;
	int r = client_open(&c, w->globals->control, &err);

	if (r == 0)
		r = client_call(c, json_pack("{s:s, s:s}", "command", "cancel", "id", w->id),
				&result, &err);
	client_close(c);
	if (r < 0) {
		if (w->json)
			output_json_error(COR_EXIT_FAILED, err.text);
		return cor_complain("%s", err.text);
	}
	if (w->json)
		output_json(result);
	if (!json_is_true(json_object_get(result, "ok")))
		return cor_complain("%s", output_reason(result));
	output_clean(result);
	if (!w->json)
		printf("cancelled: %s (%lld) runs on here\n", output_text(result, "comm"),
		       (long long)output_number(result, "pid"));
	return COR_EXIT_DONE;
}

int cor_cancel(struct cor_globals *globals, int argc, char **argv)
{
	static const struct argp_child children[] = { { &cor_control_argp, 0, NULL, 0 }, { 0 } };
	static const struct argp parser = {
		options, parse, "ID",
		"Calls off the migration ID (its first digits are enough) and waits until the task "
		"runs here again. Once it was handed over it is too late.",
		children, NULL, NULL,
	};
	struct wish w = { .globals = globals };

	if (argp_parse(&parser, argc, argv, 0, NULL, &w) != 0)
		return COR_EXIT_FAILED;
	if (!w.id)
		return cor_complain("cancel takes the ID of a migration (see cor ps)");
	return cancel(&w);
}
