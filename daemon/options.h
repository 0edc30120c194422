/* cord's command line. */
#pragma once

#include "daemon/config.h"
#include "daemon/log.h"

struct cord_options {
	struct cord_config  config;      /* defaults, then the file, then the options */
	enum cord_log_level log_level;
};

/* Exits for --help and --version, and with status 1 and a line on standard error
 * for what cannot be understood. 0, or a negative errno with *err for what the
 * configuration gets wrong. */
int cord_options_parse(struct cord_options *out, int argc, char **argv, struct cor_error *err);
