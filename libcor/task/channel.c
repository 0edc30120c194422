/* Framed messages with descriptors; see channel.h. */
#include "libcor/task/channel.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "libcor/base/cleanup.h"
#include "libcor/base/io.h"

#define PORTION 64u             /* what cor_send_fds() takes at once */

struct header {
	uint32_t kind;
	int32_t  op;
	uint32_t nfds;
	uint32_t reserved;
	uint64_t len;
};

int cor_message_send(int sock, const struct cor_message *m)
{
	struct header h = { .kind = m->kind, .op = m->op, .nfds = m->nfds, .len = m->len };
	int r = cor_write_full(sock, &h, sizeof(h));

	for (unsigned i = 0; r == 0 && i < m->nfds; i += PORTION)
		r = cor_send_fds(sock, "f", 1, m->fds + i, COR_MIN(m->nfds - i, PORTION));
	if (r == 0 && m->len)
		r = cor_write_full(sock, m->buf, m->len);
	return r;
}

static int recv_portion(int sock, struct cor_message *m, unsigned total)
{
	unsigned want = COR_MIN(total - m->nfds, PORTION), got = want;
	char mark;
	ssize_t n = cor_recv_fds(sock, &mark, 1, m->fds + m->nfds, &got);

	if (n < 0)
		return (int)n;
	m->nfds += got;
	if (n == 0)
		return -EPIPE;
	/* fewer than were sent: our descriptor limit was hit */
	return got == want ? 0 : -EMFILE;
}

static int recv_body(int sock, const struct header *h, struct cor_message *m)
{
	int r = 0;

	if (h->nfds) {
		m->fds = calloc(h->nfds, sizeof(int));
		if (!m->fds)
			return -ENOMEM;
	}
	while (r == 0 && m->nfds < h->nfds)
		r = recv_portion(sock, m, h->nfds);
	if (r < 0 || h->len == 0)
		return r;
	m->buf = malloc(h->len + 1);
	if (!m->buf)
		return -ENOMEM;
	r = cor_read_full(sock, m->buf, h->len);
	if (r == 0) {
		m->len = h->len;
		((char *)m->buf)[m->len] = 0;   /* texts can be used as strings */
	}
	return r == -ENODATA ? -EPIPE : r;
}

int cor_message_recv(int sock, struct cor_message *m)
{
	struct cor_message in = { 0 };
	struct header h;
	int r = cor_read_full(sock, &h, sizeof(h));

	if (r < 0)
		return r;
	if (h.len > COR_MESSAGE_MAX || h.nfds > COR_MESSAGE_FDS)
		return -EPROTO;
	in.kind = h.kind;
	in.op = h.op;
	r = recv_body(sock, &h, &in);
	if (r < 0) {
		cor_message_clear(&in);
		return r;
	}
	*m = in;
	return 0;
}

void cor_message_clear(struct cor_message *m)
{
	for (unsigned i = 0; i < m->nfds; i++)
		if (m->fds[i] >= 0)
			close(m->fds[i]);
	free(m->fds);
	free(m->buf);
	memset(m, 0, sizeof(*m));
}

ssize_t cor_recv_cred(int sock, void *buf, size_t len, pid_t *pid, int *fd)
{
	union {
		struct cmsghdr h;
		char space[CMSG_SPACE(sizeof(struct ucred)) + CMSG_SPACE(sizeof(int))];
	} c;
	struct iovec iov = { .iov_base = buf, .iov_len = len };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1,
			    .msg_control = &c, .msg_controllen = sizeof(c) };
	ssize_t n;

	do
		n = recvmsg(sock, &m, MSG_CMSG_CLOEXEC);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	*pid = -1;
	*fd = -1;
	for (struct cmsghdr *h = CMSG_FIRSTHDR(&m); h; h = CMSG_NXTHDR(&m, h)) {
		if (h->cmsg_level != SOL_SOCKET)
			continue;
		if (h->cmsg_type == SCM_CREDENTIALS) {
			struct ucred u;

			memcpy(&u, CMSG_DATA(h), sizeof(u));
			*pid = u.pid;
		} else if (h->cmsg_type == SCM_RIGHTS) {
			memcpy(fd, CMSG_DATA(h), sizeof(int));
		}
	}
	return n;
}
