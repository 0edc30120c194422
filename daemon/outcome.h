/* Telling a source, inside TLS, how its session here has ended: in a small process of its
 * own, since cord's loop shakes hands with nobody. */
#pragma once

#include <stdint.h>
#include <sys/types.h>

struct outcome {
	int      sock;          /* a control connection, its preamble answered */
	uint8_t  index;         /* the preamble's */
	uint8_t  session[16], secret[32];
	int      status;        /* what is told, to who proves the secret */
	unsigned timeout_s;
};

/* Forks it; it ends within timeout_s. Its PID or -errno. */
pid_t outcome_tell(const struct outcome *o);
