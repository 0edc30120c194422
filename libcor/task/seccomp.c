/* See seccomp.h. */
#include "libcor/task/seccomp.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>

#include "libcor/base/cleanup.h"
#include "libcor/base/error.h"
#include "libcor/base/io.h"
#include "libcor/task/pb.h"
#include "libcor/task/procfs.h"

#define FILTERS_MAX 1024        /* of one thread: the kernel takes 32768 instructions of them all */

/* linux/ptrace.h, which cannot be had beside sys/ptrace.h */
struct metadata { uint64_t filter_off, flags; };
#define GET_METADATA ((enum __ptrace_request)0x420d)

int cor_seccomp_possible(struct cor_error *err)
{
	_cleanup_free_ char *text = NULL;
	struct cor_proc_status st;

	if (cor_slurp(AT_FDCWD, "/proc/thread-self/status", &text, NULL) < 0 ||
	    cor_parse_status(text, &st) < 0)
		return cor_fail(err, -EPERM, "/proc/thread-self/status cannot be read");
	if (!(st.cap_eff >> CAP_SYS_ADMIN & 1))
		return cor_fail(err, -EPERM, "seccomp filters can be moved with CAP_SYS_ADMIN only");
	if (st.seccomp)
		return cor_fail(err, -EPERM, "seccomp filters cannot be moved by a cord that has some");
	return 0;
}

bool cor_seccomp_any(const Cor__Task__Image *image)
{
	for (size_t i = 0; i < image->n_threads; i++)
		if (image->threads[i]->seccomp)
			return true;
	return false;
}

/* ---- reading ------------------------------------------------------------------------- */

/* Whether a constant that it returns has the call judged by whoever holds its listener. */
static bool asks_somebody(const struct sock_filter *f, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (f[i].code == (BPF_RET | BPF_K) &&
		    (f[i].k & SECCOMP_RET_ACTION_FULL) == SECCOMP_RET_USER_NOTIF)
			return true;
	return false;
}

/* The index of that filter in the image, which may have it from another thread; -ENOMEM. */
static int find_or_add(Cor__Task__Image *image, const struct sock_filter *f, size_t n,
		       uint32_t flags)
{
	size_t len = n * sizeof(*f);
	Cor__Task__SeccompFilter *add;

	for (size_t i = 0; i < image->n_filters; i++) {
		const Cor__Task__SeccompFilter *have = image->filters[i];

		if (have->flags == flags && have->program.len == len &&
		    memcmp(have->program.data, f, len) == 0)
			return (int)i;
	}
	add = pb_add(&image->filters, &image->n_filters, Cor__Task__SeccompFilter,
		     cor__task__seccomp_filter__init);
	if (!add || pb_bytes(&add->program, f, len) < 0)
		return -ENOMEM;
	add->flags = flags;
	return (int)image->n_filters - 1;
}

/* Filter number at of the thread, 0 the latest. Its index in the image; -ENOENT: there are no
 * more. */
static int read_one(pid_t tid, uint64_t at, Cor__Task__Image *image, struct cor_error *err)
{
	struct sock_filter f[BPF_MAXINSNS];
	struct metadata m = { .filter_off = at };
	long n = ptrace(PTRACE_SECCOMP_GET_FILTER, tid, (void *)at, f);
	int r;

	if (n < 0 && errno == ENOENT)
		return -ENOENT;
	if (n < 0)
		return cor_fail_errno(err, "cannot read the seccomp filters of thread %d", tid);
	if (asks_somebody(f, (size_t)n))
		return cor_fail(err, -EOPNOTSUPP, "thread %d has a seccomp filter that asks another "
				"process (SECCOMP_RET_USER_NOTIF), which cannot be moved", tid);
	/* kernels that cannot tell have no flags that matter */
	if (ptrace(GET_METADATA, tid, (void *)sizeof(m), &m) < 0)
		m.flags = 0;
	r = find_or_add(image, f, (size_t)n, (uint32_t)(m.flags & SECCOMP_FILTER_FLAG_LOG));
	return r < 0 ? cor_fail_code(err, r, "the seccomp filters of thread %d", tid) : r;
}

int cor_seccomp_read(pid_t tid, Cor__Task__Image *image, Cor__Task__Thread *th,
		     struct cor_error *err)
{
	uint32_t latest[FILTERS_MAX];
	size_t n = 0;
	int r = 0;

	while (n < FILTERS_MAX && (r = read_one(tid, n, image, err)) >= 0)
		latest[n++] = (uint32_t)r;
	if (r != -ENOENT)
		return r < 0 ? r : cor_fail(err, -EOPNOTSUPP, "thread %d has more than %d seccomp "
					    "filters", tid, FILTERS_MAX);
	free(th->filters);
	th->n_filters = 0;
	th->filters = calloc(n + 1, sizeof(*th->filters));
	if (!th->filters)
		return cor_fail(err, -ENOMEM, "out of memory");
	while (th->n_filters < n) {
		th->filters[th->n_filters] = latest[n - 1 - th->n_filters];
		th->n_filters++;
	}
	return 0;
}

int cor_seccomp_read_all(const struct cor_tracee *t, Cor__Task__Image *skeleton,
			 struct cor_error *err)
{
	int r = 0;

	for (size_t i = 0; i < skeleton->n_threads && r == 0; i++) {
		Cor__Task__Thread *th = skeleton->threads[i];

		for (unsigned k = 0; k < t->nthreads && r == 0; k++)
			if (th->seccomp && t->threads[k].inner_tid == th->tid)
				r = cor_seccomp_read(t->threads[k].tid, skeleton, th, err);
	}
	return r;
}

int cor_seccomp_check(const Cor__Task__Image *image, struct cor_error *err)
{
	for (size_t i = 0; i < image->n_filters; i++) {
		size_t len = image->filters[i]->program.len;

		if (!len || len % sizeof(struct sock_filter) ||
		    len / sizeof(struct sock_filter) > BPF_MAXINSNS ||
		    image->filters[i]->flags & ~(uint32_t)SECCOMP_FILTER_FLAG_LOG)
			return cor_fail(err, -EPROTO, "the task's seccomp filter %zu makes no sense", i);
	}
	for (size_t i = 0; i < image->n_threads; i++)
		for (size_t k = 0; k < image->threads[i]->n_filters; k++)
			if (image->threads[i]->filters[k] >= image->n_filters)
				return cor_fail(err, -EPROTO, "thread %d has a seccomp filter that is not "
						"there", image->threads[i]->tid);
	return 0;
}
