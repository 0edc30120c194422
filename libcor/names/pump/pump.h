/* The pump: descriptors whose other side stays where it is when the task moves.
 *
 * A descriptor of the task that leads outside (a pipe of which another process has the
 * other end) stays open on the host where the task left it, its *home*; there a pump
 * process holds it. On the host where the task is, another pump process, the *away*
 * one, holds the other end of what the task has there: a real pipe. Between the two
 * goes one connection (pump/wire.h), with a channel (pump/channel.h) for each such
 * thing. One more, channel 0, is for the task itself where someone waits for it at home:
 * signals go to it, how it stops and ends comes back (task/standin.h). A pump belongs to
 * one task; it is forked by the session's worker, outlives it and cord, and ends when its
 * channels are over.
 *
 * When the task moves on, the state of its away pump travels in its table of
 * descriptors (PumpLink, PumpState), the new host's pump connects home, and the old one
 * lets go: bytes go by the shortest way. When it comes home, the descriptors themselves
 * are given back to it, unless bytes are still on their way.
 *
 * A worker, and cord on behalf of a peer's connection, speak to a pump over a UNIX
 * socket in a directory of cord's (struct cor_message, requests below).
 */
#pragma once

#include <cor/error.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "libcor/names/files.pb-c.h"
#include "libcor/names/pump/wire.h"
#include "libcor/transport/preamble.h"

/* ---- the process ----------------------------------------------------------------- */

struct cor_pump_plan {
	enum cor_pump_side side;
	const char *dir;        /* where pumps have their sockets */
	const Cor__Names__PumpLink *link;   /* id, secret, epoch; home where it is AWAY */
	int      control;       /* a worker's socket, SOCK_STREAM; the pump's */
	unsigned give_up_s;     /* ends when the peer was out of reach for so long; 0: never */
	unsigned connect_s;     /* how long connecting home may take */
	unsigned silence_s;     /* a peer that is silent for so long is out of reach */
	bool encrypted;         /* away: connects by TLS, with the link's secret (lane.h) */
};

/* Runs it; 0 when it ended as it should. Uses no descriptor but its own, ignores
 * SIGPIPE; the caller has seen to all else (daemon/session/pumps.c). */
int cor_pump_run(const struct cor_pump_plan *plan);

/* ---- requests -------------------------------------------------------------------- */

/* cor_message.kind of a request and of its answer; op of an answer: 0 or -errno, with the
 * sentence as payload. */
enum cor_pump_request {
	/* to both */
	COR_PUMP_DESCRIBE = 1,  /* answer: PumpLink, whose channels have no state */
	COR_PUMP_DROP,          /* the task never went: end, as if there never was one; but for one
				   that knows better. No answer */
	COR_PUMP_CONNECTION,    /* of cord: struct cor_preamble and the connection; no answer */
	COR_PUMP_COMMIT,        /* the task may be running elsewhere from now on; no answer */
	/* home */
	COR_PUMP_FORWARD,       /* siginfo_t: a signal came to the ghost; no answer */
	COR_PUMP_STANDIN,       /* op: PID of the task's stand-in, with its socket; no answer */
	COR_PUMP_TAKE,          /* PumpLink: channels that are new, a descriptor for each */
	/* away */
	COR_PUMP_REACH,         /* answered when home has answered */
	COR_PUMP_MAKE,          /* PumpLink: makes ends for its channels anew; answer: what the task
				   shall have, a descriptor for each */
	COR_PUMP_LOAD,          /* PumpLink: the states of its channels */
	COR_PUMP_START,         /* op: the task's PID, with the socket on which its supervisor reports
				   if there is a task channel. It runs from now on; no answer. Once
				   more: nothing */
	COR_PUMP_FREEZE,        /* the task stands still; answer: PumpLink with states */
	COR_PUMP_THAW,          /* and goes on after all */
	COR_PUMP_LEAVE,         /* and has moved on; no answer */
};

/* ---- the worker's side: pump/client.c ------------------------------------------------ */

/* The identity in hexadecimal digits. */
void cor_pump_id_text(const uint8_t id[COR_SESSION_ID], char text[2 * COR_SESSION_ID + 1]);

/* Path of the socket of the home pump with that identity. */
void cor_pump_home_path(const char *dir, const uint8_t id[COR_SESSION_ID], char *path, size_t size);

/* Sends a request and awaits its answer; link and answer NULL: none is sent, none is
 * wanted. fds: sent along. *answer_fds (malloc, NULL: none are wanted): what came, the
 * caller's. The pump's errors are the return value; -EPIPE: it has ended, as it does when nothing
 * leads anywhere any more. */
int cor_pump_ask(int sock, enum cor_pump_request what, const Cor__Names__PumpLink *link,
		 const int *fds, unsigned nfds, Cor__Names__PumpLink **answer, int **answer_fds,
		 unsigned *nanswer, struct cor_error *err);

/* The two halves of it, for what else there is to do meanwhile. */
int cor_pump_send(int sock, enum cor_pump_request what, const Cor__Names__PumpLink *link,
		  const int *fds, unsigned nfds, struct cor_error *err);
int cor_pump_await(int sock, enum cor_pump_request what, Cor__Names__PumpLink **answer,
		   int **answer_fds, unsigned *nanswer, struct cor_error *err);

/* A request without an answer. */
int cor_pump_tell(int sock, enum cor_pump_request what, int32_t op, const void *buf, size_t len,
		  int fd);

/* Connects to a pump's socket. -ENOENT: there is none (any more). */
int cor_pump_connect(const char *path, struct cor_error *err);

/* The away pumps of the task pid (as cord sees it): their sockets and links. */
struct cor_pump_client {
	int sock;
	Cor__Names__PumpLink *link;
};
int cor_pumps_of_task(const char *dir, pid_t pid, struct cor_pump_client **out, unsigned *n,
		      struct cor_error *err);
void cor_pump_clients_free(struct cor_pump_client *c, unsigned n);
