/* Where a page server's bytes come from. One ops struct, one file per backend:
 *
 *	source_process.c   another process (a ghost): process_vm_readv, with
 *	                   /proc/PID/mem where that refuses (PROT_NONE pages)
 *	source_self.c      this process
 *	source_file.c      a file
 *
 * A process source also has objects: shared memory (memfd, tmpfs, shared
 * anonymous) read through its descriptor, since pages of it may be in no page
 * table. Object 0 is the address space itself.
 */
#pragma once

#include <cor/error.h>
#include <stdint.h>
#include <sys/types.h>

#include "libcor/paging/wire.h"

struct cor_source;

struct cor_source_ops {
	const char *name;

	/* Called by a lane's thread, several threads at once. Reads npages pages at
	 * offset into buf. Returns the number of pages read (>0, maybe fewer than
	 * asked: the caller goes on behind them), 0 when there is no such memory
	 * at offset (reply GONE for one page), or -errno. */
	int (*read)(struct cor_source *s, uint16_t object, uint64_t offset,
		    unsigned npages, void *buf);

	/* Called by a bulk lane's thread. Stores in runs[0..max) the runs of pages
	 * in [offset, offset + npages pages) that hold data, ascending, and in *next the
	 * offset behind the last page looked at (< the end when max was too
	 * small). Returns the number of runs or -errno. Zero pages and clean file
	 * pages are not data. NULL: everything holds data. */
	int (*presence)(struct cor_source *s, uint16_t object, uint64_t offset,
			uint64_t npages, struct cor_page_run *runs, unsigned max,
			uint64_t *next);

	/* Called once, when the server ends. Frees s. */
	void (*close)(struct cor_source *s);
};

struct cor_source {
	const struct cor_source_ops *ops;
};

/* Ends the source, which no lane uses any more. NULL allowed. */
static inline void cor_source_close(struct cor_source *s)
{
	if (s)
		s->ops->close(s);
}

/* Reads process pid; needs ptrace access to it (PTRACE_MODE_ATTACH_FSCREDS,
 * ptrace(2)). Holds its /proc/PID/mem, maps and pagemap open, and by them the
 * address space it has now: after an exec, or when another process gets the
 * number, reads give -ESRCH and never someone else's memory.
 *
 * A page that is mapped but cannot be read (a device, a poisoned page) gives
 * -EIO. One in no mapping, behind the end of its mapping's file, or in a guard
 * region (MADV_GUARD_INSTALL) is no memory: 0. A page that was in swap is put back there
 * once it has been read (process_madvise(2), which wants CAP_SYS_NICE): a process that is
 * read as a whole does not come back into memory for it. Memory that is itself lazy
 * (userfaultfd) has no presence here: its own pager must serve it. */
int cor_source_process(struct cor_source **out, pid_t pid, struct cor_error *err);

/* What a mapping of a file or of shared memory holds counts as data too, all of
 * it: for a reader that has neither the file nor the object. Before it is served. */
void cor_source_process_whole_files(struct cor_source *s);

/* Adds a shared memory object to a process source, before it is served; takes
 * ownership of fd (also on failure), whose file position is not used otherwise.
 * object: 1.. and dense. -EINVAL. */
int cor_source_process_add_object(struct cor_source *s, uint16_t object, int fd,
				  struct cor_error *err);

/* [base, base + len) of object 0 of inner as offsets 0..len: nothing else of it
 * can be read. Takes ownership of inner (also on failure). -EINVAL: not page
 * aligned, or empty. */
int cor_source_window(struct cor_source **out, struct cor_source *inner, uint64_t base,
		      uint64_t len, struct cor_error *err);

/* [addr, addr+len) of this process is served as offsets 0..len; page aligned. */
int cor_source_self(struct cor_source **out, const void *addr, size_t len,
		    struct cor_error *err);

/* len bytes of fd from off are served as offsets 0..len, the last page filled up
 * with zeros; takes ownership of fd (also on failure). */
int cor_source_file(struct cor_source **out, int fd, off_t off, size_t len,
		    struct cor_error *err);
