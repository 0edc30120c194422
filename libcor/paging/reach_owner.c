/* The owner's end of one-sided demand: registers chunks as they are asked for; see reach.h. */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "libcor/base/cleanup.h"
#include "libcor/base/error.h"
#include "libcor/base/io.h"
#include "libcor/paging/reach.h"
#include "libcor/paging/reach_wire.h"

#define CHUNK_PAGES (COR_REACH_CHUNK >> COR_PAGE_SHIFT)
#define RUNS_MAX    256u        /* every other page */

/* How long it spins where reads need this processor, after there was one. */
#define ATTEND_NS (200 * UINT64_C(1000))
/* And how often it looks at all: not every provider wakes it for another's reads. */
#define LOOK_MS 1

/* Who connected speaks first, and soft-iWARP may not notice it until more comes: a pager that
 * has asked for nothing after so long is greeted once more. */
#define GREET_MS 100

struct owned {
	uint64_t key;
	unsigned n;
	struct cor_rdma_memory memory[COR_REACH_RANGES];
	struct cor_page_run run[COR_REACH_RANGES];
};

struct cor_reach_owner {
	struct cor_rdma_qp *qp;
	const struct cor_rdma_ops *ops;
	struct cor_reach_options options;
	pthread_t thread;
	atomic_bool stop;
	int wake;
	_Atomic uint64_t pinned, pinned_max, chunks;
	unsigned n;
	struct owned owned[COR_REACH_CHUNKS];
};

/* ---- what of a chunk is registered ------------------------------------------------------- */

static uint64_t bytes_of(const struct cor_page_run *run)
{
	return (uint64_t)run->npages << COR_PAGE_SHIFT;
}

/* The runs of pages that hold data, joined where they touch. */
static int find_runs(struct cor_reach_owner *o, uint64_t key, struct cor_page_run runs[RUNS_MAX])
{
	struct cor_source *s = o->options.source;
	uint64_t next;
	int n, joined = 0;

	if (!s->ops->presence) {
		runs[0] = (struct cor_page_run){ .offset = key, .npages = CHUNK_PAGES };
		return 1;
	}
	n = s->ops->presence(s, 0, key, CHUNK_PAGES, runs, RUNS_MAX, &next);
	for (int i = 0; i < n; i++) {
		struct cor_page_run *last = &runs[joined - 1];

		if (joined && runs[i].offset == last->offset + bytes_of(last))
			last->npages += runs[i].npages;
		else
			runs[joined++] = runs[i];
	}
	return n < 0 ? n : joined;
}

/* Of many runs the longer ones: each is a registration, of which adapters have not many. */
static unsigned choose(const struct cor_page_run *runs, int n,
		       struct cor_page_run out[COR_REACH_RANGES])
{
	for (uint32_t least = 1; least <= CHUNK_PAGES; least *= 2) {
		unsigned chosen = 0;

		for (int i = 0; i < n && chosen <= COR_REACH_RANGES; i++) {
			if (runs[i].npages < least)
				continue;
			if (chosen < COR_REACH_RANGES)
				out[chosen] = runs[i];
			chosen++;
		}
		if (chosen <= COR_REACH_RANGES)
			return chosen;
	}
	return 0;
}

static void count(struct cor_reach_owner *o, uint64_t pinned)
{
	atomic_store(&o->pinned, pinned);
	if (pinned > atomic_load(&o->pinned_max))
		atomic_store(&o->pinned_max, pinned);
}

/* What cannot be registered is left out. */
static void enroll(struct cor_reach_owner *o, struct owned *c, const struct cor_page_run *runs,
		   unsigned n)
{
	struct cor_reach_registrar *reg = o->options.registrar;

	for (unsigned i = 0; i < n; i++) {
		uint64_t len = bytes_of(&runs[i]), pinned = atomic_load(&o->pinned);

		if (pinned + len > o->options.bound)
			return;
		/* before it is so: the bound is one for every moment */
		count(o, pinned + len);
		if (reg->ops->enroll(reg, runs[i].offset, len, &c->memory[c->n]) < 0) {
			count(o, pinned);
			continue;
		}
		c->run[c->n++] = runs[i];
	}
}

static void forget(struct cor_reach_owner *o, struct owned *c)
{
	struct cor_reach_registrar *reg = o->options.registrar;

	for (unsigned i = 0; i < c->n; i++) {
		reg->ops->forget(reg, &c->memory[i]);
		count(o, atomic_load(&o->pinned) - bytes_of(&c->run[i]));
	}
	c->n = 0;
}

static struct owned *find(struct cor_reach_owner *o, uint64_t key)
{
	for (unsigned i = 0; i < o->n; i++)
		if (o->owned[i].key == key)
			return &o->owned[i];
	return NULL;
}

/* ---- what the pager says ------------------------------------------------------------------ */

static int say(struct cor_reach_owner *o, const struct reach_message *m)
{
	int r;

	while ((r = o->ops->send(o->qp, m, sizeof(*m))) == -EAGAIN && !atomic_load(&o->stop)) {
		struct cor_rdma_event none;

		/* to look for nothing is to make room */
		r = o->ops->poll(o->qp, &none, 0);
		if (r < 0)
			return r;
	}
	return r;
}

static int answer(struct cor_reach_owner *o, uint64_t key, const struct owned *c)
{
	struct reach_message m = { .kind = REACH_RANGE, .offset = key };
	unsigned n = c ? c->n : 0;
	int r = n ? 0 : say(o, &m);

	for (unsigned i = 0; i < n && r == 0; i++) {
		m.left = (uint8_t)(n - i - 1);
		m.offset = c->run[i].offset;
		m.len = bytes_of(&c->run[i]);
		m.remote = c->memory[i].remote;
		m.key = c->memory[i].key;
		r = say(o, &m);
	}
	return r;
}

static int serve_want(struct cor_reach_owner *o, uint64_t key)
{
	struct cor_page_run runs[RUNS_MAX], chosen[COR_REACH_RANGES];
	struct owned *c = find(o, key);
	int n;

	if (key != reach_chunk_of(key) || c)
		return -EPROTO;
	n = o->n < COR_REACH_CHUNKS ? find_runs(o, key, runs) : 0;
	if (n > 0) {
		c = &o->owned[o->n];
		*c = (struct owned){ .key = key };
		enroll(o, c, chosen, choose(runs, n, chosen));
		/* the pager knows it, and will give it back, also where it is empty */
	}
	if (c)
		o->n++;
	atomic_fetch_add(&o->chunks, c && c->n);
	return answer(o, key, c);
}

static int serve_drop(struct cor_reach_owner *o, uint64_t key)
{
	struct owned *c = find(o, key);

	if (!c)
		return 0;
	forget(o, c);
	*c = o->owned[--o->n];
	return 0;
}

static int serve(struct cor_reach_owner *o, const struct cor_rdma_event *e)
{
	struct reach_message m;

	if (e->kind != COR_RDMA_MSG || e->len != sizeof(m))
		return -EPROTO;
	memcpy(&m, e->bytes, sizeof(m));
	switch (m.kind) {
	case REACH_WANT: return m.object ? answer(o, m.offset, NULL) : serve_want(o, m.offset);
	case REACH_DROP: return serve_drop(o, m.offset);
	default:         return -EPROTO;
	}
}

/* ---- life ----------------------------------------------------------------------------------- */

static int greet(struct cor_reach_owner *o)
{
	const struct reach_message hello = { .kind = REACH_HELLO, .offset = REACH_MAGIC,
					     .len = o->options.bound };

	return say(o, &hello);
}

/* Until the peer ends, which not every provider tells, or *stop. */
static void *attend(void *arg)
{
	struct cor_reach_owner *o = arg;
	bool offloaded = o->qp->device->caps & COR_RDMA_OFFLOADED;
	bool sane = true, greeted = !offloaded;
	struct cor_rdma_event e;
	uint64_t until = 0;
	int n;

	while (!atomic_load(&o->stop) && (n = o->ops->poll(o->qp, &e, 1)) >= 0) {
		/* who makes no sense can still read what he has */
		if (n > 0 && sane)
			sane = serve(o, &e) == 0;
		greeted |= n > 0;
		if (n > 0)
			continue;
		if (!offloaded && cor_now_ns() < until) {
			sched_yield();
			continue;
		}
		if (cor_rdma_wait(o->qp, o->wake, !greeted ? GREET_MS : offloaded ? -1 : LOOK_MS)) {
			until = cor_now_ns() + ATTEND_NS;
		} else if (!greeted) {
			greeted = true;
			greet(o);
		}
	}
	return NULL;
}

static int start(struct cor_reach_owner *o)
{
	sigset_t all, old;
	int r;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	r = -pthread_create(&o->thread, NULL, attend, o);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (r == 0)
		pthread_setname_np(o->thread, "cor-reach");
	return r;
}

int cor_reach_owner_new(struct cor_reach_owner **out, struct cor_rdma_qp *qp,
			const struct cor_reach_options *options, struct cor_error *err)
{
	struct cor_reach_owner *o = calloc(1, sizeof(*o));
	int r;

	if (!o) {
		qp->ops->disconnect(qp);
		return cor_fail(err, -ENOMEM, "out of memory for a lane");
	}
	o->qp = qp;
	o->ops = qp->ops;
	o->options = *options;
	o->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	r = o->wake < 0 ? -errno : greet(o);
	if (r == 0)
		r = start(o);
	if (r < 0) {
		qp->ops->disconnect(qp);
		cor_closep(&o->wake);
		free(o);
		return cor_fail_code(err, r, "offering memory");
	}
	cor_rdma_ref(qp->device);
	*out = o;
	return 0;
}

void cor_reach_owner_stats(struct cor_reach_owner *o, struct cor_reach_stats *out)
{
	*out = (struct cor_reach_stats){
		.pinned = atomic_load(&o->pinned), .pinned_max = atomic_load(&o->pinned_max),
		.chunks = atomic_load(&o->chunks),
	};
}

void cor_reach_owner_free(struct cor_reach_owner *o)
{
	struct cor_rdma *device;
	uint64_t one = 1;

	if (!o)
		return;
	device = o->qp->device;
	atomic_store(&o->stop, true);
	(void)!write(o->wake, &one, sizeof(one));
	pthread_join(o->thread, NULL);
	/* nothing is read any more when it goes */
	o->ops->disconnect(o->qp);
	while (o->n)
		forget(o, &o->owned[--o->n]);
	cor_rdma_unref(device);
	cor_closep(&o->wake);
	free(o);
}

/* ---- memory of this process ------------------------------------------------------------------ */

static int own_enroll(struct cor_reach_registrar *r, uint64_t offset, uint64_t len,
		      struct cor_rdma_memory *m)
{
	struct cor_rdma *device = ((struct cor_reach_own *)r)->device;

	return device->ops->enroll(device, (void *)(uintptr_t)offset, len, COR_RDMA_REMOTE_READ, m, NULL);
}

static void own_forget(struct cor_reach_registrar *r, struct cor_rdma_memory *m)
{
	struct cor_rdma *device = ((struct cor_reach_own *)r)->device;

	device->ops->forget(device, m);
}

static const struct cor_reach_registrar_ops own_ops = { own_enroll, own_forget };

void cor_reach_own_init(struct cor_reach_own *own, struct cor_rdma *device)
{
	*own = (struct cor_reach_own){ { &own_ops }, device };
}
