/* Descriptors that lead to other processes: pipes and FIFOs that others have open,
 * connected UNIX sockets whose peer is theirs, and the task's controlling terminal. They
 * stay on the host where the task leaves them, and the pump (pump/pump.h) carries what goes
 * through them. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "libcor/base/cleanup.h"
#include "libcor/base/compat.h"
#include "libcor/base/error.h"
#include "libcor/names/file_forward.h"
#include "libcor/names/file_ops.h"
#include "libcor/names/file_pump_unread.h"
#include "libcor/names/file_socket.h"
#include "libcor/names/net/sock_diag.h"
#include "libcor/names/net/socket.h"
#include "libcor/names/net/socket_options.h"
#include "libcor/names/net/socket_unread.h"
#include "libcor/names/pump/end.h"
#include "libcor/names/pump/tty.h"
#include "libcor/transport/preamble.h"

#define CHANNELS_MAX 1024u      /* of one link */

/* ---- links and channels ---------------------------------------------------------------- */

unsigned cor_pump_channels(const Cor__Names__FileTable *table)
{
	size_t n = 0;

	for (size_t i = 0; i < table->n_links; i++)
		n += table->links[i]->n_channels;
	return (unsigned)n;
}

int cor_pump_channel_index(const Cor__Names__FileTable *table, const Cor__Names__OpenFile *file)
{
	size_t base = 0;

	if (file->pump_link >= table->n_links)
		return -1;
	for (size_t i = 0; i < file->pump_link; i++)
		base += table->links[i]->n_channels;
	for (size_t i = 0; i < table->links[file->pump_link]->n_channels; i++)
		if (table->links[file->pump_link]->channels[i]->id == file->pump_channel)
			return (int)(base + i);
	return -1;
}

const Cor__Names__PumpChannel *cor_pump_terminal(const Cor__Names__FileTable *table,
						 unsigned *index)
{
	unsigned n = 0;

	for (size_t i = 0; i < table->n_links; i++)
		for (size_t k = 0; k < table->links[i]->n_channels; k++, n++)
			if (table->links[i]->channels[k]->kind ==
			    COR__NAMES__PUMP_KIND__PUMP_TERMINAL) {
				*index = n;
				return table->links[i]->channels[k];
			}
	return NULL;
}

static Cor__Names__PumpLink *copy_link(const Cor__Names__PumpLink *link)
{
	size_t n = cor__names__pump_link__get_packed_size(link);
	_cleanup_free_ uint8_t *bytes = malloc(n + 1);

	if (!bytes)
		return NULL;
	cor__names__pump_link__pack(link, bytes);
	return cor__names__pump_link__unpack(NULL, n, bytes);
}

static int add_link(struct cor_file_capture *c, const Cor__Names__PumpLink *link)
{
	Cor__Names__FileTable *t = c->table;
	Cor__Names__PumpLink **more = realloc(t->links, (t->n_links + 1) * sizeof(*more));

	if (!more)
		return -ENOMEM;
	t->links = more;
	more[t->n_links] = copy_link(link);
	if (!more[t->n_links])
		return -ENOMEM;
	t->n_links++;
	return 0;
}

int cor_file_pump_links(struct cor_file_capture *c)
{
	int r = 0;

	for (unsigned i = 0; r == 0 && c->pumps && i < c->pumps->nlinks; i++)
		r = add_link(c, c->pumps->links[i]);
	/* needed without any descriptor */
	if (r == 0 && c->pumps && (c->pumps->fresh->task || c->pumps->expected))
		r = add_link(c, c->pumps->fresh);
	return r;
}

/* The fresh link of the capture; NULL: no memory. */
static Cor__Names__PumpLink *fresh_link(struct cor_file_capture *c)
{
	const struct cor_files_pumps *p = c->pumps;

	if (c->table->n_links == p->nlinks && add_link(c, p->fresh) < 0)
		return NULL;
	return c->table->links[p->nlinks];
}

static bool reads(const struct cor_file_seen *seen)
{
	return (seen->flags & O_ACCMODE) != O_WRONLY;
}

static bool writes(const struct cor_file_seen *seen)
{
	return (seen->flags & O_ACCMODE) != O_RDONLY;
}

/* The terminal that it is; 0: it is none. */
static uint64_t terminal_of(const struct cor_file_seen *seen)
{
	return S_ISCHR(seen->st.st_mode) && seen->dup >= 0 ? cor_tty_device(seen->dup) : 0;
}

static Cor__Names__PumpChannel *find_terminal(const Cor__Names__PumpLink *link, uint64_t device)
{
	for (size_t i = 0; i < link->n_channels; i++)
		if (link->channels[i]->kind == COR__NAMES__PUMP_KIND__PUMP_TERMINAL &&
		    link->channels[i]->identity == device)
			return link->channels[i];
	return NULL;
}

static bool is_socket(const Cor__Names__PumpChannel *ch)
{
	return ch->kind == COR__NAMES__PUMP_KIND__PUMP_STREAM ||
	       ch->kind == COR__NAMES__PUMP_KIND__PUMP_PACKETS || cor_forward_is_inet(ch);
}

/* The channel that leads to what seen is, the same way; NULL: there is none. */
static Cor__Names__PumpChannel *find_in(const Cor__Names__PumpLink *link,
					const struct cor_file_seen *seen)
{
	uint64_t terminal = terminal_of(seen);

	if (terminal)
		return find_terminal(link, terminal);
	for (size_t i = 0; i < link->n_channels; i++) {
		Cor__Names__PumpChannel *ch = link->channels[i];

		if (ch->kind == COR__NAMES__PUMP_KIND__PUMP_TERMINAL ||
		    S_ISSOCK(seen->st.st_mode) != is_socket(ch))
			continue;
		if (ch->identity == seen->st.st_ino && ch->task_reads == reads(seen) &&
		    ch->task_writes == writes(seen))
			return ch;
	}
	return NULL;
}

/* An away pump's channel; *link: its index. */
static Cor__Names__PumpChannel *find_known(const struct cor_file_capture *c,
					   const struct cor_file_seen *seen, unsigned *link)
{
	for (unsigned i = 0; i < c->pumps->nlinks; i++) {
		const Cor__Names__PumpLink *l =
			i < c->table->n_links ? c->table->links[i] : c->pumps->links[i];
		Cor__Names__PumpChannel *ch = find_in(l, seen);

		if (ch) {
			*link = i;
			return ch;
		}
	}
	return NULL;
}

/* ---- capture ------------------------------------------------------------------------------ */

bool cor_file_was_pumped(const struct cor_file_capture *c, const struct cor_file_seen *seen)
{
	for (size_t i = 0; c->before && i < c->before->n_files; i++) {
		const Cor__Names__OpenFile *f = c->before->files[i];

		if (f->kind == COR__NAMES__FILE_KIND__PUMPED && f->dev == seen->st.st_dev &&
		    f->ino == seen->st.st_ino)
			return true;
	}
	return false;
}

/* A connected UNIX socket whose peer is none of the task's. Without a peer it is closed
 * there, or was never accepted: that is file_socketpair.c's. */
static bool leads_outside(const struct cor_file_capture *c, const struct cor_file_seen *seen)
{
	struct cor_unix_socket s;
	struct cor_socket kind;
	const unsigned *peers;

	if (!c->same_netns || cor_socket_query(seen->dup, &kind) < 0 || kind.domain != AF_UNIX ||
	    kind.listening || cor_unix_diag((uint32_t)seen->st.st_ino, &s, NULL) < 0)
		return false;
	return s.peer ? cor_file_with_inode(c, seen->st.st_dev, s.peer, &peers) == 0 :
	       cor_file_was_pumped(c, seen);
}

static int recognise(const struct cor_file_capture *c, const struct cor_file_seen *seen)
{
	unsigned link;

	if (!c->pumps || (seen->flags & O_PATH))
		return -1;
	if (terminal_of(seen))
		return COR__NAMES__FILE_KIND__PUMPED;
	if (S_ISSOCK(seen->st.st_mode))
		return find_known(c, seen, &link) || leads_outside(c, seen) ||
		       cor_forward_stays(c, seen) ?
		       COR__NAMES__FILE_KIND__PUMPED : -1;
	if (!S_ISFIFO(seen->st.st_mode))
		return -1;
	return find_known(c, seen, &link) || seen->holder.pid || cor_file_was_pumped(c, seen) ?
	       COR__NAMES__FILE_KIND__PUMPED : -1;
}

/* What the pump could not keep as it is. */
static int refuse(const struct cor_file_capture *c, const struct cor_file_seen *seen,
		  struct cor_error *err)
{
	if (terminal_of(seen) && terminal_of(seen) != c->tty)
		return cor_file_refuse(err, seen, "the terminal %s, which is not the one that controls "
				       "process %d: only that one is carried", seen->link,
				       (int)c->pid);
	if (terminal_of(seen))
		return 0;
	if (S_ISFIFO(seen->st.st_mode) && reads(seen) && writes(seen))
		return cor_file_refuse(err, seen, "%s, opened for reading and writing, that process "
				       "%d (%s) has open too: that is not carried", seen->link,
				       (int)seen->holder.pid, seen->holder.comm);
	if (S_ISSOCK(seen->st.st_mode) && seen->holder.reader)
		return cor_file_refuse(err, seen, "a socket that process %d (%s) has open too: which "
				       "of them gets what could not be kept as it is",
				       (int)seen->holder.reader, seen->holder.reader_comm);
	if (S_ISFIFO(seen->st.st_mode) && reads(seen) && seen->holder.reader)
		return cor_file_refuse(err, seen, "%s, which process %d (%s) reads too: which of them "
				       "gets what could not be kept as it is", seen->link,
				       (int)seen->holder.reader, seen->holder.reader_comm);
	return 0;
}

/* Its channel in the earlier capture, which knew all processes; NULL: it had none. */
static const Cor__Names__PumpChannel *earlier(const struct cor_file_capture *c,
					      const struct cor_file_seen *seen)
{
	if (!c->before || c->before->n_links <= c->pumps->nlinks)
		return NULL;
	return find_in(c->before->links[c->pumps->nlinks], seen);
}

static Cor__Names__PumpChannel *new_channel(Cor__Names__PumpLink *link, const char *what)
{
	Cor__Names__PumpChannel *ch =
		COR_FILE_APPEND(link->channels, link->n_channels, Cor__Names__PumpChannel,
				cor__names__pump_channel__init);
	char *copy = strdup(what);

	if (!ch || !copy) {
		free(copy);
		return NULL;
	}
	ch->id = (uint32_t)link->n_channels;
	ch->what = copy;
	return ch;
}

/* The name by which a terminal is opened. */
static void name_terminal(uint64_t device, char *path, size_t size)
{
	unsigned n = minor(device), of = major(device);

	if (of >= 136 && of <= 143)
		snprintf(path, size, "/dev/pts/%u", (of - 136) * 256 + n);
	else if (of == 4)
		snprintf(path, size, n < 64 ? "/dev/tty%u" : "/dev/ttyS%u", n < 64 ? n : n - 64);
	else
		snprintf(path, size, "/dev/char/%u:%u", of, n);
}

/* fd: a descriptor of it. */
static Cor__Names__PumpChannel *add_terminal(struct cor_file_capture *c,
					     Cor__Names__PumpLink *link, int fd)
{
	char path[40], full[80];
	Cor__Names__PumpChannel *ch;
	struct termios2 modes;
	struct winsize size;
	struct stat st;

	name_terminal(c->tty, path, sizeof(path));
	snprintf(full, sizeof(full), "/proc/%d/root%s", (int)c->pid, path);
	ch = new_channel(link, path);
	if (!ch || cor_tty_get(fd, &modes) < 0 || ioctl(fd, TIOCGWINSZ, &size) < 0 ||
	    cor_file_bytes(&ch->termios, &modes, sizeof(modes)) < 0 ||
	    cor_file_bytes(&ch->winsize, &size, sizeof(size)) < 0)
		return NULL;
	ch->kind = COR__NAMES__PUMP_KIND__PUMP_TERMINAL;
	ch->task_reads = ch->task_writes = true;
	ch->identity = c->tty;
	ch->foreground = c->foreground;
	ch->mode = 0600;
	if (stat(full, &st) == 0 || fstat(fd, &st) == 0) {
		ch->uid = st.st_uid;
		ch->gid = st.st_gid;
		ch->mode = st.st_mode & 07777;
	}
	return ch;
}

static Cor__Names__PumpChannel *add_socket(Cor__Names__PumpLink *link,
					   const struct cor_file_seen *seen)
{
	Cor__Names__PumpChannel *ch = new_channel(link, seen->link);
	struct cor_socket s = { .type = SOCK_STREAM };
	struct ucred peer = { 0 };
	socklen_t len = sizeof(peer);

	if (!ch)
		return NULL;
	cor_socket_query(seen->dup, &s);
	getsockopt(seen->dup, SOL_SOCKET, SO_PEERCRED, &peer, &len);
	ch->kind = s.type == SOCK_STREAM ? COR__NAMES__PUMP_KIND__PUMP_STREAM :
		   COR__NAMES__PUMP_KIND__PUMP_PACKETS;
	ch->datagrams = s.type == SOCK_DGRAM;
	ch->task_reads = ch->task_writes = true;
	ch->identity = seen->st.st_ino;
	/* a datagram socket knows nobody: (uid_t)-1 */
	ch->uid = peer.uid == (uid_t)-1 ? 0 : peer.uid;
	ch->gid = peer.gid == (gid_t)-1 ? 0 : peer.gid;
	return ch;
}

static bool is_inet(const struct cor_file_seen *seen)
{
	struct cor_socket s;

	return cor_socket_query(seen->dup, &s) == 0 && s.domain != AF_UNIX;
}

static Cor__Names__PumpChannel *add_inet(Cor__Names__PumpLink *link,
					 const struct cor_file_seen *seen)
{
	char name[COR_SOCKET_NAME], what[COR_SOCKET_NAME + 32];
	Cor__Names__PumpChannel *ch = new_channel(link, seen->link);
	bool udp;

	if (!ch || cor_forward_describe(seen, ch) < 0)
		return NULL;
	cor_socket_print_bytes(&ch->address, name);
	udp = ch->kind == COR__NAMES__PUMP_KIND__PUMP_UDP;
	snprintf(what, sizeof(what), "%s %s", udp ? "UDP" : "TCP", name);
	free(ch->what);
	ch->what = strdup(what);
	return ch->what ? ch : NULL;
}

static bool something_waits(int fd, uint32_t type)
{
	int bytes = 0;

	return (ioctl(fd, FIONREAD, &bytes) == 0 && bytes > 0) ||
	       (type == SOCK_SEQPACKET && cor_socket_message_waits(fd));
}

/* What of the socket itself the task sees. */
static int capture_socket(struct cor_file_capture *c, const struct cor_file_seen *seen,
			  Cor__Names__OpenFile *out, struct cor_error *err)
{
	struct cor_unix_socket s;
	uint64_t in_flight = 0;
	int r = cor_socket_begin(c, seen, out, err);

	if (r == 0)
		r = cor_unix_diag((uint32_t)seen->st.st_ino, &s, err);
	if (r < 0)
		return r;
	if (cor_fdinfo_u64(seen->info, "scm_fds:", 10, &in_flight) == 0 && in_flight)
		return cor_file_refuse(err, seen, "a UNIX socket with %llu descriptors on their way to "
				       "it (SCM_RIGHTS): these are not carried",
				       (unsigned long long)in_flight);
	/* what it has not read goes through the pump, and the end behind it */
	out->shut_read = (s.shutdown & 1) != 0 && !something_waits(seen->dup, out->type);
	out->shut_write = (s.shutdown & 2) != 0;
	return cor_socket_options_capture(c, seen, out, err);
}

static Cor__Names__PumpChannel *add_channel(struct cor_file_capture *c,
					    Cor__Names__PumpLink *link,
					    const struct cor_file_seen *seen)
{
	const Cor__Names__PumpChannel *was = earlier(c, seen);
	Cor__Names__PumpChannel *ch;

	if (terminal_of(seen))
		return add_terminal(c, link, seen->dup);
	ch = !S_ISSOCK(seen->st.st_mode) ? new_channel(link, seen->link) :
	     is_inet(seen) ? add_inet(link, seen) : add_socket(link, seen);
	if (!ch)
		return NULL;
	ch->shared = was ? was->shared : seen->holder.above;
	if (S_ISSOCK(seen->st.st_mode))
		return ch;
	ch->kind = COR__NAMES__PUMP_KIND__PUMP_PIPE;
	ch->task_reads = reads(seen);
	ch->task_writes = writes(seen);
	ch->fifo = !cor_file_link_is(seen, "pipe:[");
	ch->packets = was ? was->packets :
		      (seen->flags & O_DIRECT) || (reads(seen) && seen->holder.packets);
	ch->capacity = (uint32_t)COR_MAX(fcntl(seen->dup, F_GETPIPE_SZ), 0);
	ch->uid = seen->st.st_uid;
	ch->gid = seen->st.st_gid;
	ch->mode = seen->st.st_mode & 07777;
	ch->identity = seen->st.st_ino;
	return ch;
}

/* The terminal belongs to the task though it has no descriptor of it: /dev/tty opens it,
 * and its keys send signals. */
int cor_file_pump_terminal(struct cor_file_capture *c, struct cor_error *err)
{
	_cleanup_close_ int fd = -1;
	char path[40], full[80];
	Cor__Names__PumpLink *fresh;

	if (!c->pumps || !c->tty || !cor_mechanism_on(c->mechanisms, COR_MECHANISM_TERMINALS))
		return 0;
	for (size_t i = 0; i < c->table->n_links; i++)
		if (find_terminal(c->table->links[i], c->tty))
			return 0;
	name_terminal(c->tty, path, sizeof(path));
	snprintf(full, sizeof(full), "/proc/%d/root%s", (int)c->pid, path);
	fd = open(full, O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0 || cor_tty_device(fd) != c->tty)
		return cor_fail(err, -EOPNOTSUPP, "the terminal %s that controls process %d cannot be "
				"opened: that is not carried", path, (int)c->pid);
	fresh = fresh_link(c);
	return fresh && add_terminal(c, fresh, fd) ? 0 : -ENOMEM;
}

static int capture(struct cor_file_capture *c, const struct cor_file_seen *seen,
		   Cor__Names__OpenFile *out, struct cor_error *err)
{
	unsigned link = 0;
	Cor__Names__PumpChannel *ch = find_known(c, seen, &link);
	Cor__Names__PumpLink *fresh;
	int r;

	out->path = strdup(seen->link);
	if (!out->path)
		return -ENOMEM;
	if (S_ISSOCK(seen->st.st_mode)) {
		r = is_inet(seen) ? cor_forward_capture(c, seen, ch != NULL, out, err) :
		    capture_socket(c, seen, out, err);
		if (r < 0)
			return r;
	}
	if (!ch) {
		r = refuse(c, seen, err);
		fresh = r == 0 ? fresh_link(c) : NULL;
		if (r < 0 || !fresh)
			return r < 0 ? r : -ENOMEM;
		if (fresh->n_channels == CHANNELS_MAX)
			return cor_file_refuse(err, seen, "one of more than %u that lead to other "
					       "processes: so many are not carried", CHANNELS_MAX);
		ch = find_in(fresh, seen) ?: add_channel(c, fresh, seen);
		if (!ch)
			return -ENOMEM;
		link = c->pumps->nlinks;
	}
	out->pump_link = link;
	out->pump_channel = ch->id;
	out->rdev = S_ISCHR(seen->st.st_mode) ? seen->st.st_rdev : 0;
	return cor_pump_unread(c, seen, ch, link == c->pumps->nlinks, out, err);
}

/* ---- the destination ------------------------------------------------------------------------ */

static bool is_pumped_inet(const Cor__Names__OpenFile *file)
{
	return file->kind == COR__NAMES__FILE_KIND__PUMPED &&
	       (file->domain == AF_INET || file->domain == AF_INET6);
}

/* The first of its type. */
static bool is_first_inet(const Cor__Names__FileTable *table, unsigned index)
{
	for (unsigned i = 0; i < index; i++)
		if (is_pumped_inet(table->files[i]) &&
		    table->files[i]->type == table->files[index]->type)
			return false;
	return is_pumped_inet(table->files[index]);
}

static int check(const struct cor_file_place *place, unsigned index, struct cor_error *err)
{
	const Cor__Names__OpenFile *file = cor_file_at(place, index);
	int number = cor_file_number(place->table, index);

	if (cor_pump_channel_index(place->table, file) < 0)
		return cor_fail(err, -EPROTO, "descriptor %d: its channel is wrong", number);
	return is_first_inet(place->table, index) ? cor_forward_check(file, number, err) : 0;
}

/* Is there an earlier file of that channel? It has the open file description that was
 * made along with it. */
static bool is_first(const Cor__Names__FileTable *table, unsigned index)
{
	const Cor__Names__OpenFile *file = table->files[index];

	for (unsigned i = 0; i < index; i++)
		if (table->files[i]->kind == file->kind &&
		    table->files[i]->pump_link == file->pump_link &&
		    table->files[i]->pump_channel == file->pump_channel)
			return false;
	return true;
}

/* What open(2) adds on x86-64 and pipe2(2) does not: it tells the two apart. */
#define KERNEL_LARGEFILE 0100000u

static int open_end(const Cor__Names__OpenFile *file, int end, bool first)
{
	unsigned flags = cor_file_open_flags(file->flags);
	int fd;

	/* by the name that stands for the controlling terminal, as it was */
	if (S_ISCHR(file->mode) && file->rdev == makedev(5, 0)) {
		fd = open("/dev/tty", (int)flags | O_CLOEXEC | O_NOCTTY);
		return fd < 0 ? -errno : fd;
	}
	if (S_ISCHR(file->mode))
		return cor_file_reopen(end, flags);
	if (first && !(file->flags & KERNEL_LARGEFILE))
		fd = fcntl(end, F_DUPFD_CLOEXEC, 0);
	else
		fd = S_ISSOCK(file->mode) ? -ENXIO : cor_file_reopen(end, flags & ~(unsigned)O_DIRECT);
	if (fd >= 0 && fcntl(fd, F_SETFL, flags & ~(unsigned)O_ACCMODE) < 0) {
		cor_closep(&fd);
		return -errno;
	}
	return fd < 0 ? -errno : fd;
}

/* A UDP socket is connected to whom the task has connected it, wherever that was. */
static int connect_udp(const Cor__Names__OpenFile *file, int fd, int number, struct cor_error *err)
{
	char name[COR_SOCKET_NAME];
	struct sockaddr_storage ss;
	socklen_t len;
	int r;

	if (file->type != SOCK_DGRAM || !file->peer_address.len)
		return 0;
	r = cor_socket_sockaddr(&file->peer_address, &ss, &len);
	if (r == 0 && connect(fd, (struct sockaddr *)&ss, len) < 0)
		r = -errno;
	cor_socket_print_bytes(&file->peer_address, name);
	return r < 0 ? cor_fail_code(err, r, "descriptor %d: connecting to %s (UDP)", number, name) : 0;
}

/* What the kernel has chosen it goes on to adapt. */
static void set_adapted_room(const Cor__Names__OpenFile *file, int fd)
{
	int locked = 0, half = (int)COR_MIN(file->adapted_room / 2, 0x3fffffffu);
	socklen_t len = sizeof(locked);

	if (!half || getsockopt(fd, SOL_SOCKET, SO_BUF_LOCK, &locked, &len) < 0)
		return;
	if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &half, sizeof(half)) < 0)
		setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &half, sizeof(half));
	setsockopt(fd, SOL_SOCKET, SO_BUF_LOCK, &locked, sizeof(locked));
}

static int finish_socket(const Cor__Names__OpenFile *file, int fd, int number, struct cor_error *err)
{
	bool inet = file->domain == AF_INET || file->domain == AF_INET6;
	int zero = 0, rc;

	/* by which the pump has found its port free (pump/net.c) */
	if (inet && !cor_socket_has_option(file, SOL_SOCKET, SO_REUSEADDR))
		setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &zero, sizeof(zero));
	rc = cor_socket_options_set(file, fd, true, number, err);
	if (rc == 0)
		rc = cor_socket_options_set(file, fd, false, number, err);
	if (rc == 0 && inet)
		set_adapted_room(file, fd);
	if (rc == 0 && inet)
		rc = connect_udp(file, fd, number, err);
	if (rc == 0 && file->shut_read && shutdown(fd, SHUT_RD) < 0)
		rc = cor_fail_errno(err, "descriptor %d: shutdown", number);
	if (rc == 0 && file->shut_write && shutdown(fd, SHUT_WR) < 0)
		rc = cor_fail_errno(err, "descriptor %d: shutdown", number);
	return rc;
}

static int restore(struct cor_file_restore *r, unsigned index, struct cor_error *err)
{
	const Cor__Names__FileTable *table = r->place.table;
	const Cor__Names__OpenFile *file = table->files[index];
	int number = cor_file_number(table, index);
	int which = cor_pump_channel_index(table, file), fd;

	if (which < 0 || (unsigned)which >= r->npumped || r->pumped[which] < 0)
		return cor_fail(err, -EPROTO, "descriptor %d: its channel is wrong", number);
	fd = open_end(file, r->pumped[which], is_first(table, index));
	if (fd < 0)
		return cor_fail_code(err, fd, "descriptor %d (%s)", number, file->path);
	if (S_ISSOCK(file->mode)) {
		int rc = finish_socket(file, fd, number, err);

		if (rc < 0) {
			close(fd);
			return rc;
		}
	}
	return cor_file_made(r, index, fd, "its end", err);
}

static enum cor_mechanism mechanism_of(const Cor__Names__OpenFile *file)
{
	if (S_ISCHR(file->mode))
		return COR_MECHANISM_TERMINALS;
	return file->domain == AF_INET || file->domain == AF_INET6 ? COR_MECHANISM_FORWARD :
	       COR_MECHANISM_PUMP;
}

const struct cor_file_ops cor_file_pump = {
	.recognise = recognise,
	.capture   = capture,
	.check     = check,
	.restore   = restore,
	.mechanism_of = mechanism_of,
	.kinds     = 1u << COR__NAMES__FILE_KIND__PUMPED,
};
