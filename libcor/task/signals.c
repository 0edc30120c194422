/* See signals.h. */
#include "libcor/task/signals.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/ptrace.h>

#include "libcor/base/cleanup.h"
#include "libcor/base/io.h"
#include "libcor/task/procfs.h"

static uint64_t queued(pid_t tid, unsigned flags)
{
	struct __ptrace_peeksiginfo_args a = { .off = 0, .flags = flags, .nr = 8 };
	siginfo_t info[8];
	uint64_t set = 0;
	long n;

	while ((n = ptrace(PTRACE_PEEKSIGINFO, tid, &a, info)) > 0) {
		for (long i = 0; i < n; i++)
			set |= COR_SIGNAL(info[i].si_signo);
		a.off += (uint64_t)n;
	}
	return set;
}

uint64_t cor_signals_pending_own(pid_t tid)
{
	return queued(tid, 0);
}

uint64_t cor_signals_pending_shared(pid_t tid)
{
	return queued(tid, PTRACE_PEEKSIGINFO_SHARED);
}

uint64_t cor_signals_pending(pid_t tid)
{
	return cor_signals_pending_own(tid) | cor_signals_pending_shared(tid);
}

int cor_signals_caught(pid_t pid, uint64_t *set)
{
	_cleanup_free_ char *text = NULL;
	struct cor_proc_status st;
	char path[32];
	int r;

	snprintf(path, sizeof(path), "/proc/%d/status", pid);
	r = cor_slurp(AT_FDCWD, path, &text, NULL);
	if (r == 0)
		r = cor_parse_status(text, &st);
	if (r == 0)
		*set = st.sig_caught;
	return r;
}
