/* cor-bench drain and cor-bench cpu: moving all pages, beside the bare drain,
 * run in turn with it: the first for its rate, the second for what it costs. */
#include <err.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "bench/bare.h"
#include "bench/live.h"
#include "bench/report.h"
#include "bench/warm.h"

#define MAX_SIZES 8
#define TWO_GIB   (UINT64_C(2) << 30)

struct options {
	struct bench_common common;
	size_t   sizes[MAX_SIZES];
	unsigned nsizes;
	bool     cold, apart;
};

static const struct argp_option drain_options[] = {
	{ "apart", 'A', NULL, 0, "Both sides each have their half of the processors, as on two hosts", 0 },
	{ "cold", 'c', NULL, 0, "Take memory as the machine gives it, and not touched before", 0 },
	{ "sizes", 's', "BYTES,...", 0, "Memory to move (default 1G,2G,8G; what there is no "
	  "memory for is left out)", 0 },
	{ 0 }
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct options *o = state->input;

	switch (key) {
	case 's':
		o->nsizes = parse_sizes(state, arg, o->sizes, MAX_SIZES);
		return 0;
	case 'c':
		o->cold = true;
		return 0;
	case 'A':
		o->apart = true;
		return 0;
	case ARGP_KEY_INIT:
		state->child_inputs[0] = &o->common;
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static double per_gib(uint64_t ns, size_t size)
{
	return (double)ns / 1e9 * (double)(1ull << 30) / (double)size;
}

enum { BARE_RATE, RATE, RATE_RATIO, NRATES };
enum { BARE_SOURCE, SOURCE, SOURCE_RATIO, BARE_DESTINATION, DESTINATION, DESTINATION_RATIO, NCPU };

struct result {
	struct samples rate[MAX_SIZES][NRATES], cpu[MAX_SIZES][NCPU];
	struct samples large_over_small, bare_large_over_small;
};

/* The first size bytes of the ghost. */
static void measure_once(const struct cor_ctx *ctx, const struct ghost *g, size_t size, bool cold,
			 struct samples rate[NRATES], struct samples cpu[NCPU])
{
	struct ghost part = *g;
	struct feeder f = { 0 };
	struct drained d;
	struct bare_drain b;

	part.size = size;
	if (!cold)
		feeder_start(&f, size);
	bare_drain(&part, &b);
	feeder_end(&f);
	if (!cold)
		feeder_start(&f, size);
	live_drain(ctx, &part, &d);
	feeder_end(&f);
	samples_add(&rate[BARE_RATE], (double)size / (double)b.wall_ns);
	samples_add(&rate[RATE], (double)size / (double)d.wall_ns);
	samples_add(&rate[RATE_RATIO], (double)b.wall_ns / (double)d.wall_ns);
	samples_add(&cpu[BARE_SOURCE], per_gib(b.cpu_source_ns, size));
	samples_add(&cpu[SOURCE], per_gib(d.cpu_source_ns, size));
	samples_add(&cpu[SOURCE_RATIO], (double)d.cpu_source_ns / (double)b.cpu_source_ns);
	samples_add(&cpu[BARE_DESTINATION], per_gib(b.cpu_destination_ns, size));
	samples_add(&cpu[DESTINATION], per_gib(d.cpu_destination_ns, size));
	samples_add(&cpu[DESTINATION_RATIO],
		    (double)d.cpu_destination_ns / (double)b.cpu_destination_ns);
}

/* All sizes in turn, and A B A B: what is cold or busy is so for all. */
static void measure(const struct cor_ctx *ctx, const struct options *o, struct result *res)
{
	unsigned least = 0, most = 0;
	struct ghost g;

	for (unsigned i = 1; i < o->nsizes; i++) {
		least = o->sizes[i] < o->sizes[least] ? i : least;
		most = o->sizes[i] > o->sizes[most] ? i : most;
	}
	ghost_start(&g, o->sizes[most]);
	if (o->apart)
		ghost_apart(&g);
	for (unsigned run = 0; run < o->common.runs; run++) {
		for (unsigned i = 0; i < o->nsizes; i++)
			measure_once(ctx, &g, o->sizes[i], o->cold, res->rate[i], res->cpu[i]);
		samples_add(&res->large_over_small, res->rate[most][RATE].v[run] /
			    res->rate[least][RATE].v[run]);
		samples_add(&res->bare_large_over_small, res->rate[most][BARE_RATE].v[run] /
			    res->rate[least][BARE_RATE].v[run]);
	}
	ghost_end(&g);
}

/* The usual sizes, as far as both sides of them fit. */
static void choose_sizes(struct options *o)
{
	static const size_t usual[] = { 1u << 30, TWO_GIB, 8ull << 30 };
	unsigned long available = available_kib();
	char name[24];

	for (unsigned i = 0; i < sizeof(usual) / sizeof(*usual); i++)
		if (i == 0 || usual[i] / 1024 * 2 + SPARE_KIB < available)
			o->sizes[o->nsizes++] = usual[i];
		else
			warnx("%s left out: it takes twice as much, and %lu MiB are available",
			      size_text(name, usual[i]), available / 1024);
}

static const struct report_column rate_columns[] = {
	{ "floor_gb_per_s", "bare GB/s", 2 }, { "gb_per_s", "cor GB/s", 2 }, { "ratio", "ratio", 2 },
};
static const struct report_column cpu_columns[] = {
	{ "floor_source_s_per_gib", "bare src s", 3 }, { "source_s_per_gib", "cor src s", 3 },
	{ "source_ratio", "ratio", 2 },
	{ "floor_destination_s_per_gib", "bare dst s", 3 },
	{ "destination_s_per_gib", "cor dst s", 3 }, { "destination_ratio", "ratio", 2 },
};

static void findings(struct report *r, const struct options *o, const struct result *res)
{
	unsigned which = o->nsizes - 1;
	char what[64], name[24];

	for (unsigned i = 0; i < o->nsizes; i++)
		if (o->sizes[i] == TWO_GIB)
			which = i;
	snprintf(what, sizeof(what), "drain over bare drain, %s", size_text(name, o->sizes[which]));
	report_finding_least(r, "drain_over_bare", what,
			     samples_median(&res->rate[which][RATE_RATIO]), 0.9);
	if (o->nsizes < 2)
		return;
	report_finding_least(r, "large_over_small", "rate of the largest over the smallest",
			     samples_median(&res->large_over_small), 0.95);
	/* what is the machine's doing */
	report_finding(r, "bare_large_over_small", "the same of the bare drain",
		       samples_median(&res->bare_large_over_small), NAN);
}

static void fill(struct report *r, const struct options *o, const struct result *res, bool for_cpu)
{
	char name[24];

	if (for_cpu)
		report_table(r, "cpu", "CPU per GiB", cpu_columns, NCPU);
	else
		report_table(r, "drain", "drain", rate_columns, NRATES);
	report_axes(r, for_cpu ? "CPU per GiB drained" : "Drain over loopback TCP", "MiB",
		    for_cpu ? "CPU seconds, both sides" : "GB/s", true);
	for (unsigned bare = 0; bare < 2; bare++) {
		report_curve(r, bare ? "bare drain" : "cor");
		for (unsigned i = 0; i < o->nsizes; i++) {
			const struct samples *cpu = res->cpu[i], *rate = res->rate[i];

			report_point(r, (double)o->sizes[i] / (1 << 20), for_cpu ?
				     samples_median(&cpu[bare ? BARE_SOURCE : SOURCE]) +
				     samples_median(&cpu[bare ? BARE_DESTINATION : DESTINATION]) :
				     samples_median(&rate[bare ? BARE_RATE : RATE]));
		}
	}
	for (unsigned i = 0; i < o->nsizes; i++)
		report_row_medians(r, size_text(name, o->sizes[i]), for_cpu ? res->cpu[i] : res->rate[i]);
	if (!for_cpu)
		findings(r, o, res);
}

static int run(int argc, char **argv, bool for_cpu)
{
	static const struct argp_child children[] = { { &bench_common_argp, 0, NULL, 0 }, { 0 } };
	struct argp argp = { drain_options, parse, NULL,
		for_cpu ? "CPU seconds per GiB drained, on each side, beside the bare drain's."
			: "The rate at which all pages move, beside the bare drain's.",
		children, NULL, NULL };
	struct options o = { .common.runs = 5 };
	struct cor_error e = COR_ERROR_INIT;
	static struct result res;
	struct cor_ctx *ctx;
	struct report *r;

	if (argp_parse(&argp, argc, argv, 0, NULL, &o))
		return 2;
	if (!o.nsizes)
		choose_sizes(&o);
	if (cor_open(&ctx, &e))
		errx(1, "%s", e.text);
	measure(ctx, &o, &res);
	cor_close(ctx);
	r = report_new(for_cpu ? "cpu" : "drain");
	fill(r, &o, &res, for_cpu);
	return report_end(r, &o.common);
}

int cmd_drain(int argc, char **argv)
{
	return run(argc, argv, false);
}

int cmd_cpu(int argc, char **argv)
{
	return run(argc, argv, true);
}
