/* What all parts of a capture begin and fail with; see capture_base.h. */
#include "libcor/task/capture_base.h"

#include <errno.h>

#include "libcor/base/error.h"
#include "libcor/base/io.h"

int cor_capture_slurp(struct cor_capture *c, const char *name, char **out, size_t *len,
		      struct cor_error *err)
{
	int r = cor_slurp(c->proc, name, out, len);

	if (r == -ENOENT || r == -ESRCH)
		return cor_fail(err, -ESRCH, "process %d ended: /proc/%d/%s is gone", c->pid, c->pid, name);
	return r < 0 ? cor_fail_code(err, r, "cannot read /proc/%d/%s", c->pid, name) : 0;
}

int cor_capture_no_memory(struct cor_capture *c, struct cor_error *err)
{
	return cor_fail(err, -ENOMEM, "no memory to describe process %d", c->pid);
}
