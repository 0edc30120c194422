/* The UNIX socket that cord's clients connect to. */
#pragma once

#include <cor/error.h>
#include <sys/types.h>

/* A listening, non-blocking socket at path of this mode and group ((gid_t)-1: cord's own); see
 * clients_new(). */
int control_socket_open(const char *path, mode_t mode, gid_t group, struct cor_error *err);

/* Who is at the other end, when it connected (SO_PEERCRED, unix(7)). 0 or -errno. */
int control_socket_peer(int conn, uid_t *uid, pid_t *pid);
