/* userfaultfd(2): the handshake, registration, and the one place that knows
 * what each result of its ioctls means (ioctl_userfaultfd(2)). */
#pragma once

#include <cor/error.h>
#include <stddef.h>
#include <stdint.h>

/* Results of filling a range. */
enum cor_uffd_result {
	COR_UFFD_DONE,          /* all of it */
	COR_UFFD_PARTIAL,       /* some of it; the next try tells why it stopped */
	COR_UFFD_AGAIN,         /* the mappings are changing: read the events, then try again */
	COR_UFFD_EXISTS,        /* the first page is there already */
	COR_UFFD_RANGE_GONE,    /* not (one) registered mapping */
	COR_UFFD_MM_GONE,       /* the address space has ended */
	COR_UFFD_NO_MEMORY,     /* no page to be had just now */
	COR_UFFD_BAD,           /* a mistake of ours, or an unknown error */
};

/* The table. err: errno of the ioctl, 0 when it succeeded; done: its count of
 * bytes, which is also an error when negative; len: what was asked for. */
enum cor_uffd_result cor_uffd_classify(int err, int64_t done, uint64_t len);

/* UFFDIO_API with all of required, and optional where the kernel has them. *got
 * (NULL allowed) receives the features that are on. */
int cor_uffd_handshake(int fd, uint64_t required, uint64_t optional, uint64_t *got,
		       struct cor_error *err);

/* Missing mode. Both go in chunks, so that the mmap lock is never held for long. */
int cor_uffd_register(int fd, uint64_t start, uint64_t len, struct cor_error *err);
/* Ranges that are no longer mapped are skipped. -ESRCH: the address space ended. */
int cor_uffd_unregister(int fd, uint64_t start, uint64_t len);

/* Fill [dst, dst+len) and wake who waits there; *done: bytes filled. */
enum cor_uffd_result cor_uffd_copy(int fd, uint64_t dst, const void *src, uint64_t len,
				   uint64_t *done);
enum cor_uffd_result cor_uffd_zero(int fd, uint64_t dst, uint64_t len, uint64_t *done);
/* Touching the range raises SIGBUS from now on (6.6; BAD where there is none). */
enum cor_uffd_result cor_uffd_poison(int fd, uint64_t dst, uint64_t len, uint64_t *done);

void cor_uffd_wake(int fd, uint64_t dst, uint64_t len);

/* -ESRCH when the address space has ended, else 0. Changes nothing in it. */
int cor_uffd_alive(int fd, uint64_t some_address);
