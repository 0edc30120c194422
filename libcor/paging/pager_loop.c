/* The pager's thread: a loop around one io_uring that watches userfaultfds,
 * lanes and the control descriptor. While a fault waits for the source the loop
 * spins for a bounded time; else it sleeps in the ring. */
#include "libcor/paging/pager_private.h"

#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "libcor/base/cleanup.h"
#include "libcor/base/error.h"
#include "libcor/base/io.h"

#define RING_ENTRIES   64
#define RING_EVENTS    1024
#define PROBE_NS       (250 * 1000000ull)   /* how often to look whether a task is still there */
#define RETRY_NS       (100 * 1000ull)      /* while mappings change */

/* What a completion is about: the low bits of its user data, the rest is the pointer. */
enum { ON_CONTROL, ON_MM, ON_LANE, ON_LANE_OUT, ON_NOTHING, ON_ALARM, ON_MASK = 7 };

int pager_ring_init(struct cor_pager *p, struct cor_error *err)
{
	struct io_uring_params params = {
		/* No interrupts: completions are looked at between system calls. */
		.flags = IORING_SETUP_CQSIZE | IORING_SETUP_COOP_TASKRUN,
		.cq_entries = RING_EVENTS,
	};
	int r = io_uring_queue_init_params(RING_ENTRIES, &p->ring, &params);

	if (r == -EINVAL) {
		params = (struct io_uring_params) { .flags = IORING_SETUP_CQSIZE,
						    .cq_entries = RING_EVENTS };
		r = io_uring_queue_init_params(RING_ENTRIES, &p->ring, &params);
	}
	if (r < 0)
		return cor_fail_code(err, r, "setting up the pager's io_uring");
	/* A child that had it mapped would keep it alive behind our death, and with it the
	 * connections that it polls: the source would wait for us. */
	io_uring_ring_dontfork(&p->ring);
	return 0;
}

static struct io_uring_sqe *next_sqe(struct cor_pager *p)
{
	struct io_uring_sqe *sqe;

	while (!(sqe = io_uring_get_sqe(&p->ring)))
		io_uring_submit(&p->ring);
	return sqe;
}

static void poll_on(struct cor_pager *p, int fd, unsigned mask, void *what, unsigned tag,
		    bool multi)
{
	struct io_uring_sqe *sqe = next_sqe(p);

	if (multi)
		io_uring_prep_poll_multishot(sqe, fd, mask);
	else
		io_uring_prep_poll_add(sqe, fd, mask);
	io_uring_sqe_set_data64(sqe, (uintptr_t)what | tag);
}

void pager_poll_mm(struct cor_pager *p, struct pager_mm *mm)
{
	pager_mm_ref(mm);
	p->polls++;
	poll_on(p, mm->uffd, POLLIN, mm, ON_MM, true);
}

void pager_poll_lane(struct cor_pager *p, struct pager_lane *l)
{
	l->polled = true;
	p->polls++;
	poll_on(p, l->stream->in_fd, POLLIN | POLLRDHUP, l, ON_LANE, true);
}

void pager_poll_lane_out(struct cor_pager *p, struct pager_lane *l)
{
	l->polled_out = true;
	p->polls++;
	poll_on(p, l->stream->out_fd, POLLOUT, l, ON_LANE_OUT, false);
}

/* A poll holds its file open: it must end before the descriptor is closed. */
void pager_unpoll(struct cor_pager *p, void *what)
{
	static const unsigned tags[] = { ON_MM, ON_LANE, ON_LANE_OUT };

	if (!p->running)
		return;
	for (unsigned i = 0; i < sizeof(tags) / sizeof(*tags); i++) {
		struct io_uring_sqe *sqe = next_sqe(p);

		io_uring_prep_poll_remove(sqe, (uintptr_t)what | tags[i]);
		io_uring_sqe_set_data64(sqe, ON_NOTHING);
	}
	io_uring_submit(&p->ring);
}

static void on_mm(struct cor_pager *p, struct pager_mm *mm, bool more)
{
	mm->readable = !mm->gone;
	if (more)
		return;
	p->polls--;
	if (!mm->gone)
		pager_poll_mm(p, mm);
	pager_mm_unref(mm);
}

static void on_lane(struct cor_pager *p, struct pager_lane *l, bool more)
{
	l->readable = l->open;
	l->polled = more;
	p->polls -= !more;
	if (!more && l->open)
		pager_poll_lane(p, l);
}

static void on_lane_out(struct cor_pager *p, struct pager_lane *l)
{
	l->polled_out = false;
	p->polls--;
	l->blocked = false;
	if (l->open)
		pager_lane_flush(p, l);
}

static void on_control(struct cor_pager *p, bool more)
{
	uint64_t n;

	(void)!read(p->control_fd, &n, sizeof(n));
	if (!more)
		poll_on(p, p->control_fd, POLLIN, NULL, ON_CONTROL, true);
	pager_run_commands(p);
}

/* Looks at completions that are there already; no system call. */
static void reap(struct cor_pager *p)
{
	struct io_uring_cqe *cqe;

	while (io_uring_peek_cqe(&p->ring, &cqe) == 0) {
		uint64_t data = cqe->user_data;
		bool more = cqe->flags & IORING_CQE_F_MORE;
		void *what = (void *)(uintptr_t)(data & ~(uint64_t)ON_MASK);

		io_uring_cqe_seen(&p->ring, cqe);
		switch (data & ON_MASK) {
		case ON_CONTROL:
			on_control(p, more);
			break;
		case ON_MM:
			on_mm(p, what, more);
			break;
		case ON_LANE:
			on_lane(p, what, more);
			break;
		case ON_LANE_OUT:
			on_lane_out(p, what);
			break;
		case ON_ALARM:
			p->alarm_at = 0;
			break;
		}
	}
}

static void read_mms(struct cor_pager *p)
{
	struct pager_mm *mm, *next;

	for (mm = TAILQ_FIRST(&p->mms); mm; mm = next) {
		if (mm->readable)
			pager_mm_read(p, mm);
		next = TAILQ_NEXT(mm, link);
	}
}

/* Demand lanes are emptied; spinning, those that owe a reply are tried without being told. */
static bool work_demand(struct cor_pager *p, bool spin)
{
	bool worked = false;

	for (unsigned i = 0; i < PAGER_LANES; i++) {
		struct pager_lane *l = p->lanes[i];

		if (!l || !l->open || l->kind != COR_CONN_DEMAND)
			continue;
		l->spinning = spin && pager_lane_unanswered(l);
		if (l->spinning || l->unwatched)
			l->readable = true;
		while (l->open && l->readable)
			worked |= pager_lane_work(p, l);
	}
	return worked;
}

/* One unit on each bulk lane, when it is time. */
static bool work_bulk(struct cor_pager *p)
{
	uint64_t since = cor_now_ns();
	bool worked = false;

	if (pager_bulk_wait(p))
		return false;

	for (unsigned i = 0; i < PAGER_LANES; i++) {
		struct pager_lane *l = p->lanes[i];

		if (l && l->open && l->kind == COR_CONN_BULK &&
		    (l->readable || l->phase == LANE_REPLY || l->carry))
			worked |= pager_lane_work(p, l);
	}
	if (worked)
		pager_bulk_worked(p, since);
	return worked;
}

static struct __kernel_timespec timespec_of(uint64_t ns)
{
	return (struct __kernel_timespec) { .tv_sec = (long long)(ns / 1000000000u),
					    .tv_nsec = (long long)(ns % 1000000000u) };
}

/* The loop is woken after that time, if nothing else does. A time-out of each sleep would do as
 * well, but to set and to take back the processor's timer costs a third of a fault, under a
 * hypervisor at least: this one stays set while faults come and go. It is told how long, not
 * when: the ring knows no time namespaces. */
static void set_alarm(struct cor_pager *p, uint64_t ns)
{
	uint64_t at = cor_now_ns() + ns;
	struct io_uring_sqe *sqe;

	if (p->alarm_at && p->alarm_at <= at)
		return;
	sqe = next_sqe(p);
	p->alarm = timespec_of(ns);
	if (p->alarm_at) {
		io_uring_prep_timeout_update(sqe, &p->alarm, ON_ALARM, 0);
		io_uring_sqe_set_data64(sqe, ON_NOTHING);
	} else {
		io_uring_prep_timeout(sqe, &p->alarm, 0, 0);
		io_uring_sqe_set_data64(sqe, ON_ALARM);
	}
	p->alarm_at = at;
}

/* ns: UINT64_MAX is for as long as it takes. */
static void wait_ring(struct cor_pager *p, uint64_t ns)
{
	struct __kernel_timespec ts = timespec_of(ns);
	struct io_uring_cqe *cqe;

	if (ns == UINT64_MAX)
		io_uring_submit_and_wait(&p->ring, 1);
	else
		io_uring_submit_and_wait_timeout(&p->ring, &cqe, 1, &ts, NULL);
}

/* Everything there is to do now; false: nothing more until the ring says so. */
static bool turn(struct cor_pager *p)
{
	bool spin, worked;

	p->stalled = false;
	reap(p);
	read_mms(p);
	pager_fault_work(p);
	pager_fault_send(p);
	spin = p->asked && atomic_load_explicit(&p->nlanes[COR_CONN_DEMAND], memory_order_relaxed) &&
	       cor_now_ns() < p->spin_until;
	worked = work_demand(p, spin);
	if (spin && !worked)
		sched_yield();  /* on one processor with the server or the task, they go first */
	if (!TAILQ_EMPTY(&p->lists[SLOT_FRESH]))
		return true;
	pager_prefetch_step(p);
	worked |= work_bulk(p);
	pager_check_done(p);
	return spin || worked || !TAILQ_EMPTY(&p->lists[SLOT_FRESH]);
}

/* How long the loop may sleep if nothing happens; UINT64_MAX: until the alarm. */
static uint64_t patience(struct cor_pager *p)
{
	bool retry = p->stalled || !TAILQ_EMPTY(&p->lists[SLOT_HELD]);
	uint64_t ns = COR_MIN(retry ? RETRY_NS : UINT64_MAX, pager_fault_late(p));

	return COR_MIN(ns, pager_nap(p));
}

static void sleep_for(struct cor_pager *p, uint64_t ns)
{
	uint64_t since = cor_now_ns(), pause = pager_prefetching(p) ? pager_bulk_alarm(p) : 0;

	set_alarm(p, pause ?: PROBE_NS);
	wait_ring(p, ns);
	pager_waited(p, since);
	if (cor_now_ns() - since >= PAGER_NAP_NS)
		pager_nap_over(p);
}

void *pager_thread(void *arg)
{
	struct cor_pager *p = arg;
	uint64_t probed = cor_now_ns();
	struct pager_mm *mm;

	/* waits of some microseconds are to be as short as that */
	prctl(PR_SET_TIMERSLACK, 1ul);
	poll_on(p, p->control_fd, POLLIN, NULL, ON_CONTROL, true);
	TAILQ_FOREACH(mm, &p->mms, link)
		pager_poll_mm(p, mm);
	for (unsigned i = 0; i < PAGER_LANES; i++)
		if (p->lanes[i] && p->lanes[i]->open)
			pager_poll_lane(p, p->lanes[i]);
	io_uring_submit(&p->ring);
	pager_run_commands(p);
	while (!p->leave) {
		uint64_t ns;

		if (turn(p) || p->leave)
			continue;
		ns = patience(p);
		if (ns)
			sleep_for(p, ns);
		if (cor_now_ns() - probed > PROBE_NS) {
			pager_probe_mms(p);
			pager_probe_lanes(p);
			probed = cor_now_ns();
		}
	}
	/* cancelled polls report back: only then their files are closed for good */
	for (unsigned i = 0; p->polls && i < 100; i++) {
		wait_ring(p, RETRY_NS);
		reap(p);
	}
	pager_refuse_commands(p);
	return NULL;
}
