/* Address ranges: what a process has mapped, and where there is room. */
#pragma once

#include <cor/error.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "libcor/task/task.pb-c.h"

enum cor_range_kind { COR_RANGE_OTHER, COR_RANGE_VDSO, COR_RANGE_VVAR, COR_RANGE_VSYSCALL };

struct cor_range {
	uint64_t start, end;
	enum cor_range_kind kind;
};

struct cor_layout {
	struct cor_range *ranges;
	size_t n, room;
};

void cor_layout_clear(struct cor_layout *l);

int cor_layout_add(struct cor_layout *l, uint64_t start, uint64_t end, enum cor_range_kind kind);

/* Adds the VMAs of process pid (/proc/PID/maps). */
int cor_layout_read(struct cor_layout *l, pid_t pid, struct cor_error *err);

/* Adds the VMAs of an image. */
int cor_layout_add_image(struct cor_layout *l, const Cor__Task__Memory *m);

/* A page-aligned place of len bytes, margin bytes away from every range of l
 * (which it sorts); 0: none. */
uint64_t cor_layout_hole(struct cor_layout *l, size_t len, uint64_t margin);

/* Likewise, right behind the highest mapping of m that leaves room for it in the page table of
 * its own end (2 MiB), margin bytes below the next range. What is unmapped there takes no page
 * table with it; a page table's end every processor has to be told of that has run the process.
 * Not behind the heap, which grows. */
uint64_t cor_layout_hole_behind(struct cor_layout *l, const Cor__Task__Memory *m, size_t len,
				uint64_t margin);

/* The lowest and highest address of the ranges of the two vDSO kinds: false when
 * there are none. */
bool cor_layout_vdso(const struct cor_layout *l, uint64_t *start, uint64_t *end);

/* The lowest address where this host lets ordinary processes map something, and a userfaultfd
 * serve it: vm.mmap_min_addr (proc_sys_vm(5)), 64 KiB where that cannot be read. */
uint64_t cor_layout_lowest(void);

/* An image comes from a peer: VMAs ascending, apart, page aligned, in user
 * space and not below lowest; every index within its table. -EPROTO with what is wrong. */
int cor_layout_check(const Cor__Task__Memory *m, uint64_t lowest, struct cor_error *err);
