/* See clock.h. */
#include "daemon/session/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <time.h>

#include "libcor/base/cleanup.h"
#include "libcor/base/error.h"
#include "libcor/base/io.h"
#include "libcor/task/procfs.h"

/* Our own namespace's offsets; a kernel without time namespaces has none. */
static void own_offsets(struct session_clocks *o)
{
	_cleanup_free_ char *text = NULL;

	*o = (struct session_clocks){ 0, 0 };
	if (cor_slurp(AT_FDCWD, "/proc/self/timens_offsets", &text, NULL) == 0)
		cor_parse_timens(text, &o->monotonic_ns, &o->boottime_ns);
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

static bool offset(int64_t theirs, int64_t ours, int64_t ahead, int64_t *out)
{
	return theirs >= 0 && !__builtin_sub_overflow(theirs, ours, out) &&
	       !__builtin_add_overflow(*out, ahead, out);
}

int session_clocks_offsets(const struct session_clocks *theirs, const struct session_clocks *ours,
			   uint64_t trip_ns, struct session_clocks *out, struct cor_error *err)
{
	int64_t ahead = (int64_t)trip_ns;
	struct session_clocks o;

	if (!offset(theirs->monotonic_ns, ours->monotonic_ns, ahead, &o.monotonic_ns) ||
	    !offset(theirs->boottime_ns, ours->boottime_ns, ahead, &o.boottime_ns))
		return cor_fail(err, -EPROTO, "the source's clocks show the impossible");
	*out = o;
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
