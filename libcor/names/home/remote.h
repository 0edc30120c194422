/* The far side of home/wire.h: one connection to a home's file server, on which any
 * number of requests wait for their answers. A lost connection is made anew, and what
 * was not answered is said again: callers merely wait longer. */
#pragma once

#include <cor/error.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#include "libcor/names/home/wire.h"
#include "libcor/transport/stream.h"

struct home_remote;

/* An answer. reply NULL: none will come, status says why (-EIO: the home is lost). body
 * is the callee's for the time of the call. Runs in the connection's thread, which must
 * not wait for another answer. */
typedef void home_answer_fn(void *arg, const struct home_reply *reply, const char *body,
			    size_t len, int status);

struct home_remote_ops {
	/* Connects to the home, preamble included. Blocks; in the connection's thread but
	 * for the first time. */
	int (*connect)(void *arg, struct cor_stream **out, struct cor_error *err);
	/* A notice, in the connection's thread. name NULL: none. */
	void (*notice)(void *arg, enum home_notice what, uint64_t node, const char *name);
};

struct home_remote_stats {
	uint64_t requests, received, sent;      /* bytes, headers included */
	unsigned reconnects;
	bool     connected, lost;
};

/* Connects and attaches, within reason; gives the root's attributes. reconnect_s: for how
 * long a lost connection is tried again; 0: for ever. */
int  home_remote_new(struct home_remote **out, const struct home_remote_ops *ops, void *arg,
		     unsigned reconnect_s, struct home_attr *root, struct cor_error *err);
/* Tells the home that the client has ended, if that can be told, and frees it; what was
 * not answered is answered with -EIO. */
void home_remote_free(struct home_remote *r);

/* Sends q (op, node, handle, uid, gid, arg are set) with a body of n parts. done NULL: no
 * answer is expected. Returns the request's number; blocks only while the connection
 * takes the bytes. */
uint64_t home_remote_send(struct home_remote *r, const struct home_request *q,
			  const struct iovec *body, unsigned n, home_answer_fn *done, void *arg);

/* The same, and waits: the answer's status, at most room bytes of its body in buf, their
 * number in *len (NULL: none are expected). */
int  home_remote_call(struct home_remote *r, const struct home_request *q, const void *body,
		      size_t body_len, struct home_reply *reply, void *buf, size_t room,
		      size_t *len);

/* As the server has said of itself. */
bool home_remote_can(const struct home_remote *r, enum home_can what);

void home_remote_stats(struct home_remote *r, struct home_remote_stats *out);
