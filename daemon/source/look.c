/* A look at the task while it stands still, ahead of the freeze. */
#include "daemon/source/source.h"

int source_look(struct source *s,
		int (*look)(struct source *s, struct cor_tracee *t, struct cor_error *err),
		struct cor_error *err)
{
	struct cor_tracee *t = NULL;
	int r = cor_tracee_seize(&t, s->args->pid, err);

	if (r < 0)
		return r;
	r = cor_tracee_stop(t, (unsigned)s->args->config->timeouts.freeze_ms, err);
	if (r == 0)
		r = look(s, t, err);
	cor_tracee_thaw(t);
	return r;
}
