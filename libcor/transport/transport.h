/* How connections are made: one ops struct, one file per backend (tcp.c). A backend
 * hands out connected sockets; behind the preamble each becomes a stream (stream.h),
 * and whoever holds one neither knows nor cares where it came from. What a backend can
 * do beyond streams is told by its caps.
 */
#pragma once

#include <cor/error.h>
#include <stdint.h>

#include "libcor/transport/preamble.h"

enum cor_transport_caps {
	COR_TRANSPORT_STREAM    = 1 << 0,  /* connected byte streams: every backend */
	COR_TRANSPORT_ONE_SIDED = 1 << 1,  /* reads registered remote memory without its CPU */
	COR_TRANSPORT_ENCRYPTED = 1 << 2,  /* lanes are encrypted by their session's secret */
};

struct cor_transport_ops {
	const char *name;       /* in tickets and options: lower-case letters and digits */
	unsigned caps;          /* enum cor_transport_caps */

	/* Called once per listener. Listens on addrport; port 0 lets the system
	 * choose. Stores a non-blocking, close-on-exec descriptor that becomes
	 * readable when accept() would succeed. Returns the port or -errno. */
	int (*listen)(const char *addrport, int *fd, struct cor_error *err);

	/* Called by the listener's thread. One waiting connection, as a
	 * non-blocking, close-on-exec descriptor; -EAGAIN when none waits. */
	int (*accept)(int listener, struct cor_error *err);

	/* Called by any thread; may block up to timeout_ms (name resolution comes
	 * on top). Stores a connected, blocking, close-on-exec descriptor. */
	int (*connect)(const char *addrport, unsigned timeout_ms, int *fd,
		       struct cor_error *err);

	/* Called once per connection, when its kind is known. Best effort: a
	 * stream of another backend, or one that cannot be tuned, is left as it is. */
	void (*tune)(int fd, enum cor_connection_kind kind);
};

/* The backend of that name, or NULL. */
const struct cor_transport_ops *cor_transport_find(const char *name);

/* The backend that is always there, and the same with TLS over it (lane.h). */
extern const struct cor_transport_ops cor_transport_tcp;
extern const struct cor_transport_ops cor_transport_tls;
