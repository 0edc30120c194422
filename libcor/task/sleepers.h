/* sleepers: threads that sleep, read one by one before the freeze.
 *
 * To read a thread in the freeze costs more than to stop it, and a task may have hundreds, most
 * of which wait for something: of a thread that has not run since (asleep.h) it is enough to
 * know that. So ahead of the freeze each is stopped for a moment, read as in the freeze, and
 * let go back to sleep. The destination can build what it is told so before the task stands
 * still.
 *
 * Order: cor_sleepers_look(), cor_sleepers_pack() and send; cor_sleepers_settle(); then the
 * process is seized, cor_sleepers_attach(), stopped and captured with the options' sleepers.
 */
#pragma once

#include <cor/error.h>
#include <stdint.h>
#include <sys/types.h>

#include "libcor/task/asleep.h"
#include "libcor/task/task.pb-c.h"

struct cor_capture_options;
struct cor_tracee;

struct cor_sleeper {
	struct cor_asleep asleep;
	char    *comm;                  /* its name, as /proc has it */
	uint64_t call;                  /* the number of its call, */
	uint64_t until_ns;              /* which ends then (cor_now_ns()); 0: no interval counts */
	Cor__Task__Thread *record;      /* NULL: an image has taken it */
};

/* What is left of its call at now; 0 where that does not count. */
static inline uint64_t cor_sleeper_left(const struct cor_sleeper *s, uint64_t now_ns)
{
	return s->until_ns > now_ns ? s->until_ns - now_ns : 0;
}

struct cor_sleepers {
	unsigned n;
	struct cor_sleeper *list;
};

/* Which threads of the running process pid sleep, and what they are; the first one is none of
 * them. Each is stopped for a fraction of a millisecond, some of them for three: these map, and
 * unmap, the memory that the others' calls are made from.
 * Failures are of no interest: who could not be read now is read in the freeze. out:
 * empty. cor_sleepers_done() it. */
void cor_sleepers_look(pid_t pid, const struct cor_capture_options *o, struct cor_sleepers *out);

/* For the destination: a cor.task.Sleepers in *buf (malloc), their remaining_ns as of now. Whose sleep
 * ends too soon leaves the list then: most of what it is will be the same. -ENOMEM. */
int cor_sleepers_pack(struct cor_sleepers *s, uint8_t **buf, size_t *len);

/* Waits until all sleep again; who does not within some milliseconds leaves the list. */
void cor_sleepers_settle(struct cor_sleepers *s, pid_t pid);

/* Tells the seized process of them, which must not outlive them. */
void cor_sleepers_attach(const struct cor_sleepers *s, struct cor_tracee *t);

/* How many of the image's threads have not been read again since. */
size_t cor_sleepers_taken(const Cor__Task__Image *image);

/* image, but that of its threads which are asleep only so much is said: *lean has image's parts;
 * cor_sleepers_lean_done() it. -ENOMEM. */
int cor_sleepers_lean(const Cor__Task__Image *image, Cor__Task__Image *lean);
void cor_sleepers_lean_done(const Cor__Task__Image *image, Cor__Task__Image *lean);

/* At the destination: gives such an image's threads back what was not said, out of s. -EPROTO. */
int cor_sleepers_complete(Cor__Task__Image *image, Cor__Task__Sleepers *s, struct cor_error *err);

void cor_sleepers_done(struct cor_sleepers *s);
