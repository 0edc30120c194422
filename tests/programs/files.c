/* Every kind of descriptor that is carried, one kind per table row: it is the
 * same in every round, and it can still be used. */
#include "check.h"
#include "files.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <sys/un.h>

#define KIB 1024ul

static bool same_flags(int fd, int want_flags, int want_cloexec, const char *what)
{
	/* The kernel adds its O_LARGEFILE to what is opened by a path. */
	int flags = fcntl(fd, F_GETFL), cloexec = fcntl(fd, F_GETFD), large = 0100000;

	if (flags >= 0)
		flags = (flags & ~large) | (want_flags & large);
	check(flags == want_flags, "%s: flags %#o became %#o (%s)", what, want_flags, flags,
	      flags < 0 ? strerror(errno) : "");
	check(cloexec == want_cloexec, "%s: FD_CLOEXEC %d became %d", what, want_cloexec, cloexec);
	return flags == want_flags && cloexec == want_cloexec;
}

/* The path that descriptor fd has in /proc. */
static void same_path(int fd, const char *want, const char *what)
{
	char link[64], path[300] = "", full[300] = "";

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	check(readlink(link, path, sizeof(path) - 1) > 0, "%s: %s", what, strerror(errno));
	check(realpath(want, full) && !strcmp(full, path), "%s: path %s became %s", what, full, path);
}

/* ---- files and directories -------------------------------------------------------- */

static struct { int fd, flags; off_t at; char path[40]; } g_regular;

static void regular_setup(void)
{
	char data[64 * KIB];

	check_fill(data, sizeof(data), 11);
	strcpy(g_regular.path, "./files-regular.XXXXXX");
	int fd = mkstemp(g_regular.path);
	need(fd >= 0 && write(fd, data, sizeof(data)) == (ssize_t)sizeof(data));
	close(fd);
	/* A number far up, as a shell or a server may use. */
	fd = open(g_regular.path, O_RDWR | O_NOATIME | O_CLOEXEC);
	need(fd >= 0 && (g_regular.fd = fcntl(fd, F_DUPFD_CLOEXEC, 700)) == 700);
	close(fd);
	g_regular.flags = fcntl(g_regular.fd, F_GETFL);
}

/* Reads on from where the last round stopped. */
static void regular_verify(void)
{
	char got[100];

	same_path(g_regular.fd, g_regular.path, "regular file");
	same_flags(g_regular.fd, g_regular.flags, FD_CLOEXEC, "regular file");
	check(lseek(g_regular.fd, 0, SEEK_CUR) == g_regular.at, "regular file: offset %ld is %ld",
	      (long)g_regular.at, (long)lseek(g_regular.fd, 0, SEEK_CUR));
	if (g_regular.at + 96 > (off_t)(64 * KIB))
		g_regular.at = lseek(g_regular.fd, 0, SEEK_SET);
	check(read(g_regular.fd, got, 96) == 96, "regular file: read: %s", strerror(errno));
	check(check_differs(got, 96, 11 + (uint64_t)g_regular.at) < 0, "regular file: contents");
	g_regular.at += 96;
}

static void regular_finish(void)
{
	unlink(g_regular.path);
}

static struct { int fd; off_t len; char path[40]; } g_append;

static void append_setup(void)
{
	strcpy(g_append.path, "./files-append.XXXXXX");
	close(mkstemp(g_append.path));
	need((g_append.fd = open(g_append.path, O_WRONLY | O_APPEND)) >= 0);
}

static void append_size(const char *when)
{
	struct stat st;

	check(!fstat(g_append.fd, &st) && st.st_size == g_append.len, "append: %ld bytes, not %ld, %s",
	      (long)st.st_size, (long)g_append.len, when);
}

static void append_verify(void)
{
	check(fcntl(g_append.fd, F_GETFL) & O_APPEND, "O_APPEND is lost");
	append_size("before a line");
	lseek(g_append.fd, 0, SEEK_SET);
	check(write(g_append.fd, "line\n", 5) == 5, "append: %s", strerror(errno));
	g_append.len += 5;
	append_size("behind it");
}

static void append_finish(void)
{
	unlink(g_append.path);
}

/* Three descriptors: two of one open file, one of another open of the same file. */
static struct { int first, second, other; off_t at; char path[40]; } g_dup;

static void dup_setup(void)
{
	strcpy(g_dup.path, "./files-dup.XXXXXX");
	need((g_dup.first = mkstemp(g_dup.path)) >= 0 && !ftruncate(g_dup.first, 1 << 20));
	need((g_dup.second = dup(g_dup.first)) >= 0);
	need((g_dup.other = open(g_dup.path, O_RDONLY)) >= 0);
}

static void dup_verify(void)
{
	off_t at = g_dup.at += 7;

	lseek(g_dup.first, 7, SEEK_CUR);
	check(lseek(g_dup.second, 0, SEEK_CUR) == at, "dup: the offset is not shared");
	check(lseek(g_dup.other, 0, SEEK_CUR) == 0, "dup: another open shares the offset");
	check(fcntl(g_dup.first, F_GETFD) == 0, "dup: FD_CLOEXEC appeared");
}

static void dup_finish(void)
{
	unlink(g_dup.path);
}

static struct { int fd; } g_directory;

static void directory_setup(void)
{
	need(!mkdir("files-dir", 0700) && !mkdir("files-dir/inner", 0700));
	need((g_directory.fd = open("files-dir", O_RDONLY | O_DIRECTORY)) >= 0);
}

static void directory_verify(void)
{
	struct stat st;

	same_path(g_directory.fd, "files-dir", "directory");
	check(!fstatat(g_directory.fd, "inner", &st, 0) && S_ISDIR(st.st_mode), "directory: %s",
	      strerror(errno));
}

static void directory_finish(void)
{
	rmdir("files-dir/inner");
	rmdir("files-dir");
}

static struct { int fd; } g_opath;

static void opath_setup(void)
{
	need((g_opath.fd = open("/etc/passwd", O_PATH | O_CLOEXEC)) >= 0);
}

static void opath_verify(void)
{
	char c;

	same_path(g_opath.fd, "/etc/passwd", "O_PATH");
	check(fcntl(g_opath.fd, F_GETFL) & O_PATH && read(g_opath.fd, &c, 1) < 0,
	      "O_PATH descriptor became readable");
}

/* Its own /proc: a file that stays open, and its mappings, read in small portions. */
#define PORTION 200
static int g_status;

static void proc_setup(void)
{
	need((g_status = open("/proc/self/status", O_RDONLY | O_CLOEXEC)) >= 0);
}

static void read_mappings(void)
{
	int fd = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
	unsigned long from, to, before = 0;
	static char text[65536];
	size_t got = 0;
	char perms[5];
	ssize_t n;

	check(fd >= 0, "proc: %s", strerror(errno));
	while ((n = read(fd, text + got, PORTION)) > 0 && got < sizeof(text) - 2 * PORTION) {
		got += (size_t)n;
		usleep(200);
	}
	text[got] = 0;
	close(fd);
	for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n")) {
		bool whole = sscanf(line, "%lx-%lx %4[rwxps-] ", &from, &to, perms) == 3 &&
			     strlen(perms) == 4;

		/* [vsyscall] is the last */
		check(whole && from >= before && to > from, "proc: a line of maps is '%s'", line);
		before = whole ? to : before;
	}
}

static void proc_verify(void)
{
	char text[4096], want[40];
	ssize_t n = pread(g_status, text, sizeof(text) - 1, 0);

	text[n > 0 ? n : 0] = 0;
	snprintf(want, sizeof(want), "\nPid:\t%d\n", (int)getpid());
	check(strstr(text, want), "proc: status is not ours");
	read_mappings();
}

static int g_devices[5];
static const char *const DEVICES[] = { "/dev/null", "/dev/zero", "/dev/full", "/dev/random",
				       "/dev/urandom" };

static void devices_setup(void)
{
	for (int i = 0; i < 5; i++)
		need((g_devices[i] = open(DEVICES[i], O_RDWR)) >= 0);
}

static void devices_verify(void)
{
	char buf[32] = "x";

	for (int i = 0; i < 5; i++)
		same_path(g_devices[i], DEVICES[i], DEVICES[i]);
	check(read(g_devices[0], buf, 1) == 0, "/dev/null is not empty");
	check(read(g_devices[1], buf, 1) == 1 && !buf[0], "/dev/zero: not zero");
	check(write(g_devices[2], buf, 1) == -1 && errno == ENOSPC, "/dev/full is not full");
	check(read(g_devices[4], buf, 32) == 32, "/dev/urandom: %s", strerror(errno));
}

/* ---- pipes and pairs, with bytes that wait to be read ---------------------------------- */

static struct { int fd[2]; uint64_t in, out; } g_pipe, g_pair, g_fifo;

/* 120 words are always under way. */
static void keep_full(int in, int out, uint64_t *nin, uint64_t *nout, const char *what)
{
	uint64_t word;

	while (*nin < *nout + 120) {
		word = check_mix(*nin);
		if (write(in, &word, 8) != 8) {
			check_fail("%s: write: %s", what, strerror(errno));
			return;
		}
		(*nin)++;
	}
	for (int i = 0; i < 50; i++) {
		if (read(out, &word, 8) != 8 || word != check_mix(*nout)) {
			check_fail("%s: word %llu was lost or changed", what,
				   (unsigned long long)*nout);
			return;
		}
		(*nout)++;
	}
}

static void pipe_setup(void)
{
	need(!pipe2(g_pipe.fd, O_CLOEXEC | O_NONBLOCK));
	need(fcntl(g_pipe.fd[0], F_SETPIPE_SZ, 128 * KIB) > 0);
}

static void pipe_verify(void)
{
	keep_full(g_pipe.fd[1], g_pipe.fd[0], &g_pipe.in, &g_pipe.out, "pipe");
	check(fcntl(g_pipe.fd[0], F_GETPIPE_SZ) == (int)(128 * KIB), "pipe: its size is %d",
	      fcntl(g_pipe.fd[0], F_GETPIPE_SZ));
	same_flags(g_pipe.fd[0], O_RDONLY | O_NONBLOCK, FD_CLOEXEC, "pipe");
	same_flags(g_pipe.fd[1], O_WRONLY | O_NONBLOCK, FD_CLOEXEC, "pipe");
}

/* The reading end of a pipe that nobody writes any more: unread bytes, then end of file. */
static int g_half;

static void half_setup(void)
{
	int fd[2];

	need(!pipe(fd) && write(fd[1], "last words", 10) == 10);
	close(fd[1]);
	g_half = fd[0];
}

static void half_verify(void)
{
	struct pollfd pfd = { .fd = g_half, .events = POLLIN };

	check(poll(&pfd, 1, 0) == 1 && pfd.revents == (POLLIN | POLLHUP),
	      "half a pipe: events %#x", (unsigned)pfd.revents);
}

static void half_finish(void)
{
	char buf[20];

	check(read(g_half, buf, 20) == 10 && !memcmp(buf, "last words", 10),
	      "half a pipe: its bytes are lost");
	check(read(g_half, buf, 20) == 0, "half a pipe: no end of file");
}

static void pair_setup(void)
{
	need(!socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, g_pair.fd));
}

static void pair_verify(void)
{
	keep_full(g_pair.fd[0], g_pair.fd[1], &g_pair.in, &g_pair.out, "socketpair");
	same_flags(g_pair.fd[0], O_RDWR | O_NONBLOCK, FD_CLOEXEC, "socketpair");
}

/* Packets keep their bounds. */
static struct { int fd[2]; uint64_t in, out; } g_packets[2];

static void packets_setup(void)
{
	need(!socketpair(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0, g_packets[0].fd));
	need(!socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, g_packets[1].fd));
}

static void packets_verify(void)
{
	char buf[300];

	for (int i = 0; i < 2; i++) {
		while (g_packets[i].in < g_packets[i].out + 5) {
			size_t len = 1 + g_packets[i].in % 200;

			check_fill(buf, len, g_packets[i].in++);
			check(write(g_packets[i].fd[0], buf, len) == (ssize_t)len,
			      "packet socketpair %d: %s", i, strerror(errno));
		}
		size_t len = 1 + g_packets[i].out % 200;

		check(read(g_packets[i].fd[1], buf, sizeof(buf)) == (ssize_t)len &&
		      check_differs(buf, len, g_packets[i].out) < 0,
		      "packet socketpair %d: packet %llu", i, (unsigned long long)g_packets[i].out);
		g_packets[i].out++;
	}
}

static void fifo_setup(void)
{
	need(!mkfifo("files-fifo", 0600));
	need((g_fifo.fd[0] = open("files-fifo", O_RDONLY | O_NONBLOCK)) >= 0);
	need((g_fifo.fd[1] = open("files-fifo", O_WRONLY | O_NONBLOCK)) >= 0);
}

static void fifo_verify(void)
{
	keep_full(g_fifo.fd[1], g_fifo.fd[0], &g_fifo.in, &g_fifo.out, "named pipe");
}

static void fifo_finish(void)
{
	unlink("files-fifo");
}

/* ---- descriptors of events ---------------------------------------------------------------- */

static struct { int plain, semaphore; uint64_t count; } g_event;

static void eventfd_setup(void)
{
	need((g_event.plain = eventfd(17, EFD_NONBLOCK)) >= 0);
	need((g_event.semaphore = eventfd(1000000, EFD_SEMAPHORE | EFD_NONBLOCK)) >= 0);
	g_event.count = 17;
}

static void eventfd_verify(void)
{
	uint64_t v = 0;

	check(read(g_event.plain, &v, 8) == 8 && v == g_event.count, "eventfd: %llu instead of %llu",
	      (unsigned long long)v, (unsigned long long)g_event.count);
	g_event.count += 3;
	check(write(g_event.plain, &g_event.count, 8) == 8, "eventfd: %s", strerror(errno));
	check(read(g_event.semaphore, &v, 8) == 8 && v == 1, "eventfd: no semaphore any more");
}

static struct { int hour, periodic; uint64_t begin, ticks; } g_timer;

static void timerfd_setup(void)
{
	struct itimerspec hour = { { 5, 0 }, { 3600, 0 } };
	struct itimerspec often = { { 0, 20000000 }, { 0, 20000000 } };

	need((g_timer.hour = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC)) >= 0);
	need((g_timer.periodic = timerfd_create(CLOCK_REALTIME, TFD_NONBLOCK)) >= 0);
	g_timer.begin = check_now_ns(CLOCK_MONOTONIC);
	need(!timerfd_settime(g_timer.hour, 0, &hour, NULL));
	need(!timerfd_settime(g_timer.periodic, 0, &often, NULL));
}

static void timerfd_verify(void)
{
	struct pollfd pfd = { .fd = g_timer.periodic, .events = POLLIN };
	struct itimerspec its = { { 0, 0 }, { 0, 0 } };
	long passed = (long)((check_now_ns(CLOCK_MONOTONIC) - g_timer.begin) / 1000000000);
	uint64_t ticks = 0;
	int n;

	check(!timerfd_gettime(g_timer.hour, &its), "timerfd: %s", strerror(errno));
	check(its.it_interval.tv_sec == 5 && its.it_value.tv_sec + passed > 3596 &&
	      its.it_value.tv_sec + passed <= 3600, "timerfd: %ld s are left after %ld s",
	      (long)its.it_value.tv_sec, passed);
	do {
		n = poll(&pfd, 1, 3000);
	} while (n < 0 && errno == EINTR);
	check(n == 1 && read(g_timer.periodic, &ticks, 8) == 8 && ticks, "timerfd does not tick");
	g_timer.ticks += ticks;
}

static int g_signalfd;

static void signalfd_setup(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGRTMIN + 1);
	sigaddset(&set, SIGRTMIN + 2);
	need(!sigprocmask(SIG_BLOCK, &set, NULL));
	need((g_signalfd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK)) >= 0);
	need(!sigqueue(getpid(), SIGRTMIN + 1, (union sigval){ .sival_int = 1 }));
}

/* One signal is always waiting. */
static void signalfd_verify(void)
{
	static int next = 1;
	struct signalfd_siginfo info;

	check(read(g_signalfd, &info, sizeof(info)) == sizeof(info) && info.ssi_int == next,
	      "signalfd: signal %d was lost", next);
	next++;
	check(!sigqueue(getpid(), SIGRTMIN + 1 + next % 2, (union sigval){ .sival_int = next }),
	      "sigqueue: %s", strerror(errno));
}

/* Level- and edge-triggered, one-shot, with data, an item whose descriptor was dup'ed. */
static struct { int ep, event, quiet, oneshot, inner; } g_epoll;

static void epoll_add(int ep, int fd, uint32_t events, uint64_t data)
{
	struct epoll_event ev = { .events = events, .data.u64 = data };

	need(!epoll_ctl(ep, EPOLL_CTL_ADD, fd, &ev));
}

static void epoll_setup(void)
{
	struct epoll_event ev;

	need((g_epoll.ep = epoll_create1(EPOLL_CLOEXEC)) >= 0);
	need((g_epoll.inner = epoll_create1(0)) >= 0);
	need((g_epoll.event = eventfd(0, EFD_NONBLOCK)) >= 0);
	need((g_epoll.quiet = eventfd(0, EFD_NONBLOCK)) >= 0);
	need((g_epoll.oneshot = eventfd(1, EFD_NONBLOCK)) >= 0);
	epoll_add(g_epoll.ep, g_epoll.event, EPOLLIN, 0x1111222233334444);
	epoll_add(g_epoll.ep, g_epoll.quiet, EPOLLIN | EPOLLET, 2);
	epoll_add(g_epoll.ep, g_epoll.oneshot, EPOLLIN | EPOLLONESHOT, 3);
	epoll_add(g_epoll.inner, g_epoll.quiet, EPOLLIN, 4);
	epoll_add(g_epoll.ep, g_epoll.inner, EPOLLIN, 5);
	/* The one-shot item is spent from here on. */
	need(epoll_wait(g_epoll.ep, &ev, 1, 0) == 1 && ev.data.u64 == 3);
}

static void epoll_verify(void)
{
	struct epoll_event ev[4];
	uint64_t one = 1;
	int n = epoll_wait(g_epoll.ep, ev, 4, 0);

	check(n == 0, "epoll: %d events too many, the first of item %llx", n,
	      (unsigned long long)(n > 0 ? ev[0].data.u64 : 0));
	check(write(g_epoll.event, &one, 8) == 8, "epoll: %s", strerror(errno));
	n = epoll_wait(g_epoll.ep, ev, 4, 1000);
	check(n == 1 && ev[0].data.u64 == 0x1111222233334444 && ev[0].events == EPOLLIN,
	      "epoll: %d events, item %llx", n, (unsigned long long)(n > 0 ? ev[0].data.u64 : 0));
	check(read(g_epoll.event, &one, 8) == 8, "epoll: %s", strerror(errno));
}

static struct { int fd, wd; unsigned n; } g_inotify;

static void inotify_setup(void)
{
	int gone;

	need(!mkdir("files-watched", 0700));
	need((g_inotify.fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC)) >= 0);
	/* Watch descriptors do not begin at 1 for us. */
	need((gone = inotify_add_watch(g_inotify.fd, ".", IN_DELETE_SELF)) > 0);
	need((g_inotify.wd = inotify_add_watch(g_inotify.fd, "files-watched", IN_CREATE)) > gone);
}

static void inotify_verify(void)
{
	char buf[4096] __attribute__((aligned(8))), path[64], name[32];
	const struct inotify_event *ev = (const void *)buf;
	ssize_t n;
	int fd;

	snprintf(name, sizeof(name), "file%u", g_inotify.n++);
	snprintf(path, sizeof(path), "files-watched/%s", name);
	fd = open(path, O_CREAT | O_WRONLY, 0600);
	n = read(g_inotify.fd, buf, sizeof(buf));
	check(n > 0, "inotify: no event: %s", strerror(errno));
	check(n <= 0 || (ev->wd == g_inotify.wd && ev->mask == IN_CREATE && !strcmp(ev->name, name)),
	      "inotify: watch %d, mask %#x", n > 0 ? ev->wd : 0, n > 0 ? ev->mask : 0);
	close(fd);
	unlink(path);
}

static void inotify_finish(void)
{
	rmdir("files-watched");
}

static struct { int fd; } g_memfd;

static void memfd_setup(void)
{
	char data[64 * KIB];

	check_fill(data, sizeof(data), 21);
	need((g_memfd.fd = memfd_create("never mapped", MFD_ALLOW_SEALING)) >= 0);
	need(write(g_memfd.fd, data, sizeof(data)) == (ssize_t)sizeof(data));
	need(lseek(g_memfd.fd, 1000, SEEK_SET) == 1000);
	need(!fcntl(g_memfd.fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW));
}

static void memfd_verify(void)
{
	static const char name[] = "/memfd:never mapped (deleted)";
	char data[64 * KIB], link[40], path[200];
	ssize_t n;

	check(pread(g_memfd.fd, data, sizeof(data), 0) == (ssize_t)sizeof(data) &&
	      check_differs(data, sizeof(data), 21) < 0, "memfd: contents");
	check(lseek(g_memfd.fd, 0, SEEK_CUR) == 1000, "memfd: offset");
	check(fcntl(g_memfd.fd, F_GET_SEALS) == (F_SEAL_SHRINK | F_SEAL_GROW), "memfd: seals %#x",
	      fcntl(g_memfd.fd, F_GET_SEALS));
	snprintf(link, sizeof(link), "/proc/self/fd/%d", g_memfd.fd);
	n = readlink(link, path, sizeof(path));
	check(n == (ssize_t)strlen(name) && !memcmp(path, name, strlen(name)), "memfd: its name");
}

/* ---- sockets --------------------------------------------------------------------------------- */

static struct { int fd; struct sockaddr_in sin; socklen_t len; } g_listen, g_udp, g_fresh;

static void listen_setup(void)
{
	int one = 1;

	g_listen.sin = (struct sockaddr_in){ .sin_family = AF_INET };
	g_listen.len = sizeof(g_listen.sin);
	need((g_listen.fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)) >= 0);
	need(!setsockopt(g_listen.fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)));
	need(!setsockopt(g_listen.fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)));
	need(!bind(g_listen.fd, (struct sockaddr *)&g_listen.sin, sizeof(g_listen.sin)));
	need(!listen(g_listen.fd, 50));
	need(!getsockname(g_listen.fd, (struct sockaddr *)&g_listen.sin, &g_listen.len));
}

static int int_option(int fd, int level, int name)
{
	int value = -1;
	socklen_t len = sizeof(value);

	getsockopt(fd, level, name, &value, &len);
	return value;
}

/* Is found listening in every round; a connection is made at the end only, since
 * an established one would be a reason to refuse the move. */
static void listen_verify(void)
{
	struct sockaddr_in sin;
	socklen_t len = sizeof(sin);

	check(!getsockname(g_listen.fd, (struct sockaddr *)&sin, &len) &&
	      sin.sin_port == g_listen.sin.sin_port, "listening TCP: its port changed");
	check(int_option(g_listen.fd, SOL_SOCKET, SO_ACCEPTCONN) == 1, "TCP: listens no more");
	check(int_option(g_listen.fd, SOL_SOCKET, SO_REUSEADDR) == 1, "TCP: SO_REUSEADDR");
	check(int_option(g_listen.fd, IPPROTO_TCP, TCP_NODELAY) == 1, "TCP: TCP_NODELAY");
	check(accept(g_listen.fd, NULL, NULL) == -1 && errno == EAGAIN, "TCP: accept: %s",
	      strerror(errno));
}

static void listen_finish(void)
{
	struct sockaddr_in sin = g_listen.sin;
	struct pollfd pfd = { .fd = g_listen.fd, .events = POLLIN };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), got;

	sin.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	check(!connect(fd, (struct sockaddr *)&sin, sizeof(sin)), "TCP: connect: %s", strerror(errno));
	poll(&pfd, 1, 2000);
	got = accept(g_listen.fd, NULL, NULL);
	check(got >= 0, "TCP: accept: %s", strerror(errno));
	close(got);
	close(fd);
}

/* Bound, with a datagram that waits. */
/* A connection of the task with itself: bytes wait in it both ways in every round. */
static struct { int a, b; uint64_t round; struct sockaddr_in sin; } g_tcp_pair;

static void connect_pair(int *a, int *b, struct sockaddr_in *sin)
{
	socklen_t len = sizeof(*sin);
	int listener = socket(AF_INET, SOCK_STREAM, 0);

	*sin = (struct sockaddr_in){ .sin_family = AF_INET };
	sin->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	need(listener >= 0 && !bind(listener, (struct sockaddr *)sin, sizeof(*sin)));
	need(!listen(listener, 1) && !getsockname(listener, (struct sockaddr *)sin, &len));
	need((*a = socket(AF_INET, SOCK_STREAM, 0)) >= 0);
	need(!connect(*a, (struct sockaddr *)sin, sizeof(*sin)));
	need((*b = accept(listener, NULL, NULL)) >= 0);
	close(listener);
}

static void pair_put(int fd, uint64_t seed)
{
	unsigned char data[3000];

	check_fill(data, sizeof(data), seed);
	check(send(fd, data, sizeof(data), MSG_NOSIGNAL) == sizeof(data), "TCP pair: send: %s",
	      strerror(errno));
}

static void pair_get(int fd, uint64_t seed)
{
	unsigned char data[3000];

	check(recv(fd, data, sizeof(data), MSG_WAITALL) == sizeof(data), "TCP pair: recv: %s",
	      strerror(errno));
	check(check_differs(data, sizeof(data), seed) < 0, "TCP pair: other bytes");
}

static void tcp_pair_setup(void)
{
	connect_pair(&g_tcp_pair.a, &g_tcp_pair.b, &g_tcp_pair.sin);
	pair_put(g_tcp_pair.a, 0);
	pair_put(g_tcp_pair.b, 1);
}

static void tcp_pair_verify(void)
{
	struct sockaddr_in sin;
	socklen_t len = sizeof(sin);

	pair_get(g_tcp_pair.b, g_tcp_pair.round * 2);
	pair_get(g_tcp_pair.a, g_tcp_pair.round * 2 + 1);
	g_tcp_pair.round++;
	pair_put(g_tcp_pair.a, g_tcp_pair.round * 2);
	pair_put(g_tcp_pair.b, g_tcp_pair.round * 2 + 1);
	check(!getpeername(g_tcp_pair.a, (struct sockaddr *)&sin, &len) &&
	      sin.sin_port == g_tcp_pair.sin.sin_port, "TCP pair: the peer's port changed");
	same_flags(g_tcp_pair.a, O_RDWR, 0, "TCP pair");
}

/* What is left of connections: bytes to be read, then their end, or an error. */
static struct { int ended, reset; } g_tcp_gone;

static void tcp_gone_setup(void)
{
	struct linger at_once = { .l_onoff = 1 };
	struct sockaddr_in sin;
	struct pollfd pfd;
	int peer;

	connect_pair(&g_tcp_gone.ended, &peer, &sin);
	need(send(peer, "last words", 10, 0) == 10 && !shutdown(g_tcp_gone.ended, SHUT_WR));
	close(peer);
	pfd = (struct pollfd){ .fd = g_tcp_gone.ended, .events = POLLRDHUP };
	need(poll(&pfd, 1, 1000) == 1);
	connect_pair(&g_tcp_gone.reset, &peer, &sin);
	need(!setsockopt(peer, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once)));
	close(peer);
	pfd = (struct pollfd){ .fd = g_tcp_gone.reset };
	need(poll(&pfd, 1, 1000) == 1 && (pfd.revents & POLLERR));
}

static void tcp_gone_verify(void)
{
	struct pollfd pfd = { .fd = g_tcp_gone.reset };
	char buf[16];

	check(recv(g_tcp_gone.ended, buf, sizeof(buf), MSG_PEEK) == 10 && !memcmp(buf, "last words", 10),
	      "ended TCP: its last words");
	check(send(g_tcp_gone.ended, "x", 1, MSG_NOSIGNAL) == -1 && errno == EPIPE,
	      "ended TCP: it can be written to");
	check(poll(&pfd, 1, 0) == 1 && (pfd.revents & POLLERR), "reset TCP: no error waits");
}

static void tcp_gone_finish(void)
{
	char buf[16];

	check(recv(g_tcp_gone.ended, buf, sizeof(buf), 0) == 10, "ended TCP: its last words");
	check(recv(g_tcp_gone.ended, buf, sizeof(buf), 0) == 0, "ended TCP: no end");
	check(recv(g_tcp_gone.reset, buf, sizeof(buf), 0) == -1 && errno == ECONNRESET,
	      "reset TCP: %s", strerror(errno));
	check(recv(g_tcp_gone.reset, buf, sizeof(buf), 0) == 0, "reset TCP: no end");
}

static void udp_setup(void)
{
	g_udp.sin = (struct sockaddr_in){ .sin_family = AF_INET };
	g_udp.sin.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	g_udp.len = sizeof(g_udp.sin);
	need((g_udp.fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0)) >= 0);
	need(!bind(g_udp.fd, (struct sockaddr *)&g_udp.sin, sizeof(g_udp.sin)));
	need(!getsockname(g_udp.fd, (struct sockaddr *)&g_udp.sin, &g_udp.len));
	need((g_fresh.fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0)) >= 0);
}

static void udp_verify(void)
{
	struct pollfd pfd = { .fd = g_udp.fd, .events = POLLIN };
	struct sockaddr_in sin;
	socklen_t len = sizeof(sin);
	char buf[20];

	check(!getsockname(g_udp.fd, (struct sockaddr *)&sin, &len) &&
	      sin.sin_port == g_udp.sin.sin_port, "UDP: its port changed");
	check(sendto(g_udp.fd, "self", 4, 0, (struct sockaddr *)&g_udp.sin, g_udp.len) == 4,
	      "UDP: %s", strerror(errno));
	poll(&pfd, 1, 1000);
	check(recv(g_udp.fd, buf, sizeof(buf), 0) == 4, "UDP: %s", strerror(errno));
	len = sizeof(sin);
	check(!getsockname(g_fresh.fd, (struct sockaddr *)&sin, &len) && sin.sin_port == 0,
	      "unbound UDP: has got a port");
}

static struct { int path, abstract; struct sockaddr_un sun; socklen_t len; } g_unix;

static void unix_setup(void)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX };

	need((g_unix.path = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0)) >= 0);
	/* Not in a directory that hosts share: on one kernel they would see each
	 * other's sockets there. */
	snprintf(sun.sun_path, sizeof(sun.sun_path), "/run/files-unix-%d", getpid());
	need(!bind(g_unix.path, (struct sockaddr *)&sun, sizeof(sun)) && !listen(g_unix.path, 9));
	g_unix.sun = sun;
	memset(&sun, 0, sizeof(sun));
	sun.sun_family = AF_UNIX;
	g_unix.len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 +
		     (size_t)sprintf(sun.sun_path + 1, "check-files-%d", getpid()));
	need((g_unix.abstract = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0)) >= 0);
	need(!bind(g_unix.abstract, (struct sockaddr *)&sun, g_unix.len));
	need(!listen(g_unix.abstract, 9));
}

static void unix_verify(void)
{
	struct sockaddr_un sun;
	socklen_t len = sizeof(sun);

	check(int_option(g_unix.path, SOL_SOCKET, SO_ACCEPTCONN) == 1 &&
	      int_option(g_unix.abstract, SOL_SOCKET, SO_ACCEPTCONN) == 1, "UNIX: listens no more");
	check(!getsockname(g_unix.path, (struct sockaddr *)&sun, &len) &&
	      !strcmp(sun.sun_path, g_unix.sun.sun_path), "UNIX: its path changed");
	len = sizeof(sun);
	check(!getsockname(g_unix.abstract, (struct sockaddr *)&sun, &len) && len == g_unix.len,
	      "UNIX: its abstract name changed");
}

static void unix_finish(void)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), got;

	check(!connect(fd, (struct sockaddr *)&g_unix.sun, sizeof(g_unix.sun)),
	      "UNIX: connect: %s", strerror(errno));
	got = accept(g_unix.path, NULL, NULL);
	check(got >= 0, "UNIX: accept: %s", strerror(errno));
	unlink(g_unix.sun.sun_path);
}

/* ---- locks ----------------------------------------------------------------------------------------- */

static struct { int record, whole; char path[2][40]; } g_locks;

static void locks_setup(void)
{
	struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 100, .l_len = 50 };

	strcpy(g_locks.path[0], "./files-lock.XXXXXX");
	strcpy(g_locks.path[1], "./files-flock.XXXXXX");
	need((g_locks.record = mkstemp(g_locks.path[0])) >= 0);
	need((g_locks.whole = mkstemp(g_locks.path[1])) >= 0);
	need(!fcntl(g_locks.record, F_SETLK, &lock) && !flock(g_locks.whole, LOCK_EX));
}

/* An open file description lock asks on behalf of somebody else. */
static void locks_verify(void)
{
	struct flock ask = { .l_type = F_RDLCK, .l_whence = SEEK_SET, .l_start = 120, .l_len = 1 };
	int other = open(g_locks.path[1], O_RDONLY | O_CLOEXEC);

	check(!fcntl(g_locks.record, F_OFD_GETLK, &ask) && ask.l_type == F_WRLCK &&
	      ask.l_start == 100 && ask.l_len == 50, "the record lock was lost");
	check(flock(other, LOCK_EX | LOCK_NB) == -1 && errno == EWOULDBLOCK, "the flock was lost");
	close(other);
}

static void locks_finish(void)
{
	unlink(g_locks.path[0]);
	unlink(g_locks.path[1]);
}

static const struct check_kind KINDS[] = {
	{ "regular", regular_setup, regular_verify, regular_finish },
	{ "append", append_setup, append_verify, append_finish },
	{ "dup", dup_setup, dup_verify, dup_finish },
	{ "deleted", files_deleted_setup, files_deleted_verify, NULL },
	{ "tmpfile", files_tmpfile_setup, files_tmpfile_verify, NULL },
	{ "mapped", files_mapped_setup, files_mapped_verify, files_mapped_finish },
	{ "followed", files_followed_setup, files_followed_verify, files_followed_finish },
	{ "directory", directory_setup, directory_verify, directory_finish },
	{ "o-path", opath_setup, opath_verify, NULL },
	{ "proc", proc_setup, proc_verify, NULL },
	{ "devices", devices_setup, devices_verify, NULL },
	{ "pipe", pipe_setup, pipe_verify, NULL },
	{ "half-pipe", half_setup, half_verify, half_finish },
	{ "socketpair", pair_setup, pair_verify, NULL },
	{ "packets", packets_setup, packets_verify, NULL },
	{ "fifo", fifo_setup, fifo_verify, fifo_finish },
	{ "eventfd", eventfd_setup, eventfd_verify, NULL },
	{ "timerfd", timerfd_setup, timerfd_verify, NULL },
	{ "signalfd", signalfd_setup, signalfd_verify, NULL },
	{ "epoll", epoll_setup, epoll_verify, NULL },
	{ "inotify", inotify_setup, inotify_verify, inotify_finish },
	{ "memfd", memfd_setup, memfd_verify, NULL },
	{ "tcp-listen", listen_setup, listen_verify, listen_finish },
	{ "tcp-pair", tcp_pair_setup, tcp_pair_verify, NULL },
	{ "tcp-gone", tcp_gone_setup, tcp_gone_verify, tcp_gone_finish },
	{ "udp", udp_setup, udp_verify, NULL },
	{ "unix-listen", unix_setup, unix_verify, unix_finish },
	{ "locks", locks_setup, locks_verify, locks_finish },
};

int main(int argc, char **argv)
{
	check_kinds(argc, argv, "files", KINDS, sizeof(KINDS) / sizeof(*KINDS));
}
