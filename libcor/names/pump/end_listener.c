/* Ends that are listening TCP sockets; see pump/tcp.h. One way only: home tells who has
 * come (COR_PUMP_CAME). */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "libcor/base/cleanup.h"
#include "libcor/base/error.h"
#include "libcor/names/pump/channel.h"
#include "libcor/names/pump/tcp.h"

/* ---- away: the task has the socket, we have nothing ------------------------------------- */

static int make(struct cor_pump_end *e, const Cor__Names__PumpChannel *ch, int *task,
		struct cor_error *err)
{
	_cleanup_close_ int fd = -1;
	struct stat st;
	int r = e->net ? cor_pump_tcp_begin(e, e->net, ch) : -EINVAL;

	if (r == 0)
		r = fd = cor_pump_net_listen(e->net, e->tcp->domain, ch->v6only, &ch->address,
					     (int)ch->backlog);
	if (r >= 0 && fstat(fd, &st) < 0)
		r = -errno;
	if (r < 0) {
		cor_pump_tcp_free(take_ptr(e->tcp));
		return cor_fail_code(err, r, "a listening socket in the place of %s", ch->what);
	}
	e->tcp->inode = st.st_ino;
	e->writes = e->writable = true;
	*task = take_fd(&fd);
	return 0;
}

/* What an event means was done when it came (pump/forward.c). */
static ssize_t write_away(struct cor_pump_end *e, struct cor_pump_queue *q)
{
	return e->tcp->closed ? -EPIPE : 1;
}

static ssize_t read_away(struct cor_pump_end *e, struct cor_pump_queue *q, size_t room)
{
	return 0;
}

static uint64_t identity(const struct cor_pump_end *e)
{
	return e->tcp->closed ? 0 : e->tcp->inode;
}

static void shut(struct cor_pump_end *e, bool reading)
{
	*(reading ? &e->reads : &e->writes) = false;
}

/* The task has closed it. */
static bool gone_away(const struct cor_pump_end *e, uint32_t events)
{
	return e->tcp->closed;
}

const struct cor_pump_end_ops cor_pump_end_listener = {
	.kind  = COR__NAMES__PUMP_KIND__PUMP_LISTENER,
	.make  = make,
	.read  = read_away,
	.write = write_away,
	.shut  = shut,
	.gone  = gone_away,
	.identity = identity,
};

/* ---- home ---------------------------------------------------------------------------------- */

static int take(struct cor_pump_end *e, const Cor__Names__PumpChannel *ch, int fd,
		struct cor_error *err)
{
	int r = cor_pump_tcp_begin(e, NULL, ch);

	if (r == 0)
		r = e->fd = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	if (r < 0)
		return cor_fail_code(err, r, "a descriptor for %s", ch->what);
	e->reads = e->readable = true;
	return 0;
}

/* Its O_NONBLOCK is not ours to set. */
static ssize_t read_home(struct cor_pump_end *e, struct cor_pump_queue *q, size_t room)
{
	struct pollfd p = { .fd = e->fd, .events = POLLIN };
	int fd, r;

	if (!e->tcp->came)
		return -EAGAIN;
	if (poll(&p, 1, 0) != 1)
		return -EAGAIN;
	fd = accept4(e->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (fd < 0)
		return errno == EINVAL ? 0 : -EAGAIN;
	r = e->tcp->came(e->tcp->arg, fd, q);
	return r < 0 ? -EAGAIN : 1;
}

static bool gone_home(const struct cor_pump_end *e, uint32_t events)
{
	return false;
}

static ssize_t write_home(struct cor_pump_end *e, struct cor_pump_queue *q)
{
	return 1;
}

/* Clients that could not be taken for want of descriptors are asked for again. */
static bool tick(struct cor_pump_end *e, struct cor_pump_queue *q)
{
	e->readable = true;
	return false;
}

const struct cor_pump_end_ops cor_pump_end_home_listener = {
	.kind  = COR__NAMES__PUMP_KIND__PUMP_LISTENER,
	.take  = take,
	.tick  = tick,
	.read  = read_home,
	.write = write_home,
	.shut  = shut,
	.gone  = gone_home,
};
