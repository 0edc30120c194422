/* Ends of pipes and FIFOs: one way only.
 *
 * An end is opened anew through /proc, since O_NONBLOCK is a flag of the open file
 * description, which the ghost and maybe others share. A FIFO's writers come and go:
 * that there is none is an event of its own (PAUSE), and on the away side a pipe whose
 * writing end is opened again when more comes. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "libcor/base/cleanup.h"
#include "libcor/base/error.h"
#include "libcor/names/file_ops.h"
#include "libcor/names/pump/end.h"

#define RUNS_MAX 16             /* items that one writev(2) takes */
#define PACKET_MAX 4096         /* PIPE_BUF: what one packet holds at most */

static void begin(struct cor_pump_end *e, const Cor__Names__PumpChannel *ch, bool reads)
{
	e->reads = reads;
	e->writes = !reads;
	e->readable = e->writable = true;
	e->messages = ch->packets;
}

/* As it was: who may open it again through /proc, and how much it holds. */
static int dress(int fd, const Cor__Names__PumpChannel *ch)
{
	if (fchown(fd, ch->uid, ch->gid) < 0 || fchmod(fd, ch->mode & 07777) < 0)
		return -errno;
	if (ch->capacity && fcntl(fd, F_GETPIPE_SZ) != (int)ch->capacity &&
	    fcntl(fd, F_SETPIPE_SZ, (int)ch->capacity) < 0)
		return -errno;
	return 0;
}

static int make(struct cor_pump_end *e, const Cor__Names__PumpChannel *ch, int *task,
		struct cor_error *err)
{
	_cleanup_close_ int reading = -1, writing = -1, node = -1;
	int ends[2], r;

	if (ch->task_reads == ch->task_writes)
		return cor_fail(err, -EPROTO, "%s goes both ways, or none", ch->what);
	if (pipe2(ends, O_CLOEXEC) < 0)
		return cor_fail_errno(err, "a pipe for %s", ch->what);
	reading = ends[0];
	writing = ends[1];
	r = dress(reading, ch);
	if (r == 0 && ch->fifo) {
		char path[40];

		snprintf(path, sizeof(path), "/proc/self/fd/%d", reading);
		node = open(path, O_PATH | O_CLOEXEC);
		r = node < 0 ? -errno : 0;
	}
	if (r < 0)
		return cor_fail_code(err, r, "a pipe for %s", ch->what);
	begin(e, ch, ch->task_writes);
	e->fd = ch->task_reads ? take_fd(&writing) : take_fd(&reading);
	e->node = take_fd(&node);
	*task = ch->task_reads ? take_fd(&reading) : take_fd(&writing);
	/* O_DIRECT: each write is a packet, on whichever side it is made */
	fcntl(e->fd, F_SETFL, O_NONBLOCK | (ch->packets ? O_DIRECT : 0));
	return 0;
}

static int take(struct cor_pump_end *e, const Cor__Names__PumpChannel *ch, int fd,
		struct cor_error *err)
{
	unsigned flags = ch->task_reads ? O_RDONLY : O_WRONLY;

	e->fd = cor_file_reopen(fd, flags | O_NONBLOCK);
	/* nobody reads it: that is for the task to find out, by writing */
	if (e->fd < 0 && e->fd != -ENXIO)
		return cor_fail_code(err, e->fd, "opening %s for the pump", ch->what);
	if (ch->packets)
		fcntl(e->fd, F_SETFL, O_NONBLOCK | O_DIRECT);
	begin(e, ch, ch->task_reads);
	e->fifo = ch->fifo;
	return 0;
}

static ssize_t read_packet(struct cor_pump_end *e, struct cor_pump_queue *q)
{
	char packet[PACKET_MAX];
	ssize_t n = read(e->fd, packet, sizeof(packet));

	if (n <= 0)
		return n < 0 ? -errno : 0;
	if (cor_pump_queue_bytes(q, packet, (size_t)n) < 0 ||
	    cor_pump_queue_event(q, COR_PUMP_MESSAGE, NULL, 0) < 0)
		return 0;       /* it is lost: end rather than leave a hole */
	return n + 1;
}

static ssize_t read_end(struct cor_pump_end *e, struct cor_pump_queue *q, size_t room)
{
	ssize_t n;

	do
		n = e->messages ? read_packet(e, q) : cor_pump_queue_read(q, e->fd, room);
	while (n == -EINTR);
	if (n > 0)
		e->paused = false;
	if (n != 0 || !e->fifo)
		return n;
	/* writers may come again; say once that there is none */
	if (e->paused)
		return -EAGAIN;
	e->paused = true;
	return cor_pump_queue_event(q, COR_PUMP_PAUSE, NULL, 0) < 0 ? 0 : 1;
}

/* The bytes that q begins with, as one write; *whole: up to a MESSAGE. */
static unsigned gather(struct cor_pump_queue *q, struct iovec *iov, bool *whole)
{
	const struct cor_pump_item *i = cor_pump_queue_at(q, q->start);
	unsigned n = 0;

	for (; i && !i->event && n < RUNS_MAX; i = i->next) {
		size_t skip = i->at < q->start ? q->start - i->at : 0;

		iov[n++] = (struct iovec){ (void *)(i->data + skip), i->len - skip };
	}
	*whole = i && i->event == COR_PUMP_MESSAGE;
	return n;
}

/* The away side's FIFO has writers again. */
static int open_again(struct cor_pump_end *e)
{
	e->fd = cor_file_reopen(e->node, O_WRONLY | O_NONBLOCK);
	e->paused = false;
	e->opened++;
	return e->fd < 0 ? -EPIPE : 0;
}

static ssize_t write_end(struct cor_pump_end *e, struct cor_pump_queue *q)
{
	const struct cor_pump_item *first = cor_pump_queue_at(q, q->start);
	struct iovec iov[RUNS_MAX];
	bool whole;
	unsigned n;
	ssize_t done;

	if (first->event == COR_PUMP_PAUSE) {
		cor_closep(&e->fd);
		e->fd = -1;
		e->paused = true;
		return 1;
	}
	if (first->event)
		return 1;       /* a stray MESSAGE: there are no empty packets in pipes */
	if (e->paused && open_again(e) < 0)
		return -EPIPE;
	if (e->fd < 0)
		return -EPIPE;
	n = gather(q, iov, &whole);
	if (e->messages && !whole)
		return cor_pump_queue_length(q) > PACKET_MAX ? -EPIPE : -ENODATA;
	do
		done = writev(e->fd, iov, (int)n);
	while (done < 0 && errno == EINTR);
	if (done < 0)
		return errno == EAGAIN ? -EAGAIN : -EPIPE;
	return e->messages ? done + 1 : done;
}

static void shut(struct cor_pump_end *e, bool reading)
{
	*(reading ? &e->reads : &e->writes) = false;
}

/* A FIFO without a reader may have one again before the task writes. */
static bool gone(const struct cor_pump_end *e, uint32_t events)
{
	return (events & EPOLLERR) && !e->fifo;
}

/* While there is no writer we hold no descriptor that could tell. */
static bool deserted(const struct cor_pump_end *e)
{
	_cleanup_close_ int fd = -1;
	struct pollfd p;

	if (!e->paused || e->fd >= 0 || e->node < 0)
		return false;
	/* such a pipe has no name, and so can always be opened: no ENXIO */
	fd = cor_file_reopen(e->node, O_WRONLY | O_NONBLOCK);
	p = (struct pollfd){ .fd = fd };
	return fd < 0 || (poll(&p, 1, 0) == 1 && (p.revents & POLLERR));
}

const struct cor_pump_end_ops cor_pump_end_pipe = {
	.kind     = COR__NAMES__PUMP_KIND__PUMP_PIPE,
	.make     = make,
	.take     = take,
	.read     = read_end,
	.write    = write_end,
	.early    = true,
	.shut     = shut,
	.gone     = gone,
	.deserted = deserted,
};
