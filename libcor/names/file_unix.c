/* UNIX sockets that are not connected: listening, or bound, or neither.
 *
 * A path is bound again on the destination; a socket file that is there already
 * is removed only when no socket is behind it any more. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "libcor/base/cleanup.h"
#include "libcor/base/error.h"
#include "libcor/names/file_socket.h"
#include "libcor/names/net/sock_diag.h"
#include "libcor/names/net/socket.h"
#include "libcor/names/net/socket_options.h"
#include "libcor/names/net/socket_unread.h"

#define NAME_START offsetof(struct sockaddr_un, sun_path)

static int recognise(const struct cor_file_capture *c, const struct cor_file_seen *seen)
{
	struct cor_socket s;

	/* connected ones are file_socketpair.c's */
	if (!S_ISSOCK(seen->st.st_mode) || cor_socket_query(seen->dup, &s) < 0 ||
	    s.domain != AF_UNIX)
		return -1;
	return COR__NAMES__FILE_KIND__UNIX;
}

/* The path it is bound to; NULL: an abstract name, or none. */
static const char *path_of(const struct sockaddr_storage *ss, socklen_t len, char path[PATH_MAX])
{
	const struct sockaddr_un *sun = (const struct sockaddr_un *)ss;

	if (len <= NAME_START || sun->sun_path[0] == 0)
		return NULL;
	snprintf(path, PATH_MAX, "%.*s", (int)(len - NAME_START), sun->sun_path);
	return path;
}

/* What of the socket file must be made again: its permissions and owner. */
static int capture_node(struct cor_file_capture *c, const struct cor_file_seen *seen,
			const struct cor_unix_socket *s, const char *path,
			Cor__Names__OpenFile *out, struct cor_error *err)
{
	char full[PATH_MAX];
	struct stat st;

	if (path[0] != '/')
		return cor_file_refuse(err, seen, "a UNIX socket with the relative path %s: only "
				       "absolute ones are carried", path);
	snprintf(full, sizeof(full), "/proc/%d/root%.*s", (int)c->pid, PATH_MAX - 40, path);
	if (lstat(full, &st) < 0 || !S_ISSOCK(st.st_mode) || (uint32_t)st.st_ino != s->vfs_ino) {
		out->deleted = true;
		return 0;
	}
	out->node_mode = st.st_mode & 07777;
	out->uid = st.st_uid;
	out->gid = st.st_gid;
	return 0;
}

static int capture_queue(const struct cor_file_seen *seen, Cor__Names__OpenFile *out,
			 struct cor_error *err)
{
	int rc = cor_socket_unread_capture(seen, out, err);

	for (size_t i = 0; i < out->n_unread && rc == 0; i++)
		if (out->unread[i]->address.len)
			return cor_file_refuse(err, seen, "a UNIX datagram socket with a message "
					       "waiting whose sender has a name: that is not carried");
	return rc;
}

static int capture(struct cor_file_capture *c, const struct cor_file_seen *seen,
		   Cor__Names__OpenFile *out, struct cor_error *err)
{
	struct cor_unix_socket s;
	struct sockaddr_storage ss;
	char buf[PATH_MAX];
	uint64_t in_flight = 0;
	const char *path;
	socklen_t len;
	int rc = cor_socket_capture(c, seen, out, err);

	if (rc == 0)
		rc = cor_socket_address(seen, false, &out->address, err);
	if (rc == 0)
		rc = cor_unix_diag((uint32_t)seen->st.st_ino, &s, err);
	if (rc == 0)
		rc = cor_socket_sockaddr(&out->address, &ss, &len);
	if (rc < 0)
		return rc;
	if (cor_fdinfo_u64(seen->info, "scm_fds:", 10, &in_flight) == 0 && in_flight)
		return cor_file_refuse(err, seen, "a UNIX socket with %llu descriptors on their way to "
				       "it (SCM_RIGHTS): these are not carried",
				       (unsigned long long)in_flight);
	path = path_of(&ss, len, buf);
	if (path)
		rc = capture_node(c, seen, &s, path, out, err);
	if (rc < 0)
		return rc;
	out->backlog = out->listening ? (int32_t)s.backlog : 0;
	if (out->listening && s.waiting && c->with_content)
		return cor_file_refuse(err, seen, "a UNIX socket listening on %s with %u connections "
				       "that are not accepted yet: these are not carried", s.name,
				       s.waiting);
	if (out->type == SOCK_DGRAM && c->with_content)
		return capture_queue(seen, out, err);
	return 0;
}

/* --- the destination --------------------------------------------------------- */

/* Is a socket behind the socket file? Asks sock_diag first, which disturbs no
 * listener; connecting tells of those in other network namespaces. */
static bool is_alive(const Cor__Names__OpenFile *file, const struct stat *st,
		     const struct sockaddr_storage *ss, socklen_t len)
{
	_cleanup_close_ int fd = -1;

	if (cor_unix_diag_is_bound(st->st_dev, st->st_ino) != 0)
		return true;
	fd = socket(AF_UNIX, file->type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	return fd < 0 || connect(fd, (const struct sockaddr *)ss, len) == 0 || errno != ECONNREFUSED;
}

/* Can the path be bound? *stale: a dead socket file must be removed first. */
static int check_path(const struct cor_file_place *place, unsigned index, const char *path,
		      const struct sockaddr_storage *ss, socklen_t len, bool *stale,
		      struct cor_error *err)
{
	const Cor__Names__OpenFile *file = cor_file_at(place, index);
	int number = cor_file_number(place->table, index);
	_cleanup_free_ char *dir = strdup(path);
	struct stat st;

	*stale = false;
	if (!dir)
		return -ENOMEM;
	if (lstat(path, &st) == 0) {
		if (!S_ISSOCK(st.st_mode) || file->deleted)
			return cor_fail(err, -EADDRINUSE, "descriptor %d: the path of its UNIX socket, "
					"%s, is taken here", number, path);
		if (is_alive(file, &st, ss, len))
			return cor_fail(err, -EADDRINUSE, "descriptor %d: the UNIX socket %s is in use "
					"here by another process", number, path);
		*stale = true;
		return 0;
	}
	*(strrchr(dir, '/') ? strrchr(dir, '/') + 1 : dir) = 0;
	if (access(dir, W_OK) < 0)
		return cor_fail_errno(err, "descriptor %d: the directory of its UNIX socket, %s",
				      number, dir);
	return 0;
}

static int check_abstract(const Cor__Names__OpenFile *file, int number,
			  const struct sockaddr_storage *ss, socklen_t len, struct cor_error *err)
{
	_cleanup_close_ int fd = socket(AF_UNIX, file->type | SOCK_CLOEXEC, 0);
	char name[COR_SOCKET_NAME];

	if (fd >= 0 && bind(fd, (const struct sockaddr *)ss, len) == 0)
		return 0;
	cor_socket_print(ss, len, name);
	return cor_fail_errno(err, "descriptor %d: the UNIX socket %s cannot be had here", number,
			      name);
}

static int check_address(const struct cor_file_place *place, unsigned index, bool *stale,
			 struct sockaddr_storage *ss, socklen_t *len, struct cor_error *err)
{
	const Cor__Names__OpenFile *file = cor_file_at(place, index);
	int number = cor_file_number(place->table, index);
	char buf[PATH_MAX];
	const char *path;
	int rc = cor_socket_sockaddr(&file->address, ss, len);

	*stale = false;
	if (file->domain != AF_UNIX || !cor_socket_is_carried(file))
		return cor_fail(err, -EPROTONOSUPPORT, "descriptor %d is no UNIX socket (family %d, "
				"type %d)", number, file->domain, file->type);
	if (rc < 0)
		return cor_fail(err, rc, "descriptor %d: its address is wrong", number);
	path = path_of(ss, *len, buf);
	if (path)
		return check_path(place, index, path, ss, *len, stale, err);
	return *len > NAME_START ? check_abstract(file, number, ss, *len, err) : 0;
}

static int check(const struct cor_file_place *place, unsigned index, struct cor_error *err)
{
	struct sockaddr_storage ss;
	socklen_t len;
	bool stale;
	int rc = check_address(place, index, &stale, &ss, &len, err);

	/* the task itself has it, and gives it up when it moves; not so an abstract name */
	return rc == -EADDRINUSE && cor_file_at(place, index)->node_mode &&
	       cor_file_is_source(place, index) ? 0 : rc;
}

static int bind_again(const struct cor_file_place *place, unsigned index, int fd,
		      struct cor_error *err)
{
	const Cor__Names__OpenFile *file = cor_file_at(place, index);
	int number = cor_file_number(place->table, index);
	struct sockaddr_storage ss;
	char name[COR_SOCKET_NAME], buf[PATH_MAX];
	const char *path;
	socklen_t len;
	bool stale;
	int rc = check_address(place, index, &stale, &ss, &len, err);

	if (rc < 0 || len <= NAME_START)
		return rc;
	path = path_of(&ss, len, buf);
	cor_socket_print(&ss, len, name);
	if (stale && unlink(path) < 0)
		return cor_fail_errno(err, "descriptor %d: removing the dead socket file %s", number,
				      path);
	if (bind(fd, (struct sockaddr *)&ss, len) < 0)
		return cor_fail_errno(err, "descriptor %d: the UNIX socket %s cannot be had here",
				      number, name);
	if (path && file->deleted)
		rc = unlink(path);
	else if (path)
		rc = chmod(path, file->node_mode) < 0 ? -1 : lchown(path, file->uid, file->gid);
	return rc < 0 ? cor_fail_errno(err, "descriptor %d: the socket file %s", number, name) : 0;
}

/* Messages of unnamed senders are sent again by an unnamed sender. */
static int fill(const Cor__Names__OpenFile *file, int fd, int number, struct cor_error *err)
{
	_cleanup_close_ int sender = -1;
	struct sockaddr_storage ss;
	socklen_t len = sizeof(ss);
	int rc;

	if (file->n_unread == 0)
		return 0;
	sender = socket(AF_UNIX, file->type | SOCK_CLOEXEC, 0);
	if (sender < 0 || getsockname(fd, (struct sockaddr *)&ss, &len) < 0 ||
	    connect(sender, (struct sockaddr *)&ss, len) < 0)
		return cor_fail_errno(err, "descriptor %d: a sender for its messages", number);
	rc = cor_socket_unread_send(file, sender);
	return rc < 0 ? cor_fail_code(err, rc, "descriptor %d: its messages", number) : 0;
}

static int restore(struct cor_file_restore *r, unsigned index, struct cor_error *err)
{
	const Cor__Names__OpenFile *file = cor_file_at(&r->place, index);
	int number = cor_file_number(r->place.table, index);
	_cleanup_close_ int fd = cor_socket_make(file);
	int rc;

	if (fd < 0)
		return cor_fail_code(err, fd, "descriptor %d: a UNIX socket", number);
	rc = cor_socket_options_set(file, fd, true, number, err);
	if (rc == 0)
		rc = bind_again(&r->place, index, fd, err);
	if (rc == 0)
		rc = cor_socket_options_set(file, fd, false, number, err);
	if (rc == 0)
		rc = fill(file, fd, number, err);
	if (rc == 0 && file->listening && listen(fd, file->backlog) < 0)
		rc = cor_fail_errno(err, "descriptor %d: listening", number);
	return rc < 0 ? rc : cor_file_made(r, index, take_fd(&fd), "the socket", err);
}

/* The socket file is moved aside, where it can be moved back from. */
static int park(int dup, const Cor__Names__OpenFile *file, enum cor_file_parking what)
{
	char path[PATH_MAX], aside[PATH_MAX + 32];
	struct sockaddr_storage ss;
	socklen_t len;

	if (file->deleted || cor_socket_sockaddr(&file->address, &ss, &len) < 0 ||
	    !path_of(&ss, len, path))
		return 0;
	snprintf(aside, sizeof(aside), "%s.cor-%llu", path, (unsigned long long)file->ino);
	switch (what) {
	case COR_FILE_PARK:
		return rename(path, aside) < 0 ? -errno : 0;
	case COR_FILE_UNPARK:
		return rename(aside, path) < 0 ? -errno : 0;
	case COR_FILE_PARK_NETNS:
		return 0;
	default:
		return unlink(aside) < 0 ? -errno : 0;
	}
}

const struct cor_file_ops cor_file_unix = {
	.recognise = recognise,
	.capture   = capture,
	.check     = check,
	.restore   = restore,
	.park      = park,
	.mechanism = COR_MECHANISM_SOCKETS,
	.kinds     = 1u << COR__NAMES__FILE_KIND__UNIX,
};
