/* See session_clock.h. */
#include "daemon/session_clock.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "libcor/base/cleanup.h"
#include "libcor/base/error.h"
#include "libcor/base/io.h"

/* Our own namespace's offsets; a kernel without time namespaces has none. */
static void own_offsets(struct session_clocks *o)
{
	_cleanup_free_ char *text = NULL;
	long long sec, nsec;
	const char *p;

	*o = (struct session_clocks){ 0, 0 };
	if (cor_slurp(AT_FDCWD, "/proc/self/timens_offsets", &text, NULL) < 0)
		return;
	p = strstr(text, "monotonic");
	if (p && sscanf(p, "monotonic %lld %lld", &sec, &nsec) == 2)
		o->monotonic_ns = sec * 1000000000ll + nsec;
	p = strstr(text, "boottime");
	if (p && sscanf(p, "boottime %lld %lld", &sec, &nsec) == 2)
		o->boottime_ns = sec * 1000000000ll + nsec;
}

int session_clocks_initial(struct session_clocks *now, struct cor_error *err)
{
	struct session_clocks own;
	struct timespec mono, boot;

	own_offsets(&own);
	if (clock_gettime(CLOCK_MONOTONIC, &mono) < 0 || clock_gettime(CLOCK_BOOTTIME, &boot) < 0)
		return cor_fail_errno(err, "clock_gettime");
	now->monotonic_ns = mono.tv_sec * 1000000000ll + mono.tv_nsec - own.monotonic_ns;
	now->boottime_ns = boot.tv_sec * 1000000000ll + boot.tv_nsec - own.boottime_ns;
	return 0;
}

int session_clocks_of_task(const Cor__Task__Clock *task, struct session_clocks *now,
			   struct cor_error *err)
{
	int r = session_clocks_initial(now, err);

	if (r < 0)
		return r;
	now->monotonic_ns += task->monotonic_offset_ns;
	now->boottime_ns += task->boottime_offset_ns;
	return 0;
}

bool session_clocks_same(const Cor__Task__Clock *task)
{
	_cleanup_free_ char *boot_id = NULL;
	struct session_clocks own;

	own_offsets(&own);
	if (cor_slurp(AT_FDCWD, "/proc/sys/kernel/random/boot_id", &boot_id, NULL) < 0)
		return false;
	boot_id[strcspn(boot_id, "\n")] = 0;
	return strncmp(boot_id, task->boot_id, strlen(boot_id)) == 0 &&
	       own.monotonic_ns == task->monotonic_offset_ns &&
	       own.boottime_ns == task->boottime_offset_ns;
}
