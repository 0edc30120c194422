/* One request of a client on the control socket: one JSON object on one line.
 *
 *	{"command":"migrate","pid":N,"dest":"ADDR:PORT","wait":"resumed"|"drained",
 *	 "prefetch":BOOL,"transport":"tcp","without":"MECHANISM,...",
 *	 "addresses":["ADDR/PREFIX[@INTERFACE]",...],"outside":BOOL}
 *	{"command":"status"} {"command":"status","id":"HEX"} {"command":"ps"}
 *	{"command":"cancel","id":"HEX"}
 *	{"command":"settle","id":"HEX or the PID of a task here"}
 *	{"command":"resolve","id":"HEX","peer":"dead"}
 *	{"command":"wait","id":"HEX","wait":"resumed"|"drained"}   for a migration's result
 *	{"command":"version"}
 *	{"command":"register","pid":N,"hooks":ADDRESS}   from libcor-preload.so
 */
#pragma once

#include <cor/error.h>
#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "libcor/names/net/departure.h"
#include "libcor/names/mechanism.h"

/* Longest line, its newline included. */
#define REQUEST_LINE_MAX 65536

enum request_command {
	REQUEST_MIGRATE,
	REQUEST_STATUS,
	REQUEST_CANCEL,
	REQUEST_SETTLE,
	REQUEST_WAIT,
	REQUEST_RESOLVE,
	REQUEST_VERSION,
	REQUEST_REGISTER,
};

struct request {
	enum request_command command;
	pid_t pid;
	char  dest[256];
	bool  wait_drained;       /* false: until it runs on the destination */
	int   prefetch;           /* 1, 0, or -1: as configured */
	bool  outside;            /* the result of an attempt before has said so */
	char  transport[32];      /* "": the best */
	cor_mechanism_set without;/* mechanisms that it goes without */
	char  addresses[COR_ADDRESSES_MAX][COR_ADDRESS_TEXT]; /* that move along */
	unsigned naddresses;
	uint64_t hooks;           /* where the words of the program's hooks lie */
	char  id[33];             /* "": all; else the first digits of a session's identity */
};

/* -EINVAL with what is wrong, in a sentence. */
int request_parse(struct request *out, const char *line, size_t len, struct cor_error *err);
