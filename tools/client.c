/* The control connection; see client.h. */
#include "tools/client.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "libcor/base/cleanup.h"
#include "libcor/base/error.h"
#include "libcor/base/io.h"

/* Longest event: a status with hundreds of sessions. */
#define LINE_LIMIT (16u << 20)

struct client {
	int    fd;
	char  *buf;
	size_t used, room;
};

static int explain(struct cor_error *err, const char *control)
{
	if (errno == ENOENT || errno == ECONNREFUSED)
		return cor_fail(err, -errno, "no cord serves %s (is it running? see --control)",
				control);
	return cor_fail_errno(err, "cord at %s", control);
}

int client_open(struct client **out, const char *control, struct cor_error *err)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	_cleanup_close_ int fd = -1;
	struct client *c;

	if (strlen(control) >= sizeof(sa.sun_path))
		return cor_fail(err, -ENAMETOOLONG, "the control socket's path is too long: %s",
				control);
	strcpy(sa.sun_path, control);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return cor_fail_errno(err, "a socket");
	if (connect(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0)
		return explain(err, control);
	c = calloc(1, sizeof(*c));
	if (!c)
		return cor_fail(err, -ENOMEM, "out of memory");
	c->fd = take_fd(&fd);
	*out = c;
	return 0;
}

void client_close(struct client *c)
{
	if (!c)
		return;
	close(c->fd);
	free(c->buf);
	free(c);
}

int client_ask(struct client *c, json_t *request, struct cor_error *err)
{
	_cleanup_free_ char *text = request ? json_dumps(request, JSON_COMPACT) : NULL;
	int r;

	json_decref(request);
	if (!text)
		return cor_fail(err, -EINVAL, "the request cannot be written as JSON");
	r = cor_write_full(c->fd, text, strlen(text));
	if (r == 0)
		r = cor_write_full(c->fd, "\n", 1);
	return r < 0 ? cor_fail_code(err, r, "cord cannot be asked") : 0;
}

static int read_more(struct client *c, struct cor_error *err)
{
	ssize_t n;

	if (c->used == c->room) {
		size_t room = c->room ? c->room * 2 : 16384;
		char *more = room <= LINE_LIMIT ? realloc(c->buf, room) : NULL;

		if (!more)
			return cor_fail(err, -EPROTO, "cord's answer is too long");
		c->buf = more;
		c->room = room;
	}
	n = read(c->fd, c->buf + c->used, c->room - c->used);
	if (n < 0)
		return cor_fail_errno(err, "cord's answer");
	if (n == 0)
		return cor_fail(err, -ENODATA, "cord ended before it had answered");
	c->used += (size_t)n;
	return 0;
}

int client_next(struct client *c, json_t **out, struct cor_error *err)
{
	char *end;
	json_t *event;

	while (!c->used || !(end = memchr(c->buf, '\n', c->used))) {
		int r = read_more(c, err);

		if (r < 0)
			return r;
	}
	event = json_loadb(c->buf, (size_t)(end - c->buf), 0, NULL);
	c->used -= (size_t)(end + 1 - c->buf);
	memmove(c->buf, end + 1, c->used);
	if (!json_is_string(json_object_get(event, "event"))) {
		json_decref(event);
		return cor_fail(err, -EPROTO, "cord's answer cannot be understood");
	}
	*out = event;
	return 0;
}

int client_call(struct client *c, json_t *request, json_t **result, struct cor_error *err)
{
	int r = client_ask(c, request, err);

	while (r == 0) {
		json_t *event;

		r = client_next(c, &event, err);
		if (r < 0)
			break;
		if (!strcmp(json_string_value(json_object_get(event, "event")), "result")) {
			*result = event;
			return 0;
		}
		json_decref(event);
	}
	return r;
}
