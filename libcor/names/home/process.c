/* The file server's process; see home/process.h. */
#include "libcor/names/home/process.h"

#include <cap-ng.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <malloc.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "libcor/base/cleanup.h"
#include "libcor/base/error.h"
#include "libcor/base/io.h"
#include "libcor/names/home/server.h"
#include "libcor/task/procfs.h"
#include "libcor/transport/lane.h"

#define LINES_MAX  16           /* of cord and workers, at once */
#define STATUS_MS  500
#define GREETINGS_MAX 8u        /* handshakes at once */
#define GREET_S    10           /* for one */

enum line_op {
	LINE_HELLO = 1, LINE_ADOPT, LINE_UNPIN, LINE_FETCH, LINE_CONNECT, LINE_CONNECT_TLS,
	LINE_PASS, LINE_PASSED, LINE_LOCK,
};

/* Each way, in one packet, with a descriptor where there is one. */
struct line_packet {
	uint32_t op;
	int32_t  status;
	uint64_t value;
	union {
		uint8_t secret[32];     /* LINE_HELLO */
		struct home_lock lock;  /* LINE_LOCK */
	};
};

struct process {
	const struct cor_home_serve *what;
	struct home_server *server;
	int  listener, dir;             /* dir: of the socket and the status, by then out of sight */
	int  lines[LINES_MAX];          /* [0]: the worker's, which needs no hello */
	bool known[LINES_MAX];
	char name[40];                  /* of the files in dir, without what follows the dot */
	char shown[512];                /* the status as written last */
	uint64_t alone_since_ns;
	bool used;
	atomic_uint greetings;          /* threads that shake hands */
};

/* ---- lines --------------------------------------------------------------------- */

static int ask(int line, struct line_packet *p, int fd, int *got)
{
	struct line_packet reply;
	unsigned nfds = got ? 1 : 0;
	int r = cor_send_fds(line, p, sizeof(*p), &fd, fd >= 0);
	ssize_t n;

	if (r < 0)
		return r;
	n = cor_recv_fds(line, &reply, sizeof(reply), got, &nfds);
	if (n != sizeof(reply))
		return n < 0 ? (int)n : -ECONNRESET;
	if (reply.status == 0 && got && !nfds)
		return -EPROTO;
	*p = reply;
	return reply.status;
}

int cor_home_adopt(int control, int fd, uint64_t *handle)
{
	struct line_packet p = { .op = LINE_ADOPT };
	int r = ask(control, &p, fd, NULL);

	if (r == 0)
		*handle = p.value;
	return r;
}

int cor_home_unpin(int control)
{
	struct line_packet p = { .op = LINE_UNPIN };

	return ask(control, &p, -1, NULL);
}

int cor_home_fetch(int control, uint64_t handle)
{
	struct line_packet p = { .op = LINE_FETCH, .value = handle };
	int fd = -1, r = ask(control, &p, -1, &fd);

	return r < 0 ? r : fd;
}

int cor_home_pass(int control, uint64_t handle, int fd)
{
	struct line_packet p = { .op = LINE_PASS, .value = handle };

	return ask(control, &p, fd, NULL);
}

int cor_home_passed(int control)
{
	struct line_packet p = { .op = LINE_PASSED };

	return ask(control, &p, -1, NULL);
}

int cor_home_lock(int control, uint64_t handle, const struct home_lock *lock)
{
	struct line_packet p = { .op = LINE_LOCK, .value = handle, .lock = *lock };

	return ask(control, &p, -1, NULL);
}

int cor_home_hand_over(int control, int fd, bool tls)
{
	struct line_packet p = { .op = tls ? LINE_CONNECT_TLS : LINE_CONNECT };

	return ask(control, &p, fd, NULL);
}

static void name_of(char out[40], const uint8_t id[16])
{
	for (unsigned i = 0; i < 16; i++)
		sprintf(out + 2 * i, "%02x", id[i]);
}

int cor_home_find(const char *dir, const uint8_t id[16], const uint8_t secret[32])
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	struct line_packet p = { .op = LINE_HELLO };
	struct timeval soon = { .tv_sec = 2 };
	_cleanup_close_ int fd = -1, at = -1;
	char name[40];
	int r;

	/* the directory's own path may be too long for an address */
	at = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (fd < 0 || at < 0)
		return -errno;
	name_of(name, id);
	snprintf(a.sun_path, sizeof(a.sun_path), "/proc/self/fd/%d/%s.sock", at, name);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &soon, sizeof(soon));
	if (connect(fd, (struct sockaddr *)&a, sizeof(a)) < 0)
		return errno == ECONNREFUSED ? -ENOENT : -errno;
	if (!secret)
		return take_fd(&fd);
	memcpy(p.secret, secret, sizeof(p.secret));
	r = ask(fd, &p, -1, NULL);
	explicit_bzero(&p, sizeof(p));
	return r < 0 ? r : take_fd(&fd);
}

/* ---- in the process: lines --------------------------------------------------------- */

static int take_connection(struct process *p, int fd)
{
	struct cor_stream *s = NULL;
	int r = cor_preamble_answer(fd, 0);

	if (r < 0) {
		close(fd);
		return r;
	}
	fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) & ~O_NONBLOCK);
	r = cor_lane_accept(&s, fd, COR_CONN_HOME, NULL);
	return r < 0 ? r : home_server_connect(p->server, s, NULL);
}

/* A handshake on its way, in a thread of its own: a peer may be slow, or nobody. */
struct greeting {
	struct process *process;
	struct cor_tls *keys;
	struct cor_stream *stream;
};

static void *greet(void *arg)
{
	struct greeting *g = arg;
	uint64_t deadline = cor_now_ns() + GREET_S * 1000000000ull;
	struct process *p = g->process;
	int r = cor_stream_tls_handshake(g->stream, deadline, NULL);

	cor_tls_free(g->keys);
	if (r < 0)
		cor_stream_close(g->stream);
	else if (cor_lane_admit(&g->stream, COR_CONN_HOME, 0, NULL) == 0)
		home_server_connect(p->server, g->stream, NULL);
	free(g);
	atomic_fetch_sub(&p->greetings, 1);
	return NULL;
}

static int start_greeting(struct process *p, int fd)
{
	struct greeting *g = calloc(1, sizeof(*g));
	pthread_t t;
	int r;

	if (!g) {
		close(fd);
		return -ENOMEM;
	}
	g->process = p;
	r = cor_tls_from_secret(&g->keys, p->what->id, p->what->secret, COR_CONN_HOME, 0, NULL);
	if (r < 0)
		close(fd);
	else
		r = cor_lane_accept_tls(&g->stream, fd, COR_CONN_HOME, g->keys, NULL);
	if (r == 0) {
		atomic_fetch_add(&p->greetings, 1);
		r = -pthread_create(&t, NULL, greet, g);
		if (r == 0) {
			pthread_detach(t);
			return 0;
		}
		atomic_fetch_sub(&p->greetings, 1);
		cor_stream_close(g->stream);
	}
	cor_tls_free(g->keys);
	free(g);
	return r;
}

static int take_encrypted(struct process *p, int fd)
{
	int r = cor_preamble_answer(fd, atomic_load(&p->greetings) < GREETINGS_MAX ? 0 : -EBUSY);

	if (r == 0 && atomic_load(&p->greetings) >= GREETINGS_MAX)
		r = -EBUSY;
	if (r < 0) {
		close(fd);
		return r;
	}
	return start_greeting(p, fd);
}

/* fd is taken. */
static int obey(struct process *p, unsigned line, struct line_packet *q, int fd, int *out)
{
	_cleanup_close_ int given = fd;

	if (q->op == LINE_HELLO) {
		p->known[line] = cor_secret_equal(q->secret, p->what->secret, sizeof(q->secret));
		return p->known[line] ? 0 : -EPERM;
	}
	/* the handshake asks for the secret */
	if (q->op == LINE_CONNECT_TLS)
		return given < 0 ? -EBADF : take_encrypted(p, take_fd(&given));
	if (!p->known[line])
		return -EPERM;
	switch (q->op) {
	case LINE_ADOPT:
		return given < 0 ? -EBADF : home_server_adopt(p->server, take_fd(&given), &q->value);
	case LINE_UNPIN:
		home_server_unpin(p->server);
		return 0;
	case LINE_FETCH:
		*out = home_server_handle_fd(p->server, q->value);
		return COR_MIN(*out, 0);
	case LINE_PASS:
		return given < 0 ? -EBADF : home_server_pass(p->server, q->value, take_fd(&given));
	case LINE_PASSED:
		home_server_passed(p->server);
		return 0;
	case LINE_LOCK:
		return home_server_pass_lock(p->server, q->value, &q->lock);
	case LINE_CONNECT:
		return given < 0 ? -EBADF : take_connection(p, take_fd(&given));
	default:
		return -ENOSYS;
	}
}

static void hang_up(struct process *p, unsigned line)
{
	/* the worker's: whoever has the locks now has them alone */
	if (line == 0)
		home_server_passed(p->server);
	close(p->lines[line]);
	p->lines[line] = -1;
	p->known[line] = false;
}

static void hear(struct process *p, unsigned line)
{
	_cleanup_close_ int out = -1;
	struct line_packet q;
	unsigned nfds = 1;
	int fd = -1;
	ssize_t n = cor_recv_fds(p->lines[line], &q, sizeof(q), &fd, &nfds);

	if (n != sizeof(q)) {
		if (nfds && fd >= 0)
			close(fd);
		hang_up(p, line);
		return;
	}
	q.status = obey(p, line, &q, nfds ? fd : -1, &out);
	explicit_bzero(q.secret, sizeof(q.secret));
	if (cor_send_fds(p->lines[line], &q, sizeof(q), &out, out >= 0) < 0)
		hang_up(p, line);
}

static void pick_up(struct process *p)
{
	int fd = accept4(p->listener, NULL, NULL, SOCK_CLOEXEC);

	for (unsigned i = 1; i < LINES_MAX && fd >= 0; i++) {
		if (p->lines[i] >= 0)
			continue;
		p->lines[i] = take_fd(&fd);
		return;
	}
	cor_closep(&fd);
}

/* ---- in the process: life ------------------------------------------------------------ */

static void show(struct process *p, const struct home_server_stats *s)
{
	char text[sizeof(p->shown)], name[48];

	snprintf(text, sizeof(text), "{\"role\": \"home\", \"tree\": \"%s\", \"pid\": %d, "
		 "\"server\": %d, \"connected\": %s, \"requests\": %llu, \"read_bytes\": %llu, "
		 "\"written_bytes\": %llu, \"handles\": %u}\n", p->name, (int)p->what->pid,
		 (int)getpid(), s->connected ? "true" : "false", (unsigned long long)s->requests,
		 (unsigned long long)s->read_bytes, (unsigned long long)s->written_bytes,
		 s->handles);
	if (strcmp(text, p->shown) == 0)
		return;
	snprintf(name, sizeof(name), "%s.json", p->name);
	if (cor_replace(p->dir, name, text) == 0)
		strcpy(p->shown, text);
}

static void remove_traces(const struct process *p)
{
	static const char *const ends[] = { "sock", "json", "json.new" };
	char name[48];

	for (unsigned i = 0; i < ARRAY_SIZE(ends); i++) {
		snprintf(name, sizeof(name), "%s.%s", p->name, ends[i]);
		unlinkat(p->dir, name, 0);
	}
}

/* Nobody needs the files any more, or nobody ever will. */
static bool over(struct process *p, const struct home_server_stats *s)
{
	uint64_t now = cor_now_ns();

	p->used |= s->used;
	if (!s->clients)
		return p->lines[0] < 0;
	if (s->connected || !p->what->orphan_s) {
		p->alone_since_ns = 0;
		return false;
	}
	if (!p->alone_since_ns)
		p->alone_since_ns = now;
	return now - p->alone_since_ns > p->what->orphan_s * 1000000000ull;
}

static void live(struct process *p)
{
	struct home_server_stats s;

	for (;;) {
		struct pollfd fds[LINES_MAX + 1] = { { .fd = p->listener, .events = POLLIN } };

		for (unsigned i = 0; i < LINES_MAX; i++)
			fds[i + 1] = (struct pollfd){ .fd = p->lines[i], .events = POLLIN };
		home_server_stats(p->server, &s);
		show(p, &s);
		if (over(p, &s))
			return;
		poll(fds, LINES_MAX + 1, STATUS_MS);
		for (unsigned i = 0; i < LINES_MAX; i++)
			if (fds[i + 1].revents)
				hear(p, i);
		if (fds[0].revents)
			pick_up(p);
	}
}

/* ---- in the process: beginning ----------------------------------------------------------- */

/* The task's view of the files: its mount namespace and root directory. */
static int enter(pid_t pid, int *root, struct cor_error *err)
{
	_cleanup_close_ int ns = -1, top = -1;
	char path[48];

	snprintf(path, sizeof(path), "/proc/%d/ns/mnt", (int)pid);
	ns = open(path, O_RDONLY | O_CLOEXEC);
	snprintf(path, sizeof(path), "/proc/%d/root", (int)pid);
	top = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (ns < 0 || top < 0)
		return cor_fail_errno(err, "%s", path);
	if (setns(ns, CLONE_NEWNS) < 0 || fchdir(top) < 0 || chroot(".") < 0)
		return cor_fail_errno(err, "the files of process %d cannot be reached", (int)pid);
	*root = take_fd(&top);
	return 0;
}

/* What of a task's privileges is about files. */
static const unsigned file_caps[] = {
	CAP_CHOWN, CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH, CAP_FOWNER, CAP_FSETID, CAP_SETUID,
	CAP_SETGID, CAP_LINUX_IMMUTABLE, CAP_MKNOD, CAP_SYS_RESOURCE,
};

/* The task's rights, and no others. */
static int become(const struct cor_proc_status *st, struct cor_error *err)
{
	if (setgroups(COR_MIN(st->ngroups, ARRAY_SIZE(st->groups)), st->groups) < 0 ||
	    prctl(PR_SET_KEEPCAPS, 1) < 0 ||
	    setresgid(st->gid[0], st->gid[3], st->gid[2]) < 0 ||
	    setresuid(st->uid[0], st->uid[3], st->uid[2]) < 0)
		return cor_fail_errno(err, "the rights of the task cannot be taken");
	capng_clear(CAPNG_SELECT_BOTH);
	for (unsigned i = 0; i < ARRAY_SIZE(file_caps); i++)
		if (st->cap_eff >> file_caps[i] & 1)
			capng_update(CAPNG_ADD, CAPNG_EFFECTIVE | CAPNG_PERMITTED, file_caps[i]);
	if (capng_apply(CAPNG_SELECT_CAPS) != 0)
		return cor_fail(err, -EPERM, "the capabilities of the task cannot be taken");
	return 0;
}

static int listen_in(struct process *p, struct cor_error *err)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };

	p->dir = open(p->what->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	p->listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (p->dir < 0 || p->listener < 0)
		return cor_fail_errno(err, "%s", p->what->dir);
	snprintf(a.sun_path, sizeof(a.sun_path), "/proc/self/fd/%d/%s.sock", p->dir, p->name);
	if (bind(p->listener, (struct sockaddr *)&a, sizeof(a)) < 0 ||
	    fchmodat(p->dir, strrchr(a.sun_path, '/') + 1, 0600, 0) < 0 ||
	    listen(p->listener, LINES_MAX) < 0)
		return cor_fail_errno(err, "the file server's socket in %s", p->what->dir);
	return 0;
}

static int read_rights(pid_t pid, struct cor_proc_status *out, struct cor_error *err)
{
	_cleanup_free_ char *text = NULL;
	char path[40];
	int r;

	snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
	r = cor_slurp(AT_FDCWD, path, &text, NULL);
	if (r == 0)
		r = cor_parse_status(text, out);
	return r < 0 ? cor_fail_code(err, r, "%s", path) : 0;
}

int cor_home_take_rights(pid_t pid, struct cor_error *err)
{
	struct cor_proc_status rights;
	int r = read_rights(pid, &rights, err);

	return r < 0 ? r : become(&rights, err);
}

static int begin(struct process *p, struct cor_error *err)
{
	struct cor_proc_status rights;
	int root = -1, proc, r = read_rights(p->what->pid, &rights, err);

	if (r == 0)
		r = listen_in(p, err);
	if (r < 0)
		return r;
	cor_raise_descriptors(NULL);
	umask(0);
	/* buffers of a READ come and go: they stay this process's */
	mallopt(M_MMAP_THRESHOLD, 32 << 20);
	mallopt(M_TRIM_THRESHOLD, 256 << 20);
	proc = open("/proc/self/fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (proc < 0)
		return cor_fail_errno(err, "/proc/self/fd");
	r = enter(p->what->pid, &root, err);
	/* relative names mean descriptors from here on, wherever /proc is */
	if (r == 0 && fchdir(proc) < 0)
		r = cor_fail_errno(err, "/proc/self/fd");
	if (r == 0)
		r = become(&rights, err);
	if (r < 0) {
		close(proc);
		cor_closep(&root);
		return r;
	}
	return home_server_new(&p->server, root, proc, err);
}

static void close_others(int keep)
{
	if (keep > 3)
		close_range(3, (unsigned)keep - 1, 0);
	close_range((unsigned)COR_MAX(keep + 1, 3), ~0u, 0);
}

static void __attribute__((noreturn)) run(const struct cor_home_serve *what, int control)
{
	struct process p = { .what = what, .listener = -1, .dir = -1 };
	struct line_packet ready = { .op = LINE_HELLO };
	struct cor_error err = COR_ERROR_INIT;
	char text[sizeof(ready) + COR_ERROR_TEXT] = "";
	sigset_t none;

	for (unsigned i = 0; i < LINES_MAX; i++)
		p.lines[i] = -1;
	prctl(PR_SET_NAME, "cor-home");
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	for (int sig = 1; sig < NSIG; sig++)
		signal(sig, SIG_DFL);
	signal(SIGPIPE, SIG_IGN);
	close_others(control);
	setsid();
	name_of(p.name, what->id);
	p.lines[0] = control;
	p.known[0] = true;
	ready.status = begin(&p, &err);
	memcpy(text, &ready, sizeof(ready));
	strcpy(text + sizeof(ready), err.text);
	cor_send_fds(control, text, sizeof(ready) + strlen(err.text) + 1, NULL, 0);
	if (ready.status == 0) {
		live(&p);
		/* a greeting would bring it another connection */
		while (atomic_load(&p.greetings))
			usleep(10000);
		home_server_free(p.server);
	}
	remove_traces(&p);
	_exit(0);
}

static int await_ready(int control, struct cor_error *err)
{
	char text[sizeof(struct line_packet) + COR_ERROR_TEXT];
	struct line_packet ready;
	ssize_t n = recv(control, text, sizeof(text) - 1, 0);

	if (n < (ssize_t)sizeof(ready))
		return cor_fail(err, -ESRCH, "the file server died at its start");
	text[n] = 0;
	memcpy(&ready, text, sizeof(ready));
	return ready.status < 0 ? cor_fail(err, ready.status, "%s", text + sizeof(ready)) : 0;
}

int cor_home_serve(const struct cor_home_serve *what, int *control, struct cor_error *err)
{
	_cleanup_close_ int ours = -1;
	int pair[2], r;
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return cor_fail_errno(err, "a line to the file server");
	ours = pair[0];
	pid = fork();
	if (pid == 0) {
		/* nobody's child */
		if (fork() == 0)
			run(what, pair[1]);
		_exit(0);
	}
	close(pair[1]);
	if (pid < 0)
		return cor_fail_errno(err, "the file server cannot be forked");
	while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
	r = await_ready(ours, err);
	if (r == 0)
		*control = take_fd(&ours);
	return r;
}
