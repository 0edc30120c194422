/* cor cancel: calls a migration off, as long as the task was not handed over. */
#include <stdio.h>

#include "tools/one.h"
#include "tools/output.h"

static int cancel(const struct one *o)
{
	json_auto_t *result = NULL;
	int status = one_ask(o, json_pack("{s:s, s:s}", "command", "cancel", "id", o->id), &result);

	if (status == COR_EXIT_DONE && !o->json)
		printf("cancelled: %s (%lld) runs on here\n", output_text(result, "comm"),
		       (long long)output_number(result, "pid"));
	return status;
}

int cor_cancel(struct cor_globals *globals, int argc, char **argv)
{
	static const struct argp_child children[] = { { &one_argp, 0, NULL, 0 }, { 0 } };
	static const struct argp parser = {
		NULL, one_input, "ID",
		"Calls off the migration ID (its first digits are enough) and waits until the task "
		"runs here again. Once it was handed over it is too late.",
		children, NULL, NULL,
	};
	struct one o = { .globals = globals };

	if (argp_parse(&parser, argc, argv, 0, NULL, &o) != 0)
		return COR_EXIT_FAILED;
	if (!o.id)
		return cor_complain("cancel takes the ID of a migration (see cor ps)");
	return cancel(&o);
}
