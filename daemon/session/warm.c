/* Memory that the freeze will want, touched ahead of it. */
#include <fcntl.h>
#include <malloc.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "daemon/session/session.h"
#include "libcor/base/cleanup.h"
#include "libcor/base/compat.h"
#include "libcor/base/io.h"
#include "libcor/task/procfs.h"

#define WARM_HEAP  (8u << 20)
#define WARM_STACK (256u << 10)
#define BSS_MAX    (1u << 20)   /* of a program or library; more is not its variables */

/* Heap, stack, and the variables of program and libraries: behind those of a file lie, without
 * a name, those that begin as zeros. Not what other threads have. */
static bool our_memory(const struct cor_map_line *m, const struct cor_map_line *before)
{
	const uint32_t rw = PROT_READ | PROT_WRITE;

	if (m->shared || (m->prot & rw) != rw)
		return false;
	if (m->name_len)
		return m->name[0] == '/' || cor_map_line_named(m, "[heap]") ||
		       cor_map_line_named(m, "[stack]");
	return before->name_len && before->name[0] == '/' && before->end == m->start &&
	       m->end - m->start <= BSS_MAX;
}

/* Pages that a fork has made common are ours again: what is written to them is not copied
 * first. Kernels before 5.14 cannot do it at once, and then it is not done. */
static void own_pages(void)
{
	_cleanup_free_ char *text = NULL;
	struct cor_map_line m, before = { .name = "" };
	const char *at;

	if (cor_slurp(AT_FDCWD, "/proc/self/maps", &text, NULL) < 0)
		return;
	at = text;
	while (cor_parse_map_line(&at, &m) == 1) {
		if (our_memory(&m, &before))
			madvise((void *)m.start, m.end - m.start, MADV_POPULATE_WRITE);
		before = m;
	}
}

/* Fills memory with zeros, by us and by the kernel: where page tables are kept apart for the two
 * (against Meltdown), a hypervisor that shadows them makes each page known to either by a fault
 * of its own. */
static void touch(char *memory, size_t len)
{
	_cleanup_close_ int zeros = open("/dev/zero", O_RDONLY | O_CLOEXEC);

	for (size_t i = 0; i < len; i += COR_PAGE_SIZE)
		((volatile char *)memory)[i] = 0;
	if (zeros >= 0)
		(void)!read(zeros, memory, len);
}

/* Room for allocations; what is freed stays. */
static void grow_heap(void)
{
	char *heap;

	mallopt(M_MMAP_THRESHOLD, WARM_HEAP);
	mallopt(M_TRIM_THRESHOLD, 2 * WARM_HEAP);
	heap = malloc(WARM_HEAP / 2);
	if (heap)
		touch(heap, WARM_HEAP / 2);
	free(heap);
}

static void grow_stack(void)
{
	char stack[WARM_STACK];

	touch(stack, sizeof(stack));
}

void session_warm(void)
{
	grow_heap();
	grow_stack();
	own_pages();
}
