/* See net/rtnetlink.h. */
#include "libcor/names/net/rtnetlink.h"

#include <errno.h>
#include <linux/netlink.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define ANSWER_ROOM 32768

void cor_rtnl_begin(struct cor_rtnl_request *r, uint16_t type, uint16_t flags, size_t len)
{
	memset(r, 0, sizeof(*r));
	r->h.nlmsg_len = (uint32_t)NLMSG_LENGTH(len);
	r->h.nlmsg_type = type;
	r->h.nlmsg_flags = (uint16_t)(NLM_F_REQUEST | flags);
	r->h.nlmsg_seq = 1;
}

bool cor_rtnl_add(struct cor_rtnl_request *r, uint16_t type, const void *data, size_t len)
{
	size_t at = NLMSG_ALIGN(r->h.nlmsg_len);
	struct rtattr *a = (struct rtattr *)((uint8_t *)r + at);

	if (at + RTA_SPACE(len) > sizeof(*r))
		return false;
	a->rta_type = type;
	a->rta_len = (unsigned short)RTA_LENGTH(len);
	memcpy(RTA_DATA(a), data, len);
	r->h.nlmsg_len = (uint32_t)(at + RTA_LENGTH(len));
	return true;
}

struct rtattr *cor_rtnl_nest(struct cor_rtnl_request *r, uint16_t type)
{
	size_t at = NLMSG_ALIGN(r->h.nlmsg_len);

	return cor_rtnl_add(r, type | NLA_F_NESTED, "", 0) ?
	       (struct rtattr *)((uint8_t *)r + at) : NULL;
}

void cor_rtnl_unnest(struct cor_rtnl_request *r, struct rtattr *nest)
{
	if (nest)
		nest->rta_len = (unsigned short)((uint8_t *)r + r->h.nlmsg_len - (uint8_t *)nest);
}

int cor_rtnl_open(void)
{
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);

	return fd < 0 ? -errno : fd;
}

/* One datagram of answers. 1: the walk is over; 0: more to come; -errno. */
static int handle(const uint8_t *buf, ssize_t len, bool more, cor_rtnl_visit visit, void *arg)
{
	int left = (int)len;

	for (const struct nlmsghdr *h = (const struct nlmsghdr *)buf; NLMSG_OK(h, (unsigned)left);
	     h = NLMSG_NEXT(h, left)) {
		if (h->nlmsg_type == NLMSG_DONE)
			return 1;
		if (h->nlmsg_type == NLMSG_ERROR) {
			int code = ((const struct nlmsgerr *)NLMSG_DATA(h))->error;

			return code ? code : 1;
		}
		if ((visit && visit(arg, h)) || !more)
			return 1;
	}
	return 0;
}

int cor_rtnl_talk(int fd, struct cor_rtnl_request *r, cor_rtnl_visit visit, void *arg)
{
	_Alignas(struct nlmsghdr) uint8_t buf[ANSWER_ROOM];
	bool more = (r->h.nlmsg_flags & (NLM_F_DUMP | NLM_F_ACK)) != 0;

	/* what an earlier walk that was ended has left */
	while (recv(fd, buf, sizeof(buf), MSG_DONTWAIT) > 0)
		;
	if (send(fd, r, r->h.nlmsg_len, 0) < 0)
		return -errno;
	for (;;) {
		ssize_t n = recv(fd, buf, sizeof(buf), 0);
		int rc;

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		rc = handle(buf, n, more, visit, arg);
		if (rc)
			return rc < 0 ? rc : 0;
	}
}

const struct rtattr *cor_rtnl_attribute(const struct nlmsghdr *h, size_t fixed, uint16_t type)
{
	const struct rtattr *a = (const struct rtattr *)((const uint8_t *)NLMSG_DATA(h) +
							 NLMSG_ALIGN(fixed));
	int left = (int)(h->nlmsg_len - NLMSG_SPACE(fixed));

	for (; RTA_OK(a, left); a = RTA_NEXT(a, left))
		if ((a->rta_type & NLA_TYPE_MASK) == type)
			return a;
	return NULL;
}
