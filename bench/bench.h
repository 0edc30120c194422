/* cor-bench: what its subcommands share. */
#pragma once

#include <argp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "libcor/base/hist.h"

#define BENCH_MAX_RUNS 99

/* The options that every subcommand takes; bench_common_argp parses them into
 * a struct bench_common that the subcommand passes as the child's input. */
struct bench_common {
	bool        json;
	const char *plot;       /* FILE.svg, or NULL */
	unsigned    runs;
};

extern const struct argp bench_common_argp;

/* Of the subcommands that take a size and a count too. parse_sized is their argp's parser, or
 * what their parser calls for keys that are not its own, its input beginning with this; how the
 * two options are documented is theirs. */
struct bench_sized {
	struct bench_common common;
	size_t   size;          /* --size, 's' */
	unsigned count;         /* --count, 'n' */
};
error_t parse_sized(int key, char *arg, struct argp_state *state);

/* One subcommand each: argv[0] is "cor-bench NAME". They return an exit status. */
int cmd_floor(int argc, char **argv);
int cmd_fault(int argc, char **argv);
int cmd_drain(int argc, char **argv);
int cmd_freeze(int argc, char **argv);
int cmd_cpu(int argc, char **argv);
int cmd_tls(int argc, char **argv);
int cmd_after(int argc, char **argv);
int cmd_redis(int argc, char **argv);
int cmd_import(int argc, char **argv);
int cmd_pin(int argc, char **argv);
int cmd_files(int argc, char **argv);

/* --- samples of several runs ------------------------------------------------ */
struct samples {
	double   v[BENCH_MAX_RUNS];
	unsigned n;
};

void   samples_add(struct samples *s, double v);
double samples_median(const struct samples *s);      /* NAN when there are none */

/* --- small things ------------------------------------------------------------ */

/* "64", "64K", "16M", "4G" in bytes, a multiple of the page size; ends the
 * program with a message where it is none. */
size_t parse_size(const struct argp_state *state, const char *text);
/* "16M,1G": their number, at most max. */
unsigned parse_sizes(const struct argp_state *state, char *text, size_t *sizes, unsigned max);
unsigned parse_count(const struct argp_state *state, const char *text, unsigned max);
/* "256 MiB" into a caller's buffer of 24 bytes; returns it. */
const char *size_text(char buf[24], size_t bytes);

/* posix_spawn of /bin/true and wait for it, in nanoseconds. */
uint64_t spawn_true_ns(void);

/* A connected pair of loopback TCP sockets, TCP_NODELAY, close-on-exec. */
void tcp_pair(int fds[2]);

/* fork; in the child SIGKILL when the parent ends, and any process may trace it. */
pid_t fork_child(void);
/* SIGKILL and wait; 0 and -1 are ignored. */
void end_child(pid_t pid);

/* Runs fn in a child and waits until it returns; ends the program where it does not. What it
 * found out is in memory of shared_memory(), zeros at first, for good. */
void in_child(void (*fn)(void *arg), void *arg);
void *shared_memory(size_t size);

/* CPU time that a process of ours has used so far, in nanoseconds. */
uint64_t cpu_ns(pid_t pid);

/* Spins until ns nanoseconds have passed: a task that computes. */
void compute(uint64_t ns);

#define US(ns) ((double)(ns) / 1e3)
