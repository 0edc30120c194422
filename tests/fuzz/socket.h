/* A peer for targets that read from a socket: it has sent the input and said
 * that nothing more comes, and takes what it is sent. */
#pragma once

#include <sys/socket.h>
#include <unistd.h>

#include "tests/fuzz/fuzz.h"
#include "tests/stream.h"

/* More would not fit into a socket's buffer, and the writer waits for a reader. */
#define FUZZ_SOCKET_MAX 65536u

struct fuzz_peer {
	struct cor_stream *ours;        /* what the target reads; NULL: not ours to close */
	int theirs;
};

static inline struct fuzz_peer fuzz_peer_open(void)
{
	int sv[2];

	FUZZ_CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv) == 0);
	return (struct fuzz_peer){ stream_of(sv[0]), sv[1] };
}

static inline void fuzz_peer_send(const struct fuzz_peer *p, const void *data, size_t size)
{
	FUZZ_CHECK(size <= FUZZ_SOCKET_MAX);
	if (size)
		FUZZ_CHECK(send(p->theirs, data, size, MSG_NOSIGNAL) == (ssize_t)size);
}

static inline void fuzz_peer_end(const struct fuzz_peer *p)
{
	FUZZ_CHECK(shutdown(p->theirs, SHUT_WR) == 0);
}

static inline void fuzz_peer_close(struct fuzz_peer *p)
{
	cor_stream_close(p->ours);
	close(p->theirs);
}
