/* Who else has a pipe, a socket or a nameless file open? */
#pragma once

#include "libcor/names/file_ops.h"

/* Fills seen[i].holder for the files where it matters, by reading the links of
 * every other process's descriptors once. Anonymous inodes (eventfd and the like)
 * have no number in their links: those are compared with the parent's only, from
 * which they may have been inherited. newer_than: only processes with a PID
 * above it (0: all). skip_own: we hold duplicates ourselves. -E2BIG when there are too many
 * descriptors on this host. */
int cor_files_find_holders(pid_t pid, struct cor_file_seen *seen, unsigned n, pid_t newer_than,
			   bool skip_own, struct cor_error *err);

/* Somebody but pid who has a descriptor with that very link; pid 0: nobody found. */
void cor_files_find_holder_of(pid_t pid, const char *link, struct cor_holder *out);

/* The PID that was given out last in our PID namespace, 0: unknown. */
pid_t cor_files_last_pid(void);
