/* The descriptor table as /proc shows it: which descriptors there are and which
 * of them share one open file description. */
#pragma once

#include "libcor/names/file_ops.h"

struct cor_files_row {
	int      fd;
	bool     cloexec;
	unsigned flags;         /* F_GETFL */
	unsigned file;          /* equal for descriptors that share a description: dense, in the
				   order of the lowest descriptor */
	char    *link;
	char    *info;          /* the text of /proc/PID/fdinfo/FD */
	struct stat st;
};

struct cor_files_table {
	struct cor_files_row *rows;     /* ascending by fd */
	unsigned nrows;
	unsigned nfiles;
};

/* Reads the table of pid. -EAGAIN: it changed meanwhile. Free with _free(). */
int cor_files_table_read(pid_t pid, struct cor_files_table *t, struct cor_error *err);
void cor_files_table_free(struct cor_files_table *t);
