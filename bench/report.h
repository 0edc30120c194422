/* A bench's result: tables of numbers, one-line findings, curves; printed as
 * text or as one JSON object, and drawn by gnuplot. */
#pragma once

#include "bench/bench.h"

struct report;

struct report_column {
	const char *key;        /* in JSON, with the unit: "p50_us" */
	const char *heading;    /* in the table */
	int         decimals;
};

struct report *report_new(const char *bench);

/* Begins a table; rows go to the last one. columns must outlive the report. */
void report_table(struct report *r, const char *key, const char *title,
		  const struct report_column *columns, unsigned n);
/* One value per column; NAN leaves a blank. */
void report_row(struct report *r, const char *name, const double *values);
/* The median of each column's samples. */
void report_row_medians(struct report *r, const char *name, const struct samples *columns);

/* One figure that the tables lead to, with the goal that it should not exceed (NAN: none),
 * or that it should reach at least. */
void report_finding(struct report *r, const char *key, const char *what, double value, double goal);
void report_finding_least(struct report *r, const char *key, const char *what, double value,
			  double goal);

void report_axes(struct report *r, const char *title, const char *x, const char *y,
		 bool log_x);
void report_curve(struct report *r, const char *name);
void report_point(struct report *r, double x, double y);
/* The share of samples (y, 0..1) that took at most x microseconds. */
void report_curve_hist(struct report *r, const char *name, const struct cor_hist *h);

/* Prints, draws where asked, and frees. Returns an exit status. */
int report_end(struct report *r, const struct bench_common *c);

/* p50, p90, p99 and max of a histogram, in microseconds: four columns. */
extern const struct report_column report_latency_columns[4];
void report_latency(struct report *r, const char *name, const struct cor_hist *h);
