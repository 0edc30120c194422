/* Connected UNIX sockets whose both ends the task has, or whose other end is
 * closed everywhere: made again with socketpair(2). */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "libcor/base/cleanup.h"
#include "libcor/base/error.h"
#include "libcor/names/file_socket.h"
#include "libcor/names/files_holders.h"
#include "libcor/names/net/sock_diag.h"
#include "libcor/names/net/socket.h"
#include "libcor/names/net/socket_options.h"
#include "libcor/names/net/socket_unread.h"

static int recognise(const struct cor_file_capture *c, const struct cor_file_seen *seen)
{
	struct sockaddr_storage ss;
	socklen_t len = sizeof(ss);
	struct cor_socket s;

	if (!S_ISSOCK(seen->st.st_mode) || cor_socket_query(seen->dup, &s) < 0 ||
	    s.domain != AF_UNIX)
		return -1;
	return getpeername(seen->dup, (struct sockaddr *)&ss, &len) == 0 ?
	       COR__NAMES__FILE_KIND__SOCKETPAIR : -1;
}

/* No peer inode: closed, or waiting to be accepted. */
static int capture_lone(const struct cor_file_seen *seen, Cor__Names__OpenFile *out,
			struct cor_error *err)
{
	struct pollfd p = { .fd = seen->dup, .events = POLLIN };

	poll(&p, 1, 0);
	if (out->type != SOCK_DGRAM && !(p.revents & POLLHUP))
		return cor_file_refuse(err, seen, "a UNIX connection that its listener has not "
				       "accepted yet: that is not carried");
	out->peer_closed = true;
	out->reset = (p.revents & POLLERR) != 0;
	return 0;
}

static int capture(struct cor_file_capture *c, const struct cor_file_seen *seen,
		   Cor__Names__OpenFile *out, struct cor_error *err)
{
	struct cor_unix_socket s;
	uint64_t in_flight = 0;
	int rc = cor_socket_capture(c, seen, out, err);

	if (rc == 0)
		rc = cor_unix_diag((uint32_t)seen->st.st_ino, &s, err);
	if (rc < 0)
		return rc;
	if (s.name[0])
		return cor_file_refuse(err, seen, "a connected UNIX socket with the name %s: only "
				       "unnamed ones are carried yet", s.name);
	if (cor_fdinfo_u64(seen->info, "scm_fds:", 10, &in_flight) == 0 && in_flight)
		return cor_file_refuse(err, seen, "a UNIX socket with %llu descriptors on their way to "
				       "it (SCM_RIGHTS): these are not carried",
				       (unsigned long long)in_flight);
	out->counter = s.peer;
	out->shut_read = (s.shutdown & 1) != 0;
	out->shut_write = (s.shutdown & 2) != 0;
	if (s.peer == 0)
		rc = capture_lone(seen, out, err);
	return rc == 0 && c->with_content ? cor_socket_unread_capture(seen, out, err) : rc;
}

static int refuse_outside(struct cor_file_capture *c, unsigned index, struct cor_error *err)
{
	const struct cor_file_seen *seen = &c->seen[index];
	struct cor_unix_socket peer = { 0 };
	struct cor_holder holder;
	char link[40];

	snprintf(link, sizeof(link), "socket:[%llu]",
		 (unsigned long long)c->table->files[index]->counter);
	cor_files_find_holder_of(c->pid, link, &holder);
	if (cor_unix_diag((uint32_t)c->table->files[index]->counter, &peer, NULL) < 0 ||
	    !peer.name[0])
		snprintf(peer.name, sizeof(peer.name), "an unnamed socket");
	return cor_file_refuse(err, seen, "a UNIX socket connected to %s of process %d (%s): "
			       "connections to other processes are not carried yet", peer.name,
			       (int)holder.pid, holder.pid ? holder.comm : "not found");
}

static int relate(struct cor_file_capture *c, unsigned index, struct cor_error *err)
{
	Cor__Names__OpenFile *file = c->table->files[index];
	const unsigned *peers;

	file->peer = index;
	if (file->peer_closed)
		return 0;
	if (cor_file_with_inode(c, file->dev, file->counter, &peers) == 0)
		return refuse_outside(c, index, err);
	if (c->table->files[peers[0]]->counter != file->ino)
		return cor_file_refuse(err, &c->seen[index], "a UNIX datagram socket connected to "
				       "descriptor %d, which is not connected to it: that is not "
				       "carried yet", c->seen[peers[0]].fd);
	file->peer = peers[0];
	return 0;
}

/* --- the destination --------------------------------------------------------- */

/* What the end file had waiting is sent by the other one. */
static int fill(struct cor_file_restore *r, const Cor__Names__OpenFile *file, int from, int number,
		struct cor_error *err)
{
	int rc = cor_socket_unread_send(file, from);

	return rc < 0 ? cor_fail_code(err, rc, "descriptor %d: the bytes waiting in its socket",
				      number) : 0;
}

/* Options, then what is shut down, which is also what closes the peer's side. */
static int finish(const Cor__Names__OpenFile *file, int fd, int number, struct cor_error *err)
{
	int rc = cor_socket_options_set(file, fd, true, number, err);

	if (rc == 0)
		rc = cor_socket_options_set(file, fd, false, number, err);
	if (rc == 0 && file->shut_read && shutdown(fd, SHUT_RD) < 0)
		rc = cor_fail_errno(err, "descriptor %d: shutdown", number);
	if (rc == 0 && file->shut_write && !file->peer_closed && shutdown(fd, SHUT_WR) < 0)
		rc = cor_fail_errno(err, "descriptor %d: shutdown", number);
	return rc;
}

static int restore_lone(struct cor_file_restore *r, unsigned index, int ends[2],
			struct cor_error *err)
{
	const Cor__Names__OpenFile *file = cor_file_at(&r->place, index);
	int number = cor_file_number(r->place.table, index);
	int rc = fill(r, file, ends[1], number, err);

	/* closing an end that has unread bytes resets the other */
	if (rc == 0 && file->reset && send(ends[0], "", 1, MSG_NOSIGNAL) < 0)
		rc = cor_fail_errno(err, "descriptor %d: its socket", number);
	close(ends[1]);
	ends[1] = -1;
	if (rc == 0)
		rc = cor_socket_options_set(file, ends[0], true, number, err);
	if (rc == 0)
		rc = cor_socket_options_set(file, ends[0], false, number, err);
	return rc < 0 ? rc : cor_file_made(r, index, take_fd(&ends[0]), "the socket", err);
}

static int restore_pair(struct cor_file_restore *r, unsigned index, int ends[2],
			struct cor_error *err)
{
	const Cor__Names__FileTable *table = r->place.table;
	unsigned which[2] = { index, table->files[index]->peer };
	int rc = 0;

	for (unsigned i = 0; i < 2 && rc == 0; i++)
		rc = fill(r, table->files[which[i]], ends[1 - i], cor_file_number(table, which[i]),
			  err);
	for (unsigned i = 0; i < 2 && rc == 0; i++)
		rc = finish(table->files[which[i]], ends[i], cor_file_number(table, which[i]), err);
	for (unsigned i = 0; i < 2 && rc == 0; i++)
		rc = cor_file_made(r, which[i], take_fd(&ends[i]), "the socket", err);
	return rc;
}

static int set_nonblock(const Cor__Names__OpenFile *file, int fd)
{
	return (file->flags & O_NONBLOCK) && fcntl(fd, F_SETFL, O_NONBLOCK) < 0 ? -errno : 0;
}

static int restore(struct cor_file_restore *r, unsigned index, struct cor_error *err)
{
	const Cor__Names__FileTable *table = r->place.table;
	const Cor__Names__OpenFile *file = table->files[index];
	int number = cor_file_number(table, index);
	int ends[2], rc = 0;

	if (!file->peer_closed && (file->peer == index || r->fds[file->peer] >= 0 ||
				   table->files[file->peer]->kind != file->kind))
		return cor_fail(err, -EPROTO, "descriptor %d: its pair is wrong", number);
	if (socketpair(AF_UNIX, file->type | SOCK_CLOEXEC, 0, ends) < 0)
		return cor_fail_errno(err, "descriptor %d: a socket pair", number);
	if (file->peer_closed)
		rc = restore_lone(r, index, ends, err);
	else
		rc = restore_pair(r, index, ends, err);
	cor_closep(&ends[0]);
	cor_closep(&ends[1]);
	if (rc == 0)
		rc = set_nonblock(file, r->fds[index]);
	if (rc == 0 && !file->peer_closed)
		rc = set_nonblock(table->files[file->peer], r->fds[file->peer]);
	return rc;
}

const struct cor_file_ops cor_file_socketpair = {
	.recognise = recognise,
	.capture   = capture,
	.relate    = relate,
	.restore   = restore,
	.mechanism = COR_MECHANISM_SOCKETS,
	.kinds     = 1u << COR__NAMES__FILE_KIND__SOCKETPAIR,
};
