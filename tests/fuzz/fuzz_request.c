/* Requests of clients on the control socket. */
#include <errno.h>

#include "daemon/request.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *line = fuzz_copy(data, size);
	struct cor_error err;
	struct request q;
	int r = request_parse(&q, line, size, &err);

	FUZZ_CHECK(r == 0 || (r == -EINVAL && err.code == r && err.text[0]));
	if (r == 0) {
		FUZZ_CHECK(memchr(q.dest, 0, sizeof(q.dest)) && memchr(q.id, 0, sizeof(q.id)));
		FUZZ_CHECK(memchr(q.transport, 0, sizeof(q.transport)));
		FUZZ_CHECK(q.prefetch >= -1 && q.prefetch <= 1);
		FUZZ_CHECK(q.command != REQUEST_MIGRATE || (q.pid > 0 && q.dest[0]));
		FUZZ_CHECK(q.command != REQUEST_CANCEL || q.id[0]);
	}
	free(line);
	return 0;
}
