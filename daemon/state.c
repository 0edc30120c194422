/* The state directory; see state.h. */
#include "daemon/state.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "daemon/record.h"
#include "libcor/base/cleanup.h"
#include "libcor/base/error.h"
#include "libcor/base/io.h"
#include "libcor/task/procfs.h"

#define MAGIC   "corstat"
#define VERSION 1
#define BACKLOG 4

static const char *const kinds[STATE_KINDS] = {
	[STATE_SOURCE] = "source", [STATE_DESTINATION] = "destination", [STATE_TASK] = "task",
};

int state_open(const char *path, struct cor_error *err)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	return fd < 0 ? cor_fail_errno(err, "the state directory %s", path) : fd;
}

int state_open_alone(const char *path, struct cor_error *err)
{
	_cleanup_close_ int fd = state_open(path, err);

	if (fd < 0)
		return fd;
	if (flock(fd, LOCK_EX | LOCK_NB) < 0)
		return errno == EWOULDBLOCK ?
		       cor_fail(err, -EBUSY, "another cord keeps its state in %s", path) :
		       cor_fail_errno(err, "the state directory %s cannot be locked", path);
	return take_fd(&fd);
}

void state_name(char name[STATE_NAME_MAX], enum state_kind kind, const uint8_t session[16])
{
	char id[33];

	hex_encode(id, session, 16);
	snprintf(name, STATE_NAME_MAX, "%s.%s", id, kinds[kind]);
}

#define SOCKET ".sock"
#define WAITS  ".waits"
#define UNDO   ".undo"
#define UNDO_NEW ".undo.new"

/* Of what lies beside a page. */
static void name_beside(char name[STATE_NAME_MAX], enum state_kind kind, const uint8_t session[16],
			const char *suffix)
{
	state_name(name, kind, session);
	strcat(name, suffix);
}

/* ---- pages ------------------------------------------------------------------------ */

static int read_boot(char boot[40])
{
	_cleanup_free_ char *text = NULL;
	int r = cor_slurp(AT_FDCWD, "/proc/sys/kernel/random/boot_id", &text, NULL);

	if (r < 0)
		return r;
	text[strcspn(text, "\n")] = 0;
	snprintf(boot, 40, "%s", text);
	return 0;
}

static int map(int fd, struct state_page **out)
{
	void *m = mmap(NULL, sizeof(**out), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	if (m == MAP_FAILED)
		return -errno;
	*out = m;
	return 0;
}

static uint64_t real_now(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

int state_page_new(int dir, enum state_kind kind, const uint8_t session[16],
		   const uint8_t secret[32], struct state_page **out, int *keep,
		   struct cor_error *err)
{
	_cleanup_close_ int fd = -1;
	char name[STATE_NAME_MAX];
	struct state_page *p = NULL;
	int r;

	state_name(name, kind, session);
	fd = openat(dir, name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0)
		return cor_fail_errno(err, "the state of the session cannot be kept");
	/* a tmpfs gives up for any signal */
	do
		r = -posix_fallocate(fd, 0, sizeof(*p));
	while (r == -EINTR);
	if (r == 0)
		r = map(fd, &p);
	if (r < 0) {
		unlinkat(dir, name, 0);
		return cor_fail_code(err, r, "the state of the session cannot be kept");
	}
	p->version = VERSION;
	p->kind = kind;
	p->made = real_now();
	read_boot(p->boot);
	memcpy(p->session, session, sizeof(p->session));
	memcpy(p->secret, secret, sizeof(p->secret));
	atomic_thread_fence(memory_order_release);
	memcpy(p->magic, MAGIC, sizeof(p->magic));     /* now it is a page */
	*out = p;
	if (keep)
		*keep = take_fd(&fd);
	return 0;
}

static int check(const struct state_page *p)
{
	char boot[40] = "";

	if (memcmp(p->magic, MAGIC, sizeof(p->magic)) || p->version != VERSION ||
	    p->kind >= STATE_KINDS || atomic_load(&p->state) >= SESSION_STATES ||
	    atomic_load(&p->about_len) > sizeof(p->about) ||
	    atomic_load(&p->result_len) > sizeof(p->result))
		return -EPROTO;
	read_boot(boot);
	return strncmp(boot, p->boot, sizeof(boot)) ? -ESTALE : 0;
}

int state_page_map(int fd, struct state_page **out)
{
	struct state_page *p = NULL;
	struct stat st;
	int r;

	if (fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode) || st.st_size != sizeof(*p))
		return -EPROTO;
	r = map(fd, &p);
	if (r < 0)
		return r;
	r = check(p);
	if (r < 0)
		state_page_unmap(p);
	else
		*out = p;
	return r;
}

int state_page_open(int dir, const char *name, struct state_page **out)
{
	_cleanup_close_ int fd = openat(dir, name, O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);

	return fd < 0 ? -errno : state_page_map(fd, out);
}

void state_page_unmap(struct state_page *p)
{
	if (p)
		munmap(p, sizeof(*p));
}

/* The length is what makes a text valid. */
static void put(char *room, size_t size, _Atomic uint32_t *len, json_t *message)
{
	_cleanup_free_ char *text = message ? json_dumps(message, JSON_COMPACT) : NULL;
	size_t n = text ? strlen(text) : 0;

	json_decref(message);
	if (!n || n > size)
		return;
	atomic_store(len, 0);
	memcpy(room, text, n);
	atomic_store(len, (uint32_t)n);
}

static json_t *get(const char *room, size_t size, const _Atomic uint32_t *len)
{
	uint32_t n = atomic_load(len);
	json_t *o = n && n <= size ? json_loadb(room, n, 0, NULL) : NULL;

	if (json_is_object(o))
		return o;
	json_decref(o);
	return NULL;
}

void state_page_tell(struct state_page *p, json_t *message)
{
	put(p->about, sizeof(p->about), &p->about_len, message);
}

json_t *state_page_about(const struct state_page *p)
{
	return get(p->about, sizeof(p->about), &p->about_len);
}

void state_page_end(struct state_page *p, json_t *message)
{
	put(p->result, sizeof(p->result), &p->result_len, message);
}

json_t *state_page_result(const struct state_page *p)
{
	return get(p->result, sizeof(p->result), &p->result_len);
}

/* ---- processes ---------------------------------------------------------------------- */

static int read_start(pid_t pid, uint64_t *out)
{
	_cleanup_free_ char *text = NULL;
	struct cor_proc_stat st;
	char path[32];
	int r;

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	r = cor_slurp(AT_FDCWD, path, &text, NULL);
	if (r == 0)
		r = cor_parse_stat(text, &st);
	if (r == 0)
		*out = st.starttime;
	return r;
}

void state_process_set(struct state_process *at, pid_t pid)
{
	uint64_t start = 0;

	read_start(pid, &start);
	atomic_store(&at->start, start);
	atomic_store(&at->pid, pid);
}

int state_process_open(const struct state_process *at)
{
	pid_t pid = atomic_load(&at->pid);
	_cleanup_close_ int fd = pid > 0 ? pidfd_open(pid, 0) : -1;
	uint64_t start;

	if (fd < 0 || read_start(pid, &start) < 0 || start != atomic_load(&at->start))
		return -ESRCH;
	/* it may have been another's number until just now */
	if (pidfd_send_signal(fd, 0, NULL, 0) < 0 && errno == ESRCH)
		return -ESRCH;
	return take_fd(&fd);
}

/* ---- sockets ---------------------------------------------------------------------- */

/* By way of the directory's descriptor: the path may be longer than an address. */
static int make_address(struct sockaddr_un *sa, int dir, enum state_kind kind,
			const uint8_t session[16])
{
	char name[STATE_NAME_MAX];

	*sa = (struct sockaddr_un){ .sun_family = AF_UNIX };
	name_beside(name, kind, session, SOCKET);
	snprintf(sa->sun_path, sizeof(sa->sun_path), "/proc/self/fd/%d/%s", dir, name);
	return socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
}

int state_listen(int dir, enum state_kind kind, const uint8_t session[16],
		 struct cor_error *err)
{
	struct sockaddr_un sa;
	_cleanup_close_ int fd = make_address(&sa, dir, kind, session);

	if (fd < 0 || fcntl(fd, F_SETFL, O_NONBLOCK) < 0 || fchmod(fd, 0600) < 0 ||
	    bind(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0 || listen(fd, BACKLOG) < 0)
		return cor_fail_errno(err, "a socket in the state directory");
	return take_fd(&fd);
}

int state_connect(int dir, enum state_kind kind, const uint8_t session[16])
{
	struct sockaddr_un sa;
	_cleanup_close_ int fd = make_address(&sa, dir, kind, session);

	if (fd < 0 || fcntl(fd, F_SETFL, O_NONBLOCK) < 0 ||
	    connect(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0)
		return -errno;
	return take_fd(&fd);
}

/* ---- a task's waits, and what is to be undone ---------------------------------------- */

static int open_beside(int dir, enum state_kind kind, const uint8_t session[16], const char *suffix,
		       bool create)
{
	char name[STATE_NAME_MAX];
	int fd;

	name_beside(name, kind, session, suffix);
	fd = openat(dir, name, (create ? O_WRONLY | O_CREAT | O_TRUNC : O_RDONLY) | O_CLOEXEC, 0600);
	return fd < 0 ? -errno : fd;
}

static void remove_beside(int dir, enum state_kind kind, const uint8_t session[16],
			  const char *suffix)
{
	char name[STATE_NAME_MAX];

	name_beside(name, kind, session, suffix);
	unlinkat(dir, name, 0);
}

int state_waits(int dir, const uint8_t session[16], bool create)
{
	return open_beside(dir, STATE_TASK, session, WAITS, create);
}

int state_undo(int dir, const uint8_t session[16], bool create)
{
	return open_beside(dir, STATE_SOURCE, session, create ? UNDO_NEW : UNDO, create);
}

int state_undo_written(int dir, const uint8_t session[16])
{
	char from[STATE_NAME_MAX], to[STATE_NAME_MAX];

	name_beside(from, STATE_SOURCE, session, UNDO_NEW);
	name_beside(to, STATE_SOURCE, session, UNDO);
	return renameat(dir, from, dir, to) < 0 ? -errno : 0;
}

void state_undo_remove(int dir, const uint8_t session[16])
{
	remove_beside(dir, STATE_SOURCE, session, UNDO);
	remove_beside(dir, STATE_SOURCE, session, UNDO_NEW);
}

/* ---- the directory ------------------------------------------------------------------ */

void state_remove(int dir, enum state_kind kind, const uint8_t session[16])
{
	char name[STATE_NAME_MAX];

	state_name(name, kind, session);
	unlinkat(dir, name, 0);
	remove_beside(dir, kind, session, SOCKET);
	remove_beside(dir, kind, session, WAITS);
	remove_beside(dir, kind, session, UNDO);
	remove_beside(dir, kind, session, UNDO_NEW);
}

int state_each(int dir, enum state_kind kind, void (*fn)(void *arg, const char *name), void *arg)
{
	_cleanup_closedir_ DIR *d = NULL;
	int fd = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct dirent *e;

	if (fd < 0)
		return -errno;
	d = fdopendir(fd);
	if (!d) {
		close(fd);
		return -ENOMEM;
	}
	while ((e = readdir(d)))
		if (strlen(e->d_name) > 33 && e->d_name[32] == '.' &&
		    !strcmp(e->d_name + 33, kinds[kind]))
			fn(arg, e->d_name);
	return 0;
}
