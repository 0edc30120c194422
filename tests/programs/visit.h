/* What programs share that are both ends of sockets (tcp.c, udp.c):
 *
 *	PROGRAM [-p FILE] [-l] ROLE KIND ADDRESS PORT
 *
 * "serve" is the task, at ADDRESS, "visit" its peer elsewhere. Each ends on SIGTERM with its
 * verdict. -l lists the kinds. */
#pragma once

#include "check.h"

#include <sys/socket.h>

struct visit_kind {
	const char *name;
	void (*serve)(void);
	void (*visit)(void);
};

/* ADDRESS and PORT. */
extern struct sockaddr_storage visit_address;
extern socklen_t visit_length;

/* Both are told to end, one after the other: what looks like a failure may be that. */
bool visit_stops_soon(void);

/* A socket of that type, for the address's family. */
int visit_socket(int type);

/* The whole of main(). Of n kinds -l lists the first ones. */
int visit_main(int argc, char **argv, const char *program, const struct visit_kind *kinds,
	       unsigned n, unsigned listed);
