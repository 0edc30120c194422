/* The source's side from COMMIT on, but for the ghost itself: finding out whether COMMIT
 * arrived, then serving pages until the destination has them all. Connections are lost and
 * made again. */
#include "daemon/source/source.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "daemon/control.h"
#include "daemon/fault.h"
#include "libcor/base/cleanup.h"
#include "libcor/base/error.h"
#include "libcor/base/io.h"

#define RECONNECT_MS     500
#define RECONNECT_NS     (RECONNECT_MS * UINT64_C(1000000))
/* A destination that has all closes its lanes, then says so: that is no loss. */
#define SETTLE_MS        100
#define SETTLE_NS        (SETTLE_MS * UINT64_C(1000000))
/* To let go of much memory takes it a while in between. */
#define LOST_NS          UINT64_C(1000000000)
#define AGAIN_TIMEOUT_MS 2000   /* connecting anew, which is tried often */
#define ANSWER_AGAIN_MS  5000

static int connect_again(const struct source *s, enum cor_connection_kind kind,
			 struct cor_stream **out, struct cor_error *err)
{
	return source_connect(s, kind, s->args->session, s->args->secret,
			      COR_MIN(CONNECT_TIMEOUT_MS, AGAIN_TIMEOUT_MS), out, err);
}

static void drop_control(struct source *s)
{
	cor_stream_close(s->control);
	s->control = NULL;
}

/* ---- joining the session again ------------------------------------------------------ */

static int exchange_resume(struct source *s, struct cor_stream *c, int *pid,
			   struct cor_error *err)
{
	Cor__Control__Resume ask = COR__CONTROL__RESUME__INIT, *answer;
	int r;

	ask.epoch = s->args->epoch;
	ask.state = (char *)session_state_name(s->session.state);
	r = control_send(c, CONTROL_RESUME, &ask.base, err);
	if (r == 0)
		r = control_expect_message(c, CONTROL_RESUME, ANSWER_AGAIN_MS,
					   &cor__control__resume__descriptor, &answer, err);
	if (r < 0)
		return r;
	r = answer->epoch == s->args->epoch ? 0 : cor_fail(err, -ESTALE, "the destination is at another epoch");
	*pid = answer->pid;
	cor__control__resume__free_unpacked(answer, NULL);
	return r;
}

/* One attempt. 1: joined, the task runs there as *pid. 0: not now, or nobody knows.
 * Else the destination's last word: -ECANCELED (it gave up without COMMIT), -EALREADY
 * (it has every page), -ENOTRECOVERABLE (the task is lost); or its cord's, -EOWNERDEAD:
 * the worker died, which says nothing of the task. Nothing on this side gives these
 * errors. */
int source_join_again(struct source *s, int *pid, struct cor_error *err)
{
	_cleanup_stream_ struct cor_stream *c = NULL;
	int r = connect_again(s, COR_CONN_CONTROL, &c, err);

	if (r == -ENOTRECOVERABLE)
		return cor_fail(err, r, "%s has lost the task", s->args->dest);
	if (r == -EOWNERDEAD)
		return cor_fail(err, r, "the worker of %s has died", s->args->dest);
	if (r == -ECANCELED || r == -EALREADY)
		return r;
	if (r < 0 || exchange_resume(s, c, pid, err) < 0)
		return 0;
	drop_control(s);
	s->control = take_ptr(c);
	s->first_join = false;
	return 1;
}

/* The tracer says nothing unasked: readable means that it has ended. */
static int tracer_ended(struct source *s, struct cor_error *err)
{
	s->tracer_died = true;
	return cor_fail(err, -EOWNERDEAD, "the process that held the frozen task has died");
}

/* Until the next attempt; cord may cancel meanwhile, which is too late. */
static int pause_attempts(struct source *s, struct cor_error *err)
{
	s->mend_ns = cor_now_ns() + RECONNECT_NS;
	while (cor_now_ns() < s->mend_ns) {
		struct pollfd p[] = {
			{ .fd = session_fd(&s->session), .events = POLLIN },
			{ .fd = s->link, .events = POLLIN },
		};

		if (poll(p, ARRAY_SIZE(p), (int)((s->mend_ns - cor_now_ns()) / 1000000 + 1)) <= 0)
			continue;
		if (p[1].revents)
			return tracer_ended(s, err);
		source_cancelled(s, NULL);
	}
	return 0;
}

static void set_us(struct source *s, const char *key, uint64_t from_ns, uint64_t to_ns)
{
	json_object_set_new(s->session.figures, key,
			    json_integer((json_int_t)((to_ns - from_ns) / 1000)));
}

/* ---- commit --------------------------------------------------------------------------- */

static void joined(struct source *s, int pid)
{
	json_object_del(s->session.figures, "doubt");
	set_us(s, "freeze_us", s->freeze_from_ns, cor_now_ns());
	if (pid)
		json_object_set_new(s->session.figures, "destination_pid", json_integer(pid));
}

/* COMMIT may have arrived or not: only the destination knows. As long as it does not
 * say, the task stays as it is, here. */
int source_ask(struct source *s, struct cor_error *err)
{
	struct cor_error why = COR_ERROR_INIT;
	int pid = 0, r;

	session_move(&s->session, SESSION_IN_DOUBT, NULL);
	json_object_set_new(s->session.figures, "doubt", json_string(err->text));
	session_report(&s->session);
	for (;;) {
		drop_control(s);
		r = source_join_again(s, &pid, &why);
		switch (r) {
		case -EALREADY:
			s->moved = true;
			/* fall through */
		case 1:
			joined(s, pid);
			return 0;
		case -ECANCELED:
			s->refused = true;
			return cor_fail(err, r, "%s has given up: the commit did not arrive",
					s->args->dest);
		case -ENOTRECOVERABLE:
			*err = why;
			return r;
		default:
			r = pause_attempts(s, err);
			if (r < 0)
				return r;
			s->refused = s->resolved;
			if (s->resolved)
				return cor_fail(err, -EHOSTDOWN, "somebody has said that %s is dead",
						s->args->dest);
		}
	}
}

static int await_resumed(struct source *s, int *pid, struct cor_error *err)
{
	Cor__Control__Resumed *resumed;
	int r;

	control_spin(s->control);
	r = control_expect_message(s->control, CONTROL_RESUMED, -1,
				   &cor__control__resumed__descriptor, &resumed, err);
	if (r < 0)
		return r;
	*pid = resumed->pid;
	cor__control__resumed__free_unpacked(resumed, NULL);
	return 0;
}

void source_bury(struct source *s)
{
	if (!s->parked)
		return;
	s->parked = false;
	source_home_passed(s);
	cor_files_bury(s->args->pid, s->files);
	source_network_done(s);
	source_pumps_left(&s->pumps, s->tracee, s->files);
	source_standin_left(&s->standin, s->image);
}

/* From the first stopped thread to the answer that the task runs over there: an
 * upper bound of the freeze, by one trip of that answer. */
void source_commit(struct source *s, char *doubt, size_t size)
{
	Cor__Control__Commit c = COR__CONTROL__COMMIT__INIT;
	struct cor_error err = COR_ERROR_INIT;
	int pid = 0, r;

	/* the point of no return: from here on this side never thaws by itself */
	session_move(&s->session, SESSION_COMMIT, NULL);
	c.epoch = s->args->epoch;
	source_pumps_commit(&s->pumps);
	FAULT_POINT("commit", s->control);
	r = control_send(s->control, CONTROL_COMMIT, &c.base, &err);
	FAULT_POINT("commit-sent", s->control);
	if (r == 0)
		r = await_resumed(s, &pid, &err);
	set_us(s, "freeze_us", s->freeze_from_ns, cor_now_ns());
	set_us(s, "capture_us", s->freeze_from_ns, s->captured_ns);
	set_us(s, "rebuild_us", s->captured_ns, s->ready_ns);
	json_object_set_new(s->session.figures, "asleep",
			    json_integer((json_int_t)cor_sleepers_taken(s->image)));
	session_hurry(false);
	snprintf(doubt, size, "%s", r < 0 ? err.text : "");
	if (r < 0)
		return;
	FAULT_POINT("resumed", s->control);
	source_bury(s);
	json_object_set_new(s->session.figures, "destination_pid", json_integer(pid));
	session_move(&s->session, SESSION_PAGING, NULL);
	/* who waits for this is told at once */
	session_report(&s->session);
}

/* ---- paging ------------------------------------------------------------------------- */

static int connect_lane_again(struct source *s, enum cor_connection_kind kind)
{
	struct cor_stream *lane;
	int r = connect_again(s, kind, &lane, NULL);

	return r < 0 ? r : cor_page_server_add_lane(s->server, lane, kind, NULL);
}

static bool whole(struct source *s)
{
	struct cor_page_server_stats st;

	cor_page_server_stats(s->server, &st);
	return s->control && st.lanes_demand && st.lanes_bulk &&
	       (st.lanes_fast || strcmp(s->transport, "tcp") == 0);
}

/* Lanes of a better transport are not made again: what carries the task is what has
 * always been there. */
static void note_lost_transport(struct source *s)
{
	struct cor_page_server_stats st;

	if (strcmp(s->transport, "tcp") == 0 || cor_now_ns() - s->lost_ns < LOST_NS)
		return;
	cor_page_server_stats(s->server, &st);
	if (st.lanes_fast)
		return;
	session_warn(&s->session, "the lanes of the transport %s were lost: the pages come over tcp",
		     s->transport);
	source_transport_set(s, "tcp");
	session_report(&s->session);
}

/* What cor status shows: are all connections there? */
static void show_reach(struct source *s)
{
	enum session_state now = whole(s) ? SESSION_PAGING : SESSION_DETACHED;

	if (s->session.state == now)
		return;
	session_move(&s->session, now, NULL);
	session_report(&s->session);
}

/* What fails is tried again later; only the destination's own word that the task is lost is
 * an error. */
static int join(struct source *s, struct cor_error *err)
{
	int pid, r;

	s->mend_ns = cor_now_ns() + RECONNECT_NS;
	r = source_join_again(s, &pid, err);
	s->moved = r == -EALREADY;
	/* nobody takes over from a worker that died: its task waits for pages for ever */
	return r == -ENOTRECOVERABLE || r == -EOWNERDEAD ? r : 0;
}

/* Replaces what was lost, the lanes first: faults wait for them. */
static int mend(struct source *s, struct cor_error *err)
{
	struct cor_page_server_stats st;
	int r = 0;

	s->mend_ns = cor_now_ns() + RECONNECT_NS;
	/* without a connection it may be that all is drained, which another one will tell */
	if (s->control)
		note_lost_transport(s);
	cor_page_server_stats(s->server, &st);
	if (!st.lanes_demand)
		r = connect_lane_again(s, COR_CONN_DEMAND);
	if (r == 0 && !st.lanes_bulk)
		connect_lane_again(s, COR_CONN_BULK);
	return s->control ? 0 : join(s, err);
}

/* One message of the destination. */
static int paging_message(struct source *s, const struct control_message *m)
{
	Cor__Control__Progress *p;
	Cor__Control__Drained *d;
	Cor__Control__Huge *e;

	switch (m->type) {
	case CONTROL_PROGRESS:
		p = control_unpack(m, &cor__control__progress__descriptor, NULL);
		if (!p)
			return -EPROTO;
		session_figures_progress(&s->session, p);
		source_reach_figures(s);
		cor__control__progress__free_unpacked(p, NULL);
		session_report(&s->session);
		return 0;
	case CONTROL_DRAINED:
		d = control_unpack(m, &cor__control__drained__descriptor, NULL);
		if (!d)
			return -EPROTO;
		if (d->progress)
			session_figures_progress(&s->session, d->progress);
		if (d->task_ended)
			json_object_set_new(s->session.figures, "task_ended", json_true());
		s->huge_follow = d->huge;
		cor__control__drained__free_unpacked(d, NULL);
		s->moved = true;
		return 0;
	case CONTROL_HUGE:
		e = control_unpack(m, &cor__control__huge__descriptor, NULL);
		if (!e)
			return -EPROTO;
		if (e->progress)
			session_figures_progress(&s->session, e->progress);
		cor__control__huge__free_unpacked(e, NULL);
		s->huge_follow = false;
		return 0;
	case CONTROL_RESUMED:   /* was on its way when we asked */
		return 0;
	default:
		return -EPROTO;
	}
}

/* A connection that ends, or makes no sense, is replaced. */
static int hear_destination(struct source *s, struct cor_error *err)
{
	struct control_message m;
	int r = control_receive(s->control, ANSWER_AGAIN_MS, &m, NULL);

	if (r == 0 && m.type == CONTROL_ABORT) {
		r = control_aborted(&m, err);
		control_message_done(&m);
		return r;
	}
	if (r == 0) {
		r = paging_message(s, &m);
		control_message_done(&m);
	}
	if (r < 0)
		drop_control(s);
	return 0;
}

/* A connection has just ended. Perhaps all is drained, and the destination about to say so:
 * what is lost is not replaced at once. */
static void settle(struct source *s)
{
	s->mend_ns = COR_MAX(s->mend_ns, cor_now_ns() + SETTLE_NS);
}

/* Who serves from the beginning has lanes, of which one may have ended because all is drained;
 * who goes on for another that was killed has none. */
static int begin(struct source *s, struct cor_error *err)
{
	int r;

	if (s->control || s->moved)
		return 0;
	if (!s->first_join)
		return mend(s, err);
	r = join(s, err);
	if (s->control)
		s->mend_ns = 0;
	return r;
}

int source_page(struct source *s, struct cor_error *err)
{
	int r = begin(s, err);
	bool was_whole = true;

	while (r == 0 && !s->moved) {
		struct pollfd p[] = {
			{ .fd = s->control ? s->control->in_fd : -1, .events = POLLIN },
			{ .fd = session_fd(&s->session), .events = POLLIN },
			{ .fd = cor_page_server_event_fd(s->server), .events = POLLIN },
			{ .fd = s->link, .events = POLLIN },
		};
		bool more = s->control && cor_stream_pending(s->control), is_whole;
		uint64_t event;

		if (poll(p, ARRAY_SIZE(p), more ? 0 : whole(s) ? -1 : SETTLE_MS) < 0 && errno != EINTR)
			return cor_fail_errno(err, "poll");
		if (p[3].revents)
			return tracer_ended(s, err);
		if (p[2].revents)
			settle(s);
		if (p[2].revents && read(p[2].fd, &event, sizeof(event)) < 0 && errno != EAGAIN)
			return cor_fail_errno(err, "eventfd");
		if (p[1].revents)
			source_cancelled(s, NULL);     /* too late; cord says so itself */
		if (s->resolved)
			return cor_fail(err, -EHOSTDOWN, "somebody has said that %s is dead, and so is "
					"the task", s->args->dest);
		if (p[0].revents || more)
			r = hear_destination(s, err);
		/* a lane may end at any moment, also behind the poll that was to tell */
		is_whole = whole(s);
		if (was_whole && !is_whole) {
			s->lost_ns = cor_now_ns();
			settle(s);
		}
		was_whole = is_whole;
		if (r == 0 && !s->moved && !is_whole && cor_now_ns() >= s->mend_ns)
			r = mend(s, err);
		else if (!is_whole)
			continue;
		if (r == 0 && !s->moved)
			show_reach(s);
	}
	return r;
}

/* Only figures come yet: without the connection they are not had. */
void source_await_huge(struct source *s)
{
	while (s->huge_follow && s->control) {
		struct pollfd p = { .fd = s->control->in_fd, .events = POLLIN };

		if (!cor_stream_pending(s->control) && poll(&p, 1, CONNECT_TIMEOUT_MS) == 0)
			return;
		if (hear_destination(s, NULL) < 0)
			return;
	}
}
