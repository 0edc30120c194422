/* See owner.h. */
#include "daemon/owner.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "libcor/base/cleanup.h"
#include "libcor/base/error.h"
#include "libcor/base/io.h"
#include "libcor/task/procfs.h"

bool owner_is_privileged(uid_t uid)
{
	return uid == 0 || uid == geteuid();
}

static int read_status(pid_t pid, struct cor_proc_status *out)
{
	_cleanup_free_ char *text = NULL;
	char path[40];

	snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
	if (cor_slurp(AT_FDCWD, path, &text, NULL) < 0 || cor_parse_status(text, out) < 0)
		return -ESRCH;
	return 0;
}

int owner_of(pid_t pid, uid_t *uid)
{
	struct cor_proc_status st;
	int r = read_status(pid, &st);

	if (r == 0)
		*uid = st.uid[0];
	return r;
}

/* What is in /proc/PID belongs to root where the process is not dumpable (proc(5)). */
static bool dumpable(pid_t pid, uid_t uid)
{
	struct stat sb;
	char path[40];

	snprintf(path, sizeof(path), "/proc/%d/environ", (int)pid);
	return stat(path, &sb) == 0 && sb.st_uid == uid;
}

int owner_may_move(uid_t uid, pid_t pid, struct cor_error *err)
{
	struct cor_proc_status st;
	int r;

	if (owner_is_privileged(uid))
		return 0;
	r = read_status(pid, &st);
	if (r < 0)
		return cor_fail_code(err, r, "process %d", (int)pid);
	for (unsigned i = 0; i < ARRAY_SIZE(st.uid); i++)
		if (st.uid[i] != uid)
			return cor_fail(err, -EPERM, "process %d is not yours", (int)pid);
	if (!dumpable(pid, uid))
		return cor_fail(err, -EPERM, "process %d keeps its memory from you (it is not dumpable)",
				(int)pid);
	return 0;
}

bool owner_sees(uid_t uid, const json_t *what)
{
	const json_t *owner = json_object_get(what, "uid");

	return owner_is_privileged(uid) ||
	       (json_is_integer(owner) && json_integer_value(owner) == (json_int_t)uid);
}

void owner_filter(uid_t uid, json_t *array)
{
	for (size_t i = json_array_size(array); i-- > 0; )
		if (!owner_sees(uid, json_array_get(array, i)))
			json_array_remove(array, i);
}
