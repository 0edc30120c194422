/* A file that stays at home (home/home.h), as one of a task's open files: for file_regular.c. */
#pragma once

#include "libcor/names/file_ops.h"

/* Where the file is the home's: fills out's home, home_handle, identity and what of its
 * locks must be taken again (POSIX locks; the others stay with the open file). 1: so it
 * is; 0: it is not; -errno. */
int cor_file_home_capture(struct cor_file_capture *c, const struct cor_file_seen *seen,
			  Cor__Names__OpenFile *out, struct cor_error *err);

/* In the stub: opens it there, or takes what was fetched. A descriptor or -errno. */
int cor_file_home_open(struct cor_file_restore *r, unsigned index, struct cor_error *err);
