/* The source's serving part: a process of its own, which connects the lanes ahead of the
 * freeze, serves the task's pages, and from COMMIT on speaks with the destination and with
 * cord. It reads what the network says, so it is what may crash; the task's tracer, which
 * must not (the ghost dies with it), only waits for its verdict, and starts another one if
 * it dies (keeper.c). */
#include "daemon/source/source.h"

#include <errno.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "daemon/control.h"
#include "daemon/fault.h"
#include "daemon/sandbox.h"
#include "libcor/base/cleanup.h"
#include "libcor/base/error.h"
#include "libcor/base/io.h"

/* How often a destination that cannot be reached is told that the ghost has died. */
#define TELL_AGAIN_US 500000

/* With what the tracer cannot know, which is among the figures. */
static int say_outcome(struct source *s, int r, const struct cor_error *err)
{
	json_t *m = json_pack("{s:i, s:s, s:O*, s:O*, s:O*}", "code", r, "error", r < 0 ? err->text : "",
			      "transport", json_object_get(s->session.figures, "transport"),
			      "one_sided", json_object_get(s->session.figures, "one_sided"),
			      "warnings", json_object_get(s->session.figures, "warnings"));

	return source_link_say(s->link, m, NULL, 0);
}

/* ---- ahead of COMMIT ------------------------------------------------------------------------ */

static int connect_lanes(struct source *s, struct cor_error *err)
{
	const struct worker_source_args *a = s->args;
	int r = source_connect_transport(s, err);

	if (r == 0)
		r = source_connect(s, COR_CONN_DEMAND, a->session, a->secret, CONNECT_TIMEOUT_MS,
				   &s->demand, err);
	if (r == 0)
		r = source_connect(s, COR_CONN_BULK, a->session, a->secret, CONNECT_TIMEOUT_MS,
				   &s->bulk, err);
	return r;
}

static int start_server(struct source *s, struct cor_error *err)
{
	int r = cor_page_server_new(&s->server, take_ptr(s->memory), err);

	if (r == 0 && s->demand)
		r = cor_page_server_add_lane(s->server, take_ptr(s->demand), COR_CONN_DEMAND, err);
	if (r == 0 && s->bulk)
		r = cor_page_server_add_lane(s->server, take_ptr(s->bulk), COR_CONN_BULK, err);
	if (r == 0 && s->fast_demand)
		r = cor_page_server_add_lane(s->server, take_ptr(s->fast_demand), COR_CONN_DEMAND,
					     err);
	if (r == 0 && s->fast_bulk)
		r = cor_page_server_add_lane(s->server, take_ptr(s->fast_bulk), COR_CONN_BULK, err);
	return r;
}

/* Descriptors of shared memory come in any number of messages, the last one without. */
static int take_objects(struct source *s, struct cor_error *err)
{
	uint16_t next = 1;

	for (;;) {
		int fds[SOURCE_LINK_FDS], r;
		unsigned n = ARRAY_SIZE(fds);
		json_auto_t *m = NULL;

		r = source_link_hear(s->link, &m, fds, &n);
		if (r < 0)
			return r;
		if (!n)
			return 0;
		for (unsigned i = 0; i < n; i++) {
			if (r == 0)
				r = cor_source_process_add_object(s->memory, next++, fds[i], err);
			else
				close(fds[i]);
		}
		if (r < 0)
			return r;
	}
}

/* What is the tracer's alone, and came along by the fork. Its control connection is not
 * closed the proper way, which the other side would see. */
static void let_go_of_tracers(struct source *s)
{
	if (s->control)
		close(s->control->in_fd);
	s->control = NULL;
	s->tracee = NULL;
	s->have_hooks = false;
	cor_departure_free(s->departure);
	s->departure = NULL;
	source_pumps_end(&s->pumps);
	memset(&s->pumps, 0, sizeof(s->pumps));
	s->pumps.home = -1;
	source_home_end(s);
	memset(&s->home, 0, sizeof(s->home));
	s->home.control = -1;
	s->ghost = (struct cor_ghost){ .fd = -1 };
}

/* ---- from COMMIT on -------------------------------------------------------------------------- */

/* False: the tracer has ended before COMMIT, and this goes with it. */
static bool await_commit(struct source *s, char *doubt, size_t size)
{
	json_auto_t *m = NULL;
	const char *why;

	if (source_link_hear(s->link, &m, NULL, NULL) < 0)
		return false;
	json_object_update(s->session.figures, json_object_get(m, "figures"));
	s->session.state = (enum session_state)atomic_load(&s->session.page->state);
	s->freeze_from_ns = (uint64_t)json_integer_value(json_object_get(m, "from_ns"));
	why = json_string_value(json_object_get(m, "doubt"));
	snprintf(doubt, size, "%s", why ?: "");
	return true;
}

/* The tracer's answer to a verdict; false: it has died, and the ghost with it. */
static bool ask_tracer(struct source *s, const char *verdict)
{
	json_auto_t *m = NULL;

	return source_link_say(s->link, json_pack("{s:s}", "verdict", verdict), NULL, 0) == 0 &&
	       source_link_hear(s->link, &m, NULL, NULL) == 0;
}

static int release(struct source *s)
{
	FAULT_POINT("moved", s->control);
	session_move(&s->session, SESSION_DRAINED, NULL);
	source_reach_stop(s);
	session_report(&s->session);
	cor_page_server_free(s->server);
	s->server = NULL;
	ask_tracer(s, "moved");
	session_move(&s->session, SESSION_RELEASED, NULL);
	FAULT_POINT("released", s->control);
	if (s->control)
		control_send(s->control, CONTROL_RELEASED, NULL, NULL);
	source_await_huge(s);
	session_result(&s->session, 0, NULL);
	return 0;
}

/* The task is not to run at the destination, or waits for nothing there. It hears of that
 * once it can be reached. */
static void tell_dead(struct source *s, const struct cor_error *why)
{
	struct cor_error unused;
	uint64_t until = cor_now_ns() + s->args->config->timeouts.tell_s * UINT64_C(1000000000);
	int pid, r = s->control ? 1 : 0;

	while (r == 0 && cor_now_ns() < until) {
		r = source_join_again(s, &pid, &unused);
		if (r == 0)
			usleep(TELL_AGAIN_US);
	}
	if (s->control)
		control_send_abort(s->control, why);
}

static int lose(struct source *s, const struct cor_error *why, bool tell)
{
	session_move(&s->session, SESSION_LOST, NULL);
	session_result(&s->session, 3, why);
	if (tell)
		tell_dead(s, why);
	return 3;
}

static int finish(struct source *s, int r, struct cor_error *err)
{
	if (r == 0)
		return release(s);
	if (r == -EOWNERDEAD && s->tracer_died)
		return lose(s, err, true);
	if (!s->refused) {
		ask_tracer(s, "lost");
		return lose(s, err, s->resolved);
	}
	if (!ask_tracer(s, "refused")) {
		cor_fail(err, -EOWNERDEAD, "the process that held the frozen task has died");
		return lose(s, err, false);
	}
	session_move(&s->session, SESSION_ABORTED, NULL);
	session_result(&s->session, 1, err);
	/* whoever said so may have been wrong: then the task is not to run there as well */
	if (s->resolved)
		tell_dead(s, err);
	return 1;
}

static int go_on(struct source *s, const char *doubt, struct cor_error *err)
{
	int r = 0;

	if (doubt[0]) {
		cor_fail(err, -ENOTCONN, "%s", doubt);
		r = source_ask(s, err);
		if (r == 0)
			source_link_say(s->link, json_pack("{s:s}", "verdict", "joined"), NULL, 0);
	}
	if (r == 0) {
		if (s->session.state < SESSION_PAGING)
			session_move(&s->session, SESSION_PAGING, NULL);
		session_report(&s->session);
		r = source_page(s, err);
	}
	return r;
}

int source_serve(struct source *s, bool again)
{
	struct cor_error err = COR_ERROR_INIT;
	char doubt[COR_ERROR_TEXT];
	int r = 0;

	prctl(PR_SET_NAME, "cord-server");
	let_go_of_tracers(s);
	s->first_join = !again;
	state_process_set(&s->session.page->part, getpid());
	if (!again) {
		r = connect_lanes(s, &err);
		if (say_outcome(s, r, &err) < 0 || r < 0)
			return 1;
		r = take_objects(s, &err);
	}
	/* its threads read what the network says; libraries of fabrics want devices */
	if (r == 0 && !s->fast_demand && !s->fast_bulk)
		r = sandbox_serve(s->args->pid, &err);
	if (r == 0)
		r = start_server(s, &err);
	if (say_outcome(s, r, &err) < 0 || r < 0)
		return 1;
	if (!await_commit(s, doubt, sizeof(doubt)))
		return 1;
	return finish(s, go_on(s, doubt, &err), &err);
}
