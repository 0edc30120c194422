/* Nothing is missing any more: the two sides agree that the ghost can go. */
#include "daemon/destination/destination.h"

#include <poll.h>

#include "daemon/control.h"
#include "daemon/fault.h"
#include "libcor/base/cleanup.h"
#include "libcor/base/io.h"

#define TURN_MS   100
#define ANSWER_MS 5000
#define REJOIN_NS (2 * UINT64_C(1000000000))

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

		destination_announce(d);
		if (d->control)
			lost_ns = cor_now_ns();
		else if (cor_now_ns() - lost_ns > REJOIN_NS)
			return;
		if (poll(p, ARRAY_SIZE(p), more ? 0 : TURN_MS) <= 0 && !more)
			continue;
		more |= p[0].revents != 0;
		if (more && control_receive(d->control, ANSWER_MS, &m, NULL) < 0) {
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

	destination_look(d);
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
		destination_tell_drained(d);
	FAULT_POINT("told", d->control);
	await_released(d);
	session_move(&d->session, SESSION_RELEASED, NULL);
	destination_huge(d);
	return r;
}
