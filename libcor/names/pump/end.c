/* The kinds of ends, and what they share. */
#include "libcor/names/pump/end.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#include "libcor/base/cleanup.h"
#include "libcor/names/pump/tcp.h"
#include "libcor/names/pump/tty.h"
#include "libcor/names/pump/udp.h"

static const struct cor_pump_end_ops *const kinds[] = {
	&cor_pump_end_pipe, &cor_pump_end_terminal, &cor_pump_end_pty, &cor_pump_end_stream,
	&cor_pump_end_packets, &cor_pump_end_tcp, &cor_pump_end_listener, &cor_pump_end_home_listener,
	&cor_pump_end_udp, &cor_pump_end_home_udp,
};

const struct cor_pump_end_ops *cor_pump_end_ops_of(Cor__Names__PumpKind kind, bool away)
{
	for (unsigned i = 0; i < ARRAY_SIZE(kinds); i++)
		if (kinds[i]->kind == kind && (away ? kinds[i]->make != NULL : kinds[i]->take != NULL))
			return kinds[i];
	return NULL;
}

/* One read takes a message whatever the room. */
static ssize_t throw_away(const struct cor_pump_end *e, bool messages)
{
	uint8_t nowhere[4096];
	size_t len = messages ? 1 : COR_MIN(e->ahead, sizeof(nowhere));
	ssize_t n = e->ops->kind == COR__NAMES__PUMP_KIND__PUMP_PIPE ? read(e->fd, nowhere, len) :
		    recv(e->fd, nowhere, len, MSG_DONTWAIT);

	return n < 0 ? -errno : messages ? 1 : n;
}

int cor_pump_end_forget_ahead(struct cor_pump_end *e)
{
	while (e->ahead) {
		ssize_t n = throw_away(e, e->messages || e->udp);

		if (n == -EAGAIN)
			return -EAGAIN;
		if (n == -ECONNREFUSED && e->udp)
			e->udp->refused = e->udp->theirs.family;
		else if (n <= 0 && n != -EINTR)
			e->ahead = 0;           /* its end, which who reads next is told */
		else
			e->ahead -= (uint64_t)COR_MAX(n, (ssize_t)0);
	}
	return 0;
}

void cor_pump_end_close(struct cor_pump_end *e)
{
	int *fds[] = { &e->fd, &e->kept, &e->node, &e->pidfd };

	for (unsigned i = 0; i < ARRAY_SIZE(fds); i++) {
		cor_closep(fds[i]);
		*fds[i] = -1;
	}
	e->reads = e->writes = false;
}

void cor_pump_end_free(struct cor_pump_end *e)
{
	cor_pump_end_close(e);
	cor_pump_tty_free(e->tty);
	e->tty = NULL;
	cor_pump_tcp_free(e->tcp);
	e->tcp = NULL;
	cor_pump_udp_free(e->udp);
	e->udp = NULL;
}
