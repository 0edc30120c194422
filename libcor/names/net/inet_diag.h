/* TCP and UDP sockets of our own network namespace as sock_diag(7) tells them, those too
 * that no process has open. */
#pragma once

#include <cor/error.h>
#include <stdbool.h>
#include <stdint.h>

#include "libcor/names/net/inet_addr.h"

struct cor_inet_socket {
	uint8_t  state;                 /* TCP_SYN_RECV, ... */
	struct cor_inet_addr ours, theirs;
	uint32_t ino;                   /* 0: no process has it */
	uint32_t to_send;               /* bytes not acknowledged */
	uint32_t waiting;               /* bytes to be read; connections to be accepted (TCP_LISTEN) */
	uint32_t silent_ms;             /* since the peer acknowledged anything */
	uint64_t received;              /* bytes, a FIN counts as one */
	bool     signed_;               /* TCP MD5 signatures (RFC 2385) */
};

/* Returns true to end the walk. */
typedef bool (*cor_inet_visit)(void *arg, const struct cor_inet_socket *s);

/* Those in the given states: 1 << TCP_SYN_RECV and others. */
int cor_inet_diag(uint32_t states, cor_inet_visit visit, void *arg, struct cor_error *err);

/* The TCP socket with that address and port, connected to theirs. -ENOENT: there is none. */
int cor_inet_diag_connection(const struct cor_inet_addr *ours, const struct cor_inet_addr *theirs,
			     struct cor_inet_socket *out);

/* The UDP sockets. -errno: -ENOENT where the kernel cannot tell. */
int cor_inet_diag_udp(cor_inet_visit visit, void *arg);
