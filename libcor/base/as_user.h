/* A user's rights to files, for a while: what is opened, made or looked up by name is so as
 * if that user did it (setfsuid(2)). For this thread alone; everything else about it stays
 * as it is. Used where the names come from somebody who may not use our rights. */
#pragma once

#include <cor/error.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct cor_as_user {
	uint32_t uid, gid;
	const uint32_t *groups;         /* supplementary */
	size_t ngroups;
};

/* What has to come back. */
struct cor_as_user_saved {
	uint32_t uid, gid;
	uint32_t *groups;
	size_t ngroups;
	uint64_t effective;             /* capabilities that others than files need, and the user's
					   names must not: a port below 1024, raw sockets */
	int active;
};
#define COR_AS_USER_SAVED_INIT { 0 }

/* Are these the rights that this thread has, and no more (no capability)? Then there is
 * nothing to take, and nothing that it would be allowed to. */
bool cor_as_user_is_us(const struct cor_as_user *user);

/* user NULL, or us: nothing happens. -EPERM and others: nothing has changed. */
int cor_as_user_begin(struct cor_as_user_saved *saved, const struct cor_as_user *user,
		      struct cor_error *err);

/* Back again. Ends the process where that fails, since nobody knows then whose it is. */
void cor_as_user_end(struct cor_as_user_saved *saved);
