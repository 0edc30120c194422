/* The destination's side once the task runs: the pager's thread works, this one
 * reports, and in the end agrees with the source that its ghost can go. */
#include "daemon/destination/destination.h"

#include <errno.h>
#include <poll.h>
#include <unistd.h>

#include "daemon/control.h"
#include "daemon/fault.h"
#include "libcor/base/cleanup.h"
#include "libcor/base/error.h"
#include "libcor/base/io.h"
#include "libcor/paging/journal.h"

#define PROGRESS_MS        100
#define REJOIN_TIMEOUT_MS 5000
#define REJOIN_NS (2 * UINT64_C(1000000000))
/* Lanes that end with the drain are no loss. */
#define SETTLE_NS (500 * UINT64_C(1000000))

static void fill_progress(struct destination *d, Cor__Control__Progress *p)
{
	static __thread struct cor_paging_stats st;

	/* a pager that goes on for another counts on from here */
	if (d->pager) {
		cor_pager_stats(d->pager, &st);
		cor_journal_save(d->journal, &st);
	} else if (d->journal) {
		cor_journal_saved(d->journal, &st);
	}
	cor__control__progress__init(p);
	p->pages_total = st.pages_total;
	p->pages_demand = st.pages_demand;
	p->pages_prefetched = st.pages_prefetched;
	p->pages_zero = st.pages_zero;
	p->pages_dropped = st.pages_dropped;
	p->pages_eager = st.pages_eager;
	p->pages_corrupt = st.pages_corrupt;
	p->pages_packed = st.pages_packed;
	p->pages_one_sided = st.pages_one_sided;
	p->faults = st.faults;
	p->bytes_wire = st.bytes_wire;
	p->drain_us = st.drain_ns / 1000;
	p->presence_known = st.presence_known;
	p->fault_p50_us = (double)cor_hist_percentile(&st.fault_ns, 0.50) / 1000;
	p->fault_p90_us = (double)cor_hist_percentile(&st.fault_ns, 0.90) / 1000;
	p->fault_p99_us = (double)cor_hist_percentile(&st.fault_ns, 0.99) / 1000;
	p->fault_max_us = (double)st.fault_ns.max / 1000;
}

void destination_report(struct destination *d)
{
	session_figures_progress(&d->session, &d->last);
	session_report(&d->session);
	if (d->control)
		control_send(d->control, CONTROL_PROGRESS, &d->last.base, NULL);
}

/* What the source says while we page: nothing, or that it gave up. */
static int hear_source(struct destination *d, struct cor_error *err)
{
	struct control_message m;
	int r = control_receive(d->control, ANSWER_TIMEOUT_MS, &m, err);

	if (r < 0) {
		/* the source connects again; the pager does not need it */
		cor_stream_close(d->control);
		d->control = NULL;
		return 0;
	}
	if (m.type == CONTROL_ABORT)
		r = control_aborted(&m, err);
	control_message_done(&m);
	return r;
}

/* What cor status shows: does a lane lead to the source? */
static void show_reach(struct destination *d, enum session_state now)
{
	if (d->session.state == now)
		return;
	session_move(&d->session, now, NULL);
	session_report(&d->session);
}

/* Faults wait while there is no source, but maybe not for ever. */
static int check_reach(struct destination *d, struct cor_error *err)
{
	unsigned limit = d->args->config->timeouts.reconnect_s;
	uint64_t now = cor_now_ns();

	if (d->resolved)
		return cor_fail(err, -EHOSTDOWN, "somebody has said that the source is dead");
	if (cor_pager_lanes(d->pager, COR_CONN_DEMAND) || cor_pager_lanes(d->pager, COR_CONN_BULK)) {
		d->alone_since_ns = 0;
		show_reach(d, SESSION_PAGING);
		return 0;
	}
	if (!d->alone_since_ns)
		d->alone_since_ns = now;
	if (now - d->alone_since_ns > SETTLE_NS)
		show_reach(d, SESSION_DETACHED);
	if (!limit || now - d->alone_since_ns < limit * UINT64_C(1000000000))
		return 0;
	return cor_fail(err, -ETIMEDOUT, "the source was out of reach for %u s", limit);
}

int destination_page(struct destination *d, struct cor_error *err)
{
	for (;;) {
		struct pollfd p[] = {
			{ .fd = cor_pager_event_fd(d->pager), .events = POLLIN },
			{ .fd = session_fd(&d->session), .events = POLLIN },
			{ .fd = d->control ? d->control->in_fd : -1, .events = POLLIN },
			{ .fd = d->doors.fd, .events = POLLIN },
		};
		bool more = d->control && cor_stream_pending(d->control);
		int n = poll(p, ARRAY_SIZE(p), more ? 0 : PROGRESS_MS), r = 0;
		uint64_t event;

		if (n < 0 && errno != EINTR)
			return cor_fail_errno(err, "poll");
		if (p[0].revents && read(p[0].fd, &event, sizeof(event)) < 0 && errno != EAGAIN)
			return cor_fail_errno(err, "eventfd");
		/* before cord, which may have another connection for us */
		if (p[2].revents || more)
			r = hear_source(d, err);
		if (p[1].revents || p[3].revents || d->doors.n)
			destination_hear_cord(d);
		if (r == 0)
			r = check_reach(d, err);
		if (r < 0)
			return r;
		switch (cor_pager_state(d->pager, err)) {
		case COR_PAGER_DRAINED:
		case COR_PAGER_TASK_GONE:
			return 0;
		case COR_PAGER_FAILED:
			return -EIO;
		default:
			if (n > 0 || more)
				break;
			fill_progress(d, &d->last);
			destination_report(d);
		}
	}
}

/* ---- the source's lost connection --------------------------------------------------- */

static int tell_drained(struct destination *d)
{
	Cor__Control__Drained done = COR__CONTROL__DRAINED__INIT;

	done.progress = &d->last;
	done.task_ended = d->task_ended;
	done.huge = d->huge.n != 0;
	return control_send(d->control, CONTROL_DRAINED, &done.base, NULL);
}

static int answer_resume(struct destination *d)
{
	Cor__Control__Resume answer = COR__CONTROL__RESUME__INIT, *ask;
	struct control_message m;
	bool same;
	int r = control_expect(d->control, CONTROL_RESUME, REJOIN_TIMEOUT_MS, &m, NULL);

	if (r < 0)
		return r;
	ask = control_unpack(&m, &cor__control__resume__descriptor, NULL);
	control_message_done(&m);
	if (!ask)
		return -EPROTO;
	same = ask->epoch == d->epoch;
	cor__control__resume__free_unpacked(ask, NULL);
	if (!same)
		return -ESTALE;
	answer.epoch = d->epoch;
	answer.state = (char *)session_state_name(d->session.state);
	answer.pid = d->pid;
	r = control_send(d->control, CONTROL_RESUME, &answer.base, NULL);
	if (r == 0 && d->session.state >= SESSION_DRAINED)
		r = tell_drained(d);
	return r;
}

void destination_rejoin(struct destination *d, struct cor_stream *control)
{
	if (!session_committed(&d->session)) {
		d->superseded = true;
		cor_stream_close(control);
		return;
	}
	cor_stream_close(d->control);
	d->control = control;
	if (answer_resume(d) < 0) {
		cor_stream_close(d->control);
		d->control = NULL;
	}
}

/* ---- release ------------------------------------------------------------------------ */

/* The source may be out of reach just now. It is not waited for long: that the session
 * has drained it can learn from cord, later. */
static void await_released(struct destination *d)
{
	uint64_t until = cor_now_ns() + (uint64_t)ANSWER_TIMEOUT_MS * 1000000;
	uint64_t lost_ns = cor_now_ns();
	bool released = false;

	while (!released && cor_now_ns() < until) {
		struct pollfd p[] = {
			{ .fd = d->control ? d->control->in_fd : -1, .events = POLLIN },
			{ .fd = session_fd(&d->session), .events = POLLIN },
			{ .fd = d->doors.fd, .events = POLLIN },
		};
		bool more = d->control && cor_stream_pending(d->control);
		struct control_message m;

		if (d->control)
			lost_ns = cor_now_ns();
		else if (cor_now_ns() - lost_ns > REJOIN_NS)
			return;
		if (poll(p, ARRAY_SIZE(p), more ? 0 : PROGRESS_MS) <= 0 && !more)
			continue;
		more |= p[0].revents != 0;
		if (more && control_receive(d->control, REJOIN_TIMEOUT_MS, &m, NULL) < 0) {
			cor_stream_close(d->control);
			d->control = NULL;
		} else if (more) {
			released = m.type == CONTROL_RELEASED;
			control_message_done(&m);
		}
		if ((p[1].revents || p[2].revents) && !released)
			destination_hear_cord(d);
	}
}

int destination_release(struct destination *d, struct cor_error *err)
{
	int r;

	fill_progress(d, &d->last);
	session_figures_progress(&d->session, &d->last);
	if (d->pager) {
		d->task_ended = cor_pager_state(d->pager, NULL) == COR_PAGER_TASK_GONE;
		d->shared->task_ended = d->task_ended;
		session_move(&d->session, SESSION_DRAINED, NULL);
	}
	session_report(&d->session);
	FAULT_POINT("drained", d->control);
	destination_huge_begin(d);
	/* who is told that it is over finds nothing of us in the task's way */
	r = d->pager ? cor_pager_finish(d->pager, err) : 0;
	if (r < 0)
		return r;
	cor_pager_free(d->pager);
	d->pager = NULL;
	r = cor_rebuild_release(d->rebuild, err);
	d->rebuild = NULL;
	FAULT_POINT("finished", d->control);
	if (d->control)
		tell_drained(d);
	FAULT_POINT("told", d->control);
	await_released(d);
	session_move(&d->session, SESSION_RELEASED, NULL);
	destination_huge(d);
	return r;
}
