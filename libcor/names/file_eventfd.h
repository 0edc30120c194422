/* What fdinfo does not tell of an eventfd before Linux 6.5. */
#pragma once

#include <stdint.h>

/* Is the eventfd with that count a semaphore (EFD_SEMAPHORE)? 1, 0 or -errno. It is
 * found out by reading, and what was read is put back: nobody else may be using it.
 * Waiters in poll(2) and epoll(7) are woken, and find what they found before. */
int cor_eventfd_try(int fd, uint64_t count);
