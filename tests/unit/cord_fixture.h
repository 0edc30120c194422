/* A cord of its own for a test, in a child process, whose workers are fakes: what
 * a fake source does is named by the migration's transport, see cord_fixture.c. */
#pragma once

#include <jansson.h>
#include <stdint.h>
#include <sys/types.h>

#include "libcor/transport/preamble.h"

struct cord_fixture {
	char     dir[32], control[64], log[64], notify[64], state[64], fifo[80];
	pid_t    cord;           /* 0: ended */
	int      notify_fd;
	unsigned port;
	int      client;         /* a connection to the control socket */
};

/* cmocka's setup and teardown: cord is ready, and gone with all that it made. */
int cord_setup(void **state);
int cord_teardown(void **state);

/* Ends cord by SIGTERM; its exit status. */
int cord_end(struct cord_fixture *f);

/* A new connection to the control socket. */
int cord_connect_client(const struct cord_fixture *f);

/* Sends a line, reads one; the caller's. NULL at the end of the connection. */
void    cord_say(int client, const char *line);
json_t *cord_hear(int client);
/* Reads up to the result. */
json_t *cord_hear_result(int client);

/* Asks for a migration of this process by the fake source behaviour; wait as in
 * the request. */
void cord_ask_migrate(int client, const char *behaviour, const char *wait);

/* Connects to cord's TCP port with this preamble; the socket, with cord's answer
 * in *answer. */
int cord_connect_peer(const struct cord_fixture *f, enum cor_connection_kind kind,
		      const uint8_t session[16], const uint8_t secret[32], int *answer);
