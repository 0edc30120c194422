/* Which mapping of a process covers an address: PROCMAP_QUERY where the kernel
 * has it (6.11), else the text of /proc/PID/maps (proc_pid_maps(5)). */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct cor_vma {
	uint64_t start, end;    /* addresses */
	uint64_t offset;        /* of start in its file, bytes */
	uint64_t inode;         /* 0: private anonymous memory */
};

struct cor_vma_view {
	int  proc_dir;          /* /proc/PID */
	int  maps_fd;           /* /proc/PID/maps */
	bool query;             /* PROCMAP_QUERY works here */
};

/* Opens both in proc_dir, which stays the caller's and must stay open. */
int cor_vma_open(struct cor_vma_view *out, int proc_dir);
void cor_vma_close(struct cor_vma_view *v);

/* The mapping that covers addr, or else the next one above. -ENOENT: there is
 * none; -ESRCH: the address space has ended; -errno. Any thread. */
int cor_vma_find(const struct cor_vma_view *v, uint64_t addr, struct cor_vma *out);

/* Is the page at addr, inside vma, behind the end of vma's file? -errno where
 * that cannot be found out (map_files wants CAP_CHECKPOINT_RESTORE). */
int cor_vma_beyond_file(const struct cor_vma_view *v, const struct cor_vma *vma, uint64_t addr);
