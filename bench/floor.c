/* cor-bench floor: what this machine can do at best. */
#include <math.h>
#include <stdio.h>

#include "bench/bare.h"
#include "bench/floor.h"

static const struct argp_option floor_options[] = {
	{ "size", 's', "BYTES", 0, "Memory for rates and the bare drain (default 256M)", 0 },
	{ "count", 'n', "N", 0, "Faults and round trips for latencies (default 4000)", 0 },
	{ 0 }
};

static void latencies(struct report *r, const struct bench_sized *o)
{
	static const uint64_t computing_us[] = { 0, 20, 200 };
	struct cor_hist h;
	struct ghost g;
	char name[64];

	report_table(r, "latency", "latency", report_latency_columns, 4);
	floor_uffd(r, o->count);
	floor_ping(r, o->count);
	floor_readv(r, o->count);
	ghost_start(&g, (size_t)o->count * 4 * 4096);
	for (unsigned i = 0; i < 3; i++) {
		struct order order = { .walk = WALK_RANDOM, .count = o->count,
				       .compute_ns = computing_us[i] * 1000 };

		cor_hist_init(&h);
		bare_fault(&g, &order, &h);
		snprintf(name, sizeof(name), "bare fault loop, %u us of computing",
			 (unsigned)computing_us[i]);
		report_latency(r, name, &h);
		report_curve_hist(r, name, &h);
	}
	ghost_end(&g);
	cor_hist_init(&h);
	for (unsigned i = 0; i < 20 * o->common.runs; i++)
		cor_hist_add(&h, spawn_true_ns());
	report_latency(r, "posix_spawn + wait of /bin/true", &h);
}

static void rates(struct report *r, const struct bench_sized *o)
{
	static const struct report_column column[] = { { "gb_per_s", "GB/s", 2 } };
	static const struct { size_t chunk; const char *name; } copies[] = {
		{ 4u << 10, "UFFDIO_COPY in 4 KiB" }, { 64u << 10, "UFFDIO_COPY in 64 KiB" },
		{ 256u << 10, "UFFDIO_COPY in 256 KiB" }, { 2u << 20, "UFFDIO_COPY in 2 MiB" },
	};
	struct samples stream = { 0 }, readv = { 0 }, drain = { 0 }, copy[4] = { 0 }, shmem[2] = { 0 };
	struct bare_drain d;
	struct ghost g;

	ghost_start(&g, o->size);
	for (unsigned run = 0; run < o->common.runs; run++) {
		samples_add(&stream, floor_stream_gbs(o->size));
		samples_add(&readv, floor_readv_gbs(o->size));
		for (unsigned i = 0; i < 4; i++)
			samples_add(&copy[i], floor_copy_gbs(copies[i].chunk, o->size));
		for (unsigned i = 0; i < 2; i++)
			samples_add(&shmem[i], floor_shmem_gbs(i, o->size));
		bare_drain(&g, &d);
		samples_add(&drain, (double)o->size / (double)d.wall_ns);
	}
	ghost_end(&g);
	report_table(r, "rate", "rate", column, 1);
	report_row_medians(r, "TCP stream over loopback", &stream);
	report_row_medians(r, "process_vm_readv in 256 KiB", &readv);
	for (unsigned i = 0; i < 4; i++)
		report_row_medians(r, copies[i].name, &copy[i]);
	report_row_medians(r, "shared memory: read, then UFFDIO_COPY, in 256 KiB", &shmem[0]);
	report_row_medians(r, "shared memory: read in place, then UFFDIO_CONTINUE", &shmem[1]);
	report_row_medians(r, "bare drain", &drain);
}

int cmd_floor(int argc, char **argv)
{
	static const struct argp_child children[] = { { &bench_common_argp, 0, NULL, 0 }, { 0 } };
	static const struct argp argp = { floor_options, parse_sized, NULL,
		"Measures what this machine can do at best.", children, NULL, NULL };
	struct bench_sized o = { .common.runs = 3, .size = 256u << 20, .count = 4000 };
	struct report *r;

	if (argp_parse(&argp, argc, argv, 0, NULL, &o))
		return 2;
	r = report_new("floor");
	report_axes(r, "Bare fault loop over loopback TCP", "microseconds", "share of faults", true);
	latencies(r, &o);
	rates(r, &o);
	return report_end(r, &o.common);
}
