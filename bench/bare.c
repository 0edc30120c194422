/* The bare fault loop and the bare drain: the floors of faults and drains. */
#include <err.h>
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench/bare.h"
#include "libcor/base/compat.h"
#include "libcor/base/io.h"

#define PAGE  4096u
#define CHUNK (256u << 10)

struct bare_request {
	uint64_t addr;
	uint64_t len;
};

void bare_register(int uffd, void *base, size_t size)
{
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register reg = {
		.range = { (uintptr_t)base, size }, .mode = UFFDIO_REGISTER_MODE_MISSING };

	if (ioctl(uffd, UFFDIO_API, &api) || ioctl(uffd, UFFDIO_REGISTER, &reg))
		err(1, "userfaultfd");
}

static int read_ghost(const struct ghost *g, uint64_t addr, void *buf, size_t len)
{
	struct iovec here = { buf, len }, there = { (void *)(uintptr_t)addr, len };

	return process_vm_readv(g->pid, &here, 1, &there, 1, 0) == (ssize_t)len ? 0 : -1;
}

/* All of it, spinning. */
static int recv_spin(int sock, void *buf, size_t len)
{
	size_t have = 0;

	while (have < len) {
		ssize_t n = recv(sock, (char *)buf + have, len - have, MSG_DONTWAIT);

		if (n > 0)
			have += (size_t)n;
		else if (!n || (errno != EAGAIN && errno != EINTR))
			return -1;
	}
	return 0;
}

static void fault_server(int sock, const struct ghost *g)
{
	static char page[PAGE];
	struct bare_request rq;

	ghost_host(g);
	while (!recv_spin(sock, &rq, sizeof(rq)))
		if (read_ghost(g, rq.addr, page, PAGE) || cor_write_full(sock, page, PAGE))
			break;
	_exit(0);
}

static void fault_pager(int uffd, int sock)
{
	static char page[PAGE] __attribute__((aligned(PAGE)));
	struct pollfd p = { .fd = uffd, .events = POLLIN };
	struct uffd_msg msg;

	while (poll(&p, 1, -1) > 0 || errno == EINTR) {
		struct bare_request rq = { .len = PAGE };
		struct uffdio_copy c = { .src = (uintptr_t)page, .len = PAGE };

		if (read(uffd, &msg, sizeof(msg)) != sizeof(msg))
			continue;
		rq.addr = c.dst = msg.arg.pagefault.address & ~(uint64_t)(PAGE - 1);
		if (cor_write_full(sock, &rq, sizeof(rq)) || recv_spin(sock, page, PAGE) ||
		    (ioctl(uffd, UFFDIO_COPY, &c) && errno != EEXIST))
			break;
	}
	_exit(1);
}

void bare_fault(const struct ghost *g, const struct order *o, struct cor_hist *into)
{
	struct task t;
	pid_t server, pager;
	int pair[2];

	tcp_pair(pair);
	task_start(&t, g);
	bare_register(t.uffd, t.base, t.size);
	server = fork_child();
	if (!server) {
		close(pair[0]);
		close(t.uffd);
		fault_server(pair[1], g);
	}
	pager = fork_child();
	if (!pager) {
		close(pair[1]);
		fault_pager(t.uffd, pair[0]);
	}
	close(pair[0]);
	close(pair[1]);
	task_order(&t, o);
	task_wait(&t);
	cor_hist_merge(into, &t.outcome->fault);
	end_child(server);
	end_child(pager);
	task_end(&t);
}

static void drain_server(int sock, const struct ghost *g)
{
	char *buf = aligned_alloc(PAGE, CHUNK);

	ghost_host(g);
	for (size_t at = 0; buf && at < g->size; at += CHUNK) {
		size_t len = g->size - at < CHUNK ? g->size - at : CHUNK;

		if (read_ghost(g, (uintptr_t)g->base + at, buf, len) ||
		    cor_write_full(sock, buf, len))
			_exit(1);
	}
	_exit(0);
}

static void drain_pager(int sock, const struct task *t)
{
	char *buf = aligned_alloc(PAGE, CHUNK);

	for (size_t at = 0; buf && at < t->size; at += CHUNK) {
		size_t len = t->size - at < CHUNK ? t->size - at : CHUNK;
		struct uffdio_copy c = { .src = (uintptr_t)buf, .dst = (uintptr_t)t->base + at,
					 .len = len };

		if (cor_read_full(sock, buf, len))
			errx(1, "the bare drain's source ended early");
		if (ioctl(t->uffd, UFFDIO_COPY, &c))
			err(1, "UFFDIO_COPY");
	}
	free(buf);
}

void bare_drain(const struct ghost *g, struct bare_drain *out)
{
	uint64_t start, cpu = cpu_ns(getpid());
	siginfo_t si;
	struct task t;
	pid_t server;
	int pair[2];

	tcp_pair(pair);
	task_start(&t, g);
	bare_register(t.uffd, t.base, t.size);
	start = cor_now_ns();
	server = fork_child();
	if (!server) {
		close(pair[0]);
		drain_server(pair[1], g);
	}
	close(pair[1]);
	drain_pager(pair[0], &t);
	out->wall_ns = cor_now_ns() - start;
	out->cpu_destination_ns = cpu_ns(getpid()) - cpu;
	/* A zombie keeps its CPU clock until it is reaped. */
	waitid(P_PID, (id_t)server, &si, WEXITED | WNOWAIT);
	out->cpu_source_ns = cpu_ns(server);
	end_child(server);
	close(pair[0]);
	task_end(&t);
}
