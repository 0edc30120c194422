/* cord's event loop: epoll(7), one thread. */
#pragma once

#include <stdint.h>
#include <sys/epoll.h>

struct loop;
struct watch;

/* events: EPOLLIN and so on, as epoll_wait(2) gives them. */
typedef void (*watch_fn)(void *arg, uint32_t events);

int  loop_new(struct loop **out);
/* NULL allowed. Watches that are left are freed; their descriptors are not closed. */
void loop_free(struct loop *l);

/* Calls fn whenever fd is ready, level triggered. The descriptor stays the
 * caller's, who ends the watch before closing it. 0 or -errno. */
int  loop_watch(struct loop *l, int fd, uint32_t events, watch_fn fn, void *arg,
		struct watch **out);
int  loop_change(struct loop *l, struct watch *w, uint32_t events);
/* NULL allowed. Also from within any callback: no event that is already
 * fetched reaches the watch any more. */
void loop_unwatch(struct loop *l, struct watch *w);

/* Runs until loop_stop(). 0 or -errno. */
int  loop_run(struct loop *l);
void loop_stop(struct loop *l);
