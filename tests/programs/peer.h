/* Other processes that a workload has to do with. */
#pragma once

#include <sys/types.h>

/* A process that is no child of ours (its parent ends at once) and ends with us
 * at the latest, if it does not end before. Returns 0 in the peer, where our descriptors
 * are still open; else its PID, which g_peer keeps. */
pid_t start_peer(void);
extern pid_t g_peer;

/* Sends back every byte that it gets, and ends behind the last one. */
void peer_echo(int from, int to) __attribute__((noreturn));
void peer_sleep(void) __attribute__((noreturn));
