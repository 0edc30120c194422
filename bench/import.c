/* cor-bench import: the library alone. How soon the first byte of an import can
 * be read, and what is held before anything is. */
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cor/export.h>
#include <cor/import.h>

#include "bench/bare.h"
#include "bench/report.h"
#include "libcor/base/cleanup.h"
#include "libcor/base/io.h"

#define PAGE         4096u
#define BARE_FAULTS  300
#define TICKET_ROOM  512

static const struct argp_option import_options[] = {
	{ "size", 's', "BYTES", 0, "Memory exported (default 4G)", 0 },
	{ "count", 'n', "N", 0, "Pages read at random after the first (default 2000)", 0 },
	{ 0 }
};

/* --- the exporter: a process of its own ---------------------------------------- */
static void export_and_wait(size_t size, int out)
{
	char *base = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct cor_error e = COR_ERROR_INIT;
	char ticket[TICKET_ROOM] = "";
	struct cor_export *x;

	if (base == MAP_FAILED)
		err(1, "%zu bytes to export", size);
	for (size_t i = 0; i < size / PAGE; i++)
		*(uint64_t *)(base + i * PAGE) = page_word(i);
	if (cor_export_memory(&x, base, size, NULL, &e))
		errx(1, "export: %s", e.text);
	snprintf(ticket, sizeof(ticket), "%s", cor_export_ticket(x));
	if (cor_write_full(out, ticket, sizeof(ticket)))
		_exit(1);
	for (;;)
		pause();
}

static pid_t exporter_start(size_t size, char ticket[TICKET_ROOM])
{
	int pair[2];
	pid_t pid;

	if (pipe(pair))
		err(1, "pipe");
	pid = fork_child();
	if (!pid)
		export_and_wait(size, pair[1]);
	close(pair[1]);
	if (cor_read_full(pair[0], ticket, TICKET_ROOM))
		errx(1, "the exporter did not start: is there memory for it?");
	close(pair[0]);
	return pid;
}

/* --- the importer: this process -------------------------------------------------- */
static uint64_t resident_kib(void)
{
	_cleanup_free_ char *text = NULL;
	unsigned long total, resident;

	if (cor_slurp(AT_FDCWD, "/proc/self/statm", &text, NULL) ||
	    sscanf(text, "%lu %lu", &total, &resident) != 2)
		return 0;
	return resident * (PAGE >> 10);
}

static uint64_t read_page(const char *base, size_t page)
{
	uint64_t start = cor_now_ns(), word = *(const volatile uint64_t *)(base + page * PAGE);

	if (word != page_word(page))
		errx(1, "page %zu of the import is wrong", page);
	return cor_now_ns() - start;
}

/* KiB of the import that this process holds. */
static uint64_t imported_kib(const char *base, size_t size)
{
	_cleanup_free_ unsigned char *there = malloc(size / PAGE);
	uint64_t kib = 0;

	if (!there || mincore((void *)base, size, there))
		err(1, "mincore");
	for (size_t i = 0; i < size / PAGE; i++)
		kib += (there[i] & 1) * (PAGE >> 10);
	return kib;
}

enum { FLOOR, OPEN, FIRST, RATIO, RANDOM50, RANDOM99, HELD, IMPORTED, NCOLUMNS };

static const struct report_column columns[NCOLUMNS] = {
	{ "floor_fault_us", "bare us", 1 }, { "open_us", "open us", 1 },
	{ "first_byte_us", "1st byte us", 1 }, { "ratio", "ratio", 2 },
	{ "p50_us", "random p50", 1 }, { "p99_us", "random p99", 1 },
	{ "held_kib", "held KiB", 0 }, { "imported_kib", "of it", 0 },
};

static void import_once(const struct cor_ctx *ctx, const char *ticket, const struct bench_sized *o,
			double v[NCOLUMNS])
{
	uint64_t start = cor_now_ns(), before = resident_kib(), seed = 88172645463325252ull;
	struct cor_error e = COR_ERROR_INIT;
	size_t npages = o->size / PAGE;
	struct cor_import *i;
	struct cor_hist h;
	const char *base;

	cor_hist_init(&h);
	if (cor_import_open(&i, ctx, ticket, NULL, &e))
		errx(1, "import: %s", e.text);
	v[OPEN] = US(cor_now_ns() - start);
	v[HELD] = (double)resident_kib() - (double)before;
	base = cor_import_address(i);
	v[FIRST] = US(read_page(base, npages / 2));
	v[IMPORTED] = (double)imported_kib(base, o->size) - (PAGE >> 10);
	for (unsigned k = 0; k < o->count; k++) {
		uint64_t took;

		seed ^= seed << 13;
		seed ^= seed >> 7;
		seed ^= seed << 17;
		took = read_page(base, seed % npages);
		if (took >= TOUCH_PRESENT_NS)
			cor_hist_add(&h, took);
	}
	v[RANDOM50] = US(cor_hist_percentile(&h, 0.5));
	v[RANDOM99] = US(cor_hist_percentile(&h, 0.99));
	cor_import_close(i);
}

static void measure(const struct cor_ctx *ctx, const struct bench_sized *o,
		    struct samples s[NCOLUMNS])
{
	const struct order order = { .walk = WALK_RANDOM, .count = BARE_FAULTS };
	char ticket[TICKET_ROOM];
	double v[NCOLUMNS];
	struct cor_hist h;
	struct ghost g;
	pid_t exporter;

	ghost_start(&g, (size_t)BARE_FAULTS * 4 * PAGE);
	exporter = exporter_start(o->size, ticket);
	for (unsigned run = 0; run < o->common.runs; run++) {
		cor_hist_init(&h);
		bare_fault(&g, &order, &h);
		v[FLOOR] = US(cor_hist_percentile(&h, 0.5));
		import_once(ctx, ticket, o, v);
		v[RATIO] = v[FIRST] / v[FLOOR];
		for (unsigned i = 0; i < NCOLUMNS; i++)
			samples_add(&s[i], v[i]);
	}
	end_child(exporter);
	ghost_end(&g);
}

int cmd_import(int argc, char **argv)
{
	static const struct argp_child children[] = { { &bench_common_argp, 0, NULL, 0 }, { 0 } };
	static const struct argp argp = { import_options, parse_sized, NULL,
		"Imports memory that another process exports: the time until the import is open, "
		"and from there to its first byte, beside a fault of the bare loop.",
		children, NULL, NULL };
	struct bench_sized o = { .common.runs = 5, .size = 4ull << 30, .count = 2000 };
	struct samples s[NCOLUMNS] = { 0 };
	struct cor_error e = COR_ERROR_INIT;
	struct cor_ctx *ctx;
	struct report *r;
	char name[24];

	if (argp_parse(&argp, argc, argv, 0, NULL, &o))
		return 2;
	if (cor_open(&ctx, &e))
		errx(1, "%s", e.text);
	measure(ctx, &o, s);
	cor_close(ctx);
	r = report_new("import");
	report_table(r, "import", "cor_import", columns, NCOLUMNS);
	report_row_medians(r, size_text(name, o.size), s);
	report_finding(r, "first_byte_over_bare", "first byte over a fault of the bare loop",
		       samples_median(&s[RATIO]), 5);
	report_finding(r, "imported_kib", "KiB of it that are here beside the page that was read",
		       samples_median(&s[IMPORTED]), 0);
	report_axes(r, "Time to the first byte of an import", "run", "microseconds", false);
	report_curve(r, "open and first byte");
	for (unsigned i = 0; i < s[OPEN].n; i++)
		report_point(r, i + 1, s[OPEN].v[i] + s[FIRST].v[i]);
	return report_end(r, &o.common);
}
