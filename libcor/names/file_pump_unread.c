/* See file_pump_unread.h. */
#include "libcor/names/file_pump_unread.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "libcor/base/cleanup.h"
#include "libcor/names/file_forward.h"
#include "libcor/names/file_forward_udp.h"
#include "libcor/names/net/socket_unread.h"
#include "libcor/names/pump/channel.h"

#define ENDED_ALL (64u << 20)   /* bytes, of all of a task's */

static bool is_udp(const Cor__Names__PumpChannel *ch)
{
	return ch->kind == COR__NAMES__PUMP_KIND__PUMP_UDP;
}

static bool is_pipe(const Cor__Names__PumpChannel *ch)
{
	return ch->kind == COR__NAMES__PUMP_KIND__PUMP_PIPE;
}

/* What a message of its kind ends with. */
static enum cor_pump_event event_of(const Cor__Names__PumpChannel *ch)
{
	return is_udp(ch) ? COR_PUMP_DATAGRAM :
	       ch->packets || ch->kind == COR__NAMES__PUMP_KIND__PUMP_PACKETS ? COR_PUMP_MESSAGE :
	       COR_PUMP_BYTES;
}

/* ---- all of it ------------------------------------------------------------------------------ */

static int all(const struct cor_file_seen *seen, const Cor__Names__PumpChannel *ch,
	       Cor__Names__OpenFile *out, struct cor_error *err)
{
	out->capacity = ch->capacity;
	return cor_forward_is_inet(ch) ? cor_forward_unread(seen, ch->arrived, out, err) :
	       is_pipe(ch) ? cor_file_pipe_unread(seen, out, err) :
	       cor_socket_unread_capture(seen, out, err);
}

/* ---- the first of it ------------------------------------------------------------------------ */

/* Others may write meanwhile: what has come so far. */
static ssize_t peek_pipe(int fd, void *buf, size_t size)
{
	_cleanup_close_ int from = -1, to = -1;
	int ends[2];

	if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) < 0)
		return -errno;
	from = ends[0];
	to = ends[1];
	if (size > COR_PUMP_AHEAD_MAX)
		fcntl(to, F_SETPIPE_SZ, (int)size);
	return tee(fd, to, size, SPLICE_F_NONBLOCK) < 0 ? -errno : read(from, buf, size);
}

/* Not where the task has chosen what is peeked, or where an error waits: who looks is told
 * of it, and nobody else. */
static bool may_peek(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	int offset = -1;
	socklen_t len = sizeof(offset);

	getsockopt(fd, SOL_SOCKET, SO_PEEK_OFF, &offset, &len);
	return offset < 0 && poll(&p, 1, 0) == 1 && !(p.revents & POLLERR);
}

/* A message with which descriptors come along is home's alone. */
static ssize_t peek_socket(int fd, void *buf, size_t size)
{
	struct iovec iov = { buf, size };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1 };
	ssize_t n = recvmsg(fd, &m, MSG_PEEK | MSG_DONTWAIT);

	return n > 0 && (m.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) ? 0 : n;
}

/* So much of it. Who has been told that a stream has ended (POLLRDHUP, POLLHUP) may take it
 * that all of it is there, and a short read for its end: so it is, but where there are so many
 * that the freeze would last. */
static size_t how_much(struct cor_file_capture *c, int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN | POLLRDHUP };
	int waiting = 0;

	if (poll(&p, 1, 0) != 1 || !(p.revents & (POLLRDHUP | POLLHUP)) ||
	    ioctl(fd, FIONREAD, &waiting) < 0 || waiting <= (int)COR_PUMP_AHEAD_MAX ||
	    waiting > (int)COR_PUMP_AHEAD_ENDED || c->ahead_bytes + (unsigned)waiting > ENDED_ALL)
		return COR_PUMP_AHEAD_MAX;
	c->ahead_bytes += (unsigned)waiting;
	return (size_t)waiting;
}

static int first(struct cor_file_capture *c, const struct cor_file_seen *seen,
		 const Cor__Names__PumpChannel *ch, Cor__Names__OpenFile *out)
{
	_cleanup_free_ uint8_t *buf = NULL;
	Cor__Names__Message *m;
	size_t size;
	ssize_t n;

	if (!is_pipe(ch) && !may_peek(seen->dup))
		return 0;
	if (is_udp(ch))
		return cor_forward_udp_first(seen, out);
	size = how_much(c, seen->dup);
	buf = malloc(size);
	if (!buf)
		return -ENOMEM;
	n = is_pipe(ch) ? peek_pipe(seen->dup, buf, size) : peek_socket(seen->dup, buf, size);
	/* nothing, or nothing that can be had; an empty message may as well be the end */
	if (n <= 0)
		return 0;
	m = COR_FILE_APPEND(out->unread, out->n_unread, Cor__Names__Message,
			    cor__names__message__init);
	return m ? cor_file_bytes(&m->data, buf, (size_t)n) : -ENOMEM;
}

/* ---- into the state ------------------------------------------------------------------------- */

static int fresh_state(Cor__Names__PumpChannel *ch)
{
	ch->state = malloc(sizeof(*ch->state));
	if (!ch->state)
		return -ENOMEM;
	cor__names__pump_state__init(ch->state);
	ch->state->in_at = COR_PUMP_AHEAD_END;
	return 0;
}

int cor_pump_unread(struct cor_file_capture *c, const struct cor_file_seen *seen,
		    Cor__Names__PumpChannel *ch, bool fresh, Cor__Names__OpenFile *out,
		    struct cor_error *err)
{
	int r;

	if (!c->with_content || !ch->task_reads || (fresh ? seen->ahead : !ch->state) ||
	    ch->kind == COR__NAMES__PUMP_KIND__PUMP_TERMINAL ||
	    ch->kind == COR__NAMES__PUMP_KIND__PUMP_LISTENER)
		return 0;
	for (size_t i = 0; i + 1 < c->table->n_files; i++)
		if (c->table->files[i]->kind == out->kind && c->table->files[i]->ino == out->ino)
			return 0;       /* the first of them has it */
	/* others could take it before home throws it away */
	r = fresh && ch->shared ? 0 : fresh ? first(c, seen, ch, out) : all(seen, ch, out, err);
	if (r == 0 && fresh && out->n_unread)
		r = fresh_state(ch);
	if (r == 0 && out->n_unread)
		r = cor_pump_state_prepend(ch->state, out->unread, out->n_unread, event_of(ch));
	cor_file_forget_unread(out);
	return r;
}
