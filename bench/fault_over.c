/* cor-bench fault --transport: a demand fault over a fabric, beside the fabric's own read
 * of a page and a userfaultfd's round trip. */
#include <math.h>
#include <stdio.h>
#include <sys/mman.h>

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

/* What a child finds out for the others: each runs in one of its own (remote.h). */
struct measurement {
	const struct cor_ctx *ctx;
	const struct ghost *g;
	const struct remote *over;
	const struct over_case *c;
	unsigned count;
	bool offloaded;         /* reads need none of the other side's processor */
	struct cor_hist raw, live;
	uint64_t cpu;           /* of the page server, in nanoseconds */
};

static void check(void *arg)
{
	struct measurement *m = arg;

	m->offloaded = remote_check(m->over) & COR_RDMA_OFFLOADED;
}

static void raw(void *arg)
{
	struct measurement *m = arg;

	remote_raw(m->over, m->g, m->count, &m->raw);
}

static void live_fault(void *arg)
{
	struct measurement *m = arg;
	struct order order = m->c->order;
	struct task t;
	struct live l;
	uint64_t before;

	order.count = m->count;
	task_start(&t, m->g);
	live_start_over(&l, m->ctx, m->g, &t, m->over, m->c->one_sided);
	before = cpu_ns(l.server);
	task_order(&t, &order);
	task_wait(&t);
	m->cpu = cpu_ns(l.server) - before;
	cor_hist_merge(&m->live, &t.outcome->fault);
	live_end(&l);
}

static void run_case(struct measurement *m, const struct over_case *c, struct samples s[NCOLUMNS])
{
	struct cor_hist uffd;
	double v[NCOLUMNS];

	cor_hist_init(&m->raw);
	cor_hist_init(&m->live);
	cor_hist_init(&uffd);
	m->c = c;
	in_child(raw, m);
	floor_uffd_hist(m->count, false, &uffd);
	in_child(live_fault, m);
	v[RAW50] = US(cor_hist_percentile(&m->raw, 0.5));
	v[UFFD50] = US(cor_hist_percentile(&uffd, 0.5));
	v[FIG50] = US(cor_hist_percentile(&m->live, 0.5));
	v[OVER_RAW] = v[FIG50] / v[RAW50];
	v[OVER_SUM] = v[FIG50] / (v[RAW50] + v[UFFD50]);
	v[RAW99] = US(cor_hist_percentile(&m->raw, 0.99));
	v[FIG99] = US(cor_hist_percentile(&m->live, 0.99));
	v[CPU] = US(m->cpu) / (double)COR_MAX(m->live.count, UINT64_C(1));
	for (unsigned i = 0; i < NCOLUMNS; i++)
		samples_add(&s[i], v[i]);
}

/* What an adapter reads is held against that and a userfaultfd's round trip; what software
 * reads, at the cost of both processors, against that alone. */
static void findings(struct report *r, struct samples s[NCASES][NCOLUMNS], bool offloaded)
{
	static const struct {
		const char *name;
		unsigned    row;
	} ways[] = { { "staged", STAGED }, { "one-sided", ONE_SIDED } };

	for (unsigned i = 0; i < ARRAY_SIZE(ways); i++) {
		const struct samples *row = s[ways[i].row];
		char key[40], text[96];

		snprintf(key, sizeof(key), "%s_over_raw", i ? "one_sided" : "staged");
		snprintf(text, sizeof(text), "%s: p50 over the transport's own read of a page",
			 ways[i].name);
		report_finding(r, key, text, samples_median(&row[OVER_RAW]), offloaded ? NAN : 1.5);
		snprintf(key, sizeof(key), "%s_over_sum", i ? "one_sided" : "staged");
		snprintf(text, sizeof(text), "%s: p50 over that and a userfaultfd's round trip",
			 ways[i].name);
		report_finding(r, key, text, samples_median(&row[OVER_SUM]), offloaded ? 1.5 : NAN);
	}
	report_finding(r, "one_sided_server_cpu_us",
		       "one-sided: processor time of the page server, us a fault",
		       samples_median(&s[ONE_SIDED][CPU]), 1);
}

int fault_over(const struct cor_ctx *ctx, const struct bench_sized *sized, bool apart,
	       const struct remote *over)
{
	static struct samples s[NCASES][NCOLUMNS];
	struct measurement *m = shared_memory(sizeof(*m));
	struct report *r = report_new("fault");
	char title[96];
	struct ghost g;

	*m = (struct measurement){ .ctx = ctx, .g = &g, .over = over, .count = sized->count };
	in_child(check, m);
	ghost_start(&g, sized->size);
	if (apart)
		ghost_apart(&g);
	for (unsigned run = 0; run < sized->common.runs; run++)
		for (unsigned i = 0; i < NCASES; i++)
			run_case(m, &cases[i], s[i]);
	ghost_end(&g);
	snprintf(title, sizeof(title), "demand fault over %.40s", over->transport);
	report_table(r, "fault", title, columns, NCOLUMNS);
	for (unsigned i = 0; i < NCASES; i++)
		report_row_medians(r, cases[i].name, s[i]);
	findings(r, s, m->offloaded);
	munmap(m, sizeof(*m));
	return report_end(r, &sized->common);
}
