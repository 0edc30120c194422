/* News of the home's files: what inotify(7) tells of the nodes that clients know, so that
 * they may keep what they were told until they hear otherwise. What the server has changed
 * itself, for one of them, is told apart by comparing (content), or by being expected (names):
 * it is news to the others. */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "libcor/base/cleanup.h"
#include "libcor/base/error.h"
#include "libcor/base/io.h"
#include "libcor/names/home/private.h"

#define EXPECTED_FOR_NS 5000000000ull

void home_expect(struct home_server *s, const struct home_client *c, uint64_t dir,
		 const char *name)
{
	struct home_expected *e = calloc(1, sizeof(*e));

	if (!e)
		return;
	e->client = c;
	e->dir = dir;
	snprintf(e->name, sizeof(e->name), "%s", name);
	e->until_ns = cor_now_ns() + EXPECTED_FOR_NS;
	COR_LOCK(&s->lock);
	e->next = s->expected;
	s->expected = e;
}

/* lock held: the client that has made the change, NULL: nobody here. Takes the expectation
 * away, and old ones with it. */
static const struct home_client *who_expects(struct home_server *s, uint64_t dir,
					     const char *name)
{
	uint64_t now = cor_now_ns();

	for (struct home_expected **at = &s->expected; *at; ) {
		struct home_expected *e = *at;
		const struct home_client *client = e->client;
		bool match = e->dir == dir && strcmp(e->name, name) == 0;

		if (!match && e->until_ns > now) {
			at = &e->next;
			continue;
		}
		*at = e->next;
		free(e);
		if (match)
			return client;
	}
	return NULL;
}

/* lock held */
static void lost_track(struct home_server *s)
{
	for (struct home_node *n = s->by_id; n; n = n->by_id.next) {
		n->version++;
		home_tell(s, NULL, HOME_CHANGED, n->id, NULL);
	}
	home_tell(s, NULL, HOME_RENAMED, 0, NULL);
}

static void on_event(struct home_server *s, const struct inotify_event *e)
{
	struct home_node *n;

	pthread_mutex_lock(&s->lock);
	if (e->mask & IN_Q_OVERFLOW)
		lost_track(s);
	HASH_FIND(by_wd, s->by_wd, &e->wd, sizeof(e->wd), n);
	if (n && (e->mask & IN_IGNORED)) {
		HASH_DELETE(by_wd, s->by_wd, n);
		n->wd = -1;
		n = NULL;
	}
	if (n && e->len)
		home_tell(s, who_expects(s, n->id, e->name), HOME_RENAMED, n->id, e->name);
	if (n)
		n->refs++;
	pthread_mutex_unlock(&s->lock);
	if (!n)
		return;
	home_look_again(s, n, -1);
	home_node_put(s, n);
}

void home_watch_drain(struct home_server *s)
{
	char buf[8192] __attribute__((aligned(8)));
	ssize_t len;
	COR_LOCK(&s->watching);

	while ((len = read(s->inotify, buf, sizeof(buf))) > 0)
		for (char *at = buf; at < buf + len; ) {
			const struct inotify_event *e = (const struct inotify_event *)at;

			on_event(s, e);
			at += sizeof(*e) + e->len;
		}
}

static void *watch(void *arg)
{
	struct home_server *s = arg;

	for (;;) {
		struct pollfd p[] = {
			{ .fd = s->inotify, .events = POLLIN }, { .fd = s->stop, .events = POLLIN },
		};

		if (poll(p, 2, -1) < 0 && errno != EINTR)
			return NULL;
		if (p[1].revents)
			return NULL;
		if (p[0].revents)
			home_watch_drain(s);
	}
}

int home_watch_start(struct home_server *s, struct cor_error *err)
{
	int r;

	s->inotify = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
	s->stop = eventfd(0, EFD_CLOEXEC);
	if (s->inotify < 0 || s->stop < 0)
		return cor_fail_errno(err, "watching the home's files");
	r = pthread_create(&s->watcher, NULL, watch, s);
	if (r)
		return cor_fail_code(err, -r, "a thread for the home's files");
	s->have_watcher = true;
	return 0;
}

void home_watch_stop(struct home_server *s)
{
	uint64_t one = 1;

	if (s->have_watcher) {
		if (write(s->stop, &one, sizeof(one)) < 0)
			return;
		pthread_join(s->watcher, NULL);
	}
	cor_closep(&s->inotify);
	cor_closep(&s->stop);
	while (s->expected) {
		struct home_expected *e = s->expected;

		s->expected = e->next;
		free(e);
	}
}
