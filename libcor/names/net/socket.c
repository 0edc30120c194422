/* See net/socket.h. */
#include "libcor/base/compat.h"
#include "libcor/names/net/socket.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/un.h>

#include "libcor/base/error.h"

static int get_int(int fd, int name, int *out)
{
	socklen_t len = sizeof(*out);

	return getsockopt(fd, SOL_SOCKET, name, out, &len) < 0 ? -errno : 0;
}

int cor_socket_query(int fd, struct cor_socket *out)
{
	struct cor_socket s = { 0 };
	int listening = 0;
	int rc = get_int(fd, SO_DOMAIN, &s.domain);

	if (rc == 0)
		rc = get_int(fd, SO_TYPE, &s.type);
	if (rc == 0)
		rc = get_int(fd, SO_PROTOCOL, &s.protocol);
	if (rc < 0)
		return rc;
	if (get_int(fd, SO_ACCEPTCONN, &listening) == 0)
		s.listening = listening != 0;
	*out = s;
	return 0;
}

static void print_unix(const struct sockaddr_un *sun, socklen_t len, char name[COR_SOCKET_NAME])
{
	size_t path = len > offsetof(struct sockaddr_un, sun_path) ?
		      len - offsetof(struct sockaddr_un, sun_path) : 0;

	if (path == 0)
		snprintf(name, COR_SOCKET_NAME, "(unnamed)");
	else if (sun->sun_path[0] == 0)
		snprintf(name, COR_SOCKET_NAME, "@%.*s", (int)path - 1, sun->sun_path + 1);
	else
		snprintf(name, COR_SOCKET_NAME, "%.*s", (int)path, sun->sun_path);
}

void cor_socket_print(const struct sockaddr_storage *ss, socklen_t len,
		      char name[COR_SOCKET_NAME])
{
	const struct sockaddr_in6 *sin6 = (const struct sockaddr_in6 *)ss;
	const struct sockaddr_in *sin = (const struct sockaddr_in *)ss;
	char text[INET6_ADDRSTRLEN] = "?";

	switch (len < sizeof(sa_family_t) ? AF_UNSPEC : ss->ss_family) {
	case AF_INET:
		inet_ntop(AF_INET, &sin->sin_addr, text, sizeof(text));
		snprintf(name, COR_SOCKET_NAME, "%s:%u", text, ntohs(sin->sin_port));
		break;
	case AF_INET6:
		inet_ntop(AF_INET6, &sin6->sin6_addr, text, sizeof(text));
		snprintf(name, COR_SOCKET_NAME, "[%s]:%u", text, ntohs(sin6->sin6_port));
		break;
	case AF_UNIX:
		print_unix((const struct sockaddr_un *)ss, len, name);
		break;
	default:
		snprintf(name, COR_SOCKET_NAME, "(unnamed)");
	}
}

int cor_socket_address(const struct cor_file_seen *seen, bool peer, ProtobufCBinaryData *out,
		       struct cor_error *err)
{
	struct sockaddr_storage ss;
	socklen_t len = sizeof(ss);
	int rc = peer ? getpeername(seen->dup, (struct sockaddr *)&ss, &len) :
		 getsockname(seen->dup, (struct sockaddr *)&ss, &len);

	if (rc < 0 && peer && errno == ENOTCONN)
		return 0;
	if (rc < 0)
		return cor_fail_errno(err, "descriptor %d: its address", seen->fd);
	return cor_file_bytes(out, &ss, len);
}

int cor_socket_sockaddr(const ProtobufCBinaryData *bytes, struct sockaddr_storage *out,
			socklen_t *len)
{
	if (bytes->len < sizeof(sa_family_t) || bytes->len > sizeof(*out))
		return -EPROTO;
	memset(out, 0, sizeof(*out));
	memcpy(out, bytes->data, bytes->len);
	*len = (socklen_t)bytes->len;
	return 0;
}

void cor_socket_print_bytes(const ProtobufCBinaryData *bytes, char name[COR_SOCKET_NAME])
{
	struct sockaddr_storage ss;
	socklen_t len = 0;

	if (cor_socket_sockaddr(bytes, &ss, &len) < 0)
		len = 0;
	cor_socket_print(&ss, len, name);
}

bool cor_socket_is_on(int fd, int level, int name)
{
	int value = 0;
	socklen_t len = sizeof(value);

	return getsockopt(fd, level, name, &value, &len) == 0 && value;
}

bool cor_socket_has_option(const Cor__Names__OpenFile *file, int level, int name)
{
	for (size_t i = 0; i < file->n_options; i++)
		if (file->options[i]->level == level && file->options[i]->name == name)
			return true;
	return false;
}

int cor_socket_transparent(int fd, int domain, int on)
{
	int r = domain == AF_INET6 ?
		setsockopt(fd, IPPROTO_IPV6, IPV6_TRANSPARENT, &on, sizeof(on)) :
		setsockopt(fd, IPPROTO_IP, IP_TRANSPARENT, &on, sizeof(on));

	return r < 0 ? -errno : 0;
}

int cor_socket_opaque(const Cor__Names__OpenFile *file, int fd)
{
	bool was = file->domain == AF_INET6 ?
		   cor_socket_has_option(file, IPPROTO_IPV6, IPV6_TRANSPARENT) :
		   cor_socket_has_option(file, IPPROTO_IP, IP_TRANSPARENT);

	return was ? 0 : cor_socket_transparent(fd, file->domain, 0);
}

bool cor_socket_is_carried(const Cor__Names__OpenFile *file)
{
	switch (file->domain) {
	case AF_UNIX:
		return file->type == SOCK_STREAM || file->type == SOCK_DGRAM ||
		       file->type == SOCK_SEQPACKET;
	case AF_INET:
	case AF_INET6:
		return file->type == SOCK_STREAM ? file->protocol == 0 ||
		       file->protocol == IPPROTO_TCP || file->protocol == IPPROTO_MPTCP :
		       file->type == SOCK_DGRAM && (file->protocol == 0 ||
						    file->protocol == IPPROTO_UDP);
	default:
		return false;
	}
}

int cor_socket_make(const Cor__Names__OpenFile *file)
{
	int fd;

	if (!cor_socket_is_carried(file))
		return -EPROTONOSUPPORT;
	fd = socket(file->domain, file->type | SOCK_CLOEXEC |
		    (file->flags & O_NONBLOCK ? SOCK_NONBLOCK : 0), file->protocol);
	return fd < 0 ? -errno : fd;
}
