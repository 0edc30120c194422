/* /proc/PID/status and stat. */
#include <errno.h>

#include "libcor/task/procfs.h"
#include "libcor/task/rebuild_creds.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = fuzz_text(data, size);
	struct cor_proc_status status;
	struct cor_creds_now now;
	struct cor_proc_stat stat;
	int r = cor_parse_status(text, &status);

	FUZZ_CHECK(r == 0 || r == -EINVAL);
	FUZZ_CHECK(r || memchr(status.name, 0, sizeof(status.name)));
	r = cor_parse_stat(text, &stat);
	FUZZ_CHECK(r == 0 || r == -EINVAL);
	FUZZ_CHECK(r || memchr(stat.comm, 0, sizeof(stat.comm)));
	cor_creds_read(&now, text);
	free(text);
	return 0;
}
