/* /proc/PID/timers, children, timens_offsets and sched. */
#include <errno.h>

#include "libcor/task/procfs.h"
#include "tests/fuzz/fuzz.h"

static void lists(const char *text)
{
	const char *end = text + strlen(text), *at = text, *before = at;
	struct cor_proc_timer timer;
	pid_t pid;
	int r;

	while ((r = cor_parse_timer(&at, &timer)) == 1) {
		FUZZ_CHECK(at > before && at <= end);
		before = at;
	}
	FUZZ_CHECK(r == -EINVAL || (r == 0 && at == end));
	at = before = text;
	while ((r = cor_parse_pid_list(&at, &pid)) == 1) {
		FUZZ_CHECK(at > before && at <= end && pid > 0);
		before = at;
	}
	FUZZ_CHECK(r == -EINVAL || (r == 0 && at == end));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = fuzz_text(data, size);
	int64_t monotonic, boottime;
	struct cor_proc_sched sched;
	struct cor_proc_syscall call;
	uint64_t runs;
	int r = cor_parse_timens(text, &monotonic, &boottime);

	FUZZ_CHECK(r == 0 || r == -EINVAL);
	r = cor_parse_sched(text, &sched);
	FUZZ_CHECK(r == 0 || r == -EINVAL);
	r = cor_parse_schedstat(text, &runs);
	FUZZ_CHECK((r == 0 && runs) || r == -EINVAL);
	r = cor_parse_syscall(text, &call);
	FUZZ_CHECK((r == 0 && call.nr >= 0) || r == -EINVAL || r == -EAGAIN);
	lists(text);
	free(text);
	return 0;
}
