/* The UNIX socket that cord's clients connect to. */
#pragma once

#include <cor/error.h>

/* A listening, non-blocking socket at path, mode 0600; see clients_new(). */
int control_socket_open(const char *path, struct cor_error *err);

/* Whether the process at the other end may command cord: root, or cord's own
 * user (SO_PEERCRED, unix(7)). 0, -EPERM, -errno. */
int control_socket_check_peer(int conn);
