/* See file_forward_common.h. */
#include "libcor/names/file_forward_common.h"

#include <errno.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "libcor/base/cleanup.h"

bool cor_forward_is_on(const struct cor_file_capture *c, enum cor_mechanism of)
{
	return c->pumps && cor_mechanism_on(c->mechanisms, COR_MECHANISM_PUMP) &&
	       cor_mechanism_on(c->mechanisms, COR_MECHANISM_FORWARD) &&
	       cor_mechanism_on(c->mechanisms, of);
}

bool cor_forward_name(int fd, bool peer, struct cor_inet_addr *out)
{
	struct sockaddr_storage ss;
	socklen_t len = sizeof(ss);
	int r = peer ? getpeername(fd, (struct sockaddr *)&ss, &len) :
		getsockname(fd, (struct sockaddr *)&ss, &len);
	ProtobufCBinaryData bytes = { len, (uint8_t *)&ss };

	return r == 0 && cor_inet_addr_of(&bytes, out) == 0;
}

bool cor_forward_is_away(int fd)
{
	struct stat ours, theirs;
	_cleanup_close_ int ns = ioctl(fd, SIOCGSKNS);

	return ns >= 0 && fstat(ns, &theirs) == 0 && stat("/proc/self/ns/net", &ours) == 0 &&
	       ours.st_ino != theirs.st_ino;
}

int cor_forward_before(const struct cor_file_capture *c, const struct cor_file_seen *seen)
{
	for (size_t i = 0; c->before && i < c->before->n_files; i++) {
		const Cor__Names__OpenFile *f = c->before->files[i];

		if (f->ino == seen->st.st_ino && f->dev == seen->st.st_dev)
			return f->kind == COR__NAMES__FILE_KIND__PUMPED;
	}
	return -ENOENT;
}

bool cor_forward_is_own(const struct cor_file_capture *c, const struct cor_file_seen *seen,
			const struct cor_inet_socket *socket)
{
	const unsigned *indices;

	return socket->ino && cor_file_with_inode(c, seen->st.st_dev, socket->ino, &indices);
}

bool cor_forward_is_of_a_link(const ProtobufCBinaryData *address)
{
	struct sockaddr_in6 sin6;

	if (address->len < sizeof(sin6))
		return false;
	memcpy(&sin6, address->data, sizeof(sin6));
	return sin6.sin6_family == AF_INET6 && IN6_IS_ADDR_LINKLOCAL(&sin6.sin6_addr);
}
