/* The host's name as a task sees it: uname(2)'s node and domain name, which a UTS namespace
 * has. A task keeps those of the host where it began, in a namespace of its own. */
#pragma once

#include <cor/error.h>
#include <stdbool.h>

#define COR_UTS_NAME 65         /* with the NUL */

struct cor_uts {
	char node[COR_UTS_NAME], domain[COR_UTS_NAME];
};

/* Ours. */
void cor_uts_own(struct cor_uts *out);

/* Has the process of which proc is /proc/PID another namespace than we? */
bool cor_uts_differs(int proc);

/* Those of the process of which proc is /proc/PID. The calling thread is in its namespace for
 * a moment, if that is another one. */
int cor_uts_read(int proc, struct cor_uts *out, struct cor_error *err);

/* A new namespace for the calling thread, in which these are the names. */
int cor_uts_make(const struct cor_uts *names, struct cor_error *err);

/* May we? CAP_SYS_ADMIN. */
bool cor_uts_possible(void);
