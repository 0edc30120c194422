/* See rdma_fixture.h. */
#include "tests/unit/rdma_fixture.h"

#include <errno.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "libcor/base/io.h"

const uint8_t pair_token[COR_RDMA_TOKEN] = "a token that both sides know";
const char *pair_transports[] = { "fabric:tcp", "fabric:shm", "fabric:tcp;ofi_rxm", "verbs",
				  "fabric:verbs", NULL };
const char *pair_transport = "fabric:tcp";

/* Where the devices of tests listen; a virtual machine has others. */
static const char *host(void)
{
	return getenv("COR_TEST_HOST") ?: "127.0.0.1";
}

bool pair_available(const char *transport)
{
	const char *only = getenv("COR_TEST_TRANSPORT");
	struct cor_error err = COR_ERROR_INIT;
	const char *provider;
	const struct cor_rdma_ops *ops = cor_rdma_find(transport, &provider);
	unsigned caps;

	if (only && strcmp(only, transport) != 0)
		return false;
	if (ops && ops->probe(provider, &caps, &err) == 0)
		return true;
	printf("skip: %s: %s\n", transport, ops ? err.text : "not built in");
	return false;
}

static bool admit(void *arg, const struct cor_rdma_greeting *g)
{
	return memcmp(g->token, pair_token, COR_RDMA_TOKEN) == 0;
}

static void *serve(void *arg)
{
	struct pair *p = arg;

	while (p->serving) {
		struct pollfd fds = { .fd = p->ops->listen_fd(p->passive), .events = POLLIN };

		/* no more often than the descriptor tells, as whoever has others to wait for */
		if (poll(&fds, 1, 10) > 0 &&
		    p->ops->accept(p->passive, admit, NULL, &p->in, &p->greeting) == 0)
			break;
	}
	return NULL;
}

void pair_serve(struct pair *p)
{
	if (p->in)
		p->ops->disconnect(p->in);
	p->in = NULL;
	p->serving = true;
	assert_int_equal(pthread_create(&p->thread, NULL, serve, p), 0);
}

struct cor_rdma_qp *pair_served(struct pair *p)
{
	p->serving = false;
	pthread_join(p->thread, NULL);
	return p->in;
}

int pair_setup(void **state)
{
	struct pair *p = test_calloc(1, sizeof(*p));
	struct cor_rdma_greeting g = { .purpose = PAIR_PURPOSE };
	struct cor_error err = COR_ERROR_INIT;
	const char *provider;

	p->ops = cor_rdma_find(pair_transport, &provider);
	p->tells_the_end = !strstr(pair_transport, "shm") && !strstr(pair_transport, "ofi_rxm");
	memcpy(g.token, pair_token, sizeof(g.token));
	if (p->ops->listen(provider, host(), &p->passive, &p->address, &err) < 0 ||
	    p->ops->open(provider, &p->address, &p->active, &err) < 0)
		fail_msg("%s", err.text);
	pair_serve(p);
	if (p->ops->connect(p->active, &g, 5000, &p->out, &err) < 0)
		fail_msg("%s", err.text);
	for (unsigned i = 0; i < 500 && !p->in; i++) {
		struct cor_rdma_event e;

		/* accepting may need us */
		assert_int_equal(p->ops->poll(p->out, &e, 1), 0);
		cor_rdma_wait(p->out, -1, 10);
	}
	assert_non_null(pair_served(p));
	*state = p;
	return 0;
}

int pair_teardown(void **state)
{
	struct pair *p = *state;

	if (p->in)
		p->ops->disconnect(p->in);
	if (p->out)
		p->ops->disconnect(p->out);
	cor_rdma_unref(p->active);
	cor_rdma_unref(p->passive);
	test_free(p);
	return 0;
}

int pair_poll_until(struct pair *p, struct cor_rdma_qp *qp, struct cor_rdma_event *e, int ms)
{
	struct cor_rdma_qp *other = qp == p->in ? p->out : p->in;
	uint64_t until = cor_now_ns() + (uint64_t)ms * 1000000;

	while (cor_now_ns() < until) {
		int r = p->ops->poll(qp, e, 1);

		if (r != 0)
			return r;
		/* its memory is reached through software that runs here */
		if (other)
			p->ops->poll(other, e, 0);
		cor_rdma_wait(qp, -1, 1);
	}
	return 0;
}

void pair_await(struct pair *p, struct cor_rdma_qp *qp, struct cor_rdma_event *e)
{
	assert_int_equal(pair_poll_until(p, qp, e, 5000), 1);
}

void *pages(unsigned n)
{
	void *m = NULL;

	assert_int_equal(posix_memalign(&m, 4096, n * 4096u), 0);
	return memset(m, 0, n * 4096u);
}
