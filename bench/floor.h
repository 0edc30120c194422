/* The parts of cor-bench floor; each adds rows to the report's last table. */
#pragma once

#include "bench/report.h"

/* floor_net.c: TCP over loopback */
void floor_ping(struct report *r, unsigned count);
double floor_stream_gbs(size_t bytes);
/* floor_mem.c: userfaultfd and copies */
void floor_uffd(struct report *r, unsigned count);
/* Round trips of a fault to another process, which spins or blocks. */
void floor_uffd_hist(unsigned count, bool spin, struct cor_hist *into);
void floor_readv(struct report *r, unsigned count);
double floor_readv_gbs(size_t bytes);
double floor_copy_gbs(size_t chunk, size_t bytes);
/* floor_shmem.c: bytes that arrive, into shared memory of a task */
double floor_shmem_gbs(bool by_continue, size_t bytes);
