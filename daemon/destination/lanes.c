/* The lanes that the source connects, until the pager has them. */
#include "daemon/destination/destination.h"

#include <errno.h>
#include <poll.h>

#include "daemon/control.h"
#include "libcor/base/cleanup.h"
#include "libcor/base/error.h"
#include "libcor/base/io.h"

#define LANES_TIMEOUT_NS ((uint64_t)ANSWER_TIMEOUT_MS * 1000000)

/* Will a lane be needed before the pager has it? */
static bool objects_to_fetch(const Cor__Task__Image *image)
{
	for (size_t i = 0; i < image->memory->n_objects; i++)
		if (image->memory->objects[i]->has_descriptor)
			return true;
	return false;
}

int destination_hand_lanes(struct destination *d, struct cor_error *err)
{
	int r = 0;

	if (d->demand)
		r = cor_pager_add_lane(d->pager, take_ptr(d->demand), COR_CONN_DEMAND, err);
	if (r == 0 && d->bulk)
		r = cor_pager_add_lane(d->pager, take_ptr(d->bulk), COR_CONN_BULK, err);
	if (r == 0 && d->fast_demand)
		r = cor_pager_add_lane(d->pager, take_ptr(d->fast_demand), COR_CONN_DEMAND, err);
	if (r == 0 && d->fast_bulk)
		r = cor_pager_add_lane(d->pager, take_ptr(d->fast_bulk), COR_CONN_BULK, err);
	if (r == 0 && d->one_sided)
		r = cor_pager_add_lane(d->pager, take_ptr(d->one_sided), COR_CONN_DEMAND, err);
	return r;
}

/* What the source says before its lanes have come. */
static int hear_of_lanes(struct destination *d, struct cor_error *err)
{
	struct control_message m;
	int r = control_receive(d->control, ANSWER_TIMEOUT_MS, &m, err);

	if (r < 0)
		return r;
	switch (m.type) {
	case CONTROL_TRANSPORT:
		r = destination_hear_transport(d, &m, err);
		break;
	case CONTROL_SLEEPERS:
	case CONTROL_IMAGE:
		/* lanes go by cord, which may take longer: this is for take_over() */
		d->early = m;
		return 0;
	default:
		return control_unexpected(&m, CONTROL_IMAGE, err);
	}
	control_message_done(&m);
	return r;
}

int destination_await_lanes(struct destination *d, struct cor_error *err)
{
	uint64_t until = cor_now_ns() + LANES_TIMEOUT_NS;

	while (!d->demand || !d->bulk) {
		struct pollfd p[] = {
			{ .fd = session_fd(&d->session), .events = POLLIN },
			{ .fd = d->control->in_fd, .events = d->early.body ? POLLRDHUP : POLLIN },
			{ .fd = destination_rdma_fd(&d->rdma), .events = POLLIN },
			{ .fd = d->doors.fd, .events = POLLIN },
			{ .fd = destination_rdma_fd(&d->reach), .events = POLLIN },
		};
		bool pending = !d->early.body && cor_stream_pending(d->control);
		int r = 0;

		if (cor_now_ns() > until)
			return cor_fail(err, -ETIMEDOUT, "the source's lanes did not come");
		if (session_fd(&d->session) < 0)
			return cor_fail(err, -ENOTCONN, "cord ended while lanes were due");
		if (poll(p, ARRAY_SIZE(p), pending ? 0 : 1000) < 0)
			continue;
		if (p[0].revents || p[3].revents)
			destination_hear_cord(d);
		if (d->lane_missed)
			return cor_fail(err, -EMFILE, "too many open files: a connection of the source "
					"cannot be taken");
		if (p[2].revents)
			destination_accept_rdma(d, &d->rdma);
		if (p[4].revents)
			destination_accept_rdma(d, &d->reach);
		if (p[1].revents && d->early.body)
			return cor_fail(err, -ENOTCONN, "the source hung up while lanes were due");
		if (p[1].revents || pending) {
			r = hear_of_lanes(d, err);
			until = cor_now_ns() + LANES_TIMEOUT_NS;
		}
		if (r < 0)
			return r;
	}
	/* ahead of the freeze where that can be */
	return objects_to_fetch(d->image) ? 0 : destination_hand_lanes(d, err);
}
