/* cor settle: brings what a task still needs of other hosts to where it is. */
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

static void print_done(const json_t *r)
{
	char bytes[32];

	if (!json_object_get(r, "freeze_us")) {
		printf("%lld needs nothing of another host\n", (long long)output_number(r, "pid"));
		return;
	}
	printf("%s runs on here as %lld and needs nothing of another host: %lld files copied (%s)\n",
	       output_text(r, "comm"), (long long)output_number(r, "destination_pid"),
	       (long long)output_number(r, "files_copied"),
	       output_bytes(bytes, sizeof(bytes), (double)output_number(r, "bytes_copied")));
}

static int settle(const struct wish *w)
{
	struct cor_error err = COR_ERROR_INIT;
	struct client *c = NULL;
	json_auto_t *result = NULL;
	int r = client_open(&c, w->globals->control, &err);

	if (r == 0)
		r = client_call(c, json_pack("{s:s, s:s}", "command", "settle", "id", w->id),
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
		print_done(result);
	return COR_EXIT_DONE;
}

int cor_settle(struct cor_globals *globals, int argc, char **argv)
{
	static const struct argp_child children[] = { { &cor_control_argp, 0, NULL, 0 }, { 0 } };
	static const struct argp parser = {
		options, parse, "ID",
		"Brings what the task ID still needs of other hosts here: its memory, and copies of "
		"the files that it has open at its home. ID is the task's PID (see cor ps) or the "
		"session that it came by. It moves within this host then and so gets another PID "
		"here, though not in its own eyes.",
		children, NULL, NULL,
	};
	struct wish w = { .globals = globals };

	if (argp_parse(&parser, argc, argv, 0, NULL, &w) != 0)
		return COR_EXIT_FAILED;
	if (!w.id)
		return cor_complain("settle takes the ID of a task here (see cor ps)");
	return settle(&w);
}
