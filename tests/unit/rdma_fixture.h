/* Two devices of one transport in this process, and a queue pair between them. */
#pragma once

#include <pthread.h>
#include <stdbool.h>

#include "libcor/transport/rdma.h"

#define PAIR_PURPOSE 7

struct pair {
	const struct cor_rdma_ops *ops;
	struct cor_rdma *passive, *active;
	struct cor_rdma_address address;
	struct cor_rdma_qp *in, *out;          /* of passive, of active */
	struct cor_rdma_greeting greeting;      /* what `in` was greeted with */
	bool tells_the_end;
	pthread_t thread;
	volatile bool serving;
};

extern const uint8_t pair_token[COR_RDMA_TOKEN];
/* The transports that tests run over, or the one of them that COR_TEST_TRANSPORT names.
 * NULL ends it. */
extern const char *pair_transports[];
/* The one that setup uses. */
extern const char *pair_transport;

/* Is it to be tested, and can it be? Prints why not. */
bool pair_available(const char *transport);

int pair_setup(void **state);
int pair_teardown(void **state);

/* A thread accepts one connection, or none until pair_served(). */
void pair_serve(struct pair *p);
struct cor_rdma_qp *pair_served(struct pair *p);

/* One event of qp, while the other one is made to get on too. 1; 0: none came in
 * time; else what poll() said. */
int pair_poll_until(struct pair *p, struct cor_rdma_qp *qp, struct cor_rdma_event *e, int ms);
/* The same, which must succeed. */
void pair_await(struct pair *p, struct cor_rdma_qp *qp, struct cor_rdma_event *e);

/* n zeroed pages, page aligned; free(3). */
void *pages(unsigned n);
