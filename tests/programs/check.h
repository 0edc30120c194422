/* What every self-checking workload shares.
 *
 *	PROGRAM [-p FILE] [-w FILE] [-l] [KIND...]
 *
 * It computes until SIGTERM (or SIGUSR1), verifying its own data all the while,
 * writes a growing number into FILE (opened and closed each time, so that no
 * descriptor is held), and then prints one line to standard output: "ok ..."
 * with exit status 0, or "FAIL what" with 1. -l lists the kinds that it knows.
 *
 * -w FILE is a witness: in each round the program locks FILE, which all hosts see, finds
 * that the last line is the one that it has written itself, and adds one with the round, a
 * random number and the host's name. A task that runs twice, even for a moment, even on
 * one host, finds another line there; so it notes TWICE.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

/* A table of such is given to check_kinds(). */
struct check_kind {
	const char *name;
	void (*setup)(void);    /* once, before the first round */
	void (*verify)(void);   /* in every round */
	void (*finish)(void);   /* once, after the last; may be NULL */
};

/* Reads the options and installs the handler. Returns the index of the first kind. */
int check_init(int argc, char **argv, const char *name);

/* True once SIGTERM or SIGUSR1 has come. */
bool check_stopping(void);

/* One more round done: writes the number into the progress file. */
void check_beat(void);

/* Notes the first failure (later ones are dropped); the program goes on to its end. */
__attribute__((format(printf, 1, 2))) void check_fail(const char *fmt, ...);
bool check_failed(void);

/* check(cond, "what"): check_fail unless cond. */
#define check(cond, ...) do { if (!(cond)) check_fail(__VA_ARGS__); } while (0)

/* For setup: prints and exits with 2 (broken test), or 77 (cannot be had here). */
#define need(cond) do { if (!(cond)) check_die(#cond, __LINE__); } while (0)
__attribute__((noreturn)) void check_die(const char *what, int line);
__attribute__((noreturn, format(printf, 1, 2))) void check_skip(const char *fmt, ...);

/* The verdict; does not return. */
__attribute__((noreturn, format(printf, 1, 2))) void check_done(const char *fmt, ...);

/* Runs the kinds named in argv (all when none is) until told to stop. */
__attribute__((noreturn))
void check_kinds(int argc, char **argv, const char *name, const struct check_kind *kinds,
		 unsigned n);

/* Helpers. */
uint64_t check_now_ns(clockid_t clock);
void check_sleep_ms(unsigned ms);           /* returns early when told to stop */
uint64_t check_mix(uint64_t x);             /* a well mixed function of x */
void check_fill(void *at, size_t len, uint64_t seed);
/* The first offset that differs from check_fill()'s pattern, or -1. */
ssize_t check_differs(const void *at, size_t len, uint64_t seed);
/* Whole text file into buf, NUL-terminated; its length or -1. */
ssize_t check_read_file(const char *path, char *buf, size_t size);

static inline pid_t check_gettid(void)
{
	return (pid_t)syscall(SYS_gettid);
}
