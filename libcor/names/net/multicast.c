/* See net/multicast.h. */
#include "libcor/names/net/multicast.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#define LINE_ROOM 256

/* The text of the line at *cursor, which is moved behind it. False: there is none. */
static bool next_line(const char **cursor, char line[LINE_ROOM])
{
	size_t len = strcspn(*cursor, "\n");

	if (!**cursor)
		return false;
	snprintf(line, LINE_ROOM, "%.*s", (int)(len < LINE_ROOM ? len : LINE_ROOM - 1), *cursor);
	*cursor += len + ((*cursor)[len] == '\n');
	return true;
}

/* "4    eth0            ff0200000000000000000000000000fb     1 ..." */
static bool parse_v6(const char *line, struct cor_multicast_group *g)
{
	struct cor_multicast_group out = { .family = AF_INET6 };
	char digits[33];
	unsigned byte;

	if (sscanf(line, "%9u %*15s %32[0-9a-f]", &out.ifindex, digits) != 2 || strlen(digits) != 32)
		return false;
	for (unsigned i = 0; i < 16; i++) {
		sscanf(digits + 2 * i, "%2x", &byte);
		out.address[i] = (uint8_t)byte;
	}
	*g = out;
	return true;
}

/* "\t\t\t\tFB0000E0     1 ...": the four bytes as a number of this machine's. */
static bool parse_v4(const char *line, struct cor_multicast_group *g)
{
	char digits[9];
	unsigned address;

	if (!isspace((unsigned char)line[0]) || sscanf(line, " %8[0-9A-F]", digits) != 1 ||
	    strlen(digits) != 8)
		return false;
	sscanf(digits, "%x", &address);
	g->family = AF_INET;
	memset(g->address, 0, sizeof(g->address));
	memcpy(g->address, &address, sizeof(address));
	return true;
}

int cor_parse_multicast(const char **cursor, struct cor_multicast_group *g)
{
	char line[LINE_ROOM];

	while (next_line(cursor, line)) {
		unsigned ifindex;

		if (parse_v4(line, g) || parse_v6(line, g))
			return 1;
		if (isdigit((unsigned char)line[0]) && sscanf(line, "%9u", &ifindex) == 1)
			g->ifindex = ifindex;
	}
	return 0;
}

bool cor_multicast_is_member(int fd, const struct cor_multicast_group *g)
{
	struct group_filter f = { .gf_interface = g->ifindex };
	struct sockaddr_in6 *sin6 = (struct sockaddr_in6 *)&f.gf_group;
	struct sockaddr_in *sin = (struct sockaddr_in *)&f.gf_group;
	socklen_t len = GROUP_FILTER_SIZE(0);

	f.gf_group.ss_family = (sa_family_t)g->family;
	if (g->family == AF_INET)
		memcpy(&sin->sin_addr, g->address, sizeof(sin->sin_addr));
	else
		memcpy(&sin6->sin6_addr, g->address, sizeof(sin6->sin6_addr));
	return getsockopt(fd, g->family == AF_INET ? IPPROTO_IP : IPPROTO_IPV6, MCAST_MSFILTER, &f,
			  &len) == 0;
}

void cor_multicast_print(const struct cor_multicast_group *g, char text[INET6_ADDRSTRLEN])
{
	if (!inet_ntop(g->family, g->address, text, INET6_ADDRSTRLEN))
		text[0] = 0;
}
