/* NETLINK_ROUTE requests (rtnetlink(7)), as far as addresses that move, and namespaces of
 * the pump, need them. */
#pragma once

#include <linux/fib_rules.h>
#include <linux/rtnetlink.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A request under construction; attributes are appended. */
struct cor_rtnl_request {
	struct nlmsghdr h;
	union {
		struct ifaddrmsg addr;
		struct ifinfomsg link;
		struct rtmsg     route;
		struct fib_rule_hdr rule;
		uint8_t          room[512];
	};
};

/* len: of the fixed part behind the header. */
void cor_rtnl_begin(struct cor_rtnl_request *r, uint16_t type, uint16_t flags, size_t len);

/* False: no room. */
bool cor_rtnl_add(struct cor_rtnl_request *r, uint16_t type, const void *data, size_t len);

/* What is added between the two is within an attribute of that type. NULL: no room;
 * then what is added behind has none either. */
struct rtattr *cor_rtnl_nest(struct cor_rtnl_request *r, uint16_t type);
void cor_rtnl_unnest(struct cor_rtnl_request *r, struct rtattr *nest);

/* A socket for the calls below, or -errno. */
int cor_rtnl_open(void);

/* Called for each message of the answer; true ends the walk. */
typedef bool (*cor_rtnl_visit)(void *arg, const struct nlmsghdr *h);

/* Sends r and reads the whole answer: of a dump (NLM_F_DUMP), of a request, or the mere
 * acknowledgement (NLM_F_ACK). visit may be NULL. The kernel's -errno. */
int cor_rtnl_talk(int fd, struct cor_rtnl_request *r, cor_rtnl_visit visit, void *arg);

/* The attribute of that type among those behind the fixed part, or NULL. */
const struct rtattr *cor_rtnl_attribute(const struct nlmsghdr *h, size_t fixed, uint16_t type);
