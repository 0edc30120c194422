/* How the capture of a socket begins, whichever kind has it. */
#pragma once

#include "libcor/names/file_ops.h"

/* Domain, type and protocol into out; what cor_socket_capture() compares with is found
 * out, so that it may be called in several threads. */
int cor_socket_begin(struct cor_file_capture *c, const struct cor_file_seen *seen,
		     Cor__Names__OpenFile *out, struct cor_error *err);

/* Domain, type, protocol and options into out; refuses what all sockets are
 * refused for: another network namespace, another holder, a packet filter. */
int cor_socket_capture(struct cor_file_capture *c, const struct cor_file_seen *seen,
		       Cor__Names__OpenFile *out, struct cor_error *err);
