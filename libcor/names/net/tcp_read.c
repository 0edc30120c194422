/* A silenced connection's state; see net/tcp_repair.h. */
#include <errno.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "libcor/base/cleanup.h"
#include "libcor/base/compat.h"
#include "libcor/base/error.h"
#include "libcor/names/file_ops.h"
#include "libcor/names/net/tcp_repair.h"

/* The oldest segment of the send queue may begin before what is unacknowledged, by
 * less than this. */
#define SEGMENT_MAX 65536

struct reading {
	int fd;
	int number;
	struct tcp_info info;
	struct cor_error *err;
};

static int get(struct reading *r, int level, int name, void *value, socklen_t len)
{
	if (getsockopt(r->fd, level, name, value, &len) == 0)
		return 0;
	return cor_fail_errno(r->err, "descriptor %d: reading option %d of its TCP connection",
			      r->number, name);
}

static int queued(struct reading *r, unsigned long request, int *out)
{
	if (ioctl(r->fd, request, out) == 0)
		return 0;
	return cor_fail_errno(r->err, "descriptor %d: the length of its queues", r->number);
}

static int choose_queue(struct reading *r, int queue)
{
	if (setsockopt(r->fd, IPPROTO_TCP, TCP_REPAIR_QUEUE, &queue, sizeof(queue)) == 0)
		return 0;
	return cor_fail_errno(r->err, "descriptor %d: its queues", r->number);
}

/* Peeks at the chosen queue, of which the last want bytes count. *buf: malloc, NULL
 * where there are none. */
static int peek(struct reading *r, size_t want, size_t slack, uint8_t **buf)
{
	_cleanup_free_ uint8_t *room = NULL;
	ssize_t n;

	if (want == 0)
		return 0;
	room = malloc(want + slack);
	if (!room)
		return cor_fail_code(r->err, -ENOMEM, "descriptor %d: its queues", r->number);
	n = recv(r->fd, room, want + slack, MSG_PEEK | MSG_DONTWAIT);
	if (n < 0)
		return cor_fail_errno(r->err, "descriptor %d: its queues", r->number);
	if ((size_t)n < want)
		return cor_fail(r->err, -EAGAIN, "descriptor %d: its queues change", r->number);
	memmove(room, room + (size_t)n - want, want);
	*buf = take_ptr(room);
	return 0;
}

static int read_send_queue(struct reading *r, Cor__Names__Connection *out)
{
	_cleanup_free_ uint8_t *data = NULL;
	int fin = cor_tcp_fin_written(out->state);
	int unacked, unsent, rc;

	rc = choose_queue(r, TCP_SEND_QUEUE);
	if (rc == 0)
		rc = get(r, IPPROTO_TCP, TCP_QUEUE_SEQ, &out->send_next, sizeof(out->send_next));
	if (rc == 0)
		rc = queued(r, SIOCOUTQ, &unacked);
	if (rc == 0)
		rc = queued(r, SIOCOUTQNSD, &unsent);
	if (rc < 0)
		return rc;
	/* a FIN counts as a byte in both */
	unacked -= fin && unacked;
	unsent -= fin && unsent;
	rc = peek(r, (size_t)unacked, SEGMENT_MAX, &data);
	if (rc < 0 || unacked == 0)
		return rc;
	rc = cor_file_bytes(&out->sent, data, (size_t)(unacked - unsent));
	if (rc == 0 && unsent)
		rc = cor_file_bytes(&out->unsent, data + unacked - unsent, (size_t)unsent);
	return rc;
}

/* The bytes in the receive queue, those behind urgent ones included. */
static int unread_bytes(struct reading *r, int *out)
{
	struct pollfd p = { .fd = r->fd, .events = POLLPRI };
	int inlined, on = 1, before, rc;

	rc = get(r, SOL_SOCKET, SO_OOBINLINE, &inlined, sizeof(inlined));
	if (rc == 0)
		rc = queued(r, SIOCINQ, &before);
	if (rc < 0)
		return rc;
	*out = before;
	if (!inlined) {
		setsockopt(r->fd, SOL_SOCKET, SO_OOBINLINE, &on, sizeof(on));
		rc = queued(r, SIOCINQ, out);
		setsockopt(r->fd, SOL_SOCKET, SO_OOBINLINE, &inlined, sizeof(inlined));
	}
	if (rc == 0 && (before != *out || (poll(&p, 1, 0) == 1 && (p.revents & POLLPRI))))
		return cor_fail(r->err, -EOPNOTSUPP, "descriptor %d is a TCP connection with urgent "
				"data that is not read yet: that is not carried", r->number);
	return rc;
}

static int read_receive_queue(struct reading *r, Cor__Names__Connection *out)
{
	_cleanup_free_ uint8_t *data = NULL;
	int unread, offset, none = -1;
	socklen_t len = sizeof(offset);
	bool moves;
	int rc;

	rc = choose_queue(r, TCP_RECV_QUEUE);
	if (rc == 0)
		rc = get(r, IPPROTO_TCP, TCP_QUEUE_SEQ, &out->recv_next, sizeof(out->recv_next));
	if (rc == 0)
		rc = unread_bytes(r, &unread);
	if (rc < 0 || unread == 0)
		return rc;
	/* a peek of ours would begin at the task's own offset, and move it on; before 6.9 TCP
	 * has none */
	moves = getsockopt(r->fd, SOL_SOCKET, SO_PEEK_OFF, &offset, &len) == 0 && offset >= 0;
	if (moves)
		setsockopt(r->fd, SOL_SOCKET, SO_PEEK_OFF, &none, sizeof(none));
	rc = peek(r, (size_t)unread, 0, &data);
	if (moves)
		setsockopt(r->fd, SOL_SOCKET, SO_PEEK_OFF, &offset, sizeof(offset));
	return rc < 0 ? rc : cor_file_bytes(&out->unread, data, (size_t)unread);
}

static int read_window(struct reading *r, Cor__Names__Connection *out)
{
	struct tcp_repair_window w = { 0 };
	int rc = get(r, IPPROTO_TCP, TCP_REPAIR_WINDOW, &w, sizeof(w));

	out->window_from = w.snd_wl1;
	out->send_window = w.snd_wnd;
	out->max_window = w.max_window;
	out->recv_window = w.rcv_wnd;
	out->recv_window_from = w.rcv_wup;
	return rc;
}

static int read_buffers(struct reading *r, Cor__Names__Connection *out)
{
	int rc = get(r, SOL_SOCKET, SO_SNDBUF, &out->send_buffer, sizeof(out->send_buffer));

	if (rc == 0)
		rc = get(r, SOL_SOCKET, SO_RCVBUF, &out->recv_buffer, sizeof(out->recv_buffer));
	if (rc == 0)
		rc = get(r, SOL_SOCKET, SO_BUF_LOCK, &out->buffers_locked,
			 sizeof(out->buffers_locked));
	return rc;
}

static int read_agreed(struct reading *r, Cor__Names__Connection *out)
{
	int quick = 1;
	int rc = get(r, IPPROTO_TCP, TCP_MAXSEG, &out->mss, sizeof(out->mss));

	out->options = r->info.tcpi_options;
	if (out->options & TCPI_OPT_WSCALE) {
		out->send_scale = r->info.tcpi_snd_wscale;
		out->recv_scale = r->info.tcpi_rcv_wscale;
	}
	if (rc == 0 && (out->options & TCPI_OPT_TIMESTAMPS))
		rc = get(r, IPPROTO_TCP, TCP_TIMESTAMP, &out->timestamp, sizeof(out->timestamp));
	if (rc == 0)
		rc = get(r, IPPROTO_TCP, TCP_QUICKACK, &quick, sizeof(quick));
	out->delayed = !quick;
	return rc;
}

int cor_tcp_read(int fd, int number, Cor__Names__Connection *out, struct cor_error *err)
{
	struct reading r = { .fd = fd, .number = number, .err = err };
	int rc = get(&r, IPPROTO_TCP, TCP_INFO, &r.info, sizeof(r.info));

	if (rc < 0)
		return rc;
	out->state = r.info.tcpi_state;
	rc = read_agreed(&r, out);
	if (rc == 0)
		rc = read_buffers(&r, out);
	if (rc == 0)
		rc = read_send_queue(&r, out);
	if (rc == 0)
		rc = read_receive_queue(&r, out);
	if (rc == 0 && out->state != TCP_SYN_SENT)
		rc = read_window(&r, out);
	/* with this queue chosen the kernel only moves on in it, and sends nothing, when a timer or an
	 * acknowledgement tells it to send */
	choose_queue(&r, TCP_SEND_QUEUE);
	return rc;
}

uint32_t cor_tcp_sent_again(int fd)
{
	struct tcp_info info = { 0 };
	socklen_t len = sizeof(info);

	return getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len) < 0 ? 0 : info.tcpi_total_retrans;
}

/* A packet that was under way on another processor when the socket was silenced, or a timer, may
 * change it still. What came in must be read again. What was acknowledged the new place sends once
 * more at the worst. What was sent it must know, since it does not heed what is said of bytes that
 * it has not sent (RFC 9293, 3.10.7.4), a larger window neither; but bytes that have left the
 * queue by now left it only (see the end of cor_tcp_read()), unless they were sent again. */
int cor_tcp_unchanged(int fd, const Cor__Names__Connection *was, uint32_t sent_again)
{
	struct reading r = { .fd = fd };
	int unacked, unsent, fin = cor_tcp_fin_written(was->state);
	uint32_t recv_next = 0;
	int rc = get(&r, IPPROTO_TCP, TCP_INFO, &r.info, sizeof(r.info));

	if (rc == 0)
		rc = choose_queue(&r, TCP_RECV_QUEUE);
	if (rc == 0)
		rc = get(&r, IPPROTO_TCP, TCP_QUEUE_SEQ, &recv_next, sizeof(recv_next));
	choose_queue(&r, TCP_SEND_QUEUE);
	if (rc == 0)
		rc = queued(&r, SIOCOUTQ, &unacked);
	if (rc == 0)
		rc = queued(&r, SIOCOUTQNSD, &unsent);
	if (rc < 0)
		return rc;
	unacked -= fin && unacked;
	unsent -= fin && unsent;
	return r.info.tcpi_state == was->state && recv_next == was->recv_next &&
	       (size_t)unacked <= was->sent.len + was->unsent.len &&
	       ((size_t)unsent == was->unsent.len ||
		((size_t)unsent < was->unsent.len && r.info.tcpi_total_retrans == sent_again)) ?
	       0 : -EAGAIN;
}
