/* Queue pairs to a child; see remote.h. */
#include <err.h>
#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bench/remote.h"
#include "libcor/base/io.h"

#define PAGE       4096u
#define RAW_PAGES  4096u        /* read from */
#define PATIENCE_MS 30000u

static const uint8_t token[COR_RDMA_TOKEN] = "cor-bench";

static const struct cor_rdma_ops *ops_of(const struct remote *r, const char **provider)
{
	const struct cor_rdma_ops *ops = cor_rdma_find(r->transport, provider);

	if (!ops)
		errx(1, "there is no transport \"%s\" here", r->transport);
	return ops;
}

unsigned remote_check(const struct remote *r)
{
	struct cor_error e = COR_ERROR_INIT;
	const char *provider;
	const struct cor_rdma_ops *ops = ops_of(r, &provider);
	unsigned caps;

	if (ops->probe(provider, &caps, &e))
		errx(1, "the transport %s: %s", r->transport, e.text);
	return caps;
}

/* ---- connections ------------------------------------------------------------------- */

static bool admit(void *arg, const struct cor_rdma_greeting *g)
{
	return memcmp(g->token, token, sizeof(token)) == 0;
}

static struct cor_rdma *listen_here(const struct remote *r, int sock)
{
	struct cor_error e = COR_ERROR_INIT;
	struct cor_rdma_address address;
	const char *provider;
	struct cor_rdma *device;

	if (ops_of(r, &provider)->listen(provider, r->address, &device, &address, &e))
		errx(1, "the transport %s: %s", r->transport, e.text);
	if (send(sock, &address, sizeof(address), MSG_NOSIGNAL) != sizeof(address))
		err(1, "the child");
	return device;
}

static struct cor_rdma_qp *accept_here(struct cor_rdma *device)
{
	struct pollfd p = { .fd = device->ops->listen_fd(device), .events = POLLIN };
	uint64_t until = cor_now_ns() + PATIENCE_MS * UINT64_C(1000000);
	struct cor_rdma_greeting g;
	struct cor_rdma_qp *qp;

	while (device->ops->accept(device, admit, NULL, &qp, &g)) {
		if (cor_now_ns() > until)
			errx(1, "nobody connects over %s", device->ops->name);
		poll(&p, 1, 10);
	}
	return qp;
}

static struct cor_rdma *open_there(const struct remote *r, int sock)
{
	struct cor_error e = COR_ERROR_INIT;
	struct cor_rdma_address address;
	const char *provider;
	struct cor_rdma *device;

	if (recv(sock, &address, sizeof(address), 0) != sizeof(address))
		_exit(1);
	if (ops_of(r, &provider)->open(provider, &address, &device, &e))
		errx(1, "the transport %s: %s", r->transport, e.text);
	return device;
}

static struct cor_rdma_qp *connect_there(struct cor_rdma *device)
{
	struct cor_rdma_greeting g = { .purpose = 1 };
	struct cor_error e = COR_ERROR_INIT;
	struct cor_rdma_qp *qp;

	memcpy(g.token, token, sizeof(token));
	if (device->ops->connect(device, &g, PATIENCE_MS, &qp, &e))
		errx(1, "%s: %s", device->ops->name, e.text);
	return qp;
}

/* ---- lanes ------------------------------------------------------------------------- */

static void make_lane(struct cor_stream **out, struct cor_rdma_qp *qp, size_t room)
{
	struct cor_error e = COR_ERROR_INIT;

	if (cor_stream_rdma(out, qp, room, PATIENCE_MS, &e))
		errx(1, "lane: %s", e.text);
}

void remote_lanes_here(const struct remote *r, int sock, struct cor_stream *out[REMOTE_LANES])
{
	static const size_t room[REMOTE_LANES] = { COR_RDMA_ROOM_DEMAND, COR_RDMA_ROOM_BULK };
	struct cor_rdma *device = listen_here(r, sock);

	for (unsigned i = 0; i < REMOTE_LANES; i++)
		make_lane(&out[i], accept_here(device), room[i]);
	cor_rdma_unref(device);         /* the lanes have theirs */
}

void remote_lanes_there(const struct remote *r, int sock, struct cor_stream *out[REMOTE_LANES])
{
	struct cor_rdma *device = open_there(r, sock);

	for (unsigned i = 0; i < REMOTE_LANES; i++)
		make_lane(&out[i], connect_there(device), COR_RDMA_ROOM_REQUESTS);
	cor_rdma_unref(device);
}

/* ---- one-sided demand --------------------------------------------------------------- */

/* The ghost's pages in memory of this process's own, at the same address. */
static void own_pages(const struct ghost *g)
{
	if (mmap(g->base, g->size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED,
		 -1, 0) == MAP_FAILED)
		err(1, "memory");
	memset(g->base, 0x5a, g->size);
	for (size_t i = 0; i < g->size / PAGE; i++)
		*(uint64_t *)(g->base + i * PAGE) = page_word(i);
}

/* Registering all of it at once, for comparison. */
static uint64_t whole_ns(struct cor_rdma *device, const struct ghost *g)
{
	uint64_t start = cor_now_ns(), took;
	struct cor_rdma_memory m;

	if (device->ops->enroll(device, g->base, g->size, COR_RDMA_REMOTE_READ, &m, NULL))
		return 0;
	took = cor_now_ns() - start;
	device->ops->forget(device, &m);
	return took;
}

static void own(const struct remote *r, const struct ghost *g, uint64_t bound, int sock)
{
	struct cor_reach_options options = { .bound = bound };
	struct cor_error e = COR_ERROR_INIT;
	struct cor_reach_owner *owner;
	struct cor_reach_own memory;
	struct cor_rdma *device;
	char c;

	ghost_host(g);
	own_pages(g);
	device = open_there(r, sock);
	if (cor_source_process(&options.source, getpid(), &e))
		errx(1, "%s", e.text);
	cor_reach_own_init(&memory, device);
	options.registrar = &memory.base;
	if (cor_reach_owner_new(&owner, connect_there(device), &options, &e))
		errx(1, "%s", e.text);
	while (recv(sock, &c, 1, 0) == 1) {
		struct remote_owned told;

		cor_reach_owner_stats(owner, &told.stats);
		told.whole_ns = whole_ns(device, g);
		if (send(sock, &told, sizeof(told), MSG_NOSIGNAL) != sizeof(told))
			break;
	}
	for (;;)
		pause();        /* the owner has a thread */
}

pid_t remote_owner_start(const struct remote *r, const struct ghost *g, uint64_t bound, int *sock)
{
	int pair[2];
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair))
		err(1, "socketpair");
	pid = fork_child();
	if (!pid) {
		close(pair[0]);
		own(r, g, bound, pair[1]);
	}
	close(pair[1]);
	*sock = pair[0];
	return pid;
}

struct cor_stream *remote_owner_here(const struct remote *r, int sock)
{
	struct cor_rdma *device = listen_here(r, sock);
	struct cor_error e = COR_ERROR_INIT;
	struct cor_stream *demand;

	if (cor_stream_reach(&demand, accept_here(device), PATIENCE_MS, &e))
		errx(1, "lane: %s", e.text);
	cor_rdma_unref(device);
	return demand;
}

void remote_owner_ask(int sock, struct remote_owned *out)
{
	if (send(sock, "?", 1, MSG_NOSIGNAL) != 1 || recv(sock, out, sizeof(*out), 0) != sizeof(*out))
		errx(1, "the owner of the memory has ended");
}

/* ---- raw reads --------------------------------------------------------------------- */

static void *filled(unsigned npages)
{
	char *m = mmap(NULL, (size_t)npages * PAGE, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);

	if (m == MAP_FAILED)
		err(1, "memory");
	for (unsigned i = 0; i < npages; i++)
		*(uint64_t *)(m + (size_t)i * PAGE) = page_word(i);
	return m;
}

/* In the child, until the other end of sock closes. */
static void raw_there(const struct remote *r, const struct ghost *g, int sock)
{
	struct cor_rdma *device;
	struct cor_rdma_qp *qp;
	struct cor_error e = COR_ERROR_INIT;
	struct cor_rdma_memory m;
	struct cor_rdma_remote told;
	struct cor_rdma_event event;
	int n;
	char c;

	ghost_host(g);
	device = open_there(r, sock);
	qp = connect_there(device);
	if (device->ops->enroll(device, filled(RAW_PAGES), (size_t)RAW_PAGES * PAGE,
				COR_RDMA_REMOTE_READ, &m, &e))
		errx(1, "%s", e.text);
	told = (struct cor_rdma_remote){ m.remote, m.key };
	if (send(sock, &told, sizeof(told), MSG_NOSIGNAL) != sizeof(told))
		_exit(1);
	if (device->caps & COR_RDMA_OFFLOADED)
		while (recv(sock, &c, 1, 0) < 0 && errno == EINTR)
			;
	else
		while ((n = device->ops->poll(qp, &event, 1)) >= 0)
			if (n == 0)
				sched_yield();  /* as those do who serve pages */
	_exit(0);
}

static void read_one(struct cor_rdma_qp *qp, const struct cor_rdma_memory *local,
		     struct cor_rdma_remote from, unsigned page)
{
	struct cor_rdma_event e;
	int r;

	from.addr += (uint64_t)page * PAGE;
	r = qp->ops->read(qp, local, local->addr, PAGE, &from, page);
	if (r)
		errx(1, "reading: %s", strerror(-r));
	while ((r = qp->ops->poll(qp, &e, 1)) == 0)
		sched_yield();
	if (r < 0 || e.kind != COR_RDMA_READ || *(uint64_t *)local->addr != page_word(page))
		errx(1, "a read brought something else");
}

void remote_raw(const struct remote *r, const struct ghost *g, unsigned count,
		struct cor_hist *into)
{
	struct cor_error e = COR_ERROR_INIT;
	struct cor_rdma_memory m;
	struct cor_rdma_remote from;
	struct cor_rdma *device;
	struct cor_rdma_qp *qp;
	void *page;
	int pair[2];
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair))
		err(1, "socketpair");
	pid = fork_child();
	if (!pid) {
		close(pair[0]);
		raw_there(r, g, pair[1]);
	}
	close(pair[1]);
	device = listen_here(r, pair[0]);
	qp = accept_here(device);
	if (recv(pair[0], &from, sizeof(from), 0) != sizeof(from))
		errx(1, "the child ended");
	page = filled(1);
	if (device->ops->enroll(device, page, PAGE, COR_RDMA_LOCAL, &m, &e))
		errx(1, "%s", e.text);
	for (unsigned i = 0; i < count; i++) {
		uint64_t start = cor_now_ns();

		read_one(qp, &m, from, (i * 2654435761u) % RAW_PAGES);
		cor_hist_add(into, cor_now_ns() - start);
	}
	qp->ops->disconnect(qp);
	device->ops->forget(device, &m);
	cor_rdma_unref(device);
	munmap(page, PAGE);
	close(pair[0]);
	end_child(pid);
}
