/* What mappings map: files, and shared memory objects. The same inode is looked
 * at once; a skeleton's entries keep their numbers in the image. */
#include "libcor/task/capture_base.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "libcor/base/cleanup.h"
#include "libcor/base/error.h"
#include "libcor/task/pb.h"

#define DELETED " (deleted)"

/* maps(5) writes a newline in a path as \012. */
static char *path_of(const struct cor_map_line *m, bool *deleted)
{
	size_t n = m->name_len, k = strlen(DELETED), w = 0;
	char *p = strndup(m->name, n);

	if (!p)
		return NULL;
	*deleted = n > k && !memcmp(p + n - k, DELETED, k);
	if (*deleted)
		p[n -= k] = 0;
	for (size_t i = 0; i < n; i++) {
		if (!strncmp(p + i, "\\012", 4)) {
			p[w++] = '\n';
			i += 3;
		} else {
			p[w++] = p[i];
		}
	}
	p[w] = 0;
	return p;
}

static int find_file(const Cor__Task__Memory *m, uint64_t dev, uint64_t ino)
{
	for (size_t i = 0; i < m->n_files; i++)
		if (m->files[i]->ino == ino && m->files[i]->dev == dev)
			return (int)i;
	return -1;
}

static Cor__Task__Object *find_object(const Cor__Task__Memory *m, uint64_t dev, uint64_t ino)
{
	for (size_t i = 0; i < m->n_objects; i++)
		if (m->objects[i]->ino == ino && m->objects[i]->dev == dev)
			return m->objects[i];
	return NULL;
}

static int add_file(struct cor_capture *c, const char *path, bool deleted, uint64_t dev,
		    uint64_t ino, int fd, const struct stat *st, struct cor_error *err)
{
	Cor__Task__Memory *m = c->image->memory;
	Cor__Task__File *f = pb_add(&m->files, &m->n_files, Cor__Task__File, cor__task__file__init);
	uint8_t id[64];
	size_t n;

	if (!f || pb_text(&f->path, path, strlen(path)) < 0)
		return cor_capture_no_memory(c, err);
	f->size = (uint64_t)st->st_size;
	f->mtime_ns = (uint64_t)st->st_mtim.tv_sec * 1000000000u + (uint64_t)st->st_mtim.tv_nsec;
	f->dev = dev;
	f->ino = ino;
	f->deleted = deleted;
	n = cor_build_id(fd, id, sizeof(id));
	if (pb_bytes(&f->build_id, id, n) < 0)
		return cor_capture_no_memory(c, err);
	return (int)m->n_files - 1;
}

static void set_object_kind(Cor__Task__Object *o, const char **name)
{
	if (!strcmp(*name, "/dev/zero")) {
		o->kind = COR__TASK__OBJECT_KIND__OBJECT_ANON;
		*name = "";
	} else if (!strncmp(*name, "/memfd:", 7)) {
		o->kind = COR__TASK__OBJECT_KIND__OBJECT_MEMFD;
		*name += 7;
	} else {
		o->kind = COR__TASK__OBJECT_KIND__OBJECT_TMPFS;
	}
}

/* Size, seals and mode as they are now. */
static void refresh_object(Cor__Task__Object *o, int fd, const struct stat *st)
{
	int seals = fcntl(fd, F_GET_SEALS);

	o->size = (uint64_t)st->st_size;
	o->mode = st->st_mode & 07777;
	o->seals = seals > 0 ? (uint32_t)seals : 0;
}

static Cor__Task__Object *add_object(struct cor_capture *c, const char *path, bool deleted,
				     const struct cor_map_line *m)
{
	Cor__Task__Memory *mem = c->image->memory;
	Cor__Task__Object *o = pb_add(&mem->objects, &mem->n_objects, Cor__Task__Object,
				      cor__task__object__init);

	if (!o)
		return NULL;
	o->id = (uint32_t)mem->n_objects;
	o->dev = m->dev;
	o->ino = m->ino;
	o->unlinked = deleted;
	set_object_kind(o, &path);
	return pb_text(&o->name, path, strlen(path)) < 0 ? NULL : o;
}

/* map_files wants CAP_CHECKPOINT_RESTORE. Without it the name must do, if that still is the
 * same file; not all file systems show in stat(2) the device that maps has. */
static int open_by_name(struct cor_capture *c, const struct cor_map_line *m)
{
	_cleanup_free_ char *path = NULL;
	_cleanup_close_ int fd = -1;
	struct stat st;

	if (!m->name_len || m->name[0] != '/' ||
	    asprintf(&path, "root%.*s", (int)m->name_len, m->name) < 0)
		return -EPERM;
	fd = openat(c->proc, path, O_PATH | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) < 0 || st.st_ino != m->ino ||
	    (st.st_dev != m->dev && major(st.st_dev)))
		return -EPERM;
	return take_fd(&fd);
}

/* The file behind the mapping, by the mapping itself: its path may be gone. */
static int open_backing(struct cor_capture *c, const struct cor_map_line *m, struct stat *st,
			struct statfs *fs, struct cor_error *err)
{
	_cleanup_close_ int path = -1;
	char name[80], self[40];
	int fd;

	snprintf(name, sizeof(name), "map_files/%lx-%lx", (unsigned long)m->start,
		 (unsigned long)m->end);
	path = openat(c->proc, name, O_PATH | O_CLOEXEC);
	if (path < 0 && errno == EPERM) {
		path = open_by_name(c, m);
		if (path < 0)
			return cor_fail(err, -EPERM, "process %d maps %.*s at %#lx, which only "
					"CAP_CHECKPOINT_RESTORE reaches", c->pid, (int)m->name_len,
					m->name, (unsigned long)m->start);
	}
	if (path < 0 && errno == ENOENT && !c->t)
		return cor_fail(err, -EAGAIN, "process %d changes its mappings: %.*s is no longer at %#lx",
				c->pid, (int)m->name_len, m->name, (unsigned long)m->start);
	if (path < 0 || fstat(path, st) < 0 || fstatfs(path, fs) < 0)
		return cor_fail_errno(err, "process %d: cannot look at %.*s mapped at %#lx", c->pid,
				      (int)m->name_len, m->name, (unsigned long)m->start);
	if (!S_ISREG(st->st_mode))
		return take_fd(&path);          /* opening a device might do something */
	snprintf(self, sizeof(self), "/proc/self/fd/%d", path);
	fd = open(self, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return cor_fail_errno(err, "process %d: cannot open %.*s mapped at %#lx", c->pid,
				      (int)m->name_len, m->name, (unsigned long)m->start);
	return fd;
}

static int refuse_backing(struct cor_capture *c, const struct cor_map_line *m, const struct stat *st,
			  const struct statfs *fs, struct cor_error *err)
{
	const char *what = NULL;

	if (!S_ISREG(st->st_mode))
		what = "a device";
	else if (fs->f_type == HUGETLBFS_MAGIC)
		what = "huge pages (hugetlbfs)";
	if (!what)
		return 0;
	return cor_fail(err, -EOPNOTSUPP, "process %d maps %s at %#lx (%.*s), which cannot be moved",
			c->pid, what, (unsigned long)m->start, (int)m->name_len, m->name);
}

static bool is_null_device(const struct stat *st)
{
	return S_ISCHR(st->st_mode) && st->st_rdev == makedev(1, 5);    /* /dev/zero, mem(4) */
}

static int new_backing(struct cor_capture *c, const struct cor_map_line *m,
		       struct cor_backing *out, struct cor_error *err)
{
	_cleanup_close_ int fd = -1;
	_cleanup_free_ char *path = NULL;
	Cor__Task__Object *o;
	struct statfs fs;
	struct stat st;
	bool deleted, nameless;
	int r;

	fd = open_backing(c, m, &st, &fs, err);
	if (fd < 0)
		return fd;
	if (!m->shared && is_null_device(&st)) {
		out->anonymous = true;
		return 0;
	}
	r = refuse_backing(c, m, &st, &fs, err);
	if (r < 0)
		return r;
	path = path_of(m, &deleted);
	if (!path)
		return cor_capture_no_memory(c, err);
	nameless = !strncmp(path, "/memfd:", 7) || !strcmp(path, "/dev/zero") ||
		   !strncmp(path, "[anon_shmem:", 12);
	/* a private mapping of a named tmpfs file is as good as of any file */
	if (fs.f_type == TMPFS_MAGIC && (m->shared || (nameless && deleted))) {
		o = add_object(c, path[0] == '[' ? "/dev/zero" : path, deleted, m);
		if (!o)
			return cor_capture_no_memory(c, err);
		refresh_object(o, fd, &st);
		out->object = o->id;
		return 0;
	}
	r = find_file(c->image->memory, m->dev, m->ino);
	if (r < 0)
		r = add_file(c, path, deleted, m->dev, m->ino, fd, &st, err);
	out->file = r;
	return r < 0 ? r : 0;
}

int cor_capture_backing(struct cor_capture *c, const struct cor_map_line *m,
			struct cor_backing *out, struct cor_error *err)
{
	Cor__Task__Memory *mem = c->image->memory;
	Cor__Task__Object *o = find_object(mem, m->dev, m->ino);
	struct cor_backing b = { .file = -1 };
	int r = 0;

	if (o) {
		b.object = o->id;
	} else if (!m->shared || !(m->prot & 2)) {
		b.file = find_file(mem, m->dev, m->ino);
		/* a file of the skeleton may by now be shared memory as well */
		if (b.file < 0)
			r = new_backing(c, m, &b, err);
	} else {
		r = new_backing(c, m, &b, err);
	}
	if (!r)
		*out = b;
	return r;
}

int cor_capture_exe(struct cor_capture *c, struct cor_error *err)
{
	_cleanup_close_ int fd = openat(c->proc, "exe", O_RDONLY | O_CLOEXEC);
	char path[4096];
	struct stat st;
	ssize_t n = readlinkat(c->proc, "exe", path, sizeof(path) - 1);
	size_t k = strlen(DELETED);
	bool deleted;
	int i;

	if (fd < 0 || n < 0 || fstat(fd, &st) < 0)
		return cor_fail_errno(err, "cannot open /proc/%d/exe", c->pid);
	path[n] = 0;
	deleted = (size_t)n > k && !strcmp(path + n - k, DELETED);
	if (deleted)
		path[(size_t)n - k] = 0;
	for (size_t f = 0; f < c->image->memory->n_files; f++) {
		Cor__Task__File *file = c->image->memory->files[f];

		if (file->ino == (uint64_t)st.st_ino && !strcmp(file->path, path)) {
			c->image->memory->exe = (uint32_t)f;
			return 0;
		}
	}
	i = add_file(c, path, deleted, st.st_dev, st.st_ino, fd, &st, err);
	if (i < 0)
		return i;
	c->image->memory->exe = (uint32_t)i;
	return 0;
}

/* ---- what a skeleton lends --------------------------------------------------- */

static int lend_file(struct cor_capture *c, const Cor__Task__File *s)
{
	Cor__Task__Memory *m = c->image->memory;
	Cor__Task__File *f = pb_add(&m->files, &m->n_files, Cor__Task__File, cor__task__file__init);

	if (!f)
		return -ENOMEM;
	f->size = s->size;
	f->mtime_ns = s->mtime_ns;
	f->dev = s->dev;
	f->ino = s->ino;
	f->deleted = s->deleted;
	if (pb_text(&f->path, s->path, strlen(s->path)) < 0)
		return -ENOMEM;
	return pb_bytes(&f->build_id, s->build_id.data, s->build_id.len);
}

static int lend_object(struct cor_capture *c, const Cor__Task__Object *s)
{
	Cor__Task__Memory *m = c->image->memory;
	Cor__Task__Object *o = pb_add(&m->objects, &m->n_objects, Cor__Task__Object,
				      cor__task__object__init);

	if (!o)
		return -ENOMEM;
	o->id = s->id;
	o->kind = s->kind;
	o->size = s->size;
	o->seals = s->seals;
	o->mode = s->mode;
	o->has_descriptor = s->has_descriptor;
	o->dev = s->dev;
	o->ino = s->ino;
	o->unlinked = s->unlinked;
	return pb_text(&o->name, s->name, strlen(s->name));
}

int cor_capture_lend_files(struct cor_capture *c, struct cor_error *err)
{
	const Cor__Task__Memory *s = c->skeleton ? c->skeleton->memory : NULL;
	int r = 0;

	for (size_t i = 0; s && i < s->n_files && !r; i++)
		r = lend_file(c, s->files[i]);
	for (size_t i = 0; s && i < s->n_objects && !r; i++)
		r = lend_object(c, s->objects[i]);
	return r < 0 ? cor_capture_no_memory(c, err) : 0;
}

/* ---- objects that the task also holds open --------------------------------------- */

static const Cor__Task__Vma *vma_of_object(const Cor__Task__Image *image, uint32_t id)
{
	for (size_t i = 0; i < image->memory->n_vmas; i++)
		if (image->memory->vmas[i]->object == id)
			return image->memory->vmas[i];
	return NULL;
}

static int open_object(const Cor__Task__Image *image, pid_t pid, uint32_t id, int flags)
{
	const Cor__Task__Vma *v = vma_of_object(image, id);
	char path[80];
	int fd;

	if (!v)
		return -ENOENT;
	snprintf(path, sizeof(path), "/proc/%d/map_files/%lx-%lx", pid, (unsigned long)v->start,
		 (unsigned long)v->end);
	fd = open(path, flags | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

static bool holds_open(struct cor_capture *c, const struct stat *want)
{
	_cleanup_closedir_ DIR *d = NULL;
	int fd = openat(c->proc, "fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct dirent *e;

	if (fd < 0)
		return false;
	d = fdopendir(fd);
	if (!d) {
		close(fd);
		return false;
	}
	while ((e = readdir(d))) {
		struct stat st;

		if (e->d_name[0] != '.' && !fstatat(fd, e->d_name, &st, 0) &&
		    st.st_ino == want->st_ino && st.st_dev == want->st_dev)
			return true;
	}
	return false;
}

int cor_capture_object_descriptors(struct cor_capture *c, struct cor_error *err)
{
	Cor__Task__Memory *m = c->image->memory;

	for (size_t i = 0; i < m->n_objects; i++) {
		Cor__Task__Object *o = m->objects[i];
		_cleanup_close_ int fd = open_object(c->image, c->pid, o->id, O_RDONLY);
		struct stat st;

		if (fd < 0 || fstat(fd, &st) < 0)
			continue;               /* no longer mapped */
		refresh_object(o, fd, &st);
		o->has_descriptor = o->kind != COR__TASK__OBJECT_KIND__OBJECT_ANON &&
				    holds_open(c, &st);
	}
	return 0;
}

int cor_capture_open_object(pid_t pid, const Cor__Task__Image *image, uint32_t object,
			    struct cor_error *err)
{
	int fd = open_object(image, pid, object, O_RDONLY);

	if (fd < 0)
		return cor_fail_code(err, fd, "process %d: cannot open shared memory object %u", pid,
				     object);
	return fd;
}
