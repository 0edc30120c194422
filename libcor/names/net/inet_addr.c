/* See net/inet_addr.h. */
#include "libcor/names/net/inet_addr.h"

#include <errno.h>
#include <string.h>

static const uint8_t mapped[12] = { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff };

int cor_inet_addr_of(const ProtobufCBinaryData *bytes, struct cor_inet_addr *out)
{
	struct cor_inet_addr a = { 0 };
	struct sockaddr_in6 sin6;
	struct sockaddr_in sin;
	sa_family_t family;

	if (bytes->len < sizeof(family))
		return -EPROTO;
	memcpy(&family, bytes->data, sizeof(family));
	if (family != AF_INET && family != AF_INET6)
		return -EAFNOSUPPORT;
	if (bytes->len < (family == AF_INET ? sizeof(sin) : sizeof(sin6)))
		return -EPROTO;
	if (family == AF_INET) {
		memcpy(&sin, bytes->data, sizeof(sin));
		a = (struct cor_inet_addr){ .family = AF_INET, .len = 4, .port = sin.sin_port };
		memcpy(a.bytes, &sin.sin_addr, 4);
	} else {
		memcpy(&sin6, bytes->data, sizeof(sin6));
		a = (struct cor_inet_addr){ .family = AF_INET6, .len = 16, .port = sin6.sin6_port };
		memcpy(a.bytes, &sin6.sin6_addr, 16);
		if (memcmp(a.bytes, mapped, sizeof(mapped)) == 0) {
			a.family = AF_INET;
			a.len = 4;
			memmove(a.bytes, a.bytes + sizeof(mapped), 4);
			memset(a.bytes + 4, 0, 12);
		}
	}
	*out = a;
	return 0;
}

void cor_inet_addr_sockaddr(const struct cor_inet_addr *addr, uint16_t port,
			    struct sockaddr_storage *out, socklen_t *len)
{
	struct sockaddr_in6 *sin6 = (struct sockaddr_in6 *)out;
	struct sockaddr_in *sin = (struct sockaddr_in *)out;

	memset(out, 0, sizeof(*out));
	if (addr->family == AF_INET) {
		sin->sin_family = AF_INET;
		sin->sin_port = port;
		memcpy(&sin->sin_addr, addr->bytes, 4);
		*len = sizeof(*sin);
	} else {
		sin6->sin6_family = AF_INET6;
		sin6->sin6_port = port;
		memcpy(&sin6->sin6_addr, addr->bytes, 16);
		*len = sizeof(*sin6);
	}
}

void cor_inet_addr_wrapped(const struct cor_inet_addr *addr, uint16_t port,
			   struct sockaddr_storage *out, socklen_t *len)
{
	struct cor_inet_addr wrapped = *addr;

	if (addr->family == AF_INET) {
		wrapped.family = AF_INET6;
		wrapped.len = 16;
		memcpy(wrapped.bytes, mapped, sizeof(mapped));
		memcpy(wrapped.bytes + sizeof(mapped), addr->bytes, 4);
	}
	cor_inet_addr_sockaddr(&wrapped, port, out, len);
}

bool cor_inet_addr_same(const struct cor_inet_addr *a, const struct cor_inet_addr *b)
{
	return a->family == b->family && memcmp(a->bytes, b->bytes, a->len) == 0;
}

bool cor_inet_addr_is_any(const struct cor_inet_addr *a)
{
	static const uint8_t zero[16];

	return memcmp(a->bytes, zero, a->len) == 0;
}

bool cor_inet_addr_is_loopback(const struct cor_inet_addr *a)
{
	static const uint8_t one[16] = { [15] = 1 };

	return a->family == AF_INET ? a->bytes[0] == 127 : memcmp(a->bytes, one, 16) == 0;
}
