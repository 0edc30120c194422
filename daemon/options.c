/* The command line of cord, by argp. */
#include "daemon/options.h"

#include <argp.h>
#include <cor/cor.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "libcor/base/cleanup.h"
#include "libcor/base/error.h"

enum { OPT_INSECURE = 0x100, OPT_STATE_DIR };

/* As given; they go over the file, whose name is one of them. */
struct given {
	const char *name, *listen, *control, *config, *state_dir;
	bool        insecure;
	unsigned    verbose;
};

static const struct argp_option options[] = {
	{ "name",      'n', "NAME",      0,
	  "This host, as its peers know it (the host's name)", 0 },
	{ "listen",    'l', "ADDR:PORT", 0,
	  "Serve peers here (" CORD_DEFAULT_LISTEN ")", 0 },
	{ "control",   'c', "PATH",      0,
	  "The control socket (" CORD_DEFAULT_CONTROL ")", 0 },
	{ "config",    'f', "FILE",      0, "Read this configuration first", 0 },
	{ "state-dir", OPT_STATE_DIR, "DIR", 0,
	  "Where sessions leave what must outlive them (" CORD_DEFAULT_STATE ")", 0 },
	{ "insecure",  OPT_INSECURE, NULL, 0,
	  "Serve peers beyond loopback without keys: nothing is encrypted, "
	  "and whoever reaches the port can send tasks", 0 },
	{ "verbose",   'v', NULL,        0, "Log more", 0 },
	{ 0 },
};

static error_t parse_option(int key, char *arg, struct argp_state *state)
{
	struct given *g = state->input;

	switch (key) {
	case 'n':           g->name = arg; return 0;
	case 'l':           g->listen = arg; return 0;
	case 'c':           g->control = arg; return 0;
	case 'f':           g->config = arg; return 0;
	case OPT_STATE_DIR: g->state_dir = arg; return 0;
	case OPT_INSECURE:  g->insecure = true; return 0;
	case 'v':           g->verbose++; return 0;
	case ARGP_KEY_ARG:
		argp_error(state, "\"%s\" is not expected", arg);
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static void print_version(FILE *f, struct argp_state *state)
{
	fprintf(f, "cord %s\n", cor_version());
}

static int put(char *out, size_t size, const char *given, const char *option,
	       struct cor_error *err)
{
	if (!given)
		return 0;
	if (!*given || strlen(given) >= size)
		return cor_fail(err, -EINVAL, "--%s takes 1 to %zu bytes, not \"%.100s\"", option,
				size - 1, given);
	strcpy(out, given);
	return 0;
}

static int apply(struct cord_config *c, const struct given *g, struct cor_error *err)
{
	const struct { const char *given, *option; char *out; size_t size; } texts[] = {
		{ g->name,      "name",      c->name,      sizeof(c->name) },
		{ g->listen,    "listen",    c->listen,    sizeof(c->listen) },
		{ g->control,   "control",   c->control,   sizeof(c->control) },
		{ g->state_dir, "state-dir", c->state_dir, sizeof(c->state_dir) },
	};

	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		int r = put(texts[i].out, texts[i].size, texts[i].given, texts[i].option, err);

		if (r < 0)
			return r;
	}
	c->insecure |= g->insecure;
	return cord_config_check(c, err);
}

int cord_options_parse(struct cord_options *out, int argc, char **argv, struct cor_error *err)
{
	static const struct argp parser = {
		options, parse_option, NULL,
		"The daemon of cor: sends tasks to other hosts, receives them, and serves "
		"their memory.", NULL, NULL, NULL,
	};
	struct cord_config c;
	struct given g = { 0 };
	int r = 0;

	argp_program_version_hook = print_version;
	argp_err_exit_status = 1;
	if (argp_parse(&parser, argc, argv, 0, NULL, &g) != 0)
		return cor_fail(err, -EINVAL, "the options cannot be understood");
	cord_config_init(&c);
	if (g.config)
		r = cord_config_load(&c, g.config, err);
	if (r == 0)
		r = apply(&c, &g, err);
	if (r < 0) {
		cord_config_clear(&c);
		return r;
	}
	out->config = c;
	out->log_level = g.verbose ? CORD_LOG_DEBUG : CORD_LOG_INFO;
	return 0;
}
