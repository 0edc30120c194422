/* What the parts of rebuild share: rebuild.c (life cycle), rebuild_memory.c,
 * rebuild_threads.c and the files behind it. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "libcor/task/channel.h"
#include "libcor/task/inject.h"
#include "libcor/task/rebuild.h"

enum cor_rebuild_stage {
	COR_REBUILD_STUB,       /* our code runs in the stub */
	COR_REBUILD_SEIZED,     /* the stub is ours by ptrace: its code is no more */
	COR_REBUILD_MEMORY,     /* the task's memory is in place */
	COR_REBUILD_READY,      /* so are its threads */
	COR_REBUILD_RESUMED,
};

/* A thread made here. */
struct cor_rebuild_thread {
	pid_t outer;            /* TID as we see it */
	pid_t inner;            /* as the task sees it */
};

struct cor_rebuild {
	enum cor_rebuild_stage stage;
	int   ctl;              /* to the supervisor; -1 when it is gone */
	int   channel;          /* to the stub */
	int   uffd;             /* until taken */
	int   pidfd;            /* of the stub */
	int   supervisor_pidfd;
	pid_t pid, supervisor;
	pid_t inner_pid;
	int   max_fd;
	bool  pid_ns;
	bool  foreign_vdso;     /* forced, for tests */
	struct cor_runner *runner;
	unsigned nthreads;      /* the leader included, which is the first */
	struct cor_rebuild_thread *threads;
};

/* A request to the stub and its answer (cor_message_clear it). The stub's
 * failure comes back as the error. */
int cor_rebuild_request(struct cor_rebuild *rb, const struct cor_message *request,
			struct cor_message *answer, struct cor_error *err);
