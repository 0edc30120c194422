/* Taking the stub over: files opened in it by our code while that still runs,
 * then ptrace and a runner, whose first calls unmap our code. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "libcor/base/cleanup.h"
#include "libcor/base/compat.h"
#include "libcor/base/error.h"
#include "libcor/task/ptrace_wait.h"
#include "libcor/task/rebuild_private.h"
#include "libcor/task/stub.h"

#define ROOM      (256u << 10)          /* of the runner: some 2000 calls and their data */
#define MARGIN    (64u << 20)           /* between a runner and the task's mappings, if it can be */
#define RSEQ_UNREGISTER 1
#define USER_END  0x7ffffffff000ull

/* --- what is opened while our code runs ------------------------------------- */

struct names {
	char  *buf;
	size_t len;
};

static int add_name(struct names *n, const char *path, int flags, bool may_fail)
{
	struct cor_stub_open o = { .flags = flags, .may_fail = may_fail,
				   .len = (uint32_t)strlen(path) + 1 };
	char *bigger = realloc(n->buf, n->len + sizeof(o) + o.len);

	if (!bigger)
		return -ENOMEM;
	memcpy(bigger + n->len, &o, sizeof(o));
	memcpy(bigger + n->len + sizeof(o), path, o.len);
	n->buf = bigger;
	n->len += sizeof(o) + o.len;
	return 0;
}

static bool is_followed(const Cor__Task__File *f)
{
	return f->use == COR__TASK__FILE_USE__FILE_FOLLOWED;
}

static bool is_itself(const Cor__Task__File *f)
{
	return f->use == COR__TASK__FILE_USE__FILE_ITSELF;
}

/* How file must be open: -1 not at all. */
static int flags_of(const struct cor_memory_job *job, size_t file)
{
	const Cor__Task__Memory *m = job->memory;
	int flags = file == m->exe ? O_RDONLY : -1;

	for (size_t i = 0; i < m->n_vmas; i++) {
		const Cor__Task__Vma *v = m->vmas[i];

		if (v->file != file)
			continue;
		if (v->kind == COR__TASK__VMA_KIND__FILE_SHARED && (v->prot & PROT_WRITE))
			return O_RDWR;
		if (v->kind == COR__TASK__VMA_KIND__FILE_PRIVATE ||
		    v->kind == COR__TASK__VMA_KIND__FILE_SHARED)
			flags = O_RDONLY;
	}
	return flags;
}

static int ask_for_numbers(struct cor_rebuild *rb, const struct cor_message *request,
			   int32_t *out, size_t n, struct cor_error *err)
{
	struct cor_message answer = { 0 };
	int r = cor_rebuild_request(rb, request, &answer, err);

	if (r == 0 && answer.len != n * sizeof(*out))
		r = cor_fail(err, -EPROTO, "the stub opened %zu files instead of %zu",
			     answer.len / sizeof(*out), n);
	if (r == 0)
		memcpy(out, answer.buf, answer.len);
	cor_message_clear(&answer);
	return r;
}

/* By path, in the stub. fds[i]: how to open file i, then its number there; -1: not. */
static int open_named(struct cor_memory_job *job, const int *flags, int32_t *fds,
		      struct cor_error *err)
{
	const Cor__Task__Memory *m = job->memory;
	_cleanup_free_ int32_t *got = calloc(m->n_files + 1, sizeof(*got));
	struct cor_message request = { .kind = COR_STUB_OPEN };
	struct names names = { 0 };
	size_t n = 0, k = 0;
	int r = got ? 0 : -ENOMEM;

	for (size_t i = 0; i < m->n_files && r == 0; i++) {
		if (flags[i] < 0)
			continue;
		r = add_name(&names, m->files[i]->path, flags[i], is_followed(m->files[i]));
		n++;
	}
	if (r < 0)
		cor_fail_code(err, r, "cannot list the files to be mapped");
	request.buf = names.buf;
	request.len = names.len;
	if (r == 0 && n)
		r = ask_for_numbers(job->rb, &request, got, n, err);
	free(names.buf);
	for (size_t i = 0; i < m->n_files && r == 0; i++)
		if (flags[i] >= 0)
			fds[i] = got[k++];
	return r;
}

/* The task's paths lead to its home, but what is the very same here is mapped from here:
 * opened by us, and held by the stub. */
static int hand_own_files(struct cor_memory_job *job, const int *flags, int32_t *fds,
			  struct cor_error *err)
{
	const Cor__Task__Memory *m = job->memory;
	_cleanup_free_ int32_t *got = calloc(m->n_files + 1, sizeof(*got));
	_cleanup_free_ int *ours = calloc(m->n_files + 1, sizeof(*ours));
	struct cor_message hold = { .kind = COR_STUB_HOLD, .fds = ours };
	unsigned k = 0;
	int r = got && ours ? 0 : cor_fail(err, -ENOMEM, "out of memory");

	for (size_t i = 0; i < m->n_files && r == 0; i++) {
		if (flags[i] < 0)
			continue;
		ours[hold.nfds] = open(m->files[i]->path, flags[i] | O_CLOEXEC | O_NOCTTY |
				       O_NONBLOCK);
		if (ours[hold.nfds] < 0)
			r = cor_fail_errno(err, "cannot open %s to map it", m->files[i]->path);
		else if (++hold.nfds == COR_MESSAGE_FDS)
			r = cor_fail(err, -EMFILE, "the task maps too many files");
	}
	if (r == 0 && hold.nfds)
		r = ask_for_numbers(job->rb, &hold, got, hold.nfds, err);
	for (unsigned i = 0; i < hold.nfds; i++)
		close(ours[i]);
	for (size_t i = 0; i < m->n_files && r == 0; i++)
		if (flags[i] >= 0)
			fds[i] = got[k++];
	return r;
}

/* What is mapped shared must be the very file, or (followed only) a copy will do. */
static int check_shared(const struct cor_memory_job *job, int32_t *fds, struct cor_error *err)
{
	const Cor__Task__Memory *m = job->memory;

	for (size_t i = 0; i < m->n_files; i++) {
		const Cor__Task__File *f = m->files[i];
		struct stat st;
		char path[48];

		if (fds[i] < 0 || (!is_itself(f) && (!is_followed(f) || job->file_ok[i])))
			continue;
		snprintf(path, sizeof(path), "/proc/%d/fd/%d", (int)job->rb->pid, (int)fds[i]);
		if (stat(path, &st) < 0)
			return cor_fail_errno(err, "cannot look at %s, to map it", f->path);
		if (S_ISREG(st.st_mode) && st.st_ino == f->ino)
			continue;
		if (is_itself(f))
			return cor_fail(err, -ESTALE, "%s, which the task maps as the file it is, is "
					"another file here", f->path);
		fds[i] = -1;
	}
	return 0;
}

/* What is the very same here is mapped from here, wherever the task's paths lead; but for
 * what must be the file itself, and /proc/PID/exe, which leads home where the program is
 * not here. */
static int open_files(struct cor_memory_job *job, int32_t *fds, struct cor_error *err)
{
	const Cor__Task__Memory *m = job->memory;
	_cleanup_free_ int *ours = calloc(m->n_files + 1, sizeof(*ours));
	_cleanup_free_ int *named = calloc(m->n_files + 1, sizeof(*named));
	bool view = job->rb->own_view;
	int r = 0;

	if (!ours || !named)
		return cor_fail(err, -ENOMEM, "out of memory");
	for (size_t i = 0; i < m->n_files; i++) {
		const Cor__Task__File *f = m->files[i];
		bool by_name = is_itself(f) || (is_followed(f) && !job->file_ok[i]);

		fds[i] = ours[i] = named[i] = -1;
		if (by_name)
			named[i] = flags_of(job, i);
		else if (job->file_ok[i])
			*(view ? &ours[i] : &named[i]) = flags_of(job, i);
		else if (view && i == m->exe && !f->deleted)
			named[i] = O_RDONLY;
	}
	if (view)
		r = hand_own_files(job, ours, fds, err);
	if (r == 0)
		r = open_named(job, named, fds, err);
	return r < 0 ? r : check_shared(job, fds, err);
}

int cor_rebuild_open_files(struct cor_memory_job *job, const int *object_fds,
			   struct cor_error *err)
{
	const struct cor_message hold = {
		.kind = COR_STUB_HOLD, .nfds = job->nobjects, .fds = (int *)object_fds,
	};
	int r;

	job->file_fds = calloc(job->memory->n_files + 1, sizeof(int32_t));
	job->object_fds = calloc(job->nobjects + 1, sizeof(int32_t));
	if (!job->file_fds || !job->object_fds)
		return cor_fail(err, -ENOMEM, "out of memory");
	r = open_files(job, job->file_fds, err);
	if (r == 0 && job->nobjects)
		r = ask_for_numbers(job->rb, &hold, job->object_fds, job->nobjects, err);
	return r;
}

/* --- the end of our code ----------------------------------------------------- */

static int seize(struct cor_rebuild *rb, struct cor_error *err)
{
	int status, r;

	/* should we die, the half-made task must not run */
	if (ptrace(PTRACE_SEIZE, rb->pid, NULL, PTRACE_O_EXITKILL) < 0)
		return cor_fail_errno(err, "cannot trace the stub %d", rb->pid);
	rb->stage = COR_REBUILD_SEIZED;
	if (ptrace(PTRACE_INTERRUPT, rb->pid, NULL, NULL) < 0)
		return cor_fail_errno(err, "cannot interrupt the stub %d", rb->pid);
	r = cor_ptrace_wait(rb->pid, 5000000000ull, &status);
	if (r < 0)
		return cor_fail_code(err, r, "the stub %d does not stop", rb->pid);
	return 0;
}

static int map_runner(struct cor_memory_job *job, struct cor_error *err)
{
	struct cor_rebuild *rb = job->rb;
	const size_t len = ROOM + COR_PAGE_SIZE;
	uint64_t at = cor_layout_hole_behind(&job->all, job->memory, len, MARGIN);
	int r;

	if (!at)
		at = cor_layout_hole(&job->all, len, MARGIN);
	if (!at)
		at = cor_layout_hole(&job->all, len, 0);
	if (!at)
		return cor_fail(err, -ENOMEM, "process %d's address space has no room for %zu bytes "
				"of injected code", rb->inner_pid, len);
	r = cor_runner_map(&rb->runner, rb->pid, cor_find_syscall_insn(rb->pid), at, ROOM, err);
	if (r < 0)
		return r;
	r = cor_batch_new(&rb->batch, rb->runner, err);
	if (r == 0)
		cor_batch_thread(rb->batch, rb->pid);
	return r;
}

/* glibc has registered an area of our thread, which is about to vanish: the
 * kernel would kill the stub over it. */
static int forget_rseq(struct cor_rebuild *rb, struct cor_error *err)
{
	struct { uint64_t at; uint32_t size, signature, flags, pad; } c = { 0 };

	if (ptrace(PTRACE_GET_RSEQ_CONFIGURATION, rb->pid, sizeof(c), &c) < 0)
		return cor_fail_errno(err, "cannot read the stub's rseq registration");
	if (!c.at)
		return 0;
	return cor_batch_add(rb->batch, COR_BATCH_OK, SYS_rseq,
			     COR_ARGS(c.at, c.size, RSEQ_UNREGISTER, c.signature), err,
			     "unregister the stub's rseq area");
}

/* Everything but the runner and the vDSO with its data pages. */
static int unmap_all(struct cor_memory_job *job, struct cor_error *err)
{
	uint64_t keep[2][2] = { { 0 } }, from = 0;
	struct cor_rebuild *rb = job->rb;
	int r = 0;

	cor_runner_range(rb->runner, &keep[0][0], &keep[0][1]);
	if (!cor_layout_vdso(&job->stub, &keep[1][0], &keep[1][1]))
		keep[1][0] = keep[1][1] = keep[0][1];
	if (keep[0][0] > keep[1][0]) {
		uint64_t s = keep[0][0], e = keep[0][1];

		memcpy(keep[0], keep[1], sizeof(keep[0]));
		keep[1][0] = s;
		keep[1][1] = e;
	}
	for (int i = 0; i <= 2 && r >= 0; i++) {
		uint64_t to = i < 2 ? keep[i][0] : USER_END;

		if (to > from)
			r = cor_batch_add(rb->batch, COR_BATCH_OK, SYS_munmap,
					  COR_ARGS(from, to - from), err,
					  "unmap the stub's memory at %#lx", (unsigned long)from);
		from = i < 2 ? keep[i][1] : 0;
	}
	return r < 0 ? r : 0;
}

int cor_rebuild_take_over(struct cor_memory_job *job, struct cor_error *err)
{
	struct cor_rebuild *rb = job->rb;
	int r = seize(rb, err);

	if (r == 0)
		r = cor_layout_read(&job->stub, rb->pid, err);
	for (size_t i = 0; i < job->stub.n && r == 0; i++)
		r = cor_layout_add(&job->all, job->stub.ranges[i].start, job->stub.ranges[i].end,
				   job->stub.ranges[i].kind);
	if (r == 0)
		r = cor_layout_add_image(&job->all, job->memory);
	if (r == -ENOMEM)
		cor_fail(err, r, "out of memory");
	if (r == 0)
		r = map_runner(job, err);
	if (r == 0)
		r = forget_rseq(rb, err);
	if (r >= 0)
		r = unmap_all(job, err);
	return r < 0 ? r : 0;
}
