/* The source's: the filters of system calls of a task, ahead of the freeze. */
#include "daemon/source/source.h"

#include "libcor/base/error.h"
#include "libcor/task/seccomp.h"

int source_check_filters(struct source *s, const Cor__Task__Image *image, struct cor_error *err)
{
	char what[80];

	if (!cor_seccomp_any(image))
		return 0;
	snprintf(what, sizeof(what), "process %d, which has seccomp filters,", s->args->pid);
	return cor_mechanism_require(&s->mechanisms, COR_MECHANISM_SECCOMP, what, err);
}

static int read_filters(struct source *s, struct cor_tracee *t, struct cor_error *err)
{
	return cor_seccomp_read_all(t, s->skeleton, err);
}

int source_read_filters(struct source *s, struct cor_error *err)
{
	int r = source_check_filters(s, s->skeleton, err);

	if (r < 0 || !cor_seccomp_any(s->skeleton))
		return r;
	r = cor_seccomp_possible(err);
	return r < 0 ? r : source_look(s, read_filters, err);
}
