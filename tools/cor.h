/* What the subcommands of cor share. */
#pragma once

#include <argp.h>
#include <stdbool.h>

/* Exit statuses of every subcommand. */
enum {
	COR_EXIT_DONE    = 0,
	COR_EXIT_FAILED  = 1,   /* refused or failed; a task still runs where it was */
	COR_EXIT_UNKNOWN = 2,   /* the answer of cord was not heard */
	COR_EXIT_LOST    = 3,   /* the task was lost */
};

struct cor_globals {
	const char *control;    /* the control socket's path */
};

struct cor_command {
	const char *name, *summary;
	/* argv[0] is "cor NAME". Returns the exit status. */
	int (*run)(struct cor_globals *globals, int argc, char **argv);
};

int cor_migrate(struct cor_globals *globals, int argc, char **argv);
int cor_status(struct cor_globals *globals, int argc, char **argv);
int cor_settle(struct cor_globals *globals, int argc, char **argv);
int cor_resolve(struct cor_globals *globals, int argc, char **argv);
int cor_cancel(struct cor_globals *globals, int argc, char **argv);
int cor_run(struct cor_globals *globals, int argc, char **argv);
int cor_check(struct cor_globals *globals, int argc, char **argv);

/* --control, for subcommands that talk to cord: a child parser whose input is
 * the struct cor_globals. */
extern const struct argp cor_control_argp;

/* One line on standard error: "cor: ...". Returns COR_EXIT_FAILED. */
int cor_complain(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
