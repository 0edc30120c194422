/* libcor's page server and pager, put to work between two of our processes. */
#include <err.h>
#include <errno.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench/live.h"
#include "bench/remote.h"
#include "libcor/base/cleanup.h"
#include "libcor/base/io.h"
#include "libcor/paging/server.h"
#include "libcor/transport/lane.h"

enum { DEMAND, BULK, NLANES = REMOTE_LANES };

static const enum cor_connection_kind lane_kind[NLANES] = {
	[DEMAND] = COR_CONN_DEMAND, [BULK] = COR_CONN_BULK,
};

static const uint8_t session[COR_SESSION_ID] = { 'b', 'e', 'n', 'c', 'h' };
static const uint8_t secret[COR_SECRET] = { 's', 'e', 'c', 'r', 'e', 't' };

/* The two ends of a lane shake hands with each other, so both must be made at once. */
static struct cor_stream *lane_stream(int sock, enum cor_connection_kind kind, bool server,
				      enum live_cover cover)
{
	struct cor_error e = COR_ERROR_INIT;
	struct cor_stream *s;
	struct cor_tls *keys;

	if (cor_lane_accept(&s, sock, kind, &e))
		errx(1, "lane: %s", e.text);
	if (cover != LIVE_TLS)
		return s;
	if (cor_tls_from_secret(&keys, session, secret, kind, 0, &e) ||
	    cor_stream_tls(&s, s, keys, server, NULL, &e) ||
	    cor_stream_tls_handshake(s, 0, &e))
		errx(1, "lane: %s", e.text);
	cor_tls_free(keys);
	return s;
}

/* In the server's process: until the other end of hold closes. */
static void serve(const struct ghost *g, struct cor_stream *lanes[NLANES], int hold)
{
	struct cor_error e = COR_ERROR_INIT;
	struct cor_page_server *ps;
	struct cor_source *source;
	char c;

	ghost_host(g);
	if (cor_source_process(&source, g->pid, &e) || cor_page_server_new(&ps, source, &e))
		errx(1, "page server: %s", e.text);
	for (unsigned i = 0; i < NLANES; i++)
		if (cor_page_server_add_lane(ps, lanes[i], lane_kind[i], &e))
			errx(1, "page server: %s", e.text);
	while (read(hold, &c, 1) < 0 && errno == EINTR)
		;
	cor_page_server_free(ps);
	_exit(0);
}

static void start_server(struct live *l, const struct ghost *g, int ours[NLANES],
			 enum live_cover cover)
{
	struct cor_stream *lanes[NLANES];
	int theirs[NLANES], hold[2], pair[2];

	if (pipe(hold))
		err(1, "pipe");
	for (unsigned i = 0; i < NLANES; i++) {
		tcp_pair(pair);
		ours[i] = pair[0];
		theirs[i] = pair[1];
	}
	l->server = fork_child();
	if (!l->server) {
		close(hold[1]);
		for (unsigned i = 0; i < NLANES; i++)
			close(ours[i]);
		for (unsigned i = 0; i < NLANES; i++)
			lanes[i] = lane_stream(theirs[i], lane_kind[i], false, cover);
		serve(g, lanes, hold[0]);
	}
	close(hold[0]);
	l->hold = hold[1];
	for (unsigned i = 0; i < NLANES; i++)
		close(theirs[i]);
}

void live_start(struct live *l, const struct cor_ctx *ctx, const struct ghost *g,
		struct task *t, bool prefetch)
{
	live_start_covered(l, ctx, g, t, prefetch, LIVE_CLEAR);
}

/* Returns the socket by which its lanes are made. */
static int start_server_over(struct live *l, const struct ghost *g, const struct remote *over)
{
	struct cor_stream *theirs[NLANES];
	int hold[2], pair[2];

	if (pipe(hold) || socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair))
		err(1, "pipe");
	l->server = fork_child();
	if (!l->server) {
		close(hold[1]);
		close(pair[0]);
		ghost_host(g);          /* a provider's threads too */
		remote_lanes_there(over, pair[1], theirs);
		serve(g, theirs, hold[0]);
	}
	close(hold[0]);
	close(pair[1]);
	l->hold = hold[1];
	return pair[0];
}

/* Takes the lanes and the task's userfaultfd. */
static void start_pager(struct live *l, const struct cor_ctx *ctx, struct task *t,
			struct cor_stream *lanes[NLANES], bool check)
{
	struct cor_region region = {
		.start = (uintptr_t)t->base, .len = t->size, .offset = (uintptr_t)t->base };
	struct cor_error e = COR_ERROR_INIT;

	l->task = t;
	if (cor_pager_new(&l->pager, ctx, &e) || cor_pager_add_region(l->pager, &region, &e))
		errx(1, "pager: %s", e.text);
	cor_pager_check(l->pager, check);
	for (unsigned i = 0; i < NLANES; i++)
		if (cor_pager_add_lane(l->pager, lanes[i], lane_kind[i], &e))
			errx(1, "pager: %s", e.text);
	if (cor_pager_uffd_handshake(t->uffd, &e) || cor_pager_start(l->pager, t->uffd, &e))
		errx(1, "pager: %s", e.text);
	t->uffd = -1;
}

void live_start_covered(struct live *l, const struct cor_ctx *ctx, const struct ghost *g,
			struct task *t, bool prefetch, enum live_cover cover)
{
	struct cor_stream *lanes[NLANES];
	int socks[NLANES];

	l->owner = 0;
	start_server(l, g, socks, cover);
	for (unsigned i = 0; i < NLANES; i++)
		lanes[i] = lane_stream(socks[i], lane_kind[i], true, cover);
	start_pager(l, ctx, t, lanes, cover == LIVE_CHECKED);
	if (prefetch)
		cor_pager_prefetch(l->pager, true);
}

void live_start_over(struct live *l, const struct cor_ctx *ctx, const struct ghost *g,
		     struct task *t, const struct remote *over, bool one_sided)
{
	struct cor_stream *lanes[NLANES], *reach = NULL;
	struct cor_error e = COR_ERROR_INIT;
	int server, owner = -1;

	/* both children before an adapter is opened */
	l->owner = one_sided ? remote_owner_start(over, g, REMOTE_BOUND, &owner) : 0;
	server = start_server_over(l, g, over);
	if (one_sided)
		reach = remote_owner_here(over, owner);
	remote_lanes_here(over, server, lanes);
	close(server);
	cor_closep(&owner);
	start_pager(l, ctx, t, lanes, false);
	if (reach && cor_pager_add_lane(l->pager, reach, COR_CONN_DEMAND, &e))
		errx(1, "pager: %s", e.text);
}

void live_await_drained(struct live *l)
{
	struct pollfd p = { .fd = cor_pager_event_fd(l->pager), .events = POLLIN };
	struct cor_error why = COR_ERROR_INIT;
	uint64_t word;

	for (;;) {
		switch (cor_pager_state(l->pager, &why)) {
		case COR_PAGER_DRAINED:
			return;
		case COR_PAGER_TASK_GONE:
			errx(1, "the task ended while it was drained");
		case COR_PAGER_FAILED:
			errx(1, "pager: %s", why.text);
		default:
			break;
		}
		if (poll(&p, 1, 1000) > 0)
			(void)!read(p.fd, &word, sizeof(word));
	}
}

void live_end(struct live *l)
{
	/* First the task, whose missing pages nobody will bring from here on. */
	task_end(l->task);
	cor_pager_free(l->pager);
	close(l->hold);
	end_child(l->server);
	end_child(l->owner);
}

void live_drain(const struct cor_ctx *ctx, const struct ghost *g, struct drained *out)
{
	live_drain_covered(ctx, g, LIVE_CLEAR, out);
}

void live_drain_covered(const struct cor_ctx *ctx, const struct ghost *g, enum live_cover cover,
			struct drained *out)
{
	uint64_t start, cpu, cpu_source;
	struct cor_paging_stats s;
	struct live l;
	struct task t;

	task_start(&t, g);
	live_start_covered(&l, ctx, g, &t, false, cover);
	cpu = cpu_ns(getpid());
	cpu_source = cpu_ns(l.server);
	start = cor_now_ns();
	cor_pager_prefetch(l.pager, true);
	live_await_drained(&l);
	out->wall_ns = cor_now_ns() - start;
	out->cpu_destination_ns = cpu_ns(getpid()) - cpu;
	out->cpu_source_ns = cpu_ns(l.server) - cpu_source;
	cor_pager_stats(l.pager, &s);
	out->bytes_wire = s.bytes_wire;
	live_end(&l);
}
