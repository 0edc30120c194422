/* What a lost task lacked: how many pages, and of which mappings. Part of the error, and in
 * full among the figures. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/record.h"
#include "daemon/destination/destination.h"
#include "libcor/base/cleanup.h"
#include "libcor/base/error.h"
#include "libcor/base/io.h"
#include "libcor/task/procfs.h"

#define RANGES_MAX 256u         /* that are looked at */
#define SHOWN_MAX  64u          /* in the figures */
#define NAMED_MAX  3u           /* in the error */

static int by_pages(const void *a, const void *b)
{
	uint64_t x = ((const struct cor_missing *)a)->pages;
	uint64_t y = ((const struct cor_missing *)b)->pages;

	return x > y ? -1 : x < y;
}

/* What the mapping at addr is called, in the task's maps (NULL: it has none any more). */
static void name_mapping(const char *maps, uint64_t addr, char *out, size_t size)
{
	struct cor_map_line line;

	snprintf(out, size, "anonymous memory at 0x%" PRIx64, addr);
	while (maps && cor_parse_map_line(&maps, &line) == 1)
		if (addr >= line.start && addr < line.end && line.name_len)
			snprintf(out, size, "%.*s", (int)COR_MIN(line.name_len, (size_t)120),
				 line.name);
}

static uint64_t note_all(struct destination *d, const struct cor_missing *list, unsigned n,
			 const char *maps, char *text, size_t size)
{
	json_t *all = json_array();
	uint64_t pages = 0;
	size_t used = 0;

	for (unsigned i = 0; i < n; i++) {
		char name[160], start[24];

		pages += list[i].pages;
		if (i >= SHOWN_MAX)
			continue;
		name_mapping(maps, list[i].start, name, sizeof(name));
		snprintf(start, sizeof(start), "0x%" PRIx64, list[i].start);
		json_array_append_new(all, json_pack("{s:s, s:I, s:o}", "start", start, "pages",
						     (json_int_t)list[i].pages, "mapping",
						     record_text(name)));
		if (i < NAMED_MAX && used < size)
			used += (size_t)snprintf(text + used, size - used, "%s%" PRIu64 " of %s",
						 i ? ", " : "", list[i].pages, name);
	}
	if (n > NAMED_MAX && used < size)
		snprintf(text + used, size - used, ", and more in %u mappings", n - NAMED_MAX);
	json_object_set_new(d->session.figures, "missing", all);
	json_object_set_new(d->session.figures, "pages_missing", json_integer((json_int_t)pages));
	return pages;
}

void destination_note_missing(struct destination *d, struct cor_error *err)
{
	static struct cor_missing list[RANGES_MAX];
	unsigned n = cor_pager_missing(d->pager, list, RANGES_MAX);
	_cleanup_free_ char *maps = NULL;
	char path[32], text[256] = "";
	struct cor_error why = *err;
	uint64_t pages;

	if (!n)
		return;
	qsort(list, n, sizeof(*list), by_pages);
	snprintf(path, sizeof(path), "/proc/%d/maps", (int)d->pid);
	if (cor_slurp(AT_FDCWD, path, &maps, NULL) < 0)
		maps = NULL;
	pages = note_all(d, list, n, maps, text, sizeof(text));
	cor_fail(err, why.code, "%.200s; missing are %" PRIu64 " pages: %s", why.text, pages, text);
}
