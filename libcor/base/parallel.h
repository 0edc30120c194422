/* Work on many alike things, side by side. */
#pragma once

#include <cor/error.h>
#include <pthread.h>

/* Calls fn(arg, from, to) for ranges that cover 0 to n - 1 once, in the caller's thread
 * and in others, as many as there are processors; a range has at least grain things, so
 * that few are done at once by the caller alone. Returns when all is done. What fn
 * touches of what they share is its own affair. */
void cor_parallel(unsigned n, unsigned grain, void (*fn)(void *arg, unsigned from, unsigned to),
		  void *arg);

/* What went wrong where, of things that are done side by side: the first in their order
 * counts, as if they had been done one after the other. */
struct cor_first_error {
	pthread_mutex_t lock;
	unsigned at;
	struct cor_error err;
};
#define COR_FIRST_ERROR_INIT { PTHREAD_MUTEX_INITIALIZER, ~0u, COR_ERROR_INIT }

/* code: what thing at came to; nothing is done unless it is negative. */
void cor_first_error_note(struct cor_first_error *f, unsigned at, int code,
			  const struct cor_error *err);
/* 0, or the code, with *err filled. */
int cor_first_error_take(struct cor_first_error *f, struct cor_error *err);
