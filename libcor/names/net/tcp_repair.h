/* TCP connections, read out of one kernel and made in another (TCP_REPAIR, tcp(7)).
 *
 *   silence  source: no packet reaches the socket any more and none is answered. What
 *            was received is acknowledged, what comes now is as if lost on its way.
 *   read     source: its state, all queues included. The socket is in repair mode from
 *            now on: closing it tells the peer nothing.
 *   build    destination: the same state on a socket that was never used. It may be
 *            done before its address is here; no packet leaves.
 *   wake     destination, when the address is here and only this host may run the
 *            task: leaves repair mode, sends what was unsent.
 *
 * Until then everything can be undone: the source by cor_tcp_unsilence(), the
 * destination by closing. Two hosts never answer the peer, since only one has the
 * address.
 *
 * What TCP_REPAIR cannot restore: segments received out of order (the peer still has
 * them), the state of congestion control and the estimate of the round trip (both
 * begin anew), ECN. Half-closed connections need a FIN of the peer's, which is forged
 * (net/tcp_forge.c).
 */
#pragma once

#include <cor/error.h>
#include <stdbool.h>
#include <stdint.h>

#include "libcor/names/files.pb-c.h"

/* A BPF program that drops every packet, for cor_tcp_silence(). The caller's. -errno
 * where BPF is not allowed; then -1 serves, more slowly. */
int cor_tcp_silencer(void);

/* fd: connected or listening. -errno. Undone by _unsilence(), which also leaves repair
 * mode and sets SO_REUSEADDR, which repair mode resets, to reuse (0 or 1). */
int cor_tcp_silence(int fd, int silencer);
void cor_tcp_unsilence(int fd, int reuse);

/* A listening socket answers no SYN any more, but completes what had begun: as if the
 * queue were full. Undone by cor_tcp_ungate(). */
int cor_tcp_gate(int fd);
void cor_tcp_ungate(int fd);

/* Fills *out (initialised by the caller; freed with its message). number: the
 * descriptor's in the task, for sentences. -EOPNOTSUPP: something that is not carried,
 * named; -errno. */
int cor_tcp_read(int fd, int number, Cor__Names__Connection *out, struct cor_error *err);

/* How many segments were sent more than once. */
uint32_t cor_tcp_sent_again(int fd);

/* Has the connection of fd moved on since it was read, so that the new place would have to know?
 * -EAGAIN: yes. sent_again: cor_tcp_sent_again() before it was read. */
int cor_tcp_unchanged(int fd, const Cor__Names__Connection *was, uint32_t sent_again);

/* file: with address, peer_address and connection. */
int cor_tcp_build(int fd, int number, const Cor__Names__OpenFile *file, struct cor_error *err);

/* To be done for every connection before the task runs. */
int cor_tcp_wake(int fd, int number, const Cor__Names__OpenFile *file, struct cor_error *err);

/* Closes the connection that fd, in repair mode, has: its addresses are free, and the
 * peer hears nothing. */
void cor_tcp_forget(int fd);

/* Which end has ended, by state. */
bool cor_tcp_fin_received(uint32_t state);
bool cor_tcp_fin_written(uint32_t state);

/* --- net/tcp_forge.c ----------------------------------------------------------- */

/* Gives the woken connection of fd a FIN as of the peer's, and waits until it has
 * arrived. Its address must be this host's. */
int cor_tcp_forge_fin(int fd, int number, const Cor__Names__OpenFile *file,
		      struct cor_error *err);
