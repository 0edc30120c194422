/* The tests' page server; see toy_server.h. */
#include "tests/unit/toy_server.h"

#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "libcor/base/io.h"
#include "libcor/paging/check.h"

#define P 4096u

void toy_init(struct toy *t, const unsigned char *data, uint64_t base, uint64_t npages)
{
	memset(t, 0, sizeof(*t));
	t->data = data;
	t->base = base;
	t->npages = npages;
	t->asked = calloc(npages, sizeof(*t->asked));
}

static bool holds(const struct toy *t, uint64_t page)
{
	return !t->holds || t->holds(page);
}

static bool holds_or_gone(const struct toy *t, uint64_t page, uint8_t *status)
{
	*status = (uint64_t)atomic_load(&t->gone_page) == page + 1 ? COR_PAGE_GONE :
		  holds(t, page) ? COR_PAGE_DATA : COR_PAGE_ZERO;
	return *status == COR_PAGE_DATA;
}

static struct cor_page_reply reply_to(const struct cor_page_request *rq, uint8_t status,
				      uint64_t offset, uint32_t n, bool last)
{
	return (struct cor_page_reply) {
		.status = status, .flags = last ? COR_PAGE_LAST : 0, .object = rq->object,
		.npages = n, .offset = offset,
	};
}

static int say(int sock, const struct cor_page_request *rq, struct cor_page_reply *re,
	       const void *payload, size_t len)
{
	if (rq->flags & COR_PAGE_CHECKED) {
		re->flags |= COR_PAGE_CHECKED;
		re->check = cor_page_check(re, payload, len);
	}
	if (cor_write_full(sock, re, sizeof(*re)) < 0)
		return -1;
	return cor_write_full(sock, payload, len);
}

/* Runs of pages that are alike; each is one reply. */
static int answer_read(struct toy *t, int sock, const struct cor_page_request *rq)
{
	uint64_t first = (rq->offset - t->base) / P, end = first + rq->npages;

	for (uint64_t i = first, n; i < end; i += n) {
		uint8_t status, next;
		bool data = holds_or_gone(t, i, &status);
		struct cor_page_reply re;

		for (n = 1; i + n < end; n++) {
			holds_or_gone(t, i + n, &next);
			if (next != status)
				break;
		}
		re = reply_to(rq, status, t->base + i * P,
			      (uint32_t)n, i + n == end);
		if (atomic_load(&t->error_page) && (uint64_t)t->error_page - 1 - first < rq->npages) {
			re = reply_to(rq, COR_PAGE_ERROR, rq->offset, rq->npages, true);
			re.error = atomic_load(&t->error) ?: EIO;
			return say(sock, rq, &re, NULL, 0);
		}
		if (atomic_load(&t->bad_page) && (uint64_t)t->bad_page - 1 - first < rq->npages) {
			t->bad_page = 0;
			re.offset += P;
		}
		if (say(sock, rq, &re, t->data + i * P, data ? n * P : 0) < 0)
			return -1;
	}
	return 0;
}

static int answer_presence(struct toy *t, int sock, const struct cor_page_request *rq)
{
	uint64_t first = (rq->offset - t->base) / P, end = first + rq->npages;
	struct cor_page_reply re;

	for (uint64_t i = first, n; i < end; i += n) {
		struct cor_page_run run;

		for (n = 1; i + n < end && holds(t, i + n) == holds(t, i); n++)
			;
		if (!holds(t, i))
			continue;
		run = (struct cor_page_run) { t->base + i * P, (uint32_t)n,
					      t->huge ? COR_RUN_HUGE : 0 };
		re = reply_to(rq, COR_PAGE_RUNS, rq->offset, 1, false);
		if (say(sock, rq, &re, &run, sizeof(run)) < 0)
			return -1;
	}
	re = reply_to(rq, COR_PAGE_RUNS, rq->offset, 0, true);
	return say(sock, rq, &re, NULL, 0);
}

static bool cut_here(struct toy *t, enum cor_connection_kind kind)
{
	return atomic_load(&t->cut_kind) == (int)kind && atomic_load(&t->cut_after) > 0 &&
	       atomic_fetch_sub(&t->cut_after, 1) == 1;
}

static void *serve(void *arg)
{
	struct toy_lane *l = arg;
	struct toy *t = l->toy;
	struct cor_page_request rq;

	while (cor_read_full(l->sock, &rq, sizeof(rq)) == 0) {
		while (l->kind == COR_CONN_DEMAND && atomic_load(&t->hold_demand))
			sched_yield();
		if (cut_here(t, l->kind))
			break;
		if (rq.op == COR_PAGE_READ) {
			atomic_fetch_add(&t->reads[l->kind], 1);
			if (l->kind == COR_CONN_DEMAND)
				atomic_fetch_add(&t->asked[(rq.offset - t->base) / P], 1);
		} else {
			atomic_fetch_add(&t->presences, 1);
		}
		if ((rq.op == COR_PAGE_READ ? answer_read : answer_presence)(t, l->sock, &rq) < 0)
			break;
	}
	shutdown(l->sock, SHUT_RDWR);
	return NULL;
}

int toy_connect(struct toy *t, enum cor_connection_kind kind)
{
	struct toy_lane *l = &t->lanes[t->nlanes++];
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		abort();
	l->toy = t;
	l->sock = pair[1];
	l->kind = kind;
	if (pthread_create(&l->thread, NULL, serve, l))
		abort();
	return pair[0];
}

void toy_end(struct toy *t)
{
	atomic_store(&t->hold_demand, false);
	for (unsigned i = 0; i < t->nlanes; i++) {
		pthread_join(t->lanes[i].thread, NULL);
		close(t->lanes[i].sock);
	}
	free(t->asked);
}
