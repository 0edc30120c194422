/* A network namespace for one UDP socket of a task whose address stays at home: all that
 * the socket sends comes out of a TUN device, whoever it is for, and all that is put
 * into the device is for it. So datagrams keep both of their addresses, whatever they
 * are, and no other socket can take them for its own.
 *
 * Each socket has one of its own, since several may have one port (SO_REUSEPORT, a
 * server with a connected socket for each client).
 */
#pragma once

#include "libcor/names/pump/net.h"

/* What the device reads and writes begins with that many bytes, which are zero when they are
 * written (struct virtio_net_hdr): with them the kernel lets the task leave checksums, and
 * the cutting up of UDP_SEGMENT, to the device. */
#define COR_PUMP_TUN_HEAD 10

/* addresses: what the socket may name as its own, when it has bound none. The calling
 * thread's namespace stays what it is. *tun: not blocking. -EPERM, -ENOENT, ... */
int cor_pump_tun_new(const struct cor_inet_addr *addresses, unsigned n,
		     struct cor_pump_net **net, int *tun, struct cor_error *err);
