/* A forked process to trace in tests. It dies with the test at the latest. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/user.h>

struct victim {
	pid_t pid;
	int   from;      /* what the victim writes */
	int   to;        /* what the victim reads */
	void *shared;    /* a page that both see, zeroed */
};

/* Forks a child that runs body(v, arg) and exits with its return value; in the
 * child v->from and v->to are its own ends (write from, read to). Waits until
 * the child has called victim_ready(). */
void victim_start(struct victim *v, int (*body)(struct victim *v, void *arg), void *arg);
void victim_ready(struct victim *v);

/* Kills, reaps, closes. Safe to call twice. */
void victim_end(struct victim *v);

/* Waits until every thread of the victim is blocked (state S). */
void victim_await_sleep(pid_t pid);

/* PTRACE_SEIZE and stop of one thread. */
void victim_seize(pid_t tid);

/* Lets the victim (waiting in read(to)) end by itself; its exit status. */
int victim_finish(struct victim *v);
