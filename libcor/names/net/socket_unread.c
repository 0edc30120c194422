/* Messages that wait in a UNIX socket. They are peeked at growing offsets
 * (SO_PEEK_OFF in socket(7)); the socket's own offset is put back. */
#include <errno.h>
#include <linux/sockios.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "libcor/base/cleanup.h"
#include "libcor/base/error.h"
#include "libcor/names/net/socket_unread.h"

#define MESSAGE_MAX (4u << 20)  /* bytes of one message, or of one step through a stream */

#define WAITING_MAX (1u << 30)  /* bytes of all messages of one socket */

/* Appends to the one message of a stream, or a new one. */
static int add(Cor__Names__OpenFile *out, const struct msghdr *msg, const void *buf, size_t len)
{
	Cor__Names__Message *m;
	uint8_t *bigger;

	if (out->type == SOCK_STREAM && out->n_unread) {
		m = out->unread[0];
		bigger = realloc(m->data.data, m->data.len + len);
		if (!bigger)
			return -ENOMEM;
		memcpy(bigger + m->data.len, buf, len);
		m->data.data = bigger;
		m->data.len += len;
		return 0;
	}
	m = COR_FILE_APPEND(out->unread, out->n_unread, Cor__Names__Message,
			    cor__names__message__init);
	if (!m)
		return -ENOMEM;
	/* the sender's name, where it has one: longer than its family */
	if (msg->msg_namelen > sizeof(sa_family_t) &&
	    cor_file_bytes(&m->address, msg->msg_name, msg->msg_namelen) < 0)
		return -ENOMEM;
	return cor_file_bytes(&m->data, buf, len);
}

/* With SO_PASSCRED a message comes with its sender's credentials, an empty one too. The end of
 * a connection of packets, which looks like an empty message otherwise, does not. */
struct credentials {
	int was;                /* what the socket had; -1: it was not asked */
	char space[CMSG_SPACE(sizeof(struct ucred))]
		__attribute__((aligned(__alignof__(struct cmsghdr))));
};

static int ask_credentials(int fd, struct credentials *c)
{
	const int on = 1;
	socklen_t len = sizeof(c->was);

	c->was = -1;
	if (getsockopt(fd, SOL_SOCKET, SO_PASSCRED, &c->was, &len) < 0)
		return -errno;
	return setsockopt(fd, SOL_SOCKET, SO_PASSCRED, &on, sizeof(on)) < 0 ? -errno : 0;
}

static void ask_no_more(int fd, const struct credentials *c)
{
	if (c->was == 0)
		setsockopt(fd, SOL_SOCKET, SO_PASSCRED, &c->was, sizeof(c->was));
}

/* There is room for them alone: descriptors that come along stay where they are. */
static void expect_credentials(struct msghdr *msg, struct credentials *c)
{
	msg->msg_control = c->space;
	msg->msg_controllen = sizeof(c->space);
}

bool cor_socket_message_waits(int fd)
{
	struct msghdr msg = { 0 };
	struct credentials c;
	ssize_t n = -1;

	if (ask_credentials(fd, &c) == 0) {
		expect_credentials(&msg, &c);
		n = recvmsg(fd, &msg, MSG_PEEK | MSG_DONTWAIT);
	}
	ask_no_more(fd, &c);
	return n >= 0 && msg.msg_controllen > 0;
}

/* A pending error (ECONNRESET of a stream) is given once, to whoever reads past the
 * last byte: so a stream is never read that far. */
static int peek_all(const struct cor_file_seen *seen, Cor__Names__OpenFile *out, char *buf,
		    int waiting, struct credentials *c, struct cor_error *err)
{
	while (out->type != SOCK_STREAM || waiting > 0) {
		struct sockaddr_storage from;
		struct iovec iov = { .iov_base = buf, .iov_len = MESSAGE_MAX };
		struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1, .msg_name = &from,
				      .msg_namelen = sizeof(from) };
		ssize_t n;
		int rc;

		if (out->type == SOCK_SEQPACKET)
			expect_credentials(&msg, c);
		n = recvmsg(seen->dup, &msg, MSG_PEEK | MSG_DONTWAIT);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && (errno == EAGAIN || errno == ENOTCONN))
			return 0;
		if (n < 0)
			return cor_fail_errno(err, "descriptor %d: peeking at its messages", seen->fd);
		if (msg.msg_flags & MSG_TRUNC)
			return cor_file_refuse(err, seen, "a UNIX socket with a message of more than "
					       "%u bytes waiting", MESSAGE_MAX);
		if (n == 0 && out->type != SOCK_DGRAM && msg.msg_controllen == 0)
			return 0;       /* the other end is closed */
		rc = add(out, &msg, buf, (size_t)n);
		if (rc < 0)
			return rc;
		waiting -= (int)n;
	}
	return 0;
}

int cor_socket_unread_capture(const struct cor_file_seen *seen, Cor__Names__OpenFile *out,
			      struct cor_error *err)
{
	_cleanup_free_ char *buf = malloc(MESSAGE_MAX);
	struct pollfd p = { .fd = seen->dup };
	struct credentials c = { .was = -1 };
	int offset = -1, start = 0, waiting = 0, rc = 0;
	socklen_t len = sizeof(offset);

	if (!buf)
		return -ENOMEM;
	if (poll(&p, 1, 0) == 1 && (p.revents & POLLERR) && out->type != SOCK_STREAM)
		return cor_file_refuse(err, seen, "a UNIX socket with an error that was not read yet");
	if (seen->ahead)
		return 0;
	if (ioctl(seen->dup, SIOCINQ, &waiting) < 0)
		return cor_fail_errno(err, "descriptor %d: SIOCINQ", seen->fd);
	if (getsockopt(seen->dup, SOL_SOCKET, SO_PEEK_OFF, &offset, &len) < 0 ||
	    setsockopt(seen->dup, SOL_SOCKET, SO_PEEK_OFF, &start, sizeof(start)) < 0)
		return cor_fail_errno(err, "descriptor %d: SO_PEEK_OFF", seen->fd);
	if (out->type == SOCK_SEQPACKET)
		rc = ask_credentials(seen->dup, &c);
	if (rc == 0)
		rc = peek_all(seen, out, buf, waiting, &c, err);
	ask_no_more(seen->dup, &c);
	if (setsockopt(seen->dup, SOL_SOCKET, SO_PEEK_OFF, &offset, sizeof(offset)) < 0 && rc == 0)
		rc = cor_fail_errno(err, "descriptor %d: SO_PEEK_OFF", seen->fd);
	return rc;
}

static int send_one(const Cor__Names__Message *m, int from)
{
	const char *data = m->data.len ? (const char *)m->data.data : "";
	size_t sent = 0;

	do {
		ssize_t n = send(from, data + sent, m->data.len - sent,
				 MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		sent += (size_t)n;
	} while (sent < m->data.len);
	return 0;
}

int cor_socket_unread_send(const Cor__Names__OpenFile *file, int from)
{
	int usual = 0, room = 8 << 20;
	socklen_t len = sizeof(usual);
	size_t bytes = 0;
	int rc = 0;

	if (file->n_unread == 0)
		return 0;
	/* what waits may be more than a new socket would send: its buffer is that of
	 * the sender, which may have been another one then */
	for (size_t i = 0; i < file->n_unread; i++)
		bytes += file->unread[i]->data.len + 4096;
	if (bytes > WAITING_MAX)
		return -EPROTO;
	room += (int)bytes;
	if (getsockopt(from, SOL_SOCKET, SO_SNDBUF, &usual, &len) < 0)
		return -errno;
	setsockopt(from, SOL_SOCKET, SO_SNDBUFFORCE, &room, sizeof(room));
	for (size_t i = 0; i < file->n_unread && rc == 0; i++)
		rc = send_one(file->unread[i], from);
	usual /= 2;
	setsockopt(from, SOL_SOCKET, SO_SNDBUFFORCE, &usual, sizeof(usual));
	return rc;
}
