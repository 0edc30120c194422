/* The transport of a session's page lanes. HELLO carries the source's list (best
 * first), HELLO_REPLY what of it the destination could have; once the destination is
 * prepared the source asks for them in turn (TRANSPORT) and connects. One that cannot be
 * set up is passed over with a warning: the last one, tcp, always can.
 *
 * The lanes over TCP are there besides, idle: when the others are lost, faults go on over
 * them, and while one of them is alive the others are known to lead somewhere.
 *
 * Where both have the mechanism one-sided, and the lanes go by an adapter, the source asks
 * once more (TRANSPORT, one_sided): for a queue pair by which the destination reads the
 * ghost's memory itself.
 */
#pragma once

#include <cor/error.h>

#include "daemon/config.h"
#include "daemon/session/session.h"
#include "libcor/transport/choice.h"
#include "libcor/transport/rdma.h"

/* What a queue pair is for, in its greeting. */
enum transport_purpose {
	TRANSPORT_DEMAND = 1,   /* streams of pages that the page server stages */
	TRANSPORT_BULK   = 2,
	TRANSPORT_REACH  = 3,   /* reads of the ghost's memory, for faults (reach.h) */
};

/* What this session may use: asked for (cor migrate --transport; "": nothing) or as
 * configured. -EINVAL. */
int session_transports(struct cor_transports *out, const struct cord_config *c,
		       const char *asked, struct cor_error *err);

/* May pages go over fabrics that do not encrypt? */
bool session_fabrics(const struct cord_config *c);

/* What people should know although it goes on: kept among the figures, as "warnings". */
void session_warn(struct session *s, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
