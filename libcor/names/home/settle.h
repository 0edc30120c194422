/* Settling: what a task has open at its home is copied to where the task is, under the
 * same paths, so that it can be opened here by those. */
#pragma once

#include <cor/error.h>
#include <stdint.h>
#include <sys/types.h>

struct cor_home_settled {
	uint32_t files;         /* that were copied */
	uint32_t present;       /* that were the same here already */
	uint64_t bytes;
};

/* Copies with the task's rights. A file without a name is left out: it travels with its
 * descriptor. -EEXIST: another file is here under that path; -EBUSY: it is written all the
 * time; others, each with the path. What was copied before a failure stays. */
int cor_home_settle(pid_t pid, struct cor_home_settled *out, struct cor_error *err);
