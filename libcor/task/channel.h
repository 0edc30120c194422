/* Framed messages with descriptors over a UNIX stream socket: how the caller
 * talks to the stub. A message is a header, its descriptors in portions that
 * one SCM_RIGHTS message can hold, and its payload, which may be megabytes. */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define COR_MESSAGE_MAX  (1u << 30)     /* payload bytes */
#define COR_MESSAGE_FDS  4096u

struct cor_message {
	uint32_t kind;          /* the parties' own */
	int32_t  op;            /* request: operation; reply: 0 or -errno */
	unsigned nfds;
	int     *fds;
	size_t   len;
	void    *buf;
};

/* 0 or -errno. */
int cor_message_send(int sock, const struct cor_message *m);

/* Descriptors received are close-on-exec; they and buf are the caller's, see
 * cor_message_clear(). -ENODATA when the peer has closed; -EPROTO, -ENOMEM. */
int cor_message_recv(int sock, struct cor_message *m);

/* Closes and frees what a received message holds. */
void cor_message_clear(struct cor_message *m);

/* One packet with the PID of its sender as we see it (SO_PASSCRED must be set
 * on sock; *pid -1 without) and at most one descriptor (*fd -1 without). The
 * packet's length, 0 when the peers have closed, -errno. */
ssize_t cor_recv_cred(int sock, void *buf, size_t len, pid_t *pid, int *fd);
