/* Addresses of interfaces by rtnetlink(7); see net/address.h. */
#include "libcor/names/net/address.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_addr.h>
#include <linux/if_arp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "libcor/base/cleanup.h"
#include "libcor/base/error.h"
#include "libcor/base/io.h"

/* Of an address's flags, what someone has chosen and the kernel does not find out. */
#define KEPT_FLAGS (IFA_F_NODAD | IFA_F_NOPREFIXROUTE | IFA_F_MCAUTOJOIN | IFA_F_HOMEADDRESS)

/* ---- as text ------------------------------------------------------------------ */

int cor_address_parse(const char *text, struct cor_address *out, struct cor_error *err)
{
	struct cor_address a = { 0 };
	char host[INET6_ADDRSTRLEN + 1], *end;
	const char *slash = strchr(text, '/'), *at = strchr(text, '@');
	unsigned long prefix;

	if (!slash || (size_t)(slash - text) >= sizeof(host) || (at && at < slash))
		return cor_fail(err, -EINVAL, "\"%s\" is no ADDR/PREFIX or ADDR/PREFIX@INTERFACE",
				text);
	memcpy(host, text, (size_t)(slash - text));
	host[slash - text] = 0;
	if (inet_pton(AF_INET, host, a.host.bytes) == 1) {
		a.host.family = AF_INET;
		a.host.len = 4;
	} else if (inet_pton(AF_INET6, host, a.host.bytes) == 1) {
		a.host.family = AF_INET6;
		a.host.len = 16;
	} else {
		return cor_fail(err, -EINVAL, "\"%s\" is no IPv4 or IPv6 address", host);
	}
	prefix = strtoul(slash + 1, &end, 10);
	if (end == slash + 1 || (*end && end != at) || prefix == 0 || prefix > a.host.len * 8)
		return cor_fail(err, -EINVAL, "\"%s\": the length of the prefix must be 1 to %u", text,
				a.host.len * 8);
	a.prefix = (unsigned)prefix;
	if (at && (!at[1] || strlen(at + 1) >= sizeof(a.ifname)))
		return cor_fail(err, -EINVAL, "\"%s\": \"%s\" is no interface's name", text, at + 1);
	if (at)
		strcpy(a.ifname, at + 1);
	if (cor_inet_addr_is_any(&a.host) || cor_inet_addr_is_loopback(&a.host) ||
	    (a.host.family == AF_INET6 && a.host.bytes[0] == 0xfe && (a.host.bytes[1] & 0xc0) == 0x80))
		return cor_fail(err, -EINVAL, "%s is every host's own: it cannot move", host);
	*out = a;
	return 0;
}

void cor_address_print(const struct cor_address *a, char text[COR_ADDRESS_TEXT])
{
	char host[INET6_ADDRSTRLEN] = "?";

	inet_ntop(a->host.family, a->host.bytes, host, sizeof(host));
	snprintf(text, COR_ADDRESS_TEXT, "%s/%u%s%s", host, a->prefix, a->ifname[0] ? "@" : "",
		 a->ifname);
}

/* ---- what there is --------------------------------------------------------------- */

static bool in_network(const struct cor_address *a, const uint8_t *bytes)
{
	unsigned whole = a->prefix / 8, rest = a->prefix % 8;

	if (memcmp(a->host.bytes, bytes, whole))
		return false;
	return rest == 0 || ((a->host.bytes[whole] ^ bytes[whole]) & (0xff << (8 - rest)) & 0xff) == 0;
}

/* A walk over this host's addresses. */
struct walk {
	struct cor_address *a;
	const struct cor_inet_addr *via;
	unsigned found_prefix;          /* of a itself, 0: not seen */
	unsigned network_ifindex;       /* has another address of a's network */
	unsigned via_ifindex;
	unsigned followers;             /* addresses that would go with a */
	bool     no_room;
};

static uint32_t flags_of(const struct nlmsghdr *h, const struct ifaddrmsg *m)
{
	const struct rtattr *flags = cor_rtnl_attribute(h, sizeof(*m), IFA_FLAGS);
	uint32_t value = m->ifa_flags;

	if (flags && RTA_PAYLOAD(flags) >= sizeof(value))
		memcpy(&value, RTA_DATA(flags), sizeof(value));
	return value;
}

/* It was this host's before: IPv6 need not ask around whether another one has it. */
static void back_at_once(struct cor_rtnl_request *back)
{
	const struct rtattr *a = cor_rtnl_attribute(&back->h, sizeof(back->addr), IFA_FLAGS);
	uint32_t flags;

	if (back->addr.ifa_family != AF_INET6 || !a || RTA_PAYLOAD(a) < sizeof(flags))
		return;
	memcpy(&flags, RTA_DATA(a), sizeof(flags));
	flags |= IFA_F_NODAD;
	memcpy((void *)RTA_DATA(a), &flags, sizeof(flags));
}

/* The message that tells of an address is, but for its type, the one that makes it. */
static bool keep(struct walk *w, const struct nlmsghdr *h, const struct ifaddrmsg *m)
{
	struct cor_rtnl_request *back = &w->a->back;

	if (h->nlmsg_len > sizeof(*back))
		return false;
	memset(back, 0, sizeof(*back));
	memcpy(back, h, h->nlmsg_len);
	back->h.nlmsg_type = RTM_NEWADDR;
	back->h.nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL;
	back->h.nlmsg_pid = 0;
	back_at_once(back);
	w->found_prefix = m->ifa_prefixlen;
	w->a->ifindex = m->ifa_index;
	w->a->flags = flags_of(h, m) & KEPT_FLAGS;
	w->a->scope = m->ifa_scope;
	return true;
}

static bool look(void *arg, const struct nlmsghdr *h)
{
	const struct ifaddrmsg *m = NLMSG_DATA(h);
	const struct rtattr *addr;
	struct walk *w = arg;

	if (h->nlmsg_type != RTM_NEWADDR)
		return false;
	addr = cor_rtnl_attribute(h, sizeof(*m), IFA_LOCAL);
	if (!addr)
		addr = cor_rtnl_attribute(h, sizeof(*m), IFA_ADDRESS);
	if (!addr)
		return false;
	if (w->via && m->ifa_family == w->via->family && RTA_PAYLOAD(addr) == w->via->len &&
	    memcmp(RTA_DATA(addr), w->via->bytes, w->via->len) == 0)
		w->via_ifindex = m->ifa_index;
	if (m->ifa_family != w->a->host.family || RTA_PAYLOAD(addr) != w->a->host.len)
		return false;
	if (memcmp(RTA_DATA(addr), w->a->host.bytes, w->a->host.len) == 0)
		w->no_room = !keep(w, h, m);
	else if (in_network(w->a, RTA_DATA(addr)) && !w->network_ifindex)
		w->network_ifindex = m->ifa_index;
	return false;
}

static bool count_followers(void *arg, const struct nlmsghdr *h)
{
	const struct ifaddrmsg *m = NLMSG_DATA(h);
	const struct rtattr *addr = cor_rtnl_attribute(h, sizeof(*m), IFA_LOCAL);
	struct walk *w = arg;

	if (addr && m->ifa_index == w->a->ifindex && m->ifa_prefixlen == w->a->prefix &&
	    RTA_PAYLOAD(addr) == w->a->host.len && in_network(w->a, RTA_DATA(addr)) &&
	    flags_of(h, m) & IFA_F_SECONDARY)
		w->followers++;
	return false;
}

static int walk(struct walk *w, int rtnl, uint8_t family, cor_rtnl_visit visit,
		struct cor_error *err)
{
	struct cor_rtnl_request r;
	int rc;

	cor_rtnl_begin(&r, RTM_GETADDR, NLM_F_DUMP, sizeof(r.addr));
	r.addr.ifa_family = family;
	rc = cor_rtnl_talk(rtnl, &r, visit, w);
	return rc < 0 ? cor_fail_code(err, rc, "reading this host's addresses") : 0;
}

/* Takes name and hardware address from what RTM_GETLINK tells. */
static bool read_link(void *arg, const struct nlmsghdr *h)
{
	const struct ifinfomsg *m = NLMSG_DATA(h);
	const struct rtattr *name = cor_rtnl_attribute(h, sizeof(*m), IFLA_IFNAME);
	const struct rtattr *hw = cor_rtnl_attribute(h, sizeof(*m), IFLA_ADDRESS);
	struct cor_address *a = arg;

	if (h->nlmsg_type != RTM_NEWLINK)
		return false;
	if (name)
		snprintf(a->ifname, sizeof(a->ifname), "%s", (const char *)RTA_DATA(name));
	if (m->ifi_type == ARPHRD_ETHER && hw && RTA_PAYLOAD(hw) == sizeof(a->hwaddr) &&
	    m->ifi_flags & IFF_UP)
		memcpy(a->hwaddr, RTA_DATA(hw), sizeof(a->hwaddr));
	return true;
}

static int find_link(struct cor_address *a, int rtnl, struct cor_error *err)
{
	static const uint8_t none[6];
	char wanted[IF_NAMESIZE];
	struct cor_rtnl_request r;
	int rc;

	memcpy(wanted, a->ifname, sizeof(wanted));
	cor_rtnl_begin(&r, RTM_GETLINK, 0, sizeof(r.link));
	r.link.ifi_index = (int)a->ifindex;
	memset(a->hwaddr, 0, sizeof(a->hwaddr));
	rc = cor_rtnl_talk(rtnl, &r, read_link, a);
	if (rc < 0)
		return cor_fail_code(err, rc, "interface %s", wanted);
	if (memcmp(a->hwaddr, none, sizeof(none)) == 0)
		return cor_fail(err, -EOPNOTSUPP, "interface %s is no Ethernet, or it is down: no "
				"address can move from or to it", a->ifname);
	return 0;
}

/* Does the kernel keep the other addresses of a network when its first one goes? */
static bool promotes(const char *ifname)
{
	const char *names[] = { "all", ifname };

	for (unsigned i = 0; i < ARRAY_SIZE(names); i++) {
		_cleanup_free_ char *text = NULL;
		char path[96];

		snprintf(path, sizeof(path), "/proc/sys/net/ipv4/conf/%s/promote_secondaries",
			 names[i]);
		if (cor_slurp(AT_FDCWD, path, &text, NULL) == 0 && text[0] == '1')
			return true;
	}
	return false;
}

int cor_address_locate(struct cor_address *a, int rtnl, struct cor_error *err)
{
	struct cor_address found = *a;
	struct walk w = { .a = &found };
	char text[COR_ADDRESS_TEXT];
	int r = walk(&w, rtnl, AF_UNSPEC, look, err);

	found.ifname[0] = 0;    /* what was given is the destination's */
	cor_address_print(a, text);
	if (r < 0)
		return r;
	if (!w.found_prefix)
		return cor_fail(err, -EADDRNOTAVAIL, "%s is no address of this host", text);
	if (w.found_prefix != a->prefix)
		return cor_fail(err, -EADDRNOTAVAIL, "%s has a prefix of %u bits on this host", text,
				w.found_prefix);
	if (w.no_room)
		return cor_fail(err, -EOPNOTSUPP, "%s has more attributes than are known", text);
	r = find_link(&found, rtnl, err);
	if (r == 0 && a->host.family == AF_INET)
		r = walk(&w, rtnl, AF_INET, count_followers, err);
	if (r < 0)
		return r;
	if (w.followers && !(found.back.addr.ifa_flags & IFA_F_SECONDARY) && !promotes(found.ifname))
		return cor_fail(err, -EOPNOTSUPP, "%s is the first address of its network on %s: "
				"without it the kernel would remove the %u others too (unless "
				"net.ipv4.conf.%s.promote_secondaries is 1)", text, found.ifname,
				w.followers, found.ifname);
	*a = found;
	return 0;
}

int cor_address_place(struct cor_address *a, int rtnl, const struct cor_inet_addr *via,
		      struct cor_error *err)
{
	struct cor_address chosen = *a;
	struct walk w = { .a = &chosen, .via = via };
	char text[COR_ADDRESS_TEXT];
	int r = walk(&w, rtnl, AF_UNSPEC, look, err);

	cor_address_print(a, text);
	if (r < 0)
		return r;
	if (w.found_prefix)
		return cor_fail(err, -EADDRINUSE, "%s is an address of this host already", text);
	chosen.flags = a->flags;
	chosen.scope = a->scope;
	if (a->ifname[0])
		chosen.ifindex = if_nametoindex(a->ifname);
	else
		chosen.ifindex = w.network_ifindex ? w.network_ifindex : w.via_ifindex;
	if (!chosen.ifindex && a->ifname[0])
		return cor_fail(err, -ENODEV, "%s: there is no interface %s here", text, a->ifname);
	if (!chosen.ifindex)
		return cor_fail(err, -ENODEV, "%s: no interface here is in its network; name one "
				"(ADDR/PREFIX@INTERFACE)", text);
	r = find_link(&chosen, rtnl, err);
	if (r == 0)
		*a = chosen;
	return r;
}

/* ---- changing ---------------------------------------------------------------------- */

static void begin(struct cor_rtnl_request *r, const struct cor_address *a, uint16_t type,
		  uint16_t flags)
{
	cor_rtnl_begin(r, type, (uint16_t)(NLM_F_ACK | flags), sizeof(r->addr));
	r->addr.ifa_family = (uint8_t)a->host.family;
	r->addr.ifa_prefixlen = (uint8_t)a->prefix;
	r->addr.ifa_index = a->ifindex;
	r->addr.ifa_scope = a->scope;
	cor_rtnl_add(r, IFA_LOCAL, a->host.bytes, a->host.len);
	cor_rtnl_add(r, IFA_ADDRESS, a->host.bytes, a->host.len);
}

static int finish(struct cor_rtnl_request *r, const struct cor_address *a, int rtnl,
		  const char *what, struct cor_error *err)
{
	char text[COR_ADDRESS_TEXT];
	int rc = cor_rtnl_talk(rtnl, r, NULL, NULL);

	if (rc == 0)
		return 0;
	cor_address_print(a, text);
	return cor_fail_code(err, rc, "%s %s", what, text);
}

int cor_address_add(const struct cor_address *a, int rtnl, struct cor_error *err)
{
	struct cor_rtnl_request r;
	/* nobody else has it: IPv6 need not ask around for a second first */
	uint32_t flags = (a->flags & KEPT_FLAGS) | (a->host.family == AF_INET6 ? IFA_F_NODAD : 0);
	uint8_t last[4];

	begin(&r, a, RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL);
	cor_rtnl_add(&r, IFA_FLAGS, &flags, sizeof(flags));
	if (a->host.family == AF_INET && a->prefix < 31) {
		uint32_t host;

		memcpy(&host, a->host.bytes, sizeof(host));
		host |= htonl(UINT32_MAX >> a->prefix);
		memcpy(last, &host, sizeof(last));
		cor_rtnl_add(&r, IFA_BROADCAST, last, sizeof(last));
	}
	return finish(&r, a, rtnl, "adding the address", err);
}

int cor_address_remove(const struct cor_address *a, int rtnl, struct cor_error *err)
{
	struct cor_rtnl_request r;

	begin(&r, a, RTM_DELADDR, 0);
	return finish(&r, a, rtnl, "removing the address", err);
}

int cor_address_put_back(const struct cor_address *a, int rtnl, struct cor_error *err)
{
	struct cor_rtnl_request r = a->back;

	return finish(&r, a, rtnl, "putting the address back:", err);
}
