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

static const Cor__Task__PageData *find_eager(struct cor_capture *c, uint64_t page)
{
	for (size_t i = c->image->n_eager; i-- > 0;)
		if (c->image->eager[i]->addr == page)
			return c->image->eager[i];
	return NULL;
}

/* Adds the page of addr unless it is there, is no lazy page, or cannot be read
 * now (it is then fetched like any other). */
static int add_page(struct cor_capture *c, uint64_t addr, struct cor_error *err)
{
	uint64_t page = addr & ~(PAGE - 1);
	uint8_t buf[PAGE];
	Cor__Task__PageData *p;

	if (!addr || find_eager(c, page) || !is_lazy(c, page) ||
	    !cor_capture_page_is_there(c, page) || cor_capture_read(c, page, buf, PAGE) < 0)
		return 0;
	p = pb_add(&c->image->eager, &c->image->n_eager, Cor__Task__PageData,
		   cor__task__page_data__init);
	if (!p || pb_bytes(&p->data, buf, PAGE) < 0)
		return cor_capture_no_memory(c, err);
	p->addr = page;
	return 0;
}

/* A word out of an eager page; false when it is in none. */
static bool word_at(struct cor_capture *c, uint64_t addr, uint64_t *out)
{
	const Cor__Task__PageData *p = find_eager(c, addr & ~(PAGE - 1));

	if (!p || (addr & (PAGE - 1)) > PAGE - sizeof(*out))
		return false;
	memcpy(out, p->data.data + (addr & (PAGE - 1)), sizeof(*out));
	return true;
}

/* get_robust_list(2): a circular list, its head followed by the offset of the
 * futex and the operation under way. Bit 0 of a link marks a PI mutex. */
static int add_robust(struct cor_capture *c, uint64_t head, struct cor_error *err)
{
	uint64_t next = 0, offset = 0, pending = 0;
	int r = add_page(c, head, err);

	if (r < 0 || !head || !word_at(c, head, &next) || !word_at(c, head + 8, &offset))
		return r;
	if (word_at(c, head + 16, &pending) && pending)
		r = add_page(c, (pending & ~1ull) + offset, err);
	for (unsigned i = 0; i < ROBUST_MAX && !r && (next & ~1ull) && (next & ~1ull) != head; i++) {
		uint64_t entry = next & ~1ull;

		r = add_page(c, entry, err);
		if (!r)
			r = add_page(c, entry + offset, err);
		if (!word_at(c, entry, &next))
			break;
	}
	return r;
}

static int add_thread(struct cor_capture *c, const Cor__Task__Thread *th, struct cor_error *err)
{
	const struct user_regs_struct *regs = (const void *)th->regs.data;
	const uint64_t at[] = {
		regs->rsp, regs->rsp - RED_ZONE, regs->fs_base, th->rseq,
		th->rseq ? th->rseq + th->rseq_len - 1 : 0, th->clear_child_tid,
	};
	int r = 0;

	for (unsigned i = 0; i < ARRAY_SIZE(at) && !r; i++)
		r = add_page(c, at[i], err);
	return r ? r : add_robust(c, th->robust_list, err);
}

/* ---- hints ------------------------------------------------------------------------ */

static void add_hint(struct cor_capture *c, uint64_t addr)
{
	Cor__Task__Image *image = c->image;
	uint64_t page = addr & ~(PAGE - 1);
	const Cor__Task__Vma *v;

	if (image->n_hints >= HINTS_MAX)
		return;
	v = cor_capture_find_vma(image, addr);
	if (!v || !(v->prot & PROT_WRITE))
		return;
	for (size_t i = 0; i < image->n_hints; i++)
		if (image->hints[i] == page)
			return;
	if (!find_eager(c, page))
		image->hints[image->n_hints++] = page;
}

/* ps reads these through /proc, which fails on pages that are not there. */
static void hint_strings(struct cor_capture *c)
{
	const Cor__Task__Memory *m = c->image->memory;
	uint64_t start = m->arg_start & ~(PAGE - 1), end = COR_MAX(m->arg_end, m->env_end);

	for (unsigned n = 0; start < end && n < STRING_PAGES; start += PAGE, n++)
		add_hint(c, start);
}

static void hint_registers(struct cor_capture *c, const Cor__Task__Thread *th)
{
	const struct user_regs_struct *r = (const void *)th->regs.data;
	const uint64_t value[] = {
		r->rsp + PAGE, r->rbp, r->rdi, r->rsi, r->rbx, r->r12, r->r13, r->r14, r->r15,
		r->rdx, r->rcx, r->rax, r->r8, r->r9, r->r10,
	};

	for (unsigned i = 0; i < ARRAY_SIZE(value); i++)
		add_hint(c, value[i]);
}

static void hint_stack(struct cor_capture *c, const Cor__Task__Thread *th)
{
	const struct user_regs_struct *r = (const void *)th->regs.data;
	uint64_t at = (r->rsp + 7) & ~7ull, value;

	for (unsigned i = 0; i < STACK_WORDS && word_at(c, at + i * 8, &value); i++)
		add_hint(c, value);
}

int cor_capture_eager(struct cor_capture *c, struct cor_error *err)
{
	Cor__Task__Image *image = c->image;
	int r = 0;

	for (size_t i = 0; i < image->n_threads && !r; i++)
		r = add_thread(c, image->threads[i], err);
	if (r < 0)
		return r;
	image->hints = malloc(HINTS_MAX * sizeof(*image->hints));
	if (!image->hints)
		return cor_capture_no_memory(c, err);
	hint_strings(c);
	for (size_t i = 0; i < image->n_threads; i++)
		hint_registers(c, image->threads[i]);
	for (size_t i = 0; i < image->n_threads; i++)
		hint_stack(c, image->threads[i]);
	return 0;
}
