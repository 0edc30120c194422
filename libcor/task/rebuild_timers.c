/* Interval timers and POSIX timers, which keep their ids (timer_create(2)). */
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>

#include "libcor/base/compat.h"
#include "libcor/base/error.h"
#include "libcor/task/rebuild_private.h"

#define NS 1000000000u
#define MOST_TRIES 100000       /* of timers made and deleted on the way to an id */

/* The kernel's struct sigevent, without the C library's callback. */
struct event {
	uint64_t value;
	int32_t  signo;
	int32_t  notify;
	int32_t  tid;
	int32_t  pad[11];
};
_Static_assert(sizeof(struct event) == 64, "a sigevent has 64 bytes");

static int add_itimers(struct cor_rebuild *rb, const Cor__Task__Image *image,
		       struct cor_error *err)
{
	int r = 0;

	for (size_t i = 0; i < image->n_itimers && i < 3 && r >= 0; i++) {
		const Cor__Task__IntervalTimer *t = image->itimers[i];
		const struct itimerval v = {
			{ (time_t)(t->interval_us / 1000000), (suseconds_t)(t->interval_us % 1000000) },
			{ (time_t)(t->value_us / 1000000), (suseconds_t)(t->value_us % 1000000) },
		};
		uint64_t at;

		if (!t->value_us)
			continue;
		r = cor_batch_data(rb->batch, &v, sizeof(v), &at, err);
		if (r == 0)
			r = cor_batch_add(rb->batch, COR_BATCH_OK, SYS_setitimer, COR_ARGS(i, at), err,
					  "set interval timer %zu", i);
	}
	return r < 0 ? r : 0;
}

static int add_settime(struct cor_rebuild *rb, const Cor__Task__PosixTimer *t,
		       struct cor_error *err)
{
	const struct itimerspec v = {
		{ (time_t)(t->interval_ns / NS), (long)(t->interval_ns % NS) },
		{ (time_t)(t->remaining_ns / NS), (long)(t->remaining_ns % NS) },
	};
	uint64_t at;
	int r;

	if (!t->remaining_ns)
		return 0;
	r = cor_batch_data(rb->batch, &v, sizeof(v), &at, err);
	if (r == 0)
		r = cor_batch_add(rb->batch, COR_BATCH_OK, SYS_timer_settime,
				  COR_ARGS((uint64_t)t->id, 0, at), err, "start timer %d", t->id);
	return r < 0 ? r : 0;
}

/* The event and the place of the id in the room. */
static int put_event(struct cor_rebuild *rb, const Cor__Task__PosixTimer *t, uint64_t *event,
		     uint64_t *id, struct cor_error *err)
{
	const struct event e = { .value = t->value, .signo = t->signo, .notify = t->notify,
				 .tid = t->tid };
	const uint64_t wanted = (uint32_t)t->id;
	int r = cor_batch_reserve(rb->batch, 2, sizeof(e) + 128, err);

	if (r == 0)
		r = cor_batch_data(rb->batch, &e, sizeof(e), event, err);
	return r < 0 ? r : cor_batch_data(rb->batch, &wanted, sizeof(wanted), id, err);
}

static int add_with_id(struct cor_rebuild *rb, const Cor__Task__PosixTimer *t,
		       struct cor_error *err)
{
	uint64_t event, id;
	int r = put_event(rb, t, &event, &id, err);

	if (r == 0)
		r = cor_batch_add(rb->batch, COR_BATCH_OK, SYS_timer_create,
				  COR_ARGS((uint64_t)(int64_t)t->clock, event, id), err,
				  "make timer %d", t->id);
	return r < 0 ? r : add_settime(rb, t, err);
}

/* Before 6.15 ids are handed out ascending: timers are made until it is the right one. */
static int make_until(struct cor_rebuild *rb, const Cor__Task__PosixTimer *t,
		      struct cor_error *err)
{
	struct { struct event e; int32_t id; } *room = cor_runner_room(rb->runner);
	int64_t ret = 0;
	int r;

	/* the batch uses the beginning of the room for its calls */
	room = (void *)((char *)room + cor_runner_size(rb->runner) - 4096);
	for (int tries = 0; tries < MOST_TRIES; tries++) {
		memset(room, 0, sizeof(*room));
		room->e = (struct event){ .value = t->value, .signo = t->signo,
					  .notify = t->notify, .tid = t->tid };
		r = cor_batch_call(rb->batch, SYS_timer_create,
				   COR_ARGS((uint64_t)(int64_t)t->clock,
					    cor_runner_remote(rb->runner, &room->e),
					    cor_runner_remote(rb->runner, &room->id)), &ret, err);
		if (r < 0)
			return r;
		if (ret < 0)
			return cor_fail_code(err, (int)ret, "cannot make timer %d", t->id);
		if (room->id == t->id)
			return add_settime(rb, t, err);
		r = cor_batch_call(rb->batch, SYS_timer_delete, COR_ARGS((uint64_t)room->id), &ret, err);
		if (r < 0)
			return r;
		if (room->id > t->id)
			break;
	}
	return cor_fail(err, -EBUSY, "cannot make a timer with id %d", t->id);
}

int cor_rebuild_timers(struct cor_rebuild *rb, const Cor__Task__Image *image,
		       struct cor_error *err)
{
	int64_t ids = -1;
	int r = 0;

	if (image->n_timers)
		r = cor_batch_call(rb->batch, SYS_prctl,
				   COR_ARGS(PR_TIMER_CREATE_RESTORE_IDS, PR_TIMER_CREATE_RESTORE_IDS_ON),
				   &ids, err);
	for (size_t i = 0; i < image->n_timers && r == 0; i++)
		r = ids == 0 ? add_with_id(rb, image->timers[i], err) :
			       make_until(rb, image->timers[i], err);
	if (r == 0 && ids == 0)
		r = cor_batch_add(rb->batch, COR_BATCH_OK, SYS_prctl,
				  COR_ARGS(PR_TIMER_CREATE_RESTORE_IDS, PR_TIMER_CREATE_RESTORE_IDS_OFF),
				  err, "number timers as usual again");
	return r < 0 ? r : add_itimers(rb, image, err);
}
