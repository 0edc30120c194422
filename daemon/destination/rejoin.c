/* A source that has lost its connection comes with another one. */
#include "daemon/destination/destination.h"

#include <errno.h>

#include "daemon/control.h"

#define REJOIN_TIMEOUT_MS 5000

int destination_tell_drained(struct destination *d)
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
	bool same;
	int r = control_expect_message(d->control, CONTROL_RESUME, REJOIN_TIMEOUT_MS,
				       &cor__control__resume__descriptor, &ask, NULL);

	if (r < 0)
		return r;
	same = ask->epoch == d->epoch;
	cor__control__resume__free_unpacked(ask, NULL);
	if (!same)
		return -ESTALE;
	answer.epoch = d->epoch;
	answer.state = (char *)session_state_name(d->session.state);
	answer.pid = d->pid;
	r = control_send(d->control, CONTROL_RESUME, &answer.base, NULL);
	if (r == 0 && d->session.state >= SESSION_DRAINED)
		r = destination_tell_drained(d);
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
