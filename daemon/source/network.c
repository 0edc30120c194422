/* What the network notices, at the source: addresses that move along, connections. */
#include <errno.h>

#include "daemon/source/source.h"
#include "libcor/base/error.h"
#include "libcor/base/io.h"

#define SETTLE_TIMEOUT_MS 1000

static unsigned count_addresses(const struct source *s)
{
	unsigned n = 0;

	while (s->args->addresses && s->args->addresses[n])
		n++;
	return n;
}

int source_network_begin(struct source *s, struct cor_error *err)
{
	unsigned n = count_addresses(s);
	int r;

	if (!cor_mechanism_on(&s->mechanisms, COR_MECHANISM_TCP))
		return n ? cor_mechanism_require(&s->mechanisms, COR_MECHANISM_TCP,
						 "an address that moves along", err) : 0;
	r = cor_departure_new(&s->departure, (const char *const *)s->args->addresses, n, err);
	if (r == 0 && n) {
		json_t *list = json_array();

		for (unsigned i = 0; i < n; i++)
			json_array_append_new(list, json_string(s->args->addresses[i]));
		json_object_set_new(s->session.figures, "addresses", list);
	}
	return r;
}

static int gate(struct source *s, struct cor_tracee *t, struct cor_error *err)
{
	return cor_departure_gate(s->departure, s->args->pid, s->files, err);
}

static int ungate(struct source *s, struct cor_tracee *t, struct cor_error *err)
{
	cor_departure_ungate(s->departure);
	return 0;
}

/* The task, if it is there, runs. */
static void ungate_running(struct source *s)
{
	if (cor_departure_has_gates(s->departure) && source_look(s, ungate, NULL) < 0)
		cor_departure_ungate(s->departure);
}

int source_network_settle(struct source *s, struct cor_error *err)
{
	uint64_t from = cor_now_ns();
	int r;

	if (!s->departure)
		return 0;
	r = cor_departure_settle(s->departure, s->files, SETTLE_TIMEOUT_MS, err);
	if (r == 0 && cor_departure_wants_gates(s->departure, s->files))
		r = source_look(s, gate, err);
	if (r == 0 && cor_departure_has_gates(s->departure))
		r = cor_departure_accepted(s->departure, SETTLE_TIMEOUT_MS, err);
	if (r < 0)
		ungate_running(s);
	if (r == 0 && count_addresses(s))
		json_object_set_new(s->session.figures, "settle_us",
				    json_integer((json_int_t)((cor_now_ns() - from) / 1000)));
	return r;
}

int source_network_check(struct source *s, struct cor_error *err)
{
	return s->departure ? cor_departure_check(s->departure, s->files, err) : 0;
}

static json_int_t count_connections(const struct source *s)
{
	json_int_t n = 0;

	for (size_t i = 0; i < s->files->n_files; i++)
		n += s->files->files[i]->kind == COR__NAMES__FILE_KIND__TCP;
	return n;
}

int source_network_leave(struct source *s, struct cor_error *err)
{
	int r = s->departure ? cor_departure_leave(s->departure, s->files, err) : 0;

	if (r == 0 && count_connections(s))
		json_object_set_new(s->session.figures, "connections",
				    json_integer(count_connections(s)));
	return r;
}

void source_network_undo(struct source *s)
{
	struct cor_error err = COR_ERROR_INIT;

	if (!s->departure)
		return;
	if (!s->tracee)
		ungate_running(s);
	if (cor_departure_undo(s->departure, &err) < 0)
		json_object_set_new(s->session.figures, "address_error", json_string(err.text));
}

void source_network_done(struct source *s)
{
	source_network_forward(s);
	if (s->departure)
		cor_departure_done(s->departure);
}

void source_network_forward(struct source *s)
{
	if (s->departure)
		s->forwarded += cor_departure_forward(s->departure);
	if (s->forwarded)
		json_object_set_new(s->session.figures, "packets_forwarded",
				    json_integer((json_int_t)s->forwarded));
}
