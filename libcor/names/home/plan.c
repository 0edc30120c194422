/* Deciding which files are whose; see home/plan.h. */
#include "libcor/names/home/plan.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "libcor/base/cleanup.h"
#include "libcor/base/error.h"
#include "libcor/base/io.h"
#include "libcor/names/file_ops.h"
#include "libcor/names/home/home.h"

#define MOUNTS_MAX 4096

static const char *const mode_names[] = { "shared", "local", "home" };

int cor_tree_mode_parse(const char *name)
{
	for (int i = 0; i < (int)ARRAY_SIZE(mode_names); i++)
		if (strcmp(name, mode_names[i]) == 0)
			return i;
	return -EINVAL;
}

const char *cor_tree_mode_name(Cor__Names__TreeMode mode)
{
	return (unsigned)mode < ARRAY_SIZE(mode_names) ? mode_names[mode] : "?";
}

/* Does path lie in prefix? "/" has everything. */
static bool within(const char *prefix, const char *path)
{
	size_t len = strlen(prefix);

	if (len == 1)
		return path[0] == '/';
	return strncmp(prefix, path, len) == 0 && (path[len] == 0 || path[len] == '/');
}

static bool in_list(const char *const *list, size_t n, const char *name)
{
	for (size_t i = 0; i < n; i++)
		if (strcmp(list[i], name) == 0)
			return true;
	return false;
}

/* ---- mountinfo -------------------------------------------------------------------- */

/* \040 and its like, in place. */
static void unescape(char *s)
{
	char *to = s;

	for (; *s; s++) {
		if (s[0] == '\\' && s[1] >= '0' && s[1] <= '3' && s[2] >= '0' && s[2] <= '7' &&
		    s[3] >= '0' && s[3] <= '7') {
			*to++ = (char)((s[1] - '0') * 64 + (s[2] - '0') * 8 + s[3] - '0');
			s += 3;
		} else {
			*to++ = *s;
		}
	}
	*to = 0;
}

int cor_parse_mount(char *line, struct cor_mount_line *out)
{
	char *word, *rest = NULL, *words[6];
	unsigned major, minor, n = 0;

	for (word = strtok_r(line, " ", &rest); word && n < 6; word = strtok_r(NULL, " ", &rest))
		words[n++] = word;
	/* any number of optional fields, up to a dash */
	while (word && strcmp(word, "-") != 0)
		word = strtok_r(NULL, " ", &rest);
	if (n < 6 || !word || sscanf(words[0], "%u", &out->id) != 1 ||
	    sscanf(words[1], "%u", &out->parent) != 1 ||
	    sscanf(words[2], "%u:%u", &major, &minor) != 2)
		return -EINVAL;
	out->dev = makedev(major, minor);
	out->root = words[3];
	out->point = words[4];
	out->type = strtok_r(NULL, " ", &rest);
	out->source = strtok_r(NULL, " ", &rest);
	if (!out->type || !out->source || out->point[0] != '/')
		return -EINVAL;
	unescape(out->root);
	unescape(out->point);
	unescape(out->source);
	return 0;
}

/* ---- the source -------------------------------------------------------------------- */

static char *copy(const char *s)
{
	return strdup(s ? s : "");
}

static int add_mount(Cor__Names__Trees *t, const struct cor_mount_line *l)
{
	Cor__Names__Mount *m = NULL;

	/* a later mount at the same place hides the earlier one */
	for (size_t i = 0; i < t->n_mounts && !m; i++)
		if (strcmp(t->mounts[i]->point, l->point) == 0)
			m = t->mounts[i];
	if (m) {
		free(m->type);
		free(m->source);
		free(m->root);
		free(m->point);
	} else {
		m = COR_FILE_APPEND(t->mounts, t->n_mounts, Cor__Names__Mount,
				    cor__names__mount__init);
	}
	if (!m)
		return -ENOMEM;
	m->point = copy(l->point);
	m->type = copy(l->type);
	m->source = copy(l->source);
	m->root = copy(l->root);
	m->dev = l->dev;
	return m->point && m->type && m->source && m->root ? 0 : -ENOMEM;
}

static int read_mounts(Cor__Names__Trees *t, const char *path)
{
	_cleanup_free_ char *text = NULL;
	char *line, *rest = NULL;
	int r = cor_slurp(AT_FDCWD, path, &text, NULL);

	if (r < 0)
		return r;
	for (line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
		struct cor_mount_line l;

		if (cor_parse_mount(line, &l) < 0 || t->n_mounts >= MOUNTS_MAX)
			continue;
		r = add_mount(t, &l);
		if (r < 0)
			return r;
	}
	return 0;
}

/* The mount that a path of the task's lies in: the longest that it is within. */
static Cor__Names__Mount *mount_of(const Cor__Names__Trees *t, const char *path)
{
	Cor__Names__Mount *best = NULL;

	for (size_t i = 0; i < t->n_mounts; i++)
		if (within(t->mounts[i]->point, path) &&
		    (!best || strlen(t->mounts[i]->point) > strlen(best->point)))
			best = t->mounts[i];
	return best;
}

static void mark_used(Cor__Names__Trees *t, int dir, const char *link)
{
	char path[4096];
	ssize_t len = readlinkat(dir, link, path, sizeof(path) - 1);
	Cor__Names__Mount *m;
	struct stat st;

	if (len <= 0 || path[0] != '/' || fstatat(dir, link, &st, 0) < 0 ||
	    (!S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode)))
		return;
	path[len] = 0;
	m = mount_of(t, path);
	/* shared memory is carried by itself */
	if (m && m->dev == st.st_dev && (st.st_nlink || strcmp(m->type, "tmpfs") != 0))
		m->used = true;
}

static int find_used(Cor__Names__Trees *t, pid_t pid, struct cor_error *err)
{
	_cleanup_closedir_ DIR *fds = NULL;
	_cleanup_close_ int proc = -1;
	struct dirent *d;
	char path[40];

	snprintf(path, sizeof(path), "/proc/%d", (int)pid);
	proc = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	snprintf(path, sizeof(path), "/proc/%d/fd", (int)pid);
	fds = opendir(path);
	if (proc < 0 || !fds)
		return cor_fail_errno(err, "%s", path);
	mark_used(t, proc, "cwd");
	while ((d = readdir(fds)))
		if (d->d_name[0] != '.')
			mark_used(t, dirfd(fds), d->d_name);
	return 0;
}

/* A tree of a home's that the task has already: which home. */
static int ask_home(Cor__Names__Trees *t, Cor__Names__Mount *m, pid_t pid, struct cor_error *err)
{
	_cleanup_free_ char *path = NULL;
	_cleanup_close_ int fd = -1;
	struct cor_home_info info;
	struct cor_home_file file;
	Cor__Names__Home *h;

	if (asprintf(&path, "/proc/%d/root%s", (int)pid, m->point) < 0)
		return cor_fail(err, -ENOMEM, "out of memory");
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0 || ioctl(fd, COR_HOME_INFO, &info) < 0 || ioctl(fd, COR_HOME_FILE, &file) < 0)
		return cor_fail_errno(err, "%s: the home of these files cannot be asked for", m->point);
	m->dev = file.dev;
	m->ino = file.ino;
	for (size_t i = 0; i < t->n_homes; i++)
		if (memcmp(t->homes[i]->id.data, info.id, sizeof(info.id)) == 0) {
			m->home = (uint32_t)i + 1;
			return 0;
		}
	h = COR_FILE_APPEND(t->homes, t->n_homes, Cor__Names__Home, cor__names__home__init);
	if (!h)
		return cor_fail(err, -ENOMEM, "out of memory");
	m->home = (uint32_t)t->n_homes;
	h->boot_id = copy(info.boot_id);
	h->host = copy(info.host);
	h->address = copy(info.address);
	if (cor_file_bytes(&h->id, info.id, sizeof(info.id)) < 0 ||
	    cor_file_bytes(&h->secret, info.secret, sizeof(info.secret)) < 0 ||
	    !h->boot_id || !h->host || !h->address)
		return cor_fail(err, -ENOMEM, "out of memory");
	return 0;
}

static int add_wishes(Cor__Names__Trees *t, const struct cor_tree_wish *wishes, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		Cor__Names__Wish *w = COR_FILE_APPEND(t->wishes, t->n_wishes, Cor__Names__Wish,
						      cor__names__wish__init);

		if (!w)
			return -ENOMEM;
		w->mode = wishes[i].mode;
		w->prefix = copy(wishes[i].prefix);
		if (!w->prefix)
			return -ENOMEM;
	}
	return 0;
}

/* /cor/HOST is made anew on each host. */
static void forget_hosts(Cor__Names__Trees *t)
{
	bool ours = false;
	size_t n = 0;

	for (size_t i = 0; i < t->n_mounts; i++)
		ours |= strcmp(t->mounts[i]->point, "/cor") == 0 &&
			strcmp(t->mounts[i]->source, COR_HOME_HOSTS) == 0;
	for (size_t i = 0; i < t->n_mounts; i++) {
		if (ours && within("/cor", t->mounts[i]->point))
			cor__names__mount__free_unpacked(t->mounts[i], NULL);
		else
			t->mounts[n++] = t->mounts[i];
	}
	t->n_mounts = n;
}

static int fill_trees(Cor__Names__Trees *t, pid_t pid, const struct cor_tree_wish *wishes,
		      unsigned nwishes, struct cor_error *err)
{
	char path[40];
	int r;

	snprintf(path, sizeof(path), "/proc/%d/mountinfo", (int)pid);
	r = cor_slurp(AT_FDCWD, "/proc/sys/kernel/random/boot_id", &t->boot_id, NULL);
	if (r == 0)
		r = read_mounts(t, path);
	if (r == 0)
		r = add_wishes(t, wishes, nwishes);
	if (r < 0)
		return cor_fail_code(err, r, "%s", path);
	forget_hosts(t);
	r = find_used(t, pid, err);
	for (size_t i = 0; i < t->n_mounts && r == 0; i++)
		if (strcmp(t->mounts[i]->type, COR_HOME_FSTYPE) == 0)
			r = ask_home(t, t->mounts[i], pid, err);
	return r;
}

int cor_trees_read(Cor__Names__Trees **out, pid_t pid, const struct cor_tree_wish *wishes,
		   unsigned nwishes, struct cor_error *err)
{
	Cor__Names__Trees *t = malloc(sizeof(*t));
	int r;

	if (!t)
		return cor_fail(err, -ENOMEM, "out of memory");
	cor__names__trees__init(t);
	r = fill_trees(t, pid, wishes, nwishes, err);
	if (r < 0) {
		cor__names__trees__free_unpacked(t, NULL);
		return r;
	}
	*out = t;
	return 0;
}

/* ---- the destination ------------------------------------------------------------------ */

struct planning {
	const Cor__Names__Trees *trees;
	Cor__Names__Trees *ours;        /* this host's mounts */
	Cor__Names__Plan *plan;
	bool same_boot;
};

/* File systems that the kernel makes up, for each host its own. */
static bool is_virtual(const char *type)
{
	static const char *const types[] = {
		"proc", "sysfs", "devtmpfs", "devpts", "cgroup", "cgroup2", "mqueue", "debugfs",
		"tracefs", "securityfs", "bpf", "configfs", "fusectl", "pstore", "efivarfs",
		"binfmt_misc", "autofs", "hugetlbfs", "rpc_pipefs", "nsfs", "selinuxfs",
	};

	return in_list(types, ARRAY_SIZE(types), type);
}

/* Their source names them for all hosts. */
static bool is_network(const char *type)
{
	static const char *const types[] = {
		"nfs", "nfs4", "cifs", "smb3", "ceph", "lustre", "beegfs", "gpfs", "gfs2", "ocfs2",
		"9p", "virtiofs", "afs", "fuse.glusterfs", "fuse.sshfs",
	};

	return in_list(types, ARRAY_SIZE(types), type);
}

static bool same_mount(const struct planning *p, const Cor__Names__Mount *theirs,
		       const Cor__Names__Mount *ours)
{
	if (strcmp(theirs->root, ours->root) != 0)
		return false;
	if (p->same_boot && theirs->dev == ours->dev)
		return true;
	return is_network(theirs->type) && strcmp(theirs->type, ours->type) == 0 &&
	       strcmp(theirs->source, ours->source) == 0;
}

/* A path that is within a common file system though it is a mount there of its own, or
 * the other way round, is not looked into further. */
static bool is_shared(const struct planning *p, const Cor__Names__Mount *theirs)
{
	const Cor__Names__Mount *ours = mount_of(p->ours, theirs->point);
	struct stat st;

	/* are we the home? */
	if (theirs->home)
		return strcmp(p->trees->homes[theirs->home - 1]->boot_id, p->ours->boot_id) == 0 &&
		       stat(theirs->point, &st) == 0 && st.st_dev == theirs->dev &&
		       st.st_ino == theirs->ino;
	return ours && strcmp(ours->point, theirs->point) == 0 && same_mount(p, theirs, ours);
}

static const Cor__Names__Wish *wish_for(const struct planning *p, const char *path)
{
	const Cor__Names__Wish *best = NULL;

	for (size_t i = 0; i < p->trees->n_wishes; i++) {
		const Cor__Names__Wish *w = p->trees->wishes[i];

		if (within(w->prefix, path) &&
		    (!best || strlen(w->prefix) >= strlen(best->prefix)))
			best = w;
	}
	return best;
}

static int decide(const struct planning *p, const Cor__Names__Mount *m,
		  Cor__Names__TreeMode *out, struct cor_error *err)
{
	const Cor__Names__Wish *w = wish_for(p, m->point);
	bool shared = is_shared(p, m);

	if (is_virtual(m->type))
		*out = COR__NAMES__TREE_MODE__TREE_LOCAL;
	else if (w && w->mode == COR__NAMES__TREE_MODE__TREE_SHARED && !shared)
		return cor_fail(err, -ESTALE, "%s is to be shared, but it is not the same file system "
				"here", m->point);
	else if (w)
		*out = w->mode;
	else if (shared)
		*out = COR__NAMES__TREE_MODE__TREE_SHARED;
	else if ((within("/run", m->point) || within("/dev", m->point)) && !m->used)
		*out = COR__NAMES__TREE_MODE__TREE_LOCAL;
	else
		*out = COR__NAMES__TREE_MODE__TREE_HOME;
	return 0;
}

static int add_tree(struct planning *p, const char *prefix, Cor__Names__TreeMode mode,
		    uint32_t home)
{
	Cor__Names__Tree *t = COR_FILE_APPEND(p->plan->trees, p->plan->n_trees, Cor__Names__Tree,
					      cor__names__tree__init);

	if (!t)
		return -ENOMEM;
	t->prefix = copy(prefix);
	t->mode = mode;
	t->home = mode == COR__NAMES__TREE_MODE__TREE_HOME ? home : 0;
	return t->prefix ? 0 : -ENOMEM;
}

static int by_prefix(const void *a, const void *b)
{
	return strcmp((*(Cor__Names__Tree *const *)a)->prefix,
		      (*(Cor__Names__Tree *const *)b)->prefix);
}

/* A tree that is as the one around it needs no word; nor does one of our own that has no
 * place here. */
static void thin_out(Cor__Names__Plan *plan)
{
	size_t n = 0;

	for (size_t i = 0; i < plan->n_trees; i++) {
		Cor__Names__Tree *t = plan->trees[i], *around = NULL;
		bool home = t->mode == COR__NAMES__TREE_MODE__TREE_HOME;
		struct stat st;

		for (size_t k = 0; k < n; k++)
			if (within(plan->trees[k]->prefix, t->prefix))
				around = plan->trees[k];
		if ((around && around->home == t->home &&
		     (around->mode == COR__NAMES__TREE_MODE__TREE_HOME) == home) ||
		    (around && stat(t->prefix, &st) < 0))
			cor__names__tree__free_unpacked(t, NULL);
		else
			plan->trees[n++] = t;
	}
	plan->n_trees = n;
}

static int make_plan(struct planning *p, struct cor_error *err)
{
	Cor__Names__Plan *plan = p->plan;
	bool any = false;
	int r = 0;

	for (size_t i = 0; i < p->trees->n_mounts && r == 0; i++) {
		const Cor__Names__Mount *m = p->trees->mounts[i];
		Cor__Names__TreeMode mode = 0;

		r = decide(p, m, &mode, err);
		if (r == 0 && add_tree(p, m->point, mode, m->home) < 0)
			return cor_fail(err, -ENOMEM, "out of memory");
	}
	/* prefixes that are no mounts */
	for (size_t i = 0; i < p->trees->n_wishes && r == 0; i++) {
		const Cor__Names__Wish *w = p->trees->wishes[i];
		const Cor__Names__Mount *m = mount_of(p->trees, w->prefix);

		if (!m || strcmp(m->point, w->prefix) == 0)
			continue;
		if (add_tree(p, w->prefix, w->mode, m->home) < 0)
			return cor_fail(err, -ENOMEM, "out of memory");
	}
	if (r < 0)
		return r;
	qsort(plan->trees, plan->n_trees, sizeof(*plan->trees), by_prefix);
	thin_out(plan);
	for (size_t i = 0; i < plan->n_trees; i++)
		any |= plan->trees[i]->mode == COR__NAMES__TREE_MODE__TREE_HOME;
	for (size_t i = 0; !any && i < plan->n_trees; i++)
		cor__names__tree__free_unpacked(plan->trees[i], NULL);
	if (!any)
		plan->n_trees = 0;
	return 0;
}

static int check_trees(const Cor__Names__Trees *t, struct cor_error *err)
{
	bool root = false;

	for (size_t i = 0; i < t->n_mounts; i++) {
		if (t->mounts[i]->point[0] != '/' || t->mounts[i]->home > t->n_homes)
			return cor_fail(err, -EPROTO, "the task's mounts cannot be understood");
		root |= t->mounts[i]->point[1] == 0;
	}
	for (size_t i = 0; i < t->n_wishes; i++)
		if (t->wishes[i]->prefix[0] != '/' ||
		    (unsigned)t->wishes[i]->mode >= ARRAY_SIZE(mode_names))
			return cor_fail(err, -EPROTO, "the wishes for files cannot be understood");
	return root ? 0 : cor_fail(err, -EPROTO, "the task has no root directory");
}

int cor_trees_plan(Cor__Names__Plan **out, const Cor__Names__Trees *trees, struct cor_error *err)
{
	struct planning p = { .trees = trees };
	int r = check_trees(trees, err);

	if (r < 0)
		return r;
	p.ours = malloc(sizeof(*p.ours));
	p.plan = malloc(sizeof(*p.plan));
	if (!p.ours || !p.plan) {
		free(p.ours);
		free(p.plan);
		return cor_fail(err, -ENOMEM, "out of memory");
	}
	cor__names__trees__init(p.ours);
	cor__names__plan__init(p.plan);
	r = cor_slurp(AT_FDCWD, "/proc/sys/kernel/random/boot_id", &p.ours->boot_id, NULL);
	if (r == 0)
		r = read_mounts(p.ours, "/proc/self/mountinfo");
	if (r < 0)
		cor_fail_code(err, r, "this host's mounts");
	p.same_boot = r == 0 && strcmp(trees->boot_id, p.ours->boot_id) == 0;
	if (r == 0)
		r = make_plan(&p, err);
	cor__names__trees__free_unpacked(p.ours, NULL);
	if (r < 0) {
		cor__names__plan__free_unpacked(p.plan, NULL);
		return r;
	}
	*out = p.plan;
	return 0;
}

/* ---- for both ---------------------------------------------------------------------------- */

int cor_plan_find(const Cor__Names__Plan *plan, const char *path)
{
	int best = -1;

	for (size_t i = 0; plan && i < plan->n_trees; i++)
		if (within(plan->trees[i]->prefix, path))
			best = (int)i;          /* children come behind their parents */
	return best;
}

bool cor_plan_uses(const Cor__Names__Plan *plan, unsigned home)
{
	for (size_t i = 0; i < plan->n_trees; i++)
		if (plan->trees[i]->mode == COR__NAMES__TREE_MODE__TREE_HOME &&
		    plan->trees[i]->home == home + 1)
			return true;
	return false;
}

bool cor_plan_at_home(const Cor__Names__Plan *plan, const char *path)
{
	int i = cor_plan_find(plan, path);

	return i >= 0 && plan->trees[i]->mode == COR__NAMES__TREE_MODE__TREE_HOME;
}
