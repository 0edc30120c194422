/* Tables, JSON and pictures of a bench's result. */
#include <err.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "bench/report.h"

#define MAX_COLUMNS 12

struct row {
	char   name[64];
	double v[MAX_COLUMNS];
};

struct table {
	const char *key, *title;
	const struct report_column *columns;
	unsigned    ncolumns, nrows;
	struct row *rows;
};

struct finding {
	char   key[48], what[96];
	double value, goal;
	bool   least;
};

struct point { double x, y; };

struct curve {
	char          name[64];
	struct point *points;
	unsigned      n;
};

struct report {
	const char     *bench;
	struct table   *tables;
	struct finding *findings;
	struct curve   *curves;
	unsigned        ntables, nfindings, ncurves;
	const char     *title, *x, *y;
	bool            log_x;
};

const struct report_column report_latency_columns[4] = {
	{ "p50_us", "p50 us", 1 }, { "p90_us", "p90 us", 1 },
	{ "p99_us", "p99 us", 1 }, { "max_us", "max us", 1 },
};

/* One more element of an array: a zeroed slot; reports are small. */
static void *grow(void *arrayp, unsigned *n, size_t size)
{
	void **array = arrayp;
	char *p = realloc(*array, (*n + 1) * size);

	if (!p)
		err(1, "report");
	*array = p;
	return memset(p + (*n)++ * size, 0, size);
}

struct report *report_new(const char *bench)
{
	struct report *r = calloc(1, sizeof(*r));

	if (!r)
		err(1, "report");
	r->bench = bench;
	return r;
}

void report_table(struct report *r, const char *key, const char *title,
		  const struct report_column *columns, unsigned n)
{
	struct table *t = grow(&r->tables, &r->ntables, sizeof(*t));

	t->key = key;
	t->title = title;
	t->columns = columns;
	t->ncolumns = n < MAX_COLUMNS ? n : MAX_COLUMNS;
}

void report_row(struct report *r, const char *name, const double *values)
{
	struct table *t = &r->tables[r->ntables - 1];
	struct row *row = grow(&t->rows, &t->nrows, sizeof(*row));

	snprintf(row->name, sizeof(row->name), "%s", name);
	memcpy(row->v, values, t->ncolumns * sizeof(*values));
}

void report_row_medians(struct report *r, const char *name, const struct samples *columns)
{
	double v[MAX_COLUMNS];

	for (unsigned i = 0; i < r->tables[r->ntables - 1].ncolumns; i++)
		v[i] = samples_median(&columns[i]);
	report_row(r, name, v);
}

void report_latency(struct report *r, const char *name, const struct cor_hist *h)
{
	double v[4] = {
		US(cor_hist_percentile(h, 0.5)), US(cor_hist_percentile(h, 0.9)),
		US(cor_hist_percentile(h, 0.99)), US(h->max),
	};

	report_row(r, name, v);
}

static void finding(struct report *r, const char *key, const char *what, double value, double goal,
		    bool least)
{
	struct finding *f = grow(&r->findings, &r->nfindings, sizeof(*f));

	snprintf(f->key, sizeof(f->key), "%s", key);
	snprintf(f->what, sizeof(f->what), "%s", what);
	f->value = value;
	f->goal = goal;
	f->least = least;
}

void report_finding(struct report *r, const char *key, const char *what, double value, double goal)
{
	finding(r, key, what, value, goal, false);
}

void report_finding_least(struct report *r, const char *key, const char *what, double value,
			  double goal)
{
	finding(r, key, what, value, goal, true);
}

void report_axes(struct report *r, const char *title, const char *x, const char *y, bool log_x)
{
	r->title = title;
	r->x = x;
	r->y = y;
	r->log_x = log_x;
}

void report_curve(struct report *r, const char *name)
{
	struct curve *c = grow(&r->curves, &r->ncurves, sizeof(*c));

	snprintf(c->name, sizeof(c->name), "%s", name);
}

void report_point(struct report *r, double x, double y)
{
	struct curve *c = &r->curves[r->ncurves - 1];
	struct point *p = grow(&c->points, &c->n, sizeof(*p));

	p->x = x;
	p->y = y;
}

void report_curve_hist(struct report *r, const char *name, const struct cor_hist *h)
{
	report_curve(r, name);
	for (double p = 0; h->count && p < 1; p += p < 0.99 ? 0.01 : 0.001)
		report_point(r, US(cor_hist_percentile(h, p)), p);
}

/* --- text -------------------------------------------------------------------- */
static void print_table(const struct table *t)
{
	int width = (int)strlen(t->title);

	for (unsigned i = 0; i < t->nrows; i++)
		if ((int)strlen(t->rows[i].name) > width)
			width = (int)strlen(t->rows[i].name);
	printf("%-*s", width, t->title);
	for (unsigned c = 0; c < t->ncolumns; c++)
		printf("  %11s", t->columns[c].heading);
	putchar('\n');
	for (unsigned i = 0; i < t->nrows; i++) {
		printf("%-*s", width, t->rows[i].name);
		for (unsigned c = 0; c < t->ncolumns; c++)
			if (isnan(t->rows[i].v[c]))
				printf("  %11s", "");
			else
				printf("  %11.*f", t->columns[c].decimals, t->rows[i].v[c]);
		putchar('\n');
	}
	putchar('\n');
}

static bool is_met(const struct finding *f)
{
	return f->least ? f->value >= f->goal : f->value <= f->goal;
}

static void print_text(const struct report *r)
{
	for (unsigned i = 0; i < r->ntables; i++)
		print_table(&r->tables[i]);
	for (unsigned i = 0; i < r->nfindings; i++) {
		const struct finding *f = &r->findings[i];

		printf("%-58s %8.2f", f->what, f->value);
		if (!isnan(f->goal))
			printf("   goal: at %s %.2f, %s", f->least ? "least" : "most", f->goal,
			       is_met(f) ? "met" : "missed");
		putchar('\n');
	}
}

/* --- JSON -------------------------------------------------------------------- */
static json_t *number(double v)
{
	return isfinite(v) ? json_real(round(v * 1e6) / 1e6) : json_null();
}

static json_t *table_json(const struct table *t)
{
	json_t *rows = json_array();

	for (unsigned i = 0; i < t->nrows; i++) {
		json_t *o = json_pack("{s:s}", "name", t->rows[i].name);

		for (unsigned c = 0; c < t->ncolumns; c++)
			json_object_set_new(o, t->columns[c].key, number(t->rows[i].v[c]));
		json_array_append_new(rows, o);
	}
	return rows;
}

static int print_json(const struct report *r, const struct bench_common *c)
{
	json_t *root = json_object(), *o = json_object(), *goals = json_object();
	struct utsname u = { 0 };
	int rc;

	uname(&u);
	json_object_set_new(root, "bench", json_string(r->bench));
	json_object_set_new(root, "runs", json_integer(c->runs));
	json_object_set_new(root, "kernel", json_string(u.release));
	json_object_set_new(root, "cpus", json_integer(sysconf(_SC_NPROCESSORS_ONLN)));
	for (unsigned i = 0; i < r->ntables; i++)
		json_object_set_new(root, r->tables[i].key, table_json(&r->tables[i]));
	for (unsigned i = 0; i < r->nfindings; i++) {
		const struct finding *f = &r->findings[i];

		json_object_set_new(o, f->key, number(f->value));
		if (!isnan(f->goal))
			json_object_set_new(goals, f->key,
					    json_pack("{s:o,s:b}", f->least ? "least" : "most",
						      number(f->goal), "met", is_met(f)));
	}
	json_object_set_new(root, "findings", o);
	json_object_set_new(root, "goals", goals);
	rc = json_dumpf(root, stdout, JSON_INDENT(1) | JSON_REAL_PRECISION(9));
	putchar('\n');
	json_decref(root);
	return rc ? 1 : 0;
}

/* --- pictures ---------------------------------------------------------------- */
static int draw(const struct report *r, const char *path)
{
	FILE *g;
	int rc;

	if (!r->ncurves) {
		warnx("%s: this bench has no curve to draw", r->bench);
		return 1;
	}
	if (strpbrk(path, "'\n")) {
		warnx("%s: gnuplot cannot take this file name", path);
		return 1;
	}
	g = popen("gnuplot", "w");
	if (!g) {
		warn("gnuplot");
		return 1;
	}
	fprintf(g, "set terminal svg size 800,480 background 'white'\nset output '%s'\n", path);
	fprintf(g, "set title \"%s\"\nset xlabel \"%s\"\nset ylabel \"%s\"\n", r->title, r->x, r->y);
	fprintf(g, "set key outside below\nset grid\nset yrange [0:*]\n%s",
		r->log_x ? "set logscale x\n" : "");
	for (unsigned i = 0; i < r->ncurves; i++)
		fprintf(g, "%s '-' with linespoints pointsize 0.3 linewidth 2 title \"%s\"",
			i ? "," : "plot", r->curves[i].name);
	putc('\n', g);
	for (unsigned i = 0; i < r->ncurves; i++) {
		for (unsigned k = 0; k < r->curves[i].n; k++)
			fprintf(g, "%.9g %.9g\n", r->curves[i].points[k].x, r->curves[i].points[k].y);
		fprintf(g, "e\n");
	}
	rc = pclose(g);
	if (rc)
		warnx("gnuplot could not draw %s (is it installed?)", path);
	return rc ? 1 : 0;
}

int report_end(struct report *r, const struct bench_common *c)
{
	int rc = 0;

	if (c->json)
		rc = print_json(r, c);
	else
		print_text(r);
	fflush(stdout);
	if (c->plot)
		rc |= draw(r, c->plot);
	for (unsigned i = 0; i < r->ntables; i++)
		free(r->tables[i].rows);
	for (unsigned i = 0; i < r->ncurves; i++)
		free(r->curves[i].points);
	free(r->tables);
	free(r->findings);
	free(r->curves);
	free(r);
	return rc;
}
