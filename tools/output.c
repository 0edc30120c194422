/* Numbers and objects for people and programs; see output.h. */
#include "tools/output.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "libcor/base/cleanup.h"

const char *output_bytes(char *buf, size_t size, double bytes)
{
	static const char *const units[] = { "B", "KiB", "MiB", "GiB", "TiB" };
	unsigned u = 0;

	while (bytes >= 1024 && u < ARRAY_SIZE(units) - 1) {
		bytes /= 1024;
		u++;
	}
	snprintf(buf, size, u ? "%.1f %s" : "%.0f %s", bytes, units[u]);
	return buf;
}

const char *output_us(char *buf, size_t size, double us)
{
	if (us < 10000)
		snprintf(buf, size, "%.0f us", us);
	else if (us < 1e6)
		snprintf(buf, size, "%.1f ms", us / 1e3);
	else
		snprintf(buf, size, "%.2f s", us / 1e6);
	return buf;
}

void output_json(const json_t *o)
{
	json_t *copy = json_copy((json_t *)o);

	json_object_del(copy, "event");
	json_dumpf(copy, stdout, JSON_COMPACT);
	putchar('\n');
	json_decref(copy);
}

void output_json_error(int code, const char *error)
{
	json_t *o = json_pack("{s:b, s:i, s:s}", "ok", 0, "exit", code, "error", error);

	output_json(o);
	json_decref(o);
}

void output_clean_text(char *text)
{
	for (char *c = text; *c; c++)
		if ((unsigned char)*c < ' ' || *c == 0x7f)
			*c = '?';
}

static void clean_string(json_t *s)
{
	char *text = strdup(json_string_value(s));

	if (!text)
		return;
	output_clean_text(text);
	json_string_set(s, text);
	free(text);
}

void output_clean(json_t *o)
{
	const char *key;
	json_t *value;
	size_t i;

	if (json_is_string(o))
		clean_string(o);
	json_array_foreach(o, i, value)
		output_clean(value);
	json_object_foreach(o, key, value)
		output_clean(value);
}

const char *output_reason(const json_t *result)
{
	const char *text = json_string_value(json_object_get(result, "error"));

	return text ? text : "cord gave no reason";
}

int64_t output_number(const json_t *o, const char *key)
{
	return (int64_t)json_number_value(json_object_get(o, key));
}

const char *output_text(const json_t *o, const char *key)
{
	const char *text = json_string_value(json_object_get(o, key));

	return text && *text ? text : "-";
}

void output_need(const json_t *n)
{
	double moved = (double)(output_number(n, "bytes_received") + output_number(n, "bytes_sent"));
	const char *what = output_text(n, "what");
	const json_t *name;
	char bytes[32];
	size_t i;

	printf("%s of %s", what, output_text(n, "host"));
	if (!strcmp(what, "files"))
		printf(" at %s", output_text(n, "at"));
	json_array_foreach(json_object_get(n, "leads_to"), i, name)
		printf("%s %s", i ? "," : ":", json_string_value(name));
	if (strcmp(what, "memory") != 0)
		printf(" (%s%s)", output_bytes(bytes, sizeof(bytes), moved),
		       json_is_true(json_object_get(n, "connected")) ? "" : ", not connected");
}
