/* The serving part (server.c) as the tracer sees it: started ahead of the freeze, told what to
 * serve, asked whether it does. */
#include "daemon/source/source.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon/control.h"
#include "libcor/base/cleanup.h"
#include "libcor/base/error.h"

#define REASON_MS 200

int source_fork_server(struct source *s, bool again, struct cor_error *err)
{
	int pair[2], reach[2] = { -1, -1 };

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return cor_fail_errno(err, "a socket to the page server");
	/* another one has TCP alone; without a socket there is no one-sided demand */
	if (!again)
		(void)!socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, reach);
	s->server_pid = fork();
	if (s->server_pid == 0) {
		close(pair[0]);
		cor_closep(&reach[0]);
		s->link = pair[1];
		s->reach_link = reach[1];
		_exit(source_serve(s, again));
	}
	close(pair[1]);
	cor_closep(&reach[1]);
	if (s->server_pid < 0) {
		close(pair[0]);
		cor_closep(&reach[0]);
		s->server_pid = 0;
		return cor_fail_errno(err, "the page server cannot be started");
	}
	s->link = pair[0];
	s->reach_link = reach[0];
	return 0;
}

/* Its word on what it was to do. */
static int await_outcome(struct source *s, struct cor_error *err)
{
	json_t *transport, *warnings, *one_sided;
	json_auto_t *m = NULL;
	const char *why;
	int code;

	for (;;) {
		if (source_link_hear(s->link, &m, NULL, NULL) < 0)
			return cor_fail(err, -EPIPE, "the page server has died");
		if (json_object_get(m, "code"))
			break;
		/* it needs something of the control channel first */
		source_answer_transport(s, m);
		json_decref(m);
		m = NULL;
	}
	transport = json_object_get(m, "transport");
	warnings = json_object_get(m, "warnings");
	one_sided = json_object_get(m, "one_sided");
	if (one_sided)
		json_object_set(s->session.figures, "one_sided", one_sided);
	if (json_is_string(transport))
		source_transport_set(s, json_string_value(transport));
	if (warnings)
		json_object_set(s->session.figures, "warnings", warnings);
	code = (int)json_integer_value(json_object_get(m, "code"));
	why = json_string_value(json_object_get(m, "error"));
	return code < 0 ? cor_fail(err, code, "%s", why ?: "the page server failed") : 0;
}

/* A destination that has given up takes no lanes any more, and has said why. */
static int reason(struct source *s, int r, struct cor_error *err)
{
	struct control_message m;

	if (control_receive(s->control, REASON_MS, &m, NULL) < 0)
		return r;
	if (m.type == CONTROL_ABORT)
		r = source_refused(s, &m, err);
	control_message_done(&m);
	return r;
}

int source_start_server(struct source *s, struct cor_error *err)
{
	int r = cor_source_process(&s->memory, s->args->pid, err);

	if (r == 0)
		r = source_fork_server(s, false, err);
	if (r < 0)
		return r;
	r = await_outcome(s, err);
	return r < 0 ? reason(s, r, err) : 0;
}

int source_give_objects(struct source *s, const int *fds, unsigned n, struct cor_error *err)
{
	int r = 0;

	for (unsigned i = 0; r == 0 && i < n; i += SOURCE_LINK_FDS)
		r = source_link_say(s->link, json_object(), fds + i,
				    COR_MIN(n - i, (unsigned)SOURCE_LINK_FDS));
	/* ours as well, for another part that may have to be started */
	for (unsigned i = 0; r == 0 && i < n; i++) {
		int copy = dup(fds[i]);

		r = copy < 0 ? -errno : cor_source_process_add_object(s->memory, (uint16_t)(i + 1),
								      copy, err);
	}
	if (r == 0)
		r = source_link_say(s->link, json_object(), NULL, 0);
	s->serving = r == 0;
	return r < 0 ? cor_fail_code(err, r, "the page server") : 0;
}

int source_await_serving(struct source *s, struct cor_error *err)
{
	return await_outcome(s, err);
}

/* In the freeze nobody waits for its word, but what it has said counts. */
int source_check_serving(struct source *s, struct cor_error *err)
{
	struct pollfd p = { .fd = s->link, .events = POLLIN };
	int r = 0;

	/* behind its word may be its end */
	while (r == 0 && poll(&p, 1, 0) > 0)
		r = await_outcome(s, err);
	return r;
}

void source_end_server(struct source *s)
{
	if (s->server_pid <= 0)
		return;
	kill(s->server_pid, SIGKILL);
	while (waitpid(s->server_pid, NULL, 0) < 0 && errno == EINTR)
		;
	s->server_pid = 0;
	close(s->link);
	s->link = -1;
}
