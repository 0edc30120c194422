/* The list of sleepers, and its way into an image and out of it; see sleepers.h. They are read in
 * capture_sleepers.c. */
#include "libcor/task/sleepers.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "libcor/base/cleanup.h"
#include "libcor/base/error.h"
#include "libcor/base/io.h"
#include "libcor/task/tracee.h"

#define SETTLE_NS 20000000u     /* for all of them */
#define SOON_NS   50000000u

static void forget(struct cor_sleeper *s)
{
	cor_closep(&s->asleep.schedstat);
	s->asleep.schedstat = -1;
	free(s->comm);
	if (s->record)
		cor__task__thread__free_unpacked(s->record, NULL);
}

static void drop_early(struct cor_sleepers *s, uint64_t until_ns)
{
	unsigned n = 0;

	for (unsigned i = 0; i < s->n; i++)
		if (s->list[i].until_ns && s->list[i].until_ns < until_ns)
			forget(&s->list[i]);
		else
			s->list[n++] = s->list[i];
	s->n = n;
}

int cor_sleepers_pack(struct cor_sleepers *s, uint8_t **buf, size_t *len)
{
	Cor__Task__Sleepers all = COR__TASK__SLEEPERS__INIT;
	uint64_t now = cor_now_ns();

	all.threads = calloc(s->n ?: 1, sizeof(*all.threads));
	if (!all.threads)
		return -ENOMEM;
	all.n_threads = s->n;
	for (unsigned i = 0; i < s->n; i++) {
		all.threads[i] = s->list[i].record;
		all.threads[i]->remaining_ns = cor_sleeper_left(&s->list[i], now);
	}
	*len = cor__task__sleepers__get_packed_size(&all);
	*buf = malloc(*len + 1);
	if (*buf)
		cor__task__sleepers__pack(&all, *buf);
	free(all.threads);
	drop_early(s, now + SOON_NS);
	return *buf ? 0 : -ENOMEM;
}

void cor_sleepers_settle(struct cor_sleepers *s, pid_t pid)
{
	uint64_t until = cor_now_ns() + SETTLE_NS;
	unsigned n = 0;

	for (unsigned i = 0; i < s->n; i++) {
		uint64_t now = cor_now_ns();

		if (cor_asleep_again(&s->list[i].asleep, pid, now < until ? until - now : 0))
			s->list[n++] = s->list[i];
		else
			forget(&s->list[i]);
	}
	s->n = n;
}

/* Both lists are in about the same order. */
void cor_sleepers_attach(const struct cor_sleepers *s, struct cor_tracee *t)
{
	unsigned at = 0;

	for (unsigned i = 0; i < s->n; i++)
		for (unsigned k = 0; k < t->nthreads; k++) {
			struct cor_tracee_thread *th = &t->threads[at];

			at = (at + 1) % t->nthreads;
			if (th->tid != s->list[i].asleep.tid)
				continue;
			th->asleep = &s->list[i].asleep;
			cor_closep(&th->status_fd);     /* not needed: there may be many */
			th->status_fd = -1;
			break;
		}
}

/* ---- in the image ---------------------------------------------------------------- */

size_t cor_sleepers_taken(const Cor__Task__Image *image)
{
	size_t n = 0;

	for (size_t i = 0; i < image->n_threads; i++)
		n += image->threads[i]->asleep;
	return n;
}

/* Of a thread that is asleep. */
static Cor__Task__Thread *say(const Cor__Task__Thread *th)
{
	Cor__Task__Thread *said = malloc(sizeof(*said));

	if (!said)
		return NULL;
	cor__task__thread__init(said);
	said->tid = th->tid;
	said->asleep = true;
	said->remaining_ns = th->remaining_ns;
	return said;
}

int cor_sleepers_lean(const Cor__Task__Image *image, Cor__Task__Image *lean)
{
	Cor__Task__Image out = *image;

	out.threads = calloc(image->n_threads ?: 1, sizeof(*out.threads));
	if (!out.threads)
		return -ENOMEM;
	for (out.n_threads = 0; out.n_threads < image->n_threads; out.n_threads++) {
		Cor__Task__Thread *th = image->threads[out.n_threads];

		if (th->asleep)
			th = say(th);
		if (!th) {
			cor_sleepers_lean_done(image, &out);
			return -ENOMEM;
		}
		out.threads[out.n_threads] = th;
	}
	*lean = out;
	return 0;
}

void cor_sleepers_lean_done(const Cor__Task__Image *image, Cor__Task__Image *lean)
{
	for (size_t i = 0; i < lean->n_threads; i++)
		if (lean->threads[i] != image->threads[i])
			free(lean->threads[i]);
	free(lean->threads);
}

int cor_sleepers_complete(Cor__Task__Image *image, Cor__Task__Sleepers *s, struct cor_error *err)
{
	size_t n = s ? s->n_threads : 0, at = 0;

	for (size_t i = 0; i < image->n_threads; i++) {
		Cor__Task__Thread *said = image->threads[i];
		size_t k;

		if (!said->asleep)
			continue;
		for (k = 0; k < n && s->threads[at]->tid != said->tid; k++)
			at = (at + 1) % n;
		if (k == n || s->threads[at]->asleep)
			return cor_fail(err, -EPROTO, "the image's thread %d was not announced",
					said->tid);
		image->threads[i] = s->threads[at];
		s->threads[at] = said;
		image->threads[i]->asleep = true;
		image->threads[i]->remaining_ns = said->remaining_ns;
	}
	return 0;
}

void cor_sleepers_done(struct cor_sleepers *s)
{
	for (unsigned i = 0; i < s->n; i++)
		forget(&s->list[i]);
	free(s->list);
	*s = (struct cor_sleepers){ 0 };
}
