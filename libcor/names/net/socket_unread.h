/* What a UNIX socket has received and its task has not read. */
#pragma once

#include <stdbool.h>

#include "libcor/names/file_ops.h"

/* The queued messages of a UNIX socket, peeked: one for a stream, each for the
 * other types. Of a running task none. */
int cor_socket_unread_capture(const struct cor_file_seen *seen, Cor__Names__OpenFile *out,
			      struct cor_error *err);

/* Does a message wait at fd, a SOCK_SEQPACKET socket that can be read without waiting? Else it is
 * the end, which looks like an empty message. Nothing is taken. */
bool cor_socket_message_waits(int fd);

/* Sends file's messages through from, whose peer is the socket that had them. -errno. */
int cor_socket_unread_send(const Cor__Names__OpenFile *file, int from);
