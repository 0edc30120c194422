/* The event loop; see loop.h. */
#include "daemon/loop.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <unistd.h>
#include <utlist.h>

#define BATCH 64

struct watch {
	struct watch *prev, *next;
	int       fd;
	bool      ended;
	watch_fn  fn;
	void     *arg;
};

struct loop {
	int           epoll;
	bool          stop;
	struct watch *watches, *ended;
};

int loop_new(struct loop **out)
{
	struct loop *l = calloc(1, sizeof(*l));

	if (!l)
		return -ENOMEM;
	l->epoll = epoll_create1(EPOLL_CLOEXEC);
	if (l->epoll < 0) {
		int code = -errno;

		free(l);
		return code;
	}
	*out = l;
	return 0;
}

static void free_all(struct watch **list)
{
	struct watch *w, *next;

	DL_FOREACH_SAFE(*list, w, next) {
		DL_DELETE(*list, w);
		free(w);
	}
}

void loop_free(struct loop *l)
{
	if (!l)
		return;
	free_all(&l->watches);
	free_all(&l->ended);
	close(l->epoll);
	free(l);
}

int loop_watch(struct loop *l, int fd, uint32_t events, watch_fn fn, void *arg,
	       struct watch **out)
{
	struct watch *w = calloc(1, sizeof(*w));
	struct epoll_event ev = { .events = events, .data.ptr = w };

	if (!w)
		return -ENOMEM;
	w->fd = fd;
	w->fn = fn;
	w->arg = arg;
	if (epoll_ctl(l->epoll, EPOLL_CTL_ADD, fd, &ev) < 0) {
		int code = -errno;

		free(w);
		return code;
	}
	DL_APPEND(l->watches, w);
	*out = w;
	return 0;
}

int loop_change(struct loop *l, struct watch *w, uint32_t events)
{
	struct epoll_event ev = { .events = events, .data.ptr = w };

	return epoll_ctl(l->epoll, EPOLL_CTL_MOD, w->fd, &ev) < 0 ? -errno : 0;
}

void loop_unwatch(struct loop *l, struct watch *w)
{
	if (!w)
		return;
	epoll_ctl(l->epoll, EPOLL_CTL_DEL, w->fd, NULL);
	/* The batch in hand may still point to it: freed when that is done. */
	w->ended = true;
	DL_DELETE(l->watches, w);
	DL_APPEND(l->ended, w);
}

int loop_run(struct loop *l)
{
	struct epoll_event batch[BATCH];

	l->stop = false;
	while (!l->stop) {
		int n = epoll_wait(l->epoll, batch, BATCH, -1);

		if (n < 0 && errno != EINTR)
			return -errno;
		for (int i = 0; i < n; i++) {
			struct watch *w = batch[i].data.ptr;

			if (!w->ended)
				w->fn(w->arg, batch[i].events);
		}
		free_all(&l->ended);
	}
	return 0;
}

void loop_stop(struct loop *l)
{
	l->stop = true;
}
