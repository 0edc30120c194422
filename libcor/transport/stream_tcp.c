/* A stream that is a socket; see stream.h. Nothing but the system calls: the path of
 * a fault goes through here. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "libcor/base/cleanup.h"
#include "libcor/base/error.h"
#include "libcor/transport/stream.h"

static ssize_t tcp_receive(struct cor_stream *s, const struct iovec *iov, unsigned n,
			   unsigned flags)
{
	int how = flags & COR_STREAM_NOWAIT ? MSG_DONTWAIT : 0;
	struct msghdr m = { .msg_iov = (struct iovec *)iov, .msg_iovlen = n };
	ssize_t r;

	do
		r = n == 1 ? recv(s->in_fd, iov->iov_base, iov->iov_len, how)
			   : recvmsg(s->in_fd, &m, how);
	while (r < 0 && errno == EINTR);
	return r < 0 ? -errno : r;
}

static ssize_t tcp_send(struct cor_stream *s, const struct iovec *iov, unsigned n, unsigned flags)
{
	int how = MSG_NOSIGNAL | (flags & COR_STREAM_NOWAIT ? MSG_DONTWAIT : 0);
	struct msghdr m = { .msg_iov = (struct iovec *)iov, .msg_iovlen = n };
	ssize_t r;

	do
		r = n == 1 ? send(s->out_fd, iov->iov_base, iov->iov_len, how)
			   : sendmsg(s->out_fd, &m, how);
	while (r < 0 && errno == EINTR);
	return r < 0 ? -errno : r;
}

/* Each wake-up costs the sender, too, where both are on one host: it is the one that wakes. */
static void tcp_worth(struct cor_stream *s, size_t bytes)
{
	int low = (int)COR_MIN(bytes, (size_t)INT32_MAX);

	(void)setsockopt(s->in_fd, SOL_SOCKET, SO_RCVLOWAT, &low, sizeof(low));
}

static void tcp_shutdown(struct cor_stream *s)
{
	shutdown(s->in_fd, SHUT_RDWR);
}

static void tcp_close(struct cor_stream *s)
{
	close(s->in_fd);
	free(s);
}

static const struct cor_stream_ops tcp_ops = {
	.name = "tcp",
	.receive = tcp_receive,
	.send = tcp_send,
	.worth = tcp_worth,
	.shutdown = tcp_shutdown,
	.close = tcp_close,
};

int cor_stream_tcp(struct cor_stream **out, int sock, struct cor_error *err)
{
	_cleanup_close_ int fd = sock;
	struct cor_stream *s;
	int flags = fcntl(sock, F_GETFL);

	if (flags < 0 || fcntl(sock, F_SETFL, flags & ~O_NONBLOCK) < 0)
		return cor_fail_errno(err, "making the connection on descriptor %d blocking", sock);
	s = calloc(1, sizeof(*s));
	if (!s)
		return cor_fail(err, -ENOMEM, "a connection: out of memory");
	s->ops = &tcp_ops;
	s->in_fd = s->out_fd = take_fd(&fd);
	*out = s;
	return 0;
}
