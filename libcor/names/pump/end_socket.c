/* Ends that are connected sockets: byte streams, and sockets that carry messages
 * (SOCK_SEQPACKET, SOCK_DGRAM). Half-closes go through: shutdown(2) on one side is end of
 * file on the other.
 *
 * Descriptors that are passed (SCM_RIGHTS) cannot go to another host. Neither can the
 * message be taken back from whoever believes that it was sent: so the connection ends,
 * for both sides. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "libcor/base/cleanup.h"
#include "libcor/base/error.h"
#include "libcor/names/pump/channel.h"
#include "libcor/names/pump/end.h"
#include "libcor/names/net/sock_diag.h"
#include "libcor/names/net/socket_unread.h"

#define PASSED_MAX 253          /* descriptors that one message may pass (SCM_MAX_FD) */

static int type_of(const Cor__Names__PumpChannel *ch)
{
	return ch->kind == COR__NAMES__PUMP_KIND__PUMP_STREAM ? SOCK_STREAM :
	       ch->datagrams ? SOCK_DGRAM : SOCK_SEQPACKET;
}

static void begin(struct cor_pump_end *e, const Cor__Names__PumpChannel *ch)
{
	e->reads = e->writes = true;
	e->readable = e->writable = true;
	e->messages = ch->kind == COR__NAMES__PUMP_KIND__PUMP_PACKETS;
	e->datagrams = ch->datagrams;
	e->shared = ch->shared;
}

/* Both ends of a pair have the credentials of who makes it, and the task may ask for its
 * peer's (SO_PEERCRED): it gets the user and group that its peer has, though our PID. Of
 * this thread alone. */
static int make_pair(const Cor__Names__PumpChannel *ch, int ends[2])
{
	uid_t uid = geteuid();
	gid_t gid = getegid();
	int r = 0;

	syscall(SYS_setresgid, -1, ch->gid, -1);
	syscall(SYS_setresuid, -1, ch->uid, -1);
	if (socketpair(AF_UNIX, type_of(ch) | SOCK_CLOEXEC, 0, ends) < 0)
		r = -errno;
	syscall(SYS_setresuid, -1, uid, -1);
	syscall(SYS_setresgid, -1, gid, -1);
	return r;
}

static int make(struct cor_pump_end *e, const Cor__Names__PumpChannel *ch, int *task,
		struct cor_error *err)
{
	_cleanup_close_ int ours = -1, theirs = -1;
	int ends[2], room = COR_PUMP_MESSAGE_MAX;
	struct stat st;
	int r = make_pair(ch, ends);

	if (r < 0)
		return cor_fail_code(err, r, "a pair of sockets for %s", ch->what);
	ours = ends[0];
	theirs = ends[1];
	if (fcntl(ours, F_SETFL, O_NONBLOCK) < 0 || fstat(theirs, &st) < 0)
		return cor_fail_errno(err, "a pair of sockets for %s", ch->what);
	/* a message must fit that the outside could send */
	setsockopt(ours, SOL_SOCKET, SO_SNDBUFFORCE, &room, sizeof(room));
	begin(e, ch);
	e->inode = st.st_ino;
	e->fd = take_fd(&ours);
	*task = take_fd(&theirs);
	return 0;
}

/* O_NONBLOCK is not ours to set: each call says that it does not wait. */
static int take(struct cor_pump_end *e, const Cor__Names__PumpChannel *ch, int fd,
		struct cor_error *err)
{
	e->fd = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	if (e->fd < 0)
		return cor_fail_errno(err, "a descriptor for %s", ch->what);
	begin(e, ch);
	return 0;
}

/* ---- reading ------------------------------------------------------------------------------ */

/* -EPROTO: descriptors came along, which are closed. */
static ssize_t receive(int fd, void *buf, size_t len, int flags)
{
	union {
		struct cmsghdr h;
		char space[CMSG_SPACE(PASSED_MAX * sizeof(int)) + 256];
	} c;
	struct iovec iov = { buf, len };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &c,
			    .msg_controllen = sizeof(c) };
	bool passed = false;
	ssize_t n;

	do
		n = recvmsg(fd, &m, MSG_DONTWAIT | MSG_CMSG_CLOEXEC | flags);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	for (struct cmsghdr *h = CMSG_FIRSTHDR(&m); h; h = CMSG_NXTHDR(&m, h)) {
		size_t nfds = (h->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		int *fds = (int *)CMSG_DATA(h);

		if (h->cmsg_level != SOL_SOCKET || h->cmsg_type != SCM_RIGHTS)
			continue;
		passed = true;
		for (size_t i = 0; i < nfds; i++)
			close(fds[i]);
	}
	return passed || (m.msg_flags & MSG_CTRUNC) ? -EPROTO : n;
}

static ssize_t read_stream(struct cor_pump_end *e, struct cor_pump_queue *q, size_t room)
{
	uint8_t *to = cor_pump_queue_room(q, room, &room);
	ssize_t n;

	if (!to)
		return -ENOMEM;
	n = receive(e->fd, to, room, 0);
	cor_pump_queue_added(q, n > 0 ? (size_t)n : 0);
	return n;
}

/* An empty message, or the end? */
static bool at_end(const struct cor_pump_end *e)
{
	struct pollfd p = { .fd = e->fd, .events = POLLRDHUP };

	return !e->datagrams && poll(&p, 1, 0) == 1 && (p.revents & (POLLRDHUP | POLLHUP)) &&
	       !cor_socket_message_waits(e->fd);
}

static ssize_t read_message(struct cor_pump_end *e, struct cor_pump_queue *q)
{
	_cleanup_free_ uint8_t *buf = NULL;
	char first;
	ssize_t n = recv(e->fd, &first, 1, MSG_PEEK | MSG_TRUNC | MSG_DONTWAIT);

	if (n < 0)
		return errno == EAGAIN && e->ended ? -EPROTO : -errno;
	if (n == 0 && at_end(e))
		return 0;
	if (n > (ssize_t)COR_PUMP_MESSAGE_MAX - 1)
		return -EMSGSIZE;
	buf = malloc((size_t)n + 1);
	if (!buf)
		return -ENOMEM;
	n = receive(e->fd, buf, (size_t)n + 1, 0);
	if (n < 0)
		return n;
	if (cor_pump_queue_bytes(q, buf, (size_t)n) < 0 ||
	    cor_pump_queue_event(q, COR_PUMP_MESSAGE, NULL, 0) < 0)
		return 0;       /* it is lost: end rather than leave a hole */
	return n + 1;
}

static ssize_t read_end(struct cor_pump_end *e, struct cor_pump_queue *q, size_t room)
{
	return e->messages ? read_message(e, q) : read_stream(e, q, room);
}

/* That the peer of a datagram socket has gone is not told to it, but by the next send. */
static bool tick(struct cor_pump_end *e, struct cor_pump_queue *q)
{
	struct cor_unix_socket s;
	struct stat st;

	if (!e->datagrams || e->ended || fstat(e->fd, &st) < 0 ||
	    cor_unix_diag((uint32_t)st.st_ino, &s, NULL) < 0 || s.peer)
		return false;
	e->ended = e->readable = true;
	return true;
}

/* ---- writing ------------------------------------------------------------------------------- */

static ssize_t give(int fd, const void *data, size_t len)
{
	ssize_t n;

	do
		n = send(fd, data, len, MSG_DONTWAIT | MSG_NOSIGNAL);
	while (n < 0 && errno == EINTR);
	if (n >= 0)
		return n;
	return errno == EAGAIN || errno == ENOBUFS ? -EAGAIN : errno == EMSGSIZE ? -EMSGSIZE : -EPIPE;
}

static ssize_t write_stream(struct cor_pump_end *e, struct cor_pump_queue *q)
{
	const struct cor_pump_item *i = cor_pump_queue_at(q, q->start);
	size_t skip = q->start - i->at;

	return i->event ? 1 : give(e->fd, i->data + skip, i->len - skip);
}

/* The bytes up to a MESSAGE, in one piece; -ENODATA: it is not all there. */
static ssize_t gather(struct cor_pump_queue *q, uint8_t **out)
{
	const struct cor_pump_item *event;
	ssize_t len = cor_pump_queue_message(q, out, &event);

	if (len == -ENODATA && cor_pump_queue_length(q) > COR_PUMP_MESSAGE_MAX)
		return -EPIPE;
	if (len < 0)
		return len == -ENOMEM ? -EAGAIN : len;
	return event->event == COR_PUMP_MESSAGE ? len : -EPIPE;
}

static ssize_t write_message(struct cor_pump_end *e, struct cor_pump_queue *q)
{
	_cleanup_free_ uint8_t *message = NULL;
	int room = 2 * COR_PUMP_MESSAGE_MAX;
	ssize_t len = gather(q, &message), n;

	if (len < 0)
		return len;
	n = give(e->fd, message, (size_t)len);
	if (n == -EMSGSIZE) {
		/* more than the task itself could send here: its buffer was larger elsewhere */
		setsockopt(e->fd, SOL_SOCKET, SO_SNDBUFFORCE, &room, sizeof(room));
		n = give(e->fd, message, (size_t)len);
	}
	return n == -EMSGSIZE ? -EPIPE : n < 0 ? n : len + 1;
}

static ssize_t write_end(struct cor_pump_end *e, struct cor_pump_queue *q)
{
	return e->messages ? write_message(e, q) : write_stream(e, q);
}

/* ---- ends ------------------------------------------------------------------------------------ */

/* Not so one that others have too, such as the shell above the task: they go on with it
 * when we let go. */
static void shut(struct cor_pump_end *e, bool reading)
{
	*(reading ? &e->reads : &e->writes) = false;
	if (!e->shared && e->fd >= 0)
		shutdown(e->fd, reading ? SHUT_RD : SHUT_WR);
}

static bool gone(const struct cor_pump_end *e, uint32_t events)
{
	return !e->datagrams && (events & EPOLLHUP);
}

static uint64_t identity(const struct cor_pump_end *e)
{
	return e->inode;
}

const struct cor_pump_end_ops cor_pump_end_stream = {
	.kind  = COR__NAMES__PUMP_KIND__PUMP_STREAM,
	.make  = make,
	.take  = take,
	.read  = read_end,
	.write = write_end,
	.early = true,
	.shut  = shut,
	.gone  = gone,
	.identity = identity,
};

const struct cor_pump_end_ops cor_pump_end_packets = {
	.tick  = tick,
	.kind  = COR__NAMES__PUMP_KIND__PUMP_PACKETS,
	.make  = make,
	.take  = take,
	.read  = read_end,
	.write = write_end,
	.early = true,
	.shut  = shut,
	.gone  = gone,
	.identity = identity,
};
