/* A stream for tests that have a socket. */
#pragma once

#include <stdlib.h>

#include "libcor/transport/stream.h"

/* Takes sock. */
static inline struct cor_stream *stream_of(int sock)
{
	struct cor_stream *s = NULL;

	if (cor_stream_tcp(&s, sock, NULL) < 0)
		abort();
	return s;
}
