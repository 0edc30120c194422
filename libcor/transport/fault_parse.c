/* The text that says what is to go wrong; see stream_fault.h. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "libcor/base/cleanup.h"
#include "libcor/base/error.h"
#include "libcor/transport/stream_fault.h"

static const struct { const char *name; int kind; } kinds[] = {
	{ "control", COR_CONN_CONTROL }, { "demand", COR_CONN_DEMAND }, { "bulk", COR_CONN_BULK },
	{ "all", 0 },
};

static const struct { const char *name; enum cor_fault_action action; uint32_t argument; } actions[] = {
	{ "corrupt", COR_FAULT_CORRUPT, 1 }, { "drop", COR_FAULT_DROP, 1 },
	{ "duplicate", COR_FAULT_DUPLICATE, 1 }, { "cut", COR_FAULT_CUT, 0 },
	{ "truncate", COR_FAULT_TRUNCATE, 0 }, { "stall", COR_FAULT_STALL, 0 },
	{ "delay", COR_FAULT_DELAY, 1000 },
};

/* Where in the table of n names, entry bytes each, *text begins with one; -1. */
static int find(const char **text, const void *table, unsigned n, size_t entry, const char *ends)
{
	size_t len = strcspn(*text, ends);

	for (unsigned i = 0; i < n; i++) {
		const char *name = *(const char *const *)((const char *)table + i * entry);

		if (strlen(name) != len || memcmp(name, *text, len) != 0)
			continue;
		*text += len;
		return (int)i;
	}
	return -1;
}

/* A number behind mark, if that is what comes. */
static bool number(const char **text, char mark, uint64_t *out)
{
	char *end;

	if (**text != mark)
		return true;
	if ((*text)[1] < '0' || (*text)[1] > '9')
		return false;
	errno = 0;
	*out = strtoull(*text + 1, &end, 10);
	*text = end;
	return errno == 0;
}

/* One fault; *kind 0: of every connection. */
static bool parse_one(const char **text, int *kind, struct cor_fault *f)
{
	uint64_t argument;
	int i = find(text, kinds, ARRAY_SIZE(kinds), sizeof(kinds[0]), ":,");

	if (i < 0 || *(*text)++ != ':')
		return false;
	*kind = kinds[i].kind;
	i = find(text, actions, ARRAY_SIZE(actions), sizeof(actions[0]), "@+=,");
	if (i < 0)
		return false;
	*f = (struct cor_fault){ .action = actions[i].action };
	argument = actions[i].argument;
	if (!number(text, '@', &f->at) || !number(text, '+', &f->every) ||
	    !number(text, '=', &argument) || argument > UINT32_MAX)
		return false;
	f->argument = (uint32_t)argument;
	return f->action == COR_FAULT_DELAY || argument <= COR_FAULT_BYTES_MAX;
}

int cor_fault_parse(const char *text, enum cor_connection_kind kind,
		    struct cor_fault out[COR_FAULTS_MAX], struct cor_error *err)
{
	const char *at = text;
	int n = 0;

	while (at && *at) {
		struct cor_fault f;
		int of;

		if (!parse_one(&at, &of, &f) || (*at && *at != ','))
			return cor_fail(err, -EINVAL, "\"%.100s\" is not a list of faults", text);
		at += *at == ',';
		if (of && of != (int)kind)
			continue;
		if (n == (int)COR_FAULTS_MAX)
			return cor_fail(err, -EINVAL, "\"%.100s\" has too many faults", text);
		out[n++] = f;
	}
	return n;
}

int cor_fault_apply(struct cor_stream **stream, const char *text, enum cor_connection_kind kind,
		    struct cor_error *err)
{
	struct cor_fault faults[COR_FAULTS_MAX];
	struct cor_stream *s = *stream;
	int n = cor_fault_parse(text, kind, faults, err), r = 0;

	if (n < 0)
		cor_stream_close(s);
	if (n <= 0)
		return n;
	r = cor_stream_fault(&s, s, faults, (unsigned)n, NULL, err);
	for (int i = 0; r == 0 && i < n; i++)
		if (faults[i].action == COR_FAULT_DELAY)
			r = cor_stream_delay(&s, s, faults[i].at, faults[i].argument, err);
	if (r == 0)
		*stream = s;
	return r;
}
