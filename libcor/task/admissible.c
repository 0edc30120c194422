/* Can this task live on this host? Asked by the destination. */
#include "libcor/task/capture.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "libcor/base/cleanup.h"
#include "libcor/base/error.h"
#include "libcor/base/io.h"
#include "libcor/base/probe.h"
#include "libcor/task/seccomp.h"

static int check_cpu(const Cor__Task__Image *skeleton, struct cor_error *err)
{
	Cor__Task__Cpu ours = COR__TASK__CPU__INIT;
	int r;

	if (!skeleton->cpu)
		return cor_fail(err, -EINVAL, "the source did not describe its processor");
	r = cor_cpu_describe(&ours, err);
	if (!r)
		r = cor_cpu_check(skeleton->cpu, &ours, err);
	free(ours.words);
	if (ours.vendor != protobuf_c_empty_string)
		free(ours.vendor);
	return r;
}

static int check_kernel(struct cor_error *err)
{
	struct cor_features f;
	char missing[200];
	int r = cor_probe(&f, err);

	if (r < 0)
		return r;
	if (cor_features_missing(&f, missing, sizeof(missing)))
		return cor_fail(err, -ENOTSUP, "this kernel (%s) lacks %s", f.kernel, missing);
	return 0;
}

static int check_memory(const Cor__Task__Image *skeleton, struct cor_error *err)
{
	_cleanup_free_ char *text = NULL;
	uint64_t available, needed = skeleton->memory ? skeleton->memory->resident : 0;
	const char *p;

	if (cor_slurp(AT_FDCWD, "/proc/meminfo", &text, NULL) < 0)
		return 0;
	p = strstr(text, "\nMemAvailable:");
	if (!p)
		return 0;
	available = strtoull(p + 14, NULL, 10) * 1024;
	if (needed > available)
		return cor_fail(err, -ENOTSUP,
				"the task needs %lu MiB of memory; the destination has %lu MiB",
				(unsigned long)(needed >> 20), (unsigned long)(available >> 20));
	return 0;
}

int cor_capture_admissible(const Cor__Task__Image *skeleton, struct cor_error *err)
{
	int r = check_cpu(skeleton, err);

	if (!r)
		r = check_kernel(err);
	if (!r && cor_seccomp_any(skeleton))
		r = cor_seccomp_possible(err);
	return r ? r : check_memory(skeleton, err);
}
