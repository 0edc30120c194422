/* Byte streams over queue pairs; every test over each transport that can be had here. */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "libcor/base/io.h"
#include "libcor/transport/stream_rdma.h"
#include "tests/unit/rdma_fixture.h"

#define ROOM 16384u

struct ends {
	struct pair *pair;
	struct cor_stream *here, *there;
};

static void *agree_there(void *arg)
{
	struct ends *e = arg;

	if (cor_stream_rdma(&e->there, e->pair->in, ROOM, 5000, NULL) < 0)
		e->there = NULL;
	e->pair->in = NULL;
	return NULL;
}

static int setup(void **state)
{
	struct ends *e = test_calloc(1, sizeof(*e));
	pthread_t t;

	assert_int_equal(pair_setup((void **)&e->pair), 0);
	assert_int_equal(pthread_create(&t, NULL, agree_there, e), 0);
	assert_int_equal(cor_stream_rdma(&e->here, e->pair->out, ROOM, 5000, NULL), 0);
	e->pair->out = NULL;
	pthread_join(t, NULL);
	assert_non_null(e->there);
	*state = e;
	return 0;
}

static int teardown(void **state)
{
	struct ends *e = *state;

	cor_stream_close(e->here);
	cor_stream_close(e->there);
	pair_teardown((void **)&e->pair);
	test_free(e);
	return 0;
}

/* iWARP's handshake does not bear what comes amid it. */
static void who_accepted_does_not_speak_first(void **state)
{
	struct cor_error err = COR_ERROR_INIT;
	struct cor_stream *s;
	struct cor_rdma_event e;
	struct pair *p;
	int n;

	assert_int_equal(pair_setup((void **)&p), 0);
	assert_int_equal(cor_stream_rdma(&s, p->in, ROOM, 20, &err), -ETIMEDOUT);
	p->in = NULL;
	/* it is gone, so all that it said has come */
	for (unsigned i = 0; p->tells_the_end && i < 500 && (n = p->ops->poll(p->out, &e, 1)) >= 0; i++) {
		assert_int_equal(n, 0);
		cor_rdma_wait(p->out, -1, 10);
	}
	assert_int_equal(p->ops->poll(p->out, &e, 1) > 0, 0);
	pair_teardown((void **)&p);
	(void)state;
}

static void *agree_alone(void *arg)
{
	struct pair *p = arg;
	struct cor_stream *s;

	/* nobody answers */
	assert_int_equal(cor_stream_rdma(&s, p->out, ROOM, 400, NULL), -ETIMEDOUT);
	p->out = NULL;
	return NULL;
}

/* Soft-iWARP may have taken no notice of what came first. */
static void who_connected_nudges_a_peer_that_says_nothing(void **state)
{
	const uint64_t nothing = 0;
	struct cor_rdma_event e[2];
	unsigned n = 0;
	struct pair *p;
	pthread_t t;

	assert_int_equal(pair_setup((void **)&p), 0);
	assert_int_equal(pthread_create(&t, NULL, agree_alone, p), 0);
	for (int r = 0; n < 2 && r >= 0; n += r > 0) {
		r = p->ops->poll(p->in, &e[n], 1);
		if (r == 0)
			cor_rdma_wait(p->in, -1, 10);
	}
	assert_int_equal(n, 2);
	assert_int_equal(e[0].kind, COR_RDMA_MSG);
	assert_int_equal(e[1].kind, COR_RDMA_MSG);
	assert_int_equal(e[1].len, sizeof(nothing));
	assert_memory_equal(e[1].bytes, &nothing, sizeof(nothing));
	pthread_join(t, NULL);
	pair_teardown((void **)&p);
	(void)state;
}

/* Each end has a thread, as lanes have: software that carries data for the other end
 * runs in them. */
struct flow {
	struct cor_stream *s;
	size_t total, chunk;
	uint64_t seed;
	int result;
};

static unsigned char byte_at(uint64_t seed, size_t i)
{
	return (unsigned char)((i * 0x9e3779b97f4a7c15ull + seed) >> 32);
}

static void *send_flow(void *arg)
{
	struct flow *f = arg;
	unsigned char *buf = malloc(f->chunk);

	for (size_t at = 0; at < f->total && f->result == 0; at += f->chunk) {
		size_t n = f->chunk < f->total - at ? f->chunk : f->total - at;

		for (size_t i = 0; i < n; i++)
			buf[i] = byte_at(f->seed, at + i);
		f->result = cor_stream_write(f->s, buf, n);
	}
	free(buf);
	return NULL;
}

static void *receive_flow(void *arg)
{
	struct flow *f = arg;
	unsigned char *buf = malloc(f->chunk);

	for (size_t at = 0; at < f->total && f->result == 0; at += f->chunk) {
		size_t n = f->chunk < f->total - at ? f->chunk : f->total - at;

		f->result = cor_stream_read(f->s, buf, n);
		for (size_t i = 0; i < n && f->result == 0; i++)
			if (buf[i] != byte_at(f->seed, at + i))
				f->result = -EILSEQ;
	}
	free(buf);
	return NULL;
}

static void flows(struct cor_stream *from, struct cor_stream *to, size_t total, size_t sent_by,
		  size_t received_by)
{
	struct flow out = { from, total, sent_by, 7, 0 }, in = { to, total, received_by, 7, 0 };
	pthread_t t;

	assert_int_equal(pthread_create(&t, NULL, send_flow, &out), 0);
	receive_flow(&in);
	/* what is on its way may need the receiver until it has left */
	while (pthread_tryjoin_np(t, NULL) == EBUSY) {
		char byte;
		struct iovec iov = { &byte, 1 };

		assert_int_equal(cor_stream_receive(to, &iov, 1, COR_STREAM_NOWAIT), -EAGAIN);
	}
	assert_int_equal(out.result, 0);
	assert_int_equal(in.result, 0);
}

static void bytes_arrive_in_order(void **state)
{
	struct ends *e = *state;

	flows(e->here, e->there, 300000, 777, 4096);
	flows(e->there, e->here, 300000, 4096, 777);
}

/* More than the ring holds, in one piece. */
static void more_than_there_is_room_for(void **state)
{
	struct ends *e = *state;

	flows(e->here, e->there, 4 * ROOM + 5, 4 * ROOM + 5, 4 * ROOM + 5);
}

static void many_small_ones(void **state)
{
	struct ends *e = *state;

	flows(e->here, e->there, 5000, 1, 16);
}

/* A request and its reply, many times: what a demand lane does. */
static void *answer(void *arg)
{
	struct ends *e = arg;
	unsigned char request[16], reply[4128];

	for (unsigned i = 0; i < 500; i++) {
		if (cor_stream_read(e->there, request, sizeof(request)) < 0)
			break;
		memset(reply, request[0], sizeof(reply));
		if (cor_stream_write(e->there, reply, sizeof(reply)) < 0)
			break;
	}
	return NULL;
}

static void requests_and_replies(void **state)
{
	struct ends *e = *state;
	unsigned char request[16], reply[4128];
	pthread_t t;

	assert_int_equal(pthread_create(&t, NULL, answer, e), 0);
	for (unsigned i = 0; i < 500; i++) {
		memset(request, (int)(i & 0xff), sizeof(request));
		assert_int_equal(cor_stream_write(e->here, request, sizeof(request)), 0);
		assert_int_equal(cor_stream_read(e->here, reply, sizeof(reply)), 0);
		assert_int_equal(reply[0], i & 0xff);
		assert_int_equal(reply[sizeof(reply) - 1], i & 0xff);
	}
	pthread_join(t, NULL);
}

static void nothing_to_receive(void **state)
{
	struct ends *e = *state;
	char byte;
	struct iovec iov = { &byte, 1 };

	assert_int_equal(cor_stream_receive(e->here, &iov, 1, COR_STREAM_NOWAIT), -EAGAIN);
	assert_false(cor_stream_pending(e->here));
}

/* Between -EAGAIN and bytes that come, the descriptor becomes readable. */
static void *send_later(void *arg)
{
	struct ends *e = arg;

	usleep(20000);
	cor_stream_write(e->there, "late", 4);
	/* what carries it may need this end to get on */
	for (unsigned i = 0; i < 100; i++) {
		char byte;
		struct iovec iov = { &byte, 1 };

		cor_stream_receive(e->there, &iov, 1, COR_STREAM_NOWAIT);
		usleep(1000);
	}
	return NULL;
}

static void the_descriptor_tells(void **state)
{
	struct ends *e = *state;
	char got[4];
	struct iovec iov = { got, sizeof(got) };
	ssize_t n;
	pthread_t t;

	assert_int_equal(pthread_create(&t, NULL, send_later, e), 0);
	while ((n = cor_stream_receive(e->here, &iov, 1, COR_STREAM_NOWAIT)) == -EAGAIN)
		assert_int_equal(cor_stream_await(e->here, cor_now_ns() + 5000000000ull), 0);
	assert_int_equal(n, 4);
	assert_memory_equal(got, "late", 4);
	pthread_join(t, NULL);
}

static void a_full_ring_says_so(void **state)
{
	struct ends *e = *state;
	static char page[4096];
	struct iovec iov = { page, sizeof(page) };
	struct pollfd p = { .fd = e->here->out_fd, .events = POLLOUT };
	size_t sent = 0;
	ssize_t n;

	assert_int_equal(poll(&p, 1, 0), 1);
	while ((n = cor_stream_send(e->here, &iov, 1, COR_STREAM_NOWAIT)) > 0)
		sent += (size_t)n;
	assert_int_equal(n, -EAGAIN);
	assert_int_equal(sent, ROOM);
	assert_int_equal(poll(&p, 1, 0), 0);
	/* taken out there, and noticed here while we receive */
	for (size_t got = 0; got < ROOM; ) {
		n = cor_stream_receive(e->there, &iov, 1, COR_STREAM_NOWAIT);
		got += n > 0 ? (size_t)n : 0;
		n = cor_stream_receive(e->here, &iov, 1, COR_STREAM_NOWAIT);
		assert_int_equal(n, -EAGAIN);
	}
	for (unsigned i = 0; i < 5000 && poll(&p, 1, 1) == 0; i++) {
		cor_stream_receive(e->there, &iov, 1, COR_STREAM_NOWAIT);
		cor_stream_receive(e->here, &iov, 1, COR_STREAM_NOWAIT);
	}
	assert_int_equal(poll(&p, 1, 0), 1);
	assert_int_equal(cor_stream_send(e->here, &iov, 1, COR_STREAM_NOWAIT), 4096);
}

static void *sleep_in_receive(void *arg)
{
	struct cor_stream *s = arg;
	char byte;
	struct iovec iov = { &byte, 1 };

	return (void *)(intptr_t)cor_stream_receive(s, &iov, 1, 0);
}

static void a_shutdown_wakes_the_receiver(void **state)
{
	struct ends *e = *state;
	pthread_t t;
	void *r;

	assert_int_equal(pthread_create(&t, NULL, sleep_in_receive, e->there), 0);
	usleep(20000);
	cor_stream_shutdown(e->there);
	pthread_join(t, &r);
	assert_int_equal((intptr_t)r, 0);
}

static void the_end_of_the_peer_is_the_end(void **state)
{
	struct ends *e = *state;
	char byte;
	struct iovec iov = { &byte, 1 };

	if (!e->pair->tells_the_end)
		skip();
	cor_stream_close(e->there);
	e->there = NULL;
	assert_int_equal(cor_stream_receive(e->here, &iov, 1, 0), 0);
	assert_true(cor_stream_send(e->here, &iov, 1, 0) < 0);
}

#define OVER(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(who_accepted_does_not_speak_first),
		cmocka_unit_test(who_connected_nudges_a_peer_that_says_nothing),
		OVER(bytes_arrive_in_order),
		OVER(more_than_there_is_room_for),
		OVER(many_small_ones),
		OVER(requests_and_replies),
		OVER(nothing_to_receive),
		OVER(the_descriptor_tells),
		OVER(a_full_ring_says_so),
		OVER(a_shutdown_wakes_the_receiver),
		OVER(the_end_of_the_peer_is_the_end),
	};
	int failed = 0;

	for (unsigned i = 0; pair_transports[i]; i++) {
		pair_transport = pair_transports[i];
		if (pair_available(pair_transport))
			failed += cmocka_run_group_tests_name(pair_transport, tests, NULL, NULL);
	}
	return failed;
}
