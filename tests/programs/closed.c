/* What it has closed is closed: closes descriptors one after the other without a pause, and
 * sees each time whether that has its effect at once. It has none while somebody else has a
 * duplicate, however short.
 *
 * Whoever reads /proc/PID/fd holds on to a descriptor for a microsecond: that much is the
 * kernel's own, and is not counted. */
#include "check.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/file.h>
#include <sys/socket.h>

#define SLOTS 200
#define STEPS 100       /* of a round */
#define TRIES 10        /* that are the kernel's; one takes about a microsecond */
#define PAUSE_US 200    /* lest a connection be half made whenever somebody looks */
#define GIVEN_UP 100000

static int g_fds[SLOTS][2];
static unsigned g_next, g_late, g_most;
static int g_epoll;
static char g_dir[] = "/tmp/closed.XXXXXX";

/* Calls is_closed until it says so. */
static void await_closed(const char *what, unsigned slot, bool (*is_closed)(unsigned slot))
{
	unsigned tries = 0;

	while (!is_closed(slot) && tries < GIVEN_UP)
		tries++;
	g_late += tries > TRIES;
	g_most = tries > g_most ? tries : g_most;
	check(g_late < 2, "%s: not closed, %u tries later", what, g_most);
}

static void verify(const char *what, void (*open_slot)(unsigned slot), bool (*is_closed)(unsigned slot))
{
	for (unsigned i = 0; i < STEPS && !check_failed(); i++) {
		unsigned slot = g_next++ % SLOTS;

		close(g_fds[slot][0]);
		await_closed(what, slot, is_closed);
		if (g_fds[slot][1] >= 0)
			close(g_fds[slot][1]);
		open_slot(slot);
		usleep(PAUSE_US);
	}
}

static void setup(void (*open_slot)(unsigned slot))
{
	signal(SIGPIPE, SIG_IGN);
	for (unsigned i = 0; i < SLOTS; i++)
		open_slot(i);
}

/* ---- an epoll set tells of nothing that is closed -------------------------------------- */

static void connect_both(int fds[2])
{
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(at);
	int listener = socket(AF_INET, SOCK_STREAM, 0);

	need(listener >= 0 && bind(listener, (struct sockaddr *)&at, len) == 0 &&
	     listen(listener, 1) == 0 && getsockname(listener, (struct sockaddr *)&at, &len) == 0);
	fds[0] = socket(AF_INET, SOCK_STREAM, 0);
	need(fds[0] >= 0 && connect(fds[0], (struct sockaddr *)&at, len) == 0);
	fds[1] = accept(listener, NULL, NULL);
	need(fds[1] >= 0);
	close(listener);
}

static void open_watched(unsigned slot)
{
	struct epoll_event e = { .events = EPOLLIN, .data.u32 = slot };

	connect_both(g_fds[slot]);
	need(epoll_ctl(g_epoll, EPOLL_CTL_ADD, g_fds[slot][0], &e) == 0);
}

static bool is_unwatched(unsigned slot)
{
	struct epoll_event e;

	send(g_fds[slot][1], "x", 1, MSG_NOSIGNAL);
	return epoll_wait(g_epoll, &e, 1, 0) == 0;
}

static void setup_events(void)
{
	g_epoll = epoll_create1(0);
	need(g_epoll >= 0);
	setup(open_watched);
}

static void verify_events(void)
{
	verify("an event for a descriptor that is closed", open_watched, is_unwatched);
}

/* ---- a pipe without a reader ------------------------------------------------------------ */

static void open_pipe(unsigned slot)
{
	need(pipe2(g_fds[slot], O_NONBLOCK) == 0);
}

static bool has_no_reader(unsigned slot)
{
	return write(g_fds[slot][1], "x", 1) < 0 && errno == EPIPE;
}

static void setup_pipes(void)
{
	setup(open_pipe);
}

static void verify_pipes(void)
{
	verify("the reading end of a pipe", open_pipe, has_no_reader);
}

/* ---- a port, a lock --------------------------------------------------- */

static int bind_port(unsigned slot, int fd)
{
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_port = htons((uint16_t)(20000 + slot)),
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };

	return bind(fd, (struct sockaddr *)&at, sizeof(at));
}

static void open_port(unsigned slot)
{
	int fd = socket(AF_INET, SOCK_STREAM, 0), r, tries = 0;

	need(fd >= 0);
	/* what has found it free is closed, which may be late as well */
	while ((r = bind_port(slot, fd)) < 0 && errno == EADDRINUSE && tries++ < GIVEN_UP)
		;
	need(r == 0 && listen(fd, 5) == 0);
	g_fds[slot][0] = fd;
	g_fds[slot][1] = -1;
}

static bool is_port_free(unsigned slot)
{
	int fd = socket(AF_INET, SOCK_STREAM, 0), r;

	need(fd >= 0);
	r = bind_port(slot, fd);
	close(fd);
	return r == 0;
}

static void setup_ports(void)
{
	setup(open_port);
}

static void verify_ports(void)
{
	verify("a port", open_port, is_port_free);
}

static int open_file(unsigned slot)
{
	char path[64];

	snprintf(path, sizeof(path), "%s/%u", g_dir, slot);
	return open(path, O_RDONLY | O_CREAT | O_CLOEXEC, 0600);
}

static void open_locked(unsigned slot)
{
	g_fds[slot][0] = open_file(slot);
	g_fds[slot][1] = -1;
	need(g_fds[slot][0] >= 0 && flock(g_fds[slot][0], LOCK_EX) == 0);
}

static bool is_unlocked(unsigned slot)
{
	int fd = open_file(slot), r;

	need(fd >= 0);
	r = flock(fd, LOCK_EX | LOCK_NB);
	close(fd);
	return r == 0;
}

static void setup_locks(void)
{
	need(mkdtemp(g_dir));
	setup(open_locked);
}

static void verify_locks(void)
{
	verify("a lock", open_locked, is_unlocked);
}

static void remove_files(void)
{
	for (unsigned i = 0; i < SLOTS; i++) {
		char path[64];

		snprintf(path, sizeof(path), "%s/%u", g_dir, i);
		unlink(path);
	}
	rmdir(g_dir);
}

static const struct check_kind kinds[] = {
	{ "events",  setup_events,  verify_events,  NULL },
	{ "pipes",   setup_pipes,   verify_pipes,   NULL },
	{ "ports",   setup_ports,   verify_ports,   NULL },
	{ "locks",   setup_locks,   verify_locks,   remove_files },
};

int main(int argc, char **argv)
{
	check_kinds(argc, argv, "closed", kinds, sizeof(kinds) / sizeof(kinds[0]));
}
