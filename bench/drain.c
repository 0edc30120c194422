/* cor-bench drain and cor-bench cpu: moving all pages, beside the bare drain,
 * run in turn with it: the first for its rate, the second for what it costs. */
#include <err.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "bench/bare.h"
#include "bench/live.h"
#include "bench/report.h"

#define MAX_SIZES 8

struct options {
	struct bench_common common;
	size_t   sizes[MAX_SIZES];
	unsigned nsizes;
};

static const struct argp_option drain_options[] = {
	{ "sizes", 's', "BYTES,...", 0, "Memory to move (default 256M,1G)", 0 },
	{ 0 }
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct options *o = state->input;

	switch (key) {
	case 's':
		o->nsizes = parse_sizes(state, arg, o->sizes, MAX_SIZES);
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

/* A B A B: what is cold or busy is so for both. */
static void measure(const struct cor_ctx *ctx, size_t size, unsigned runs,
		    struct samples rate[3], struct samples cpu[6])
{
	struct drained d;
	struct bare_drain b;
	struct ghost g;

	ghost_start(&g, size);
	for (unsigned i = 0; i < runs; i++) {
		bare_drain(&g, &b);
		live_drain(ctx, &g, &d);
		samples_add(&rate[0], (double)size / (double)b.wall_ns);
		samples_add(&rate[1], (double)size / (double)d.wall_ns);
		samples_add(&rate[2], (double)b.wall_ns / (double)d.wall_ns);
		samples_add(&cpu[0], per_gib(b.cpu_source_ns, size));
		samples_add(&cpu[1], per_gib(d.cpu_source_ns, size));
		samples_add(&cpu[2], (double)d.cpu_source_ns / (double)b.cpu_source_ns);
		samples_add(&cpu[3], per_gib(b.cpu_destination_ns, size));
		samples_add(&cpu[4], per_gib(d.cpu_destination_ns, size));
		samples_add(&cpu[5], (double)d.cpu_destination_ns / (double)b.cpu_destination_ns);
	}
	ghost_end(&g);
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

static int run(int argc, char **argv, bool for_cpu)
{
	static const struct argp_child children[] = { { &bench_common_argp, 0, NULL, 0 }, { 0 } };
	struct argp argp = { drain_options, parse, NULL,
		for_cpu ? "CPU seconds per GiB drained, on each side, beside the bare drain's."
			: "The rate at which all pages move, beside the bare drain's.",
		children, NULL, NULL };
	struct options o = { .common.runs = 5, .sizes = { 256u << 20, 1u << 30 }, .nsizes = 2 };
	struct cor_error e = COR_ERROR_INIT;
	struct cor_ctx *ctx;
	struct report *r;
	char name[24];

	if (argp_parse(&argp, argc, argv, 0, NULL, &o))
		return 2;
	if (cor_open(&ctx, &e))
		errx(1, "%s", e.text);
	r = report_new(for_cpu ? "cpu" : "drain");
	if (for_cpu)
		report_table(r, "cpu", "CPU per GiB", cpu_columns, 6);
	else
		report_table(r, "drain", "drain", rate_columns, 3);
	report_axes(r, for_cpu ? "CPU per GiB drained" : "Drain over loopback TCP", "MiB",
		    for_cpu ? "CPU seconds, both sides" : "GB/s", true);
	report_curve(r, "cor");
	for (unsigned i = 0; i < o.nsizes; i++) {
		struct samples rate[3] = { 0 }, cpu[6] = { 0 };

		measure(ctx, o.sizes[i], o.common.runs, rate, cpu);
		report_row_medians(r, size_text(name, o.sizes[i]), for_cpu ? cpu : rate);
		report_point(r, (double)o.sizes[i] / (1 << 20),
			     for_cpu ? samples_median(&cpu[1]) + samples_median(&cpu[4])
				     : samples_median(&rate[1]));
		if (i + 1 == o.nsizes && !for_cpu)
			report_finding_least(r, "drain_over_bare", "drain over bare drain, largest size",
				       samples_median(&rate[2]), 0.9);
	}
	cor_close(ctx);
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
