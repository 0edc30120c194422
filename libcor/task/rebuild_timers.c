/* Interval timers and POSIX timers, which keep their ids (timer_create(2)). */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>

#include "libcor/base/cleanup.h"
#include "libcor/base/compat.h"
#include "libcor/base/error.h"
#include "libcor/task/rebuild_private.h"

#define NS 1000000000u
#define MOST_IDS      100000    /* as many timers are made and deleted on the way to an id */
#define SPENT_AT_ONCE 32

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

/* Where its id is, in the tracee. */
static int add_create(struct cor_rebuild *rb, const Cor__Task__PosixTimer *t, uint64_t *id,
		      struct cor_error *err)
{
	uint64_t event;
	int r = put_event(rb, t, &event, id, err);

	if (r == 0)
		r = cor_batch_add(rb->batch, COR_BATCH_OK, SYS_timer_create,
				  COR_ARGS((uint64_t)(int64_t)t->clock, event, *id), err,
				  "make timer %d", t->id);
	return r < 0 ? r : 0;
}

/* ---- before 6.15 --------------------------------------------------------------
 *
 * Ids are handed out ascending, from 0 in a process that never had a timer. So timers
 * are made in the order of their ids, and between them as many as are missing are made
 * and deleted. */

static int by_id(const void *a, const void *b)
{
	const Cor__Task__PosixTimer *const *x = a, *const *y = b;

	return ((*x)->id > (*y)->id) - ((*x)->id < (*y)->id);
}

/* Uses up n ids from first on. */
static int spend_ids(struct cor_rebuild *rb, int32_t first, int32_t n, struct cor_error *err)
{
	const struct event none = { .notify = SIGEV_NONE };

	while (n > 0) {
		int32_t end = first + COR_MIN(n, (int32_t)SPENT_AT_ONCE);
		uint64_t event, id;
		int r = cor_batch_reserve(rb->batch, 2 * SPENT_AT_ONCE, 2 * sizeof(none), err);

		if (r == 0)
			r = cor_batch_data(rb->batch, &none, sizeof(none), &event, err);
		if (r == 0)
			r = cor_batch_data(rb->batch, &(uint64_t){ 0 }, sizeof(uint64_t), &id, err);
		for (n -= end - first; r >= 0 && first < end; first++) {
			r = cor_batch_add(rb->batch, COR_BATCH_OK, SYS_timer_create,
					  COR_ARGS(CLOCK_MONOTONIC, event, id), err,
					  "make a timer on the way to another id");
			if (r >= 0)
				r = cor_batch_add(rb->batch, COR_BATCH_OK, SYS_timer_delete,
						  COR_ARGS((uint64_t)first), err,
						  "delete timer %d again", first);
		}
		if (r < 0)
			return r;
	}
	return 0;
}

static int32_t read_id(struct cor_rebuild *rb, uint64_t remote)
{
	const char *room = cor_runner_room(rb->runner);

	return *(const int32_t *)(room + (remote - cor_runner_remote(rb->runner, room)));
}

/* next is the id that the kernel will give. */
static int make_in_turn(struct cor_rebuild *rb, const Cor__Task__PosixTimer *t, int32_t *next,
			struct cor_error *err)
{
	uint64_t id;
	int r;

	if (t->id < *next)
		return cor_fail(err, -EPROTO, "timer %d is there twice", t->id);
	if (t->id >= MOST_IDS)
		return cor_fail(err, -EOPNOTSUPP, "cannot make a timer with id %d: this kernel hands "
				"out ids in their order", t->id);
	r = spend_ids(rb, *next, t->id - *next, err);
	if (r == 0)
		r = add_create(rb, t, &id, err);
	if (r == 0)
		r = cor_batch_flush(rb->batch, err);
	if (r < 0)
		return r;
	if (read_id(rb, id) != t->id)
		return cor_fail(err, -EBUSY, "timer %d has become timer %d", t->id, read_id(rb, id));
	*next = t->id + 1;
	return add_settime(rb, t, err);
}

static int add_in_turn(struct cor_rebuild *rb, const Cor__Task__Image *image,
		       struct cor_error *err)
{
	size_t n = image->n_timers;
	_cleanup_free_ const Cor__Task__PosixTimer **sorted = calloc(n, sizeof(*sorted));
	int32_t next = 0;
	int r = 0;

	if (!sorted)
		return cor_fail(err, -ENOMEM, "out of memory");
	for (size_t i = 0; i < n; i++)
		sorted[i] = image->timers[i];
	qsort(sorted, n, sizeof(*sorted), by_id);
	for (size_t i = 0; i < n && r == 0; i++)
		r = make_in_turn(rb, sorted[i], &next, err);
	return r;
}

/* ---- since 6.15 ---------------------------------------------------------------- */

static int add_by_id(struct cor_rebuild *rb, const Cor__Task__Image *image, struct cor_error *err)
{
	int r = 0;

	for (size_t i = 0; i < image->n_timers && r == 0; i++) {
		uint64_t id;

		r = add_create(rb, image->timers[i], &id, err);
		if (r == 0)
			r = add_settime(rb, image->timers[i], err);
	}
	if (r == 0)
		r = cor_batch_add(rb->batch, COR_BATCH_OK, SYS_prctl,
				  COR_ARGS(PR_TIMER_CREATE_RESTORE_IDS, PR_TIMER_CREATE_RESTORE_IDS_OFF),
				  err, "number timers as usual again");
	return r < 0 ? r : 0;
}

int cor_rebuild_timers(struct cor_rebuild *rb, const Cor__Task__Image *image,
		       struct cor_error *err)
{
	int64_t by_id = -1;
	int r = 0;

	if (image->n_timers && !rb->timers_in_turn)
		r = cor_batch_call(rb->batch, SYS_prctl,
				   COR_ARGS(PR_TIMER_CREATE_RESTORE_IDS, PR_TIMER_CREATE_RESTORE_IDS_ON),
				   &by_id, err);
	if (r == 0 && image->n_timers)
		r = by_id == 0 ? add_by_id(rb, image, err) : add_in_turn(rb, image, err);
	return r < 0 ? r : add_itimers(rb, image, err);
}
