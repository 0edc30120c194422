/* An address that moves along with a task: a floating one, which one host of a network
 * has at a time ("10.0.0.5/24", "fd00::5/64@eth1").
 *
 * The source removes it while the task stands still; the destination adds it behind
 * COMMIT, right before the task goes on, and tells the network. In between nobody has
 * it: nobody answers a packet, so that nothing is reset and all is sent again. Before
 * COMMIT the source puts it back if the task stays.
 */
#pragma once

#include <cor/error.h>
#include <net/if.h>
#include <stdbool.h>
#include <stdint.h>

#include "libcor/names/net/inet_addr.h"
#include "libcor/names/net/rtnetlink.h"

#define COR_ADDRESS_TEXT 80

struct cor_address {
	struct cor_inet_addr host;      /* port: 0 */
	unsigned prefix;
	char     ifname[IF_NAMESIZE];   /* "": to be found out */
	/* where it is, or is to be */
	unsigned ifindex;
	uint8_t  hwaddr[6];
	uint32_t flags;                 /* IFA_F_*, those that are the administrator's */
	uint8_t  scope;
	struct cor_rtnl_request back;   /* what puts it back as it was */
};

/* "ADDR/PREFIX[@IFACE]". -EINVAL with what is wrong. */
int cor_address_parse(const char *text, struct cor_address *out, struct cor_error *err);

/* "10.0.0.5/24@eth0"; without the interface where none is known. */
void cor_address_print(const struct cor_address *a, char text[COR_ADDRESS_TEXT]);

/* The source: finds it on this host. rtnl: of cor_rtnl_open(). -EADDRNOTAVAIL: it is
 * not this host's, or has another prefix; -EOPNOTSUPP: it cannot leave, with why. */
int cor_address_locate(struct cor_address *a, int rtnl, struct cor_error *err);

/* The destination: chooses the interface, if a does not name it: the one that has
 * another address of the same network, or else the one with the address via (NULL
 * allowed). -EADDRINUSE: it is here already; -ENODEV, -ENETDOWN, -EOPNOTSUPP. */
int cor_address_place(struct cor_address *a, int rtnl, const struct cor_inet_addr *via,
		      struct cor_error *err);

int cor_address_add(const struct cor_address *a, int rtnl, struct cor_error *err);
int cor_address_remove(const struct cor_address *a, int rtnl, struct cor_error *err);
int cor_address_put_back(const struct cor_address *a, int rtnl, struct cor_error *err);

/* A socket for cor_address_announce(), or -errno. Closing it waits for tens of
 * milliseconds (synchronize_net): not where anybody waits for us. */
int cor_address_announcer(void);

/* Tells the network where the address is now: gratuitous ARP, or an unsolicited
 * neighbour advertisement. It must be here. */
int cor_address_announce(const struct cor_address *a, int announcer, struct cor_error *err);
