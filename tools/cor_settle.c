/* cor settle: brings what a task still needs of other hosts to where it is. */
#include <stdbool.h>
#include <stdio.h>

#include "tools/one.h"
#include "tools/output.h"

/* What leads to processes elsewhere stays as it is: what, where, and how much has gone that
 * way. */
static void print_remains(const json_t *remains)
{
	const json_t *n;
	size_t i;

	json_array_foreach(remains, i, n) {
		printf("  ");
		output_need(n);
		putchar('\n');
	}
}

static void print_done(const json_t *r)
{
	const json_t *remains = json_object_get(r, "remains");
	bool more = json_array_size(remains) > 0;
	char bytes[32];

	if (json_object_get(r, "freeze_us"))
		printf("%s runs on here as %lld and needs no memory and no files of another host: "
		       "%lld files copied (%s)%s\n", output_text(r, "comm"),
		       (long long)output_number(r, "destination_pid"),
		       (long long)output_number(r, "files_copied"),
		       output_bytes(bytes, sizeof(bytes), (double)output_number(r, "bytes_copied")),
		       more ? "; what remains:" : "");
	else if (more)
		printf("%lld needs nothing that could be brought here, but leads to other processes:\n",
		       (long long)output_number(r, "pid"));
	else
		printf("%lld needs nothing of another host\n", (long long)output_number(r, "pid"));
	print_remains(remains);
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
