/* See pager_fixture.h. */
#include "tests/unit/pager_fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "libcor/base/io.h"
#include "libcor/paging/wire.h"
#include "libcor/transport/stream_fault.h"
#include "tests/stream.h"

#define PATIENCE_NS 5000000000ull

static void *anonymous(size_t len)
{
	void *m = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	assert_true(m != MAP_FAILED);
	return m;
}

/* ---- a stream that must be armed ------------------------------------------------- */

struct drowsy {
	struct cor_stream base;
	struct cor_stream *inner;
	bool armed;             /* or it has woken since */
};

/* Looks once more when that is new. */
static bool drowsy_pending(const struct cor_stream *s)
{
	struct drowsy *d = (struct drowsy *)s;
	struct epoll_event e = { .events = EPOLLIN | EPOLLONESHOT };
	bool was = d->armed;

	if (!was)
		assert_int_equal(epoll_ctl(s->in_fd, EPOLL_CTL_MOD, d->inner->in_fd, &e), 0);
	d->armed = true;
	return !was;
}

static ssize_t drowsy_receive(struct cor_stream *s, const struct iovec *iov, unsigned n,
			      unsigned flags)
{
	struct drowsy *d = (struct drowsy *)s;
	ssize_t r;

	while ((r = cor_stream_receive(d->inner, iov, n, flags)) == -EAGAIN)
		if (!drowsy_pending(s))
			return r;
	d->armed = false;
	return r;
}

static ssize_t drowsy_send(struct cor_stream *s, const struct iovec *iov, unsigned n,
			   unsigned flags)
{
	return cor_stream_send(((struct drowsy *)s)->inner, iov, n, flags);
}

static void drowsy_shutdown(struct cor_stream *s)
{
	cor_stream_shutdown(((struct drowsy *)s)->inner);
}

static void drowsy_close(struct cor_stream *s)
{
	struct drowsy *d = (struct drowsy *)s;

	cor_stream_close(d->inner);
	close(s->in_fd);
	free(d);
}

static const struct cor_stream_ops drowsy_ops = {
	.name = "drowsy", .receive = drowsy_receive, .send = drowsy_send,
	.pending = drowsy_pending, .shutdown = drowsy_shutdown, .close = drowsy_close,
};

static struct cor_stream *drowsy(struct cor_stream *inner)
{
	struct epoll_event e = { .events = EPOLLONESHOT };
	struct drowsy *d = calloc(1, sizeof(*d));

	assert_non_null(d);
	d->base.ops = &drowsy_ops;
	d->inner = inner;
	d->base.in_fd = epoll_create1(EPOLL_CLOEXEC);
	d->base.out_fd = inner->out_fd;
	assert_int_equal(epoll_ctl(d->base.in_fd, EPOLL_CTL_ADD, inner->in_fd, &e), 0);
	return &d->base;
}

/* ---- the pager and its toy server ------------------------------------------------- */

static void add_lane(struct lazy *l, enum cor_connection_kind kind, const char *faults,
		     bool sleepy)
{
	struct cor_stream *lane = stream_of(toy_connect(&l->toy, kind));

	assert_int_equal(cor_fault_apply(&lane, faults, kind, NULL), 0);
	lane = sleepy ? drowsy(lane) : lane;
	assert_int_equal(cor_pager_add_lane(l->pager, lane, kind, NULL), 0);
}

static int setup(void **state, const char *faults, bool sleepy)
{
	struct lazy *l = test_calloc(1, sizeof(*l));

	*state = l;
	assert_int_equal(cor_open(&l->ctx, NULL), 0);
	l->truth = anonymous(NPAGES * P);
	l->mem = anonymous(NPAGES * P);
	for (uint64_t i = 0; i < NPAGES * P / 8; i++)
		((uint64_t *)l->truth)[i] = (i + 1) * 0x9e3779b97f4a7c15ull;
	toy_init(&l->toy, l->truth, SOURCE_BASE, NPAGES);
	assert_int_equal(cor_pager_new(&l->pager, l->ctx, NULL), 0);
	add_lane(l, COR_CONN_DEMAND, faults, sleepy);
	add_lane(l, COR_CONN_BULK, faults, sleepy);
	return 0;
}

int lazy_setup(void **state)
{
	return setup(state, NULL, false);
}

int lazy_setup_spoiled(void **state, const char *faults)
{
	return setup(state, faults, false);
}

int lazy_setup_drowsy(void **state)
{
	return setup(state, NULL, true);
}

int lazy_teardown(void **state)
{
	struct lazy *l = *state;

	cor_pager_free(l->pager);
	toy_end(&l->toy);
	munmap(l->mem, NPAGES * P);
	munmap(l->truth, NPAGES * P);
	cor_close(l->ctx);
	test_free(l);
	return 0;
}

int lazy_uffd(void)
{
	int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);

	assert_true(fd >= 0);
	assert_int_equal(cor_pager_uffd_handshake(fd, NULL), 0);
	return fd;
}

void lazy_start(struct lazy *l)
{
	struct cor_region r = { .start = (uintptr_t)l->mem, .len = NPAGES * P, .offset = SOURCE_BASE };

	assert_int_equal(cor_pager_add_region(l->pager, &r, NULL), 0);
	assert_int_equal(cor_pager_start(l->pager, lazy_uffd(), NULL), 0);
}

/* Waits for the pager's event descriptor, a short while at the most. */
static void await_event(struct lazy *l, uint64_t deadline)
{
	struct pollfd pfd = { cor_pager_event_fd(l->pager), POLLIN, 0 };
	uint64_t n;

	assert_true(cor_now_ns() < deadline);
	poll(&pfd, 1, 1000);
	(void)!read(pfd.fd, &n, sizeof(n));
}

void lazy_await(struct lazy *l, enum cor_pager_state state)
{
	uint64_t deadline = cor_now_ns() + PATIENCE_NS;

	while (cor_pager_state(l->pager, NULL) != state)
		await_event(l, deadline);
}

void lazy_await_lanes(struct lazy *l, enum cor_connection_kind kind, unsigned n)
{
	uint64_t deadline = cor_now_ns() + PATIENCE_NS;

	while (cor_pager_lanes(l->pager, kind) != n)
		await_event(l, deadline);
}

void await_count(atomic_uint *b, unsigned n)
{
	uint64_t deadline = cor_now_ns() + PATIENCE_NS;

	while (atomic_load(b) < n) {
		assert_true(cor_now_ns() < deadline);
		sched_yield();
	}
}

int page_is(const struct lazy *l, const unsigned char *mem, uint64_t i, uint64_t j)
{
	return memcmp(mem + i * P, l->truth + j * P, P) == 0;
}

int page_is_zero(const unsigned char *mem, uint64_t i)
{
	for (uint64_t k = 0; k < P; k++)
		if (mem[i * P + k])
			return 0;
	return 1;
}

struct cor_paging_stats lazy_stats(struct lazy *l)
{
	struct cor_paging_stats st;

	/* who waits for a page goes on before it is counted: let the pager come round */
	cor_pager_hint(l->pager, NULL, 0);
	cor_pager_stats(l->pager, &st);
	return st;
}

int in_child(int (*run)(struct lazy *l), struct lazy *l)
{
	pid_t pid = _Fork();    /* cor/import.h tells why not fork */
	int status;

	assert_true(pid >= 0);
	if (pid == 0)
		_exit(run(l));
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}
