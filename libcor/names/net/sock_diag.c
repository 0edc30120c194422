/* NETLINK_SOCK_DIAG requests for UNIX sockets (sock_diag(7)). */
#include "libcor/names/net/sock_diag.h"

#include <errno.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/sock_diag.h>
#include <linux/unix_diag.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "libcor/base/cleanup.h"
#include "libcor/base/error.h"

#define SHOW (UDIAG_SHOW_NAME | UDIAG_SHOW_VFS | UDIAG_SHOW_PEER | UDIAG_SHOW_RQLEN)

/* Returns true to end the walk. */
typedef bool (*visit_fn)(void *arg, const struct cor_unix_socket *s);

static void copy_name(char *to, size_t size, const char *name, size_t len)
{
	snprintf(to, size, "%.*s", (int)len, name);
	if (len && name[0] == 0)
		snprintf(to, size, "@%.*s", (int)len - 1, name + 1);
}

static void parse_attribute(const struct rtattr *a, struct cor_unix_socket *s)
{
	const void *data = RTA_DATA(a);
	size_t len = RTA_PAYLOAD(a);
	struct unix_diag_rqlen queue;
	struct unix_diag_vfs vfs;

	switch (a->rta_type) {
	case UNIX_DIAG_NAME:
		copy_name(s->name, sizeof(s->name), data, len);
		break;
	case UNIX_DIAG_PEER:
		if (len >= sizeof(s->peer))
			memcpy(&s->peer, data, sizeof(s->peer));
		break;
	case UNIX_DIAG_RQLEN:
		if (len < sizeof(queue))
			break;
		memcpy(&queue, data, sizeof(queue));
		s->waiting = queue.udiag_rqueue;
		s->backlog = queue.udiag_wqueue;
		break;
	case UNIX_DIAG_VFS:
		if (len < sizeof(vfs))
			break;
		memcpy(&vfs, data, sizeof(vfs));
		s->vfs_ino = vfs.udiag_vfs_ino;
		s->vfs_dev = vfs.udiag_vfs_dev;
		break;
	case UNIX_DIAG_SHUTDOWN:
		s->shutdown = len ? *(const uint8_t *)data : 0;
		break;
	default:
		break;
	}
}

static void parse(const struct nlmsghdr *h, struct cor_unix_socket *s)
{
	const struct unix_diag_msg *m = NLMSG_DATA(h);
	int left = (int)(h->nlmsg_len - NLMSG_LENGTH(sizeof(*m)));

	*s = (struct cor_unix_socket){ .ino = m->udiag_ino };
	for (const struct rtattr *a = (const struct rtattr *)(m + 1); RTA_OK(a, left);
	     a = RTA_NEXT(a, left))
		parse_attribute(a, s);
}

/* Handles one datagram of answers. 1: the walk is over, 0: more to come, -errno. */
static int handle(const char *buf, ssize_t len, bool dump, visit_fn visit, void *arg)
{
	int left = (int)len;

	for (const struct nlmsghdr *h = (const struct nlmsghdr *)buf; NLMSG_OK(h, (unsigned)left);
	     h = NLMSG_NEXT(h, left)) {
		struct cor_unix_socket s;

		if (h->nlmsg_type == NLMSG_DONE)
			return 1;
		if (h->nlmsg_type == NLMSG_ERROR)
			return ((const struct nlmsgerr *)NLMSG_DATA(h))->error;
		if (h->nlmsg_type != SOCK_DIAG_BY_FAMILY)
			continue;
		parse(h, &s);
		if (visit(arg, &s) || !dump)
			return 1;
	}
	return 0;
}

static int ask(uint32_t ino, visit_fn visit, void *arg)
{
	_cleanup_close_ int sock = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);
	bool dump = ino == 0;
	struct {
		struct nlmsghdr h;
		struct unix_diag_req r;
	} request = {
		.h = { .nlmsg_len = sizeof(request), .nlmsg_type = SOCK_DIAG_BY_FAMILY,
		       .nlmsg_flags = NLM_F_REQUEST | (dump ? NLM_F_DUMP : 0) },
		.r = { .sdiag_family = AF_UNIX, .udiag_states = ~0u, .udiag_ino = ino,
		       .udiag_show = SHOW, .udiag_cookie = { ~0u, ~0u } },
	};
	_Alignas(struct nlmsghdr) char buf[32768];

	if (sock < 0 || send(sock, &request, sizeof(request), 0) < 0)
		return -errno;
	for (;;) {
		ssize_t n = recv(sock, buf, sizeof(buf), 0);
		int rc;

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		rc = handle(buf, n, dump, visit, arg);
		if (rc)
			return rc < 0 ? rc : 0;
	}
}

static bool keep(void *arg, const struct cor_unix_socket *s)
{
	*(struct cor_unix_socket *)arg = *s;
	return true;
}

int cor_unix_diag(uint32_t ino, struct cor_unix_socket *out, struct cor_error *err)
{
	struct cor_unix_socket s = { 0 };
	int rc = ask(ino, keep, &s);

	if (rc < 0)
		return cor_fail_code(err, rc, "asking about the UNIX socket with inode %u", ino);
	*out = s;
	return 0;
}

struct bound {
	uint32_t dev, ino;
	bool found;
};

static bool is_bound(void *arg, const struct cor_unix_socket *s)
{
	struct bound *b = arg;

	b->found = s->vfs_ino == b->ino && s->vfs_dev == b->dev;
	return b->found;
}

int cor_unix_diag_is_bound(dev_t dev, ino_t ino)
{
	/* the kernel's own dev_t: 12 bits of major, 20 of minor */
	struct bound b = { .dev = major(dev) << 20 | minor(dev), .ino = (uint32_t)ino };
	int rc = ino ? ask(0, is_bound, &b) : 0;

	return rc < 0 ? rc : b.found;
}
