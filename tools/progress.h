/* The progress bar of a migration, on a terminal. */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct progress {
	bool     on;             /* standard error is a terminal */
	bool     drawn;          /* a line stands there */
	uint64_t last_ns;        /* when and at which page count the rate was last taken */
	uint64_t last_pages;
	double   rate;           /* pages a second, smoothed; 0: not known */
};

/* What a line shows; all counts in pages of 4 KiB. */
struct progress_view {
	const char *comm, *peer, *state;
	int64_t     pid;
	uint64_t    done, total;         /* total 0: not known yet */
	uint64_t    faults;
	double      rate;                /* pages a second */
};

/* Writes the line, at most width columns, into buf; without colour or movement. */
void progress_line(char *buf, size_t size, unsigned width, const struct progress_view *v);

void progress_begin(struct progress *p);
/* Takes cord's progress event. */
void progress_show(struct progress *p, const json_t *event);
/* Wipes the line away. */
void progress_end(struct progress *p);
