/* The parts of ADDR:PORT; see address.h. */
#include "daemon/address.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include "libcor/transport/tcp.h"

bool cord_address_valid(const char *address)
{
	struct cor_addrport parts;

	return cor_addrport_parse(address, &parts, NULL) == 0;
}

static bool is_loopback(const struct sockaddr *sa)
{
	if (sa->sa_family == AF_INET) {
		const struct sockaddr_in *in = (const struct sockaddr_in *)sa;

		return ntohl(in->sin_addr.s_addr) >> 24 == 127;
	}
	if (sa->sa_family == AF_INET6)
		return IN6_IS_ADDR_LOOPBACK(&((const struct sockaddr_in6 *)sa)->sin6_addr);
	return false;
}

int cord_address_is_loopback(const char *address)
{
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE }, *list;
	struct cor_addrport parts;
	int all = 1;

	if (cor_addrport_parse(address, &parts, NULL) < 0)
		return -EINVAL;
	if (getaddrinfo(parts.host[0] ? parts.host : NULL, parts.port, &hints, &list) != 0)
		return -EADDRNOTAVAIL;
	for (struct addrinfo *a = list; a; a = a->ai_next)
		all &= is_loopback(a->ai_addr);
	freeaddrinfo(list);
	return all;
}
