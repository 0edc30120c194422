/* A look at the task while it stands still, ahead of the freeze. */
#include "daemon/source/source.h"

#include "libcor/base/io.h"

#define WAITS_BEGIN_NS 100000000ull   /* after which a thread is not in the same wait any more */

/* Where its threads were interrupted they wait on, and only we know until when. */
uint64_t source_let_go(struct source *s, struct cor_tracee *t)
{
	bool noted = t && t->stopped && cor_waits_note(&s->waits, t) == 0;
	uint64_t at;

	cor_tracee_thaw(t);
	at = cor_now_ns();
	if (noted) {
		cor_waits_confirm(&s->waits, s->args->pid, WAITS_BEGIN_NS);
		s->options.waits = &s->waits;
	}
	return at;
}

int source_look(struct source *s,
		int (*look)(struct source *s, struct cor_tracee *t, struct cor_error *err),
		struct cor_error *err)
{
	struct cor_tracee *t = NULL;
	uint64_t from;
	int r = cor_tracee_seize(&t, s->args->pid, err);

	if (r < 0)
		return r;
	r = cor_tracee_stop(t, (unsigned)s->args->config->timeouts.freeze_ms, err);
	if (r == 0)
		r = look(s, t, err);
	from = t->stopping_ns;
	s->looked_ns += source_let_go(s, t) - from;
	json_object_set_new(s->session.figures, "looked_us",
			    json_integer((json_int_t)(s->looked_ns / 1000)));
	return r;
}
