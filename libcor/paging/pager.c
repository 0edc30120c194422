/* The pager's life: what it is made of, start, questions, end. See pager.h. */
#include "libcor/paging/pager.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include "libcor/base/cleanup.h"
#include "libcor/base/compat.h"
#include "libcor/base/error.h"
#include "libcor/base/io.h"
#include "libcor/paging/pager_private.h"
#include "libcor/paging/uffd.h"

/* Everything the demand path uses lies in here: locked as far as allowed. */
static struct cor_pager *allocate(void)
{
	size_t held = PAGER_HELD * PAGE;
	struct cor_pager *p;
	void *m = mmap(NULL, held + sizeof(*p), PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);

	if (m == MAP_FAILED)
		return NULL;
	(void)!mlock(m, held + sizeof(*p));
	p = (struct cor_pager *)((char *)m + held);
	p->held_pages = m;
	return p;
}

static void release(struct cor_pager *p)
{
	munmap(p->held_pages, PAGER_HELD * PAGE + sizeof(*p));
}

/* The thread, which waits for start: making one takes too long inside a freeze. */
static void *parked(void *arg)
{
	struct cor_pager *p = arg;

	while (sem_wait(&p->begin) < 0)
		;
	return p->running ? pager_thread(p) : NULL;
}

static int park_thread(struct cor_pager *p, struct cor_error *err)
{
	int r = -pthread_create(&p->thread, NULL, parked, p);

	if (r < 0)
		return cor_fail_code(err, r, "starting the pager's thread");
	p->threaded = true;
	return 0;
}

int cor_pager_new(struct cor_pager **out, const struct cor_ctx *ctx, struct cor_error *err)
{
	struct cor_pager *p = allocate();
	int r;

	if (!p)
		return cor_fail(err, -ENOMEM, "out of memory for a pager");
	pthread_mutex_init(&p->lock, NULL);
	pthread_cond_init(&p->answered, NULL);
	sem_init(&p->begin, 0, 0);
	STAILQ_INIT(&p->commands);
	TAILQ_INIT(&p->mms);
	p->presence_pages = PAGER_PRESENCE;
	pager_slots_init(p);
	cor_hist_init(&p->stats.fault_ns);
	p->stats.presence_known = true;
	p->spin_ns = PAGER_SPIN_NS;
	p->ring.ring_fd = -1;
	p->control_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	p->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	p->root = pager_mm_new(p, -1);
	if (p->control_fd < 0 || p->event_fd < 0 || !p->root) {
		r = p->root ? cor_fail_errno(err, "creating the pager's eventfds")
			    : cor_fail(err, -ENOMEM, "out of memory for a pager");

		cor_pager_free(p);
		return r;
	}
	p->root->root = true;
	pager_mm_ref(p->root);
	/* now, since start may lie inside a freeze */
	r = pager_ring_init(p, err);
	if (r == 0)
		r = park_thread(p, err);
	if (r < 0) {
		cor_pager_free(p);
		return r;
	}
	*out = p;
	return 0;
}

void cor_pager_spin(struct cor_pager *p, unsigned us)
{
	p->spin_ns = us * 1000ull;
}

void cor_pager_check(struct cor_pager *p, bool on)
{
	p->check = on;
}

void cor_pager_pack(struct cor_pager *p, bool on)
{
	p->may_pack = on;
}

/* Room for one presence more. */
static int reserve_presence(struct cor_pager *p)
{
	struct cor_presence **list = reallocarray(p->presences, p->npresences + 1, sizeof(*list));

	if (!list)
		return -ENOMEM;
	p->presences = list;
	return 0;
}

int cor_pager_add_region(struct cor_pager *p, const struct cor_region *r, struct cor_error *err)
{
	struct cor_presence *pr;
	struct cor_track *t;
	int result;

	if (!r->len || (r->start | r->len | r->offset) & (PAGE - 1))
		return cor_fail(err, -EINVAL, "region 0x%llx+0x%llx is not made of whole pages",
				(unsigned long long)r->start, (unsigned long long)r->len);
	if (p->running)
		return cor_fail(err, -EBUSY, "the pager runs already");
	pr = reserve_presence(p) < 0 ? NULL :
	     cor_presence_new(r->object, r->offset, r->len >> COR_PAGE_SHIFT, r->whole);
	t = pr ? cor_track_new(pr, &p->root->space, r->shared) : NULL;
	if (!t) {
		cor_presence_unref(pr);
		return cor_fail(err, -ENOMEM, "out of memory for region 0x%llx",
				(unsigned long long)r->start);
	}
	result = cor_space_add(&p->root->space, r->start, pr->npages, t, 0);
	cor_track_unref(t);
	if (result < 0) {
		cor_presence_unref(pr);
		return cor_fail_code(err, result, "region 0x%llx+0x%llx",
				     (unsigned long long)r->start, (unsigned long long)r->len);
	}
	p->presences[p->npresences++] = pr;
	p->unknown += !r->whole;
	p->stats.pages_total += pr->counted;
	p->stats.presence_known = !p->unknown;
	return 0;
}

static void forget_regions(struct cor_pager *p)
{
	cor_space_fini(&p->root->space);
	for (unsigned i = 0; i < p->npresences; i++)
		cor_presence_unref(p->presences[i]);
	p->npresences = p->unknown = p->nset = 0;
	p->stats.pages_total = 0;
	p->stats.presence_known = true;
}

static bool same_regions(const struct cor_pager *p, const struct cor_region *list, unsigned n)
{
	bool same = p->nset == n && p->npresences == n;

	for (unsigned i = 0; same && i < n; i++) {
		const struct cor_region *a = &p->set[i], *b = &list[i];

		same = a->start == b->start && a->len == b->len && a->offset == b->offset &&
		       a->object == b->object && a->shared == b->shared && a->whole == b->whole;
	}
	return same;
}

int cor_pager_set_regions(struct cor_pager *p, const struct cor_region *list, unsigned n,
			  struct cor_error *err)
{
	struct cor_region *set;
	int r = 0;

	if (p->running)
		return cor_fail(err, -EBUSY, "the pager runs already");
	if (same_regions(p, list, n))
		return 0;
	forget_regions(p);
	set = reallocarray(p->set, n + 1, sizeof(*set));
	if (!set)
		return cor_fail(err, -ENOMEM, "out of memory for %u regions", n);
	p->set = set;
	for (unsigned i = 0; r == 0 && i < n; i++)
		r = cor_pager_add_region(p, &list[i], err);
	if (r == 0 && p->journal)
		r = pager_journal_prepare(p, err);
	if (r < 0) {
		forget_regions(p);
		return r;
	}
	if (n)
		memcpy(set, list, n * sizeof(*list));
	p->nset = n;
	return 0;
}

static int run_add_lane(struct cor_pager *p, struct pager_command *c)
{
	return pager_lane_open(p, c->lane.stream, c->lane.kind, c->err);
}

int cor_pager_add_lane(struct cor_pager *p, struct cor_stream *lane,
		       enum cor_connection_kind kind, struct cor_error *err)
{
	struct pager_command c = {
		.run = run_add_lane, .err = err, .lane = { .stream = lane, .kind = kind },
	};
	int r = pager_command(p, &c);

	if (r == -ESHUTDOWN)
		cor_stream_close(lane);
	return r;
}

#define FEATURES (UFFD_FEATURE_EVENT_REMAP | UFFD_FEATURE_EVENT_REMOVE | \
		  UFFD_FEATURE_EVENT_UNMAP | UFFD_FEATURE_MISSING_SHMEM)

int cor_pager_uffd_handshake(int uffd, struct cor_error *err)
{
	return cor_uffd_handshake(uffd, FEATURES | UFFD_FEATURE_EVENT_FORK, UFFD_FEATURE_THREAD_ID,
				  NULL, err);
}

int cor_pager_uffd_handshake_blind(int uffd, struct cor_error *err)
{
	return cor_uffd_handshake(uffd, FEATURES, UFFD_FEATURE_THREAD_ID, NULL, err);
}

static int register_regions(struct cor_pager *p, struct cor_error *err)
{
	const struct cor_space *s = &p->root->space;

	for (size_t i = 0; i < s->n; i++) {
		int r = cor_uffd_register(p->root->uffd, s->extents[i].start,
					  s->extents[i].npages << COR_PAGE_SHIFT, err);

		if (r < 0)
			return r;
	}
	return 0;
}

static void begin(struct cor_pager *p)
{
	atomic_store(&p->state, COR_PAGER_PAGING);
	p->running = true;
	sem_post(&p->begin);
}

int cor_pager_start(struct cor_pager *p, int uffd, struct cor_error *err)
{
	_cleanup_close_ int fd = uffd;
	int r;

	if (p->running || p->closed)
		return cor_fail(err, -EBUSY, "the pager was started before");
	if (fcntl(fd, F_SETFL, O_NONBLOCK) < 0)
		return cor_fail_errno(err, "userfaultfd %d", uffd);
	p->root->uffd = take_fd(&fd);
	r = register_regions(p, err);
	if (r < 0)
		return r;
	r = p->journal ? pager_journal_start(p, err) : 0;
	if (r == 0)
		r = pager_install_early(p, err);
	if (r < 0)
		return r;
	p->started_at = cor_now_ns();
	if (p->journal)
		cor_journal_begin(p->journal, p->started_at);
	begin(p);
	return 0;
}

void cor_pager_keep(struct cor_pager *p, struct cor_journal *journal)
{
	p->journal = journal;
}

int cor_pager_retake(struct cor_pager *p, struct cor_error *err)
{
	int r;

	if (p->running || p->closed || !p->journal || p->npresences)
		return cor_fail(err, -EBUSY, "the pager was started before, or has no journal");
	r = pager_journal_take(p, err);
	if (r == 0)
		begin(p);
	return r;
}

int cor_pager_install(struct cor_pager *p, uint64_t addr, const void *data, size_t len,
		      struct cor_error *err)
{
	struct pager_command c = {
		.run = pager_run_install, .err = err,
		.install = { .addr = addr, .data = data, .len = len },
	};

	if ((addr | len) & (PAGE - 1))
		return cor_fail(err, -EINVAL, "0x%llx+0x%zx is not made of whole pages",
				(unsigned long long)addr, len);
	return pager_command(p, &c);
}

void cor_pager_prefetch(struct cor_pager *p, bool on)
{
	uint64_t one = 1;

	atomic_store(&p->prefetch, on ? PAGER_PREFETCH : PAGER_PRESENCE_ONLY);
	(void)!write(p->control_fd, &one, sizeof(one));
}

static int run_hint(struct cor_pager *p, struct pager_command *c)
{
	pager_hint_add(p, c->hint.addrs, c->hint.n);
	return 0;
}

void cor_pager_hint(struct cor_pager *p, const uint64_t *addrs, unsigned n)
{
	struct pager_command c = { .run = run_hint, .hint = { .addrs = addrs, .n = n } };

	pager_command(p, &c);
}

static int run_huge(struct cor_pager *p, struct pager_command *c)
{
	const struct cor_space *s = &p->root->space;
	size_t n = p->root->gone ? 0 : cor_space_huge(s, NULL, 0);
	uint64_t *addrs = calloc(n + 1, sizeof(*addrs));

	if (!addrs)
		return cor_fail(c->err, -ENOMEM, "out of memory for %zu addresses", n);
	*c->huge.n = n ? cor_space_huge(s, addrs, n) : 0;
	*c->huge.addrs = addrs;
	return 0;
}

int cor_pager_huge(struct cor_pager *p, uint64_t **addrs, size_t *n, struct cor_error *err)
{
	struct pager_command c = {
		.run = run_huge, .err = err, .huge = { .addrs = addrs, .n = n },
	};

	return pager_command(p, &c);
}

int cor_pager_event_fd(const struct cor_pager *p)
{
	return p->event_fd;
}

enum cor_pager_state cor_pager_state(const struct cor_pager *p, struct cor_error *why)
{
	struct cor_pager *mutable = (struct cor_pager *)p;
	enum cor_pager_state state = (enum cor_pager_state)atomic_load(&mutable->state);

	if (state == COR_PAGER_FAILED && why) {
		COR_LOCK(&mutable->lock);
		*why = p->error;
	}
	return state;
}

unsigned cor_pager_lanes(const struct cor_pager *p, enum cor_connection_kind kind)
{
	if (kind != COR_CONN_DEMAND && kind != COR_CONN_BULK)
		return 0;
	return atomic_load(&((struct cor_pager *)p)->nlanes[kind]);
}

/* A copy taken while the thread goes on counting: each number is right, they may
 * be a moment apart. */
void cor_pager_stats(struct cor_pager *p, struct cor_paging_stats *out)
{
	memcpy(out, &p->stats, sizeof(*out));
	if (!out->drain_ns && p->started_at)
		out->drain_ns = cor_now_ns() - p->started_at;
}

static void end_thread(struct cor_pager *p)
{
	if (!p->threaded)
		return;
	if (!p->running) {
		p->leave = true;
		sem_post(&p->begin);
	}
	pthread_join(p->thread, NULL);
	p->running = p->threaded = false;
}

/* Lanes and address spaces are closed where their polls can still be ended. */
static int run_leave(struct cor_pager *p, struct pager_command *c)
{
	for (unsigned i = 0; i < PAGER_LANES; i++)
		if (p->lanes[i])
			pager_lane_lost(p, p->lanes[i]);
	while (!TAILQ_EMPTY(&p->mms))
		pager_mm_close(p, TAILQ_FIRST(&p->mms));
	p->leave = true;
	return 0;
}

static int run_finish(struct cor_pager *p, struct pager_command *c)
{
	enum cor_pager_state state = atomic_load(&p->state);

	if (state != COR_PAGER_DRAINED && state != COR_PAGER_TASK_GONE)
		return cor_fail(c->err, -EBUSY, "%llu pages are still missing",
				(unsigned long long)p->root->space.missing);
	if (!p->root->gone)
		pager_mm_unregister(p->root);
	return run_leave(p, c);
}

int cor_pager_finish(struct cor_pager *p, struct cor_error *err)
{
	struct pager_command c = { .run = run_finish, .err = err };
	int r = pager_command(p, &c);

	if (r == 0)
		end_thread(p);
	return r;
}

void cor_pager_free(struct cor_pager *p)
{
	struct pager_command leave = { .run = run_leave };

	if (!p)
		return;
	if (p->running)
		pager_command(p, &leave);
	end_thread(p);
	if (p->ring.ring_fd >= 0)
		io_uring_queue_exit(&p->ring);
	while (!TAILQ_EMPTY(&p->mms))
		pager_mm_close(p, TAILQ_FIRST(&p->mms));
	pager_slots_fini(p);
	if (p->root)
		pager_mm_unref(p->root);
	for (unsigned i = 0; i < PAGER_LANES; i++)
		pager_lane_free(p->lanes[i]);
	for (unsigned i = 0; i < p->npresences; i++)
		cor_presence_unref(p->presences[i]);
	free(p->presences);
	free(p->set);
	pager_drop_early(p);
	if (p->control_fd >= 0)
		close(p->control_fd);
	if (p->event_fd >= 0)
		close(p->event_fd);
	pthread_mutex_destroy(&p->lock);
	pthread_cond_destroy(&p->answered);
	sem_destroy(&p->begin);
	release(p);
}
