/* What the network notices of a task that leaves this host: the source's side of its
 * TCP connections and of the addresses that move along (net/address.h, net/tcp_repair.h).
 *
 *   new      finds the addresses
 *   settle   the task runs, until the connections that it has closed have ended
 *   gate     it stands still for a moment: its listening sockets answer nobody new
 *   accepted it runs, until what was being made is made: a connection that is neither the
 *            client's nor the task's yet cannot be carried
 *   stop     from here on the task stands still: what is captured is silenced
 *   check    what was captured (table) is as it was read: a packet may have been under way
 *            on another processor
 *   leave    the addresses are removed; nothing has moved on since it was captured
 *   done     behind COMMIT: the connections here are forgotten
 *   undo     instead, before COMMIT: as if nothing had happened
 *
 * One thread makes all the calls.
 */
#pragma once

#include <cor/error.h>
#include <stdbool.h>
#include <sys/types.h>

#include "libcor/names/net/address.h"
#include "libcor/names/files.pb-c.h"
#include "libcor/names/net/packet_hold.h"

#define COR_ADDRESSES_MAX 16

struct cor_departure;
struct cor_file_seen;

/* texts: "ADDR/PREFIX[@IFACE]" each. n may be 0: then no connection is carried but
 * those that the task has with itself. */
int cor_departure_new(struct cor_departure **out, const char *const *texts, unsigned n,
		      struct cor_error *err);
/* Undoes nothing. NULL allowed. */
void cor_departure_free(struct cor_departure *d);

/* What the destination must be told, into the table (cor__names__...: malloc). */
int cor_departure_describe(const struct cor_departure *d, Cor__Names__FileTable *table);

/* table: of a capture ahead of the freeze. Waits as long as need be, up to timeout_ms.
 * -EAGAIN with what has not come to an end. */
int cor_departure_settle(struct cor_departure *d, const Cor__Names__FileTable *table, int timeout_ms,
			 struct cor_error *err);
/* Is there a listening socket that clients reach by what moves? */
bool cor_departure_wants_gates(const struct cor_departure *d, const Cor__Names__FileTable *table);
/* pid, whose table that is, stands still: it could notice that we have duplicates of what
 * it closes. So it should for ungate(), and for undo() if there are gates. On failure there
 * are none. */
int cor_departure_gate(struct cor_departure *d, pid_t pid, const Cor__Names__FileTable *table,
		       struct cor_error *err);
bool cor_departure_has_gates(const struct cor_departure *d);
void cor_departure_ungate(struct cor_departure *d);
/* -EAGAIN with what is not accepted, or still being made, timeout_ms later. */
int cor_departure_accepted(struct cor_departure *d, int timeout_ms, struct cor_error *err);

/* The hardware address of the interface that address i will be at. */
void cor_departure_next(struct cor_departure *d, unsigned i, const uint8_t hwaddr[6]);

void cor_departure_stop(struct cor_departure *d);

/* -EAGAIN: it is not. */
int cor_departure_check(const struct cor_departure *d, const Cor__Names__FileTable *table,
			struct cor_error *err);
int cor_departure_leave(struct cor_departure *d, const Cor__Names__FileTable *table,
			struct cor_error *err);
void cor_departure_done(struct cor_departure *d);

/* Behind done(): sends on what has come for the addresses since settle(), and goes on
 * doing so whenever one of poll()'s descriptors (at most COR_PACKET_HOLD_FDS; how many)
 * is readable: peers may take a while to learn where they are. */
unsigned cor_departure_forward(struct cor_departure *d);
unsigned cor_departure_poll(const struct cor_departure *d, struct pollfd *out);

/* The first address that could not be put back, else 0. */
int cor_departure_undo(struct cor_departure *d, struct cor_error *err);

/* The addresses that move along, d's; and with them, in another process once this one has died
 * before COMMIT: undo(), of the stopped process pid. table: as it was captured last. It may be
 * called again. */
const struct cor_address *cor_departure_addresses(const struct cor_departure *d, unsigned *n);
int cor_departure_mend(pid_t pid, const Cor__Names__FileTable *table,
		       const struct cor_address *addresses, unsigned n, struct cor_error *err);

/* A capture has failed: what it has silenced is as before; another one may follow. */
void cor_departure_release(struct cor_departure *d);

/* --- for capturing kinds (all take d NULL: nothing moves) ------------------- */

bool cor_departure_stopped(const struct cor_departure *d);

/* Does any address move along? */
bool cor_departure_moves_some(const struct cor_departure *d);

/* Does that host address move along? */
bool cor_departure_moves(const struct cor_departure *d, const struct cor_inet_addr *host);

/* Is that socket one of those that settle() has given a filter? */
bool cor_departure_gated(const struct cor_departure *d, const Cor__Names__OpenFile *file);

/* Takes seen's socket, which is that of table->files[index], down to be silenced:
 * seen->held. -ENOMEM, -errno. */
int cor_departure_hold(struct cor_departure *d, struct cor_file_seen *seen, unsigned index,
		       struct cor_error *err);

/* Silences it until undo() or done(). file: its options have been captured. Several
 * threads may do this for sockets of their own. */
int cor_departure_silence(struct cor_departure *d, const struct cor_file_seen *seen,
			  const Cor__Names__OpenFile *file, struct cor_error *err);
