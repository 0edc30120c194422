/* A single thread, stopped for a moment while the others run; see tracee.h. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ptrace.h>
#include <sys/wait.h>

#include "libcor/base/cleanup.h"
#include "libcor/base/error.h"
#include "libcor/base/io.h"
#include "libcor/task/ptrace_wait.h"
#include "libcor/task/tracee_state.h"

#define STOP_NS 1000000000u

static void freep(struct cor_tracee **t)
{
	if (*t)
		cor_tracee_free(*t);
}

static int begin(struct cor_tracee *t, pid_t pid, pid_t tid, struct cor_error *err)
{
	struct cor_tracee_thread *th = calloc(1, sizeof(*th));
	struct cor_proc_status st;
	char path[32];
	int r;

	t->task_dir = -1;
	t->threads = th;
	if (!th)
		return cor_fail(err, -ENOMEM, "no memory to trace thread %d", tid);
	*th = (struct cor_tracee_thread){ .tid = tid, .status_fd = -1, .sched_fd = -1 };
	t->pid = pid;
	t->nthreads = 1;
	snprintf(path, sizeof(path), "/proc/%d/task", pid);
	t->task_dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (t->task_dir < 0)
		return cor_fail_errno(err, "cannot open %s", path);
	r = cor_tracee_status(t, th, &st);
	if (r < 0)
		return cor_fail_code(err, r == -ENOENT ? -ESRCH : r, "cannot look at thread %d", tid);
	if (st.seccomp)
		return cor_fail(err, -EAGAIN, "thread %d has seccomp filters", tid);
	th->inner_tid = st.ns_pid;
	return 0;
}

/* Any other stop is on its way to something: that it is to do. */
static int stop(struct cor_tracee_thread *th, struct cor_error *err)
{
	int status, r;

	if (ptrace(PTRACE_SEIZE, th->tid, NULL, COR_TRACEE_OPTIONS) < 0)
		return cor_fail_errno(err, "cannot trace thread %d", th->tid);
	ptrace(PTRACE_INTERRUPT, th->tid, NULL, NULL);
	r = cor_ptrace_wait(th->tid, STOP_NS, &status);
	if (r < 0)
		return cor_fail_code(err, r, "thread %d does not stop", th->tid);
	if (status >> 16 == PTRACE_EVENT_STOP && WSTOPSIG(status) == SIGTRAP) {
		th->is_stopped = true;
		return 0;
	}
	ptrace(PTRACE_DETACH, th->tid, NULL, status >> 16 ? 0 : (long)WSTOPSIG(status));
	return cor_fail(err, -EAGAIN, "thread %d is busy", th->tid);
}

int cor_tracee_visit(struct cor_tracee **out, pid_t pid, pid_t tid, struct cor_error *err)
{
	_cleanup_(freep) struct cor_tracee *t = calloc(1, sizeof(*t));
	int r = t ? begin(t, pid, tid, err) :
		    cor_fail(err, -ENOMEM, "no memory to trace thread %d", tid);

	if (r < 0)
		return r;
	cor_thread_note_sleep(t, &t->threads[0]);
	t->stopping_ns = cor_now_ns();
	r = stop(&t->threads[0], err);
	if (r < 0)
		return r;
	t->stopped = true;
	r = cor_thread_read_state(t, &t->threads[0], err);
	if (r < 0)
		cor_tracee_thaw(take_ptr(t));
	else
		*out = take_ptr(t);
	return r;
}
