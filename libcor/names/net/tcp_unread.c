/* See net/tcp_unread.h. */
#include "libcor/names/net/tcp_unread.h"

#include <errno.h>
#include <linux/sockios.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "libcor/base/cleanup.h"
#include "libcor/names/net/tcp_repair.h"

#define TRIES 5

uint64_t cor_tcp_received(int fd)
{
	struct tcp_info info = { 0 };
	socklen_t len = sizeof(info);

	if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len) < 0 || !info.tcpi_bytes_received)
		return 0;
	return info.tcpi_bytes_received - cor_tcp_fin_received(info.tcpi_state);
}

ssize_t cor_tcp_peek_unread(int fd, uint64_t first, uint8_t **data)
{
	for (unsigned i = 0; i < TRIES; i++) {
		_cleanup_free_ uint8_t *room = NULL;
		uint64_t received = cor_tcp_received(fd);
		int unread = 0;
		ssize_t n;

		if (ioctl(fd, SIOCINQ, &unread) < 0 || unread <= 0)
			return 0;
		room = malloc((size_t)unread);
		if (!room)
			return -ENOMEM;
		n = recv(fd, room, (size_t)unread, MSG_PEEK | MSG_DONTWAIT);
		if (n < 0)
			return -errno;
		if (cor_tcp_received(fd) != received)
			continue;
		if (received > first)
			n -= (ssize_t)COR_MIN(received - first, (uint64_t)n);
		*data = take_ptr(room);
		return n;
	}
	return -EAGAIN;
}
