/* What the network notices of a task that arrives here: the destination's side of the
 * addresses and TCP connections that move along (net/address.h, net/tcp_repair.h).
 *
 *   new      the task runs at the source: chooses interfaces, checks what could fail
 *   build    in the freeze: the connections, on the sockets that stand for them in
 *            the stub; the addresses are not here yet
 *   take     behind COMMIT, before the task runs: the addresses come, the connections
 *            wake
 *   announce the task runs: the network is told, and told again
 *
 * build() may run in a thread of its own; all else is the caller's.
 */
#pragma once

#include <cor/error.h>
#include <stdbool.h>
#include <sys/types.h>

#include "libcor/names/net/address.h"
#include "libcor/names/files.pb-c.h"

struct cor_arrival;

/* via: an address of ours that the source has reached; NULL: not known. */
int cor_arrival_new(struct cor_arrival **out, const Cor__Names__FileTable *table,
		    const struct cor_inet_addr *via, struct cor_error *err);
/* Connections that are not awake end without a word to their peers. NULL allowed. */
void cor_arrival_free(struct cor_arrival *a);

/* The hardware address of the interface that address i will be at; NULL: no such i. */
const uint8_t *cor_arrival_hwaddr(const struct cor_arrival *a, unsigned i);

/* Does table have connections to be built? */
bool cor_arrival_needed(const Cor__Names__FileTable *table);

/* pid: the stub, with table's descriptors. table is borrowed until take() or free(). */
int cor_arrival_build(struct cor_arrival *a, pid_t pid, const Cor__Names__FileTable *table,
		      struct cor_error *err);

/* Forgets what was built. */
void cor_arrival_drop(struct cor_arrival *a);

/* Does as much as can be done, whatever fails; the first error. */
int cor_arrival_take(struct cor_arrival *a, struct cor_error *err);

/* Tells the network, as far as the addresses are here still: what is said once can be lost, so it
 * is said some times within a few seconds. Returns in how many milliseconds it is to be called
 * again; -1: no more. */
int cor_arrival_announce(struct cor_arrival *a);
