/* rig: the processes of a paging measurement, all children of cor-bench.
 *
 *	ghost    stopped, its memory holds the pages
 *	server   answers page requests out of the ghost (bare, or libcor's)
 *	task     has the same range lazy, under a userfaultfd that cor-bench
 *	         is given; touches it as it is told and times every touch
 */
#pragma once

#include <sched.h>

#include "bench/bench.h"

struct ghost {
	pid_t  pid;
	char  *base;            /* the same address in ghost and task */
	size_t size;
	bool   apart;           /* its host has processors of its own: */
	cpu_set_t processors;
};

/* Forks a process that writes every page of size bytes, and stops it. */
void ghost_start(struct ghost *g, size_t size);
/* As on two hosts: from here on servers have one half of the processors that we may use, and this
 * process with its other children has the rest. Ends the program where there is only one. */
void ghost_apart(struct ghost *g);
/* In a child that serves the ghost's pages: its processors, if ghosts are apart. */
void ghost_host(const struct ghost *g);
void ghost_end(struct ghost *g);

enum walk { WALK_RANDOM, WALK_SEQUENTIAL, WALK_STRIDE };

struct order {
	enum walk walk;
	unsigned  stride;       /* pages, WALK_STRIDE */
	unsigned  count;        /* pages to touch in all; 0: all of them */
	unsigned  threads;      /* that share them out */
	uint64_t  compute_ns;   /* between two touches */
};

struct outcome {                /* lives in memory shared with the task */
	struct cor_hist fault;  /* touches that had to wait for their page */
	uint64_t wrong;         /* pages that did not hold what the ghost wrote */
	uint64_t wall_ns;
	uint64_t rss;           /* bytes resident in the range when done (set by the task) */
};

struct task {
	pid_t  pid;
	int    sock;
	int    uffd;            /* ours; without API handshake, O_NONBLOCK */
	char  *base;
	size_t size;
	struct outcome *outcome;
};

void task_start(struct task *t, const struct ghost *g);
/* Tells it what to touch; task_wait() until it has. */
void task_order(struct task *t, const struct order *o);
void task_wait(struct task *t);
void task_end(struct task *t);

/* The first word of page i of a ghost. */
static inline uint64_t page_word(uint64_t i)
{
	return (i + 1) * 0x9e3779b97f4a7c15ull;
}

/* A touch that took less found its page already there. */
#define TOUCH_PRESENT_NS 3000
