/* cor-bench after: how fast a task is that was moved, once all of its memory has
 * followed, beside one that never was. Both walk in turn on the same processor. */
#include <err.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>

#include "bench/lab.h"
#include "bench/report.h"
#include "bench/walker.h"

#define WARM 1u                 /* turns that do not count */

struct options {
	struct bench_common common;
	size_t      size;
	unsigned    turns;
	const char *cord;
};

static const struct argp_option after_options[] = {
	{ "size", 's', "BYTES", 0, "Memory of the tasks (default 1G)", 0 },
	{ "count", 'n', "N", 0, "Turns of each task in each run (default 5)", 0 },
	{ "cord", 'c', "PROGRAM", 0, "The daemon (default: beside cor-bench, then in PATH)", 0 },
	{ 0 }
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct options *o = state->input;

	switch (key) {
	case 's':
		o->size = parse_size(state, arg);
		return 0;
	case 'n':
		o->turns = parse_count(state, arg, BENCH_MAX_RUNS);
		return 0;
	case 'c':
		o->cord = arg;
		return 0;
	case ARGP_KEY_INIT:
		state->child_inputs[0] = &o->common;
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

enum { STAYED, MOVED, RATIO, HUGE_BEFORE, HUGE_AFTER, MORE_MAPPINGS, NCOLUMNS };

static const struct report_column columns[NCOLUMNS] = {
	{ "stayed_ms", "stayed ms", 2 }, { "moved_ms", "moved ms", 2 }, { "ratio", "ratio", 3 },
	{ "stayed_huge_mib", "huge MiB", 0 }, { "moved_huge_mib", "moved's", 0 },
	{ "more_mappings", "+mappings", 0 },
};

static const char *const kinds[2][WALKS] = {
	{ "sequential", "random", "written", "fresh pages" },
	{ "sequential, huge pages", "random, huge pages", "written, huge pages",
	  "fresh pages, huge pages" },
};

struct result {
	struct samples v[2][WALKS][NCOLUMNS];
};

/* Moves the walker, which is another process then. What stays in its place at home would
 * pass on how it ends, and is the caller's to end. */
static int move(struct lab *lab, struct walker *w)
{
	json_t *result;
	int r = lab_migrate(lab, w->pid, &result);

	if (r)
		return r;
	w->pid = (pid_t)json_integer_value(json_object_get(result, "destination_pid"));
	json_decref(result);
	return 0;
}

/* A B A B: both see the same minutes of this machine. The first turns do not count. */
static int take_turns(const struct options *o, struct walker *stayed, struct walker *moved,
		      struct samples v[WALKS][RATIO + 1])
{
	struct walked a, b;

	for (unsigned i = 0; i < o->turns + WARM; i++) {
		if (walker_order(stayed, &a) || walker_order(moved, &b))
			return -EIO;
		if (a.sum != b.sum || a.cpu != b.cpu) {
			warnx("the task that was moved %s", a.sum != b.sum ? "does not hold what it did"
			      : "is on another processor");
			return -EIO;
		}
		for (unsigned k = 0; k < WALKS && i >= WARM; k++) {
			samples_add(&v[k][STAYED], (double)a.ns[k] / 1e6);
			samples_add(&v[k][MOVED], (double)b.ns[k] / 1e6);
			samples_add(&v[k][RATIO], (double)b.ns[k] / (double)a.ns[k]);
		}
	}
	return 0;
}

static void note(const struct walker *stayed, const struct walker *moved,
		 const struct samples v[WALKS][RATIO + 1], struct samples out[WALKS][NCOLUMNS])
{
	unsigned mappings[2];
	uint64_t huge[2];

	walker_memory(stayed, &huge[0], &mappings[0]);
	walker_memory(moved, &huge[1], &mappings[1]);
	for (unsigned k = 0; k < WALKS; k++) {
		for (unsigned c = 0; c <= RATIO; c++)
			samples_add(&out[k][c], samples_median(&v[k][c]));
		samples_add(&out[k][HUGE_BEFORE], (double)huge[0] / 1024);
		samples_add(&out[k][HUGE_AFTER], (double)huge[1] / 1024);
		samples_add(&out[k][MORE_MAPPINGS], (double)mappings[1] - (double)mappings[0]);
	}
}

/* One pair of tasks. Which of them has the older memory alternates. */
static int run_pair(const struct options *o, struct lab *lab, bool huge, bool stayed_first,
		    struct samples out[WALKS][NCOLUMNS])
{
	struct samples v[WALKS][RATIO + 1] = { 0 };
	struct walker stayed, moved;
	pid_t home;
	int r;

	if (stayed_first)
		walker_start(&stayed, lab->dir, o->size, huge);
	walker_start(&moved, lab->dir, o->size, huge);
	home = moved.pid;
	r = move(lab, &moved);
	if (!stayed_first)
		walker_start(&stayed, lab->dir, o->size, huge);
	if (!r)
		r = take_turns(o, &stayed, &moved, v);
	if (!r)
		note(&stayed, &moved, v, out);
	walker_end(&moved);
	walker_end(&stayed);
	end_child(home);
	return r;
}

static int measure(const struct options *o, struct result *res)
{
	struct lab lab;
	int r = lab_start(&lab, o->cord);

	for (unsigned run = 0; !r && run < o->common.runs; run++)
		for (unsigned huge = 0; !r && huge < 2; huge++)
			r = run_pair(o, &lab, huge, run % 2, res->v[huge]);
	lab_stop(&lab, r != 0);
	return r;
}

static void draw(struct report *r, const struct result *res)
{
	report_axes(r, "After the drain", "run", "time of the moved task over the other's", false);
	for (unsigned huge = 0; huge < 2; huge++)
		for (unsigned k = 0; k < WALKS; k++) {
			const struct samples *s = &res->v[huge][k][RATIO];

			report_curve(r, kinds[huge][k]);
			for (unsigned i = 0; i < s->n; i++)
				report_point(r, i + 1, s->v[i]);
		}
}

int cmd_after(int argc, char **argv)
{
	static const struct argp_child children[] = { { &bench_common_argp, 0, NULL, 0 }, { 0 } };
	static const struct argp argp = { after_options, parse, NULL,
		"Moves a memory-bound task between two cords of its own on loopback, waits until "
		"all of its memory has followed, and lets it walk through it in turn with one that "
		"was never moved.", children, NULL, NULL };
	struct options o = { .common.runs = 5, .turns = 5, .size = 1u << 30 };
	static struct result res;
	struct report *r;
	double worst = 0;

	if (argp_parse(&argp, argc, argv, 0, NULL, &o))
		return 2;
	if (measure(&o, &res))
		return 1;
	r = report_new("after");
	report_table(r, "after", "walk", columns, NCOLUMNS);
	for (unsigned huge = 0; huge < 2; huge++)
		for (unsigned k = 0; k < WALKS; k++) {
			report_row_medians(r, kinds[huge][k], res.v[huge][k]);
			worst = fmax(worst, samples_median(&res.v[huge][k][RATIO]));
		}
	report_finding(r, "moved_over_stayed", "time of the moved task over the other's, worst walk",
		       worst, 1.02);
	draw(r, &res);
	return report_end(r, &o.common);
}
