/* A migration session, as each of its two workers sees it: its state (states.h), what
 * cord is told of it, and what outlives the worker (state_page.h).
 */
#pragma once

#include <cor/error.h>
#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "daemon/control.pb-c.h"
#include "daemon/state.h"

struct session {
	enum session_state state;
	int  cord;              /* SEQPACKET to cord; -1 once cord has gone */
	int  listen;            /* where a cord that was started anew comes; -1: nowhere */
	struct state_page *page;        /* what outlives us; NULL: not yet */
	json_t *standing;       /* told to every new cord; NULL: nothing */
	json_t *figures;        /* what the final result will show; grows as things are known */
};

/* Goes first while the task stands still (setpriority(2), this thread), and back.
 * Where that is not allowed the freeze takes what it takes on a busy host. */
void session_hurry(bool on);

/* Touches the memory that the freeze will want, of this process and thread: in it no
 * allocation waits for the kernel's zeros, nor, once the process has forked, for copies. */
void session_warm(void);

/* Begins in PREPARE. cord is borrowed. */
int  session_begin(struct session *s, int cord, struct cor_error *err);
void session_end(struct session *s);

/* Keeps the session in the state directory from here on: makes its page, which says
 * about (stolen), and its socket. *page_fd (NULL allowed): a descriptor of the page, the
 * caller's. -ENOSPC and others, with a sentence. */
int session_keep(struct session *s, const char *state_dir, enum state_kind kind,
		 const uint8_t session[16], const uint8_t secret[32], json_t *about,
		 int *page_fd, struct cor_error *err);

/* Takes the step, in the page as well. -EPROTO when the table does not have it. */
int session_move(struct session *s, enum session_state to, struct cor_error *err);

/* Has the point of no return been passed? */
bool session_committed(const struct session *s);

/* Sends cord a status message with the state and all figures. */
void session_report(struct session *s);

/* The last message, and the last word in the page. why NULL: ok. exit_code as cor
 * migrate's. */
void session_result(struct session *s, int exit_code, const struct cor_error *why);

/* Merges a peer's or our own progress into the figures. */
void session_figures_progress(struct session *s, const Cor__Control__Progress *p);

/* Sends one JSON object (stolen) to cord, with at most one descriptor (-1: none). */
void session_tell(struct session *s, json_t *message, int fd);

/* Readable when session_hear() has something to do: cord says something, or, where it
 * has gone, another one is there. -1: neither will ever be. */
int session_fd(const struct session *s);

/* Another process of the session speaks with cord from here on. */
void session_leave_cord(struct session *s);

/* The same as session_tell(), and to every cord that comes later. */
void session_tell_all(struct session *s, json_t *message, int fd);

/* Reads one message of cord's if there is one, without blocking: 1, 0 (none), or
 * -errno (cord has gone; the next call may find another one, which is told how the
 * session stands). *fd: a descriptor that came along (the caller's), or -1. */
int session_hear(struct session *s, json_t **message, int *fd);
