#include "libcor/base/io.h"
#include "libcor/base/cleanup.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>

static int wait_for(int fd, short events)
{
	struct pollfd p = { .fd = fd, .events = events };

	if (poll(&p, 1, -1) < 0 && errno != EINTR)
		return -errno;
	return 0;
}

int cor_read_full(int fd, void *buf, size_t len)
{
	size_t got = 0;

	while (got < len) {
		ssize_t n = read(fd, (char *)buf + got, len - got);

		if (n == 0)
			return got ? -EPIPE : -ENODATA;
		if (n > 0) {
			got += (size_t)n;
			continue;
		}
		if (errno == EAGAIN) {
			int r = wait_for(fd, POLLIN);

			if (r < 0)
				return r;
		} else if (errno != EINTR) {
			return -errno;
		}
	}
	return 0;
}

int cor_write_full(int fd, const void *buf, size_t len)
{
	size_t put = 0;
	int sock = 1;

	while (put < len) {
		const char *p = (const char *)buf + put;
		ssize_t n = sock ? send(fd, p, len - put, MSG_NOSIGNAL) : write(fd, p, len - put);

		if (n >= 0) {
			put += (size_t)n;
			continue;
		}
		if (errno == ENOTSOCK && sock) {
			sock = 0;
		} else if (errno == EAGAIN) {
			int r = wait_for(fd, POLLOUT);

			if (r < 0)
				return r;
		} else if (errno != EINTR) {
			return -errno;
		}
	}
	return 0;
}

#define MAX_FDS 64

int cor_send_fds(int sock, const void *buf, size_t len, const int *fds, unsigned nfds)
{
	union { struct cmsghdr h; char space[CMSG_SPACE(sizeof(int) * MAX_FDS)]; } c;
	struct iovec iov = { .iov_base = (void *)buf, .iov_len = len };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1 };
	ssize_t n;

	if (nfds > MAX_FDS)
		return -E2BIG;
	if (nfds) {
		memset(&c, 0, sizeof(c));
		m.msg_control = &c;
		m.msg_controllen = CMSG_SPACE(sizeof(int) * nfds);
		c.h.cmsg_level = SOL_SOCKET;
		c.h.cmsg_type = SCM_RIGHTS;
		c.h.cmsg_len = CMSG_LEN(sizeof(int) * nfds);
		memcpy(CMSG_DATA(&c.h), fds, sizeof(int) * nfds);
	}
	do
		n = sendmsg(sock, &m, MSG_NOSIGNAL);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	return (size_t)n == len ? 0 : -EMSGSIZE;
}

ssize_t cor_recv_fds(int sock, void *buf, size_t len, int *fds, unsigned *nfds)
{
	union { struct cmsghdr h; char space[CMSG_SPACE(sizeof(int) * MAX_FDS)]; } c;
	struct iovec iov = { .iov_base = buf, .iov_len = len };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1,
			    .msg_control = &c, .msg_controllen = sizeof(c) };
	unsigned room = nfds ? *nfds : 0, got = 0;
	ssize_t n;

	do
		n = recvmsg(sock, &m, MSG_CMSG_CLOEXEC);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	for (struct cmsghdr *h = CMSG_FIRSTHDR(&m); h; h = CMSG_NXTHDR(&m, h)) {
		unsigned k;

		if (h->cmsg_level != SOL_SOCKET || h->cmsg_type != SCM_RIGHTS)
			continue;
		k = (unsigned)((h->cmsg_len - CMSG_LEN(0)) / sizeof(int));
		for (unsigned i = 0; i < k; i++) {
			int fd;

			memcpy(&fd, CMSG_DATA(h) + i * sizeof(int), sizeof(int));
			if (got < room)
				fds[got++] = fd;
			else
				close(fd);
		}
	}
	if (nfds)
		*nfds = got;
	return n;
}

/* Fills buf from fd as far as it goes; bytes, less than len at the file's end. */
static ssize_t read_some(int fd, char *buf, size_t len)
{
	size_t used = 0;

	while (used < len) {
		ssize_t n = read(fd, buf + used, len - used);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		used += (size_t)n;
	}
	return (ssize_t)used;
}

int cor_slurp(int dirfd, const char *path, char **out, size_t *len)
{
	_cleanup_close_ int fd = openat(dirfd, path, O_RDONLY | O_CLOEXEC);
	_cleanup_free_ char *buf = NULL;
	char first[4096];               /* most files of /proc are shorter */
	size_t used, room;
	ssize_t n;

	if (fd < 0)
		return -errno;
	n = read_some(fd, first, sizeof(first));
	if (n < 0)
		return (int)n;
	used = (size_t)n;
	room = used < sizeof(first) ? used : 4 * sizeof(first);
	buf = malloc(room + 1);
	if (!buf)
		return -ENOMEM;
	memcpy(buf, first, used);
	while (room > sizeof(first)) {
		char *bigger;

		n = read_some(fd, buf + used, room - used);
		if (n < 0)
			return (int)n;
		used += (size_t)n;
		if (used < room)
			break;
		bigger = realloc(buf, (room *= 2) + 1);
		if (!bigger)
			return -ENOMEM;
		buf = bigger;
	}
	buf[used] = 0;
	if (len)
		*len = used;
	*out = take_ptr(buf);
	return 0;
}

int cor_read_again(int fd, char *buf, size_t size)
{
	ssize_t n = pread(fd, buf, size - 1, 0);

	if (n < 0)
		return -errno;
	buf[n] = 0;
	return (size_t)n == size - 1 ? -E2BIG : 0;
}

int cor_spew(int dirfd, const char *path, const char *text)
{
	_cleanup_close_ int fd = openat(dirfd, path, O_WRONLY | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	/* proc files take a value in one write, and only so */
	if (write(fd, text, strlen(text)) < 0)
		return -errno;
	return 0;
}

int cor_replace(int dirfd, const char *name, const char *text)
{
	_cleanup_close_ int fd = -1;
	char fresh[PATH_MAX];
	int r;

	if (snprintf(fresh, sizeof(fresh), "%s.new", name) >= (int)sizeof(fresh))
		return -ENAMETOOLONG;
	fd = openat(dirfd, fresh, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	r = cor_write_full(fd, text, strlen(text));
	if (r == 0 && renameat(dirfd, fresh, dirfd, name) < 0)
		r = -errno;
	if (r < 0)
		unlinkat(dirfd, fresh, 0);
	return r;
}

void cor_raise_descriptors(struct rlimit *was)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
		return;
	if (was)
		*was = limit;
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
}

void cor_reserve_descriptors(unsigned more)
{
	int lowest = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 0);
	struct rlimit limit;
	int highest;

	if (lowest < 0)
		lowest = open("/dev/null", O_RDONLY | O_CLOEXEC);
	if (lowest < 0 || getrlimit(RLIMIT_NOFILE, &limit) < 0)
		return;
	/* others may be opened meanwhile */
	more += (unsigned)lowest + 64;
	if (limit.rlim_cur <= more) {
		limit.rlim_cur = COR_MIN((rlim_t)more + 1, limit.rlim_max);
		setrlimit(RLIMIT_NOFILE, &limit);
	}
	highest = fcntl(lowest, F_DUPFD_CLOEXEC, (int)COR_MIN((rlim_t)more, limit.rlim_cur - 1));
	if (highest >= 0)
		close(highest);
	close(lowest);
}
