/* Timers that have ended while the task was read.
 *
 * What is left of them is asked by a call in the task, its pending signals are read behind that.
 * A timer that has ended in between is seen twice: with time left, and by its signal. It would
 * end again on the destination. */
#include "libcor/task/capture_base.h"

#include <signal.h>
#include <sys/time.h>

#include "libcor/base/io.h"

/* id -1: setitimer(2)'s. */
static bool among(const ProtobufCBinaryData *infos, size_t n, int id)
{
	for (size_t i = 0; i < n; i++) {
		const siginfo_t *info = (const void *)infos[i].data;

		if (id < 0 ? info->si_signo == SIGALRM :
			     info->si_code == SI_TIMER && info->si_timerid == id)
			return true;
	}
	return false;
}

/* A signal of an earlier end will do: while it is pending, that of the next becomes one with it,
 * so nothing is lost. */
static bool pending(const Cor__Task__Image *image, int id)
{
	bool found = among(image->pending, image->n_pending, id);

	for (size_t i = 0; i < image->n_threads && !found; i++)
		found = among(image->threads[i]->pending, image->threads[i]->n_pending, id);
	return found;
}

/* What is left until the next end: none of one without an interval. */
static uint64_t next(uint64_t left, uint64_t interval)
{
	return interval ? left + interval : 0;
}

void cor_capture_timers_settle(struct cor_capture *c)
{
	const Cor__Task__Image *image = c->image;
	uint64_t passed = cor_now_ns() - c->calls_ns;

	for (size_t i = 0; i < image->n_itimers && i <= ITIMER_REAL; i++) {
		Cor__Task__IntervalTimer *t = image->itimers[i];

		if (t->value_us && t->value_us * 1000 <= passed && pending(image, -1))
			t->value_us = next(t->value_us, t->interval_us);
	}
	for (size_t i = 0; i < image->n_timers; i++) {
		Cor__Task__PosixTimer *t = image->timers[i];

		if (t->remaining_ns && t->remaining_ns <= passed && pending(image, t->id))
			t->remaining_ns = next(t->remaining_ns, t->interval_ns);
	}
}
