/* refuse [-p FILE] KIND: holds one thing that cannot be carried, says on
 * standard output what a refusal has to name ("name WORD" per line), and goes on
 * computing; at the end it verifies that the thing still works. Its peers are
 * processes of their own, not children: children would be a reason too. */
#include "check.h"
#include "peer.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/aio_abi.h>
#include <linux/bpf.h>
#include <linux/filter.h>
#include <linux/io_uring.h>
#include <linux/magic.h>
#include <linux/netlink.h>
#include <linux/perf_event.h>
#include <linux/seccomp.h>
#include <linux/userfaultfd.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <pty.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/fanotify.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/statfs.h>
#include <sys/un.h>
#include <sys/wait.h>

#ifndef IPPROTO_MPTCP
#define IPPROTO_MPTCP 262
#endif

static int g_fd = -1;          /* the thing, where it is a descriptor */
static char *g_at;             /* the thing, where it is a mapping */
static int g_id;

/* "name TEXT": the error must hold TEXT, any one of several divided by |. */
static void names(const char *text)
{
	printf("name %s\n", text);
}

static void names_fd(int fd)
{
	printf("name descriptor %d\n", fd);
}

static void names_peer(void)
{
	printf("name %d\n", (int)g_peer);
}

static void echo_works(void)
{
	char c = 0;

	check(write(g_fd, "e", 1) == 1 && read(g_fd, &c, 1) == 1 && c == 'e',
	      "the peer does not answer: %s", strerror(errno));
}

/* ---- connections ------------------------------------------------------------------- */

/* A connection of which another process has the same end. */
static void tcp_setup(void)
{
	struct sockaddr_in sin = { .sin_family = AF_INET };
	socklen_t len = sizeof(sin);
	int fd = socket(AF_INET, SOCK_STREAM, 0), from;

	sin.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	need(!bind(fd, (struct sockaddr *)&sin, sizeof(sin)) && !listen(fd, 1));
	need(!getsockname(fd, (struct sockaddr *)&sin, &len));
	need((g_fd = socket(AF_INET, SOCK_STREAM, 0)) >= 0);
	need(!connect(g_fd, (struct sockaddr *)&sin, sizeof(sin)));
	need((from = accept(fd, NULL, NULL)) >= 0);
	close(fd);
	if (!start_peer())
		peer_echo(from, from);
	close(from);
	names_fd(g_fd);
	names("socket");
	names_peer();
}

/* A connection of the task with itself, which is carried but for what is added. */
static int own_connection(int protocol, void (*prepare)(int fd))
{
	struct sockaddr_in sin = { .sin_family = AF_INET };
	socklen_t len = sizeof(sin);
	int listener = socket(AF_INET, SOCK_STREAM, protocol), from;

	if (listener < 0)
		check_skip("no sockets of protocol %d", protocol);
	sin.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	need(!bind(listener, (struct sockaddr *)&sin, sizeof(sin)));
	need(!getsockname(listener, (struct sockaddr *)&sin, &len));
	if (prepare)
		prepare(listener);
	need(!listen(listener, 1));
	need((g_fd = socket(AF_INET, SOCK_STREAM, protocol)) >= 0);
	if (prepare)
		prepare(g_fd);
	need(!connect(g_fd, (struct sockaddr *)&sin, sizeof(sin)));
	need((from = accept(listener, NULL, NULL)) >= 0);
	close(listener);
	names_fd(g_fd);
	names("TCP");
	return from;
}

static int g_other_end;

static void own_works(void)
{
	char c = 0;

	check(send(g_other_end, "e", 1, 0) == 1 && recv(g_fd, &c, 1, 0) == 1 && c == 'e',
	      "the connection is no more: %s", strerror(errno));
}

static void mptcp_setup(void)
{
	g_other_end = own_connection(IPPROTO_MPTCP, NULL);
	names("MPTCP");
}

static void zerocopy_setup(void)
{
	int one = 1;

	g_other_end = own_connection(0, NULL);
	need(!setsockopt(g_fd, SOL_SOCKET, SO_ZEROCOPY, &one, sizeof(one)));
	names("SO_ZEROCOPY");
}

static void urgent_setup(void)
{
	struct pollfd p;

	g_other_end = own_connection(0, NULL);
	need(send(g_other_end, "!", 1, MSG_OOB) == 1);
	p = (struct pollfd){ .fd = g_fd, .events = POLLPRI };
	need(poll(&p, 1, 1000) == 1);
	names("urgent");
}

static void urgent_verify(void)
{
	char c = 0;

	check(recv(g_fd, &c, 1, MSG_OOB | MSG_PEEK) == 1 && c == '!', "the urgent byte: %s",
	      strerror(errno));
}

static void sign(int fd)
{
	struct tcp_md5sig sig = { .tcpm_keylen = 6, .tcpm_key = "secret" };
	struct sockaddr_in *sin = (struct sockaddr_in *)&sig.tcpm_addr;

	sin->sin_family = AF_INET;
	sin->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (setsockopt(fd, IPPROTO_TCP, TCP_MD5SIG, &sig, sizeof(sig)) < 0)
		check_skip("TCP_MD5SIG: %s", strerror(errno));
}

static void md5_setup(void)
{
	g_other_end = own_connection(0, sign);
	names("TCP_MD5SIG");
}

/* One that the other process has the same end of as well. */
static void unix_setup(void)
{
	int pair[2];

	need(!socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
	if (!start_peer())
		peer_echo(pair[1], pair[1]);
	close(pair[1]);
	g_fd = pair[0];
	names_fd(g_fd);
	names("socket");
	names_peer();
}

/* A pipe that another process reads as well. */
static void reader_setup(void)
{
	int ends[2];

	need(!pipe(ends));
	if (!start_peer())
		peer_sleep();
	close(ends[1]);
	g_fd = ends[0];
	names_fd(g_fd);
	names("reads too");
	names_peer();
}

static void reader_verify(void)
{
	int n = -1;

	check(ioctl(g_fd, FIONREAD, &n) == 0 && n == 0, "the pipe holds %d bytes", n);
}

static void terminal_setup(void)
{
	int master;

	need(!openpty(&master, &g_fd, NULL, NULL, NULL));
	if (!start_peer())
		peer_sleep();
	close(master);
	names_fd(g_fd);
	names("terminal|/dev/pts");
}

static void terminal_verify(void)
{
	check(isatty(g_fd), "the terminal is gone: %s", strerror(errno));
}

static void netlink_setup(void)
{
	need((g_fd = socket(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE)) >= 0);
	names_fd(g_fd);
	names("netlink|NETLINK");
}

static void raw_setup(void)
{
	need((g_fd = socket(AF_INET, SOCK_RAW, IPPROTO_ICMP)) >= 0);
	names_fd(g_fd);
	names("raw|RAW");
}

/* ---- processes ------------------------------------------------------------------------ */

static void child_setup(void)
{
	need((g_id = fork()) >= 0);
	if (g_id == 0) {
		signal(SIGTERM, SIG_DFL);
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		peer_sleep();
	}
	names("child");
	printf("name %d\n", g_id);
}

static void child_verify(void)
{
	check(!kill(g_id, 0) && waitpid(g_id, NULL, WNOHANG) == 0, "the child ended");
}

static void child_finish(void)
{
	kill(g_id, SIGKILL);
	waitpid(g_id, NULL, 0);
}

static void zombie_setup(void)
{
	siginfo_t info;

	need((g_id = fork()) >= 0);
	if (g_id == 0)
		_exit(7);
	need(!waitid(P_PID, (id_t)g_id, &info, WEXITED | WNOWAIT));
	names("child|zombie");
	printf("name %d\n", g_id);
}

static void zombie_finish(void)
{
	int status = 0;

	check(waitpid(g_id, &status, 0) == g_id && WEXITSTATUS(status) == 7,
	      "the dead child's status was lost");
}

/* A thread that waits in vfork for its child: it cannot be stopped. The child
 * reports by a flag in the memory that it shares until its end. */
static volatile int g_forked;

__attribute__((noreturn)) static int vfork_child(void *unused)
{
	g_forked = 1;
	for (;;)
		syscall(SYS_pause);
}

static void *vfork_main(void *unused)
{
	static char stack[65536] __attribute__((aligned(16)));

	clone(vfork_child, stack + sizeof(stack), CLONE_VM | CLONE_VFORK | CLONE_PARENT_SETTID |
	      SIGCHLD, NULL, &g_id, NULL, NULL);
	return NULL;
}

static void vfork_setup(void)
{
	pthread_t thread;
	sigset_t set, old;

	/* The child must not take the signal that ends us. */
	sigfillset(&set);
	pthread_sigmask(SIG_SETMASK, &set, &old);
	need(!pthread_create(&thread, NULL, vfork_main, NULL));
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	pthread_detach(thread);
	while (!g_forked)
		sched_yield();
	names("child|vfork");
	printf("name %d\n", g_id);
}

static void vfork_finish(void)
{
	kill(g_id, SIGKILL);
	check(waitpid(g_id, NULL, 0) == g_id, "the child is lost: %s", strerror(errno));
}

static void traced_setup(void)
{
	pid_t self = getpid();
	int fd[2];
	char c;

	need(!pipe2(fd, O_CLOEXEC));
	prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY);
	if (!start_peer()) {
		if (ptrace(PTRACE_SEIZE, self, NULL, NULL) || write(fd[1], "t", 1) != 1)
			_exit(1);
		for (;;) {
			int status;
			pid_t pid = waitpid(-1, &status, __WALL);

			if (pid < 0 || WIFEXITED(status))
				_exit(0);
			ptrace(PTRACE_CONT, pid, 0, status >> 16 ? 0 : WSTOPSIG(status));
		}
	}
	need(read(fd[0], &c, 1) == 1);
	close(fd[0]);
	close(fd[1]);
	names("traced|tracer|ptrace");
	names_peer();
}

static void traced_verify(void)
{
	char status[4096], want[40];

	snprintf(want, sizeof(want), "TracerPid:\t%d\n", (int)g_peer);
	check(check_read_file("/proc/self/status", status, sizeof(status)) > 0 &&
	      strstr(status, want), "the tracer is gone");
}

/* ---- what the kernel holds for us -------------------------------------------------------- */

static void uring_setup(void)
{
	struct io_uring_params params = { 0 };

	g_fd = (int)syscall(SYS_io_uring_setup, 4, &params);
	if (g_fd < 0)
		check_skip("io_uring_setup: %s", strerror(errno));
	g_at = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, g_fd, IORING_OFF_SQ_RING);
	need(g_at != MAP_FAILED);
	/* by its descriptor or by its mapping, whichever is found first */
	names("io_uring");
}

static void aio_setup(void)
{
	aio_context_t context = 0;

	if (syscall(SYS_io_setup, 4, &context))
		check_skip("io_setup: %s", strerror(errno));
	names("aio|AIO");
}

static void perf_setup(void)
{
	struct perf_event_attr attr = { .type = PERF_TYPE_SOFTWARE, .size = sizeof(attr),
					.config = PERF_COUNT_SW_TASK_CLOCK };

	g_fd = (int)syscall(SYS_perf_event_open, &attr, 0, -1, -1, PERF_FLAG_FD_CLOEXEC);
	if (g_fd < 0)
		check_skip("perf_event_open: %s", strerror(errno));
	names_fd(g_fd);
	names("perf");
}

static void perf_verify(void)
{
	uint64_t count = 0;

	check(read(g_fd, &count, 8) == 8 && count, "the perf counter does not count");
}

static void bpf_setup(void)
{
	union bpf_attr attr = { .map_type = BPF_MAP_TYPE_ARRAY };

	attr.key_size = 4;
	attr.value_size = 8;
	attr.max_entries = 1;
	g_fd = (int)syscall(SYS_bpf, BPF_MAP_CREATE, &attr, sizeof(attr));
	if (g_fd < 0)
		check_skip("bpf: %s", strerror(errno));
	names_fd(g_fd);
	names("bpf|BPF");
}

/* A filter that asks another process what it thinks. */
static void seccomp_setup(void)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_acct, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog prog = { sizeof(code) / sizeof(*code), code };

	need(!prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
	if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &prog))
		check_skip("seccomp: %s", strerror(errno));
	names("seccomp filter that asks another process");
}

static void seccomp_verify(void)
{
	check(prctl(PR_GET_SECCOMP) == SECCOMP_MODE_FILTER, "the seccomp filter is gone");
}

static void fanotify_setup(void)
{
	g_fd = fanotify_init(FAN_CLASS_NOTIF, O_RDONLY);
	if (g_fd < 0)
		check_skip("fanotify_init: %s", strerror(errno));
	names_fd(g_fd);
	names("fanotify");
}

static void pidfd_setup(void)
{
	if (!start_peer())
		peer_sleep();
	need((g_fd = (int)syscall(SYS_pidfd_open, g_peer, 0)) >= 0);
	names_fd(g_fd);
	names("pidfd");
	names_peer();
}

static void uffd_setup(void)
{
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register reg = { .mode = UFFDIO_REGISTER_MODE_MISSING };

	g_fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK | UFFD_USER_MODE_ONLY);
	if (g_fd < 0 || ioctl(g_fd, UFFDIO_API, &api))
		check_skip("userfaultfd: %s", strerror(errno));
	g_at = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	need(g_at != MAP_FAILED);
	reg.range.start = (uintptr_t)g_at;
	reg.range.len = 8192;
	need(!ioctl(g_fd, UFFDIO_REGISTER, &reg));
	names("userfaultfd");
}

/* ---- memory -------------------------------------------------------------------------------- */

static void hugetlb_setup(void)
{
	g_at = mmap(NULL, 2 << 20, PROT_READ | PROT_WRITE,
		    MAP_SHARED | MAP_ANONYMOUS | MAP_HUGETLB | MAP_NORESERVE, -1, 0);
	if (g_at == MAP_FAILED)
		check_skip("MAP_HUGETLB: %s", strerror(errno));
	names("huge");
}

static void sysv_setup(void)
{
	need((g_id = shmget(IPC_PRIVATE, 8192, IPC_CREAT | 0600)) >= 0);
	g_at = shmat(g_id, NULL, 0);
	need(g_at != (void *)-1);
	shmctl(g_id, IPC_RMID, NULL);
	check_fill(g_at, 8192, 1);
	names("SysV|System V|SYSV");
}

static void memory_verify(void)
{
	check(check_differs(g_at, 8192, 1) < 0, "the memory's contents changed");
}

/* A file that another process maps too. */
static void shared_file_setup(void)
{
	int fd = open("refuse-shared", O_RDWR | O_CREAT | O_TRUNC, 0600);
	struct statfs fs;

	need(fd >= 0 && !ftruncate(fd, 8192) && !fstatfs(fd, &fs));
	if (fs.f_type == TMPFS_MAGIC) {
		unlink("refuse-shared");
		check_skip("a file on a tmpfs, as here, is shared memory, which is carried");
	}
	g_at = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	need(g_at != MAP_FAILED);
	close(fd);
	check_fill(g_at, 8192, 1);
	if (!start_peer())
		peer_sleep();
	names("refuse-shared");
	names_peer();
}

static void shared_file_finish(void)
{
	unlink("refuse-shared");
}

/* Anonymous shared memory that another process has too. */
static void shared_peer_setup(void)
{
	g_at = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	need(g_at != MAP_FAILED);
	check_fill(g_at, 8192, 1);
	if (!start_peer())
		peer_sleep();
	names("shared");
	names_peer();
}

/* A UDP socket that listens to a group. */
static struct sockaddr_in g_group;

static void group_setup(void)
{
	struct ip_mreqn m = { .imr_ifindex = (int)if_nametoindex("lo") };

	need((g_fd = socket(AF_INET, SOCK_DGRAM, 0)) >= 0);
	g_group = (struct sockaddr_in){ .sin_family = AF_INET, .sin_port = htons(7001) };
	need(!bind(g_fd, (struct sockaddr *)&g_group, sizeof(g_group)));
	need(inet_pton(AF_INET, "224.5.6.7", &g_group.sin_addr) == 1);
	m.imr_multiaddr = g_group.sin_addr;
	need(!setsockopt(g_fd, IPPROTO_IP, IP_ADD_MEMBERSHIP, &m, sizeof(m)));
	need(!setsockopt(g_fd, IPPROTO_IP, IP_MULTICAST_IF, &m, sizeof(m)));
	names_fd(g_fd);
	names("224.5.6.7");
}

static void group_verify(void)
{
	char c = 0;

	check(sendto(g_fd, "g", 1, 0, (struct sockaddr *)&g_group, sizeof(g_group)) == 1,
	      "sendto: %s", strerror(errno));
	check(recv(g_fd, &c, 1, 0) == 1 && c == 'g', "the group is gone");
}

/* A device's memory. */
static void device_setup(void)
{
	g_fd = open("/dev/kmsg", O_RDONLY | O_NONBLOCK);
	if (g_fd < 0)
		check_skip("/dev/kmsg: %s", strerror(errno));
	names_fd(g_fd);
	names("/dev/kmsg");
}

/* ------------------------------------------------------------------------------------------------ */

static void nothing(void)
{
}

static void still_open(void)
{
	check(fcntl(g_fd, F_GETFD) >= 0, "the descriptor is gone");
}

static const struct check_kind KINDS[] = {
	{ "tcp", tcp_setup, echo_works, NULL },
	{ "mptcp", mptcp_setup, own_works, NULL },
	{ "zerocopy", zerocopy_setup, own_works, NULL },
	{ "group", group_setup, group_verify, NULL },
	{ "urgent", urgent_setup, urgent_verify, NULL },
	{ "md5", md5_setup, own_works, NULL },
	{ "unix", unix_setup, echo_works, NULL },
	{ "reader", reader_setup, reader_verify, NULL },
	{ "terminal", terminal_setup, terminal_verify, NULL },
	{ "netlink", netlink_setup, still_open, NULL },
	{ "raw", raw_setup, still_open, NULL },
	{ "child", child_setup, child_verify, child_finish },
	{ "zombie", zombie_setup, nothing, zombie_finish },
	{ "vfork", vfork_setup, nothing, vfork_finish },
	{ "traced", traced_setup, traced_verify, NULL },
	{ "io_uring", uring_setup, still_open, NULL },
	{ "aio", aio_setup, nothing, NULL },
	{ "perf", perf_setup, perf_verify, NULL },
	{ "bpf", bpf_setup, still_open, NULL },
	{ "seccomp", seccomp_setup, seccomp_verify, NULL },
	{ "fanotify", fanotify_setup, still_open, NULL },
	{ "pidfd", pidfd_setup, still_open, NULL },
	{ "userfaultfd", uffd_setup, still_open, NULL },
	{ "hugetlb", hugetlb_setup, nothing, NULL },
	{ "sysv-shm", sysv_setup, memory_verify, NULL },
	{ "shared-file", shared_file_setup, memory_verify, shared_file_finish },
	{ "shared-peer", shared_peer_setup, memory_verify, NULL },
	{ "device", device_setup, still_open, NULL },
};

static void end_peer(void)
{
	if (g_peer)
		kill(g_peer, SIGKILL);
}

int main(int argc, char **argv)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
	atexit(end_peer);
	check_kinds(argc, argv, "refuse", KINDS, sizeof(KINDS) / sizeof(*KINDS));
}
