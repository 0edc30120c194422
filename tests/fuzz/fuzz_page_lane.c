/* A lane of the page server: requests that come in pieces, end in the middle, or
 * are none. The lane's own thread answers them; replies are thrown away. */
#include <errno.h>
#include <poll.h>

#include "libcor/paging/server.h"
#include "tests/fuzz/socket.h"
#include "tests/fuzz/source.h"

ssize_t __wrap_sendmsg(int fd, const struct msghdr *m, int flags);
ssize_t __wrap_sendmsg(int fd, const struct msghdr *m, int flags)
{
	size_t n = 0;

	for (size_t i = 0; i < m->msg_iovlen; i++)
		n += m->msg_iov[i].iov_len;
	return (ssize_t)n;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_peer peer = fuzz_peer_open();
	struct cor_page_server_stats stats;
	struct cor_page_server *ps;
	struct pollfd p;
	int r;

	size = size < 512 ? size : 512;
	FUZZ_CHECK(cor_page_server_new(&ps, fuzz_source(), NULL) == 0);
	fuzz_peer_send(&peer, data, size / 2);
	FUZZ_CHECK(cor_page_server_add_lane(ps, peer.ours, COR_CONN_BULK, NULL) == 0);
	peer.ours = -1;
	/* a bad request ends the lane: nobody takes the rest */
	if (send(peer.theirs, data + size / 2, size - size / 2, MSG_NOSIGNAL) >= 0)
		fuzz_peer_end(&peer);
	p = (struct pollfd){ .fd = cor_page_server_event_fd(ps), .events = POLLIN };
	do                      /* libFuzzer looks at its watch by a signal */
		r = poll(&p, 1, 10000);
	while (r < 0 && errno == EINTR);
	FUZZ_CHECK(r == 1);
	cor_page_server_stats(ps, &stats);
	FUZZ_CHECK(stats.lanes == 0 && stats.requests_bulk <= size / 16);
	cor_page_server_free(ps);
	fuzz_peer_close(&peer);
	return 0;
}
