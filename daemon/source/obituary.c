/* The last word of a session of which nothing is left at the source, neither the tracer nor
 * the serving part, and so not the ghost: the destination, whose task waits for pages that
 * nobody has any more, is told, once it can be reached. */
#include "daemon/source/source.h"

#include <errno.h>
#include <unistd.h>

#include "daemon/control.h"
#include "libcor/base/error.h"
#include "libcor/base/io.h"

#define AGAIN_US 500000

int session_source_obituary(const struct worker_source_args *a)
{
	uint64_t until = cor_now_ns() + a->config->timeouts.tell_s * UINT64_C(1000000000);
	struct source s = { .args = a, .home = { .control = -1 }, .link = -1,
			    .reach_link = -1, .ghost.fd = -1 };
	struct cor_error why = COR_ERROR_INIT, unused;
	int pid, r = 0;

	if (session_begin(&s.session, -1, &why) < 0)
		return 1;
	cor_fail(&why, -EOWNERDEAD, "the frozen task, which had the missing pages, is dead");
	s.session.state = SESSION_LOST;
	while (r == 0 && cor_now_ns() < until) {
		r = source_join_again(&s, &pid, &unused);
		if (r == 0)
			usleep(AGAIN_US);
	}
	/* what the destination refuses with, it knows better */
	if (s.control)
		control_send_abort(s.control, &why);
	cor_stream_close(s.control);
	session_end(&s.session);
	return 0;
}
