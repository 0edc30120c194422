/* Registered programs; see programs.h. */
#include "daemon/programs.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <uthash.h>

#define PROGRAMS_MAX 4096

struct program {
	pid_t    pid;
	uint64_t hooks;
	UT_hash_handle hh;
};

struct programs {
	struct program *by_pid;
};

int programs_new(struct programs **out)
{
	*out = calloc(1, sizeof(**out));
	return *out ? 0 : -ENOMEM;
}

static void forget(struct programs *p, struct program *k)
{
	HASH_DEL(p->by_pid, k);
	free(k);
}

void programs_free(struct programs *p)
{
	struct program *k, *next;

	if (!p)
		return;
	HASH_ITER(hh, p->by_pid, k, next)
		forget(p, k);
	free(p);
}

static void forget_ended(struct programs *p)
{
	struct program *k, *next;

	HASH_ITER(hh, p->by_pid, k, next)
		if (kill(k->pid, 0) < 0 && errno == ESRCH)
			forget(p, k);
}

int programs_add(struct programs *p, pid_t pid, uint64_t hooks)
{
	struct program *k;

	HASH_FIND_INT(p->by_pid, &pid, k);
	if (k) {
		k->hooks = hooks;
		return 0;
	}
	if (HASH_COUNT(p->by_pid) >= PROGRAMS_MAX)
		forget_ended(p);
	if (HASH_COUNT(p->by_pid) >= PROGRAMS_MAX)
		return -ENOSPC;
	k = calloc(1, sizeof(*k));
	if (!k)
		return -ENOMEM;
	k->pid = pid;
	k->hooks = hooks;
	HASH_ADD_INT(p->by_pid, pid, k);
	return 0;
}

uint64_t programs_hooks(const struct programs *p, pid_t pid)
{
	struct program *k;

	HASH_FIND_INT(p->by_pid, &pid, k);
	return k ? k->hooks : 0;
}
