/* The destination's side once the task runs: the pager's thread works, this one
 * reports, and in the end agrees with the source that its ghost can go. */
#include "daemon/session_destination.h"

#include <errno.h>
#include <poll.h>
#include <unistd.h>

#include "daemon/control.h"
#include "libcor/base/cleanup.h"
#include "libcor/base/error.h"

#define PROGRESS_MS 100

static void fill_progress(struct destination *d, Cor__Control__Progress *p)
{
	static __thread struct cor_paging_stats st;

	cor_pager_stats(d->pager, &st);
	cor__control__progress__init(p);
	p->pages_total = st.pages_total;
	p->pages_demand = st.pages_demand;
	p->pages_prefetched = st.pages_prefetched;
	p->pages_zero = st.pages_zero;
	p->pages_dropped = st.pages_dropped;
	p->pages_eager = st.pages_eager;
	p->faults = st.faults;
	p->bytes_wire = st.bytes_wire;
	p->drain_us = st.drain_ns / 1000;
	p->presence_known = st.presence_known;
	p->fault_p50_us = (double)cor_hist_percentile(&st.fault_ns, 0.50) / 1000;
	p->fault_p90_us = (double)cor_hist_percentile(&st.fault_ns, 0.90) / 1000;
	p->fault_p99_us = (double)cor_hist_percentile(&st.fault_ns, 0.99) / 1000;
	p->fault_max_us = (double)st.fault_ns.max / 1000;
}

static void report_progress(struct destination *d)
{
	Cor__Control__Progress p;

	fill_progress(d, &p);
	session_figures_progress(&d->session, &p);
	session_report(&d->session);
	if (d->control >= 0)
		control_send(d->control, CONTROL_PROGRESS, &p.base, NULL);
}

/* What the source says while we page: nothing, or that it gave up. */
static int hear_source(struct destination *d, struct cor_error *err)
{
	struct control_message m;
	int r = control_receive(d->control, ANSWER_TIMEOUT_MS, &m, err);

	if (r < 0) {
		/* the pager waits for lanes; without control there is no drain report */
		cor_closep(&d->control);
		d->control = -1;
		return 0;
	}
	if (m.type == CONTROL_ABORT)
		r = control_aborted(&m, err);
	control_message_done(&m);
	return r;
}

int destination_page(struct destination *d, struct cor_error *err)
{
	for (;;) {
		struct pollfd p[] = {
			{ .fd = cor_pager_event_fd(d->pager), .events = POLLIN },
			{ .fd = d->session.cord, .events = POLLIN },
			{ .fd = d->control, .events = POLLIN },
		};
		int n = poll(p, ARRAY_SIZE(p), PROGRESS_MS), r = 0;
		uint64_t event;

		if (n < 0 && errno != EINTR)
			return cor_fail_errno(err, "poll");
		if (p[0].revents && read(p[0].fd, &event, sizeof(event)) < 0 && errno != EAGAIN)
			return cor_fail_errno(err, "eventfd");
		if (p[1].revents)
			destination_hear_cord(d);
		if (p[2].revents)
			r = hear_source(d, err);
		if (r < 0)
			return r;
		switch (cor_pager_state(d->pager, err)) {
		case COR_PAGER_DRAINED:
		case COR_PAGER_TASK_GONE:
			return 0;
		case COR_PAGER_FAILED:
			return -EIO;
		default:
			if (n == 0)
				report_progress(d);
		}
	}
}

int destination_release(struct destination *d, struct cor_error *err)
{
	Cor__Control__Drained done = COR__CONTROL__DRAINED__INIT;
	Cor__Control__Progress p;
	struct control_message m;
	int r;

	fill_progress(d, &p);
	session_figures_progress(&d->session, &p);
	done.progress = &p;
	done.task_ended = cor_pager_state(d->pager, NULL) == COR_PAGER_TASK_GONE;
	session_move(&d->session, SESSION_DRAINED, NULL);
	/* first, so that the source does not take the lanes' end for a loss */
	if (d->control >= 0)
		control_send(d->control, CONTROL_DRAINED, &done.base, NULL);
	r = cor_pager_finish(d->pager, err);
	if (r < 0)
		return r;
	cor_pager_free(d->pager);
	d->pager = NULL;
	r = cor_rebuild_release(d->rebuild, err);
	d->rebuild = NULL;
	if (d->control >= 0 &&
	    control_expect(d->control, CONTROL_RELEASED, ANSWER_TIMEOUT_MS, &m, NULL) == 0)
		control_message_done(&m);
	session_move(&d->session, SESSION_RELEASED, NULL);
	return r;
}
