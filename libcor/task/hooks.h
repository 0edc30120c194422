/* hooks: telling an application about its migration (include/cor/migrate.h).
 *
 * A task under libcor-preload.so has a block of words in that library's data. A
 * thread of the task sleeps in a futex on the word `bell`.
 * The daemon changes counters in the block and then the bell. A thread that is
 * stopped by its tracer, or moved to another host, restarts its futex wait when
 * it runs again and finds the bell changed: no wake-up is needed, which another
 * process could not give (the futex is private).
 */
#pragma once

#include <cor/error.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define COR_HOOK_MAGIC   "corhook"      /* 8 bytes with the NUL */
#define COR_HOOK_VERSION 1

struct cor_hook_block {
	char     magic[8];
	uint32_t version;
	int32_t  tid;           /* the thread that waits, in the task's PID namespace; 0: no hooks */
	uint32_t bell;          /* daemon: changed after any of its other words */
	uint32_t requests;      /* daemon: migrations announced */
	uint32_t answers;       /* task: requests whose `before` hooks have returned */
	uint32_t arrivals;      /* source's daemon, in the stopped task: times moved */
	uint32_t cancels;       /* daemon: announced migrations that were called off */
	uint32_t reserved[7];
};
_Static_assert(sizeof(struct cor_hook_block) == 64, "one cache line");

/* A migration's view of the block. */
struct cor_hooks {
	pid_t    pid;
	uint64_t addr;
	bool     asked;         /* the `before` hooks were asked for */
	bool     arriving;      /* arrivals was raised */
};

/* Looks for the block in the library's data; works on any task, however it came
 * here. 0; -ENOENT: the task has no hooks (no library, or nobody waits). */
int cor_hooks_find(struct cor_hooks *h, pid_t pid, struct cor_error *err);

/* The same where the address is known: the library tells it when it registers. */
int cor_hooks_open(struct cor_hooks *h, pid_t pid, uint64_t addr, struct cor_error *err);

/* The task runs and is not traced: runs the `before` hooks and waits for them.
 * -ETIME: they did not return in time (the migration may go on all the same). */
int cor_hooks_before(struct cor_hooks *h, unsigned timeout_ms, struct cor_error *err);

/* The task is stopped and is about to be moved: as soon as it runs elsewhere, its
 * `after` hooks run. Call before any of its pages is read. */
int cor_hooks_arriving(struct cor_hooks *h, struct cor_error *err);

/* The migration is off. stopped: the task is stopped and will be thawed by the
 * caller, else it runs untraced. Undoes cor_hooks_arriving(); where `before` ran,
 * `after` runs with moved = 0. */
int cor_hooks_cancel(struct cor_hooks *h, bool stopped, struct cor_error *err);
