/* See net/udp_special.h. */
#include "libcor/names/net/udp_special.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <string.h>
#include <sys/socket.h>

#include "libcor/base/cleanup.h"
#include "libcor/base/error.h"
#include "libcor/base/io.h"
#include "libcor/names/net/multicast.h"
#include "libcor/names/net/socket.h"

static int refuse(const struct cor_file_seen *seen, const Cor__Names__OpenFile *out,
		  const char *why, struct cor_error *err)
{
	char ours[COR_SOCKET_NAME];

	cor_socket_print_bytes(&out->address, ours);
	return cor_file_refuse(err, seen, "a UDP socket at %s: %s, which is not carried", ours, why);
}

/* No call lists the groups of a socket; but it can be asked for those that this host has. */
static int refuse_groups(const struct cor_file_seen *seen, const Cor__Names__OpenFile *out,
			 const char *list, struct cor_error *err)
{
	_cleanup_free_ char *text = NULL;
	char group[INET6_ADDRSTRLEN], why[INET6_ADDRSTRLEN + 64];
	struct cor_multicast_group g = { 0 };
	const char *at;

	if (cor_slurp(AT_FDCWD, list, &text, NULL) < 0)
		return 0;
	at = text;
	while (cor_parse_multicast(&at, &g) == 1) {
		if (!cor_multicast_is_member(seen->dup, &g))
			continue;
		cor_multicast_print(&g, group);
		snprintf(why, sizeof(why), "it is a member of the multicast group %s", group);
		return refuse(seen, out, why, err);
	}
	return 0;
}

int cor_udp_refuse_special(const struct cor_file_seen *seen, const Cor__Names__OpenFile *out,
			   struct cor_error *err)
{
	int r;

	if (cor_socket_is_on(seen->dup, IPPROTO_UDP, UDP_CORK))
		return refuse(seen, out, "it holds back what it sends (UDP_CORK)", err);
	if (cor_socket_is_on(seen->dup, IPPROTO_UDP, UDP_ENCAP))
		return refuse(seen, out, "it carries packets of the kernel's (UDP_ENCAP)", err);
	if (cor_socket_is_on(seen->dup, SOL_SOCKET, SO_TIMESTAMPING))
		return refuse(seen, out, "it has timestamps reported (SO_TIMESTAMPING)", err);
	/* our thread's namespace is the socket's: else it was refused before */
	r = refuse_groups(seen, out, "/proc/thread-self/net/igmp", err);
	if (r == 0 && out->domain == AF_INET6)
		r = refuse_groups(seen, out, "/proc/thread-self/net/igmp6", err);
	return r;
}
