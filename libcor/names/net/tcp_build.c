/* A connection made again from its state, on a socket that was never used; see
 * net/tcp_repair.h. */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>

#include "libcor/base/cleanup.h"
#include "libcor/base/compat.h"
#include "libcor/base/error.h"
#include "libcor/names/net/socket.h"
#include "libcor/names/net/tcp_repair.h"

#define MAXSEG_MAX 32767        /* of TCP_MAXSEG */
#define CHUNK 32768             /* what is put into a queue at a time: single buffers */

struct building {
	int fd;
	int number;
	const Cor__Names__OpenFile *file;
	const Cor__Names__Connection *c;
	struct cor_error *err;
};

static int fail(struct building *b, const char *what)
{
	char ours[COR_SOCKET_NAME], theirs[COR_SOCKET_NAME];
	int saved = errno;

	cor_socket_print_bytes(&b->file->address, ours);
	cor_socket_print_bytes(&b->file->peer_address, theirs);
	return cor_fail_code(b->err, -saved, "descriptor %d: the TCP connection from %s to %s: %s",
			     b->number, ours, theirs, what);
}

static int set_value(struct building *b, int level, int name, const void *value, socklen_t len,
		     const char *what)
{
	return setsockopt(b->fd, level, name, value, len) < 0 ? fail(b, what) : 0;
}

static int set(struct building *b, int level, int name, int value, const char *what)
{
	return set_value(b, level, name, &value, sizeof(value), what);
}

/* size is what SO_SNDBUF and SO_RCVBUF tell: twice what they are given. */
static int set_buffer(struct building *b, int name, uint64_t size)
{
	return set(b, SOL_SOCKET, name, (int)COR_MIN(size / 2, UINT64_C(0x3fffffff)), "its buffers");
}

/* Room for the queues: what they hold may take more of it here. Before it connects, as
 * the windows are chosen then. */
static int make_room(struct building *b)
{
	size_t to_send = b->c->sent.len + b->c->unsent.len;
	uint64_t send = b->c->send_buffer, recv = b->c->recv_buffer;
	int r;

	if (to_send)
		send = COR_MAX(send, 4 * (uint64_t)to_send + CHUNK);
	if (b->c->unread.len)
		recv = COR_MAX(recv, 4 * (uint64_t)b->c->unread.len + CHUNK);
	r = set_buffer(b, SO_SNDBUFFORCE, send);
	return r < 0 ? r : set_buffer(b, SO_RCVBUFFORCE, recv);
}

/* As they were, once the queues are full. That a size was set does not matter then but
 * for those that the task has set: the kernel goes on to adapt the others. */
static int set_buffers(struct building *b)
{
	int r = 0;

	if (b->c->sent.len + b->c->unsent.len)
		r = set_buffer(b, SO_SNDBUFFORCE, b->c->send_buffer);
	if (r == 0 && b->c->unread.len)
		r = set_buffer(b, SO_RCVBUFFORCE, b->c->recv_buffer);
	if (r == 0)
		r = set(b, SOL_SOCKET, SO_BUF_LOCK, (int)(b->c->buffers_locked & 3), "its buffers");
	return r;
}

static int choose_queue(struct building *b, int queue)
{
	return set(b, IPPROTO_TCP, TCP_REPAIR_QUEUE, queue, "its queues");
}

static int set_sequence(struct building *b, int queue, uint32_t first)
{
	int r = choose_queue(b, queue);

	return r < 0 ? r : set_value(b, IPPROTO_TCP, TCP_QUEUE_SEQ, &first, sizeof(first),
				     "its sequence numbers");
}

/* Puts what data holds into the chosen queue, or sends it. */
static int put(struct building *b, const ProtobufCBinaryData *data)
{
	for (size_t done = 0; done < data->len; ) {
		size_t n = COR_MIN(data->len - done, (size_t)CHUNK);
		ssize_t sent = send(b->fd, data->data + done, n, MSG_DONTWAIT | MSG_NOSIGNAL);

		if (sent < 0)
			return fail(b, "its queues");
		done += (size_t)sent;
	}
	return 0;
}

static int set_agreed(struct building *b)
{
	struct tcp_repair_opt opts[4];
	unsigned n = 0;
	int r;

	opts[n++] = (struct tcp_repair_opt){ TCPOPT_MAXSEG, b->c->mss };
	if (b->c->options & TCPI_OPT_WSCALE)
		opts[n++] = (struct tcp_repair_opt){ TCPOPT_WINDOW,
						     b->c->send_scale | b->c->recv_scale << 16 };
	if (b->c->options & TCPI_OPT_SACK)
		opts[n++] = (struct tcp_repair_opt){ TCPOPT_SACK_PERMITTED, 0 };
	if (b->c->options & TCPI_OPT_TIMESTAMPS)
		opts[n++] = (struct tcp_repair_opt){ TCPOPT_TIMESTAMP, 0 };
	r = set_value(b, IPPROTO_TCP, TCP_REPAIR_OPTIONS, opts, (socklen_t)(n * sizeof(opts[0])),
		      "what it has agreed on");
	if (r == 0 && (b->c->options & TCPI_OPT_TIMESTAMPS))
		r = set_value(b, IPPROTO_TCP, TCP_TIMESTAMP, &b->c->timestamp,
			      sizeof(b->c->timestamp), "its timestamp");
	return r;
}

static int set_window(struct building *b)
{
	struct tcp_repair_window w = {
		.snd_wl1 = b->c->window_from,
		.snd_wnd = b->c->send_window,
		.max_window = b->c->max_window,
		.rcv_wnd = b->c->recv_window,
		.rcv_wup = b->c->recv_window_from,
	};

	/* the kernel takes it only where it fits the sequence numbers */
	if (cor_tcp_fin_received(b->c->state)) {
		if (w.rcv_wup == b->c->recv_next)
			w.rcv_wup--;
	}
	return set_value(b, IPPROTO_TCP, TCP_REPAIR_WINDOW, &w, sizeof(w), "its window");
}

static int bind_to(struct building *b)
{
	struct sockaddr_storage ss;
	socklen_t len;

	if (cor_socket_sockaddr(&b->file->address, &ss, &len) < 0)
		return cor_fail(b->err, -EPROTO, "descriptor %d: its address is wrong", b->number);
	return bind(b->fd, (struct sockaddr *)&ss, len) < 0 ? fail(b, "its address") : 0;
}

/* The size of segments is settled when it connects, by what it would tell a peer that
 * it does not ask now. */
static int set_maxseg(struct building *b, uint32_t mss)
{
	return set(b, IPPROTO_TCP, TCP_MAXSEG, (int)COR_MIN(mss, (uint32_t)MAXSEG_MAX),
		   "its segments' size");
}

static int connect_to(struct building *b)
{
	struct sockaddr_storage ss;
	socklen_t len;

	if (cor_socket_sockaddr(&b->file->peer_address, &ss, &len) < 0)
		return cor_fail(b->err, -EPROTO, "descriptor %d: its peer's address is wrong",
				b->number);
	if (connect(b->fd, (struct sockaddr *)&ss, len) == 0 || errno == EINPROGRESS)
		return 0;
	return fail(b, "connecting");
}

/* Where the sequence numbers begin: at the oldest byte in each queue. */
static int set_sequences(struct building *b)
{
	uint32_t send = b->c->send_next - (uint32_t)(b->c->sent.len + b->c->unsent.len);
	uint32_t recv = b->c->recv_next - (uint32_t)b->c->unread.len;
	int r;

	if (cor_tcp_fin_written(b->c->state))
		send--;
	if (cor_tcp_fin_received(b->c->state))
		recv--;
	/* connect(2) in wake() sends the very SYN again, which takes a number itself */
	if (b->c->state == TCP_SYN_SENT)
		send = b->c->send_next - 1;
	r = set_sequence(b, TCP_SEND_QUEUE, send);
	if (r == 0 && b->c->state != TCP_SYN_SENT)
		r = set_sequence(b, TCP_RECV_QUEUE, recv);
	return r;
}

static int fill_queues(struct building *b)
{
	int r = b->c->unread.len ? choose_queue(b, TCP_RECV_QUEUE) : 0;

	if (r == 0)
		r = put(b, &b->c->unread);
	if (r == 0)
		r = choose_queue(b, TCP_SEND_QUEUE);
	if (r == 0)
		r = put(b, &b->c->sent);
	/* our FIN was sent as well: it counts as in flight */
	if (r == 0 && cor_tcp_fin_written(b->c->state) && b->c->unsent.len == 0 &&
	    !cor_tcp_fin_received(b->c->state) && shutdown(b->fd, SHUT_WR) < 0)
		r = fail(b, "its end");
	return r;
}

static bool state_is_carried(uint32_t state)
{
	return state == TCP_ESTABLISHED || state == TCP_SYN_SENT || state == TCP_CLOSE_WAIT ||
	       cor_tcp_fin_written(state);
}

static int connect_again(struct building *b)
{
	int r = set_maxseg(b, b->c->mss);

	if (r == 0)
		r = connect_to(b);
	if (r == 0)
		r = set_maxseg(b, 0);
	if (r == 0)
		r = set_agreed(b);
	if (r == 0)
		r = fill_queues(b);
	if (r == 0)
		r = set_window(b);
	if (r == 0)
		r = choose_queue(b, TCP_NO_QUEUE);
	/* what is unsent still needs its room */
	if (r == 0 && b->c->unsent.len == 0)
		r = set_buffers(b);
	if (r == 0 && b->c->delayed)
		r = set(b, IPPROTO_TCP, TCP_QUICKACK, 0, "TCP_QUICKACK");
	return r;
}

int cor_tcp_build(int fd, int number, const Cor__Names__OpenFile *file, struct cor_error *err)
{
	struct building b = { .fd = fd, .number = number, .file = file, .c = file->connection,
			      .err = err };
	int r;

	if (!b.c || !state_is_carried(b.c->state))
		return cor_fail(err, -EPROTO, "descriptor %d: its TCP connection's state is wrong",
				number);
	r = set(&b, IPPROTO_TCP, TCP_REPAIR, TCP_REPAIR_ON, "repair mode");
	/* the address is not here yet */
	if (r == 0 && cor_socket_transparent(fd, file->domain, 1) < 0)
		r = fail(&b, "IP_TRANSPARENT");
	if (r == 0)
		r = bind_to(&b);
	if (r == 0)
		r = set_sequences(&b);
	if (r == 0)
		r = make_room(&b);
	if (r == 0 && b.c->state != TCP_SYN_SENT)
		r = connect_again(&b);
	/* when it sends next, it will be */
	if (r == 0 && cor_socket_opaque(file, fd) < 0)
		r = fail(&b, "IP_TRANSPARENT");
	return r;
}

/* The end of repair mode, in which the kernel asks the peer for an acknowledgement
 * where one may have been lost. */
static int leave_repair(struct building *b)
{
	bool ask = b->c->sent.len || cor_tcp_fin_written(b->c->state);
	int r = set(b, IPPROTO_TCP, TCP_REPAIR, ask ? TCP_REPAIR_OFF : TCP_REPAIR_OFF_NO_WP,
		    "repair mode");

	/* repair mode has changed this one */
	if (r == 0 && cor_socket_has_option(b->file, SOL_SOCKET, SO_REUSEADDR))
		r = set(b, SOL_SOCKET, SO_REUSEADDR, 1, "SO_REUSEADDR");
	return r;
}

/* The second of two FINs, or one that was not sent yet. */
static int end_again(struct building *b)
{
	int r = 0;

	if (cor_tcp_fin_received(b->c->state))
		r = cor_tcp_forge_fin(b->fd, b->number, b->file, b->err);
	if (r == 0 && cor_tcp_fin_written(b->c->state) &&
	    (b->c->unsent.len || cor_tcp_fin_received(b->c->state)) && shutdown(b->fd, SHUT_WR) < 0)
		r = fail(b, "its end");
	return r;
}

int cor_tcp_wake(int fd, int number, const Cor__Names__OpenFile *file, struct cor_error *err)
{
	struct building b = { .fd = fd, .number = number, .file = file, .c = file->connection,
			      .err = err };
	int r = leave_repair(&b);

	if (r == 0 && b.c->state == TCP_SYN_SENT)
		r = connect_to(&b);
	if (r == 0)
		r = put(&b, &b.c->unsent);
	if (r == 0)
		r = end_again(&b);
	if (r == 0 && (b.c->unsent.len || b.c->state == TCP_SYN_SENT))
		r = set_buffers(&b);
	return r;
}
