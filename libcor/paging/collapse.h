/* Transparent huge pages for the memory of another process (madvise(2), MADV_COLLAPSE,
 * since 6.1). They are made whatever /sys/kernel/mm/transparent_hugepage/enabled says,
 * but not where the process has asked for none. */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* Makes the 2 MiB at each of addrs[0..n), ascending, one huge page; what is not there
 * is zero. Neighbours are done by one call. The process goes on meanwhile: who touches
 * one of these or faults elsewhere waits while one of them is copied, not for all.
 * Returns how many are huge pages now; where that is not all of them, *why (NULL
 * allowed) is the last reason: -ENOMEM (no huge page to be had, or nothing mapped),
 * -EAGAIN, -EBUSY (not just now), -EINVAL (no huge page can be there, or the kernel
 * does not know how), -ESRCH (the process has ended). Needs CAP_SYS_NICE and ptrace
 * access (process_madvise(2)). */
size_t cor_collapse(int pidfd, const uint64_t *addrs, size_t n, int *why);
