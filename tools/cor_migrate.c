/* cor migrate: moves a task to another host, and waits for it. */
#include "tools/cor.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "libcor/base/cleanup.h"
#include "libcor/base/error.h"
#include "libcor/base/io.h"
#include "libcor/names/net/departure.h"
#include "libcor/names/mechanism.h"
#include "libcor/transport/choice.h"
#include "tools/client.h"
#include "tools/output.h"
#include "tools/progress.h"

enum { OPT_WAIT = 0x100, OPT_NO_PREFETCH, OPT_TRANSPORT, OPT_WITHOUT, OPT_ADDRESS,
       OPT_ATTEMPTS, OPT_JSON };

#define ATTEMPTS 3u
#define ATTEMPTS_MAX 100u
/* What was in the way belongs to the moment. */
#define PAUSE_US 200000

struct wish {
	struct cor_globals *globals;
	const char *pid_text, *dest, *wait, *transport, *without;
	const char *addresses[COR_ADDRESSES_MAX];
	unsigned    naddresses, attempts;
	bool        no_prefetch, json;
	pid_t       pid;
};

static const struct argp_option options[] = {
	{ "wait",        OPT_WAIT, "WHAT", 0,
	  "Wait until the task is \"resumed\" there, or until all of its memory has "
	  "followed, \"drained\" (this unless told otherwise)", 0 },
	{ "no-prefetch", OPT_NO_PREFETCH, NULL, 0,
	  "Move only those pages that the task touches", 0 },
	{ "transport",   OPT_TRANSPORT, "NAME,...", 0,
	  "Move pages over the first of these that both hosts have, or over none of those "
	  "with a \"!\" (the best there is)", 0 },
	{ "without",     OPT_WITHOUT, "MECHANISM,...", 0,
	  "Do not use these mechanisms; a task that needs one is refused (see cor check)", 0 },
	{ "address",     OPT_ADDRESS, "ADDR/PREFIX[@INTERFACE]", 0,
	  "Move this address along, and the TCP connections that the task has at it; INTERFACE "
	  "is DEST's. May be given several times", 0 },
	{ "attempts",    OPT_ATTEMPTS, "N", 0,
	  "Where the other host finds in the freeze that the task has just changed, try N times in "
	  "all (3)", 0 },
	{ "json",        OPT_JSON, NULL, 0, "Print the result as one JSON object", 0 },
	{ 0 },
};

static unsigned attempts_of(const char *text, const struct argp_state *state)
{
	char *end;
	unsigned long n = strtoul(text, &end, 10);

	if (*end || *text < '0' || *text > '9' || !n || n > ATTEMPTS_MAX)
		argp_error(state, "--attempts takes a number from 1 to %u, not \"%s\"", ATTEMPTS_MAX,
			   text);
	return (unsigned)n;
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct wish *w = state->input;

	switch (key) {
	case ARGP_KEY_INIT:   state->child_inputs[0] = w->globals; return 0;
	case OPT_WAIT:        w->wait = arg; return 0;
	case OPT_NO_PREFETCH: w->no_prefetch = true; return 0;
	case OPT_TRANSPORT:   w->transport = arg; return 0;
	case OPT_WITHOUT:     w->without = arg; return 0;
	case OPT_ADDRESS:
		if (w->naddresses == COR_ADDRESSES_MAX)
			argp_error(state, "more than %d addresses", COR_ADDRESSES_MAX);
		else
			w->addresses[w->naddresses++] = arg;
		return 0;
	case OPT_ATTEMPTS:    w->attempts = attempts_of(arg, state); return 0;
	case OPT_JSON:        w->json = true; return 0;
	case ARGP_KEY_ARG:
		if (state->arg_num == 0)
			w->pid_text = arg;
		else if (state->arg_num == 1)
			w->dest = arg;
		else
			return ARGP_ERR_UNKNOWN;
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

/* A thread of another process: its process; else 0. */
static pid_t process_of(pid_t tid)
{
	_cleanup_free_ char *status = NULL;
	const char *line;
	char path[48];

	snprintf(path, sizeof(path), "/proc/%d/status", (int)tid);
	if (cor_slurp(AT_FDCWD, path, &status, NULL) < 0)
		return 0;
	line = strstr(status, "\nTgid:");
	return line && atoi(line + 6) != tid ? (pid_t)atoi(line + 6) : 0;
}

static int check_pid(struct wish *w, struct cor_error *err)
{
	char *end;
	long pid;

	errno = 0;
	pid = strtol(w->pid_text, &end, 10);
	if (errno || *end || end == w->pid_text || pid < 1 || pid > INT_MAX)
		return cor_fail(err, -EINVAL, "\"%s\" is not the number of a process",
				w->pid_text);
	if (kill((pid_t)pid, 0) < 0 && errno == ESRCH)
		return cor_fail(err, -ESRCH, "there is no process %ld", pid);
	if (process_of((pid_t)pid))
		return cor_fail(err, -EINVAL,
				"%ld is a thread of process %d, which moves as a whole", pid,
				(int)process_of((pid_t)pid));
	w->pid = (pid_t)pid;
	return 0;
}

static int check(struct wish *w, struct cor_error *err)
{
	struct cor_transports list;
	cor_mechanism_set unused;

	if (!w->pid_text || !w->dest)
		return cor_fail(err, -EINVAL,
				"migrate takes PID and DEST (see cor migrate --help)");
	if (!*w->dest)
		return cor_fail(err, -EINVAL, "DEST is empty");
	if (strcmp(w->wait, "resumed") && strcmp(w->wait, "drained"))
		return cor_fail(err, -EINVAL, "--wait takes \"resumed\" or \"drained\", not \"%s\"",
				w->wait);
	if (w->without && cor_mechanisms_parse(w->without, &unused, err) < 0)
		return -EINVAL;
	if (w->transport &&
	    cor_transports_parse(w->transport, &cor_transports_default, &list, err) < 0)
		return -EINVAL;
	for (unsigned i = 0; i < w->naddresses; i++) {
		struct cor_address unparsed;

		if (cor_address_parse(w->addresses[i], &unparsed, err) < 0)
			return -EINVAL;
	}
	return check_pid(w, err);
}

/* before: the result of the last attempt, or NULL. */
static json_t *request(const struct wish *w, const json_t *before)
{
	json_t *q = json_pack("{s:s, s:i, s:s, s:s}", "command", "migrate", "pid", (int)w->pid,
			      "dest", w->dest, "wait", w->wait);

	if (w->no_prefetch)
		json_object_set_new(q, "prefetch", json_false());
	if (json_is_true(json_object_get(before, "outside")))
		json_object_set_new(q, "outside", json_true());
	if (w->transport)
		json_object_set_new(q, "transport", json_string(w->transport));
	if (w->without)
		json_object_set_new(q, "without", json_string(w->without));
	if (w->naddresses) {
		json_t *list = json_array();

		for (unsigned i = 0; i < w->naddresses; i++)
			json_array_append_new(list, json_string(w->addresses[i]));
		json_object_set_new(q, "addresses", list);
	}
	return q;
}

/* Reads events until the result; keeps the session's identity for messages. */
static int await(struct client *c, json_t **result, char id[33], struct cor_error *err)
{
	struct progress bar;
	int r;

	progress_begin(&bar);
	for (;;) {
		json_auto_t *event = NULL;

		r = client_next(c, &event, err);
		if (r < 0)
			break;
		if (json_is_string(json_object_get(event, "id")))
			snprintf(id, 33, "%s", output_text(event, "id"));
		if (!strcmp(output_text(event, "event"), "result")) {
			*result = json_incref(event);
			break;
		}
		output_clean(event);
		progress_show(&bar, event);
	}
	progress_end(&bar);
	return r;
}

static void print_done(const json_t *r)
{
	const json_t *fault = json_object_get(r, "fault_us");
	char freeze[32], drain[32], wire[32], p50[32], p99[32];

	printf("%s (%lld) runs on %s as %lld, frozen for %s\n", output_text(r, "comm"),
	       (long long)output_number(r, "pid"), output_text(r, "peer"),
	       (long long)output_number(r, "destination_pid"),
	       output_us(freeze, sizeof(freeze), (double)output_number(r, "freeze_us")));
	if (strcmp(output_text(r, "state"), "released"))
		return;         /* its memory is still on the way */
	printf("%lld pages in %s: %lld on demand, %lld prefetched, %lld zero; %s received\n",
	       (long long)output_number(r, "pages"),
	       output_us(drain, sizeof(drain), (double)output_number(r, "drain_us")),
	       (long long)output_number(r, "pages_demand"),
	       (long long)output_number(r, "pages_prefetched"),
	       (long long)output_number(r, "pages_zero"),
	       output_bytes(wire, sizeof(wire), (double)output_number(r, "bytes_wire")));
	if (output_number(r, "pages_demand"))
		printf("faults: median %s, 99 %% within %s\n",
		       output_us(p50, sizeof(p50), (double)output_number(fault, "p50")),
		       output_us(p99, sizeof(p99), (double)output_number(fault, "p99")));
}

/* How long a cord that has ended may take to be there again. */
#define RESTART_MS 10000
#define RESTART_STEP_MS 100

/* cord ended while we waited, but the migration goes on without it: waits for the cord
 * that is started in its place. */
static int attach_again(const struct wish *w, const char *id, struct client **c,
			struct cor_error *err)
{
	int r = -ENODATA;

	for (int ms = 0; ms < RESTART_MS && r < 0; ms += RESTART_STEP_MS) {
		if (usleep(RESTART_STEP_MS * 1000) < 0)
			return cor_fail_errno(err, "waiting for cord");
		r = client_open(c, w->globals->control, err);
	}
	if (r == 0)
		r = client_ask(*c, json_pack("{s:s, s:s, s:s}", "command", "wait", "id", id,
					     "wait", w->wait), err);
	return r;
}

/* cord's farewell, or its sudden end, is not the migration's. */
static bool cord_has_ended(int r, const json_t *result)
{
	return r == -ENODATA || r == -ECONNRESET ||
	       (r == 0 && output_number(result, "exit") == COR_EXIT_UNKNOWN);
}

static int await_result(const struct wish *w, struct client **c, json_t **result, char id[33],
			struct cor_error *err)
{
	int r = await(*c, result, id, err);

	while (id[0] && cord_has_ended(r, *result)) {
		json_decref(*result);
		*result = NULL;
		client_close(*c);
		*c = NULL;
		r = attach_again(w, id, c, err);
		if (r == 0)
			r = await(*c, result, id, err);
		else
			return cor_fail_prefix(err, r, "cord ended");
	}
	return r;
}

/* What went otherwise than it might have, though it went well. */
static void print_warnings(const json_t *result)
{
	const json_t *warning;
	size_t i;

	json_array_foreach(json_object_get(result, "warnings"), i, warning)
		cor_complain("warning: %s", json_string_value(warning) ?: "?");
}

static int finish(const struct wish *w, json_t *result)
{
	bool ok = json_is_true(json_object_get(result, "ok"));
	int code = (int)output_number(result, "exit");

	if (w->json)
		output_json(result);
	output_clean(result);
	print_warnings(result);
	if (ok && !w->json)
		print_done(result);
	if (ok)
		return COR_EXIT_DONE;
	cor_complain("%s", output_reason(result));
	return code >= COR_EXIT_FAILED && code <= COR_EXIT_LOST ? code : COR_EXIT_FAILED;
}

static int give_up(const struct wish *w, int code, const char *why)
{
	if (w->json)
		output_json_error(code, why);
	cor_complain("%s", why);
	return code;
}

/* Ctrl-C ends the waiting, not the migration. */
static void on_interrupt(int sig)
{
}

/* *asked: cord has been, so that what becomes of it may not be known. *result: of the attempt
 * before; replaced, NULL on failure. */
static int attempt(const struct wish *w, json_t **result, bool *asked, char id[33],
		   struct cor_error *err)
{
	struct client *c = NULL;
	int r = client_open(&c, w->globals->control, err);

	id[0] = 0;
	if (r == 0)
		r = client_ask(c, request(w, *result), err);
	*asked = r == 0;
	json_decref(*result);
	*result = NULL;
	if (r == 0)
		r = await_result(w, &c, result, id, err);
	client_close(c);
	return r;
}

/* It failed, and the task goes on here, but a moment later it may be done. */
static bool again(const struct wish *w, unsigned attempts, const json_t *result)
{
	char why[COR_ERROR_TEXT];

	if (attempts >= w->attempts || json_is_true(json_object_get(result, "ok")) ||
	    !json_is_true(json_object_get(result, "again")))
		return false;
	snprintf(why, sizeof(why), "%s", output_reason(result));
	output_clean_text(why);
	cor_complain("%s (attempt %u of %u)", why, attempts, w->attempts);
	return usleep(PAUSE_US) == 0;
}

static int migrate(struct wish *w)
{
	struct sigaction interrupt = { .sa_handler = on_interrupt };
	struct cor_error err = COR_ERROR_INIT;
	char id[33] = "", why[COR_ERROR_TEXT + 96];
	json_auto_t *result = NULL;
	unsigned attempts = 0;
	bool asked = false;
	int r = check(w, &err);

	sigaction(SIGINT, &interrupt, NULL);
	for (; r == 0 && (!attempts || again(w, attempts, result)); attempts++) {
		r = attempt(w, &result, &asked, id, &err);
	}
	if (r == 0) {
		json_object_set_new(result, "attempts", json_integer(attempts));
		return finish(w, result);
	}
	if (!asked)
		return give_up(w, COR_EXIT_FAILED, err.text);
	snprintf(why, sizeof(why), "%s; the migration may go on: cor status %s",
		 r == -EINTR ? "interrupted" : err.text, id);
	return give_up(w, COR_EXIT_UNKNOWN, why);
}

int cor_migrate(struct cor_globals *globals, int argc, char **argv)
{
	static const struct argp_child children[] = { { &cor_control_argp, 0, NULL, 0 }, { 0 } };
	static const struct argp parser = {
		options, parse, "PID DEST",
		"Moves the process PID to DEST, which is ADDR:PORT or a peer's name."
		"\vThe exit status is 0 when it was done, 1 when it was refused or failed and the "
		"task still runs here, 2 when cord's answer was not heard, 3 when the task was "
		"lost.", children, NULL, NULL,
	};
	struct wish w = { .globals = globals, .wait = "drained", .attempts = ATTEMPTS };

	if (argp_parse(&parser, argc, argv, 0, NULL, &w) != 0)
		return COR_EXIT_FAILED;
	return migrate(&w);
}
