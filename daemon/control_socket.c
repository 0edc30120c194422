/* Making the control socket; see control_socket.h. */
#include "daemon/control_socket.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "libcor/base/cleanup.h"
#include "libcor/base/error.h"

#define BACKLOG 64

/* 0: there is nothing (any more) at this path. */
static int remove_stale(const char *path, const struct sockaddr_un *sa, struct cor_error *err)
{
	_cleanup_close_ int probe = -1;
	struct stat st;

	if (lstat(path, &st) < 0)
		return errno == ENOENT ? 0 : cor_fail_errno(err, "the control socket %s", path);
	if (!S_ISSOCK(st.st_mode))
		return cor_fail(err, -EEXIST, "%s is there already and is no socket", path);
	probe = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (probe < 0)
		return cor_fail_errno(err, "a socket");
	if (connect(probe, (const struct sockaddr *)sa, sizeof(*sa)) == 0 || errno == EAGAIN)
		return cor_fail(err, -EADDRINUSE, "another cord serves %s already", path);
	if (errno != ECONNREFUSED)
		return cor_fail_errno(err, "whether somebody serves %s is not known", path);
	if (unlink(path) < 0 && errno != ENOENT)
		return cor_fail_errno(err, "the stale socket %s cannot be removed", path);
	return 0;
}

int control_socket_open(const char *path, mode_t mode, gid_t group, struct cor_error *err)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	_cleanup_close_ int fd = -1;
	mode_t mask;
	int r;

	if (strlen(path) >= sizeof(sa.sun_path))
		return cor_fail(err, -ENAMETOOLONG, "the control socket's path is too long: %s",
				path);
	strcpy(sa.sun_path, path);
	r = remove_stale(path, &sa, err);
	if (r < 0)
		return r;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return cor_fail_errno(err, "a socket");
	/* By the mask, so that it is never there with a wider mode. */
	mask = umask(0177);
	r = bind(fd, (struct sockaddr *)&sa, sizeof(sa));
	umask(mask);
	if (r < 0)
		return cor_fail_errno(err, "the control socket %s cannot be made", path);
	/* the group first: the mode is wider */
	if ((group != (gid_t)-1 && chown(path, (uid_t)-1, group) < 0) || chmod(path, mode) < 0 ||
	    listen(fd, BACKLOG) < 0) {
		r = cor_fail_errno(err, "the control socket %s", path);
		unlink(path);
		return r;
	}
	return take_fd(&fd);
}

int control_socket_peer(int conn, uid_t *uid, pid_t *pid)
{
	struct ucred peer;
	socklen_t len = sizeof(peer);

	if (getsockopt(conn, SOL_SOCKET, SO_PEERCRED, &peer, &len) < 0)
		return -errno;
	*uid = peer.uid;
	*pid = peer.pid;
	return 0;
}
