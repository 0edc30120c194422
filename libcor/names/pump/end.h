/* An end of a channel of the pump: a descriptor, and how it is read and written. One
 * ops struct, one file per kind (pump_end_KIND.c). On the home side it is what the
 * task had, whose other side is outside of the task; on the away side it is the other
 * side of what the task has there.
 *
 * Nothing here blocks. Descriptors are polled edge-triggered: readable and writable
 * stay set until a callback finds that they no longer hold.
 */
#pragma once

#include <cor/error.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "libcor/names/files.pb-c.h"
#include "libcor/names/pump/queue.h"

struct cor_pump_end_ops;
struct cor_pump_tty;            /* pump/tty.h */
struct cor_pump_tcp;            /* pump/tcp.h */
struct cor_pump_net;            /* pump/net.h */
struct cor_pump_udp;            /* pump/udp.h */

struct cor_pump_end {
	const struct cor_pump_end_ops *ops;
	int  fd;                /* what is polled, read and written; non-blocking */
	int  kept;              /* home: the task's own open file description, for the day when it
				   comes back; -1: none */
	bool reads, writes;     /* which of the two we still do with it */
	bool readable, writable;
	bool messages;          /* what goes through are messages, not a stream */
	uint64_t ahead;         /* home: of what is there so much has gone with the task, bytes or
				   messages */
	unsigned opened;        /* counts the descriptors that fd has been */

	/* pipes */
	bool fifo;              /* home: end of file may be for now only, and so may EPIPE */
	bool paused;            /* there is no writer just now */
	int  node;              /* the away side's FIFO, O_PATH, to open it again; -1 */

	/* sockets */
	bool datagrams;         /* without an end */
	bool shared;            /* others have it too: it is not shut down, but let go */
	uint64_t inode;         /* away: of the task's side */

	/* TCP sockets */
	struct cor_pump_tcp *tcp;
	const struct cor_pump_net *net; /* away: where they are made; set before make */

	/* UDP sockets */
	struct cor_pump_udp *udp;

	/* the task */
	pid_t pid;              /* it, or its stand-in */
	int  pidfd;             /* the same; -1 */
	bool ended;             /* it has told its end, or has been told; of datagrams: the peer is
				   gone; of UDP: the task has closed it */
	bool stopped;           /* the stand-in stands still, and that is known */
	bool flushed;           /* whatever else goes the way of a wait status has arrived */
	bool quiet;             /* so has what goes to the terminal */
	struct cor_pump_end *terminal;          /* the task's controlling one; NULL: none */
	struct cor_pump_queue *terminal_out;    /* what its channel sends */

	/* terminals */
	struct cor_pump_tty *tty;
};

struct cor_pump_end_ops {
	Cor__Names__PumpKind kind;

	/* Makes the away side's end of channel, and what the task shall have as its side
	 * of it in *task (close-on-exec, the caller's). Called while the task is being
	 * rebuilt. On failure nothing is left. */
	int (*make)(struct cor_pump_end *e, const Cor__Names__PumpChannel *channel, int *task,
		    struct cor_error *err);

	/* Makes the home side's end out of fd, a duplicate of the task's descriptor, which
	 * is e->kept already. The open file description is shared with the ghost and
	 * maybe with others: its flags are left alone. */
	int (*take)(struct cor_pump_end *e, const Cor__Names__PumpChannel *channel, int fd,
		    struct cor_error *err);

	/* Of a channel that was made, brings what make looked at up to date. NULL: nothing. */
	void (*update)(struct cor_pump_end *e, const Cor__Names__PumpChannel *channel);

	/* The away side, when the task stands still: takes what the task has not read of its
	 * side back to the front of in, from where write will give it again. NULL: that is
	 * the capture's affair. */
	int (*freeze)(struct cor_pump_end *e, struct cor_pump_queue *in);

	/* Puts what make or update will need into channel. NULL: it has it. */
	int (*describe)(const struct cor_pump_end *e, Cor__Names__PumpChannel *channel);

	/* Takes what is there into q, as much as room allows (a message may exceed it).
	 * The positions that were added; -EAGAIN: nothing now; 0, or another error: nothing
	 * ever again; -EPROTO: and nothing is to go the other way either. */
	ssize_t (*read)(struct cor_pump_end *e, struct cor_pump_queue *q, size_t room);

	/* Delivers what q begins with, up to an END, which the caller handles. The
	 * positions that are delivered; -EAGAIN: none now; -EPIPE: nobody takes it any more;
	 * -ENODATA: what is there is not complete. */
	ssize_t (*write)(struct cor_pump_end *e, struct cor_pump_queue *q);

	/* The away side: write may be called before the task runs. What it has not read is there
	 * again when it does, as if it had never moved: it may have asked (poll(2), FIONREAD)
	 * just before. Not so ends whose write needs the task, or does more than deliver. */
	bool early;

	/* No more is read from it (the peer has said that nobody takes it), or written to it
	 * (what came is at its end). What the task or the outside sees of that: EPIPE, end of
	 * file. Clears reads or writes; the owner of an end closes it when neither is left. */
	void (*shut)(struct cor_pump_end *e, bool reading);

	/* Do these events of epoll(7) say that nobody takes what we write? */
	bool (*gone)(const struct cor_pump_end *e, uint32_t events);

	/* Called some times a second: looks for what no descriptor tells, and puts it into q.
	 * True: something was. NULL: there is nothing to look for. */
	bool (*tick)(struct cor_pump_end *e, struct cor_pump_queue *q);

	/* The away side, some times a second once the task has ended: has nobody kept its side?
	 * Where no event tells that; NULL: one does. */
	bool (*deserted)(const struct cor_pump_end *e);

	/* What identifies the task's side, as a capture sees it: its inode number. 0: no
	 * descriptor can lead to it any more. NULL: the inode of fd, as of a pipe. */
	uint64_t (*identity)(const struct cor_pump_end *e);
};

extern const struct cor_pump_end_ops cor_pump_end_pipe;
extern const struct cor_pump_end_ops cor_pump_end_terminal, cor_pump_end_pty;
extern const struct cor_pump_end_ops cor_pump_end_stream, cor_pump_end_packets;
/* The two sides of the task's own channel; not found by their kind. */
extern const struct cor_pump_end_ops cor_pump_end_standin, cor_pump_end_task;

/* The ops of a kind on one side; NULL: one that this version does not know. */
const struct cor_pump_end_ops *cor_pump_end_ops_of(Cor__Names__PumpKind kind, bool away);

/* fd -1, no halves. */
#define COR_PUMP_END_INIT { .fd = -1, .kept = -1, .node = -1, .pidfd = -1 }

/* Throws away what has gone with the task. -EAGAIN: not yet, or not all of it. */
int cor_pump_end_forget_ahead(struct cor_pump_end *e);

void cor_pump_end_close(struct cor_pump_end *e);
/* The same for good: nobody knows it any more. */
void cor_pump_end_free(struct cor_pump_end *e);

/* --- of the task's channel (pump/end_task.c) ----------------------------------- */

/* A signal for the task. -ENOMEM. */
int cor_pump_end_signal(struct cor_pump_queue *q, const siginfo_t *info);
/* The stand-in is there; sock is taken. Or none will come. */
void cor_pump_end_standin_came(struct cor_pump_end *e, int sock, pid_t pid);
void cor_pump_end_standin_never(struct cor_pump_end *e);
/* The task runs; its supervisor reports on reports, which is taken. */
void cor_pump_end_task_starts(struct cor_pump_end *e, int reports, pid_t pid);
