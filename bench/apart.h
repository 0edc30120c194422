/* apart: two hosts with networks of their own, joined by a bridge that this process is
 * at; so that a server can keep its port and its address where it goes. */
#pragma once

#include <sys/types.h>

#define APART_FLOAT      "10.99.7.100"  /* the address that moves */
#define APART_FLOAT_MASK APART_FLOAT "/24"

struct apart_host {
	char  address[24];
	pid_t holder;           /* keeps the network namespace */
	int   netns;
};

/* Takes this process into a network namespace of its own, and makes n hosts. The first
 * has the floating address. Ends the program with a message where that cannot be done. */
void apart_make(struct apart_host *hosts, unsigned n);
void apart_end(struct apart_host *hosts, unsigned n);

/* Starts argv there, in a session of its own on /dev/null, with no other descriptors. */
pid_t apart_spawn(const struct apart_host *h, char *const argv[]);
