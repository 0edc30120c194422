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

/* Could the task, if it runs, notice that a duplicate of one of these is had for a moment? What it
 * closes meanwhile is not closed: its epoll sets tell of a descriptor that is gone, a port, a lock
 * or a lease is still taken, a program just written cannot be executed (ETXTBSY), a pipe has
 * still a reader. The first row of which that is so, NULL: none. */
const struct cor_files_row *cor_files_table_noticed(const struct cor_files_table *t);
