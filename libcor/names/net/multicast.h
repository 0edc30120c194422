/* The multicast groups that a host listens to, as /proc/net/igmp and igmp6 list them. */
#pragma once

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>

struct cor_multicast_group {
	unsigned ifindex;
	int      family;        /* AF_INET, AF_INET6 */
	uint8_t  address[16];
};

/* Reads the next group of either text at *cursor and moves *cursor behind its line. g is
 * what the call before has left, zeroed at first: in igmp a line that names an interface
 * stands above those of its groups. 1; 0 at the end. Lines that are neither are skipped. */
int cor_parse_multicast(const char **cursor, struct cor_multicast_group *g);

/* Is the socket fd a member? */
bool cor_multicast_is_member(int fd, const struct cor_multicast_group *g);

void cor_multicast_print(const struct cor_multicast_group *g, char text[INET6_ADDRSTRLEN]);
