/* Ends that are TCP connections; see pump/tcp.h. */
#include <errno.h>
#include <fcntl.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "libcor/base/cleanup.h"
#include "libcor/base/error.h"
#include "libcor/names/net/socket.h"
#include "libcor/names/pump/channel.h"
#include "libcor/names/pump/tcp.h"

void cor_pump_tcp_free(struct cor_pump_tcp *t)
{
	if (!t)
		return;
	free(t->early);
	free(t->pending);
	free(t);
}

int cor_pump_tcp_begin(struct cor_pump_end *e, const struct cor_pump_net *net,
		       const Cor__Names__PumpChannel *ch)
{
	bool listener = ch->kind == COR__NAMES__PUMP_KIND__PUMP_LISTENER;
	struct sockaddr_storage ss;
	socklen_t len;
	int r;

	e->tcp = calloc(1, sizeof(*e->tcp));
	if (!e->tcp)
		return -ENOMEM;
	e->tcp->net = net;
	r = cor_inet_addr_of(&ch->address, &e->tcp->ours);
	if (r == 0 && !listener)
		r = cor_inet_addr_of(&ch->peer_address, &e->tcp->theirs);
	if (r == 0)
		r = cor_socket_sockaddr(&ch->address, &ss, &len);
	if (r < 0)
		return -EPROTO;
	e->tcp->domain = ss.ss_family;
	return 0;
}

static void begin(struct cor_pump_end *e)
{
	e->reads = e->writes = true;
	e->readable = e->writable = true;
}

void cor_pump_tcp_answer(struct cor_pump_end *e, int fd)
{
	e->fd = fd;
	begin(e);
}

int cor_pump_tcp_call(struct cor_pump_end *e, const struct cor_pump_net *net,
		      const Cor__Names__PumpChannel *ch)
{
	int r = cor_pump_tcp_begin(e, net, ch);

	if (r == 0)
		r = e->fd = cor_pump_net_connect(net, e->tcp->domain, &ch->address, &ch->peer_address);
	if (r < 0)
		return r;
	begin(e);
	return 0;
}

/* One that waits in the task's listener is given to nobody: what is handed over for it
 * leads nowhere. */
static int make_waiting(struct cor_pump_end *e, const Cor__Names__PumpChannel *ch, int *task)
{
	_cleanup_close_ int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	int r = null < 0 ? -errno : cor_pump_tcp_call(e, e->net, ch);

	if (r == 0)
		*task = take_fd(&null);
	return r;
}

static int make_pair(struct cor_pump_end *e, const Cor__Names__PumpChannel *ch, int *task)
{
	_cleanup_close_ int theirs = -1;
	struct stat st;
	int zero = 0, r = cor_pump_tcp_begin(e, e->net, ch);

	if (r == 0)
		r = cor_pump_net_pair(e->net, e->tcp->domain, &ch->address, &ch->peer_address, &theirs,
				      &e->fd);
	if (r == 0 && (fstat(theirs, &st) < 0 ||
		       setsockopt(theirs, IPPROTO_IP, IP_FREEBIND, &zero, sizeof(zero)) < 0))
		r = -errno;
	if (r < 0)
		return r;
	e->tcp->accepted = true;
	e->tcp->inode = st.st_ino;
	begin(e);
	*task = take_fd(&theirs);
	return 0;
}

static int make(struct cor_pump_end *e, const Cor__Names__PumpChannel *ch, int *task,
		struct cor_error *err)
{
	int r = !e->net ? -EINVAL : ch->waiting ? make_waiting(e, ch, task) : make_pair(e, ch, task);

	if (r == 0)
		return 0;
	cor_pump_tcp_free(take_ptr(e->tcp));
	cor_closep(&e->fd);
	return cor_fail_code(err, r, "a connection in the place of %s", ch->what);
}

static int take(struct cor_pump_end *e, const Cor__Names__PumpChannel *ch, int fd,
		struct cor_error *err)
{
	e->fd = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	if (e->fd < 0)
		return cor_fail_errno(err, "a descriptor for %s", ch->what);
	begin(e);
	return 0;
}

/* ---- bytes ---------------------------------------------------------------------------------- */

static ssize_t read_end(struct cor_pump_end *e, struct cor_pump_queue *q, size_t room)
{
	uint8_t *to = cor_pump_queue_room(q, room, &room);
	ssize_t n;

	if (!to)
		return -ENOMEM;
	do
		n = recv(e->fd, to, room, MSG_DONTWAIT);
	while (n < 0 && errno == EINTR);
	cor_pump_queue_added(q, n > 0 ? (size_t)n : 0);
	return n < 0 ? -errno : n;
}

/* As long as the task has not accepted it nobody could read back what was written. */
static int keep_early(struct cor_pump_tcp *t, const void *data, size_t *len)
{
	if (t->accepted || !t->net)
		return 0;
	*len = COR_MIN(*len, COR_PUMP_EARLY_MAX - t->nearly);
	if (*len && !t->early)
		t->early = malloc(COR_PUMP_EARLY_MAX);
	if (!*len || !t->early)
		return -EAGAIN;
	memcpy(t->early + t->nearly, data, *len);
	return 0;
}

static ssize_t write_end(struct cor_pump_end *e, struct cor_pump_queue *q)
{
	const struct cor_pump_item *i = cor_pump_queue_at(q, q->start);
	const uint8_t *data = i->data + (q->start - i->at);
	size_t len = i->len - (q->start - i->at);
	ssize_t n;

	if (i->event)
		return 1;
	if (e->tcp && keep_early(e->tcp, data, &len) < 0)
		return -EAGAIN;
	do
		n = send(e->fd, data, len, MSG_DONTWAIT | MSG_NOSIGNAL);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return errno == EAGAIN || errno == ENOBUFS ? -EAGAIN : -EPIPE;
	if (e->tcp) {
		e->tcp->given += (size_t)n;
		e->tcp->nearly += e->tcp->accepted ? 0 : (size_t)n;
	}
	return n;
}

static void shut(struct cor_pump_end *e, bool reading)
{
	*(reading ? &e->reads : &e->writes) = false;
	if (e->fd >= 0)
		shutdown(e->fd, reading ? SHUT_RD : SHUT_WR);
}

static bool gone(const struct cor_pump_end *e, uint32_t events)
{
	return events & EPOLLHUP;
}

static uint64_t identity(const struct cor_pump_end *e)
{
	return e->tcp ? e->tcp->inode : 0;
}

static int describe(const struct cor_pump_end *e, Cor__Names__PumpChannel *ch)
{
	ch->waiting = e->tcp && !e->tcp->accepted;
	ch->arrived = e->tcp && e->tcp->silent ? e->tcp->arrived + 1 : 0;
	return 0;
}

/* ---- when the task stands still -------------------------------------------------------------- */

void cor_pump_tcp_accepted(struct cor_pump_end *e, uint64_t inode)
{
	struct cor_pump_tcp *t = e->tcp;

	t->inode = inode;
	if (t->accepted)
		return;
	t->accepted = true;
	free(take_ptr(t->early));
	t->nearly = 0;
	e->writable = true;
}

void cor_pump_tcp_acknowledge(const struct cor_pump_end *e)
{
	int one = 1;

	setsockopt(e->fd, IPPROTO_TCP, TCP_QUICKACK, &one, sizeof(one));
}

int cor_pump_tcp_hush(struct cor_pump_end *e)
{
	int on = 1, queue = TCP_SEND_QUEUE;

	if (e->tcp->silent || e->fd < 0)
		return 0;
	/* one that has ended cannot, and has nothing to send */
	if (setsockopt(e->fd, IPPROTO_TCP, TCP_REPAIR, &on, sizeof(on)) < 0 ||
	    setsockopt(e->fd, IPPROTO_TCP, TCP_REPAIR_QUEUE, &queue, sizeof(queue)) < 0)
		return errno == EPERM ? 0 : -errno;
	e->tcp->silent = true;
	return 0;
}

void cor_pump_tcp_go_on(struct cor_pump_end *e)
{
	int off = 0;

	if (!e->tcp->silent)
		return;
	setsockopt(e->fd, IPPROTO_TCP, TCP_REPAIR, &off, sizeof(off));
	e->tcp->silent = false;
	free(take_ptr(e->tcp->pending));
	e->tcp->npending = 0;
}

int cor_pump_tcp_leftover(struct cor_pump_end *e, uint64_t received)
{
	struct cor_pump_tcp *t = e->tcp;
	_cleanup_free_ uint8_t *queue = NULL;
	uint64_t missing;
	int unacked = 0;
	ssize_t n;

	free(take_ptr(t->pending));
	t->npending = 0;
	if (!t->accepted) {
		t->pending = malloc(t->nearly + 1);
		if (!t->pending)
			return -ENOMEM;
		if (t->nearly)
			memcpy(t->pending, t->early, t->nearly);
		t->npending = t->nearly;
		return 0;
	}
	/* a FIN counts as one that has been received */
	missing = t->given > received ? t->given - received : 0;
	if (!missing || !t->silent)
		return 0;
	if (ioctl(e->fd, SIOCOUTQ, &unacked) < 0)
		return -errno;
	if (unacked <= 0)
		return -EAGAIN;
	queue = malloc((size_t)unacked);
	if (!queue)
		return -ENOMEM;
	n = recv(e->fd, queue, (size_t)unacked, MSG_PEEK | MSG_DONTWAIT);
	if (n < (ssize_t)missing)
		return n < 0 ? -errno : -EAGAIN;
	memmove(queue, queue + ((size_t)n - missing), missing);
	t->pending = take_ptr(queue);
	t->npending = missing;
	return 0;
}

const struct cor_pump_end_ops cor_pump_end_tcp = {
	.kind  = COR__NAMES__PUMP_KIND__PUMP_TCP,
	.make  = make,
	.take  = take,
	.describe = describe,
	.read  = read_end,
	.write = write_end,
	.early = true,
	.shut  = shut,
	.gone  = gone,
	.identity = identity,
};
