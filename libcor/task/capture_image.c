/* Capture: the two passes over a task, before the freeze and in it; see capture.h. */
#include "libcor/task/capture.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "libcor/base/cleanup.h"
#include "libcor/base/error.h"
#include "libcor/base/io.h"
#include "libcor/task/capture_base.h"
#include "libcor/task/pb.h"

#define INLINE_WRITTEN_MAX 64   /* pages, when there are no options */

void cor_capture_end(struct cor_capture *c)
{
	cor_capture_calls_drop(c);
	if (c->proc >= 0)
		close(c->proc);
	if (c->mem >= 0)
		close(c->mem);
	if (c->pagemap >= 0)
		close(c->pagemap);
	if (c->image)
		cor__task__image__free_unpacked(c->image, NULL);
}

static int read_process(struct cor_capture *c, struct cor_error *err)
{
	_cleanup_free_ char *status = NULL, *stat = NULL;
	int r = cor_capture_slurp(c, "status", &status, NULL, err);

	if (!r)
		r = cor_capture_slurp(c, "stat", &stat, NULL, err);
	if (r < 0)
		return r;
	if (cor_parse_status(status, &c->status) < 0)
		return cor_fail(err, -EINVAL, "/proc/%d/status cannot be understood", c->pid);
	if (cor_parse_stat(stat, &c->stat) < 0)
		return cor_fail(err, -EINVAL, "/proc/%d/stat cannot be understood", c->pid);
	return 0;
}

int cor_capture_begin(struct cor_capture *c, pid_t pid, const struct cor_capture_options *o,
		      struct cor_error *err)
{
	char path[32];

	c->pid = pid;
	c->mem = c->pagemap = c->proc = -1;
	c->o.inline_written_max = INLINE_WRITTEN_MAX;
	if (o)
		c->o = *o;
	snprintf(path, sizeof(path), "/proc/%d", pid);
	c->proc = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (c->proc < 0 && errno != ENOENT)
		return cor_fail_errno(err, "cannot open %s", path);
	if (c->proc < 0)
		return cor_fail(err, -ESRCH, "there is no process %d", pid);
	c->image = malloc(sizeof(*c->image));
	if (!c->image)
		return cor_capture_no_memory(c, err);
	cor__task__image__init(c->image);
	return read_process(c, err);
}

static int describe_cpu(struct cor_capture *c, struct cor_error *err)
{
	Cor__Task__Cpu *cpu = pb_sub(c->image->cpu, Cor__Task__Cpu, cor__task__cpu__init);

	return cpu ? cor_cpu_describe(cpu, err) : cor_capture_no_memory(c, err);
}

int cor_capture_skeleton(pid_t pid, const struct cor_capture_options *o, Cor__Task__Image **out,
			 struct cor_error *err)
{
	_cleanup_(cor_capture_end) struct cor_capture c = { 0 };
	int r = cor_capture_begin(&c, pid, o, err);

	if (!r)
		r = cor_refuse_process(&c, err);
	if (!r)
		r = cor_capture_memory(&c, err);
	if (!r)
		r = cor_capture_threads(&c, err);
	if (!r)
		r = cor_capture_identity(&c, err);
	if (!r)
		r = cor_capture_written(&c, err);
	if (!r)
		r = cor_capture_clock(&c, err);
	if (!r)
		r = describe_cpu(&c, err);
	if (!r)
		*out = take_ptr(c.image);
	return r;
}

void cor_capture_rehearse(pid_t pid, const struct cor_capture_options *o,
			  const Cor__Task__Image *skeleton)
{
	_cleanup_(cor_capture_end) struct cor_capture c = { .skeleton = skeleton };

	if (cor_capture_begin(&c, pid, o, NULL) < 0 || cor_refuse_process(&c, NULL) < 0 ||
	    cor_capture_memory(&c, NULL) < 0 || cor_capture_threads(&c, NULL) < 0 ||
	    cor_capture_identity(&c, NULL) < 0)
		return;
	cor_capture_written(&c, NULL);
}

int cor_capture_recheck(struct cor_tracee *t, struct cor_error *err)
{
	_cleanup_(cor_capture_end) struct cor_capture c = { .t = t };
	int r = cor_capture_begin(&c, t->pid, NULL, err);

	return r ? r : cor_refuse_place(&c, err);
}

int cor_capture_image(struct cor_tracee *t, const struct cor_capture_options *o,
		      const Cor__Task__Image *skeleton, Cor__Task__Image **out,
		      struct cor_error *err)
{
	_cleanup_(cor_capture_end) struct cor_capture c = { .t = t, .skeleton = skeleton };
	int r;

	if (!t->stopped)
		return cor_fail(err, -EBUSY, "process %d is not stopped", t->pid);
	r = cor_capture_begin(&c, t->pid, o, err);
	if (!r)
		r = cor_refuse_process(&c, err);
	if (!r)
		r = cor_capture_memory(&c, err);
	if (!r)
		r = cor_capture_threads(&c, err);
	if (!r)
		r = cor_capture_calls_start(&c, err);
	if (!r)
		r = cor_capture_identity(&c, err);
	if (!r)
		r = cor_capture_written(&c, err);
	if (!r)
		r = cor_capture_calls_take(&c, err);
	if (!r)
		r = cor_capture_signals(&c, err);
	if (!r)
		cor_capture_timers_settle(&c);
	if (!r)
		r = cor_capture_eager(&c, err);
	if (!r)
		r = cor_capture_clock(&c, err);
	/* the processor lent by the skeleton is known to the destination already */
	if (!r && !skeleton)
		r = describe_cpu(&c, err);
	if (!r)
		*out = take_ptr(c.image);
	return r;
}
