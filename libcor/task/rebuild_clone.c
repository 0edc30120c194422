/* rebuild: threads with their TIDs. Made ahead of the freeze where the memory is; in
 * it, those that have come or gone since. */
#include "libcor/task/rebuild_private.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/user.h>

#include "libcor/base/cleanup.h"
#include "libcor/base/compat.h"
#include "libcor/base/error.h"
#include "libcor/base/io.h"
#include "libcor/task/ptrace_wait.h"
#include "libcor/task/spawn.h"

#define THREAD_FLAGS (CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | \
		      CLONE_SYSVSEM | CLONE_PTRACE)
#define STOP_NS 10000000000ull

/* CLONE_PTRACE: they are ours from birth and stop before their first instruction. */
static int add_clone(struct cor_rebuild *rb, pid_t inner, struct cor_error *err)
{
	struct { struct clone_args a; uint64_t tid; } c = {
		.a = { .flags = THREAD_FLAGS, .set_tid_size = 1 },
		.tid = (uint64_t)inner,
	};
	uint64_t at;
	int r = cor_batch_reserve(rb->batch, 1, sizeof(c) + 64, err);

	if (r == 0)
		r = cor_batch_data(rb->batch, &c.tid, sizeof(c.tid), &at, err);
	if (r < 0)
		return r;
	c.a.set_tid = at;
	r = cor_batch_data(rb->batch, &c.a, sizeof(c.a), &at, err);
	if (r == 0)
		r = cor_batch_add(rb->batch, COR_BATCH_OK, SYS_clone3, COR_ARGS(at, sizeof(c.a)), err,
				  "make the thread %d", inner);
	return r < 0 ? r : 0;
}

/* The thread's number in its innermost PID namespace. */
static pid_t inner_tid(pid_t pid, const char *outer)
{
	_cleanup_free_ char *text = NULL;
	char path[64], *p, *end;

	snprintf(path, sizeof(path), "/proc/%d/task/%.16s/status", pid, outer);
	if (cor_slurp(AT_FDCWD, path, &text, NULL) < 0)
		return -1;
	p = strstr(text, "\nNSpid:");
	if (!p)
		return -1;
	end = strchrnul(p + 1, '\n');
	*end = 0;
	p = strrchr(p, '\t');
	return p ? (pid_t)atoi(p + 1) : -1;
}

/* The thread with that number in list, NULL: none. Both sides of a comparison are in
 * about the same order, so the search goes on from *at, where the last one ended. */
static struct cor_rebuild_thread *find(struct cor_rebuild_thread *list, unsigned n, pid_t inner,
				       unsigned *at)
{
	for (unsigned k = 0; k < n; k++) {
		struct cor_rebuild_thread *t = &list[*at];

		*at = (*at + 1) % n;
		if (t->inner == inner)
			return t;
	}
	return NULL;
}

/* Where the PID namespace is a new one, only /proc tells how we see the threads. */
static int learn_outer(struct cor_rebuild *rb, struct cor_error *err)
{
	_cleanup_closedir_ DIR *dir = NULL;
	unsigned at = 0;
	struct dirent *e;
	char path[32];

	snprintf(path, sizeof(path), "/proc/%d/task", rb->pid);
	dir = opendir(path);
	if (!dir)
		return cor_fail_errno(err, "cannot read %s", path);
	while ((e = readdir(dir))) {
		struct cor_rebuild_thread *t;

		if (atoi(e->d_name) <= 0)
			continue;
		t = find(rb->threads, rb->nthreads, inner_tid(rb->pid, e->d_name), &at);
		if (t)
			t->outer = (pid_t)atoi(e->d_name);
	}
	return 0;
}

static int await_birth(struct cor_rebuild_thread *t, struct cor_error *err)
{
	int status, r;

	if (!t->outer)
		return cor_fail(err, -EIO, "the new thread %d cannot be found", t->inner);
	r = cor_ptrace_wait(t->outer, STOP_NS, &status);
	if (r < 0)
		return cor_fail_code(err, r, "the new thread %d does not stop", t->inner);
	t->born = true;
	return 0;
}

/* Those of rb->threads that are not born yet. */
static int make_missing(struct cor_rebuild *rb, struct cor_error *err)
{
	unsigned missing = 0;
	int r = 0;

	cor_batch_thread(rb->batch, rb->pid);
	for (unsigned i = 0; i < rb->nthreads && r == 0; i++) {
		if (rb->threads[i].born)
			continue;
		if (!rb->pid_ns)
			rb->threads[i].outer = rb->threads[i].inner;
		r = add_clone(rb, rb->threads[i].inner, err);
		missing++;
	}
	if (r < 0 || !missing)
		return r;
	r = cor_batch_flush(rb->batch, err);
	if (r == -EEXIST)       /* taken behind cor_rebuild_numbers_fit() */
		r = cor_fail(err, -EAGAIN, "the number of a thread was taken on this host just now; "
			     "try again");
	if (r == 0 && rb->pid_ns)
		r = learn_outer(rb, err);
	for (unsigned i = 0; i < rb->nthreads && r == 0; i++)
		if (!rb->threads[i].born)
			r = await_birth(&rb->threads[i], err);
	return r;
}

/* A thread that the task has no more. */
static int end_thread(struct cor_rebuild *rb, pid_t outer, struct cor_error *err)
{
	struct user_regs_struct regs;
	int status;

	if (ptrace(PTRACE_GETREGS, outer, NULL, &regs) < 0)
		return cor_fail_errno(err, "cannot read the registers of thread %d", outer);
	regs.rip = cor_runner_insn(rb->runner);
	regs.rax = SYS_exit;
	regs.orig_rax = (uint64_t)-1;
	regs.rdi = 0;
	if (ptrace(PTRACE_SETREGS, outer, NULL, &regs) < 0 ||
	    ptrace(PTRACE_CONT, outer, NULL, NULL) < 0)
		return cor_fail_errno(err, "cannot end thread %d", outer);
	if (cor_ptrace_wait(outer, STOP_NS, &status) != -ESRCH)
		return cor_fail(err, -EIO, "thread %d does not end", outer);
	return 0;
}

int cor_rebuild_numbers_fit(const struct cor_rebuild *rb, const Cor__Task__Image *image,
			    struct cor_error *err)
{
	unsigned at = 0;

	for (size_t i = 1; i < image->n_threads && !rb->pid_ns; i++) {
		pid_t tid = image->threads[i]->tid;

		if (!find(rb->threads, rb->nthreads, tid, &at) && cor_id_taken(tid))
			return cor_fail(err, -ESTALE, "the number of thread %d is taken on this host",
					tid);
	}
	return 0;
}

int cor_rebuild_clone(struct cor_rebuild *rb, const Cor__Task__Image *image,
		      struct cor_error *err)
{
	unsigned n = (unsigned)image->n_threads, at = 0, kept = 1;
	struct cor_rebuild_thread *all = calloc(n, sizeof(*all));
	int r = 0;

	if (!all)
		return cor_fail(err, -ENOMEM, "out of memory");
	all[0] = (struct cor_rebuild_thread){ .inner = image->threads[0]->tid, .outer = rb->pid,
					      .born = true };
	for (unsigned i = 1; i < n; i++) {
		struct cor_rebuild_thread *t = find(rb->threads, rb->nthreads,
						    image->threads[i]->tid, &at);

		all[i].inner = image->threads[i]->tid;
		if (!t)
			continue;
		all[i] = *t;
		t->born = false;        /* it is accounted for */
		kept++;
	}
	for (unsigned i = 1; i < rb->nthreads && kept < rb->nthreads && r == 0; i++)
		if (rb->threads[i].born)
			r = end_thread(rb, rb->threads[i].outer, err);
	free(rb->threads);
	rb->threads = all;
	rb->nthreads = n;
	return r < 0 ? r : make_missing(rb, err);
}
