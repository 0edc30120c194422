/* Pages that must be there before the task's first instruction, and addresses
 * worth fetching first.
 *
 * The kernel itself touches some of a thread's memory: rseq on its way back to
 * user space, clear_child_tid and the robust list at its end. There it does not
 * wait for a page, or silently does without. With these go the pages under the
 * stack pointer (and its red zone) and the TLS.
 */
#include "libcor/task/capture_private.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/user.h>

#include "libcor/base/cleanup.h"
#include "libcor/base/error.h"
#include "libcor/task/pb.h"

#define PAGE        4096ull
#define RED_ZONE    128
#define ROBUST_MAX  64          /* held mutexes followed */
#define HINTS_MAX   256
#define EAGER_STRINGS 4
#define STRING_PAGES 32         /* of arguments and environment */
#define STACK_WORDS 64

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
	struct page_set pages;  /* in image->eager */
	struct page_set hinted; /* in image->hints */
};

static const Cor__Task__PageData *find_eager(struct eager *e, uint64_t page)
{
	size_t i;

	return set_find(&e->pages, page, &i) ? e->c->image->eager[i] : NULL;
}

/* Adds the page of addr unless it is there, is no lazy page, or cannot be read
 * now (it is then fetched like any other). */
static int add_page(struct eager *e, uint64_t addr, struct cor_error *err)
{
	uint64_t page = addr & ~(PAGE - 1);
	struct cor_capture *c = e->c;
	uint8_t buf[PAGE];
	Cor__Task__PageData *p;

	if (!page || find_eager(e, page) || !is_lazy(c, page) ||
	    !cor_capture_page_is_there(c, page) || cor_capture_read(c, page, buf, PAGE) < 0)
		return 0;
	p = pb_add(&c->image->eager, &c->image->n_eager, Cor__Task__PageData,
		   cor__task__page_data__init);
	if (!p || pb_bytes(&p->data, buf, PAGE) < 0 ||
	    set_add(&e->pages, page, c->image->n_eager - 1) < 0)
		return cor_capture_no_memory(c, err);
	p->addr = page;
	return 0;
}

/* A word out of an eager page; false when it is in none. */
static bool word_at(struct eager *e, uint64_t addr, uint64_t *out)
{
	const Cor__Task__PageData *p = find_eager(e, addr & ~(PAGE - 1));

	if (!p || (addr & (PAGE - 1)) > PAGE - sizeof(*out))
		return false;
	memcpy(out, p->data.data + (addr & (PAGE - 1)), sizeof(*out));
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

static int add_thread(struct eager *e, const Cor__Task__Thread *th, struct cor_error *err)
{
	const struct user_regs_struct *regs = (const void *)th->regs.data;
	const uint64_t at[] = {
		regs->rsp, regs->rsp - RED_ZONE, regs->fs_base, th->rseq,
		th->rseq ? th->rseq + th->rseq_len - 1 : 0, th->clear_child_tid,
	};
	int r = 0;

	for (unsigned i = 0; i < ARRAY_SIZE(at) && !r; i++)
		r = add_page(e, at[i], err);
	return r ? r : add_robust(e, th->robust_list, err);
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
		r = add_thread(e, image->threads[i], err);
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

int cor_capture_eager(struct cor_capture *c, struct cor_error *err)
{
	struct eager e = { .c = c };
	int r = collect(&e, err);

	free(e.pages.slot);
	free(e.hinted.slot);
	return r;
}
