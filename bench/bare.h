/* The floors of paging: the bare fault loop and the bare drain. No protocol, no
 * presence map, no race is handled: what is left is what the kernel costs. */
#pragma once

#include "bench/rig.h"

/* Touches the ghost's pages as ordered; every fault is answered by a process
 * that polls the userfaultfd (blocking), sends 16 bytes, spins for the 4 KiB
 * that come back and calls UFFDIO_COPY; the server spins for requests and reads
 * the ghost by process_vm_readv. Adds the faults' latencies to *into. */
void bare_fault(const struct ghost *g, const struct order *o, struct cor_hist *into);

struct bare_drain {
	uint64_t wall_ns;
	uint64_t cpu_source_ns, cpu_destination_ns;
};

/* Moves the whole ghost: process_vm_readv and send there, receive and
 * UFFDIO_COPY here, in chunks of 256 KiB. */
void bare_drain(const struct ghost *g, struct bare_drain *out);

/* Handshake (no features) and registration in missing mode, as the loops want it. */
void bare_register(int uffd, void *base, size_t size);
