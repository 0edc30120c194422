/* lab: two cords of our own on loopback, a task to migrate between them, and
 * their control sockets. */
#pragma once

#include <jansson.h>

#include "bench/apart.h"
#include "bench/bench.h"

struct cord {
	pid_t pid;
	const struct apart_host *host;  /* NULL: ours */
	char  listen[40];       /* ADDRESS:PORT */
	char  control[96];
	char  log[96];
};

struct lab {
	char dir[64];
	struct cord source, destination;
};

/* cord: the program, or NULL to look for it. -errno after a message. */
int  lab_start(struct lab *lab, const char *cord);
/* The same, each on a host of its own. */
int  lab_start_apart(struct lab *lab, const char *cord, const struct apart_host hosts[2]);
/* keep: leave the logs, and say where. */
void lab_stop(struct lab *lab, bool keep);

/* Starts the task NAME of cor-bench's, a program of its own, with the arguments up to NULL
 * (at most TASK_ARGS) and the number of a descriptor: in a session of its own, on
 * /dev/null. Waits until it has written a byte to that. */
#define TASK_ARGS 4
pid_t victim_start_program(const char *name, ...);

/* Starts cor-bench-task in a session of its own, on /dev/null, and waits until
 * it has touched its memory. */
pid_t victim_start(size_t size, unsigned threads, bool waiting);

/* The same with a python3 that has loaded many libraries; 0: there is none. */
pid_t victim_start_python(void);

unsigned victim_mappings(pid_t pid);

/* Moves pid from source to destination and waits until it has drained. *result is
 * cord's answer, the caller's reference. -errno after a message. */
int lab_migrate(struct lab *lab, pid_t pid, json_t **result);
/* The same with an address (ADDR/PREFIX) and the connections there. */
int lab_migrate_address(struct lab *lab, pid_t pid, const char *address, json_t **result);

/* Ends the task that arrived: only if it is one of ours. */
void victim_end(pid_t pid);
