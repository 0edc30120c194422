/* cor ps, cor status: the tasks that arrived here and the migrations. */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "tools/one.h"
#include "tools/output.h"

/* "memory of A; files of A at / (12.5 MiB); processes of A: parent, pipe:[1234] (3 MiB)", or
 * nothing at all. */
static void print_needs(const json_t *needs)
{
	const json_t *n;
	size_t i;

	json_array_foreach(needs, i, n) {
		printf("%s ", i ? ";" : "");
		output_need(n);
	}
	putchar('\n');
}

static void print_tasks(const json_t *tasks)
{
	const json_t *t;
	size_t i;

	if (!json_array_size(tasks))
		return;
	printf("%-8s %-9s %-16s %-19s %-21s %s\n", "TASK", "STATE", "COMMAND", "SINCE", "FROM",
	       "NEEDS");
	json_array_foreach(tasks, i, t) {
		time_t since = (time_t)output_number(t, "since");
		char when[32] = "-";
		struct tm tm;

		if (localtime_r(&since, &tm))
			strftime(when, sizeof(when), "%Y-%m-%d %H:%M:%S", &tm);
		printf("%-8lld %-9s %-16s %-19s %-21s", (long long)output_number(t, "pid"),
		       output_text(t, "state"), output_text(t, "comm"), when,
		       output_text(t, "from"));
		print_needs(json_object_get(t, "needs"));
	}
}

/* What is asked of this host by tasks that left it. */
static void print_served(const json_t *served)
{
	const json_t *s;
	size_t i;

	if (!json_array_size(served))
		return;
	printf("\n%-8s %-9s %-10s %-12s %s\n", "SERVED", "CONNECTED", "REQUESTS", "READ", "WRITTEN");
	json_array_foreach(served, i, s) {
		char read[32], written[32];

		printf("%-8lld %-9s %-10lld %-12s %s\n", (long long)output_number(s, "pid"),
		       json_is_true(json_object_get(s, "connected")) ? "yes" : "no",
		       (long long)output_number(s, "requests"),
		       output_bytes(read, sizeof(read), (double)output_number(s, "read_bytes")),
		       output_bytes(written, sizeof(written),
				    (double)output_number(s, "written_bytes")));
	}
}

/* The frozen task is kept until its last page has gone. */
static bool has_ghost(const json_t *s)
{
	static const char *const states[] = { "commit", "in-doubt", "paging", "detached",
					      "drained" };
	const char *state = output_text(s, "state");

	for (unsigned i = 0; i < sizeof(states) / sizeof(*states); i++)
		if (!strcmp(state, states[i]))
			return !strcmp(output_text(s, "role"), "source");
	return false;
}

static void print_progress(const json_t *s)
{
	int64_t total = output_number(s, "pages_total");
	int64_t done = output_number(s, "pages_demand") + output_number(s, "pages_prefetched") +
		       output_number(s, "pages_eager");
	const char *state = output_text(s, "state");
	char text[16] = "-";

	/* What the task has dropped meanwhile is in the total still. */
	if (!strcmp(state, "drained") || !strcmp(state, "released"))
		snprintf(text, sizeof(text), "100 %%");
	else if (total)
		snprintf(text, sizeof(text), "%lld %%",
			 (long long)(done < total ? done * 100 / total : 100));
	printf(" %-6s", text);
}

static void print_sessions(const json_t *sessions)
{
	const json_t *s;
	size_t i;

	if (!json_array_size(sessions))
		return;
	printf("%-8s %-11s %-9s %-8s %-5s %-6s %-10s %-16s %s\n", "SESSION", "ROLE", "STATE",
	       "PID", "GHOST", "PAGES", "TRANSPORT", "COMMAND", "PEER");
	json_array_foreach(sessions, i, s) {
		printf("%-8.8s %-11s %-9s %-8lld %-5s", output_text(s, "id"),
		       output_text(s, "role"), output_text(s, "state"),
		       (long long)output_number(s, "pid"), has_ghost(s) ? "yes" : "no");
		print_progress(s);
		printf(" %-10s %-16s %s\n", output_text(s, "transport"), output_text(s, "comm"),
		       output_text(s, "peer"));
	}
}

static void print_one(const json_t *session)
{
	const char *key;
	json_t *value;

	json_object_foreach((json_t *)session, key, value) {
		char *text = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);

		printf("%-17s %s\n", key,
		       json_is_string(value) ? json_string_value(value) : text ? text : "?");
		free(text);
	}
}

static void print_all(const struct one *o, const json_t *result)
{
	const json_t *tasks = json_object_get(result, "tasks");
	const json_t *sessions = json_object_get(result, "sessions");

	if (o->id) {
		for (size_t i = 0; i < json_array_size(sessions); i++) {
			if (i)
				putchar('\n');
			print_one(json_array_get(sessions, i));
		}
		return;
	}
	print_tasks(tasks);
	if (json_array_size(tasks) && json_array_size(sessions))
		putchar('\n');
	print_sessions(sessions);
	print_served(json_object_get(result, "served"));
	if (!json_array_size(tasks) && !json_array_size(sessions))
		printf("%s: no task has arrived and none is moving\n", output_text(result, "name"));
}

static int status(const struct one *o)
{
	json_t *request = json_pack("{s:s, s:s*}", "command", "status", "id", o->id);
	json_auto_t *result = NULL;
	int code = one_ask(o, request, &result);

	if (code == COR_EXIT_DONE && !o->json)
		print_all(o, result);
	return code;
}

int cor_status(struct cor_globals *globals, int argc, char **argv)
{
	static const struct argp_child children[] = { { &one_argp, 0, NULL, 0 }, { 0 } };
	static const struct argp parser = {
		NULL, one_input, "[ID]",
		"Lists the tasks that have arrived here and the migrations from and to here, or "
		"shows the migration ID (its first digits are enough) in full.",
		children, NULL, NULL,
	};
	struct one o = { .globals = globals };

	if (argp_parse(&parser, argc, argv, 0, NULL, &o) != 0)
		return COR_EXIT_FAILED;
	return status(&o);
}
