/* The kernel's requests, which are passed on to the home and answered as it answers. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "libcor/names/home/fuse_parts.h"

struct home_fuse *home_fuse_of(fuse_req_t req)
{
	return fuse_req_userdata(req);
}

struct home_asked *home_ask_new(fuse_req_t req, uint64_t node, const char *name)
{
	size_t len = name ? strlen(name) + 1 : 0;
	struct home_asked *a = malloc(sizeof(*a) + len);

	if (!a) {
		fuse_reply_err(req, ENOMEM);
		return NULL;
	}
	*a = (struct home_asked){ .f = home_fuse_of(req), .req = req, .node = node };
	if (len)
		memcpy(a->name, name, len);
	return a;
}

void home_asked_free(struct home_asked *a)
{
	free(a);
}

void home_ask(struct home_asked *a, struct home_request *q, const struct iovec *body, unsigned n,
	      home_answer_fn *done)
{
	home_remote_send(a->f->remote, q, body, n, done, a);
}

int home_asked_failed(struct home_asked *a, const struct home_reply *reply, int status)
{
	if (reply)
		status = reply->status;
	if (status >= 0)
		return 0;
	fuse_reply_err(a->req, -status);
	home_asked_free(a);
	return status;
}

void home_answer_nothing(void *arg, const struct home_reply *reply, const char *body, size_t len,
			 int status)
{
	struct home_asked *a = arg;

	if (home_asked_failed(a, reply, status) < 0)
		return;
	fuse_reply_err(a->req, 0);
	home_asked_free(a);
}

bool home_take_attr(const char *body, size_t len, struct home_attr *out)
{
	if (len != sizeof(*out))
		return false;
	memcpy(out, body, sizeof(*out));
	return true;
}
