/* Regular files that have no name any more: small ones that only the task has
 * open are carried whole. */
#pragma once

#include "libcor/names/file_ops.h"

#define COR_FILE_DELETED_MAX (1u << 20)   /* bytes; larger ones are refused */

int cor_file_deleted_capture(struct cor_file_capture *c, const struct cor_file_seen *seen,
			     Cor__Names__OpenFile *out, struct cor_error *err);

/* Leaves the bytes in the first of the files that have this inode open. 0. */
int cor_file_deleted_relate(struct cor_file_capture *c, unsigned index);

/* A descriptor of a new nameless file with the bytes, at offset 0. */
int cor_file_deleted_make(struct cor_file_restore *r, unsigned index, struct cor_error *err);
