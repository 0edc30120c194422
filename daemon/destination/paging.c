/* The destination's side once the task runs: the pager's thread works, this one
 * reports. */
#include "daemon/destination/destination.h"

#include <errno.h>
#include <poll.h>
#include <unistd.h>

#include "daemon/control.h"
#include "libcor/base/cleanup.h"
#include "libcor/base/error.h"
#include "libcor/base/io.h"

#define PROGRESS_MS        100
/* Lanes that end with the drain are no loss. */
#define SETTLE_NS (500 * UINT64_C(1000000))

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

		destination_announce(d);
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
			destination_look(d);
			destination_report(d);
		}
	}
}
