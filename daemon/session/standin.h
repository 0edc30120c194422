/* The task's place where it left (libcor/task/standin.h), as the source keeps it: signals
 * that come to the ghost go to the task, and when nobody needs the ghost any more it
 * becomes a stand-in. */
#pragma once

#include <cor/error.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/types.h>

#include "libcor/names/mechanism.h"
#include "libcor/task/task.pb-c.h"
#include "libcor/task/tracee.h"

struct source_standin {
	bool  wanted;           /* there is someone who would miss the task */
	char  comm[16];
	char *args;             /* its command line */
	size_t args_len;
	siginfo_t *known;       /* pending in the ghost: the task has them, or will */
	unsigned nknown;
};

/* A task is missed by a parent that is neither the init nor of ours: then it is waited
 * for, and its PID is known; and by a terminal whose keys send it signals. Reads what the
 * stand-in will show. */
int  source_standin_begin(struct source_standin *k, pid_t pid, const struct cor_mechanisms *m,
			  struct cor_error *err);
/* The task runs elsewhere, with the signals that image has. */
void source_standin_left(struct source_standin *k, const Cor__Task__Image *image);
/* Passes on what has come to the ghost since, by the home pump. */
void source_standin_forward(struct source_standin *k, const struct cor_tracee *ghost, int home);
/* The ghost's end: a stand-in, or its death where none is wanted or can be. Frees it. */
void source_standin_make(struct source_standin *k, struct cor_tracee *ghost, int home,
			 struct cor_error *err);
void source_standin_end(struct source_standin *k);
