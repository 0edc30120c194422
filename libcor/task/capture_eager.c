/* Pages that must be there before the task's first instruction, and addresses
 * worth fetching first.
 *
 * The kernel itself touches some of a thread's memory: rseq on its way back to
 * user space, clear_child_tid and the robust list at its end. There it does not
 * wait for a page, or silently does without. With these go the pages under the
 * stack pointer (and its red zone) and the TLS.
 */
#include "libcor/task/capture_base.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <sys/user.h>

#include "libcor/base/cleanup.h"
#include "libcor/base/error.h"
#include "libcor/task/pb.h"
#include "libcor/task/sparse.h"

#define PAGE        4096ull
#define RED_ZONE    128
#define ROBUST_MAX  64          /* held mutexes followed */
#define HINTS_MAX   256
#define EAGER_STRINGS 4
#define STRING_PAGES 32         /* of arguments and environment */
#define STACK_WORDS 64
#define READ_AT_ONCE 256        /* process_vm_readv(2) takes 1024 */

static bool in_written(const Cor__Task__Vma *v, uint64_t addr)
{
	for (size_t i = 0; i < v->n_written; i++)
		if (addr - v->written[i]->start < v->written[i]->npages * PAGE)
			return true;
	return false;
}

/* Is the page one that the destination fetches by reference? */
static bool is_lazy(struct cor_capture *c, uint64_t addr)
{
	const Cor__Task__Vma *v = cor_capture_find_vma(c->image, addr);

	if (!v)
		return false;
	if (v->kind == COR__TASK__VMA_KIND__ANON)
		return true;
	return v->written_lazy && in_written(v, addr);
}

/* Page addresses to indices: open addressing, since a thousand threads have
 * several thousand pages. Address 0 is never in it. */
struct page_set {
	struct { uint64_t page; size_t index; } *slot;
	size_t size, used;      /* size: a power of two */
};

static size_t slot_of(const struct page_set *s, uint64_t page)
{
	size_t i = (page / PAGE * 0x9e3779b97f4a7c15ull >> 20) & (s->size - 1);

	while (s->slot[i].page && s->slot[i].page != page)
		i = (i + 1) & (s->size - 1);
	return i;
}

static bool set_find(const struct page_set *s, uint64_t page, size_t *index)
{
	size_t i;

	if (!s->size)
		return false;
	i = slot_of(s, page);
	*index = s->slot[i].index;
	return s->slot[i].page == page;
}

static int set_add(struct page_set *s, uint64_t page, size_t index)
{
	size_t i;

	if (s->used * 2 >= s->size) {
		struct page_set bigger = { .size = s->size ? s->size * 2 : 256 };

		bigger.slot = calloc(bigger.size, sizeof(*bigger.slot));
		if (!bigger.slot)
			return -ENOMEM;
		for (size_t k = 0; k < s->size; k++)
			if (s->slot[k].page)
				bigger.slot[slot_of(&bigger, s->slot[k].page)] =
					(__typeof__(*bigger.slot)){ s->slot[k].page, s->slot[k].index };
		bigger.used = s->used;
		free(s->slot);
		*s = bigger;
	}
	i = slot_of(s, page);
	s->used += !s->slot[i].page;
	s->slot[i].page = page;
	s->slot[i].index = index;
	return 0;
}

struct eager {
	struct cor_capture *c;
	struct page_set pages;  /* in bytes and addrs */
	struct page_set hinted; /* in image->hints */
	uint8_t *bytes;         /* n pages, for which there is room */
	uint64_t *addrs;
	size_t n, room;
	size_t nread;           /* of them, from the first on, have been read */
};

static bool find_eager(struct eager *e, uint64_t page)
{
	size_t i;

	return set_find(&e->pages, page, &i);
}

static int make_room(struct eager *e)
{
	size_t room = e->room ? 2 * e->room : 16;
	void *bytes, *addrs;

	if (e->n < e->room)
		return 0;
	bytes = realloc(e->bytes, room * PAGE);
	if (bytes)
		e->bytes = bytes;
	addrs = realloc(e->addrs, room * sizeof(*e->addrs));
	if (addrs)
		e->addrs = addrs;
	if (!bytes || !addrs)
		return -ENOMEM;
	e->room = room;
	return 0;
}

/* The page of addr is to be read, unless it is among them, or is no lazy page. */
static int want_page(struct eager *e, uint64_t addr, struct cor_error *err)
{
	uint64_t page = addr & ~(PAGE - 1);
	struct cor_capture *c = e->c;

	if (!page || find_eager(e, page) || !is_lazy(c, page) ||
	    !cor_capture_page_is_there(c, page))
		return 0;
	if (make_room(e) < 0 || set_add(&e->pages, page, e->n) < 0)
		return cor_capture_no_memory(c, err);
	e->addrs[e->n++] = page;
	return 0;
}

/* How many pages from first on come in one call; none where one of them is not readable. */
static size_t read_some(struct eager *e, size_t first)
{
	struct iovec here, there[READ_AT_ONCE];
	size_t n = COR_MIN(e->n - first, (size_t)READ_AT_ONCE);

	here = (struct iovec){ e->bytes + first * PAGE, n * PAGE };
	for (size_t i = 0; i < n; i++)
		there[i] = (struct iovec){ (void *)(uintptr_t)e->addrs[first + i], PAGE };
	return process_vm_readv(e->c->pid, &here, 1, there, n, 0) == (ssize_t)(n * PAGE) ? n : 0;
}

/* What cannot be read now is fetched like any other: address 0. */
static void read_wanted(struct eager *e)
{
	while (e->nread < e->n) {
		size_t n = e->n - e->nread > 1 ? read_some(e, e->nread) : 0;

		if (!n && cor_capture_read(e->c, e->addrs[e->nread], e->bytes + e->nread * PAGE, PAGE) < 0)
			e->addrs[e->nread] = 0;
		e->nread += n ?: 1;
	}
}

static int add_page(struct eager *e, uint64_t addr, struct cor_error *err)
{
	int r = want_page(e, addr, err);

	if (r == 0)
		read_wanted(e);
	return r;
}

/* A word out of an eager page that has been read; false when it is in none. */
static bool word_at(struct eager *e, uint64_t addr, uint64_t *out)
{
	size_t i;

	if (!set_find(&e->pages, addr & ~(PAGE - 1), &i) || !e->addrs[i] ||
	    (addr & (PAGE - 1)) > PAGE - sizeof(*out))
		return false;
	memcpy(out, e->bytes + i * PAGE + (addr & (PAGE - 1)), sizeof(*out));
	return true;
}

/* get_robust_list(2): a circular list, its head followed by the offset of the
 * futex and the operation under way. Bit 0 of a link marks a PI mutex. */
static int add_robust(struct eager *e, uint64_t head, struct cor_error *err)
{
	uint64_t next = 0, offset = 0, pending = 0;
	int r = add_page(e, head, err);

	if (r < 0 || !head || !word_at(e, head, &next) || !word_at(e, head + 8, &offset))
		return r;
	if (word_at(e, head + 16, &pending) && pending)
		r = add_page(e, (pending & ~1ull) + offset, err);
	for (unsigned i = 0; i < ROBUST_MAX && !r && (next & ~1ull) && (next & ~1ull) != head; i++) {
		uint64_t entry = next & ~1ull;

		r = add_page(e, entry, err);
		if (!r)
			r = add_page(e, entry + offset, err);
		if (!word_at(e, entry, &next))
			break;
	}
	return r;
}

static int want_thread(struct eager *e, const Cor__Task__Thread *th, struct cor_error *err)
{
	const struct user_regs_struct *regs = (const void *)th->regs.data;
	const uint64_t at[] = {
		regs->rsp, regs->rsp - RED_ZONE, regs->fs_base, th->rseq,
		th->rseq ? th->rseq + th->rseq_len - 1 : 0, th->clear_child_tid,
	};
	int r = 0;

	for (unsigned i = 0; i < ARRAY_SIZE(at) && !r; i++)
		r = want_page(e, at[i], err);
	return r ? r : want_page(e, th->robust_list, err);
}

/* ---- hints ------------------------------------------------------------------------ */

static void add_hint(struct eager *e, uint64_t addr)
{
	Cor__Task__Image *image = e->c->image;
	uint64_t page = addr & ~(PAGE - 1);
	const Cor__Task__Vma *v;
	size_t i;

	if (!page || image->n_hints >= HINTS_MAX || find_eager(e, page) ||
	    set_find(&e->hinted, page, &i))
		return;
	v = cor_capture_find_vma(image, addr);
	if (!v || !(v->prot & PROT_WRITE) || set_add(&e->hinted, page, image->n_hints) < 0)
		return;
	image->hints[image->n_hints++] = page;
}

/* ps reads these through /proc, which fails on pages that are not there. */
/* /proc/PID/cmdline and environ of memory that is not there yet read as empty, for the task
 * itself and for ps(1): its first pages travel along. */
static int add_strings(struct eager *e, struct cor_error *err)
{
	const Cor__Task__Memory *m = e->c->image->memory;
	uint64_t page = m->arg_start & ~(PAGE - 1), end = COR_MAX(m->arg_end, m->env_end);
	int r = 0;

	for (unsigned i = 0; i < EAGER_STRINGS && page < end && r == 0; i++, page += PAGE)
		r = add_page(e, page, err);
	return r;
}

static void hint_strings(struct eager *e)
{
	const Cor__Task__Memory *m = e->c->image->memory;
	uint64_t start = m->arg_start & ~(PAGE - 1), end = COR_MAX(m->arg_end, m->env_end);

	for (unsigned n = 0; start < end && n < STRING_PAGES; start += PAGE, n++)
		add_hint(e, start);
}

static void hint_registers(struct eager *e, const Cor__Task__Thread *th)
{
	const struct user_regs_struct *r = (const void *)th->regs.data;
	const uint64_t value[] = {
		r->rsp + PAGE, r->rbp, r->rdi, r->rsi, r->rbx, r->r12, r->r13, r->r14, r->r15,
		r->rdx, r->rcx, r->rax, r->r8, r->r9, r->r10,
	};

	for (unsigned i = 0; i < ARRAY_SIZE(value); i++)
		add_hint(e, value[i]);
}

static void hint_stack(struct eager *e, const Cor__Task__Thread *th)
{
	const struct user_regs_struct *r = (const void *)th->regs.data;
	uint64_t at = (r->rsp + 7) & ~7ull, value;

	for (unsigned i = 0; i < STACK_WORDS && word_at(e, at + i * 8, &value); i++)
		add_hint(e, value);
}

static int collect(struct eager *e, struct cor_error *err)
{
	Cor__Task__Image *image = e->c->image;
	int r = 0;

	for (size_t i = 0; i < image->n_threads && !r; i++)
		r = want_thread(e, image->threads[i], err);
	if (r == 0)
		read_wanted(e);
	for (size_t i = 0; i < image->n_threads && !r; i++)
		r = add_robust(e, image->threads[i]->robust_list, err);
	if (r == 0)
		r = add_strings(e, err);
	if (r < 0)
		return r;
	image->hints = malloc(HINTS_MAX * sizeof(*image->hints));
	if (!image->hints)
		return cor_capture_no_memory(e->c, err);
	hint_strings(e);
	for (size_t i = 0; i < image->n_threads; i++)
		hint_registers(e, image->threads[i]);
	for (size_t i = 0; i < image->n_threads; i++)
		hint_stack(e, image->threads[i]);
	return 0;
}

static int put_page(Cor__Task__PageData *p, const uint8_t *page, bool sparse)
{
	uint8_t buf[COR_SPARSE_MAX];

	return sparse ? pb_bytes(&p->sparse, buf, cor_sparse_pack(page, buf)) :
			pb_bytes(&p->data, page, PAGE);
}

static int put_all(struct eager *e, struct cor_error *err)
{
	Cor__Task__Image *image = e->c->image;

	for (size_t i = 0; i < e->n; i++) {
		Cor__Task__PageData *p;

		if (!e->addrs[i])
			continue;
		p = pb_add(&image->eager, &image->n_eager, Cor__Task__PageData,
			   cor__task__page_data__init);
		if (!p || put_page(p, e->bytes + i * PAGE, e->c->o.sparse) < 0)
			return cor_capture_no_memory(e->c, err);
		p->addr = e->addrs[i];
	}
	return 0;
}

int cor_capture_eager(struct cor_capture *c, struct cor_error *err)
{
	struct eager e = { .c = c };
	int r = collect(&e, err);

	if (r == 0)
		r = put_all(&e, err);
	free(e.bytes);
	free(e.addrs);
	free(e.pages.slot);
	free(e.hinted.slot);
	return r;
}
