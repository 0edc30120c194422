/* Credentials of an arriving task's threads. */
#pragma once

#include <cor/error.h>
#include <stdbool.h>
#include <stdint.h>

#include "libcor/task/batch.h"
#include "libcor/task/task.pb-c.h"

/* What the stub has: the task can have no more. */
struct cor_creds_now {
	const char *status;     /* borrowed */
	uint32_t uid[4], gid[4];
	uint64_t permitted, bounding;
	uint32_t securebits;
};

/* status: the text of the stub's /proc/PID/status, which must stay. The
 * securebits are the caller's, whose copy the stub is. */
void cor_creds_read(struct cor_creds_now *now, const char *status);

/* Adds the calls that make the batch's thread's credentials those of c, as far as
 * now has them. After them the thread may have no privilege at all. */
int cor_creds_add(struct cor_batch *b, const struct cor_creds_now *now,
		  const Cor__Task__Credentials *c, struct cor_error *err);

/* Are they the same? NULL is only NULL. */
bool cor_creds_same(const Cor__Task__Credentials *a, const Cor__Task__Credentials *b);
