/* What cannot be carried, by name. Checked while the task runs, so that nothing
 * is stopped for it, and again on the stopped task. */
#include "libcor/task/capture_base.h"

#include <dirent.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/seccomp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "libcor/base/cleanup.h"
#include "libcor/base/error.h"
#include "libcor/base/io.h"
#include "libcor/task/label.h"

#define REFUSED (-EOPNOTSUPP)
#define HUGETLB_NAME "/anon_hugepage"

/* ---- mappings --------------------------------------------------------------- */

static const struct { const char *begins, *what; } bad_names[] = {
	{ "anon_inode:[io_uring]", "an io_uring" },
	{ "/[aio]", "an asynchronous I/O context (aio)" },
	{ "/SYSV", "System V shared memory" },
	{ "anon_inode:[perf_event]", "a perf event" },
	{ "anon_inode:", "kernel memory behind a descriptor" },
	{ "socket:", "a socket's ring" },
	{ "[uprobes]", "uprobes" },
	{ "[shadow stack]", "a shadow stack (CET)" },
	{ "/secretmem", "secret memory (memfd_secret)" },
};

/* Which descriptor leads to the same thing: " (descriptor 3)", or nothing. */
static void name_descriptor(struct cor_capture *c, const struct cor_map_line *m, char *out,
			    size_t size)
{
	_cleanup_closedir_ DIR *d = NULL;
	int fd = openat(c->proc, "fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct dirent *e;
	char link[256];

	out[0] = 0;
	d = fd < 0 ? NULL : fdopendir(fd);
	if (fd >= 0 && !d)
		close(fd);
	while (d && (e = readdir(d))) {
		ssize_t n = readlinkat(fd, e->d_name, link, sizeof(link));

		if (n > 0 && (size_t)n == m->name_len && !memcmp(link, m->name, m->name_len)) {
			snprintf(out, size, " (descriptor %.16s)", e->d_name);
			return;
		}
	}
}

/* Private ones move, and are transparent huge pages there. */
static bool is_shared_hugetlb(const struct cor_map_line *m)
{
	return m->shared && m->name_len >= strlen(HUGETLB_NAME) &&
	       !memcmp(m->name, HUGETLB_NAME, strlen(HUGETLB_NAME));
}

int cor_refuse_mapping(struct cor_capture *c, const struct cor_map_line *m, struct cor_error *err)
{
	if (is_shared_hugetlb(m))
		return cor_fail(err, REFUSED, "process %d shares huge pages (hugetlb) at %#lx, which cannot "
				"be moved", c->pid, (unsigned long)m->start);
	for (unsigned i = 0; i < ARRAY_SIZE(bad_names); i++) {
		size_t n = strlen(bad_names[i].begins);
		char behind[48];

		if (m->name_len < n || memcmp(m->name, bad_names[i].begins, n))
			continue;
		name_descriptor(c, m, behind, sizeof(behind));
		return cor_fail(err, REFUSED,
				"process %d maps %s%s at %#lx (%.*s), which cannot be moved", c->pid,
				bad_names[i].what, behind, (unsigned long)m->start,
				(int)m->name_len, m->name);
	}
	return 0;
}

int cor_refuse_smap(struct cor_capture *c, const struct cor_smap *s, struct cor_error *err)
{
	const Cor__Task__Vma *v = cor_capture_find_vma(c->image, s->start);
	const char *what = NULL;

	if (v && (v->kind == COR__TASK__VMA_KIND__VVAR || v->kind == COR__TASK__VMA_KIND__VDSO))
		return 0;               /* the kernel's own: device memory by its flags */
	if (s->hugetlb && !(v && v->kind == COR__TASK__VMA_KIND__ANON))
		what = "huge pages (hugetlb)";
	else if (s->device)
		what = "device memory";
	else if (s->shadow_stack)
		what = "a shadow stack (CET)";
	else if (s->droppable)
		what = "droppable memory";
	if (what)
		return cor_fail(err, REFUSED, "process %d maps %s at %#lx, which cannot be moved",
				c->pid, what, (unsigned long)s->start);
	if (s->key)
		return cor_fail(err, REFUSED,
				"process %d guards %#lx by protection key %u, which cannot be moved",
				c->pid, (unsigned long)s->start, s->key);
	return 0;
}

/* ---- children ------------------------------------------------------------------ */

/* Appends " 12 (sh)" for each child in the list. */
static unsigned name_children(const char *list, char *text, size_t room)
{
	unsigned n = 0;
	pid_t pid;

	while (cor_parse_pid_list(&list, &pid) == 1) {
		_cleanup_free_ char *stat = NULL;
		struct cor_proc_stat st = { .comm = "?" };
		char path[32];
		size_t used = strlen(text);

		snprintf(path, sizeof(path), "/proc/%d/stat", pid);
		if (!cor_slurp(AT_FDCWD, path, &stat, NULL))
			cor_parse_stat(stat, &st);
		snprintf(text + used, room - used, "%s %d (%s%s)", used ? "," : "", pid, st.comm,
			 st.state == 'Z' ? ", ended but not waited for" : "");
		n++;
	}
	return n;
}

/* Of one of its threads. */
static unsigned name_children_of(int task, const char *tid, char *text, size_t room)
{
	_cleanup_free_ char *list = NULL;
	char path[300];

	snprintf(path, sizeof(path), "%s/children", tid);
	return cor_slurp(task, path, &list, NULL) ? 0 : name_children(list, text, room);
}

static int judge_children(struct cor_capture *c, unsigned n, const char *text,
			  struct cor_error *err)
{
	if (!n)
		return 0;
	/* children may just be ending */
	return cor_fail(err, -EAGAIN,
			"process %d (%s) has %s, and a process tree cannot be moved:%s", c->pid,
			c->stat.comm, n == 1 ? "a child" : "children", text);
}

int cor_refuse_children(struct cor_capture *c, struct cor_error *err)
{
	_cleanup_closedir_ DIR *d = NULL;
	int fd = openat(c->proc, "task", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	char text[300] = "";
	struct dirent *e;
	unsigned n = 0;

	if (fd < 0)
		return cor_fail(err, -ESRCH, "there is no process %d", c->pid);
	d = fdopendir(fd);
	if (!d) {
		close(fd);
		return cor_capture_no_memory(c, err);
	}
	while ((e = readdir(d)))
		if (e->d_name[0] != '.')
			n += name_children_of(fd, e->d_name, text, sizeof(text));
	return judge_children(c, n, text, err);
}

/* In the freeze, where each thread's file costs time: the first thread's. The others' the task
 * tells in one call (capture_calls.c). */
static int refuse_leaders_children(struct cor_capture *c, struct cor_error *err)
{
	char text[300] = "", tid[24];
	unsigned n;

	snprintf(tid, sizeof(tid), "task/%d", c->pid);
	n = name_children_of(c->proc, tid, text, sizeof(text));
	return judge_children(c, n, text, err);
}

/* ---- the process ------------------------------------------------------------------ */

/* One made by a cord without privileges: whoever is in it is who he is outside, and has no
 * capability there. */
static bool harmless_user_ns(const struct cor_capture *c)
{
	_cleanup_free_ char *map = NULL;
	unsigned inside, outside, n;

	return cor_slurp(c->proc, "uid_map", &map, NULL) == 0 &&
	       sscanf(map, "%u %u %u", &inside, &outside, &n) == 3 && inside == outside && n == 1 &&
	       inside == c->status.uid[0] && !c->status.cap_prm && !c->status.cap_inh;
}

static int refuse_namespaces(struct cor_capture *c, struct cor_error *err)
{
	static const char *const kinds[] = { "user", "net", "ipc", "cgroup" };

	for (unsigned i = 0; i < ARRAY_SIZE(kinds); i++) {
		char theirs[64] = "", ours[64] = "", path[32];

		snprintf(path, sizeof(path), "ns/%s", kinds[i]);
		if (readlinkat(c->proc, path, theirs, sizeof(theirs) - 1) < 0)
			continue;               /* a kernel without that kind */
		snprintf(path, sizeof(path), "/proc/self/ns/%s", kinds[i]);
		if (readlink(path, ours, sizeof(ours) - 1) < 0 ||
		    (strcmp(theirs, ours) && (i || !harmless_user_ns(c))))
			return cor_fail(err, REFUSED,
					"process %d (%s) is in another %s namespace (%s, not %s)", c->pid,
					c->stat.comm, kinds[i], theirs, ours);
	}
	return 0;
}

static int refuse_root(struct cor_capture *c, struct cor_error *err)
{
	char root[256] = "";

	if (readlinkat(c->proc, "root", root, sizeof(root) - 1) < 0)
		return cor_fail_errno(err, "cannot read /proc/%d/root", c->pid);
	if (strcmp(root, "/"))
		return cor_fail(err, REFUSED, "process %d (%s) has another root directory, %s", c->pid,
				c->stat.comm, root);
	return 0;
}

static int refuse_32_bit(struct cor_capture *c, struct cor_error *err)
{
	_cleanup_close_ int fd = openat(c->proc, "exe", O_RDONLY | O_CLOEXEC);
	unsigned char ident[EI_NIDENT];

	if (fd < 0)
		return cor_fail_errno(err, "process %d (%s) has no program file that can be read", c->pid,
				      c->stat.comm);
	if (pread(fd, ident, sizeof(ident), 0) == sizeof(ident) && !memcmp(ident, ELFMAG, SELFMAG) &&
	    ident[EI_CLASS] != ELFCLASS64)
		return cor_fail(err, REFUSED, "process %d (%s) is a 32-bit program", c->pid, c->stat.comm);
	return 0;
}

static int refuse_status(struct cor_capture *c, struct cor_error *err)
{
	const struct cor_proc_status *s = &c->status;
	const char *name = c->stat.comm;

	if (s->kthread)
		return cor_fail(err, REFUSED, "process %d (%s) is a kernel thread", c->pid, name);
	if (s->state == 'Z' || s->state == 'X')
		return cor_fail(err, REFUSED, "process %d (%s) has ended, or its first thread has",
				c->pid, name);
	if (s->tgid != c->pid)
		return cor_fail(err, REFUSED, "%d is a thread of process %d (%s)", c->pid, s->tgid, name);
	if (c->pid == getpid())
		return cor_fail(err, REFUSED, "process %d is cor itself", c->pid);
	if (s->ns_pid == 1)
		return cor_fail(err, REFUSED, "process %d (%s) is the init of a PID namespace", c->pid, name);
	if (!c->t && s->tracer)
		return cor_fail(err, REFUSED, "process %d (%s) is traced by process %d", c->pid, name,
				s->tracer);
	if (s->seccomp == SECCOMP_MODE_STRICT)
		return cor_fail(err, REFUSED, "process %d (%s) is in seccomp's strict mode", c->pid, name);
	if (s->shadow_stack)
		return cor_fail(err, REFUSED, "process %d (%s) has a shadow stack (CET)", c->pid, name);
	return 0;
}

int cor_refuse_process(struct cor_capture *c, struct cor_error *err)
{
	int r = refuse_status(c, err);

	if (!r)
		r = c->t ? refuse_leaders_children(c, err) : cor_refuse_children(c, err);
	/* none of these changes behind a skeleton's back but by setns and chroot: see
	 * cor_refuse_place() */
	if (!r && !c->skeleton)
		r = cor_refuse_place(c, err);
	if (!r && !c->skeleton)
		r = refuse_32_bit(c, err);
	return r;
}

/* To lose what confines it would be no fault that anybody sees. */
static int refuse_label(struct cor_capture *c, struct cor_error *err)
{
	_cleanup_close_ int self = open("/proc/self", O_PATH | O_DIRECTORY | O_CLOEXEC);
	char theirs[256], ours[256] = "";

	cor_label_read(c->proc, theirs, sizeof(theirs));
	if (self >= 0)
		cor_label_read(self, ours, sizeof(ours));
	if (!cor_label_confines(theirs, ours))
		return 0;
	return cor_fail(err, REFUSED, "process %d (%s) is confined by the kernel's security module "
			"(%s), and would not be elsewhere", c->pid, c->stat.comm, theirs);
}

int cor_refuse_place(struct cor_capture *c, struct cor_error *err)
{
	int r = refuse_root(c, err);

	if (!r)
		r = refuse_label(c, err);
	return r ? r : refuse_namespaces(c, err);
}

int cor_refuse_strict(struct cor_capture *c, const struct cor_proc_status *st,
		      struct cor_error *err)
{
	if (st->seccomp != SECCOMP_MODE_STRICT)
		return 0;
	return cor_fail(err, REFUSED, "thread %d (%s) of process %d is in seccomp's strict mode",
			st->pid, st->name, c->pid);
}

int cor_refuse_thread(struct cor_capture *c, const struct cor_tracee_thread *th,
		      const struct cor_proc_status *st, struct cor_error *err)
{
	if (th->regs.cs != 0x33)        /* __USER_CS */
		return cor_fail(err, REFUSED, "thread %d (%s) of process %d runs 32-bit code", th->tid,
				st->name, c->pid);
	if (st->seccomp != SECCOMP_MODE_STRICT && st->seccomp != th->seccomp)
		return cor_fail(err, -EAGAIN, "thread %d (%s) of process %d installed a seccomp filter "
				"just now", th->tid, st->name, c->pid);
	return cor_refuse_strict(c, st, err);
}
