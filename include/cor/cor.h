/* cor/cor.h - the context of libcor, its version and what this kernel can do.
 *
 * A struct cor_ctx holds what is found out once per process: the kernel's
 * features. It is immutable after cor_open() and may be shared by threads.
 */
#ifndef COR_COR_H
#define COR_COR_H

#include <stddef.h>
#include <stdint.h>
#include <cor/error.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define COR_PUBLIC __attribute__((visibility("default")))
#else
#define COR_PUBLIC
#endif

#define COR_PAGE_SIZE 4096u

struct cor_ctx;

/* Kernel features, probed once (userfaultfd(2), ioctl_userfaultfd(2),
 * PAGEMAP_SCAN in the kernel's pagemap document, clone(2), ptrace(2)). */
struct cor_features {
	char     kernel[65];         /* utsname.release */
	uint64_t uffd_features;      /* UFFD_FEATURE_* that the kernel offers; 0: no userfaultfd */
	uint64_t uffd_ioctls;        /* the UFFDIO_API ioctls bit set */
	unsigned uffd_device  : 1;   /* /dev/userfaultfd can be opened */
	unsigned uffd_syscall : 1;   /* userfaultfd(2) is allowed, kernel faults included */
	unsigned pagemap_scan : 1;   /* PAGEMAP_SCAN ioctl (6.7) */
	unsigned set_tid      : 1;   /* clone3 set_tid (5.5) with the privilege for it */
	unsigned time_ns      : 1;   /* time namespaces (5.6) */
	unsigned pidfd_getfd  : 1;   /* pidfd_getfd(2) (5.6) */
	unsigned kcmp         : 1;   /* kcmp(2) compiled in */
	unsigned rseq_config  : 1;   /* PTRACE_GET_RSEQ_CONFIGURATION (5.13) */
	unsigned checkpoint   : 1;   /* CONFIG_CHECKPOINT_RESTORE: /proc/PID/timers, PR_SET_MM_MAP, map_files */
	unsigned io_uring     : 1;   /* io_uring_setup(2) is allowed */
	unsigned ptrace       : 1;   /* another process of ours may be traced */
	unsigned fuse         : 1;   /* /dev/fuse can be used */
	unsigned user_ns      : 1;   /* without set_tid: it is allowed in user and PID namespaces of
	                                one's own */
};

/* Opens a context. Returns 0; -ENOMEM; -ENOSYS where the kernel is too old to
 * run cor at all (no userfaultfd). The caller ends it with cor_close(). */
COR_PUBLIC int cor_open(struct cor_ctx **out, struct cor_error *err);

/* NULL is allowed. */
COR_PUBLIC void cor_close(struct cor_ctx *ctx);

/* The features found by cor_open(); valid until cor_close(). Never NULL. */
COR_PUBLIC const struct cor_features *cor_features(const struct cor_ctx *ctx);

/* Writes the names of features that migration needs and this kernel lacks,
 * comma separated, into buf; returns their number (0: nothing is missing). */
COR_PUBLIC int cor_features_missing(const struct cor_features *f, char *buf, size_t size);

/* "0.1.0" */
COR_PUBLIC const char *cor_version(void);

#ifdef __cplusplus
}
#endif
#endif
