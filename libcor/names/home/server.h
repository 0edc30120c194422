/* The home's side of files that stay at home (home/wire.h): a file server for one
 * tree and the clients that have it, which is as a rule one task, wherever it is.
 *
 * It acts with the rights of the process that it runs in, which are the task's
 * (home/process.c): what a peer asks for is never more than the task could do itself.
 *
 * Threads: a few for each connection, which take turns in reading requests, one that
 * listens to inotify(7), and one for each lock that is waited for.
 */
#pragma once

#include <cor/error.h>
#include <stdbool.h>
#include <stdint.h>

#include "libcor/names/home/wire.h"
#include "libcor/transport/stream.h"

struct home_server;

struct home_server_stats {
	uint64_t requests, read_bytes, written_bytes;
	unsigned clients;       /* that have not said BYE */
	unsigned connected;     /* of these: with a connection */
	unsigned nodes, handles;
	bool     used;          /* a client has been here */
};

/* root: O_PATH descriptor of the tree's root; proc: of a /proc/self/fd directory, through
 * which nodes are opened. Both are the server's then, on failure too. */
int  home_server_new(struct home_server **out, int root, int proc, struct cor_error *err);
/* Ends all clients. */
void home_server_free(struct home_server *s);

/* A connection behind its preamble; s is the server's, on failure too. */
int home_server_connect(struct home_server *s, struct cor_stream *stream, struct cor_error *err);

/* Takes an open file (fd: the server's, on failure too) of the tree and gives its handle,
 * for HOME_ADOPT. It stays open until home_server_unpin(). */
int  home_server_adopt(struct home_server *s, int fd, uint64_t *handle);
void home_server_unpin(struct home_server *s);
/* A duplicate of an open handle's descriptor, or -EBADF. */
int  home_server_handle_fd(struct home_server *s, uint64_t handle);

/* POSIX locks that the task has on a handle's node and that pass to where it arrives (home/owners.c):
 * fd (the server's, on failure too) is an open file description that holds them. -EEXIST: there
 * is one. And when the task is elsewhere, or stays. */
int  home_server_pass(struct home_server *s, uint64_t handle, int fd);
void home_server_passed(struct home_server *s);
/* Sets what of it is held for a task on its way to this host itself; -ENOENT: nothing passes. */
int  home_server_pass_lock(struct home_server *s, uint64_t handle, const struct home_lock *lock);

void home_server_stats(struct home_server *s, struct home_server_stats *out);

/* Waits until something has changed that home_server_stats() shows in clients or
 * connected, at the most timeout_ms. */
void home_server_await(struct home_server *s, int timeout_ms);
