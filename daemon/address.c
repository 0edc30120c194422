/* The parts of ADDR:PORT; see address.h. */
#include "daemon/address.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define HOST_SIZE 256

static int split(const char *address, char host[HOST_SIZE], const char **port)
{
	const char *colon = strrchr(address, ':'), *start = address;
	size_t len;

	if (!colon || colon == address)
		return -EINVAL;
	len = (size_t)(colon - address);
	if (*start == '[') {
		if (len < 3 || colon[-1] != ']')
			return -EINVAL;
		start++;
		len -= 2;
	} else if (memchr(start, ':', len)) {
		return -EINVAL;         /* an IPv6 address without its brackets */
	}
	if (len >= HOST_SIZE)
		return -EINVAL;
	memcpy(host, start, len);
	host[len] = 0;
	*port = colon + 1;
	return 0;
}

static bool port_valid(const char *port)
{
	size_t len = strspn(port, "0123456789");

	return len >= 1 && len <= 5 && !port[len] && atoi(port) <= 65535;
}

bool cord_address_valid(const char *address)
{
	char host[HOST_SIZE];
	const char *port;

	return split(address, host, &port) == 0 && port_valid(port) && !strpbrk(host, " \t/");
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
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM }, *list;
	char host[HOST_SIZE];
	const char *port;
	int all = 1;

	if (split(address, host, &port) < 0)
		return -EINVAL;
	if (getaddrinfo(host, port, &hints, &list) != 0)
		return -EADDRNOTAVAIL;
	for (struct addrinfo *a = list; a; a = a->ai_next)
		all &= is_loopback(a->ai_addr);
	freeaddrinfo(list);
	return all;
}
