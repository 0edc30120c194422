/* What a client is sent: news, answers, and again those which it may not have got. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "libcor/base/cleanup.h"
#include "libcor/names/home/private.h"

void *home_give(struct home_call *c, size_t len)
{
	free(c->out);
	c->out = malloc(len ? len : 1);
	c->out_len = c->out ? len : 0;
	return c->out;
}

/* ---- sending ----------------------------------------------------------------------------- */

/* client.send held. A link that fails is shut: its threads end, the client waits. */
static void send_on(struct home_link *l, const struct home_reply *r, const void *body, size_t len)
{
	struct iovec iov[2] = {
		{ (void *)r, sizeof(*r) }, { (void *)body, len },
	};

	if (cor_stream_writev(l->stream, iov, len ? 2 : 1) < 0)
		cor_stream_shutdown(l->stream);
}

static void send_to(struct home_client *c, const struct home_reply *r, const void *body, size_t len)
{
	struct home_link *l;
	COR_LOCK(&c->send);

	l = c->link;
	if (l)
		send_on(l, r, body, len);
}

bool home_tell(struct home_server *s, const struct home_client *but, enum home_notice what,
	       uint64_t node, const char *name)
{
	size_t len = name ? strlen(name) + 1 : 0;
	struct home_reply r = {
		.length = (uint32_t)(sizeof(r) + len), .status = what, .arg = { node },
	};
	struct home_client *c;
	struct home_ref *ref;
	bool any = false;

	DL_FOREACH(s->clients, c) {
		HASH_FIND(hh, c->refs, &node, sizeof(node), ref);
		if (c == but || (!ref && node != 0))
			continue;
		send_to(c, &r, name, len);
		any = true;
	}
	return any;
}

/* ---- requests that must not be done twice ------------------------------------------------ */

void home_known_forget(struct home_client *c, uint64_t below)
{
	struct home_known *k, *next;

	HASH_ITER(hh, c->known, k, next) {
		if (k->id >= below || !k->reply)
			continue;
		HASH_DELETE(hh, c->known, k);
		free(k->reply);
		free(k);
	}
}

static struct home_known *find_known(struct home_client *c, uint64_t id)
{
	struct home_known *k;

	HASH_FIND(hh, c->known, &id, sizeof(id), k);
	return k;
}

int home_begin(struct home_client *c, const struct home_request *q)
{
	struct home_known *k;
	struct home_reply *again = NULL;

	pthread_mutex_lock(&c->server->lock);
	if (q->done > c->done) {
		c->done = q->done;
		/* a look at all of them, now and then */
		if (HASH_COUNT(c->known) > 64)
			home_known_forget(c, c->done);
	}
	k = find_known(c, q->id);
	if (k && k->reply) {
		again = malloc(((struct home_reply *)k->reply)->length);
		if (again)
			memcpy(again, k->reply, ((struct home_reply *)k->reply)->length);
	} else if (!k) {
		k = calloc(1, sizeof(*k));
		if (k) {
			k->id = q->id;
			HASH_ADD(hh, c->known, id, sizeof(k->id), k);
		}
		pthread_mutex_unlock(&c->server->lock);
		return 1;
	}
	pthread_mutex_unlock(&c->server->lock);
	if (again)
		send_to(c, again, again + 1, again->length - sizeof(*again));
	free(again);
	return 0;
}

/* It runs no more; its reply is kept where it must be. */
static void end(struct home_call *c)
{
	struct home_known *k;
	COR_LOCK(&c->server->lock);

	k = find_known(c->client, c->q->id);
	if (!k)
		return;
	if (!c->twice) {
		k->reply = malloc(c->reply.length);
		if (k->reply) {
			memcpy(k->reply, &c->reply, sizeof(c->reply));
			if (c->out_len)
				memcpy((char *)k->reply + sizeof(c->reply), c->out, c->out_len);
			return;
		}
	}
	HASH_DELETE(hh, c->client->known, k);
	free(k);
}

void home_answer(struct home_call *c)
{
	if (c->reply.status < 0)
		c->out_len = 0;
	c->reply.id = c->q->id;
	c->reply.length = (uint32_t)(sizeof(c->reply) + c->out_len);
	end(c);
	send_to(c->client, &c->reply, c->out, c->out_len);
}
