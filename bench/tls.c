/* cor-bench tls: a drain and a fault in the clear, with checks and encrypted, in turn. */
#include <err.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "bench/live.h"
#include "bench/report.h"

static const struct argp_option tls_options[] = {
	{ "size", 's', "BYTES", 0, "Memory to move (default 512M)", 0 },
	{ "count", 'n', "N", 0, "Pages touched in each run (default 3000)", 0 },
	{ 0 }
};

enum { RATE, RATE_RATIO, CPU, CPU_RATIO, P50, P50_RATIO, P99, P99_RATIO, NCOLUMNS };

static const struct report_column columns[NCOLUMNS] = {
	{ "drain_gb_per_s", "drain GB/s", 2 }, { "drain_ratio", "ratio", 2 },
	{ "cpu_s_per_gib", "CPU s/GiB", 3 }, { "cpu_ratio", "ratio", 2 },
	{ "fault_p50_us", "fault p50 us", 1 }, { "fault_p50_ratio", "ratio", 2 },
	{ "fault_p99_us", "p99 us", 1 }, { "fault_p99_ratio", "ratio", 2 },
};

static const char *const names[LIVE_COVERS] = {
	[LIVE_CLEAR] = "in the clear", [LIVE_CHECKED] = "with checks", [LIVE_TLS] = "TLS 1.3",
};

static void measure_drain(const struct cor_ctx *ctx, const struct ghost *g, enum live_cover cover,
			  double v[NCOLUMNS])
{
	struct drained d;

	live_drain_covered(ctx, g, cover, &d);
	v[RATE] = (double)g->size / (double)d.wall_ns;
	v[CPU] = (double)(d.cpu_source_ns + d.cpu_destination_ns) / 1e9 *
		 (double)(1ull << 30) / (double)g->size;
}

static void measure_fault(const struct cor_ctx *ctx, const struct ghost *g, enum live_cover cover,
			  unsigned count, double v[NCOLUMNS])
{
	const struct order order = { .walk = WALK_RANDOM, .count = count };
	struct task t;
	struct live l;

	task_start(&t, g);
	live_start_covered(&l, ctx, g, &t, false, cover);
	task_order(&t, &order);
	task_wait(&t);
	v[P50] = US(cor_hist_percentile(&t.outcome->fault, 0.5));
	v[P99] = US(cor_hist_percentile(&t.outcome->fault, 0.99));
	live_end(&l);
}

/* A B C A B C: what is cold or busy is so for all. */
static void run_once(const struct cor_ctx *ctx, const struct ghost *g, unsigned count,
		     struct samples s[LIVE_COVERS][NCOLUMNS])
{
	double v[LIVE_COVERS][NCOLUMNS];

	for (unsigned i = 0; i < LIVE_COVERS; i++)
		measure_drain(ctx, g, i, v[i]);
	for (unsigned i = 0; i < LIVE_COVERS; i++)
		measure_fault(ctx, g, i, count, v[i]);
	for (unsigned i = 0; i < LIVE_COVERS; i++)
		for (unsigned c = 0; c < NCOLUMNS; c += 2) {
			samples_add(&s[i][c], v[i][c]);
			samples_add(&s[i][c + 1], v[i][c] / v[LIVE_CLEAR][c]);
		}
}

int cmd_tls(int argc, char **argv)
{
	static const struct argp_child children[] = { { &bench_common_argp, 0, NULL, 0 }, { 0 } };
	static const struct argp argp = { tls_options, parse_sized, NULL,
		"What encryption costs, and what the check of each reply costs: a drain and a random "
		"demand fault beside the same in the clear.", children, NULL, NULL };
	static struct samples s[LIVE_COVERS][NCOLUMNS];
	struct bench_sized o = { .common.runs = 5, .size = 512u << 20, .count = 3000 };
	struct cor_error e = COR_ERROR_INIT;
	struct cor_ctx *ctx;
	struct report *r;
	struct ghost g;

	if (argp_parse(&argp, argc, argv, 0, NULL, &o))
		return 2;
	if (cor_open(&ctx, &e))
		errx(1, "%s", e.text);
	ghost_start(&g, o.size);
	for (unsigned run = 0; run < o.common.runs; run++)
		run_once(ctx, &g, o.count, s);
	ghost_end(&g);
	cor_close(ctx);
	r = report_new("tls");
	report_table(r, "tls", "encryption", columns, NCOLUMNS);
	for (unsigned i = 0; i < LIVE_COVERS; i++)
		report_row_medians(r, names[i], s[i]);
	report_finding(r, "drain_tls_over_clear", "drain by TLS over in the clear",
		       samples_median(&s[LIVE_TLS][RATE_RATIO]), NAN);
	report_finding(r, "fault_tls_over_clear", "fault p50 by TLS over in the clear",
		       samples_median(&s[LIVE_TLS][P50_RATIO]), NAN);
	report_finding(r, "drain_checked_over_clear", "drain with checks over in the clear",
		       samples_median(&s[LIVE_CHECKED][RATE_RATIO]), NAN);
	report_finding(r, "fault_checked_over_clear", "fault p50 with checks over in the clear",
		       samples_median(&s[LIVE_CHECKED][P50_RATIO]), NAN);
	return report_end(r, &o.common);
}
