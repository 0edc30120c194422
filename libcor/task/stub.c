/* The stub: the process that becomes the task; see stub.h. */
#include "libcor/task/stub.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/stat.h>

#include "libcor/base/cleanup.h"
#include "libcor/base/compat.h"
#include "libcor/base/error.h"
#include "libcor/base/io.h"

struct stub {
	const struct cor_rebuild_plan *plan;
	int channel;
	int max_fd;
};

/* Moves a descriptor out of the range where the task has its own. */
static int move_up(const struct stub *s, int *fd)
{
	int up;

	if (*fd > s->max_fd)
		return 0;
	up = fcntl(*fd, F_DUPFD_CLOEXEC, s->max_fd + 1);
	if (up < 0)
		return -errno;
	close(*fd);
	*fd = up;
	return 0;
}

static int make_uffd(void)
{
	_cleanup_close_ int dev = -1;
	int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);

	if (fd >= 0)
		return fd;
	if (errno != EPERM && errno != ENOSYS)
		return -errno;
	dev = open("/dev/userfaultfd", O_RDWR | O_CLOEXEC);
	if (dev < 0)
		return -EPERM;
	fd = ioctl(dev, USERFAULTFD_IOC_NEW, O_CLOEXEC | O_NONBLOCK);
	return fd < 0 ? -errno : fd;
}

static int reply(const struct stub *s, uint32_t kind, int code, const void *buf, size_t len)
{
	struct cor_message m = { .kind = kind, .op = code, .len = len, .buf = (void *)buf };

	return cor_message_send(s->channel, &m);
}

static int reply_error(const struct stub *s, uint32_t kind, const struct cor_error *err)
{
	return reply(s, kind, err->code, err->text, strlen(err->text) + 1);
}

/* One byte with the descriptor comes first: it also carries our PID, as
 * credentials, to a caller in another PID namespace. */
static int hello(const struct stub *s)
{
	_cleanup_close_ int uffd = make_uffd();
	int r = cor_send_fds(s->channel, "u", 1, &uffd, uffd >= 0);

	if (r == 0)
		r = reply(s, COR_STUB_HELLO, COR_MIN(uffd, 0), NULL, 0);
	return r;
}

static int serve_call(const struct stub *s, struct cor_message *m)
{
	struct cor_error err = COR_ERROR_INIT;
	int r = -ENOSYS;

	if (s->plan->call)
		r = s->plan->call(s->plan->arg, (uint32_t)m->op, m->buf, m->len, m->fds,
				  m->nfds, &err);
	else
		cor_fail(&err, r, "the stub has no callback");
	m->nfds = 0;            /* the callee's */
	if (r >= 0)
		return reply(s, m->kind, 0, NULL, 0);
	if (err.code >= 0)
		cor_fail_code(&err, r, "the stub's callback failed");
	err.code = r;
	return reply_error(s, m->kind, &err);
}

/* The path is a peer's: to open a device is enough to make it act. */
static int open_regular(const char *path, int flags)
{
	_cleanup_close_ int found = open(path, O_PATH | O_CLOEXEC);
	struct stat st;
	char self[40];

	if (found < 0 || fstat(found, &st) < 0)
		return -1;
	if (!S_ISREG(st.st_mode)) {
		errno = EINVAL;
		return -1;
	}
	snprintf(self, sizeof(self), "/proc/self/fd/%d", found);
	return open(self, flags | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
}

static int open_one(const struct stub *s, const char **at, const char *end, int32_t *fd,
		    struct cor_error *err)
{
	struct cor_stub_open o;
	const char *path;
	int got, r;

	if ((size_t)(end - *at) < sizeof(o))
		return cor_fail(err, -EPROTO, "a request to open files is cut short");
	memcpy(&o, *at, sizeof(o));
	path = *at + sizeof(o);
	if (o.len == 0 || (size_t)(end - path) < o.len || path[o.len - 1])
		return cor_fail(err, -EPROTO, "a request to open files is cut short");
	got = open_regular(path, o.flags);
	if (got < 0 && !o.may_fail)
		return cor_fail_errno(err, "cannot open %s to map it", path);
	r = got < 0 ? 0 : move_up(s, &got);
	if (r < 0) {
		close(got);
		return cor_fail_code(err, r, "no descriptor for %s", path);
	}
	*fd = got;
	*at = path + o.len;
	return 0;
}

static int serve_open(const struct stub *s, struct cor_message *m)
{
	const char *at = m->buf, *end = at + m->len;
	struct cor_error err = COR_ERROR_INIT;
	_cleanup_free_ int32_t *fds = malloc(m->len / sizeof(struct cor_stub_open) * 4 + 4);
	unsigned n = 0;

	if (!fds) {
		cor_fail(&err, -ENOMEM, "out of memory");
		return reply_error(s, m->kind, &err);
	}
	/* on failure the process is done for: nothing is closed again */
	while (at < end) {
		if (open_one(s, &at, end, &fds[n], &err) < 0)
			return reply_error(s, m->kind, &err);
		n++;
	}
	return reply(s, m->kind, 0, fds, n * sizeof(*fds));
}

/* The names in a request are the peer's. */
static int serve_as(const struct stub *s, struct cor_message *m,
		    int (*serve_it)(const struct stub *s, struct cor_message *m))
{
	struct cor_as_user_saved saved;
	struct cor_error err = COR_ERROR_INIT;
	int r = cor_as_user_begin(&saved, s->plan->as, &err);

	if (r < 0)
		return reply_error(s, m->kind, &err);
	r = serve_it(s, m);
	cor_as_user_end(&saved);
	return r;
}

static int serve_hold(const struct stub *s, struct cor_message *m)
{
	unsigned n = m->nfds;

	m->nfds = 0;            /* they stay open */
	return reply(s, m->kind, 0, m->fds, n * sizeof(*m->fds));
}

static int serve(const struct stub *s, struct cor_message *m)
{
	struct cor_error err = COR_ERROR_INIT;
	int r = 0;

	for (unsigned i = 0; i < m->nfds && r == 0; i++)
		r = move_up(s, &m->fds[i]);
	if (r < 0) {
		cor_fail_code(&err, r, "no descriptors above %d for the stub", s->max_fd);
		return reply_error(s, m->kind, &err);
	}
	switch (m->kind) {
	case COR_STUB_CALL:
		return serve_as(s, m, serve_call);
	case COR_STUB_OPEN:
		return serve_as(s, m, serve_open);
	case COR_STUB_HOLD:
		return serve_hold(s, m);
	default:
		return -EPROTO;
	}
}

static void set_signals(void)
{
	/* the kernel's own struct: the C library would add flags, which can be seen */
	const uint64_t nothing[4] = { 0 };
	sigset_t set;

	/* a trap in an injected list, if it were blocked, would be forced, and its disposition
	 * lost */
	sigfillset(&set);
	sigdelset(&set, SIGTRAP);
	sigprocmask(SIG_SETMASK, &set, NULL);
	for (int i = 1; i < NSIG; i++)
		syscall(SYS_rt_sigaction, i, nothing, NULL, sizeof(uint64_t));
}

void cor_stub_main(void *arg, int channel, int max_fd)
{
	struct stub s = { .plan = arg, .channel = channel, .max_fd = max_fd };
	int r;

	set_signals();
	prctl(PR_SET_NAME, "cor-stub");
	r = hello(&s);
	while (r == 0) {
		struct cor_message m = { 0 };

		r = cor_message_recv(s.channel, &m);
		if (r == 0)
			r = serve(&s, &m);
		cor_message_clear(&m);
	}
	_exit(r == -ENODATA ? 0 : 1);
}
