/* System calls of a ghost: what only the owner of its memory can do with it, such as having an
 * adapter read it. The ghost is stopped before and after; the calls are injected (inject.h)
 * and change none of its memory but the runner's.
 *
 * By the ghost's tracer, from COMMIT on. */
#pragma once

#include <cor/error.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/resource.h>

#include "libcor/task/tracee.h"

#define COR_GHOST_BLOCK 512u

struct cor_ghost {
	struct cor_tracee *t;
	int fd;                 /* the number, there, of the descriptor that it was given; -1 */
	uint64_t at;            /* the address, there, of its block for ioctl(2) */
	struct rlimit memlock;  /* of its own, while it is lifted */
	bool lifted;
};

/* Gives the ghost a copy of fd, and room for what it is to be asked for. Its limit of locked
 * memory is lifted, as far as we may, until cor_ghost_leave(): what is registered with an
 * adapter counts as its own. */
int cor_ghost_give(struct cor_ghost *g, struct cor_tracee *t, int fd, struct cor_error *err);

/* ioctl(fd, request, at), with len <= COR_GHOST_BLOCK bytes of block at `at`, which come back.
 * 0 or more: what it returned; -errno of the call or of ours. */
int cor_ghost_ioctl(struct cor_ghost *g, unsigned long request, void *block, size_t len,
		    struct cor_error *err);

/* Closes the descriptor there; the limit is as it was. Nothing was given: does nothing. */
void cor_ghost_leave(struct cor_ghost *g);
