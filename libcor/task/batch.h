/* Lists of injected calls, put together step by step: each with a sentence of
 * what it does, for when it fails, and with its data in the runner's room. A
 * list that is full is run by itself. A batch may hold lists of several threads,
 * which then run at the same time. */
#pragma once

#include <cor/error.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "libcor/task/inject.h"

struct cor_batch;

/* What a call's result must be. */
enum cor_batch_expect {
	COR_BATCH_OK,           /* anything but an error */
	COR_BATCH_EXACT,        /* the value of its first argument (mmap, mremap: where) */
	COR_BATCH_ANY,          /* a failure is no harm */
};

int cor_batch_new(struct cor_batch **out, struct cor_runner *runner, struct cor_error *err);
void cor_batch_free(struct cor_batch *b);
void cor_batch_freep(struct cor_batch **b);

/* The thread that makes the calls from here on. One that has calls in the batch
 * already must be flushed before it is turned to again from another. */
void cor_batch_thread(struct cor_batch *b, pid_t tid);

/* Copies data into the room; its address in the tracee in *remote. May flush. It
 * stays valid until the calls that were added next have run, provided that
 * nothing but those of this one step is added: see cor_batch_reserve. */
int cor_batch_data(struct cor_batch *b, const void *data, size_t len, uint64_t *remote,
		   struct cor_error *err);

/* Makes sure that ncalls calls and len bytes of data fit without a flush. */
int cor_batch_reserve(struct cor_batch *b, unsigned ncalls, size_t len, struct cor_error *err);

/* Adds a call; arguments args[0..6). what, a printf format, completes the
 * sentence "cannot ...". The number of the call in its list is returned, or -errno. */
int cor_batch_add(struct cor_batch *b, enum cor_batch_expect expect, uint64_t nr,
		  const uint64_t args[6], struct cor_error *err, const char *what, ...)
	__attribute__((format(printf, 6, 7)));

/* Adds the last call of the thread's list, which waits and is interrupted in it
 * (cor_runner_job.waits). *ret, set by the flush, is what it returned. */
int cor_batch_wait(struct cor_batch *b, uint64_t nr, const uint64_t args[6], int64_t *ret,
		   struct cor_error *err);

/* Runs what has been added, the threads' lists side by side. */
int cor_batch_flush(struct cor_batch *b, struct cor_error *err);

/* One call, at once; *ret (may be NULL) is the kernel's return value, which is not judged. */
int cor_batch_call(struct cor_batch *b, uint64_t nr, const uint64_t args[6], int64_t *ret,
		   struct cor_error *err);
