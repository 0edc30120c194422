/* Address spaces and what their userfaultfds tell: faults become slots, events
 * change the map. Reading never waits for the network. */
#include "libcor/paging/pager_private.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "libcor/base/cleanup.h"
#include "libcor/base/compat.h"
#include "libcor/base/io.h"
#include "libcor/paging/uffd.h"

#define MESSAGES 32

struct pager_mm *pager_mm_new(struct cor_pager *p, int uffd)
{
	struct pager_mm *mm = calloc(1, sizeof(*mm));

	if (!mm)
		return NULL;
	cor_space_init(&mm->space);
	mm->uffd = uffd;
	mm->refs = 1;
	TAILQ_INSERT_TAIL(&p->mms, mm, link);
	return mm;
}

void pager_mm_ref(struct pager_mm *mm)
{
	mm->refs++;
}

void pager_mm_unref(struct pager_mm *mm)
{
	if (--mm->refs)
		return;
	cor_space_fini(&mm->space);
	free(mm);
}

void pager_mm_close(struct cor_pager *p, struct pager_mm *mm)
{
	if (mm->gone)
		return;
	mm->gone = true;
	mm->readable = false;
	pager_unpoll(p, mm);
	if (mm->uffd >= 0) {
		pager_journal_closed(p, mm);
		close(mm->uffd);
	}
	mm->uffd = -1;
	cor_space_fini(&mm->space);
	TAILQ_REMOVE(&p->mms, mm, link);
	pager_mm_unref(mm);
}

/* Unregisters at most len bytes from at on, upwards or downwards, in one call;
 * returns how many were. The kernel refuses ranges that hold other kinds of
 * mappings, or none at all: then it is tried with less. */
static uint64_t unregister_some(const struct pager_mm *mm, uint64_t at, uint64_t len, bool up)
{
	for (uint64_t size = 1ull << 30; size >= PAGE; size /= 8) {
		uint64_t n = COR_MIN(size, len);
		struct uffdio_range range = { up ? at : at - n, n };

		if (n && ioctl(mm->uffd, UFFDIO_UNREGISTER, &range) == 0)
			return n;
	}
	return 0;
}

/* Memory that grew at an extent's end and was never touched is registered as
 * well, and known to nobody but the kernel. */
static void unregister_growth(const struct pager_mm *mm, uint64_t low, uint64_t high)
{
	uint64_t n, up = low, down = high;

	while (up < high && (n = unregister_some(mm, up, high - up, true)))
		up += n;
	while (down > up && (n = unregister_some(mm, down, down - up, false)))
		down -= n;
}

int pager_mm_unregister(struct pager_mm *mm)
{
	uint64_t low = PAGER_LOWEST;

	for (size_t i = 0; i < mm->space.n; i++) {
		const struct cor_extent *e = &mm->space.extents[i];
		uint64_t end = e->start + (e->npages << COR_PAGE_SHIFT);
		int r = cor_uffd_unregister(mm->uffd, e->start, end - e->start);

		if (r < 0)
			return r;
		unregister_growth(mm, low, e->start);
		low = end;
	}
	if (mm->space.n && low < PAGER_TASK_END)
		unregister_growth(mm, low, PAGER_TASK_END);
	return 0;
}

/* A child with a map of its own. Where that cannot be made, its userfaultfd is
 * kept open: closing it would show the child zeros. */
static void forked(struct cor_pager *p, struct pager_mm *parent, int uffd)
{
	struct pager_mm *child = pager_mm_new(p, uffd);

	if (!child || cor_space_clone(&child->space, &parent->space) < 0) {
		if (child)
			child->unserved = true;
		pager_fail(p, -ENOMEM, "no memory to serve a forked child (userfaultfd %d)", uffd);
		return;
	}
	child->id = ++p->next_mm;
	child->cursor = parent->cursor;
	child->readable = true;
	if (p->running)
		pager_poll_mm(p, child);
}

static void removed(struct cor_pager *p, struct pager_mm *mm, uint64_t start, uint64_t end)
{
	uint64_t lost = cor_space_remove(&mm->space, start, end - start);

	PAGER_COUNT(p, pages_dropped, lost);
}

static void unmapped(struct cor_pager *p, struct pager_mm *mm, uint64_t start, uint64_t end)
{
	uint64_t lost = 0;

	if (cor_space_unmap(&mm->space, start, end - start, &lost) < 0)
		pager_fail(p, -ENOMEM, "no memory to follow an unmapping of 0x%llx-0x%llx",
			   (unsigned long long)start, (unsigned long long)end);
	PAGER_COUNT(p, pages_dropped, lost);
}

static void remapped(struct cor_pager *p, struct pager_mm *mm, const struct uffd_msg *m)
{
	if (cor_space_remap(&mm->space, m->arg.remap.from, m->arg.remap.to, m->arg.remap.len) < 0)
		pager_fail(p, -ENOMEM, "no memory to follow a move of 0x%llx to 0x%llx",
			   (unsigned long long)m->arg.remap.from,
			   (unsigned long long)m->arg.remap.to);
}

void pager_mm_event(struct cor_pager *p, struct pager_mm *mm, const struct uffd_msg *m)
{
	switch (m->event) {
	case UFFD_EVENT_PAGEFAULT:
		pager_fault_new(p, mm, m->arg.pagefault.address, m->arg.pagefault.feat.ptid);
		break;
	case UFFD_EVENT_FORK:
		forked(p, mm, (int)m->arg.fork.ufd);
		break;
	case UFFD_EVENT_REMAP:
		remapped(p, mm, m);
		break;
	case UFFD_EVENT_REMOVE:
		removed(p, mm, m->arg.remove.start, m->arg.remove.end);
		break;
	case UFFD_EVENT_UNMAP:
		unmapped(p, mm, m->arg.remove.start, m->arg.remove.end);
		break;
	}
}

void pager_mm_wake(struct pager_mm *mm)
{
	cor_uffd_wake(mm->uffd, PAGER_LOWEST, PAGER_TASK_END - PAGER_LOWEST);
	/* the kernel refuses ranges that begin below its vm.mmap_min_addr */
	for (size_t i = 0; i < mm->space.n && mm->space.extents[i].start < PAGER_LOWEST; i++)
		cor_uffd_wake(mm->uffd, mm->space.extents[i].start,
			      mm->space.extents[i].npages << COR_PAGE_SHIFT);
}

void pager_mm_read(struct cor_pager *p, struct pager_mm *mm)
{
	struct uffd_msg local[MESSAGES], *messages;
	ssize_t n;

	while (!mm->gone) {
		messages = p->journal ? pager_journal_room(p, mm, MESSAGES) : NULL;
		if (!messages)
			messages = local;
		n = read(mm->uffd, messages, sizeof(local));
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno != EAGAIN)
			pager_fail(p, -errno, "reading userfaultfd %d: %s", mm->uffd,
				   strerrordesc_np(errno));
		for (ssize_t i = 0; i < n / (ssize_t)sizeof(*messages); i++)
			pager_mm_event(p, mm, &messages[i]);
		if (messages != local)
			pager_journal_read(p, messages, n);
		/* What arrives later makes the ring say so again. */
		if (n < (ssize_t)sizeof(local)) {
			mm->readable = false;
			return;
		}
	}
}

void pager_probe_mms(struct cor_pager *p)
{
	struct pager_mm *mm, *next;

	for (mm = TAILQ_FIRST(&p->mms); mm; mm = next) {
		uint64_t some = mm->space.n ? mm->space.extents[0].start : PAGE * 16;

		next = TAILQ_NEXT(mm, link);
		if (cor_uffd_alive(mm->uffd, some) < 0)
			pager_mm_close(p, mm);
	}
}

static bool complete(const struct pager_mm *mm)
{
	return !mm->space.missing && !mm->waiting && !mm->unserved;
}

void pager_check_done(struct cor_pager *p)
{
	enum cor_pager_state state = atomic_load_explicit(&p->state, memory_order_relaxed);
	bool root_complete = false, children = false;
	struct pager_mm *mm, *next;

	for (mm = TAILQ_FIRST(&p->mms); mm; mm = next) {
		next = TAILQ_NEXT(mm, link);
		if (mm == p->root) {
			root_complete = !p->unknown && !mm->space.missing;
		} else if (p->unknown || !complete(mm)) {
			children = true;
		} else {
			pager_mm_unregister(mm);
			pager_mm_close(p, mm);
		}
	}
	if (state != COR_PAGER_PAGING || children)
		return;
	if (p->root->gone)
		pager_set_state(p, COR_PAGER_TASK_GONE);
	else if (root_complete)
		pager_set_state(p, COR_PAGER_DRAINED);
}
