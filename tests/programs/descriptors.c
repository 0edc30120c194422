/* Opens and closes descriptors without a pause, in two threads, so that no reading of
 * /proc/PID/fd finds what the one before found. What each leads to is known, and verified
 * when it is closed. */
#include "check.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define SLOTS 40
#define NTHREADS 2

enum kind { NOTHING, PIPE, COUNTER, UNLINKED, KINDS };

struct slot {
	enum kind kind;
	int fds[2];
	uint64_t value;
};

static struct opener {
	pthread_t thread;
	uint64_t random;
	struct slot slots[SLOTS];
	_Atomic uint64_t rounds;
} g_openers[NTHREADS];
static atomic_bool g_end;

static void open_slot(struct slot *s, uint64_t value)
{
	char name[] = "/tmp/descriptors.XXXXXX";
	int wrong = 0;

	s->kind = (enum kind)(PIPE + value % (KINDS - PIPE));
	s->value = value;
	s->fds[1] = -1;
	switch (s->kind) {
	case PIPE:
		wrong = pipe2(s->fds, O_CLOEXEC);
		break;
	case COUNTER:
		s->fds[0] = eventfd(0, EFD_CLOEXEC);
		s->value &= ~(1ull << 63);
		break;
	default:
		s->fds[0] = mkostemp(name, O_CLOEXEC);
		unlink(name);
	}
	wrong |= s->fds[0] < 0;
	if (!wrong)
		wrong = write(s->fds[s->kind == PIPE], &s->value, 8) != 8;
	check(!wrong, "kind %d: %s", s->kind, strerror(errno));
	if (wrong)
		s->kind = NOTHING;
}

static void close_slot(struct slot *s)
{
	uint64_t found = 0;

	if (s->kind == NOTHING)
		return;
	if (s->kind == UNLINKED)
		check(lseek(s->fds[0], 0, SEEK_SET) == 0, "lseek: %s", strerror(errno));
	check(read(s->fds[0], &found, 8) == 8, "kind %d: read: %s", s->kind, strerror(errno));
	check(found == s->value, "kind %d of descriptor %d held %#llx", s->kind, s->fds[0],
	      (unsigned long long)found);
	close(s->fds[0]);
	if (s->fds[1] >= 0)
		close(s->fds[1]);
	s->kind = NOTHING;
}

static void *opener_main(void *arg)
{
	struct opener *o = arg;

	while (!g_end && !check_failed()) {
		struct slot *s;

		o->random = check_mix(o->random);
		s = &o->slots[o->random % SLOTS];
		close_slot(s);
		open_slot(s, check_mix(o->random) | 1);
		o->rounds++;
	}
	for (int i = 0; i < SLOTS; i++)
		close_slot(&o->slots[i]);
	return NULL;
}

int main(int argc, char **argv)
{
	uint64_t before[NTHREADS] = { 0 }, total = 0;

	check_init(argc, argv, "descriptors");
	for (int i = 0; i < NTHREADS; i++) {
		g_openers[i].random = (uint64_t)i + 1;
		need(!pthread_create(&g_openers[i].thread, NULL, opener_main, &g_openers[i]));
	}
	while (!check_stopping()) {
		bool all = true;

		/* one of them alone does not count: the other may wait for what is lost */
		for (int i = 0; i < NTHREADS; i++)
			all &= g_openers[i].rounds > before[i];
		for (int i = 0; all && i < NTHREADS; i++)
			before[i] = g_openers[i].rounds;
		if (all)
			check_beat();
		check_sleep_ms(5);
	}
	g_end = true;
	for (int i = 0; i < NTHREADS; i++) {
		pthread_join(g_openers[i].thread, NULL);
		total += g_openers[i].rounds;
	}
	check_done("%llu opened and closed", (unsigned long long)total);
}
