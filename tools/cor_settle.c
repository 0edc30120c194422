/* cor settle: brings what a task still needs of other hosts to where it is. */
#include <stdio.h>

#include "tools/one.h"
#include "tools/output.h"

/* What leads to processes there stays as it is. */
static void print_remains(const json_t *r)
{
	const json_t *n;
	size_t i;

	if (!json_array_size(json_object_get(r, "remains"))) {
		printf("%lld needs nothing of another host\n", (long long)output_number(r, "pid"));
		return;
	}
	printf("%lld needs nothing that could be brought here, but leads to other processes:",
	       (long long)output_number(r, "pid"));
	json_array_foreach(json_object_get(r, "remains"), i, n)
		printf(" of %s", output_text(n, "host"));
	putchar('\n');
}

static void print_done(const json_t *r)
{
	char bytes[32];

	if (!json_object_get(r, "freeze_us")) {
		print_remains(r);
		return;
	}
	printf("%s runs on here as %lld and needs no memory and no files of another host: %lld files copied (%s)\n",
	       output_text(r, "comm"), (long long)output_number(r, "destination_pid"),
	       (long long)output_number(r, "files_copied"),
	       output_bytes(bytes, sizeof(bytes), (double)output_number(r, "bytes_copied")));
}

static int settle(const struct one *o)
{
	json_auto_t *result = NULL;
	int status = one_ask(o, json_pack("{s:s, s:s}", "command", "settle", "id", o->id), &result);

	if (status == COR_EXIT_DONE && !o->json)
		print_done(result);
	return status;
}

int cor_settle(struct cor_globals *globals, int argc, char **argv)
{
	static const struct argp_child children[] = { { &one_argp, 0, NULL, 0 }, { 0 } };
	static const struct argp parser = {
		NULL, one_input, "ID",
		"Brings what the task ID still needs of other hosts here: its memory, and copies of "
		"the files that it has open at its home. ID is the task's PID (see cor ps) or the "
		"session that it came by. It moves within this host then and so gets another PID "
		"here, though not in its own eyes.",
		children, NULL, NULL,
	};
	struct one o = { .globals = globals };

	if (argp_parse(&parser, argc, argv, 0, NULL, &o) != 0)
		return COR_EXIT_FAILED;
	if (!o.id)
		return cor_complain("settle takes the ID of a task here (see cor ps)");
	return settle(&o);
}
