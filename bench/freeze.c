/* cor-bench freeze: how long a task stands still while it changes hosts, for
 * several sizes of memory, beside posix_spawn + wait of /bin/true. */
#include <err.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

#include "bench/lab.h"
#include "bench/report.h"

#define MAX_SIZES  8
#define SPAWNS     5    /* around each migration; their median counts */

struct options {
	struct bench_common common;
	size_t      sizes[MAX_SIZES];
	unsigned    nsizes, threads;
	const char *cord;
};

static const struct argp_option freeze_options[] = {
	{ "sizes", 's', "BYTES,...", 0, "Touched memory (default 16M,256M,1G,4G)", 0 },
	{ "threads", 't', "N", 0, "Threads of the task (default 1)", 0 },
	{ "cord", 'c', "PROGRAM", 0, "The daemon (default: beside cor-bench, then in PATH)", 0 },
	{ 0 }
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct options *o = state->input;

	switch (key) {
	case 's':
		o->nsizes = parse_sizes(state, arg, o->sizes, MAX_SIZES);
		return 0;
	case 't':
		o->threads = parse_count(state, arg, 4096);
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

enum { SPAWN, FREEZE, RATIO, CAPTURE, REBUILD, DRAIN, FAULTS, FAULT50, FAULT99, NCOLUMNS };

static const struct report_column columns[NCOLUMNS] = {
	{ "spawn_us", "spawn us", 0 }, { "freeze_us", "freeze us", 0 }, { "ratio", "ratio", 2 },
	{ "capture_us", "capture us", 0 }, { "rebuild_us", "rebuild us", 0 },
	{ "drain_ms", "drain ms", 1 }, { "faults", "faults", 0 },
	{ "fault_p50_us", "fault p50", 1 }, { "fault_p99_us", "fault p99", 1 },
};

static double field(const json_t *o, const char *key)
{
	const json_t *v = json_object_get(o, key);

	return json_is_number(v) ? json_number_value(v) : NAN;
}

static void add_spawns(struct samples *s)
{
	for (unsigned i = 0; i < SPAWNS; i++)
		samples_add(s, US(spawn_true_ns()));
}

/* One migration, spawns before and after it. 0 or -errno. */
static int migrate_once(struct lab *lab, size_t size, unsigned threads,
			struct samples out[NCOLUMNS])
{
	struct samples spawn = { 0 };
	double v[NCOLUMNS];
	const json_t *fault;
	json_t *result;
	pid_t pid;
	int r;

	pid = victim_start(size, threads);
	add_spawns(&spawn);
	r = lab_migrate(lab, pid, &result);
	if (r) {
		end_child(pid);
		return r;
	}
	add_spawns(&spawn);
	fault = json_object_get(result, "fault_us");
	v[SPAWN] = samples_median(&spawn);
	v[FREEZE] = field(result, "freeze_us");
	v[RATIO] = v[FREEZE] / v[SPAWN];
	v[CAPTURE] = field(result, "capture_us");
	v[REBUILD] = field(result, "rebuild_us");
	v[DRAIN] = field(result, "drain_us") / 1e3;
	v[FAULTS] = field(result, "faults");
	v[FAULT50] = field(fault, "p50");
	v[FAULT99] = field(fault, "p99");
	for (unsigned i = 0; i < NCOLUMNS; i++)
		if (!isnan(v[i]))
			samples_add(&out[i], v[i]);
	victim_end((pid_t)json_integer_value(json_object_get(result, "destination_pid")));
	json_decref(result);
	/* The ghost is gone; what is left of it is ours to reap. */
	end_child(pid);
	return 0;
}

static void findings(struct report *r, const struct options *o,
		     struct samples s[MAX_SIZES][NCOLUMNS])
{
	double least = INFINITY, most = 0, worst = 0;

	for (unsigned i = 0; i < o->nsizes; i++) {
		double freeze = samples_median(&s[i][FREEZE]);

		least = fmin(least, freeze);
		most = fmax(most, freeze);
		worst = fmax(worst, samples_median(&s[i][RATIO]));
	}
	report_finding(r, "largest_over_smallest", "freeze, largest over smallest", most / least, 1.3);
	report_finding(r, "freeze_over_spawn", "freeze over posix_spawn + wait, worst size", worst, 5);
}

static int measure(const struct options *o, struct samples s[MAX_SIZES][NCOLUMNS])
{
	struct lab lab;
	int r = lab_start(&lab, o->cord);

	/* The sizes in turn, so that none has the quiet minutes to itself. */
	for (unsigned run = 0; !r && run < o->common.runs; run++)
		for (unsigned i = 0; !r && i < o->nsizes; i++)
			r = migrate_once(&lab, o->sizes[i], o->threads, s[i]);
	lab_stop(&lab, r != 0);
	return r;
}

int cmd_freeze(int argc, char **argv)
{
	static const struct argp_child children[] = { { &bench_common_argp, 0, NULL, 0 }, { 0 } };
	static const struct argp argp = { freeze_options, parse, NULL,
		"Migrates a task between two cords of its own on loopback and prints how long it "
		"stood still, beside posix_spawn + wait of /bin/true in the same run.",
		children, NULL, NULL };
	struct options o = { .common.runs = 5, .threads = 1, .nsizes = 4,
			     .sizes = { 16u << 20, 256u << 20, 1u << 30, 4ull << 30 } };
	static struct samples s[MAX_SIZES][NCOLUMNS];
	struct report *r;
	char name[24];

	if (argp_parse(&argp, argc, argv, 0, NULL, &o))
		return 2;
	if (measure(&o, s))
		return 1;
	r = report_new("freeze");
	report_table(r, "freeze", "touched memory", columns, NCOLUMNS);
	for (unsigned i = 0; i < o.nsizes; i++)
		report_row_medians(r, size_text(name, o.sizes[i]), s[i]);
	findings(r, &o, s);
	report_axes(r, "Freeze time", "MiB of touched memory", "microseconds", true);
	report_curve(r, "freeze");
	for (unsigned i = 0; i < o.nsizes; i++)
		report_point(r, (double)o.sizes[i] / (1 << 20), samples_median(&s[i][FREEZE]));
	report_curve(r, "posix_spawn + wait of /bin/true");
	for (unsigned i = 0; i < o.nsizes; i++)
		report_point(r, (double)o.sizes[i] / (1 << 20), samples_median(&s[i][SPAWN]));
	return report_end(r, &o.common);
}
