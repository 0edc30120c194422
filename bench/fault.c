/* cor-bench fault: how long a task waits for one page, beside the bare loop. */
#include <err.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "bench/bare.h"
#include "bench/fault.h"
#include "bench/live.h"
#include "bench/report.h"
#include "libcor/base/cleanup.h"

struct options {
	struct bench_sized sized;
	struct remote over;     /* transport: NULL, or not TCP */
	bool apart;
};

struct fault_case {
	const char  *name;
	struct order order;
	bool         prefetch;
};

#define COUNT_ALL UINT32_MAX

/* Random walks so that no prefetcher guesses the next page, but where it should. */
static const struct fault_case cases[] = {
	{ "idle, 0 us of computing",   { .walk = WALK_RANDOM }, false },
	{ "idle, 20 us of computing",  { .walk = WALK_RANDOM, .compute_ns = 20000 }, false },
	{ "idle, 200 us of computing", { .walk = WALK_RANDOM, .compute_ns = 200000 }, false },
	{ "random, while draining",    { .walk = WALK_RANDOM }, true },
	{ "sequential, draining",      { .walk = WALK_SEQUENTIAL, .count = COUNT_ALL }, true },
	{ "stride of 8, no drain",     { .walk = WALK_STRIDE, .stride = 8 }, false },
	{ "4 threads at once, random", { .walk = WALK_RANDOM, .threads = 4 }, false },
};

#define NCASES (sizeof(cases) / sizeof(cases[0]))

static const struct argp_option fault_options[] = {
	{ "size", 's', "BYTES", 0, "Memory of the task (default 128M)", 0 },
	{ "count", 'n', "N", 0, "Pages touched in each case and run (default 3000)", 0 },
	{ "transport", 't', "NAME", 0, "Over this transport, as fabric:tcp or verbs, beside its own "
	  "reads of a page", 0 },
	{ "address", 'a', "ADDR", 0, "This host's address on that (default 127.0.0.1)", 0 },
	{ "apart", 'A', NULL, 0, "Page server and task each have their half of the processors, as on "
	  "two hosts", 0 },
	{ 0 }
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct options *o = state->input;

	switch (key) {
	case 't':
		o->over.transport = strcmp(arg, "tcp") == 0 ? NULL : arg;
		return 0;
	case 'a':
		o->over.address = arg;
		return 0;
	case 'A':
		o->apart = true;
		return 0;
	default:
		return parse_sized(key, arg, state);
	}
}

/* GB/s at which the task's walk went through memory. */
static double walk_rate(const struct task *t, const struct order *order, const struct ghost *g)
{
	return (double)(order->count ? (size_t)order->count * 4096 : g->size) /
	       (double)t->outcome->wall_ns;
}

/* Returns the walk's rate. */
static double live_fault(const struct cor_ctx *ctx, const struct ghost *g,
			 const struct fault_case *c, const struct order *order,
			 struct cor_hist *into)
{
	struct task t;
	struct live l;
	double rate;

	task_start(&t, g);
	live_start(&l, ctx, g, &t, c->prefetch);
	task_order(&t, order);
	task_wait(&t);
	cor_hist_merge(into, &t.outcome->fault);
	rate = walk_rate(&t, order, g);
	live_end(&l);
	return rate;
}

/* Of a sequential walk that comes when every page is there: what a first touch of each costs the
 * task whatever we do, as page tables that a hypervisor shadows. */
static double present_rate(const struct cor_ctx *ctx, const struct ghost *g)
{
	const struct order order = { .walk = WALK_SEQUENTIAL };
	struct task t;
	struct live l;
	double rate;

	task_start(&t, g);
	live_start(&l, ctx, g, &t, true);
	live_await_drained(&l);
	task_order(&t, &order);
	task_wait(&t);
	rate = walk_rate(&t, &order, g);
	live_end(&l);
	return rate;
}

enum { FLOOR50, FIG50, RATIO50, FLOOR99, FIG99, RATIO99, WAITED, RATE, NCOLUMNS };

static const struct report_column columns[NCOLUMNS] = {
	{ "floor_p50_us", "bare p50 us", 1 }, { "p50_us", "p50 us", 1 }, { "p50_ratio", "ratio", 2 },
	{ "floor_p99_us", "bare p99 us", 1 }, { "p99_us", "p99 us", 1 }, { "p99_ratio", "ratio", 2 },
	{ "waited", "waits", 0 }, { "gb_per_s", "GB/s", 2 },
};

struct result {
	struct samples  s[NCOLUMNS];
	struct cor_hist bare, live;     /* of all runs */
};

static void run_case(const struct cor_ctx *ctx, const struct ghost *g, const struct options *o,
		     const struct fault_case *c, struct result *res)
{
	struct order order = c->order, bare_order;
	struct cor_hist bare, live;
	double v[NCOLUMNS];

	order.count = order.count == COUNT_ALL ? 0 : o->sized.count;
	bare_order = order;
	bare_order.count = o->sized.count;
	cor_hist_init(&bare);
	cor_hist_init(&live);
	bare_fault(g, &bare_order, &bare);
	v[RATE] = live_fault(ctx, g, c, &order, &live);
	v[FLOOR50] = US(cor_hist_percentile(&bare, 0.5));
	v[FIG50] = US(cor_hist_percentile(&live, 0.5));
	v[RATIO50] = v[FIG50] / v[FLOOR50];
	v[FLOOR99] = US(cor_hist_percentile(&bare, 0.99));
	v[FIG99] = US(cor_hist_percentile(&live, 0.99));
	v[RATIO99] = v[FIG99] / v[FLOOR99];
	v[WAITED] = (double)live.count;
	for (unsigned i = 0; i < NCOLUMNS; i++)
		samples_add(&res->s[i], v[i]);
	cor_hist_merge(&res->bare, &bare);
	cor_hist_merge(&res->live, &live);
}

/* --- several tasks at once --------------------------------------------------- */
enum { MANY = 4 };
enum { MANY50, MANY99, MANYMAX, SLOWEST, NMANY };

static const struct report_column many_columns[NMANY] = {
	{ "p50_us", "p50 us", 1 }, { "p99_us", "p99 us", 1 }, { "max_us", "max us", 1 },
	{ "slowest_over_fastest", "slow/fast", 2 },
};

/* Each task with its own pager and server, all touching at random; how evenly
 * they are served shows in the times they need for the same work. */
static void run_many(const struct cor_ctx *ctx, const struct ghost *g, const struct options *o,
		     struct samples s[NMANY])
{
	struct order order = { .walk = WALK_RANDOM, .count = o->sized.count };
	uint64_t fastest = UINT64_MAX, slowest = 0;
	struct task t[MANY];
	struct live l[MANY];
	struct cor_hist h;

	cor_hist_init(&h);
	for (unsigned i = 0; i < MANY; i++) {
		task_start(&t[i], g);
		live_start(&l[i], ctx, g, &t[i], false);
	}
	for (unsigned i = 0; i < MANY; i++)
		task_order(&t[i], &order);
	for (unsigned i = 0; i < MANY; i++) {
		task_wait(&t[i]);
		cor_hist_merge(&h, &t[i].outcome->fault);
		fastest = COR_MIN(fastest, t[i].outcome->wall_ns);
		slowest = COR_MAX(slowest, t[i].outcome->wall_ns);
	}
	for (unsigned i = 0; i < MANY; i++)
		live_end(&l[i]);
	samples_add(&s[MANY50], US(cor_hist_percentile(&h, 0.5)));
	samples_add(&s[MANY99], US(cor_hist_percentile(&h, 0.99)));
	samples_add(&s[MANYMAX], US(h.max));
	samples_add(&s[SLOWEST], (double)slowest / (double)fastest);
}

/* Which of the cases is measured against the others, by its place in cases[]. */
enum { IDLE, IDLE_SLOWEST = 2, RANDOM_DRAINING, SEQUENTIAL_DRAINING };

static void finding(struct report *r, const char *key, const struct fault_case *c,
		    const char *what, double value, double goal)
{
	char text[96];

	snprintf(text, sizeof(text), "%s: %s", c->name, what);
	report_finding(r, key, text, value, goal);
}

static void findings(struct report *r, const struct result *res, const struct samples *drain,
		     const struct samples *present, const struct samples *many)
{
	double sequential = samples_median(&res[SEQUENTIAL_DRAINING].s[RATE]);
	char key[48];

	for (unsigned i = IDLE; i <= IDLE_SLOWEST; i++) {
		snprintf(key, sizeof(key), "p50_ratio_%u", i);
		finding(r, key, &cases[i], "p50 over the bare loop's",
			samples_median(&res[i].s[RATIO50]), 1.25);
		snprintf(key, sizeof(key), "p99_ratio_%u", i);
		finding(r, key, &cases[i], "p99 over the bare loop's",
			samples_median(&res[i].s[RATIO99]), 2);
	}
	/* While draining the standard is the idle fault of the same run. */
	finding(r, "draining_over_idle", &cases[RANDOM_DRAINING], "p50 over idle",
		samples_median(&res[RANDOM_DRAINING].s[FIG50]) / samples_median(&res[IDLE].s[FIG50]),
		1.2);
	report_finding_least(r, "sequential_over_drain", "sequential, draining: rate over a drain's",
			     sequential / samples_median(drain), 0.5);
	report_finding(r, "sequential_over_present", "sequential, draining: rate over the same "
		       "walk's with every page there", sequential / samples_median(present), NAN);
	report_finding(r, "slowest_over_fastest", "4 tasks at once: slowest over fastest",
		       samples_median(&many[SLOWEST]), NAN);
}

/* GB/s of a drain that nobody disturbs. */
static double drain_rate(const struct cor_ctx *ctx, const struct ghost *g)
{
	struct drained d;

	live_drain(ctx, g, &d);
	return (double)g->size / (double)d.wall_ns;
}

int cmd_fault(int argc, char **argv)
{
	static const struct argp_child children[] = { { &bench_common_argp, 0, NULL, 0 }, { 0 } };
	static const struct argp argp = { fault_options, parse, NULL,
		"Latency of a demand fault, as the task sees it, beside the bare fault loop's. "
		"\"waits\" are the touches that found no page.", children, NULL, NULL };
	struct options o = { .sized = { .common.runs = 5, .size = 128u << 20, .count = 3000 },
			     .over.address = "127.0.0.1" };
	static struct result res[NCASES];
	struct samples many[NMANY] = { 0 }, drain = { 0 }, present = { 0 };
	struct cor_error e = COR_ERROR_INIT;
	struct cor_ctx *ctx;
	struct report *r;
	struct ghost g;
	int status;

	if (argp_parse(&argp, argc, argv, 0, NULL, &o))
		return 2;
	if (cor_open(&ctx, &e))
		errx(1, "%s", e.text);
	if (o.over.transport) {
		status = fault_over(ctx, &o.sized, o.apart, &o.over);
		cor_close(ctx);
		return status;
	}
	for (unsigned i = 0; i < NCASES; i++) {
		cor_hist_init(&res[i].bare);
		cor_hist_init(&res[i].live);
	}
	ghost_start(&g, o.sized.size);
	if (o.apart)
		ghost_apart(&g);
	for (unsigned run = 0; run < o.sized.common.runs; run++) {
		for (unsigned i = 0; i < NCASES; i++)
			run_case(ctx, &g, &o, &cases[i], &res[i]);
		run_many(ctx, &g, &o, many);
		samples_add(&drain, drain_rate(ctx, &g));
		samples_add(&present, present_rate(ctx, &g));
	}
	ghost_end(&g);
	cor_close(ctx);
	r = report_new("fault");
	report_table(r, "fault", "demand fault", columns, NCOLUMNS);
	for (unsigned i = 0; i < NCASES; i++)
		report_row_medians(r, cases[i].name, res[i].s);
	report_table(r, "many", "tasks at once", many_columns, NMANY);
	report_row_medians(r, "4 tasks, random", many);
	findings(r, res, &drain, &present, many);
	report_axes(r, "Demand fault over loopback TCP", "microseconds", "share of faults", true);
	report_curve_hist(r, "bare loop", &res[IDLE].bare);
	report_curve_hist(r, "cor, idle", &res[IDLE].live);
	report_curve_hist(r, "cor, while draining", &res[RANDOM_DRAINING].live);
	return report_end(r, &o.sized.common);
}
