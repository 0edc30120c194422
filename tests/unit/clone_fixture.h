/* A task moved inside one process tree: frozen and captured, made again in a new
 * PID namespace, its pages fetched from the ghost over socket pairs. The tasks
 * are the self-checking programs of tests/programs. */
#pragma once

#include <cor/cor.h>
#include <stdbool.h>
#include <sys/types.h>

#include "libcor/names/files.h"
#include "libcor/paging/pager.h"
#include "libcor/paging/server.h"
#include "libcor/task/capture.h"
#include "libcor/task/rebuild.h"

struct clone {
	struct cor_ctx *ctx;
	char  dir[64];
	pid_t pid;                      /* the source */
	_Atomic uint32_t let_go;
	struct cor_rebuild_plan plan;   /* switches may be set before clone_move() */
	unsigned inline_written_max;
	bool  without_files;            /* no mapped file is the same on the destination */
	bool  bulk;                     /* with a bulk lane */
	Cor__Task__Image *skeleton, *image;
	Cor__Names__FileTable *files;
	struct cor_tracee *tracee;
	struct cor_rebuild *rb;         /* until it is released */
	pid_t task;                     /* on the destination, until it has ended */
	struct cor_page_server *server;
	struct cor_pager *pager;
	int   objects[64];
	unsigned nobjects;
	int   report[2];
};

int clone_setup(void **state);
int clone_teardown(void **state);

/* Starts tests/programs/NAME with argv (NULL-terminated, may be NULL), and waits until
 * it has begun. Skips the test when the program cannot be had here. */
void clone_start(struct clone *c, const char *name, const char *const *argv);

/* Waits for n more rounds of it. */
void clone_await_rounds(struct clone *c, unsigned n);

/* All of it, until the task runs on the destination; the source is a ghost. */
void clone_move(struct clone *c);

/* Waits for the last page; the ghost dies. */
void clone_drain(struct clone *c);

/* Tells the task to end; its verdict must be good. */
void clone_finish(struct clone *c);
