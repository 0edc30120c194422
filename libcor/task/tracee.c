/* Seizing, stopping and letting go of a process; see tracee.h. */
#include "libcor/task/tracee.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

#include "libcor/base/cleanup.h"
#include "libcor/base/error.h"
#include "libcor/base/io.h"
#include "libcor/task/procfs.h"
#include "libcor/task/ptrace_wait.h"
#include "libcor/task/restart.h"
#include "libcor/task/tracee_state.h"

/* Time that thawing gives to threads which were never stopped. */
#define THAW_STOP_MS 2000
/* Of so many threads the files in /proc that are read again in the freeze stay open. */
#define KEPT_THREADS 256
#define LATE_STOP_NS 20000000u
#define DEATH_NS    500000000u
/* Some 1.5 KiB, and up to 64 KiB of groups, of which we take 64. */
#define STATUS_MAX  16384

static int open_status(const struct cor_tracee *t, pid_t tid)
{
	char path[32];
	int fd;

	snprintf(path, sizeof(path), "%d/status", tid);
	fd = openat(t->task_dir, path, O_RDONLY | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

static int read_status_fd(int fd, struct cor_proc_status *out)
{
	char text[STATUS_MAX];
	int r = cor_read_again(fd, text, sizeof(text));

	return r < 0 ? r : cor_parse_status(text, out);
}

static int read_status(const struct cor_tracee *t, pid_t tid, struct cor_proc_status *out)
{
	_cleanup_close_ int fd = open_status(t, tid);

	return fd < 0 ? fd : read_status_fd(fd, out);
}

int cor_tracee_status(const struct cor_tracee *t, const struct cor_tracee_thread *th,
		      struct cor_proc_status *out)
{
	return th->status_fd < 0 ? read_status(t, th->tid, out) : read_status_fd(th->status_fd, out);
}

static bool knows(const struct cor_tracee *t, pid_t tid)
{
	for (unsigned i = 0; i < t->nthreads; i++)
		if (t->threads[i].tid == tid)
			return true;
	return false;
}

/* Only a thread that is gone may be left out; one that cannot be looked at (no descriptor is
 * left for that) may not. */
static int judge(int r, pid_t tid, struct cor_error *err)
{
	if (r == 0 || r == -ENOENT || r == -ESRCH)
		return r == 0;
	return cor_fail_code(err, r, "cannot look at thread %d", tid);
}

static int add_thread(struct cor_tracee *t, pid_t tid, struct cor_error *err)
{
	_cleanup_close_ int fd = open_status(t, tid);
	struct cor_tracee_thread *bigger;
	struct cor_proc_status st;
	int r = judge(fd < 0 ? fd : read_status_fd(fd, &st), tid, err);

	if (r <= 0)
		return r;
	bigger = realloc(t->threads, (t->nthreads + 1) * sizeof(*bigger));
	if (!bigger)
		return cor_fail(err, -ENOMEM, "no memory for %u threads", t->nthreads + 1);
	t->threads = bigger;
	bigger[t->nthreads] = (struct cor_tracee_thread){ .tid = tid, .inner_tid = st.ns_pid,
							  .seccomp = st.seccomp,
							  .status_fd = -1, .sched_fd = -1 };
	if (t->nthreads < KEPT_THREADS)
		bigger[t->nthreads].status_fd = take_fd(&fd);
	if (tid == t->pid) {
		struct cor_tracee_thread leader = bigger[t->nthreads];

		memmove(bigger + 1, bigger, t->nthreads * sizeof(*bigger));
		bigger[0] = leader;
		t->inner_pid = st.ns_pid;
	}
	t->nthreads++;
	return 0;
}

static void close_files(struct cor_tracee_thread *th)
{
	cor_closep(&th->status_fd);
	cor_closep(&th->sched_fd);
}

static void drop_thread(struct cor_tracee *t, unsigned i)
{
	close_files(&t->threads[i]);
	memmove(&t->threads[i], &t->threads[i + 1], (t->nthreads - i - 1) * sizeof(*t->threads));
	t->nthreads--;
}

/* 1: attached now or before; 0: the thread is gone. */
static int attach_thread(struct cor_tracee *t, pid_t tid, struct cor_error *err)
{
	struct cor_proc_status st;
	int code, r;

	if (ptrace(PTRACE_SEIZE, tid, NULL, COR_TRACEE_OPTIONS) == 0)
		return 1;
	code = errno;
	r = code == ESRCH ? 0 : judge(read_status(t, tid, &st), tid, err);
	if (r <= 0)
		return r;
	if (st.tracer == gettid())
		return 1;               /* born attached: PTRACE_O_TRACECLONE */
	if (st.tracer)
		return cor_fail(err, -EPERM, "thread %d (%s) is traced by process %d already", tid,
				st.name, st.tracer);
	if (st.state == 'Z' || st.state == 'X')
		return tid != t->pid ? 0 :
		       cor_fail(err, -ESRCH, "process %d (%s) has ended or its first thread has",
				tid, st.name);
	errno = code;
	return cor_fail_errno(err, "cannot trace thread %d (%s)", tid, st.name);
}

/* Attaches to what is not known yet. Returns the number of new threads. */
static int attach_new(struct cor_tracee *t, struct cor_error *err)
{
	_cleanup_closedir_ DIR *d = NULL;
	int fd = openat(t->task_dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), found = 0;
	struct dirent *e;

	if (fd < 0)
		return cor_fail_errno(err, "cannot list the threads of process %d", t->pid);
	d = fdopendir(fd);
	if (!d) {
		close(fd);
		return cor_fail(err, -ENOMEM, "no memory to list the threads of process %d", t->pid);
	}
	while ((e = readdir(d))) {
		pid_t tid = atoi(e->d_name);
		int r;

		if (tid <= 0 || knows(t, tid))
			continue;
		r = attach_thread(t, tid, err);
		if (r > 0)
			r = add_thread(t, tid, err);
		else if (r == 0)
			continue;
		if (r < 0)
			return r;
		found++;
	}
	return found;
}

void cor_tracee_free(struct cor_tracee *t)
{
	if (t->task_dir >= 0)
		close(t->task_dir);
	for (unsigned i = 0; i < t->nthreads; i++)
		close_files(&t->threads[i]);
	free(t->threads);
	free(t);
}

int cor_tracee_seize(struct cor_tracee **out, pid_t pid, struct cor_error *err)
{
	struct cor_tracee *t = calloc(1, sizeof(*t));
	char path[32];
	int r;

	if (!t)
		return cor_fail(err, -ENOMEM, "no memory to trace process %d", pid);
	t->pid = pid;
	snprintf(path, sizeof(path), "/proc/%d/task", pid);
	t->task_dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (t->task_dir < 0) {
		r = errno != ENOENT ? cor_fail_errno(err, "cannot open %s", path) :
				      cor_fail(err, -ESRCH, "there is no process %d", pid);
		cor_tracee_free(t);
		return r;
	}
	/* every round attaches to what the round before let be born */
	do
		r = attach_new(t, err);
	while (r > 0);
	if (!r && (!t->nthreads || t->threads[0].tid != pid))
		r = cor_fail(err, -ESRCH, "process %d has ended or its first thread has", pid);
	if (r < 0) {
		cor_tracee_thaw(t);
		return r;
	}
	*out = t;
	return 0;
}

/* ---- stopping --------------------------------------------------------------- */

/* Sets a stopped thread's options, with more on top. Its filters must not judge what is
 * injected, but no step of its own may escape them (seccomp.h). */
static int set_options(const struct cor_tracee_thread *th, bool suspend, int more)
{
	int options = COR_TRACEE_OPTIONS | more | (suspend && th->seccomp ? PTRACE_O_SUSPEND_SECCOMP : 0);

	return ptrace(PTRACE_SETOPTIONS, th->tid, NULL, options) < 0 ? -errno : 0;
}

static int suspend_filters(const struct cor_tracee *t, struct cor_error *err)
{
	int r = 0;

	for (unsigned i = 0; i < t->nthreads && r == 0; i++)
		if (t->threads[i].seccomp)
			r = set_options(&t->threads[i], true, 0);
	return r < 0 ? cor_fail_code(err, r, "the seccomp filters of process %d cannot be suspended",
				     t->pid) : 0;
}

/* What a stop means. 1: the thread is where we want it; 0: it had to go on and
 * will stop again. */
static int handle_stop(struct cor_tracee_thread *th, int status, struct cor_error *err)
{
	int event = status >> 16, sig = WSTOPSIG(status);

	if (event == PTRACE_EVENT_STOP) {
		th->group_stop = sig != SIGTRAP;
		th->is_stopped = true;
		return 1;
	}
	if (event == PTRACE_EVENT_EXEC)
		return cor_fail(err, -EAGAIN, "process %d started another program meanwhile", th->tid);
	/* A signal on its way, or a clone: any stop takes the interrupt's place, so
	 * ask again; the thread stops at the handler's first instruction then. */
	ptrace(PTRACE_INTERRUPT, th->tid, NULL, NULL);
	if (ptrace(PTRACE_CONT, th->tid, NULL, event ? 0 : (long)sig) < 0 && errno != ESRCH)
		return cor_fail_errno(err, "thread %d cannot go on", th->tid);
	return 0;
}

/* Looks once at every thread that runs. Returns how many still do. */
static int poll_threads(struct cor_tracee *t, struct cor_error *err)
{
	int running = 0;

	for (unsigned i = 0; i < t->nthreads; i++) {
		struct cor_tracee_thread *th = &t->threads[i];
		int status, r;

		if (th->is_stopped)
			continue;
		r = cor_ptrace_poll(th->tid, &status);
		if (r == -ESRCH) {
			if (th->tid == t->pid)
				return cor_fail(err, -ESRCH, "process %d ended while it was being stopped",
						t->pid);
			drop_thread(t, i--);
			continue;
		}
		if (r == 1)
			r = handle_stop(th, status, err);
		if (r < 0)
			return r;
		running += r == 0;
	}
	return running;
}

static int fail_running(struct cor_tracee *t, struct cor_error *err)
{
	for (unsigned i = 0; i < t->nthreads; i++) {
		struct cor_proc_status st = { .name = "?", .state = '?' };
		pid_t tid = t->threads[i].tid;

		if (t->threads[i].is_stopped)
			continue;
		if (cor_thread_is_dead(t->pid))
			return cor_fail(err, -ESRCH, "process %d ended while it was being stopped", t->pid);
		read_status(t, tid, &st);
		return cor_fail(err, -ETIME,
				"thread %d (%s, state %c) does not stop: it waits in the kernel, %s",
				tid, st.name, st.state, "for the child of a vfork perhaps");
	}
	return cor_fail(err, -ETIME, "process %d does not stop", t->pid);
}

static int await_all(struct cor_tracee *t, struct cor_pace *pace, struct cor_error *err)
{
	for (;;) {
		int r = poll_threads(t, err);

		if (r <= 0)
			return r;
		if (cor_pace(pace) < 0)
			return fail_running(t, err);
	}
}

/* Undoes a stop; the threads stay seized. */
static void run_again(struct cor_tracee *t)
{
	for (unsigned i = 0; i < t->nthreads; i++) {
		struct cor_tracee_thread *th = &t->threads[i];

		if (!th->is_stopped)
			continue;
		/* the stop may have failed before it came to that */
		if (cor_thread_read_state(t, th, NULL) == 0)
			cor_thread_put_right(th);
		if (th->seccomp)
			set_options(th, false, 0);
		/* a thread in group-stop goes back to it (PTRACE_LISTEN), still seized */
		ptrace(th->group_stop ? PTRACE_LISTEN : PTRACE_CONT, th->tid, NULL, NULL);
		th->is_stopped = false;
	}
	t->stopped = false;
}

static int stop_all(struct cor_tracee *t, struct cor_pace *pace, struct cor_error *err)
{
	int r;

	for (unsigned i = 0; i < t->nthreads; i++)
		cor_thread_note_sleep(t, &t->threads[i]);
	t->stopping_ns = cor_now_ns();
	for (unsigned i = 0; i < t->nthreads; i++)
		if (!t->threads[i].is_stopped)
			ptrace(PTRACE_INTERRUPT, t->threads[i].tid, NULL, NULL);
	do {
		r = await_all(t, pace, err);
		if (!r)
			r = attach_new(t, err);         /* born since: they stop by themselves */
		for (unsigned i = 0; r > 0 && i < t->nthreads; i++)
			if (!t->threads[i].is_stopped)
				ptrace(PTRACE_INTERRUPT, t->threads[i].tid, NULL, NULL);
	} while (r > 0);
	for (unsigned i = 0; !r && i < t->nthreads; i++)
		r = cor_thread_read_state(t, &t->threads[i], err);
	return r;
}

int cor_tracee_stop(struct cor_tracee *t, unsigned timeout_ms, struct cor_error *err)
{
	struct cor_pace pace;
	int r;

	if (t->stopped)
		return 0;
	cor_pace_begin(&pace, (uint64_t)timeout_ms * 1000000);
	r = stop_all(t, &pace, err);
	if (r == 0)
		r = suspend_filters(t, err);
	if (r < 0) {
		run_again(t);
		return r;
	}
	t->stopped = true;
	t->stopped_ns = cor_now_ns();
	return 0;
}

/* ---- letting go, keeping, killing -------------------------------------------- */

/* A thread that was killed meanwhile stays a zombie of ours, and holds up its
 * process's end, until it is waited for. */
static void detach(pid_t tid)
{
	int status;

	while (ptrace(PTRACE_DETACH, tid, NULL, NULL) < 0 && errno == ESRCH)
		if (cor_ptrace_wait(tid, DEATH_NS, &status) < 0)
			break;
}

/* Detaching needs a stop: one more try for a thread that did not when asked. */
static bool stop_late(struct cor_tracee *t, struct cor_tracee_thread *th)
{
	int status;

	if (ptrace(PTRACE_INTERRUPT, th->tid, NULL, NULL) < 0 ||
	    cor_ptrace_wait(th->tid, LATE_STOP_NS, &status) < 0)
		return false;
	return status >> 16 == PTRACE_EVENT_STOP && cor_thread_read_state(t, th, NULL) == 0;
}

void cor_tracee_thaw(struct cor_tracee *t)
{
	if (!t)
		return;
	if (!t->stopped)
		cor_tracee_stop(t, THAW_STOP_MS, NULL);
	if (t->stopped)
		cor_runner_unmap(t->runner, t->pid, NULL);
	else
		cor_runner_free(t->runner);
	/* the leader last: its end, if it was killed, is reported behind the others' */
	for (unsigned i = t->nthreads; i-- > 0;) {
		struct cor_tracee_thread *th = &t->threads[i];

		if (!th->is_stopped && !stop_late(t, th))
			continue;
		cor_thread_put_right(th);
		detach(th->tid);
	}
	cor_tracee_free(t);
}

int cor_tracee_make_ghost(struct cor_tracee *t, struct cor_error *err)
{
	if (!t->stopped)
		return cor_fail(err, -EBUSY, "process %d is not stopped", t->pid);
	for (unsigned i = 0; i < t->nthreads; i++)
		if (set_options(&t->threads[i], true, PTRACE_O_EXITKILL) < 0)
			return cor_fail_errno(err, "thread %d cannot be made to die with its tracer",
					      t->threads[i].tid);
	t->ghost = true;
	return 0;
}

void cor_tracee_forget(struct cor_tracee *t)
{
	cor_runner_free(t->runner);
	cor_tracee_free(t);
}

void cor_tracee_kill(struct cor_tracee *t)
{
	struct cor_pace pace;

	if (!t)
		return;
	kill(t->pid, SIGKILL);
	cor_runner_free(t->runner);
	cor_pace_begin(&pace, 5000000000ull);
	/* the leader's end is reported last, once the others have been waited for */
	while (t->nthreads) {
		for (unsigned i = t->nthreads; i-- > 0;) {
			int status, r = cor_ptrace_poll(t->threads[i].tid, &status);

			if (r == -ESRCH)
				drop_thread(t, i);
			else if (r == 1)
				ptrace(PTRACE_CONT, t->threads[i].tid, NULL, NULL);
		}
		if (t->nthreads && cor_pace(&pace) < 0)
			break;
	}
	cor_tracee_free(t);
}
