/* See one.h. */
#include "tools/one.h"

#include "libcor/base/cleanup.h"
#include "tools/client.h"
#include "tools/output.h"

static const struct argp_option options[] = {
	{ "json", 'j', NULL, 0, "Print the result as one JSON object", 0 },
	{ 0 },
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct one *o = state->input;

	switch (key) {
	case ARGP_KEY_INIT:
		state->child_inputs[0] = o->globals;
		return 0;
	case 'j':
		o->json = true;
		return 0;
	case ARGP_KEY_ARG:
		if (state->arg_num > 0)
			return ARGP_ERR_UNKNOWN;
		o->id = arg;
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static const struct argp_child children[] = { { &cor_control_argp, 0, NULL, 0 }, { 0 } };

const struct argp one_argp = { options, parse, NULL, NULL, children, NULL, NULL };

error_t one_input(int key, char *arg, struct argp_state *state)
{
	(void)arg;
	if (key != ARGP_KEY_INIT)
		return ARGP_ERR_UNKNOWN;
	state->child_inputs[0] = state->input;
	return 0;
}

int one_fail(const struct one *o, const char *why)
{
	if (o->json)
		output_json_error(COR_EXIT_FAILED, why);
	return cor_complain("%s", why);
}

int one_ask(const struct one *o, json_t *request, json_t **result)
{
	struct cor_error err = COR_ERROR_INIT;
	json_auto_t *answer = NULL;
	struct client *c = NULL;
	int r = client_open(&c, o->globals->control, &err);

	if (r == 0)
		r = client_call(c, request, &answer, &err);
	else
		json_decref(request);
	client_close(c);
	if (r < 0)
		return one_fail(o, err.text);
	if (o->json)
		output_json(answer);
	if (!json_is_true(json_object_get(answer, "ok")))
		return cor_complain("%s", output_reason(answer));
	if (!o->json)
		output_clean(answer);
	*result = take_ptr(answer);
	return COR_EXIT_DONE;
}
