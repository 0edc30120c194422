/* Messages of a session's worker to cord: one JSON text on each line. */
#include <errno.h>

#include "daemon/record.h"
#include "tests/fuzz/fuzz.h"

static void take(struct record *r, const json_t *message)
{
	const char *type = json_string_value(json_object_get(message, "type"));
	bool ended = r->ended;
	int rc = 0;

	if (!type)
		return;
	if (!strcmp(type, "session"))
		rc = record_session(r, message);
	else if (!strcmp(type, "status"))
		rc = record_status(r, message);
	else if (!strcmp(type, "result"))
		rc = record_result(r, message);
	else
		record_set_text(r, "comm", type);
	FUZZ_CHECK(rc == 0 || rc == -EINVAL);
	FUZZ_CHECK(!ended || r->ended);
	FUZZ_CHECK((record_outcome(r) < 0) == r->ended);
}

static void show(const struct record *r)
{
	json_t *o = record_json(r);
	char *text;

	FUZZ_CHECK(o);
	/* whatever a worker says, the record keeps its own name and never tells the secret */
	FUZZ_CHECK(strcmp(json_string_value(json_object_get(o, "id")), r->id) == 0);
	FUZZ_CHECK(strcmp(json_string_value(json_object_get(o, "role")), "source") == 0);
	FUZZ_CHECK(!json_object_get(o, "secret"));
	text = json_dumps(o, JSON_COMPACT);
	FUZZ_CHECK(text);
	free(text);
	json_decref(o);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct record r;

	FUZZ_CHECK(record_init(&r, true) == 0);
	while (size) {
		const uint8_t *end = memchr(data, '\n', size);
		size_t len = end ? (size_t)(end - data) : size;
		json_t *message = json_loadb((const char *)data, len, 0, NULL);

		take(&r, message);
		json_decref(message);
		data += len + (end != NULL);
		size -= len + (end != NULL);
	}
	show(&r);
	record_worker_died(&r, 9, true);
	FUZZ_CHECK(r.ended);
	show(&r);
	record_clear(&r);
	return 0;
}
