/* Whole reads and writes, descriptor passing, and small /proc helpers. */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/types.h>
#include <time.h>

/* Read or write all of it, across EINTR, short counts and (by polling) EAGAIN.
 * 0; -errno; reading: -ENODATA on a clean end before the first byte,
 * -EPIPE on an end in the middle. Writing a socket never raises SIGPIPE. */
int cor_read_full(int fd, void *buf, size_t len);
int cor_write_full(int fd, const void *buf, size_t len);

/* Sends or receives one message with up to n descriptors over a UNIX socket
 * (unix(7), SCM_RIGHTS). Received descriptors are close-on-exec and the
 * caller's. Receiving returns the message's length (0: the peer closed) and
 * stores the number of descriptors in *nfds (in: room). */
int cor_send_fds(int sock, const void *buf, size_t len, const int *fds, unsigned nfds);
ssize_t cor_recv_fds(int sock, void *buf, size_t len, int *fds, unsigned *nfds);

/* The whole of a (proc) file, NUL-terminated, in a fresh malloc; *len may be
 * NULL. Relative to dirfd (AT_FDCWD allowed). */
int cor_slurp(int dirfd, const char *path, char **out, size_t *len);

/* The text of an open (proc) file, read anew from its beginning into buf, terminated: to find a
 * file of /proc by its name costs as much as its text. -errno; -E2BIG: there may be more. */
int cor_read_again(int fd, char *buf, size_t size);

/* Writes text into an existing (proc) file. */
int cor_spew(int dirfd, const char *path, const char *text);

/* Makes name, for its owner alone, or puts it in place of the one that there is: who reads it
 * sees all of the text or all of the one before. 0 or -errno. By way of NAME.new, which stays
 * only where the process is killed meanwhile. */
int cor_replace(int dirfd, const char *name, const char *text);

/* The soft limit of descriptors becomes the hard one, which no caller of select(2) should ask
 * for. *was (NULL allowed): what it had been; untouched where that cannot be read. */
void cor_raise_descriptors(struct rlimit *was);

/* Room for that many descriptors more: raises the soft limit as far as it may, and lets
 * the table grow now. In a process with threads the kernel waits milliseconds for
 * each doubling (synchronize_rcu), which nothing urgent should. */
void cor_reserve_descriptors(unsigned more);

/* CLOCK_MONOTONIC in nanoseconds. */
static inline uint64_t cor_now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}
