/* Forking a worker out of cord. */
#pragma once

#include <sys/types.h>

/* Forks a process that runs run(arg) and exits with what it returns: the leader
 * of a session of its own, with default signal actions (SIGPIPE: ignored, so
 * that a log that is read no more kills nobody) and an empty mask, standard
 * input from /dev/null, standard output and error as cord's, and of all other
 * descriptors only those in keep (close_range(2)).
 * name: its prctl(PR_SET_NAME). Returns its PID, or -errno. */
pid_t spawn_worker(const char *name, const int *keep, unsigned nkeep,
		   int (*run)(const void *arg), const void *arg);
