/* meddler PORT ADDR:PORT RULE: stands between two cords that speak in the clear, and breaks
 * the protocol once, where RULE says; all else passes. Prints "ready", and "did it" then.
 *
 *	RULE   >TYPE:HOW   a message on its way to the destination; <TYPE:HOW to the source
 *	HOW    garbage     its body is noise
 *	       empty       it has none
 *	       unknown     its type is none
 *	       wrong       its type is the next one's
 *	       version     it is of another version
 *	       huge        its length is 4 GiB
 *	       spoilt      a bit of its body is another one
 *	       twice       it comes two times
 *	       half        it ends in its middle, and the connection with it
 *	       never       it does not come
 */
#include <endian.h>
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "daemon/control.h"
#include "libcor/base/io.h"
#include "libcor/transport/preamble.h"
#include "libcor/transport/tcp.h"

#define PATIENCE_MS 30000

static char direction;
static char type_name[32], how[32];
static atomic_bool done;

struct pipe {
	int from, to;
	char direction;         /* > or <; 0: passes all */
};

static void hang_up(const struct pipe *p)
{
	shutdown(p->from, SHUT_RDWR);
	shutdown(p->to, SHUT_RDWR);
}

static bool is_it(const struct pipe *p, const struct control_frame *f)
{
	return p->direction == direction &&
	       strcmp(control_type_name(le16toh(f->type)), type_name) == 0 &&
	       !atomic_exchange(&done, true);
}

static bool is(const char *what)
{
	return strcmp(how, what) == 0;
}

static int forward(const struct pipe *p, const struct control_frame *f, const void *body, size_t len)
{
	int r = cor_write_full(p->to, f, sizeof(*f));

	return r == 0 ? cor_write_full(p->to, body, len) : r;
}

/* One message, meddled with. -errno: hung up. */
static int meddle(const struct pipe *p, struct control_frame f, uint8_t *body, size_t len)
{
	printf("did it\n");
	fflush(stdout);
	if (is("never"))
		return 0;
	if (is("garbage"))
		for (size_t i = 0; i < len; i++)
			body[i] = (uint8_t)(i * 151 + 7);
	if (is("empty"))
		len = 0;
	if (is("unknown"))
		f.type = htole16(999);
	if (is("wrong"))
		f.type = htole16(le16toh(f.type) % CONTROL_RESUME + 1);
	if (is("version"))
		f.version = htole16(77);
	f.length = is("huge") ? htole32(UINT32_MAX) : htole32((uint32_t)len);
	control_frame_seal(&f, body, len);
	if (is("spoilt") && len)
		body[len / 2] ^= 4;
	else if (is("spoilt"))
		f.head_check ^= 4;
	if (is("half")) {
		if (len)
			forward(p, &f, body, len / 2);
		else
			cor_write_full(p->to, &f, sizeof(f) / 2);
		return -ECONNRESET;
	}
	if (is("twice") && forward(p, &f, body, len) < 0)
		return -EPIPE;
	return forward(p, &f, body, len);
}

static int pass_message(const struct pipe *p)
{
	struct control_frame f;
	uint8_t *body;
	size_t len;
	int r = cor_read_full(p->from, &f, sizeof(f));

	if (r < 0)
		return r;
	len = le32toh(f.length);
	body = malloc(len + 1);
	r = cor_read_full(p->from, body, len);
	if (r == 0)
		r = is_it(p, &f) ? meddle(p, f, body, len) : forward(p, &f, body, len);
	free(body);
	return r;
}

static int pass_bytes(const struct pipe *p)
{
	static __thread char buf[1 << 16];
	ssize_t n = read(p->from, buf, sizeof(buf));

	return n > 0 ? cor_write_full(p->to, buf, (size_t)n) : -EPIPE;
}

static void *carry(void *arg)
{
	struct pipe *p = arg;

	while ((p->direction ? pass_message(p) : pass_bytes(p)) == 0)
		;
	hang_up(p);
	return NULL;
}

struct connection {
	int client;
	const char *where;
};

/* The preamble and its answer, then both ways. Descriptors are left to the exit. */
static void *serve(void *arg)
{
	struct connection *c = arg;
	struct cor_preamble_reply reply;
	static __thread struct pipe pipes[2];
	struct cor_preamble p;
	pthread_t t;
	int server;

	fcntl(c->client, F_SETFL, 0);
	if (cor_preamble_read(c->client, PATIENCE_MS, &p, NULL) < 0 ||
	    cor_tcp_connect(c->where, PATIENCE_MS, &server, NULL) < 0) {
		close(c->client);
		return NULL;
	}
	if (cor_write_full(server, &p, sizeof(p)) < 0 ||
	    cor_read_full(server, &reply, sizeof(reply)) < 0 ||
	    cor_write_full(c->client, &reply, sizeof(reply)) < 0 || reply.status < 0) {
		close(c->client);
		close(server);
		return NULL;
	}
	pipes[0] = (struct pipe){ c->client, server, p.kind == COR_CONN_CONTROL ? '>' : 0 };
	pipes[1] = (struct pipe){ server, c->client, p.kind == COR_CONN_CONTROL ? '<' : 0 };
	if (pthread_create(&t, NULL, carry, &pipes[1]))
		err(1, "pthread_create");
	carry(&pipes[0]);
	pthread_join(t, NULL);
	close(c->client);
	close(server);
	free(c);
	return NULL;
}

int main(int argc, char **argv)
{
	char address[32];
	int listener;

	if (argc != 4 || sscanf(argv[3], "%c%31[^:]:%31s", &direction, type_name, how) != 3)
		errx(2, "meddler PORT ADDR:PORT [<>]TYPE:HOW");
	snprintf(address, sizeof(address), "0.0.0.0:%.6s", argv[1]);
	if (cor_tcp_listen(address, &listener, NULL) < 0)
		errx(1, "cannot listen on port %s", argv[1]);
	printf("ready\n");
	fflush(stdout);
	for (;;) {
		struct connection *c = malloc(sizeof(*c));
		pthread_t t;

		c->where = argv[2];
		/* what has gone again before it was accepted is none */
		while ((c->client = cor_tcp_accept(listener, NULL)) < 0)
			usleep(500);
		if (pthread_create(&t, NULL, serve, c))
			err(1, "a connection");
		pthread_detach(t);
	}
}
