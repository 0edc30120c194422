/* cor: moves tasks between hosts. Each subcommand is in a file of its own. */
#include "tools/cor.h"

#include <cor/cor.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "libcor/base/cleanup.h"
#include "tools/output.h"

#define DEFAULT_CONTROL "/run/cor/cord.sock"

static const struct cor_command commands[] = {
	{ "migrate", "move a task to another host",                    cor_migrate },
	{ "ps",      "tasks and migrations here",                      cor_status },
	{ "status",  "the same, or one migration in full",             cor_status },
	{ "cancel",  "call a migration off, before the hand-over",     cor_cancel },
	{ "resolve", "end a migration whose other host is dead",       cor_resolve },
	{ "settle",  "bring here what a task still needs of other hosts", cor_settle },
	{ "run",     "start a command with the preload library",       cor_run },
	{ "check",   "what this kernel and host can do",               cor_check },
};

int cor_complain(const char *fmt, ...)
{
	char text[1024];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	output_clean_text(text);
	fprintf(stderr, "cor: %s\n", text);
	return COR_EXIT_FAILED;
}

static error_t parse_control(int key, char *arg, struct argp_state *state)
{
	struct cor_globals *g = state->input;

	if (key != 'c')
		return ARGP_ERR_UNKNOWN;
	g->control = arg;
	return 0;
}

static const struct argp_option control_options[] = {
	{ "control", 'c', "PATH", 0,
	  "cord's control socket ($COR_CONTROL, else one's own, else " DEFAULT_CONTROL ")", 0 },
	{ 0 },
};

const struct argp cor_control_argp = {
	control_options, parse_control, NULL, NULL, NULL, NULL, NULL,
};

/* Letters to change, insert or drop to make b of a (two rows of the table). */
static size_t distance(const char *a, const char *b)
{
	size_t row[32], n = strlen(b);

	if (n >= ARRAY_SIZE(row))
		return n;
	for (size_t j = 0; j <= n; j++)
		row[j] = j;
	for (size_t i = 1; a[i - 1]; i++) {
		size_t diagonal = row[0];

		row[0] = i;
		for (size_t j = 1; j <= n; j++) {
			size_t above = row[j];
			size_t change = diagonal + (a[i - 1] != b[j - 1]);
			size_t other = COR_MIN(above, row[j - 1]) + 1;

			row[j] = COR_MIN(change, other);
			diagonal = above;
		}
	}
	return row[n];
}

static int unknown_command(const char *name)
{
	const char *near = NULL;
	size_t best = 3;

	for (size_t i = 0; i < ARRAY_SIZE(commands); i++) {
		size_t d = distance(name, commands[i].name);

		if (d < best) {
			best = d;
			near = commands[i].name;
		}
	}
	if (near)
		return cor_complain("\"%s\" is not a command; did you mean \"%s\"?", name, near);
	return cor_complain("\"%s\" is not a command; see cor --help", name);
}

struct parsed {
	struct cor_globals globals;
	int                command;     /* index of its name in argv, 0: none */
};

static error_t parse_main(int key, char *arg, struct argp_state *state)
{
	struct parsed *p = state->input;

	switch (key) {
	case ARGP_KEY_INIT:
		state->child_inputs[0] = &p->globals;
		return 0;
	case ARGP_KEY_ARG:
		/* What follows belongs to the subcommand. */
		p->command = state->next - 1;
		state->next = state->argc;
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static void print_version(FILE *f, struct argp_state *state)
{
	fprintf(f, "cor %s\n", cor_version());
}

static char *list_commands(int key, const char *text, void *input)
{
	char *out = NULL;
	size_t size;
	FILE *f;

	if (key != ARGP_KEY_HELP_POST_DOC)
		return (char *)text;
	f = open_memstream(&out, &size);
	if (!f)
		return NULL;
	fputs("Commands:\n", f);
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
		fprintf(f, "  %-10s %s\n", commands[i].name, commands[i].summary);
	fputs("\ncor COMMAND --help tells more about each; cor(1) tells all.", f);
	fclose(f);
	return out;
}

static int run_command(struct parsed *p, int argc, char **argv)
{
	char shown[64];

	for (size_t i = 0; i < ARRAY_SIZE(commands); i++) {
		if (strcmp(argv[0], commands[i].name))
			continue;
		snprintf(shown, sizeof(shown), "cor %s", commands[i].name);
		argv[0] = shown;
		return commands[i].run(&p->globals, argc, argv);
	}
	return unknown_command(argv[0]);
}

/* The user's own cord (cord(8)), if there is one. */
static const char *default_control(char *buf, size_t size)
{
	const char *dir = geteuid() ? getenv("XDG_RUNTIME_DIR") : NULL;
	int n = snprintf(buf, size, "%s/cor/cord.sock", dir ?: "");

	return dir && n > 0 && (size_t)n < size && access(buf, F_OK) == 0 ? buf : DEFAULT_CONTROL;
}

int main(int argc, char **argv)
{
	static const struct argp_child children[] = { { &cor_control_argp, 0, NULL, 0 }, { 0 } };
	/* The vertical tab parts what stands before the options from what is behind. */
	static const struct argp parser = {
		NULL, parse_main, "COMMAND [ARGUMENT...]",
		"Moves running tasks between hosts; their memory follows by reference.\v ",
		children, list_commands, NULL,
	};
	const char *control = getenv("COR_CONTROL");
	struct parsed p = { 0 };
	char own[108];

	p.globals.control = control && *control ? control : default_control(own, sizeof(own));
	argp_program_version_hook = print_version;
	argp_err_exit_status = COR_EXIT_FAILED;
	argv[0] = (char *)"cor";
	if (argp_parse(&parser, argc, argv, ARGP_IN_ORDER, NULL, &p) != 0)
		return COR_EXIT_FAILED;
	if (!p.command)
		return cor_complain("which command? See cor --help");
	return run_command(&p, argc - p.command, argv + p.command);
}
