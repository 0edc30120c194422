/* The public importer: a mapping, a pager for it, and a thread that replaces
 * connections which were lost and tidies up in the end. See cor/import.h. */
#include <cor/import.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "libcor/base/cleanup.h"
#include "libcor/base/compat.h"
#include "libcor/base/error.h"
#include "libcor/base/io.h"
#include "libcor/paging/pager.h"
#include "libcor/paging/ticket.h"
#include "libcor/paging/uffd.h"
#include "libcor/transport/lane.h"
#include "libcor/transport/transport.h"

#define DEFAULT_TIMEOUT_MS 5000u
#define RECONNECT_MS       1000u     /* for one attempt to connect again */
#define BACKOFF_MIN_MS     20
#define FIRST_MS           1        /* what is touched at once has both sides to itself so long */
#define BACKOFF_MAX_MS     2000

struct cor_import {
	struct cor_ticket ticket;
	struct cor_pager *pager;
	void *address;
	bool mapped;            /* by us, in this process */
	bool watched;           /* the thread runs */
	bool prefetch;          /* from the beginning */
	pthread_t watcher;
	int stop_fd;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	enum cor_pager_state state;      /* under the lock, as the watcher saw it last */
};

/* --- connections ------------------------------------------------------------ */

static int connect_lane(struct cor_import *i, enum cor_connection_kind kind, unsigned timeout_ms,
			struct cor_error *err)
{
	struct cor_lane_options o = {
		.addrport = i->ticket.addrport, .kind = kind, .session = i->ticket.id,
		.secret = i->ticket.secret, .timeout_ms = timeout_ms,
		.encrypted = cor_transport_find(i->ticket.transport)->caps & COR_TRANSPORT_ENCRYPTED,
	};
	struct cor_stream *lane;
	int r = cor_lane_connect(&lane, &o, err);

	return r < 0 ? r : cor_pager_add_lane(i->pager, lane, kind, err);
}

/* Makes what was lost, or is not there yet; false: not all of it could be. */
static bool reconnect(struct cor_import *i)
{
	static const enum cor_connection_kind kinds[] = { COR_CONN_DEMAND, COR_CONN_BULK };
	bool all = true;

	for (unsigned k = 0; k < ARRAY_SIZE(kinds); k++)
		if (!cor_pager_lanes(i->pager, kinds[k]))
			all &= connect_lane(i, kinds[k], RECONNECT_MS, NULL) == 0;
	return all;
}

static void publish(struct cor_import *i, enum cor_pager_state state)
{
	COR_LOCK(&i->lock);
	i->state = state;
	pthread_cond_broadcast(&i->changed);
}

static bool ended(enum cor_pager_state state)
{
	return state == COR_PAGER_DRAINED || state == COR_PAGER_TASK_GONE;
}

static void *watch(void *arg)
{
	struct cor_import *i = arg;
	struct pollfd pfd[2] = {
		{ cor_pager_event_fd(i->pager), POLLIN, 0 }, { i->stop_fd, POLLIN, 0 },
	};
	int backoff = BACKOFF_MIN_MS, wait = i->prefetch ? 0 : FIRST_MS;

	for (;;) {
		enum cor_pager_state state;
		uint64_t n;

		poll(pfd, 2, wait);
		if (pfd[1].revents)
			return NULL;
		if (pfd[0].revents)
			(void)!read(pfd[0].fd, &n, sizeof(n));
		state = cor_pager_state(i->pager, NULL);
		/* All is here: from now on it is memory like any other. */
		if (ended(state)) {
			cor_pager_finish(i->pager, NULL);
			publish(i, state);
			return NULL;
		}
		publish(i, state);
		wait = -1;
		if (reconnect(i)) {
			backoff = BACKOFF_MIN_MS;
		} else {
			wait = backoff;
			backoff = COR_MIN(2 * backoff, BACKOFF_MAX_MS);
		}
	}
}

/* --- setting up ------------------------------------------------------------- */

static int check_options(const struct cor_import_options *o, struct cor_error *err)
{
	for (unsigned k = 0; k < ARRAY_SIZE(o->reserved); k++)
		if (o->reserved[k])
			return cor_fail(err, -EINVAL, "an import option is not known to this version");
	if (o->flags & ~(unsigned)(COR_IMPORT_PREFETCH | COR_IMPORT_CHECK))
		return cor_fail(err, -EINVAL, "import flags 0x%x are not known to this version",
				o->flags);
	if ((uintptr_t)o->address % COR_PAGE_SIZE)
		return cor_fail(err, -EINVAL, "import address %p is not page aligned", o->address);
	return 0;
}

/* A userfaultfd of this process: with kernel faults if that is allowed. */
static int open_uffd(struct cor_error *err)
{
	_cleanup_close_ int device = -1;
	int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);

	if (fd >= 0)
		return fd;
	device = open("/dev/userfaultfd", O_RDWR | O_CLOEXEC);
	if (device >= 0)
		fd = ioctl(device, USERFAULTFD_IOC_NEW, O_CLOEXEC | O_NONBLOCK);
	if (fd < 0)
		fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK | UFFD_USER_MODE_ONLY);
	return fd < 0 ? cor_fail_errno(err, "userfaultfd") : fd;
}

static int map(struct cor_import *i, void *address, struct cor_error *err)
{
	int fixed = address ? MAP_FIXED_NOREPLACE : 0;
	void *m = mmap(address, i->ticket.size, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | fixed, -1, 0);

	if (m == MAP_FAILED)
		return cor_fail_errno(err, "mapping %llu bytes at %p",
				      (unsigned long long)i->ticket.size, address);
	i->address = m;
	i->mapped = true;
	return 0;
}

/* Events of forks need a privilege; without it children must not inherit the memory,
 * for they would read zeros. */
static int handshake(struct cor_import *i, int uffd, struct cor_error *err)
{
	int r = cor_pager_uffd_handshake(uffd, err);

	if (r != -EPERM || !i->mapped)
		return r;
	r = cor_uffd_handshake(uffd, UFFD_FEATURE_EVENT_REMAP | UFFD_FEATURE_EVENT_REMOVE |
			       UFFD_FEATURE_EVENT_UNMAP, 0, NULL, err);
	if (r == 0 && madvise(i->address, i->ticket.size, MADV_DONTFORK) < 0)
		r = cor_fail_errno(err, "keeping imported memory from children");
	return r;
}

static int begin(struct cor_import *i, const struct cor_ctx *ctx, int uffd,
		 const struct cor_import_options *o, struct cor_error *err)
{
	_cleanup_close_ int fd = uffd;
	unsigned timeout = o->timeout_ms ? o->timeout_ms : DEFAULT_TIMEOUT_MS;
	struct cor_region region = { .start = (uintptr_t)i->address, .len = i->ticket.size };
	int r = handshake(i, fd, err);

	if (r == 0)
		r = cor_pager_new(&i->pager, ctx, err);
	if (r == 0)
		cor_pager_check(i->pager, o->flags & COR_IMPORT_CHECK);
	if (r == 0)
		r = cor_pager_add_region(i->pager, &region, err);
	if (r == 0)
		r = connect_lane(i, COR_CONN_DEMAND, timeout, err);
	/* else by the thread: until then nobody needs to know what there is */
	i->prefetch = o->flags & COR_IMPORT_PREFETCH;
	if (r == 0 && i->prefetch)
		r = connect_lane(i, COR_CONN_BULK, timeout, err);
	if (r == 0)
		r = cor_pager_start(i->pager, take_fd(&fd), err);
	if (r < 0)
		return r;
	cor_pager_prefetch(i->pager, i->prefetch);
	r = -pthread_create(&i->watcher, NULL, watch, i);
	i->watched = r == 0;
	return r < 0 ? cor_fail_code(err, r, "starting the import's thread") : 0;
}

static struct cor_import *allocate(void)
{
	struct cor_import *i = calloc(1, sizeof(*i));
	pthread_condattr_t attr;

	if (!i)
		return NULL;
	i->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (i->stop_fd < 0) {
		free(i);
		return NULL;
	}
	pthread_mutex_init(&i->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&i->changed, &attr);
	pthread_condattr_destroy(&attr);
	return i;
}

/* uffd < 0: map it here. */
static int import(struct cor_import **out, const struct cor_ctx *ctx, const char *ticket, int uffd,
		  const struct cor_import_options *o, struct cor_error *err)
{
	_cleanup_close_ int fd = uffd;
	struct cor_import *i = allocate();
	int r;

	if (!i)
		return cor_fail(err, -ENOMEM, "out of memory for an import");
	r = cor_ticket_parse(ticket, &i->ticket, err);
	if (r == 0 && fd < 0) {
		r = map(i, o->address, err);
		if (r == 0)
			r = fd = open_uffd(err);
	} else if (r == 0) {
		i->address = o->address;
	}
	if (r >= 0)
		r = begin(i, ctx, take_fd(&fd), o, err);
	if (r < 0) {
		cor_import_close(i);
		return r;
	}
	*out = i;
	return 0;
}

int cor_import_open(struct cor_import **out, const struct cor_ctx *ctx, const char *ticket,
		    const struct cor_import_options *options, struct cor_error *err)
{
	struct cor_import_options o = options ? *options : (struct cor_import_options) { 0 };
	int r = check_options(&o, err);

	return r < 0 ? r : import(out, ctx, ticket, -1, &o, err);
}

int cor_import_into(struct cor_import **out, const struct cor_ctx *ctx, const char *ticket,
		    int uffd, const struct cor_import_options *options, struct cor_error *err)
{
	struct cor_import_options o = options ? *options : (struct cor_import_options) { 0 };
	_cleanup_close_ int fd = uffd;
	int r = check_options(&o, err);

	if (r == 0 && !o.address)
		r = cor_fail(err, -EINVAL, "an import into another process needs its address there");
	if (r == 0 && fd < 0)
		r = cor_fail(err, -EBADF, "userfaultfd %d is no descriptor", fd);
	return r < 0 ? r : import(out, ctx, ticket, take_fd(&fd), &o, err);
}

/* --- questions -------------------------------------------------------------- */

void *cor_import_address(const struct cor_import *i)
{
	return i->address;
}

size_t cor_import_size(const struct cor_import *i)
{
	return i->ticket.size;
}

void cor_import_prefetch(struct cor_import *i, int on)
{
	cor_pager_prefetch(i->pager, on);
}

int cor_import_wait(struct cor_import *i, int timeout_ms, struct cor_error *err)
{
	uint64_t until = cor_now_ns() + (uint64_t)(timeout_ms < 0 ? 0 : timeout_ms) * 1000000u;
	struct timespec ts = { (time_t)(until / 1000000000u), (long)(until % 1000000000u) };
	struct cor_error why = COR_ERROR_INIT;
	int r = 0;

	COR_LOCK(&i->lock);
	while (r == 0 && !ended(i->state) && i->state != COR_PAGER_FAILED)
		r = timeout_ms < 0 ? pthread_cond_wait(&i->changed, &i->lock)
				   : pthread_cond_timedwait(&i->changed, &i->lock, &ts);
	if (r)
		return cor_fail(err, -r, "the import is not complete after %d ms", timeout_ms);
	if (i->state == COR_PAGER_TASK_GONE)
		return cor_fail(err, -ESRCH, "the process that imports has ended");
	if (i->state == COR_PAGER_DRAINED)
		return 0;
	cor_pager_state(i->pager, &why);
	return cor_fail(err, why.code, "%s", why.text);
}

void cor_import_stats(struct cor_import *i, struct cor_import_stats *out)
{
	struct cor_paging_stats st;

	cor_pager_stats(i->pager, &st);
	*out = (struct cor_import_stats) {
		.pages_total = st.pages_total,
		.pages_demand = st.pages_demand,
		.pages_prefetched = st.pages_prefetched,
		.pages_zero = st.pages_zero,
		.faults = st.faults,
		.bytes_received = st.bytes_wire,
		.fault_p50_ns = cor_hist_percentile(&st.fault_ns, 0.5),
		.fault_p90_ns = cor_hist_percentile(&st.fault_ns, 0.9),
		.fault_p99_ns = cor_hist_percentile(&st.fault_ns, 0.99),
		.fault_max_ns = st.fault_ns.max,
		.complete = cor_pager_state(i->pager, NULL) == COR_PAGER_DRAINED,
		.connections = cor_pager_lanes(i->pager, COR_CONN_DEMAND) +
			       cor_pager_lanes(i->pager, COR_CONN_BULK),
	};
}

void cor_import_close(struct cor_import *i)
{
	uint64_t one = 1;

	if (!i)
		return;
	if (i->watched) {
		(void)!write(i->stop_fd, &one, sizeof(one));
		pthread_join(i->watcher, NULL);
	}
	/* before the pager goes: nobody shall read zeros where pages are missing */
	if (i->mapped)
		munmap(i->address, i->ticket.size);
	cor_pager_free(i->pager);
	close(i->stop_fd);
	pthread_mutex_destroy(&i->lock);
	pthread_cond_destroy(&i->changed);
	explicit_bzero(&i->ticket, sizeof(i->ticket));
	free(i);
}
