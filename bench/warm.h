/* warm: free memory that a virtual machine's host need not be waited for.
 *
 * A host takes memory back that its guest has left free for a second or two (free page
 * reporting), and gives it again when it is touched: here at a tenth of the rate at which
 * pages drain. Where the drain is to be measured and not the host, a *feeder* has touched as
 * much memory as the drain will take, and lets it go bit by bit as that is used up. */
#pragma once

#include <stddef.h>
#include <sys/types.h>

#define SPARE_KIB (1ul << 20)    /* left to others */

struct feeder { pid_t pid; };

/* Touches memory for size bytes, as far as the machine has them, and feeds from then on. */
void feeder_start(struct feeder *f, size_t size);
/* Frees what is left. Of one that was not started ({ 0 }): nothing. */
void feeder_end(struct feeder *f);

/* MemAvailable of /proc/meminfo, KiB. */
unsigned long available_kib(void);
