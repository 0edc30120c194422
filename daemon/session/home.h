/* Files that stay at home (libcor/names/home/home.h), in a session: which those are is agreed
 * on before the task is read; the source starts a file server for those that are on its
 * own host, the destination mounts what the task is to see. */
#pragma once

#include <cor/error.h>

#include "libcor/names/files.h"
#include "libcor/names/trees.pb-c.h"

struct cord_config;
struct source;
struct destination;

/* An open file of the task's that the file server has. */
struct home_adopted {
	int fd, dup;            /* the task's number for it; ours, to tell it by */
	uint64_t handle;
};

/* The source's part. */
struct source_home {
	Cor__Names__Plan *plan;         /* NULL: no file is the home's */
	int control;                    /* to the file server that was started here; -1 */
	struct home_adopted *adopted;
	unsigned nadopted;
	struct cor_lock_passing passing;
};

/* The destination's. */
struct destination_home {
	Cor__Names__Trees *trees;
	Cor__Names__Plan  *plan;        /* NULL: the task sees what this host sees */
	int *mounts, *sync;             /* by home; -1: not needed */
	char staging[280];
};

/* Between HELLO and the capture, where both have the mechanism. */
int  source_home_agree(struct source *s, struct cor_error *err);
/* What the task has open at its home is copied to this host. */
int  source_home_settle(struct source *s, struct cor_error *err);
/* cor_files_options.adopt; arg: struct source. */
int  source_home_adopt(void *arg, int fd, int dup, uint64_t *handle, struct cor_error *err);
/* In the freeze: locks go along; they do not, before the thaw; and behind the commit, where tracer
 * and serving part both may say so. */
int  source_home_pass(struct source *s, struct cor_error *err);
void source_home_keep(struct source *s);
void source_home_passed(struct source *s);
/* The task is elsewhere: what it does not have there is closed. */
void source_home_released(struct source *s);
void source_home_end(struct source *s);

/* The first message behind HELLO, where both have the mechanism. */
int  destination_home_agree(struct destination *d, struct cor_error *err);
/* With PREPARE's plan: connects to the homes. peer: the source's ADDR:PORT. */
int  destination_home_mount(struct destination *d, const ProtobufCBinaryData *plan,
			    struct cor_error *err);
/* cor_rebuild_plan.view; arg: struct destination. */
int  destination_home_view(void *arg, struct cor_error *err);
/* Open files of the task's that are this host's own: appends their descriptors to the
 * objects, and tells each file which it is. */
int  destination_home_fetch(struct destination *d, struct cor_error *err);
/* In the freeze: what was kept from before is not wrong now. */
int  destination_home_sync(struct destination *d, struct cor_error *err);
/* The mounts are the task's alone. */
void destination_home_arrived(struct destination *d);
void destination_home_end(struct destination *d);

/* Where file servers have their sockets, and mounts begin; made if it is missing. */
int  session_home_dir(const struct cord_config *c, char *out, size_t size, struct cor_error *err);
