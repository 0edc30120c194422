/* What cord says meanwhile. */
#include "daemon/source/source.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "libcor/base/error.h"

bool source_cancelled(struct source *s, bool *go)
{
	json_t *m;
	int fd;

	while (session_hear(&s->session, &m, &fd) > 0) {
		const char *type = json_string_value(json_object_get(m, "type")) ?: "";
		bool cancel = strcmp(type, "cancel") == 0;

		s->resolved |= strcmp(type, "resolve") == 0;
		if (go && strcmp(type, "go") == 0)
			*go = true;
		json_decref(m);
		if (fd >= 0)
			close(fd);
		if (cancel)
			return true;
	}
	return false;
}

/* A task that is still arriving itself: its pages are on two hosts, and reading
 * the lazy ones from outside fails. */
int source_await_go(struct source *s, struct cor_error *err)
{
	bool go = !s->args->wait_for_go;

	while (!go) {
		struct pollfd p = { .fd = session_fd(&s->session), .events = POLLIN };

		if (session_fd(&s->session) < 0)
			return cor_fail(err, -ENOTCONN, "cord ended while the task was arriving");
		if (poll(&p, 1, -1) < 0 && errno != EINTR)
			return cor_fail_errno(err, "poll");
		if (source_cancelled(s, &go))
			return cor_fail(err, -ECANCELED, "cancelled");
	}
	return 0;
}
