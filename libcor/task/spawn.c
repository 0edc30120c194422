/* Making a process with a chosen PID, session and process group; see spawn.h. */
#include "libcor/task/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include "libcor/base/cleanup.h"
#include "libcor/base/compat.h"
#include "libcor/base/error.h"
#include "libcor/base/io.h"

/* How many PIDs a busy host may give out between the look and the rebuild. */
#define SOON 1000

pid_t cor_fork_as(uint64_t flags, pid_t pid, bool sibling)
{
	struct clone_args a = {
		.flags = flags | (sibling ? CLONE_PARENT : 0),
		/* with CLONE_PARENT the kernel copies the caller's */
		.exit_signal = sibling ? 0 : SIGCHLD,
		.set_tid = pid ? (uintptr_t)&pid : 0,
		.set_tid_size = pid ? 1 : 0,
	};
	long r = syscall(SYS_clone3, &a, sizeof(a));

	return r < 0 ? -errno : (pid_t)r;
}

/* Asks for a PID that is taken: ours. The privilege is looked at first. */
bool cor_may_choose_pids(void)
{
	pid_t pid = cor_fork_as(0, getpid(), false);

	if (pid == 0)
		_exit(0);
	return pid != -EPERM;
}

bool cor_id_taken(pid_t id)
{
	/* getpgid looks any thread up; a group or session may outlive its leader */
	return getpgid(id) >= 0 || errno == EPERM || kill(-id, 0) == 0 || errno == EPERM;
}

bool cor_id_taken_soon(pid_t id)
{
	_cleanup_free_ char *text = NULL;
	pid_t last;

	if (cor_slurp(AT_FDCWD, "/proc/sys/kernel/ns_last_pid", &text, NULL) < 0)
		return false;
	last = (pid_t)atoi(text);
	return id > last && id - last <= SOON;
}

static int explain(struct cor_error *err, int code, const char *what, pid_t id)
{
	if (code == -EEXIST)
		return cor_fail(err, code, "%s %d is taken on this host", what, id);
	if (code == -EINVAL)
		return cor_fail(err, code, "%s %d is outside this host's range of PIDs", what, id);
	return cor_fail_code(err, code, "cannot make a process with %s %d", what, id);
}

/* One link of the chain: what is made, and what it does once it lives. */
struct link {
	const char *what;
	pid_t id;
	bool  new_session, new_group;
};

static unsigned make_chain(struct link *chain, pid_t pid, pid_t pgid, pid_t sid)
{
	pid_t self = getpid();
	unsigned n = 0;

	if (sid && sid != pid && sid != self)
		chain[n++] = (struct link){ "session", sid, true, false };
	if (pgid && pgid != pid && pgid != sid && pgid != self)
		chain[n++] = (struct link){ "process group", pgid, false, true };
	chain[n++] = (struct link){ "PID", pid, sid == pid, pgid == pid && sid != pid };
	return n;
}

static int enter(const struct link *l, struct cor_error *err)
{
	if (l->new_session && setsid() < 0)
		return cor_fail_errno(err, "cannot begin session %d", l->id);
	if (l->new_group && setpgid(0, 0) < 0)
		return cor_fail_errno(err, "cannot begin process group %d", l->id);
	return 0;
}

int cor_spawn_as(pid_t pid, pid_t pgid, pid_t sid, bool *child,
		 void (*fail)(void *arg, const struct cor_error *err), void *arg,
		 struct cor_error *err)
{
	struct cor_error why = COR_ERROR_INIT;
	struct link chain[3];
	unsigned n = make_chain(chain, pid, pgid, sid);

	for (unsigned i = 0; i < n; i++) {
		/* siblings: each is a child of the caller, however deep the chain */
		pid_t made = cor_fork_as(0, chain[i].id, i > 0);
		int r = made;

		if (r < 0)
			explain(&why, r, chain[i].what, chain[i].id);
		else if (made == 0)
			r = enter(&chain[i], &why);
		if (r < 0 && i == 0 && made < 0) {
			if (err)
				*err = why;
			return r;
		}
		if (r < 0) {
			fail(arg, &why);
			_exit(1);
		}
		if (made > 0 && i == 0) {
			*child = false;
			return 0;
		}
		if (made > 0)           /* a helper: its id lives on in what it made */
			_exit(0);
	}
	*child = true;
	return 0;
}
