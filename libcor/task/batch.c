/* Lists of injected calls; see batch.h. The runner's room is split: calls from
 * its beginning, their data behind. */
#include "libcor/task/batch.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "libcor/base/cleanup.h"
#include "libcor/base/error.h"

struct note {
	enum cor_batch_expect expect;
	char what[120];
};

/* Lists of as many threads in one flush. */
#define JOBS_MAX 128u

struct cor_batch {
	struct cor_runner *runner;
	pid_t tid;
	struct cor_runner_job jobs[JOBS_MAX];
	int64_t *waits[JOBS_MAX];       /* where its last call's result goes; NULL: to nobody */
	unsigned njobs;
	struct cor_call *calls;         /* in the room */
	struct note *notes;
	unsigned n, max;
	char *data;                     /* in the room, behind the calls */
	size_t used, size;
};

int cor_batch_new(struct cor_batch **out, struct cor_runner *runner, struct cor_error *err)
{
	struct cor_batch *b = calloc(1, sizeof(*b));
	size_t size = cor_runner_size(runner);

	if (!b)
		return cor_fail(err, -ENOMEM, "out of memory");
	b->runner = runner;
	b->max = (unsigned)(size / 2 / sizeof(struct cor_call));
	b->calls = cor_runner_room(runner);
	b->data = (char *)(b->calls + b->max);
	b->size = size - b->max * sizeof(struct cor_call);
	b->notes = calloc(b->max, sizeof(*b->notes));
	if (!b->notes) {
		free(b);
		return cor_fail(err, -ENOMEM, "out of memory");
	}
	*out = b;
	return 0;
}

void cor_batch_free(struct cor_batch *b)
{
	if (b)
		free(b->notes);
	free(b);
}

void cor_batch_freep(struct cor_batch **b)
{
	cor_batch_free(*b);
}

void cor_batch_thread(struct cor_batch *b, pid_t tid)
{
	b->tid = tid;
}

/* Does the next call begin the list of another thread? */
static bool begins_job(const struct cor_batch *b)
{
	return !b->njobs || b->jobs[b->njobs - 1].tid != b->tid;
}

static bool no_job_left(const struct cor_batch *b)
{
	return b->njobs == JOBS_MAX && begins_job(b);
}

int cor_batch_reserve(struct cor_batch *b, unsigned ncalls, size_t len, struct cor_error *err)
{
	if (ncalls > b->max || len + 16 > b->size)
		return cor_fail(err, -E2BIG, "%zu bytes are too much for one injected call", len);
	if (b->n + ncalls > b->max || b->used + len + 16 > b->size || no_job_left(b))
		return cor_batch_flush(b, err);
	return 0;
}

int cor_batch_data(struct cor_batch *b, const void *data, size_t len, uint64_t *remote,
		   struct cor_error *err)
{
	int r = cor_batch_reserve(b, 1, len, err);

	if (r < 0)
		return r;
	b->used = (b->used + 15) & ~(size_t)15;
	if (len)
		memcpy(b->data + b->used, data, len);
	*remote = cor_runner_remote(b->runner, b->data + b->used);
	b->used += len;
	return 0;
}

int cor_batch_add(struct cor_batch *b, enum cor_batch_expect expect, uint64_t nr,
		  const uint64_t args[6], struct cor_error *err, const char *what, ...)
{
	struct note *note;
	va_list ap;

	if (b->n == b->max || no_job_left(b)) {
		int r = cor_batch_flush(b, err);

		if (r < 0)
			return r;
	}
	if (begins_job(b)) {
		b->waits[b->njobs] = NULL;
		b->jobs[b->njobs++] = (struct cor_runner_job){ .tid = b->tid,
							       .calls = &b->calls[b->n] };
	}
	b->jobs[b->njobs - 1].n++;
	note = &b->notes[b->n];
	note->expect = expect;
	va_start(ap, what);
	vsnprintf(note->what, sizeof(note->what), what, ap);
	va_end(ap);
	b->calls[b->n] = (struct cor_call){ .nr = nr };
	memcpy(b->calls[b->n].arg, args, sizeof(b->calls[b->n].arg));
	return (int)b->n++;
}

int cor_batch_wait(struct cor_batch *b, uint64_t nr, const uint64_t args[6], int64_t *ret,
		   struct cor_error *err)
{
	int r = cor_batch_add(b, COR_BATCH_ANY, nr, args, err, "wait");

	if (r < 0)
		return r;
	b->jobs[b->njobs - 1].waits = true;
	b->waits[b->njobs - 1] = ret;
	return 0;
}

static int judge(const struct note *note, const struct cor_call *c, struct cor_error *err)
{
	if (note->expect == COR_BATCH_ANY)
		return 0;
	if (c->ret < 0 && c->ret > -4096)
		return cor_fail_code(err, (int)c->ret, "cannot %s", note->what);
	if (note->expect == COR_BATCH_EXACT && (uint64_t)c->ret != c->arg[0])
		return cor_fail(err, -EEXIST, "cannot %s: the place is taken", note->what);
	return 0;
}

int cor_batch_flush(struct cor_batch *b, struct cor_error *err)
{
	unsigned njobs = b->njobs;
	int r = 0;

	b->n = b->njobs = 0;
	b->used = 0;
	if (njobs)
		r = cor_runner_run_many(b->runner, b->jobs, njobs, 0, err);
	for (unsigned k = 0; k < njobs && r == 0; k++) {
		const struct cor_runner_job *job = &b->jobs[k];

		for (unsigned i = 0; i < job->done && r == 0; i++)
			r = judge(&b->notes[job->calls - b->calls + i], &job->calls[i], err);
		if (r == 0 && b->waits[k])
			*b->waits[k] = job->calls[job->n - 1].ret;
	}
	return r;
}

int cor_batch_call(struct cor_batch *b, uint64_t nr, const uint64_t args[6], int64_t *ret,
		   struct cor_error *err)
{
	struct cor_call *c = &b->calls[0];
	unsigned done;
	int r;

	if (b->n) {
		r = cor_batch_flush(b, err);
		if (r < 0)
			return r;
	}
	*c = (struct cor_call){ .nr = nr };
	memcpy(c->arg, args, sizeof(c->arg));
	r = cor_runner_run(b->runner, b->tid, c, 1, 0, &done, err);
	if (r == 0 && ret)
		*ret = c->ret;
	return r;
}
