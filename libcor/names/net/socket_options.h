/* Socket options: those that differ from a new socket's are carried. */
#pragma once

#include <stdbool.h>
#include <sys/socket.h>

#include "libcor/names/file_ops.h"

#define COR_SOCKET_OPTIONS    128       /* how many are known, at most */
#define COR_SOCKET_OPTION_MAX 64        /* the longest value */

/* The options of a new socket of that kind; len 0: it has no such option. */
struct cor_socket_usual {
	struct cor_socket_usual *next;
	int domain, type, protocol;
	socklen_t len[COR_SOCKET_OPTIONS];
	unsigned char value[COR_SOCKET_OPTIONS][COR_SOCKET_OPTION_MAX];
};

/* At the end of a capture. */
void cor_socket_usual_free(struct cor_file_capture *c);

/* Finds out what the options of a new socket of out's kind are. */
int cor_socket_options_usual(struct cor_file_capture *c, const struct cor_file_seen *seen,
			     const Cor__Names__OpenFile *out, struct cor_error *err);

/* Options that differ from those of a new socket. */
int cor_socket_options_capture(struct cor_file_capture *c, const struct cor_file_seen *seen,
			       Cor__Names__OpenFile *out, struct cor_error *err);

/* Sets those that must be set before bind(2), or all the others. number: the
 * descriptor's, for the sentence. */
int cor_socket_options_set(const Cor__Names__OpenFile *file, int fd, bool before_bind, int number,
			   struct cor_error *err);
