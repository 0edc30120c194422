/* One client's connection; see client.h. */
#include "daemon/client.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "daemon/request.h"
#include "libcor/base/cleanup.h"

/* A client that reads no faster misses progress lines from here on, and its
 * further requests wait. */
#define OUT_SOFT 65536

int client_begin(struct client *k, const struct client_env *env, int fd, watch_fn fn, void *arg)
{
	char *in = malloc(REQUEST_LINE_MAX);
	int r = in ? loop_watch(env->loop, fd, EPOLLIN, fn, arg, &k->watch) : -ENOMEM;

	if (r < 0) {
		free(in);
		return r;
	}
	k->env = env;
	k->fd = fd;
	k->in = in;
	return 0;
}

void client_end(struct client *k)
{
	loop_unwatch(k->env->loop, k->watch);
	close(k->fd);
	free(k->in);
	free(k->out);
}

void client_watch(struct client *k)
{
	uint32_t events = 0;

	if (!k->wait && !k->eof && k->out_len <= OUT_SOFT)
		events |= EPOLLIN;
	if (k->out_len)
		events |= EPOLLOUT;
	loop_change(k->env->loop, k->watch, events);
}

bool client_say(struct client *k, json_t *message, bool may_skip)
{
	_cleanup_free_ char *text = NULL;
	size_t len;
	char *more;

	if (may_skip && k->out_len > OUT_SOFT) {
		json_decref(message);
		return false;
	}
	text = message ? json_dumps(message, JSON_COMPACT) : NULL;
	json_decref(message);
	if (!text)
		return false;
	len = strlen(text);
	more = realloc(k->out, k->out_len + len + 1);
	if (!more)
		return false;
	k->out = more;
	memcpy(k->out + k->out_len, text, len);
	k->out[k->out_len + len] = '\n';
	k->out_len += len + 1;
	/* Written by the loop, so that nothing here ends a client under its caller. */
	client_watch(k);
	return true;
}

void client_refuse(struct client *k, const char *why)
{
	client_say(k, json_pack("{s:s, s:b, s:i, s:s}", "event", "result", "ok", 0, "exit", 1,
				"error", why), false);
}

bool client_flush(struct client *k)
{
	ssize_t n;

	if (!k->out_len)
		return true;
	n = send(k->fd, k->out, k->out_len, MSG_NOSIGNAL | MSG_DONTWAIT);
	if (n < 0)
		return errno == EAGAIN || errno == EINTR;
	memmove(k->out, k->out + n, k->out_len - (size_t)n);
	k->out_len -= (size_t)n;
	return true;
}

bool client_fill(struct client *k)
{
	ssize_t n;

	if (k->in_len == REQUEST_LINE_MAX && memchr(k->in, '\n', k->in_len))
		return true;
	if (k->in_len == REQUEST_LINE_MAX) {
		client_refuse(k, "the request is too long");
		k->eof = true;
		k->in_len = 0;
		return true;
	}
	n = recv(k->fd, k->in + k->in_len, REQUEST_LINE_MAX - k->in_len, MSG_DONTWAIT);
	if (n < 0)
		return errno == EAGAIN || errno == EINTR;
	k->in_len += (size_t)n;
	k->eof = n == 0;
	return true;
}

ssize_t client_line(const struct client *k)
{
	const char *end = k->wait || k->out_len > OUT_SOFT ? NULL : memchr(k->in, '\n', k->in_len);

	return end ? end - k->in : -1;
}

void client_drop_line(struct client *k, size_t len)
{
	k->in_len -= len + 1;
	memmove(k->in, k->in + len + 1, k->in_len);
}
