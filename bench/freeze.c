/* cor-bench freeze: how long a task stands still while it changes hosts, for
 * several sizes of memory, beside posix_spawn + wait of /bin/true. */
#include <err.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

#include "bench/lab.h"
#include "bench/report.h"
#include "libcor/base/cleanup.h"

#define MAX_SIZES  8
#define MAX_CASES  (MAX_SIZES + 3)
#define SPAWNS     5    /* around each migration; their median counts */
#define THREADS    64u  /* of the task with many */

struct options {
	struct bench_common common;
	size_t      sizes[MAX_SIZES];
	unsigned    nsizes, threads;
	bool        waiting;
	const char *cord;
};

/* One kind of task; size 0: python3. */
struct freeze_case {
	char     name[48];
	size_t   size;
	unsigned threads;
	bool     waiting;       /* all but the first one, for something that does not happen */
};

static const struct argp_option freeze_options[] = {
	{ "sizes", 's', "BYTES,...", 0, "Touched memory, of these tasks only (default 16M,64M,1G,4G, then two of 64M "
	  "with 64 threads, and a python3 with many mappings)", 0 },
	{ "threads", 't', "N", 0, "Threads of the tasks of --sizes (default 1)", 0 },
	{ "waiting", 'w', NULL, 0, "All but the first one of them wait for something", 0 },
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
	case 'w':
		o->waiting = true;
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

static pid_t start_victim(struct freeze_case *c)
{
	pid_t pid;

	if (c->size)
		return victim_start(c->size, c->threads, c->waiting);
	pid = victim_start_python();
	if (pid)
		snprintf(c->name, sizeof(c->name), "python3, %u mappings", victim_mappings(pid));
	return pid;
}

static void note(const json_t *result, struct samples *spawn, struct samples out[NCOLUMNS])
{
	const json_t *fault = json_object_get(result, "fault_us");
	double v[NCOLUMNS];

	v[SPAWN] = samples_median(spawn);
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
}

/* One migration, spawns before and after it. 0 or -errno. */
static int migrate_once(struct lab *lab, struct freeze_case *c, struct samples out[NCOLUMNS])
{
	struct samples spawn = { 0 };
	json_t *result;
	pid_t pid;
	int r;

	pid = start_victim(c);
	if (!pid) {
		warnx("no /usr/bin/python3: left out");
		return 0;
	}
	add_spawns(&spawn);
	r = lab_migrate(lab, pid, &result);
	if (r) {
		end_child(pid);
		return r;
	}
	add_spawns(&spawn);
	note(result, &spawn, out);
	victim_end((pid_t)json_integer_value(json_object_get(result, "destination_pid")));
	json_decref(result);
	/* The ghost is gone; what is left of it is ours to reap. */
	end_child(pid);
	return 0;
}

struct result {
	struct freeze_case cases[MAX_CASES];
	unsigned ncases, nsizes;        /* the sizes come first */
	struct samples s[MAX_CASES][NCOLUMNS];
};

static double freeze_of(const struct result *r, unsigned i)
{
	return samples_median(&r->s[i][FREEZE]);
}

static double ratio_of(const struct result *r, unsigned i)
{
	return samples_median(&r->s[i][RATIO]);
}

static void findings(struct report *out, const struct result *r)
{
	double least = INFINITY, most = 0, worst = 0, one = NAN;

	for (unsigned i = 0; i < r->nsizes; i++) {
		least = fmin(least, freeze_of(r, i));
		most = fmax(most, freeze_of(r, i));
		worst = fmax(worst, ratio_of(r, i));
		if (r->cases[i].size == 64u << 20 && r->cases[i].threads == 1)
			one = freeze_of(r, i);
	}
	report_finding(out, "freeze_over_spawn", "freeze over posix_spawn + wait, worst size", worst,
		       1.5);
	if (r->nsizes > 1)
		report_finding(out, "largest_over_smallest", "freeze, largest size over smallest",
			       freeze_of(r, r->nsizes - 1) / freeze_of(r, 0), 1.15);
	for (unsigned i = r->nsizes; i < r->ncases; i++) {
		if (r->cases[i].size && r->cases[i].waiting)
			report_finding(out, "waiting_threads_over_one",
				       "freeze, 64 threads over 1, 63 of them waiting",
				       freeze_of(r, i) / one, 4);
		else if (r->cases[i].size)
			report_finding(out, "threads_over_one",
				       "freeze, 64 threads over 1, all awake every 5 ms",
				       freeze_of(r, i) / one, 4);
		else if (r->s[i][RATIO].n)
			report_finding(out, "python_over_spawn", "python3's freeze over the spawn",
				       ratio_of(r, i), 3);
	}
}

static void plan(const struct options *o, struct result *r)
{
	static const size_t sizes[] = { 16u << 20, 64u << 20, 1u << 30, 4ull << 30 };
	const size_t *list = o->nsizes ? o->sizes : sizes;

	r->nsizes = o->nsizes ? o->nsizes : ARRAY_SIZE(sizes);
	for (unsigned i = 0; i < r->nsizes; i++) {
		r->cases[i] = (struct freeze_case){ .size = list[i], .threads = o->threads,
						    .waiting = o->waiting };
		size_text(r->cases[i].name, list[i]);
	}
	r->ncases = r->nsizes;
	if (o->nsizes)
		return;
	r->cases[r->ncases++] = (struct freeze_case){ "64 MiB, 63 of 64 wait", 64u << 20, THREADS, true };
	r->cases[r->ncases++] = (struct freeze_case){ "64 MiB, 64 threads", 64u << 20, THREADS, false };
	r->cases[r->ncases++] = (struct freeze_case){ .name = "python3" };
}

static int measure(const struct options *o, struct result *res)
{
	struct lab lab;
	int r = lab_start(&lab, o->cord);

	/* All in turn, so that none has the quiet minutes to itself. */
	for (unsigned run = 0; !r && run < o->common.runs; run++)
		for (unsigned i = 0; !r && i < res->ncases; i++)
			r = migrate_once(&lab, &res->cases[i], res->s[i]);
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
	struct options o = { .common.runs = 5, .threads = 1 };
	static struct result res;
	struct report *r;

	if (argp_parse(&argp, argc, argv, 0, NULL, &o))
		return 2;
	plan(&o, &res);
	if (measure(&o, &res))
		return 1;
	r = report_new("freeze");
	report_table(r, "freeze", "task", columns, NCOLUMNS);
	for (unsigned i = 0; i < res.ncases; i++)
		report_row_medians(r, res.cases[i].name, res.s[i]);
	findings(r, &res);
	report_axes(r, "Freeze time", "MiB of touched memory", "microseconds", true);
	report_curve(r, "freeze");
	for (unsigned i = 0; i < res.nsizes; i++)
		report_point(r, (double)res.cases[i].size / (1 << 20), freeze_of(&res, i));
	report_curve(r, "posix_spawn + wait of /bin/true");
	for (unsigned i = 0; i < res.nsizes; i++)
		report_point(r, (double)res.cases[i].size / (1 << 20),
			     samples_median(&res.s[i][SPAWN]));
	return report_end(r, &o.common);
}
