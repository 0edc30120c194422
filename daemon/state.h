/* The state directory (--state-dir): what outlives cord, and every process of a session.
 *
 * Each session has a page here for each of its roles, and so has each task that has
 * arrived: a file of 8 KiB that those who work for it have mapped. What they write
 * there is a store into memory: it costs no system call, waits for no disk, and is
 * there for others the moment that the writer is killed. A host's death takes page,
 * ghost and task along, so a file system in memory (/run) is the right place.
 *
 * Beside the page lies a socket on which a worker, or a task's supervisor, answers a
 * cord that was started anew.
 *
 *	ID.source       ID.source.sock         the session ID, of which the task leaves
 *	ID.destination  ID.destination.sock    the session ID, by which it arrives
 *	ID.task         ID.task.sock           the task that arrived by session ID
 *	ID.source.undo                         what was taken from the task before COMMIT
 *	ID.task.waits                          what its threads were waiting for, if anything
 *	                                       (libcor/task/waits.h)
 */
#pragma once

#include <assert.h>
#include <cor/error.h>
#include <jansson.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "daemon/states.h"
#include "libcor/task/rebuild.h"

enum state_kind { STATE_SOURCE, STATE_DESTINATION, STATE_TASK, STATE_KINDS };

#define STATE_NAME_MAX 56       /* of a page or a socket, with its NUL */
#define STATE_ABOUT    3072
#define STATE_RESULT   4096

/* A process, told from later ones with its PID by when it began. */
struct state_process {
	_Atomic int32_t  pid;   /* 0: none */
	int32_t          unused;
	_Atomic uint64_t start; /* clock ticks since boot */
};

struct state_page {
	char     magic[8];
	uint32_t version;
	uint32_t kind;          /* enum state_kind */
	char     boot[40];      /* /proc/sys/kernel/random/boot_id */
	uint8_t  session[16];
	uint8_t  secret[32];
	_Atomic uint64_t epoch; /* of this hand-over of the task */
	_Atomic uint32_t state; /* enum session_state */
	_Atomic uint32_t let_go;/* destination: a thread of the task may have run here;
				   source: the task is a ghost */
	struct state_process keeper, part;      /* who works for it; a task's supervisor */
	struct cor_rebuild_exit exit;           /* a task's; pid 0: it has not ended */
	/* JSON texts: what it is, and how it ended; length 0: not said */
	_Atomic uint32_t about_len, result_len;
	uint64_t made;          /* when: CLOCK_REALTIME, ns */
	char     room[848];
	char     about[STATE_ABOUT];
	char     result[STATE_RESULT];
};
static_assert(sizeof(struct state_page) == 8192, "a page of state is 8 KiB");
static_assert(sizeof(struct state_process) == 16, "as written");

/* A descriptor of the directory. -errno. */
int state_open(const char *path, struct cor_error *err);
/* The same for a cord, which has it alone while it lives: -EBUSY. */
int state_open_alone(const char *path, struct cor_error *err);

void state_name(char name[STATE_NAME_MAX], enum state_kind kind, const uint8_t session[16]);

/* Makes and maps a page; the file has all the room it will need, or -ENOSPC. *fd (NULL
 * allowed): a descriptor of it, the caller's. */
int state_page_new(int dir, enum state_kind kind, const uint8_t session[16],
		   const uint8_t secret[32], struct state_page **out, int *fd,
		   struct cor_error *err);
/* Maps one that is there. -ENOENT; -ESTALE: of another boot of this host; -EPROTO: it is
 * none of ours. */
int state_page_open(int dir, const char *name, struct state_page **out);
/* The same by a descriptor of it, for a process that was told of it by number. */
int state_page_map(int fd, struct state_page **out);
/* NULL allowed. */
void state_page_unmap(struct state_page *p);

/* The texts; message is stolen. Reading: a fresh object, NULL when there is none. */
void    state_page_tell(struct state_page *p, json_t *message);
json_t *state_page_about(const struct state_page *p);
void    state_page_end(struct state_page *p, json_t *message);
json_t *state_page_result(const struct state_page *p);

/* Notes a living process. */
void state_process_set(struct state_process *at, pid_t pid);
/* A pidfd of it, or -ESRCH. */
int  state_process_open(const struct state_process *at);

/* A listening SOCK_SEQPACKET socket, non-blocking; and connecting to it: -ECONNREFUSED,
 * -ENOENT. */
int state_listen(int dir, enum state_kind kind, const uint8_t session[16],
		 struct cor_error *err);
int state_connect(int dir, enum state_kind kind, const uint8_t session[16]);

/* A descriptor of a task's waits: to write them (create), or to read. -ENOENT, -errno. */
int state_waits(int dir, const uint8_t session[16], bool create);

/* A descriptor of what is to be undone of a session's at the source (daemon/source/undo.c): to
 * write it (create), or to read. -ENOENT, -errno. What was written takes the place of the
 * last one, whole, by state_undo_written(). And its end. */
int  state_undo(int dir, const uint8_t session[16], bool create);
int  state_undo_written(int dir, const uint8_t session[16]);
void state_undo_remove(int dir, const uint8_t session[16]);

/* All of it; what is not there is no error. */
void state_remove(int dir, enum state_kind kind, const uint8_t session[16]);

/* Calls fn for every page's name in the directory of that kind, in no order. */
int state_each(int dir, enum state_kind kind,
	       void (*fn)(void *arg, const char *name), void *arg);
