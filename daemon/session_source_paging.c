/* The source's side from COMMIT on: the ghost's pages are served until the
 * destination has them all. */
#include "daemon/session_source.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/control.h"
#include "libcor/base/cleanup.h"
#include "libcor/base/error.h"

#define RECONNECT_MS 500

/* Replaces lanes that were lost; failing is no matter, it is tried again. */
static void reconnect(struct source *s)
{
	struct cor_page_server_stats st;

	cor_page_server_stats(s->server, &st);
	while (st.lanes < 2) {
		/* the server cannot tell which kind is missing; a pager that has both
		 * puts up with one more of either */
		enum cor_connection_kind kind = st.lanes ? COR_CONN_BULK : COR_CONN_DEMAND;
		int fd = -1;

		if (cor_lane_connect(s->args->dest, kind, 0, s->args->session, s->args->secret,
				     CONNECT_TIMEOUT_MS, &fd, NULL) < 0 ||
		    cor_page_server_add_lane(s->server, fd, kind, NULL) < 0)
			return;
		st.lanes++;
	}
}

/* One message of the destination; 1 when the drain is over. */
static int paging_message(struct source *s, const struct control_message *m, struct cor_error *err)
{
	Cor__Control__Progress *p;
	Cor__Control__Drained *d;

	switch (m->type) {
	case CONTROL_PROGRESS:
		p = control_unpack(m, &cor__control__progress__descriptor, err);
		if (!p)
			return -EPROTO;
		session_figures_progress(&s->session, p);
		cor__control__progress__free_unpacked(p, NULL);
		session_report(&s->session);
		return 0;
	case CONTROL_DRAINED:
		d = control_unpack(m, &cor__control__drained__descriptor, err);
		if (!d)
			return -EPROTO;
		if (d->progress)
			session_figures_progress(&s->session, d->progress);
		if (d->task_ended)
			json_object_set_new(s->session.figures, "task_ended", json_true());
		cor__control__drained__free_unpacked(d, NULL);
		return 1;
	case CONTROL_ABORT:
		return control_aborted(m, err);
	default:
		return cor_fail(err, -EPROTO, "the peer sent %s while paging",
				control_type_name(m->type));
	}
}

int source_page(struct source *s, struct cor_error *err)
{
	int r = 0;

	while (r == 0) {
		struct pollfd p[] = {
			{ .fd = s->control, .events = POLLIN },
			{ .fd = s->session.cord, .events = POLLIN },
			{ .fd = cor_page_server_event_fd(s->server), .events = POLLIN },
		};
		struct cor_page_server_stats st;
		struct control_message m;
		uint64_t event;
		int n;

		cor_page_server_stats(s->server, &st);
		n = poll(p, ARRAY_SIZE(p), st.lanes < 2 ? RECONNECT_MS : -1);
		if (n < 0 && errno != EINTR)
			return cor_fail_errno(err, "poll");
		if (p[2].revents && read(p[2].fd, &event, sizeof(event)) < 0 && errno != EAGAIN)
			return cor_fail_errno(err, "eventfd");
		if (n == 0)
			reconnect(s);
		if (p[1].revents)
			source_cancelled(s, NULL);     /* too late; cord says so itself */
		if (!p[0].revents)
			continue;
		r = control_receive(s->control, ANSWER_TIMEOUT_MS, &m, err);
		if (r < 0)
			return r;
		r = paging_message(s, &m, err);
		control_message_done(&m);
	}
	return r < 0 ? r : 0;
}

/* Named shared memory has moved along: its name here would be a stale copy. */
static void remove_moved_objects(struct source *s)
{
	const Cor__Task__Memory *m = s->image->memory;

	for (size_t i = 0; i < m->n_objects; i++) {
		const Cor__Task__Object *o = m->objects[i];
		char path[PATH_MAX];
		struct stat st;

		if (o->kind != COR__TASK__OBJECT_KIND__OBJECT_TMPFS || o->unlinked)
			continue;
		snprintf(path, sizeof(path), "/proc/%d/root%s", s->args->pid, o->name);
		if (stat(path, &st) == 0 && st.st_ino == o->ino && st.st_dev == o->dev)
			unlink(path);
	}
}

void source_release(struct source *s)
{
	remove_moved_objects(s);
	session_move(&s->session, SESSION_DRAINED, NULL);
	session_report(&s->session);
	cor_page_server_free(s->server);
	s->server = NULL;
	cor_tracee_kill(s->tracee);
	s->tracee = NULL;
	session_move(&s->session, SESSION_RELEASED, NULL);
	control_send(s->control, CONTROL_RELEASED, NULL, NULL);
}
