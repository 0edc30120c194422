/* See doors.h. */
#include "daemon/doors.h"

#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "libcor/base/cleanup.h"
#include "libcor/base/error.h"
#include "libcor/base/io.h"

int doors_init(struct doors *d, struct cor_error *err)
{
	memset(d, 0, sizeof(*d));
	d->fd = epoll_create1(EPOLL_CLOEXEC);
	return d->fd < 0 ? cor_fail_errno(err, "epoll") : 0;
}

/* The stream is the caller's, or closed. */
static void forget(struct doors *d, unsigned i)
{
	cor_tls_free(d->list[i].keys);
	d->n--;
	memmove(&d->list[i], &d->list[i + 1], (d->n - i) * sizeof(d->list[0]));
}

static void shut(struct doors *d, unsigned i)
{
	cor_stream_close(d->list[i].stream);
	forget(d, i);
}

void doors_close(struct doors *d)
{
	while (d->n)
		shut(d, 0);
	cor_closep(&d->fd);
	d->fd = -1;
}

static void name_peer(int sock, char *out, size_t size)
{
	struct sockaddr_storage sa;
	socklen_t len = sizeof(sa);
	char host[48] = "?", port[8] = "?";

	if (getpeername(sock, (struct sockaddr *)&sa, &len) == 0)
		getnameinfo((struct sockaddr *)&sa, len, host, sizeof(host), port, sizeof(port),
			    NI_NUMERICHOST | NI_NUMERICSERV);
	snprintf(out, size, strchr(host, ':') ? "[%s]:%s" : "%s:%s", host, port);
}

int doors_open(struct doors *d, int sock, enum cor_connection_kind kind, uint8_t index,
	       const uint8_t session[COR_SESSION_ID], const uint8_t secret[COR_SECRET],
	       unsigned timeout_s, struct cor_error *err)
{
	struct epoll_event event = { .events = EPOLLIN };
	_cleanup_close_ int fd = sock;
	struct door *o;
	int r;

	if (d->n == DOORS_MAX)
		shut(d, 0);
	o = &d->list[d->n];
	memset(o, 0, sizeof(*o));
	name_peer(sock, o->from, sizeof(o->from));
	o->kind = kind;
	o->deadline = cor_now_ns() + timeout_s * UINT64_C(1000000000);
	r = cor_tls_from_secret(&o->keys, session, secret, kind, index, err);
	if (r == 0)
		r = cor_lane_accept_tls(&o->stream, take_fd(&fd), kind, o->keys, err);
	if (r < 0) {
		cor_tls_free(o->keys);
		return r;
	}
	d->n++;
	if (epoll_ctl(d->fd, EPOLL_CTL_ADD, o->stream->in_fd, &event) < 0) {
		r = cor_fail_errno(err, "epoll");
		shut(d, d->n - 1);
	}
	return r;
}

static int step(struct doors *d, unsigned i, uint64_t now, struct cor_error *err)
{
	struct door *o = &d->list[i];
	int r = cor_stream_tls_step(o->stream, err);

	if (r == -EAGAIN && now >= o->deadline)
		r = cor_fail(err, -ETIMEDOUT, "it did not prove the session's secret in time");
	return r;
}

int doors_next(struct doors *d, struct cor_stream **out, enum cor_connection_kind *kind,
	       struct cor_error *err)
{
	uint64_t now = cor_now_ns();

	for (unsigned i = 0; i < d->n; i++) {
		struct door *o = &d->list[i];
		int fd = o->stream->in_fd, r = step(d, i, now, err);

		if (r == -EAGAIN)
			continue;
		epoll_ctl(d->fd, EPOLL_CTL_DEL, fd, NULL);
		if (r < 0) {
			r = cor_fail_prefix(err, r, "%s", o->from);
			shut(d, i);
			return r;
		}
		*kind = o->kind;
		*out = o->stream;
		forget(d, i);
		r = cor_lane_admit(out, *kind, 0, err);
		return r < 0 ? r : 1;
	}
	return 0;
}
