/* cor-bench fault --transport: a demand fault over a fabric, beside the fabric's own read
 * of a page and a userfaultfd's round trip. */
#include <math.h>
#include <stdio.h>

#include "bench/fault.h"
#include "bench/floor.h"
#include "bench/live.h"
#include "libcor/base/cleanup.h"

enum { RAW50, UFFD50, FIG50, OVER_RAW, OVER_SUM, RAW99, FIG99, CPU, NCOLUMNS };

static const struct report_column columns[NCOLUMNS] = {
	{ "raw_p50_us", "raw p50 us", 1 }, { "uffd_p50_us", "uffd p50 us", 1 },
	{ "p50_us", "p50 us", 1 }, { "p50_over_raw", "over raw", 2 },
	{ "p50_over_sum", "over both", 2 },
	{ "raw_p99_us", "raw p99 us", 1 }, { "p99_us", "p99 us", 1 },
	{ "server_cpu_us", "server CPU us", 1 },
};

static const struct over_case {
	const char  *name;
	struct order order;
	bool         one_sided;
} cases[] = {
	{ "staged, 0 us of computing",      { .walk = WALK_RANDOM }, false },
	{ "staged, 20 us of computing",     { .walk = WALK_RANDOM, .compute_ns = 20000 }, false },
	{ "one-sided, 0 us of computing",   { .walk = WALK_RANDOM }, true },
	{ "one-sided, 20 us of computing",  { .walk = WALK_RANDOM, .compute_ns = 20000 }, true },
};

enum { STAGED = 0, ONE_SIDED = 2 };

#define NCASES ARRAY_SIZE(cases)

/* The CPU time of the page server goes to *cpu, in nanoseconds. */
static void live_fault(const struct cor_ctx *ctx, const struct ghost *g, const struct remote *over,
		       const struct over_case *c, unsigned count, struct cor_hist *into,
		       uint64_t *cpu)
{
	struct order order = c->order;
	struct task t;
	struct live l;
	uint64_t before;

	order.count = count;
	task_start(&t, g);
	live_start_over(&l, ctx, g, &t, over, c->one_sided);
	before = cpu_ns(l.server);
	task_order(&t, &order);
	task_wait(&t);
	*cpu = cpu_ns(l.server) - before;
	cor_hist_merge(into, &t.outcome->fault);
	live_end(&l);
}

static void run_case(const struct cor_ctx *ctx, const struct ghost *g, const struct remote *over,
		     const struct over_case *c, unsigned count, struct samples s[NCOLUMNS])
{
	struct cor_hist raw, uffd, live;
	double v[NCOLUMNS];
	uint64_t cpu;

	cor_hist_init(&raw);
	cor_hist_init(&uffd);
	cor_hist_init(&live);
	remote_raw(over, count, &raw);
	floor_uffd_hist(count, false, &uffd);
	live_fault(ctx, g, over, c, count, &live, &cpu);
	v[RAW50] = US(cor_hist_percentile(&raw, 0.5));
	v[UFFD50] = US(cor_hist_percentile(&uffd, 0.5));
	v[FIG50] = US(cor_hist_percentile(&live, 0.5));
	v[OVER_RAW] = v[FIG50] / v[RAW50];
	v[OVER_SUM] = v[FIG50] / (v[RAW50] + v[UFFD50]);
	v[RAW99] = US(cor_hist_percentile(&raw, 0.99));
	v[FIG99] = US(cor_hist_percentile(&live, 0.99));
	v[CPU] = US(cpu) / (double)COR_MAX(live.count, UINT64_C(1));
	for (unsigned i = 0; i < NCOLUMNS; i++)
		samples_add(&s[i], v[i]);
}

int fault_over(const struct cor_ctx *ctx, const struct bench_common *common, size_t size,
	       unsigned count, const struct remote *over)
{
	static struct samples s[NCASES][NCOLUMNS];
	struct report *r = report_new("fault");
	char title[96];
	struct ghost g;

	remote_check(over);
	ghost_start(&g, size);
	for (unsigned run = 0; run < common->runs; run++)
		for (unsigned i = 0; i < NCASES; i++)
			run_case(ctx, &g, over, &cases[i], count, s[i]);
	ghost_end(&g);
	snprintf(title, sizeof(title), "demand fault over %.40s", over->transport);
	report_table(r, "fault", title, columns, NCOLUMNS);
	for (unsigned i = 0; i < NCASES; i++)
		report_row_medians(r, cases[i].name, s[i]);
	report_finding(r, "one_sided_over_raw", "one-sided: p50 over the transport's own read of a page",
		       samples_median(&s[ONE_SIDED][OVER_RAW]), 1.5);
	report_finding(r, "one_sided_over_sum", "one-sided: p50 over that and a userfaultfd's round trip",
		       samples_median(&s[ONE_SIDED][OVER_SUM]), 1.5);
	report_finding(r, "staged_over_sum", "staged: p50 over the same",
		       samples_median(&s[STAGED][OVER_SUM]), NAN);
	report_finding(r, "one_sided_server_cpu_us", "one-sided: processor time of the page server, us a fault",
		       samples_median(&s[ONE_SIDED][CPU]), 1);
	return report_end(r, common);
}
