/* cor/import.h - another process's memory, mapped here copy-on-reference.
 *
 * The other side of cor/export.h: who holds a ticket maps the exported range. A
 * page comes over when it is touched first, and is then this process's own: it
 * may be written, and neither side sees what the other writes later. The
 * prefetcher, once it is on, brings the rest in the background; when all of it is
 * here, the memory is like any other and the connections are closed.
 *
 *	struct cor_import *i;
 *
 *	if (cor_import_open(&i, ctx, ticket, NULL, &err) < 0)
 *		...
 *	use(cor_import_address(i), cor_import_size(i));
 *	...
 *	cor_import_close(i);
 *
 * A connection that is lost is made again; meanwhile, whoever touches a missing
 * page waits. Children of fork(2) see the memory too, as long as the process may
 * ask for that (CAP_SYS_PTRACE, userfaultfd(2)); without that privilege they do
 * not inherit it (MADV_DONTFORK), and system calls that are given an address of
 * a missing page may fail with EFAULT: touch it first. While pages are missing,
 * call _Fork(3) instead of fork(3), which holds the allocator's locks until the
 * pager's thread, which may be waiting for them, has seen the child.
 *
 * All functions may be called by any thread, cor_import_close() by one.
 */
#ifndef COR_IMPORT_H
#define COR_IMPORT_H

#include <stddef.h>
#include <stdint.h>
#include <cor/cor.h>
#include <cor/error.h>

#ifdef __cplusplus
extern "C" {
#endif

struct cor_import;

enum cor_import_flags {
	COR_IMPORT_PREFETCH = 1 << 0,    /* bring everything over, from the beginning */
	COR_IMPORT_CHECK    = 1 << 1,    /* check what comes (XXH3), and fetch again what was
					    spoiled on its way; encrypted connections do without */
};

/* All zero (or NULL in place of the structure): the defaults. */
struct cor_import_options {
	void    *address;        /* where to map, a multiple of COR_PAGE_SIZE and free
				    (MAP_FIXED_NOREPLACE); NULL: the kernel chooses */
	unsigned flags;          /* enum cor_import_flags */
	unsigned timeout_ms;     /* for each connection made in cor_import_open(); 0: 5000 */
	uint32_t reserved[8];    /* zero */
};

struct cor_import_stats {
	uint64_t pages_total;        /* that hold data at the exporter, as far as known */
	uint64_t pages_demand;       /* brought because they were touched */
	uint64_t pages_prefetched;
	uint64_t pages_zero;         /* touched, and zero */
	uint64_t faults;
	uint64_t bytes_received;     /* headers included */
	uint64_t fault_p50_ns;       /* from the fault being seen to the page being there */
	uint64_t fault_p90_ns;
	uint64_t fault_p99_ns;
	uint64_t fault_max_ns;
	unsigned complete;           /* 1: every page is here */
	unsigned connections;        /* open now */
};

/* Connects to the export that ticket names and maps all of it into this process,
 * readable and writable, private. The caller ends *out with cor_import_close().
 * -EINVAL (ticket, options), -ENOTSUP (a ticket of another version), -ENXIO (its
 * name does not resolve), -ECONNREFUSED, -ETIMEDOUT, -EPERM (wrong secret), -ENOENT
 * (closed), -ETIME (expired), -EEXIST (address taken), -ENOMEM, -ENOSYS (no userfaultfd). */
COR_PUBLIC int cor_import_open(struct cor_import **out, const struct cor_ctx *ctx,
			       const char *ticket, const struct cor_import_options *options,
			       struct cor_error *err);

/* The same into another process: uffd is a userfaultfd(2) that it made (and gave
 * away with SCM_RIGHTS), with no UFFDIO_API done yet, and options->address (needed)
 * the place of a private anonymous mapping there, at least as long as the export
 * and not touched yet. Takes ownership of uffd, also on failure. */
COR_PUBLIC int cor_import_into(struct cor_import **out, const struct cor_ctx *ctx,
			       const char *ticket, int uffd,
			       const struct cor_import_options *options, struct cor_error *err);

/* Where it is mapped, and its length in bytes; until cor_import_close(). */
COR_PUBLIC void *cor_import_address(const struct cor_import *i);
COR_PUBLIC size_t cor_import_size(const struct cor_import *i);

/* Switches the prefetcher. Off, nothing moves but what is touched. */
COR_PUBLIC void cor_import_prefetch(struct cor_import *i, int on);

/* Waits until every page is here, timeout_ms at the most (-1: for ever). 0;
 * -ETIMEDOUT; -ESRCH: the process of cor_import_into() ended; the reason why a
 * page cannot be had, for instance -EFAULT where the exporter unmapped it:
 * whoever touches that page waits for ever. With the prefetcher off that wait has no end. */
COR_PUBLIC int cor_import_wait(struct cor_import *i, int timeout_ms, struct cor_error *err);

/* What has happened so far. */
COR_PUBLIC void cor_import_stats(struct cor_import *i, struct cor_import_stats *out);

/* Unmaps the memory and closes the connections. Nobody may use the memory any
 * more. Memory of another process stays mapped there, and pages that are still
 * missing then read as zero, unless somebody else holds the userfaultfd: end
 * that process first. NULL is allowed. */
COR_PUBLIC void cor_import_close(struct cor_import *i);

#ifdef __cplusplus
}
#endif
#endif
