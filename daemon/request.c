/* Parsing a client's request; see request.h. */
#include "daemon/request.h"

#include <errno.h>
#include <limits.h>
#include <string.h>

#include "libcor/base/error.h"

static int take_text(const json_t *o, const char *key, char *out, size_t size,
		     struct cor_error *err)
{
	const json_t *v = json_object_get(o, key);

	if (!v)
		return 0;
	if (!json_is_string(v) || json_string_length(v) >= size ||
	    strlen(json_string_value(v)) != json_string_length(v))
		return cor_fail(err, -EINVAL, "\"%s\" must be a text of less than %zu bytes", key,
				size);
	strcpy(out, json_string_value(v));
	return 0;
}

static int parse_wait(struct request *q, const json_t *o, struct cor_error *err)
{
	char wait[16] = "drained";

	if (take_text(o, "wait", wait, sizeof(wait), NULL) < 0 ||
	    (strcmp(wait, "drained") && strcmp(wait, "resumed")))
		return cor_fail(err, -EINVAL, "\"wait\" is \"resumed\" or \"drained\"");
	q->wait_drained = !strcmp(wait, "drained");
	return 0;
}

static int parse_addresses(struct request *q, const json_t *o, struct cor_error *err)
{
	const json_t *list = json_object_get(o, "addresses"), *v;
	size_t i;

	if (list && (!json_is_array(list) || json_array_size(list) > COR_ADDRESSES_MAX))
		return cor_fail(err, -EINVAL, "\"addresses\" must be a list of %d at most",
				COR_ADDRESSES_MAX);
	json_array_foreach(list, i, v) {
		struct cor_address unused;

		if (!json_is_string(v) || json_string_length(v) >= COR_ADDRESS_TEXT)
			return cor_fail(err, -EINVAL, "\"addresses\" must be texts: ADDR/PREFIX");
		if (cor_address_parse(json_string_value(v), &unused, err) < 0)
			return -EINVAL;
		strcpy(q->addresses[q->naddresses++], json_string_value(v));
	}
	return 0;
}

static int parse_migrate(struct request *q, const json_t *o, struct cor_error *err)
{
	const json_t *pid = json_object_get(o, "pid"), *prefetch = json_object_get(o, "prefetch");
	const json_t *outside = json_object_get(o, "outside");
	char without[256] = "";
	int r;

	if (!json_is_integer(pid) || json_integer_value(pid) < 1 ||
	    json_integer_value(pid) > INT_MAX)
		return cor_fail(err, -EINVAL, "\"pid\" must be the number of a process");
	q->pid = (pid_t)json_integer_value(pid);
	r = take_text(o, "dest", q->dest, sizeof(q->dest), err);
	if (r < 0)
		return r;
	if (!q->dest[0])
		return cor_fail(err, -EINVAL, "\"dest\" is missing: ADDR:PORT or a peer's name");
	if (prefetch && !json_is_boolean(prefetch))
		return cor_fail(err, -EINVAL, "\"prefetch\" is true or false");
	if (outside && !json_is_boolean(outside))
		return cor_fail(err, -EINVAL, "\"outside\" is true or false");
	q->outside = json_is_true(outside);
	q->prefetch = prefetch ? json_is_true(prefetch) : -1;
	r = take_text(o, "transport", q->transport, sizeof(q->transport), err);
	if (r == 0)
		r = take_text(o, "without", without, sizeof(without), err);
	if (r == 0)
		r = cor_mechanisms_parse(without, &q->without, err);
	if (r == 0)
		r = parse_addresses(q, o, err);
	if (r < 0)
		return r;
	return parse_wait(q, o, err);
}

static int parse_id(struct request *q, const json_t *o, struct cor_error *err)
{
	int r = take_text(o, "id", q->id, sizeof(q->id), err);

	if (r < 0)
		return r;
	if (q->id[strspn(q->id, "0123456789abcdef")])
		return cor_fail(err, -EINVAL, "\"%s\" is not the identity of a session", q->id);
	return 0;
}

static int parse_one_id(struct request *q, const json_t *o, struct cor_error *err)
{
	int r = parse_id(q, o, err);

	if (r == 0 && !q->id[0])
		return cor_fail(err, -EINVAL, "\"id\" is missing: which session?");
	return r;
}

/* The PID is only told for the log: the socket knows the real one. */
static int parse_register(struct request *q, const json_t *o, struct cor_error *err)
{
	const json_t *hooks = json_object_get(o, "hooks");

	if (!json_is_integer(hooks) || json_integer_value(hooks) < 0)
		return cor_fail(err, -EINVAL, "\"hooks\" must be an address");
	q->hooks = (uint64_t)json_integer_value(hooks);
	return 0;
}

static int parse_object(struct request *q, const json_t *o, struct cor_error *err)
{
	const char *command = json_string_value(json_object_get(o, "command"));
	int r;

	if (!command)
		return cor_fail(err, -EINVAL, "the request has no \"command\"");
	if (!strcmp(command, "migrate")) {
		q->command = REQUEST_MIGRATE;
		return parse_migrate(q, o, err);
	}
	if (!strcmp(command, "status") || !strcmp(command, "ps")) {
		q->command = REQUEST_STATUS;
		return parse_id(q, o, err);
	}
	if (!strcmp(command, "cancel")) {
		q->command = REQUEST_CANCEL;
		return parse_one_id(q, o, err);
	}
	if (!strcmp(command, "resolve")) {
		const char *peer = json_string_value(json_object_get(o, "peer"));

		q->command = REQUEST_RESOLVE;
		if (!peer || strcmp(peer, "dead"))
			return cor_fail(err, -EINVAL, "\"peer\" must be \"dead\": only then there is "
					"something to decide");
		return parse_one_id(q, o, err);
	}
	if (!strcmp(command, "wait")) {
		q->command = REQUEST_WAIT;
		r = parse_one_id(q, o, err);
		return r < 0 ? r : parse_wait(q, o, err);
	}
	if (!strcmp(command, "settle")) {
		q->command = REQUEST_SETTLE;
		r = parse_id(q, o, err);
		if (r == 0 && !q->id[0])
			return cor_fail(err, -EINVAL, "\"id\" is missing: which task?");
		return r;
	}
	if (!strcmp(command, "register")) {
		q->command = REQUEST_REGISTER;
		return parse_register(q, o, err);
	}
	if (!strcmp(command, "version")) {
		q->command = REQUEST_VERSION;
		return 0;
	}
	return cor_fail(err, -EINVAL, "the command \"%.32s\" is not known", command);
}

int request_parse(struct request *out, const char *line, size_t len, struct cor_error *err)
{
	json_auto_t *o = NULL;
	struct request q = { .prefetch = -1, .wait_drained = true };
	json_error_t why;
	int r;

	o = json_loadb(line, len, JSON_REJECT_DUPLICATES, &why);
	if (!o)
		return cor_fail(err, -EINVAL, "the request is not JSON: %s", why.text);
	if (!json_is_object(o))
		return cor_fail(err, -EINVAL, "the request is not a JSON object");
	r = parse_object(&q, o, err);
	if (r < 0)
		return r;
	*out = q;
	return 0;
}
