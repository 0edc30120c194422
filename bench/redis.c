/* cor-bench redis: a redis-server moves, with its address and its clients' connections,
 * while they ask as fast as it answers; and how long it is until it answers as fast as
 * before. */
#include <err.h>
#include <errno.h>
#include <math.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench/apart.h"
#include "bench/lab.h"
#include "bench/load.h"
#include "bench/report.h"
#include "libcor/base/cleanup.h"
#include "libcor/base/io.h"

#define PORT       7379u
#define WARM_NS    (1000 * UINT64_C(1000000))   /* does not count */
#define STEP_NS    (100 * UINT64_C(1000000))
#define AT_MOST_NS (60 * UINT64_C(1000000000))
#define BEHIND_NS  (1000 * UINT64_C(1000000))   /* seen of it when it is as before */
#define WINDOW     25u          /* buckets: half a second as fast as before */
#define SHARE      0.9

struct options {
	struct bench_common common;
	size_t      size;
	unsigned    clients, before_s;
	const char *cord;
};

static const struct argp_option redis_options[] = {
	{ "size", 's', "BYTES", 0, "Memory of the values (default 1G)", 0 },
	{ "count", 'n', "N", 0, "Clients (default 50)", 0 },
	{ "before", 'b', "SECONDS", 0, "How long they ask before it moves (default 3)", 0 },
	{ "cord", 'c', "PROGRAM", 0, "The daemon (default: beside cor-bench, then in PATH)", 0 },
	{ 0 }
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct options *o = state->input;

	switch (key) {
	case 's':
		o->size = parse_size(state, arg);
		return 0;
	case 'n':
		o->clients = parse_count(state, arg, 1000);
		return 0;
	case 'b':
		o->before_s = parse_count(state, arg, 30);
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

enum { BEFORE, SILENCE, FREEZE, DRAIN, BACK, LOST, RECONNECTS, NCOLUMNS };

static const struct report_column columns[NCOLUMNS] = {
	{ "before_per_s", "before /s", 0 }, { "silence_ms", "silence ms", 1 },
	{ "freeze_ms", "freeze ms", 1 }, { "drain_ms", "drain ms", 0 },
	{ "back_ms", "back ms", 0 }, { "lost_ms", "lost ms", 0 }, { "reconnects", "reconnects", 0 },
};

struct result {
	struct samples v[NCOLUMNS];
	unsigned answers[LOAD_BUCKETS]; /* of the last run */
	unsigned nbuckets;
	double silent_at;       /* seconds */
};

/* --- the move, beside the clients -------------------------------------------------- */

struct mover {
	struct lab *lab;
	pid_t pid;
	json_t *result;
	int r;
	_Atomic bool done;
};

static void *move(void *arg)
{
	struct mover *m = arg;

	m->r = lab_migrate_address(m->lab, m->pid, APART_FLOAT_MASK, &m->result);
	m->done = true;
	return NULL;
}

/* --- what it comes to -------------------------------------------------------------- */

static double rate(const struct load_figures *f, unsigned from, unsigned n)
{
	double sum = 0;

	for (unsigned i = 0; i < n; i++)
		sum += f->answers[from + i];
	return sum / ((double)n * LOAD_BUCKET_NS / 1e9);
}

/* The first bucket behind from from which on it is as fast as before; none: UINT_MAX. */
static unsigned back_at(const struct load_figures *f, unsigned from, double before)
{
	for (unsigned i = from; i + WINDOW <= f->nbuckets; i++)
		if (f->answers[i] >= SHARE * before * LOAD_BUCKET_NS / 1e9 &&
		    rate(f, i, WINDOW) >= SHARE * before)
			return i;
	return ~0u;
}

static unsigned bucket_of(const struct load_figures *f, uint64_t ns)
{
	return (unsigned)((ns - f->started) / LOAD_BUCKET_NS);
}

static double before_of(const struct load_figures *f, uint64_t asked)
{
	unsigned from = WARM_NS / LOAD_BUCKET_NS, to = bucket_of(f, asked);

	return to > from ? rate(f, from, to - from) : NAN;
}

/* Asks until it is as fast as before and a little longer, or for AT_MOST_NS. */
static int ask_on(struct load *l, struct mover *m, uint64_t asked)
{
	struct load_figures f;
	int r;

	do {
		r = load_run(l, STEP_NS);
		load_figures(l, &f);
	} while (!r && !(m->done && m->r) && cor_now_ns() < asked + AT_MOST_NS &&
		 (!m->done || back_at(&f, bucket_of(&f, f.silent_since + f.silence_ns),
				      before_of(&f, asked)) == ~0u));
	return r ? r : load_run(l, BEHIND_NS);
}

static void note(const struct load *l, const json_t *result, uint64_t asked, struct result *out)
{
	struct load_figures f;
	double before, lost = 0;
	unsigned silent, back;

	load_figures(l, &f);
	before = before_of(&f, asked);
	silent = bucket_of(&f, f.silent_since);
	back = back_at(&f, bucket_of(&f, f.silent_since + f.silence_ns), before);
	for (unsigned i = silent; i < COR_MIN(back, f.nbuckets); i++)
		lost += LOAD_BUCKET_NS / 1e6 * (1 - f.answers[i] / (before * LOAD_BUCKET_NS / 1e9));
	samples_add(&out->v[BEFORE], before);
	samples_add(&out->v[SILENCE], (double)f.silence_ns / 1e6);
	samples_add(&out->v[FREEZE], json_number_value(json_object_get(result, "freeze_us")) / 1e3);
	samples_add(&out->v[DRAIN], json_number_value(json_object_get(result, "drain_us")) / 1e3);
	if (back != ~0u)
		samples_add(&out->v[BACK], ((double)back * LOAD_BUCKET_NS -
					    (double)(f.silent_since - f.started)) / 1e6);
	else
		warnx("it was not as fast as before within %u s",
		      (unsigned)(AT_MOST_NS / 1000000000u));
	samples_add(&out->v[LOST], lost);
	samples_add(&out->v[RECONNECTS], f.reconnects);
	memcpy(out->answers, f.answers, sizeof(out->answers));
	out->nbuckets = f.nbuckets;
	out->silent_at = (double)(f.silent_since - f.started) / 1e9;
}

/* --- one run ------------------------------------------------------------------------ */

static pid_t server_start(const struct lab *lab)
{
	char port[12], dir[80];
	char *argv[] = { (char[]){ "redis-server" }, (char[]){ "--port" }, port, (char[]){ "--bind" },
			 (char[]){ APART_FLOAT }, (char[]){ "--protected-mode" }, (char[]){ "no" },
			 (char[]){ "--save" }, (char[]){ "" }, (char[]){ "--appendonly" }, (char[]){ "no" },
			 (char[]){ "--enable-debug-command" }, (char[]){ "yes" }, (char[]){ "--dir" }, dir,
			 NULL };

	snprintf(port, sizeof(port), "%u", PORT);
	snprintf(dir, sizeof(dir), "%s", lab->dir);
	return apart_spawn(lab->source.host, argv);
}

static int under_load(const struct options *o, struct load *l, struct mover *m,
		      struct result *out)
{
	pthread_t thread;
	uint64_t asked;
	int r = load_fill(l);

	if (!r)
		r = load_run(l, WARM_NS + o->before_s * UINT64_C(1000000000));
	if (r)
		return r;
	load_mark(l);
	asked = cor_now_ns();
	if (pthread_create(&thread, NULL, move, m))
		err(1, "a thread");
	r = ask_on(l, m, asked);
	pthread_join(thread, NULL);
	if (!r)
		r = m->r;
	if (!r)
		note(l, m->result, asked, out);
	return r;
}

static void server_end(struct mover *m, pid_t home)
{
	pid_t pid = m->result ? (pid_t)json_integer_value(json_object_get(m->result, "destination_pid")) : 0;

	if (pid > 0)
		kill(pid, SIGKILL);
	for (unsigned i = 0; pid > 0 && i < 5000 && !kill(pid, 0); i++)
		usleep(1000);
	end_child(home);
	json_decref(m->result);
}

static int run_once(const struct options *o, struct lab *lab, struct result *out)
{
	struct load *l = load_new(APART_FLOAT, PORT, o->clients, o->size / LOAD_VALUE);
	struct mover m = { .lab = lab, .pid = server_start(lab) };
	int r = under_load(o, l, &m, out);

	server_end(&m, m.pid);
	load_free(l);
	return r;
}

static int measure(const struct options *o, struct result *res)
{
	struct apart_host hosts[2];
	struct lab lab;
	int r;

	apart_make(hosts, 2);
	r = lab_start_apart(&lab, o->cord, hosts);
	for (unsigned run = 0; !r && run < o->common.runs; run++) {
		struct cord there = lab.destination;

		r = run_once(o, &lab, res);
		/* the address is there now: the next one goes back */
		lab.destination = lab.source;
		lab.source = there;
	}
	lab_stop(&lab, r != 0);
	apart_end(hosts, 2);
	return r;
}

static void draw(struct report *r, const struct result *res)
{
	report_axes(r, "redis-server under load moves", "seconds from the freeze",
		    "1000 answers a second", false);
	report_curve(r, "answers");
	for (unsigned i = 0; i < res->nbuckets; i++)
		report_point(r, i * LOAD_BUCKET_NS / 1e9 - res->silent_at,
			     res->answers[i] / (LOAD_BUCKET_NS / 1e9) / 1e3);
}

int cmd_redis(int argc, char **argv)
{
	static const struct argp_child children[] = { { &bench_common_argp, 0, NULL, 0 }, { 0 } };
	static const struct argp argp = { redis_options, parse, NULL,
		"Moves a redis-server with its address from one host to another (network namespaces "
		"of its own) while clients ask as fast as it answers, and prints how long it took "
		"until it was as fast as before again.", children, NULL, NULL };
	struct options o = { .common.runs = 5, .size = 1u << 30, .clients = 50, .before_s = 3 };
	static struct result res;
	struct report *r;
	char name[24];

	if (argp_parse(&argp, argc, argv, 0, NULL, &o))
		return 2;
	signal(SIGPIPE, SIG_IGN);
	if (measure(&o, &res))
		return 1;
	r = report_new("redis");
	report_table(r, "redis", "redis-server", columns, NCOLUMNS);
	report_row_medians(r, size_text(name, o.size), res.v);
	report_finding(r, "back_ms", "ms from the freeze until it is at 90 % of before",
		       samples_median(&res.v[BACK]), NAN);
	draw(r, &res);
	return report_end(r, &o.common);
}
