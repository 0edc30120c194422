/* What a TCP connection has received, and what of it its task has not read. */
#pragma once

#include <stdint.h>
#include <sys/types.h>

/* Bytes of data that fd has ever received; 0 where that is not told. */
uint64_t cor_tcp_received(int fd);

/* The unread ones, into *data (malloc, the caller's; untouched where there are none). Their
 * number, or -errno: -EAGAIN, more comes all the while. The task must stand still. Where it is
 * not UINT64_MAX, only those among the first so many that fd ever received. */
ssize_t cor_tcp_peek_unread(int fd, uint64_t first, uint8_t **data);
