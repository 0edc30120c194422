/* See pump/tun.h. Every address is one of this host's, so that the socket may name any as
 * its own, but only for what comes from the device. The usual first rule (what is for an
 * address of this host stays here) is taken out: what the socket sends goes by a default
 * route to the device, even to home's own addresses, to itself or to 127.0.0.1. */
#include "libcor/names/pump/tun.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/if_tun.h>
#include <linux/ip.h>
#include <net/if.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "libcor/base/cleanup.h"
#include "libcor/base/error.h"
#include "libcor/base/io.h"
#include "libcor/names/net/rtnetlink.h"

#define DEVICE  "home"
#define MTU     65535u          /* a datagram of any size is one packet */
#define QUEUE   1000u           /* packets that wait to be read; the others are lost */

struct set_up {
	const struct cor_inet_addr *addresses;
	unsigned n;
	int tun;
	uint32_t index;
	int rtnl;
};

static int open_device(struct set_up *s)
{
	struct ifreq ifr = { .ifr_flags = IFF_TUN | IFF_NO_PI | IFF_VNET_HDR };

	strcpy(ifr.ifr_name, DEVICE);
	s->tun = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK);
	if (s->tun < 0 || ioctl(s->tun, TUNSETIFF, &ifr) < 0 ||
	    ioctl(s->tun, TUNSETOFFLOAD, TUN_F_CSUM) < 0)
		return -errno;
	s->index = if_nametoindex(DEVICE);
	return s->index ? 0 : -errno;
}

/* AF_SPEC of a link: one setting of one family. */
static int set_link(struct set_up *s, uint16_t family, uint16_t within, uint16_t name,
		    const void *value, size_t len)
{
	struct cor_rtnl_request r;
	struct rtattr *spec, *of, *inner;

	cor_rtnl_begin(&r, RTM_NEWLINK, NLM_F_ACK, sizeof(r.link));
	r.link = (struct ifinfomsg){ .ifi_index = (int)s->index };
	spec = cor_rtnl_nest(&r, IFLA_AF_SPEC);
	of = cor_rtnl_nest(&r, family);
	inner = within ? cor_rtnl_nest(&r, within) : NULL;
	if (!cor_rtnl_add(&r, name, value, len))
		return -ENOBUFS;
	if (inner)
		cor_rtnl_unnest(&r, inner);
	cor_rtnl_unnest(&r, of);
	cor_rtnl_unnest(&r, spec);
	return cor_rtnl_talk(s->rtnl, &r, NULL, NULL);
}

/* Datagrams of 127.0.0.1 come from outside here, and the device gets no address that
 * nobody has asked for. */
static int bring_up(struct set_up *s)
{
	uint32_t on = 1, mtu = MTU, queue = QUEUE;
	uint8_t none = IN6_ADDR_GEN_MODE_NONE;
	struct cor_rtnl_request r;
	int rc = set_link(s, AF_INET, IFLA_INET_CONF, IPV4_DEVCONF_ROUTE_LOCALNET, &on, sizeof(on));

	if (rc < 0)
		return rc;
	/* a kernel may have no IPv6 */
	set_link(s, AF_INET6, 0, IFLA_INET6_ADDR_GEN_MODE, &none, sizeof(none));
	cor_rtnl_begin(&r, RTM_NEWLINK, NLM_F_ACK, sizeof(r.link));
	r.link = (struct ifinfomsg){ .ifi_index = (int)s->index, .ifi_flags = IFF_UP,
				     .ifi_change = IFF_UP };
	if (!cor_rtnl_add(&r, IFLA_MTU, &mtu, sizeof(mtu)) ||
	    !cor_rtnl_add(&r, IFLA_TXQLEN, &queue, sizeof(queue)))
		return -ENOBUFS;
	return cor_rtnl_talk(s->rtnl, &r, NULL, NULL);
}

static int add_address(struct set_up *s, const struct cor_inet_addr *a)
{
	struct cor_rtnl_request r;

	cor_rtnl_begin(&r, RTM_NEWADDR, NLM_F_ACK | NLM_F_CREATE, sizeof(r.addr));
	r.addr = (struct ifaddrmsg){ .ifa_family = (uint8_t)a->family,
				     .ifa_prefixlen = (uint8_t)(8 * a->len), .ifa_flags = IFA_F_NODAD,
				     .ifa_index = s->index };
	if (!cor_rtnl_add(&r, IFA_LOCAL, a->bytes, a->len) ||
	    !cor_rtnl_add(&r, IFA_ADDRESS, a->bytes, a->len))
		return -ENOBUFS;
	return cor_rtnl_talk(s->rtnl, &r, NULL, NULL);
}

static int add_route(struct set_up *s, int family, uint8_t type, uint8_t scope, uint8_t table)
{
	struct cor_rtnl_request r;

	cor_rtnl_begin(&r, RTM_NEWROUTE, NLM_F_ACK | NLM_F_CREATE, sizeof(r.route));
	r.route = (struct rtmsg){ .rtm_family = (uint8_t)family, .rtm_table = table,
				  .rtm_protocol = RTPROT_STATIC, .rtm_scope = scope,
				  .rtm_type = type };
	if (!cor_rtnl_add(&r, RTA_OIF, &s->index, sizeof(s->index)))
		return -ENOBUFS;
	return cor_rtnl_talk(s->rtnl, &r, NULL, NULL);
}

/* What is local is so for what comes from the device; or the rule goes by which it is for
 * everybody. */
static int change_rule(struct set_up *s, int family, bool add)
{
	uint32_t priority = add ? 1 : 0;
	struct cor_rtnl_request r;

	cor_rtnl_begin(&r, add ? RTM_NEWRULE : RTM_DELRULE,
		       (uint16_t)(NLM_F_ACK | (add ? NLM_F_CREATE : 0)), sizeof(r.rule));
	r.rule = (struct fib_rule_hdr){ .family = (uint8_t)family,
					.table = RT_TABLE_LOCAL,
					.action = FR_ACT_TO_TBL };
	if (!cor_rtnl_add(&r, FRA_PRIORITY, &priority, sizeof(priority)) ||
	    (add && !cor_rtnl_add(&r, FRA_IIFNAME, DEVICE, sizeof(DEVICE))))
		return -ENOBUFS;
	return cor_rtnl_talk(s->rtnl, &r, NULL, NULL);
}

static int route(struct set_up *s, int family)
{
	int r = add_route(s, family, RTN_LOCAL, RT_SCOPE_HOST, RT_TABLE_LOCAL);

	if (r == 0)
		r = add_route(s, family, RTN_UNICAST, RT_SCOPE_LINK, RT_TABLE_MAIN);
	if (r == 0)
		r = change_rule(s, family, true);
	return r < 0 ? r : change_rule(s, family, false);
}

/* Where that cannot be had, a socket that has bound no address cannot choose any (IPv6). */
static void let_choose(void)
{
	_cleanup_close_ int fd = open("/proc/sys/net/ipv6/ip_nonlocal_bind", O_WRONLY | O_CLOEXEC);

	if (fd >= 0)
		cor_write_full(fd, "1", 1);
}

static int set_up(void *arg)
{
	_cleanup_close_ int rtnl = cor_rtnl_open();
	struct set_up *s = arg;
	bool v6 = false;
	int r = rtnl < 0 ? rtnl : open_device(s);

	s->rtnl = rtnl;
	if (r == 0)
		r = bring_up(s);
	for (unsigned i = 0; r == 0 && i < s->n; i++) {
		v6 |= s->addresses[i].family == AF_INET6;
		r = add_address(s, &s->addresses[i]);
	}
	if (r == 0)
		r = route(s, AF_INET);
	if (r < 0)
		return r;
	let_choose();
	/* nobody misses IPv6 where no address is one */
	r = route(s, AF_INET6);
	return v6 ? r : 0;
}

int cor_pump_tun_new(const struct cor_inet_addr *addresses, unsigned n,
		     struct cor_pump_net **net, int *tun, struct cor_error *err)
{
	struct set_up s = { .addresses = addresses, .n = n, .tun = -1 };
	int r = cor_pump_net_make(net, set_up, &s);

	if (r < 0) {
		cor_closep(&s.tun);
		return cor_fail_code(err, r, "a network namespace for UDP that stays at home, with a "
				     "device of /dev/net/tun");
	}
	*tun = s.tun;
	return 0;
}
