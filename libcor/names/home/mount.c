/* Mounting a home's tree, and putting a task's view of the files together; see
 * home/mount.h. The new mount calls (fsopen(2), open_tree(2), move_mount(2)) make it all
 * ahead, where a failure is but closed descriptors. */
#include "libcor/base/compat.h"
#include "libcor/names/home/mount.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <malloc.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include "libcor/base/cleanup.h"
#include "libcor/base/error.h"
#include "libcor/base/io.h"
#include "libcor/names/home/fuse.h"
#include "libcor/names/home/plan.h"
#include "libcor/transport/lane.h"

#define SHOW_MS 500

/* ---- the file system ---------------------------------------------------------------- */

static int set(int context, const char *key, const char *value)
{
	return fsconfig(context, value ? FSCONFIG_SET_STRING : FSCONFIG_SET_FLAG, key, value, 0);
}

/* Nobody has more than the modes allow; programs gain no rights by what they are, and
 * devices do nothing: the home is another host. */
static int make_mount(int fuse, const char *host, struct cor_error *err)
{
	_cleanup_close_ int context = fsopen("fuse", FSOPEN_CLOEXEC);
	char number[16], source[80];
	int fd;

	if (context < 0)
		return cor_fail_errno(err, "FUSE cannot be used here");
	snprintf(number, sizeof(number), "%d", fuse);
	snprintf(source, sizeof(source), "%s", host);
	if (set(context, "source", source) < 0 || set(context, "subtype", "cor") < 0 ||
	    set(context, "fd", number) < 0 || set(context, "rootmode", "40755") < 0 ||
	    set(context, "user_id", "0") < 0 || set(context, "group_id", "0") < 0 ||
	    set(context, "allow_other", NULL) < 0 ||
	    set(context, "default_permissions", NULL) < 0 ||
	    fsconfig(context, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0)
		return cor_fail_errno(err, "a file system for the files of %s cannot be made", host);
	fd = fsmount(context, FSMOUNT_CLOEXEC, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV);
	return fd < 0 ? cor_fail_errno(err, "the files of %s cannot be mounted", host) : fd;
}

/* How far ahead of a reader the kernel asks; best effort. */
static void read_far_ahead(const struct stat *st)
{
	char path[64];

	snprintf(path, sizeof(path), "/sys/class/bdi/%u:%u/read_ahead_kb",
		 major(st->st_dev), minor(st->st_dev));
	cor_spew(AT_FDCWD, path, "2048");
}

bool cor_home_possible(void)
{
	_cleanup_close_ int device = open("/dev/fuse", O_RDWR | O_CLOEXEC);
	_cleanup_close_ int context = device < 0 ? -1 : fsopen("fuse", FSOPEN_CLOEXEC);

	return context >= 0;
}

/* ---- its process ---------------------------------------------------------------------- */

struct client {
	struct cor_home_info info;
	unsigned connect_s, silence_s, reconnect_s;
	bool encrypted;
	int  dir;               /* where its status is written; -1: nowhere */
	int  told;              /* the worker says on it which device its mounts are */
	int  stop;              /* readable: it ends */
	struct home_fuse *fuse;
	char shown[512];        /* as written last */
};

static int dial(void *arg, struct cor_stream **out, struct cor_error *err)
{
	const struct client *c = arg;
	struct cor_lane_options o = {
		.addrport = c->info.address, .kind = COR_CONN_HOME, .session = c->info.id,
		.secret = c->info.secret, .timeout_ms = c->connect_s * 1000,
		.silence_s = c->silence_s, .encrypted = c->encrypted,
	};

	return cor_lane_connect(out, &o, err);
}

/* A file that cor status reads, named by the device number of the mounts. */
static void show(struct client *c, const char *name, uint64_t dev)
{
	char text[sizeof(c->shown)];
	struct home_remote_stats s;

	home_fuse_stats(c->fuse, &s);
	snprintf(text, sizeof(text), "{\"role\": \"away\", \"dev\": \"%u:%u\", \"server\": %d, "
		 "\"host\": \"%.63s\", \"address\": \"%.100s\", \"connected\": %s, "
		 "\"requests\": %llu, \"bytes_received\": %llu, \"bytes_sent\": %llu}\n",
		 major(dev), minor(dev), (int)getpid(), c->info.host, c->info.address,
		 s.connected ? "true" : "false", (unsigned long long)s.requests,
		 (unsigned long long)s.received, (unsigned long long)s.sent);
	if (strcmp(text, c->shown) == 0)
		return;
	if (cor_replace(c->dir, name, text) == 0)
		strcpy(c->shown, text);
}

static void *keep_showing(void *arg)
{
	struct client *c = arg;
	struct pollfd p = { .fd = c->stop, .events = POLLIN };
	uint64_t dev;
	char name[48];

	if (cor_read_full(c->told, &dev, sizeof(dev)) < 0)
		return NULL;
	snprintf(name, sizeof(name), "away-%u-%u.json", major(dev), minor(dev));
	do
		show(c, name, dev);
	while (poll(&p, 1, SHOW_MS) == 0);
	unlinkat(c->dir, name, 0);
	return NULL;
}

/* Serves until the last mount is gone, and shows how that goes. */
static void serve(struct client *c)
{
	uint64_t one = 1;
	pthread_t t;
	bool showing;

	c->stop = eventfd(0, EFD_CLOEXEC);
	showing = c->dir >= 0 && c->stop >= 0 && pthread_create(&t, NULL, keep_showing, c) == 0;
	home_fuse_run(c->fuse);
	/* the worker may never have come to tell */
	shutdown(c->told, SHUT_RDWR);
	if (showing && write(c->stop, &one, sizeof(one)) == sizeof(one))
		pthread_join(t, NULL);
}

static void begin_process(struct client *c, int *fuse, int *ready)
{
	int *keep[] = { fuse, ready, &c->dir };
	sigset_t none;

	prctl(PR_SET_NAME, "cor-home");
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	for (int sig = 1; sig < NSIG; sig++)
		signal(sig, SIG_DFL);
	signal(SIGPIPE, SIG_IGN);
	setsid();
	/* these, and nothing else of the worker's */
	for (unsigned i = 0; i < ARRAY_SIZE(keep); i++)
		if (*keep[i] >= 0)
			*keep[i] = fcntl(*keep[i], F_DUPFD_CLOEXEC, 3 + (int)ARRAY_SIZE(keep));
	for (unsigned i = 0; i < ARRAY_SIZE(keep); i++)
		if (*keep[i] >= 0)
			*keep[i] = dup3(*keep[i], 3 + (int)i, O_CLOEXEC);
	close_range(3 + ARRAY_SIZE(keep), ~0u, 0);
	cor_raise_descriptors(NULL);
	/* buffers of a WRITE come and go: they stay this process's */
	mallopt(M_MMAP_THRESHOLD, 32 << 20);
	mallopt(M_TRIM_THRESHOLD, 256 << 20);
	if (chdir("/") < 0)
		_exit(1);
}

static void __attribute__((noreturn)) run(struct client *c, int fuse, int ready)
{
	struct cor_error err = COR_ERROR_INIT;
	int r;

	begin_process(c, &fuse, &ready);
	r = home_fuse_new(&c->fuse, fuse, &c->info, dial, c, c->reconnect_s, &err);
	err.code = r;
	cor_write_full(ready, &err, sizeof(err));
	c->told = ready;
	if (r == 0) {
		serve(c);
		home_fuse_free(c->fuse);
	}
	_exit(0);
}

static int start(struct client *c, int fuse, int mount, struct cor_error *err)
{
	_cleanup_close_ int ours = -1;
	struct stat st;
	uint64_t dev;
	struct cor_error why = COR_ERROR_INIT;
	int pair[2];
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		return cor_fail_errno(err, "socketpair");
	ours = pair[0];
	pid = fork();
	if (pid == 0) {
		close(pair[0]);
		/* nobody's child */
		if (fork() == 0)
			run(c, fuse, pair[1]);
		_exit(0);
	}
	close(pair[1]);
	if (pid < 0)
		return cor_fail_errno(err, "the process for the home's files cannot be forked");
	while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
	if (cor_read_full(ours, &why, sizeof(why)) < 0)
		return cor_fail(err, -ESRCH, "the process for the home's files died at its start");
	why.text[sizeof(why.text) - 1] = 0;
	if (why.code < 0)
		return cor_fail(err, why.code, "the files of %s: %s", c->info.host, why.text);
	if (fstat(mount, &st) < 0)
		return cor_fail_errno(err, "the files of %s", c->info.host);
	read_far_ahead(&st);
	dev = st.st_dev;
	return cor_write_full(ours, &dev, sizeof(dev)) < 0 ? cor_fail(err, -ESRCH, "the process for "
		"the home's files died at its start") : 0;
}

static int fill_client(struct client *c, const struct cor_home_mount_options *o,
		       struct cor_error *err)
{
	const Cor__Names__Home *h = o->home;

	if (h->id.len != sizeof(c->info.id) || h->secret.len != sizeof(c->info.secret) ||
	    strlen(h->host) >= sizeof(c->info.host) || !h->host[0] ||
	    strlen(h->address) >= sizeof(c->info.address) ||
	    strlen(h->boot_id) >= sizeof(c->info.boot_id))
		return cor_fail(err, -EPROTO, "the home of the task's files is named in a way that "
				"makes no sense");
	memcpy(c->info.id, h->id.data, h->id.len);
	memcpy(c->info.secret, h->secret.data, h->secret.len);
	strcpy(c->info.host, h->host);
	strcpy(c->info.address, h->address);
	strcpy(c->info.boot_id, h->boot_id);
	c->connect_s = o->connect_s;
	c->silence_s = o->silence_s;
	c->reconnect_s = o->reconnect_s;
	c->encrypted = o->encrypted;
	return 0;
}

int cor_home_mount(const struct cor_home_mount_options *o, struct cor_error *err)
{
	_cleanup_close_ int fuse = open("/dev/fuse", O_RDWR | O_CLOEXEC), mount = -1, dir = -1;
	struct client c = { 0 };
	int r = fill_client(&c, o, err);

	if (r < 0)
		return r;
	if (fuse < 0)
		return cor_fail_errno(err, "/dev/fuse");
	mount = make_mount(fuse, c.info.host, err);
	if (mount < 0)
		return mount;
	dir = o->dir ? open(o->dir, O_PATH | O_DIRECTORY | O_CLOEXEC) : -1;
	c.dir = dir;
	r = start(&c, fuse, mount, err);
	explicit_bzero(c.info.secret, sizeof(c.info.secret));
	return r < 0 ? r : take_fd(&mount);
}

int cor_home_sync(int fd)
{
	return ioctl(fd, COR_HOME_SYNC) < 0 ? -errno : 0;
}

/* ---- a task's view ------------------------------------------------------------------------ */

struct view {
	const Cor__Names__Plan *plan;
	const char *staging;
	const char *here;       /* NULL: no name space of all hosts */
	int *parts;             /* parts[i] is trees[i], detached; -1: as it is */
	int *whole;             /* likewise the whole of homes[i] */
	int  own;               /* and of this host */
};

static int clone_tree(int at, const char *path)
{
	return open_tree(at, path, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC |
			 (*path ? AT_RECURSIVE : AT_RECURSIVE | AT_EMPTY_PATH));
}

/* What is the destination's own, before it is covered. */
static int take_own(struct view *v, struct cor_error *err)
{
	for (size_t i = 0; i < v->plan->n_trees; i++) {
		const Cor__Names__Tree *t = v->plan->trees[i];

		if (t->mode == COR__NAMES__TREE_MODE__TREE_HOME || strcmp(t->prefix, "/") == 0)
			continue;
		v->parts[i] = clone_tree(AT_FDCWD, t->prefix);
		if (v->parts[i] < 0)
			return cor_fail_errno(err, "%s of this host", t->prefix);
	}
	return 0;
}

static void waiting_place(char out[320], const char *staging, unsigned i)
{
	snprintf(out, 320, "%.300s/at-%u", staging, i);
}

int cor_home_own_mounts(struct cor_error *err)
{
	if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_SLAVE | MS_REC, NULL) < 0)
		return cor_fail_errno(err, "a mount namespace for the home's files");
	return 0;
}

int cor_home_attach(int mount, const char *staging, unsigned i, struct cor_error *err)
{
	char path[320];

	waiting_place(path, staging, i);
	if (mkdir(path, 0700) < 0 && errno != EEXIST)
		return cor_fail_errno(err, "%s", path);
	if (move_mount(mount, "", AT_FDCWD, path, MOVE_MOUNT_F_EMPTY_PATH) < 0)
		return cor_fail_errno(err, "the home's files cannot be mounted at %s", path);
	return 0;
}

void cor_home_detach(const char *staging, unsigned i)
{
	char path[320];

	waiting_place(path, staging, i);
	umount2(path, MNT_DETACH);
}

/* Parts of a home's tree, from where it waits. */
static int take_home(struct view *v, unsigned home, struct cor_error *err)
{
	_cleanup_close_ int top = -1;
	char path[320];

	if (!cor_plan_uses(v->plan, home))
		return 0;
	waiting_place(path, v->staging, home);
	top = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (top < 0)
		return cor_fail_errno(err, "%s", path);
	for (size_t i = 0; i < v->plan->n_trees; i++) {
		const Cor__Names__Tree *t = v->plan->trees[i];

		if (t->mode != COR__NAMES__TREE_MODE__TREE_HOME || t->home != home + 1)
			continue;
		v->parts[i] = clone_tree(top, t->prefix + strspn(t->prefix, "/"));
		if (v->parts[i] < 0)
			return cor_fail_errno(err, "%s of %s", t->prefix, v->plan->homes[home]->host);
	}
	if (v->here) {
		v->whole[home] = clone_tree(top, "");
		if (v->whole[home] < 0)
			return cor_fail_errno(err, "the files of %s", v->plan->homes[home]->host);
	}
	cor_home_detach(v->staging, home);
	return 0;
}

/* The place of a path below base, links and ".." within it. */
static int place(int base, const char *path)
{
	struct open_how how = {
		.flags = O_PATH | O_CLOEXEC, .resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS,
	};

	return (int)syscall(SYS_openat2, base, path, &how, sizeof(how));
}

static int put_parts(struct view *v, int base, struct cor_error *err)
{
	for (size_t i = 0; i < v->plan->n_trees; i++) {
		const Cor__Names__Tree *t = v->plan->trees[i];
		_cleanup_close_ int at = -1;

		if (v->parts[i] < 0 || strcmp(t->prefix, "/") == 0)
			continue;
		at = place(base, t->prefix);
		/* what the home does not have cannot be covered; nor need it be */
		if (at < 0 && t->mode != COR__NAMES__TREE_MODE__TREE_HOME)
			continue;
		if (at < 0 || move_mount(v->parts[i], "", at, "", MOVE_MOUNT_F_EMPTY_PATH |
					 MOVE_MOUNT_T_EMPTY_PATH) < 0)
			return cor_fail_errno(err, "%s cannot be mounted for the task", t->prefix);
	}
	return 0;
}

static int put_host(int at, const char *name, int tree, struct cor_error *err)
{
	_cleanup_close_ int place = -1;

	if (tree < 0)
		return 0;
	if (strchr(name, '/') || name[0] == '.')
		return cor_fail(err, -EINVAL, "a host cannot be named \"%s\" in /cor", name);
	if (mkdirat(at, name, 0755) < 0 && errno != EEXIST)
		return cor_fail_errno(err, "/cor/%s", name);
	place = openat(at, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (place < 0 || move_mount(tree, "", place, "", MOVE_MOUNT_F_EMPTY_PATH |
				    MOVE_MOUNT_T_EMPTY_PATH) < 0)
		return cor_fail_errno(err, "/cor/%s", name);
	return 0;
}

/* /cor/HOST for every host that the task has to do with, under one directory of its own. */
static int put_hosts(struct view *v, int base, struct cor_error *err)
{
	_cleanup_close_ int at = -1, context = -1, all = -1;
	int r = 0;

	if (!v->here)
		return 0;
	at = place(base, "/cor");
	if (at < 0)
		return 0;
	context = fsopen("tmpfs", FSOPEN_CLOEXEC);
	if (context < 0 || set(context, "source", COR_HOME_HOSTS) < 0 ||
	    set(context, "mode", "755") < 0 ||
	    fsconfig(context, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0)
		return cor_fail_errno(err, "a directory for the hosts at /cor");
	all = fsmount(context, FSMOUNT_CLOEXEC, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV);
	if (all < 0 || move_mount(all, "", at, "", MOVE_MOUNT_F_EMPTY_PATH |
				  MOVE_MOUNT_T_EMPTY_PATH) < 0)
		return cor_fail_errno(err, "a directory for the hosts at /cor");
	for (size_t i = 0; i < v->plan->n_homes && r == 0; i++)
		r = put_host(all, v->plan->homes[i]->host, v->whole[i], err);
	return r < 0 ? r : put_host(all, v->here, v->own, err);
}

/* The home's root becomes this process's. */
static int change_root(struct view *v, int part, struct cor_error *err)
{
	_cleanup_close_ int top = -1;
	int r;

	if (move_mount(part, "", AT_FDCWD, v->staging, MOVE_MOUNT_F_EMPTY_PATH) < 0)
		return cor_fail_errno(err, "the home's files cannot be mounted at %s", v->staging);
	top = open(v->staging, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (top < 0)
		return cor_fail_errno(err, "%s", v->staging);
	r = put_parts(v, top, err);
	if (r == 0)
		r = put_hosts(v, top, err);
	if (r < 0)
		return r;
	if (fchdir(top) < 0 || syscall(SYS_pivot_root, ".", ".") < 0 ||
	    umount2(".", MNT_DETACH) < 0 || chdir("/") < 0)
		return cor_fail_errno(err, "the home's files cannot become the root");
	return 0;
}

static int assemble(struct view *v, struct cor_error *err)
{
	_cleanup_close_ int top = -1;
	int r = 0;

	for (unsigned i = 0; i < v->plan->n_homes && r == 0; i++)
		r = take_home(v, i, err);
	/* behind that, so that nothing waits below it any more */
	if (r == 0)
		r = take_own(v, err);
	if (r == 0 && v->here) {
		v->own = clone_tree(AT_FDCWD, "/");
		if (v->own < 0)
			r = cor_fail_errno(err, "the files of this host");
	}
	if (r < 0)
		return r;
	if (v->plan->n_trees && strcmp(v->plan->trees[0]->prefix, "/") == 0 && v->parts[0] >= 0)
		return change_root(v, v->parts[0], err);
	top = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	r = top < 0 ? cor_fail_errno(err, "/") : put_parts(v, top, err);
	return r < 0 ? r : put_hosts(v, top, err);
}

int cor_home_assemble(const Cor__Names__Plan *plan, const char *staging, const char *here,
		      struct cor_error *err)
{
	_cleanup_free_ int *parts = calloc(plan->n_trees + 1, sizeof(*parts));
	_cleanup_free_ int *whole = calloc(plan->n_homes + 1, sizeof(*whole));
	struct view v = { .plan = plan, .staging = staging, .here = here, .parts = parts,
			  .whole = whole, .own = -1 };
	int r;

	if (!parts || !whole)
		return cor_fail(err, -ENOMEM, "out of memory");
	for (size_t i = 0; i < plan->n_homes; i++)
		whole[i] = -1;
	for (size_t i = 0; i < plan->n_trees; i++)
		parts[i] = -1;
	r = assemble(&v, err);
	for (size_t i = 0; i < plan->n_trees; i++)
		cor_closep(&parts[i]);
	for (size_t i = 0; i < plan->n_homes; i++)
		cor_closep(&whole[i]);
	cor_closep(&v.own);
	return r;
}
