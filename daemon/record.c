/* The record of one migration; see record.h. */
#include "daemon/record.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

#include "libcor/base/cleanup.h"

/* Told in their own way, or (the secret) not at all. */
static const char *const not_figures[] = {
	"type", "state", "id", "secret", "role", "ok", "exit", "event",
};

void hex_encode(char *out, const uint8_t *bytes, unsigned n)
{
	static const char digits[] = "0123456789abcdef";

	for (unsigned i = 0; i < n; i++) {
		out[2 * i] = digits[bytes[i] >> 4];
		out[2 * i + 1] = digits[bytes[i] & 15];
	}
	out[2 * n] = 0;
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

int hex_decode(uint8_t *out, const char *hex, unsigned n)
{
	if (strlen(hex) != 2 * (size_t)n || strspn(hex, "0123456789abcdef") != 2 * (size_t)n)
		return -EINVAL;
	for (unsigned i = 0; i < n; i++)
		out[i] = (uint8_t)(hex_digit(hex[2 * i]) << 4 | hex_digit(hex[2 * i + 1]));
	return 0;
}

int record_init(struct record *r, bool source)
{
	json_t *figures = json_pack("{s:n, s:n, s:n, s:n, s:i, s:i, s:i, s:i, s:i, s:i, s:i,"
				    " s:{s:i, s:i, s:i, s:i}}",
				    "pid", "destination_pid", "freeze_us", "drain_us",
				    "pages", 0, "pages_total", 0, "pages_demand", 0,
				    "pages_prefetched", 0, "pages_zero", 0, "bytes_wire", 0,
				    "faults", 0,
				    "fault_us", "p50", 0, "p90", 0, "p99", 0, "max", 0);

	if (!figures)
		return -ENOMEM;
	memset(r, 0, sizeof(*r));
	r->source = source;
	r->figures = figures;
	return 0;
}

void record_clear(struct record *r)
{
	explicit_bzero(r->secret, sizeof(r->secret));
	json_decref(r->figures);
	r->figures = NULL;
}

static bool is_figure(const char *key)
{
	for (size_t i = 0; i < ARRAY_SIZE(not_figures); i++)
		if (!strcmp(key, not_figures[i]))
			return false;
	return true;
}

static void merge(struct record *r, const json_t *message)
{
	const char *key;
	json_t *value;

	json_object_foreach((json_t *)message, key, value)
		if (is_figure(key))
			json_object_set(r->figures, key, value);
}

json_t *record_text(const char *text)
{
	json_t *value = json_string(text);

	/* Names of tasks are bytes of any kind, and JSON is UTF-8. */
	if (!value) {
		char plain[128];
		size_t n = 0;

		for (; text[n] && n < sizeof(plain) - 1; n++)
			plain[n] = text[n] & 0x80 ? '?' : text[n];
		plain[n] = 0;
		value = json_string(plain);
	}
	return value;
}

void record_set_text(struct record *r, const char *key, const char *text)
{
	json_object_set_new(r->figures, key, record_text(text));
}

int record_session(struct record *r, const json_t *message)
{
	const char *id = json_string_value(json_object_get(message, "id"));
	const char *secret = json_string_value(json_object_get(message, "secret"));
	uint8_t s[16], x[32];

	if (r->takes_lanes || !id || !secret || hex_decode(s, id, 16) < 0 ||
	    hex_decode(x, secret, 32) < 0)
		return -EINVAL;
	strcpy(r->id, id);
	memcpy(r->session, s, sizeof(s));
	memcpy(r->secret, x, sizeof(x));
	explicit_bzero(x, sizeof(x));
	r->takes_lanes = true;
	merge(r, message);
	return 0;
}

int record_status(struct record *r, const json_t *message)
{
	const char *name = json_string_value(json_object_get(message, "state"));
	int state = name ? session_state_parse(name) : (int)r->state;

	if (state < 0)
		return state;
	r->state = (enum session_state)state;
	merge(r, message);
	return 0;
}

static void end(struct record *r, bool ok, int code)
{
	r->ended = true;
	r->ok = ok;
	r->exit = code;
	r->takes_lanes = false;
	if (ok)
		r->state = SESSION_RELEASED;
	else
		r->state = code == 3 ? SESSION_LOST : SESSION_ABORTED;
}

int record_result(struct record *r, const json_t *message)
{
	const json_t *ok = json_object_get(message, "ok");
	const json_t *code = json_object_get(message, "exit");

	if (r->ended || !json_is_boolean(ok))
		return -EINVAL;
	merge(r, message);
	if (json_is_true(ok))
		end(r, true, 0);
	else
		end(r, false, json_integer_value(code) == 3 ? 3 : 1);
	return 0;
}

void record_worker_died(struct record *r, int status, bool let_go)
{
	char why[96];

	if (r->ended)
		return;
	/* nothing was left to do for the task */
	if (r->state == SESSION_RELEASED) {
		end(r, true, 0);
		return;
	}
	if (!r->source && ((record_resumed(r) && status != -1 && WIFEXITED(status) &&
			    !WEXITSTATUS(status)) || r->state == SESSION_DRAINED)) {
		end(r, true, 0);
		return;
	}
	if (status == -1)
		snprintf(why, sizeof(why), "the worker ended unexpectedly");
	else if (WIFSIGNALED(status))
		snprintf(why, sizeof(why), "the worker ended unexpectedly, signal %d (%s)",
			 WTERMSIG(status), strsignal(WTERMSIG(status)));
	else
		snprintf(why, sizeof(why), "the worker ended unexpectedly, status %d",
			 WEXITSTATUS(status));
	record_set_text(r, "error", why);
	r->died = let_go;
	end(r, false, let_go && record_committed(r) ? 3 : 1);
}

void record_adopt(struct record *r, const uint8_t session[16], const uint8_t secret[32],
		  const json_t *about)
{
	memcpy(r->session, session, sizeof(r->session));
	memcpy(r->secret, secret, sizeof(r->secret));
	hex_encode(r->id, session, sizeof(r->session));
	r->takes_lanes = !r->source;
	merge(r, about);
}

int record_outcome(const struct record *r)
{
	if (!r->ended)
		return 0;
	if (r->ok)
		return -EALREADY;
	if (r->died)
		return -EOWNERDEAD;
	return r->exit == 3 ? -ENOTRECOVERABLE : -ECANCELED;
}

bool record_committed(const struct record *r)
{
	return session_state_committed(r->state);
}

bool record_resumed(const struct record *r)
{
	return session_state_resumed(r->state);
}

json_t *record_json(const struct record *r)
{
	json_t *o = json_pack("{s:s, s:s, s:s}", "id", r->id, "role",
			      r->source ? "source" : "destination",
			      "state", session_state_name(r->state));

	if (!o)
		return NULL;
	json_object_update_missing(o, r->figures);
	if (r->ended) {
		json_object_set_new(o, "ok", json_boolean(r->ok));
		json_object_set_new(o, "exit", json_integer(r->exit));
	}
	return o;
}
