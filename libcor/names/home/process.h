/* The file server as a process of its own on the home: it has the task's rights, sees
 * the files that the task saw, and outlives the worker that started it and cord. It ends
 * when the last client has said BYE.
 *
 * It listens on DIR/ID.sock, where cord hands over connections whose preamble names it,
 * and writes DIR/ID.json, which cor status shows.
 */
#pragma once

#include <cor/error.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "libcor/names/home/wire.h"
#include "libcor/transport/preamble.h"

struct cor_home_serve {
	pid_t pid;                      /* the task */
	const char *dir;                /* for sockets and status; exists */
	uint8_t id[16], secret[32];
	const char *comm;               /* the task's, for status */
	unsigned orphan_s;              /* without any connection for so long it ends; 0: never */
};

/* Starts it; *control is the worker's line to it. Closed before the first client has come
 * the server ends. */
int cor_home_serve(const struct cor_home_serve *what, int *control, struct cor_error *err);

/* By the line, or by a connection to its socket (cor_home_find()). */
/* Hands an open file of the task over (fd stays the caller's): its handle. */
int cor_home_adopt(int control, int fd, uint64_t *handle);
/* The task is elsewhere for good: what was handed over and not taken is closed. */
int cor_home_unpin(int control);
/* A duplicate of a handle's descriptor, or -errno. */
int cor_home_fetch(int control, uint64_t handle);
/* POSIX locks of the task's on a handle's file, which an open file description holds for it now
 * (fd stays the caller's): who locks the file first where the task arrives has them. -EEXIST:
 * the file's were passed already. PASSED: the task is there, or stays here. */
int cor_home_pass(int control, uint64_t handle, int fd);
int cor_home_passed(int control);
/* Sets, changes or ends what is held there for a task on its way to this host, its home; -ENOENT:
 * nothing is. */
int cor_home_lock(int control, uint64_t handle, const struct home_lock *lock);
/* A connection (fd stays the caller's) whose preamble was read and not answered yet. tls: its
 * handshake is to come, which proves the secret; such a line may be found without it. */
int cor_home_hand_over(int control, int fd, bool tls);

/* This process takes the rights that the task has, for good: user, groups, and of its
 * capabilities those that are about files. */
int cor_home_take_rights(pid_t pid, struct cor_error *err);

/* A line to the server of that tree, which must know the secret: -ENOENT, -EPERM. secret
 * NULL: a line that is only good for handing over what is encrypted. */
int cor_home_find(const char *dir, const uint8_t id[16], const uint8_t secret[32]);
