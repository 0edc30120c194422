/* /proc/PID/maps and smaps. */
#include <errno.h>

#include "libcor/task/procfs.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = fuzz_text(data, size);
	const char *end = text + strlen(text), *at = text, *before = at;
	struct cor_map_line m;
	struct cor_smap s;
	int r;

	while ((r = cor_parse_map_line(&at, &m)) == 1) {
		FUZZ_CHECK(at > before && at <= end && m.start < m.end);
		FUZZ_CHECK(m.name >= before && m.name + m.name_len <= at);
		before = at;
	}
	FUZZ_CHECK(r == -EINVAL || (r == 0 && at == end));
	FUZZ_CHECK(at == before);
	at = before = text;
	while ((r = cor_parse_smap(&at, &s)) == 1) {
		FUZZ_CHECK(at > before && at <= end && s.start < s.end);
		before = at;
	}
	FUZZ_CHECK(r == -EINVAL || (r == 0 && at == end));
	free(text);
	return 0;
}
